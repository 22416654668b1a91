"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from functools import reduce

import numpy as np

ANSWERS = {"unbroadcast": "unbroadcast", "chain": "chain_bwd"}


def unbroadcast__one_axis_at_a_time(dy, shape):
    while dy.ndim > len(shape): dy = dy.sum(0)
    for axis, n in enumerate(shape):
        if n == 1: dy = dy.sum(axis, keepdims=True)
    return dy


def unbroadcast__loop(dy, shape):
    dx, added = np.zeros(shape, dy.dtype), dy.ndim - len(shape)
    for i in np.ndindex(dy.shape):
        dx[tuple(0 if n == 1 else k for k, n in zip(i[added:], shape))] += dy[i]
    return dx


def unbroadcast__padded(dy, shape):
    padded = (1,) * (dy.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    return dy.sum(axes, keepdims=True).reshape(shape)


def chain__reduce(backs, dy): return reduce(lambda d, back: back(d), backs[::-1], dy)


def chain__recursive(backs, dy):
    if not backs: return dy
    return backs[0](chain__recursive(backs[1:], dy))


def chain__pop(backs, dy):
    left = list(backs)
    while left: dy = left.pop()(dy)
    return dy
