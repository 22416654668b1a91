"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from functools import reduce

import numpy as np

ANSWERS = {"unbroadcast": "unbroadcast", "chain": "chain_bwd",
           "transpose": "transpose_bwd", "count": "count_once", "weights": "first_weights",
           "twice": "twice_bwd", "pieces": "pieces"}


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


def transpose__inverse_by_index(dy, axes):
    back = [0] * len(axes)
    for place, axis in enumerate(axes): back[axis] = place
    return np.transpose(dy, back)


def transpose__moveaxis(dy, axes): return np.moveaxis(dy, range(dy.ndim), axes)


def transpose__einsum(dy, axes): return np.einsum(dy, list(axes), range(dy.ndim))


def count__recursion(part):
    def arrays(x):
        if isinstance(x, np.ndarray): return [x]
        return [a for y in (x.values() if isinstance(x, dict) else x) for a in arrays(y)]
    return sum(a.size for a in {id(a): a for a in arrays(part)}.values())


def count__seen(part, seen=None):
    seen = [] if seen is None else seen
    if hasattr(part, "shape"):
        if any(part is a for a in seen): return 0
        seen.append(part)
        return int(np.prod(part.shape))
    return sum(count__seen(p, seen) for p in (part.values() if type(part) is dict else part))


def weights__scaled_afterwards(n_in, n_out, rng):
    return np.float32(rng.normal(size=(n_in, n_out)) / n_in**0.5)


def weights__scale_by_name(n_in, n_out, rng):
    return np.asarray(rng.normal(scale=n_in**-0.5, size=[n_in, n_out]), dtype="f4")


def twice__two_copies(dy, x, g):
    t = np.tanh(x * g)
    outer, inside = (dy * t).sum(axis=0), (g * dy) * (1 - t**2)
    return inside * g, outer + np.einsum("nc,nc->c", inside, x)


def twice__cosh(dy, x, g):
    dh = dy * g / np.cosh(g * x) ** 2
    dg = np.zeros_like(g)
    for row, h, d in zip(x, dh, dy): dg += d * np.tanh(g * row) + h * row
    return g * dh, dg


def pieces__joined(xs, dys):
    scaled = [dy * len(dy) for dy in dys]
    return np.concatenate(xs).T @ np.concatenate(scaled) / sum(len(x) for x in xs)


def pieces__loop(xs, dys):
    total, rows = np.zeros((xs[0].shape[1], dys[0].shape[1]), xs[0].dtype), 0
    for x, dy in zip(xs, dys):
        total += np.einsum("ni,nj->ij", x, dy) * len(x)
        rows += len(x)
    return total / rows
