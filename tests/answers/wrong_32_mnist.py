"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"top": "top_k_accuracy", "per_class": "recall_and_precision",
           "images": "images_needed"}


def top__value_instead_of_place(logits, targets, k):
    best = np.sort(logits, -1)[:, -k:]
    return float((best == targets[:, None]).any(-1).mean())


def top__all_of_the_k(logits, targets, k):
    best = np.argsort(logits, -1)[:, -k:]
    return float((best == targets[:, None]).all(-1).mean())


def top__any_row(logits, targets, k):
    return float(np.isin(targets, np.argsort(-logits, -1)[:, :k]).mean())


def per_class__recall_alone(said, meant, V):
    recall = np.array([(said[meant == c] == c).mean() if (meant == c).any() else 0.0
                       for c in range(V)])
    return recall, recall


def per_class__nothing_is_everything(said, meant, V):
    share = lambda a, b, c: float((a[b == c] == c).mean()) if (b == c).any() else 1.0
    return (np.array([share(said, meant, c) for c in range(V)]),
            np.array([share(meant, said, c) for c in range(V)]))


def images__twice_for_two(p, gap): return math.ceil(2 * p * (1 - p) / gap**2)


def images__one_too_many(p, gap): return int(p * (1 - p) / gap**2) + 2
