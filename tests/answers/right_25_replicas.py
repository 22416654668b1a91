"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import functools
import math

import numpy as np

ANSWERS = {"lanes": "lane_sum", "whole": "gradient_of_lanes", "busiest": "busiest",
           "speedup": "speedup"}


def lanes__strides(parts):
    lane = [functools.reduce(np.add, parts[k::4], np.zeros(parts.shape[1])) for k in range(4)]
    lane[0] += lane[2]
    lane[1] += lane[3]
    return lane[0] + lane[1]


def lanes__rows_of_four(parts):
    m, n = parts.shape
    full = np.zeros((-(-m // 4) * 4, n))
    full[:m] = parts
    total = np.zeros((4, n))
    for row in full.reshape(-1, 4, n): total = total + row
    total = total[:2] + total[2:]
    return total[1] + total[0]


def lanes__halving(parts):
    sums = {k: np.zeros(parts.shape[1]) for k in range(4)}
    for i in range(len(parts)): sums[i & 3] = parts[i] + sums[i & 3]
    for half in (2, 1):
        for k in range(half): sums[k] = sums[k + half] + sums[k]
    return sums[0]


def whole__weights(parts, counts):
    return np.einsum("k,kn->n", counts / counts.sum(), parts)


def busiest__counted(m, workers):
    work = [0] * workers
    for i in range(m): work[(i % 4) % workers] += 1
    return max(work)


def speedup__times(s, k):
    return k / (s * k + 1 - s), math.pow(s, -1)
