"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"head": "attention_head", "bwd": "gradients_of_head", "split": "split",
           "prefix": "prefix_mask", "cache": "mixed_cache_bytes", "params": "attention_params",
           "leak": "leaking_pairs"}


def _soft(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _weights(q, k):
    s = q @ k.T / math.sqrt(q.shape[-1])
    return _soft(np.where(np.tri(len(q), dtype=bool), s, -np.inf))


def head__where(q, k, v):
    return _weights(q, k) @ v


def head__einsum(q, k, v):
    T, D = q.shape
    s = np.einsum("td,sd->ts", q * D ** -0.5, k)
    s[np.triu_indices(T, 1)] = -np.inf
    return np.einsum("ts,sd->td", _soft(s), v)


def head__each_query(q, k, v):
    y = np.empty_like(v)
    for t in range(len(q)): y[t] = _soft(k[:t + 1] @ q[t] / math.sqrt(q.shape[1])) @ v[:t + 1]
    return y


def head__divided_at_the_end(q, k, v):
    s = (k @ q.T / math.sqrt(q.shape[-1])).T
    seen = np.arange(len(q))[:, None] >= np.arange(len(q))
    e = np.exp(s - s.max(-1, keepdims=True)) * seen
    return e @ v / e.sum(-1, keepdims=True)


def bwd__plain(do, q, k, v):
    a, da = _weights(q, k), do @ v.T
    ds = a * (da - (da * a).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__row_sum_by_the_output(do, q, k, v):
    a, scale = _weights(q, k), q.shape[-1] ** -0.5
    ds = a * (do @ v.T - (do * (a @ v)).sum(-1, keepdims=True))
    return scale * np.einsum("ts,sd->td", ds, k), np.einsum("ts,td->sd", ds, scale * q), \
        np.einsum("ts,td->sd", a, do)


def bwd__with_the_jacobian(do, q, k, v):
    a = _weights(q, k)
    J = a[:, :, None] * np.eye(len(q), dtype=a.dtype) - a[:, :, None] * a[:, None, :]
    ds = np.einsum("tsu,tu->ts", J, do @ v.T) / math.sqrt(q.shape[-1])
    return ds @ k, (q.T @ ds).T, a.T @ do


def bwd__each_query(do, q, k, v):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    scale = 1 / math.sqrt(q.shape[-1])
    for t in range(len(q)):
        a = _soft(k[:t + 1] @ q[t] * scale)
        da = v[:t + 1] @ do[t]
        ds = a * (da - a @ da) * scale
        dv[:t + 1] += a[:, None] * do[t]
        dk[:t + 1] += ds[:, None] * q[t]
        dq[t] = ds @ k[:t + 1]
    return dq, dk, dv


def split__moveaxis(x, K, D):
    B, T, C = x.shape
    return np.moveaxis(x.reshape(B, T, K, C // (K * D), D), 1, 3)


def split__einsum(x, K, D):
    B, T, C = x.shape
    return np.einsum("btknd->bkntd", x.reshape(B, T, K, C // (K * D), D))


def split__slices(x, K, D):
    n = x.shape[-1] // (K * D)
    heads = [[x[:, :, (k * n + i) * D:(k * n + i + 1) * D] for i in range(n)] for k in range(K)]
    return np.stack([np.stack(group, 1) for group in heads], 1)


def prefix__loops(T, S, prefix):
    seen = np.zeros((T, S), bool)
    for t in range(T): seen[t, :max(prefix, S - T + t + 1)] = True
    return seen


def prefix__outer(T, S, prefix):
    last = np.maximum(np.arange(S - T, S), prefix - 1)
    return np.less_equal.outer(np.arange(S), last).T


def prefix__tril(T, S, prefix):
    seen = np.tril(np.ones((T, S), bool), S - T)
    seen[:, :prefix] = True
    return seen


def cache__layer_by_layer(L, full, H, K, D, T, window, b):
    kept = [T] * full + [min(T, window)] * (L - full)
    return sum(2 * n * K * D * b for n in kept)


def params__four(C, H, K, D): return C * H * D + C * K * D + C * K * D + H * D * C


def leak__nonzero(tables):
    T = tables.shape[-1]
    where = np.argwhere(np.triu(np.any(tables != 0, axis=0), 1))
    return [(int(t), int(j)) for t, j in where]


def leak__sets(tables):
    found = set()
    for table in tables:
        for t, row in enumerate(table):
            found |= {(t, j) for j in np.flatnonzero(row).tolist() if j > t}
    return sorted(found)


def leak__lists(tables):
    where = np.nonzero(np.triu((tables != 0).any(0), 1))
    return [[int(t), int(j)] for t, j in zip(*where)]
