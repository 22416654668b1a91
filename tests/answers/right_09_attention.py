"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"attend": "attend", "bwd": "attend_bwd", "split": "split", "merge": "attention.merge",
           "causal": "causal"}


def _soft(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend__where(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    s = q @ k.swapaxes(-1, -2)
    if mask is not None:
        s = np.where(np.tile(mask, (s.shape[-2] // T, 1)), s, -np.inf)
    a = _soft(s)
    return a @ v, (q, k, v, a)


def attend__einsum(q, k, v, T, mask=None):
    q = q * q.shape[-1] ** -0.5
    s = np.einsum("...td,...sd->...ts", q, k)
    if mask is not None:
        hidden = np.where(mask, 0, -np.inf).astype(s.dtype)
        s = (s.reshape(*s.shape[:-2], -1, T, s.shape[-1]) + hidden).reshape(s.shape)
    a = _soft(s)
    return np.einsum("...ts,...sd->...td", a, v), (q, k, v, a)


def attend__each_query(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    a = np.zeros((*q.shape[:-1], k.shape[-2]), q.dtype)
    for *at, t in np.ndindex(q.shape[:-1]):
        seen = np.ones(k.shape[-2], bool) if mask is None else mask[t % T]
        a[(*at, t, seen)] = _soft(k[tuple(at)][seen] @ q[(*at, t)])
    return a @ v, (q, k, v, a)


def bwd__plain(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - (da * a).sum(-1, keepdims=True))
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__row_sum_by_the_output(do, q, k, v, a):
    D = (do * (a @ v)).sum(-1, keepdims=True)
    ds = a * (do @ np.swapaxes(v, -1, -2) - D)
    dk = np.einsum("...ts,...td->...sd", ds, q)
    return np.einsum("...ts,...sd->...td", ds, k) / math.sqrt(k.shape[-1]), dk, \
        np.einsum("...ts,...td->...sd", a, do)


def bwd__with_the_jacobian(do, q, k, v, a):
    da = np.einsum("...td,...sd->...ts", do, v)
    J = a[..., :, None] * np.eye(a.shape[-1], dtype=a.dtype) - a[..., :, None] * a[..., None, :]
    ds = (J @ da[..., None])[..., 0]
    dq = ds @ (k * q.shape[-1] ** -0.5)
    return dq, (np.swapaxes(q, -1, -2) @ ds).swapaxes(-1, -2), np.swapaxes(a, -1, -2) @ do


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


def merge__moveaxis(x):
    B, K, n, T, D = x.shape
    return np.moveaxis(x, 3, 1).reshape(B, T, K * n * D)


def merge__einsum(x):
    B, K, n, T, D = x.shape
    return np.einsum("bkntd->btknd", x).reshape(B, T, K * n * D)


def merge__concatenate(x):
    return np.concatenate([x[:, k, i] for k in range(x.shape[1]) for i in range(x.shape[2])], -1)


def causal__tril(T, S=None):
    S = T if S is None else S
    return np.tril(np.ones((T, S), bool), S - T)


def causal__loops(T, S=None):
    S = T if S is None else S
    seen = np.zeros((T, S), bool)
    for t in range(T): seen[t, :S - T + t + 1] = True
    return seen


def causal__subtract_outer(T, S=None):
    S = T if S is None else S
    return np.subtract.outer(np.arange(S - T, S), np.arange(S)) >= 0
