"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import bisect
import itertools

import numpy as np

ANSWERS = {"shard": "shard_of", "unround": "unround", "within": "within",
           "places": "document_places"}


def shard__loop(lengths, places):
    which, where = [], []
    for p in places:
        i = 0
        while p >= lengths[i]: p, i = p - lengths[i], i + 1
        which.append(i)
        where.append(p)
    return which, where


def shard__bisect(lengths, places):
    begins = [0, *itertools.accumulate(lengths)]
    which = [bisect.bisect_right(begins, p) - 1 for p in places]
    return which, [p - begins[i] for p, i in zip(places, which)]


def shard__all(lengths, places):
    row = [(i, j) for i, n in enumerate(lengths) for j in range(n)]
    return [row[p][0] for p in places], [row[p][1] for p in places]


def unround__steps(A, B, k, b):
    R = np.array(A)
    f = (k * R + 1) & ((1 << b) - 1)
    return np.bitwise_xor(f, B), R


def unround__searched(A, B, k, b):
    both = [next(L for L in range(1 << b) if L ^ (k * int(R) + 1) % (1 << b) == x)
            for R, x in zip(A, B)]
    return np.array(both), A


def within__recursive(image, n):
    def to(x): return x if x < n else to(image[x])
    return [to(image[i]) for i in range(n)]


def within__array(image, n):
    image = np.array(image)
    x = image[:n]
    while (x >= n).any(): x = np.where(x >= n, image[x], x)
    return x.tolist()


def places__last(ids, end):
    found, begin = [], 0
    for t, i in enumerate(ids):
        found.append(t - begin)
        if i == end: begin = t + 1
    return found


def places__array(ids, end):
    t = np.arange(len(ids))
    begins = np.where(np.append(True, np.array(ids[:-1], int) == end), t, 0)
    return (t - np.maximum.accumulate(begins)).tolist()
