"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"top": "top_k_accuracy", "per_class": "recall_and_precision",
           "images": "images_needed"}


def top__rank_of_the_target(logits, targets, k):
    own = np.take_along_axis(logits, targets[:, None], 1)
    return float(((logits > own).sum(1) < k).mean())


def top__partition(logits, targets, k):
    best = np.argpartition(logits, -k, axis=1)[:, -k:]
    return np.mean([t in row for t, row in zip(targets, best)])


def top__loop(logits, targets, k):
    right = 0
    for row, target in zip(logits, targets):
        right += target in sorted(range(len(row)), key=lambda c: row[c])[-k:]
    return right / len(targets)


def per_class__bincount(said, meant, V):
    hits = np.bincount(meant[meant == said], minlength=V)
    of_meant, of_said = (np.bincount(a, minlength=V) for a in (meant, said))
    share = lambda n: np.where(n > 0, hits / np.where(n > 0, n, 1), 0.0)
    return share(of_meant), share(of_said)


def per_class__loop(said, meant, V):
    recall, precision = np.zeros(V), np.zeros(V)
    for c in range(V):
        if (meant == c).any(): recall[c] = (said[meant == c] == c).mean()
        if (said == c).any(): precision[c] = (meant[said == c] == c).mean()
    return recall, precision


def per_class__one_hot(said, meant, V):
    a, b = np.eye(V)[meant], np.eye(V)[said]
    both = (a * b).sum(0)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(both / a.sum(0)), np.nan_to_num(both / b.sum(0))


def images__counted(p, gap):
    n = 1
    while math.sqrt(p * (1 - p) / n) > gap: n += 1
    return n


def images__floor(p, gap): return -int(-(p - p * p) / (gap * gap) // 1)
