"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"counts": "mask_counts", "scores": "gap_scores", "words": "word_u"}


def counts__what_is_left(n, rate, k):
    masked, other = n * rate * 8 / 10, n * rate / 10 * (k - 1) / k
    return masked, other, n * rate - masked - other


def scores__by_loops(p, y):
    paid, hits = [], []
    for at in np.ndindex(y.shape):
        if y[at] == -1: continue
        paid.append(np.log(p[at][y[at]]))
        hits.append(p[at].argmax() == y[at])
    return -np.mean(paid) / np.log(2), np.exp(-np.mean(paid)), np.mean(hits)


def scores__by_weights(p, y):
    asked = y >= 0
    true = np.take_along_axis(p, np.where(asked, y, 0)[..., None], -1)[..., 0]
    bits = (-np.log2(true) * asked).sum() / asked.sum()
    return bits, 2.0 ** bits, ((p.argmax(-1) == y) & asked).sum() / asked.sum()


def words__by_loops(ids, u, space):
    out = u.copy()
    for b, t in np.ndindex(ids.shape):
        if t and ids[b, t] != space and ids[b, t - 1] != space: out[b, t] = out[b, t - 1]
    return out


def words__by_numbers(ids, u, space):
    gap = ids == space
    begins = gap | np.pad(gap[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    number = begins.cumsum(1)
    return np.stack([row[begin][n - 1] for row, begin, n in zip(u, begins, number)])
