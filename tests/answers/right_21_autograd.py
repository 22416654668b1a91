"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"shape": "sum_to_shape", "lookup": "lookup_vjp", "stack": "stack_matmul_vjp",
           "walk": "walk_back"}


def shape__one_axis_at_a_time(dy, shape):
    while dy.ndim > len(shape): dy = dy.sum(0)
    for axis, n in enumerate(shape):
        if n == 1 < dy.shape[axis]: dy = dy.sum(axis, keepdims=True)
    return dy


def shape__all_axes_then_reshape(dy, shape):
    padded = (1,) * (dy.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (a, b) in enumerate(zip(dy.shape, padded)) if a != b)
    return np.sum(dy, axis=axes).reshape(shape)


def shape__add_at(dy, shape):
    dx = np.zeros(shape, dy.dtype)
    places = np.broadcast_to(np.arange(dx.size).reshape(shape), dy.shape)
    np.add.at(dx.reshape(-1), places.ravel(), dy.ravel())
    return dx


def lookup__one_hot(dy, ids, V):
    return np.eye(V, dtype=dy.dtype)[:, ids] @ dy


def lookup__loop(dy, ids, V):
    dW = np.zeros((V, dy.shape[-1])).astype(dy.dtype)
    for i, row in zip(ids, dy): dW[i] = dW[i] + row
    return dW


def lookup__each_row(dy, ids, V):
    return np.stack([dy[ids == v].sum(0) for v in range(V)])


def stack__einsum(dy, a, b):
    return np.einsum("bnm,km->bnk", dy, b), np.einsum("bnk,bnm->km", a, dy)


def stack__rows(dy, a, b):
    K, M = b.shape
    return dy @ np.swapaxes(b, 0, 1), a.reshape(-1, K).T @ dy.reshape(-1, M)


def stack__loop(dy, a, b):
    da, db = np.empty_like(a), np.zeros_like(b)
    for i in range(len(a)):
        da[i] = dy[i] @ b.T
        db += a[i].T @ dy[i]
    return da, db


def walk__from_the_end(n, edges):
    d = [0.0] * (n - 1) + [1.0]
    for k in range(n - 1, -1, -1):
        for source, result, slope in edges:
            if result == k: d[source] += d[k] * slope
    return d


def walk__roads_added(n, edges):
    def by(k): return float(k == n - 1) + sum(s * by(b) for a, b, s in edges if a == k)
    return [by(k) for k in range(n)]


def walk__powers_of_a_matrix(n, edges):
    J = np.zeros((n, n))
    for source, result, slope in edges: J[result, source] += slope
    return np.linalg.inv(np.eye(n) - J)[-1].tolist()
