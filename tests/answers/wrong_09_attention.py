"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"attend": "attend", "bwd": "attend_bwd", "split": "split", "merge": "attention.merge",
           "causal": "causal"}


def _soft(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _masked(s, T, mask):
    if mask is None: return s
    G = s.shape[-2] // T
    return np.where(np.tile(mask, (G, 1)), s, -np.inf)


def attend__not_scaled(q, k, v, T, mask=None):
    a = _soft(_masked(q @ np.swapaxes(k, -1, -2), T, mask))
    return a @ v, (q, k, v, a)


def attend__divided_by_d(q, k, v, T, mask=None):
    q = q / q.shape[-1]
    a = _soft(_masked(q @ np.swapaxes(k, -1, -2), T, mask))
    return a @ v, (q, k, v, a)


def attend__scaled_by_keys(q, k, v, T, mask=None):
    q = q / math.sqrt(k.shape[-2])
    a = _soft(_masked(q @ np.swapaxes(k, -1, -2), T, mask))
    return a @ v, (q, k, v, a)


def attend__mask_zeroes_scores(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    s = q @ np.swapaxes(k, -1, -2)
    if mask is not None: s = s * np.tile(mask, (s.shape[-2] // T, 1))
    a = _soft(s)
    return a @ v, (q, k, v, a)


def attend__mask_after_softmax(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    s = q @ np.swapaxes(k, -1, -2)
    a = _soft(s)
    if mask is not None: a = a * np.tile(mask, (s.shape[-2] // T, 1))
    return a @ v, (q, k, v, a)


def attend__mask_the_wrong_way(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    s = q @ np.swapaxes(k, -1, -2)
    if mask is not None:
        s = np.where(np.tile(mask, (s.shape[-2] // T, 1)), -np.inf, s)
    a = _soft(s)
    return a @ v, (q, k, v, a)


def attend__mask_ignored(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    a = _soft(q @ np.swapaxes(k, -1, -2))
    return a @ v, (q, k, v, a)


def attend__softmax_over_queries(q, k, v, T, mask=None):
    q = q / math.sqrt(q.shape[-1])
    s = _masked(q @ np.swapaxes(k, -1, -2), T, mask)
    e = np.exp(s - s.max(-2, keepdims=True))
    a = e / e.sum(-2, keepdims=True)
    return a @ v, (q, k, v, a)


def bwd__scale_forgotten_in_dq(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - (da * a).sum(-1, keepdims=True))
    return ds @ k, np.swapaxes(ds, -1, -2) @ q, dv


def bwd__scale_twice_in_dk(do, q, k, v, a):
    scale = 1 / math.sqrt(q.shape[-1])
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - (da * a).sum(-1, keepdims=True)) * scale
    return ds @ k, np.swapaxes(ds, -1, -2) @ q, dv


def bwd__softmax_as_its_diagonal(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    ds = a * (1 - a) * (do @ np.swapaxes(v, -1, -2))
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__softmax_skipped(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    ds = do @ np.swapaxes(v, -1, -2)
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__no_row_sum(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    ds = a * (do @ np.swapaxes(v, -1, -2))
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__row_sum_of_da(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - da.sum(-1, keepdims=True))
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__sum_along_queries(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - (da * a).sum(-2, keepdims=True))
    return ds @ k / math.sqrt(q.shape[-1]), np.swapaxes(ds, -1, -2) @ q, dv


def bwd__results_in_another_order(do, q, k, v, a):
    dv = np.swapaxes(a, -1, -2) @ do
    da = do @ np.swapaxes(v, -1, -2)
    ds = a * (da - (da * a).sum(-1, keepdims=True))
    return np.swapaxes(ds, -1, -2) @ q, ds @ k / math.sqrt(q.shape[-1]), dv


def split__heads_after_time(x, K, D):
    B, T = x.shape[:2]
    return x.reshape(B, K, -1, T, D)


def split__head_size_first(x, K, D):
    B, T = x.shape[:2]
    return x.reshape(B, T, D, K, -1).transpose(0, 3, 4, 1, 2)


def split__groups_before_heads(x, K, D):
    B, T = x.shape[:2]
    return x.reshape(B, T, -1, K, D).transpose(0, 3, 2, 1, 4)


def split__time_not_moved(x, K, D):
    B, T = x.shape[:2]
    return x.reshape(B, T, K, -1, D)


def split__heads_and_groups_exchanged(x, K, D):
    B, T = x.shape[:2]
    return x.reshape(B, T, K, -1, D).transpose(0, 3, 2, 1, 4)


def merge__no_transpose(x):
    B, K, n, T, D = x.shape
    return x.reshape(B, T, K * n * D)


def merge__swapped_axes_only(x):
    B, K, n, T, D = x.shape
    return x.swapaxes(1, 3).reshape(B, T, K * n * D)


def merge__head_size_before_heads(x):
    B, K, n, T, D = x.shape
    return x.transpose(0, 3, 4, 1, 2).reshape(B, T, K * n * D)


def merge__batch_and_time_exchanged(x):
    B, K, n, T, D = x.shape
    return x.transpose(3, 0, 1, 2, 4).reshape(B, T, K * n * D)


def merge__heads_averaged(x):
    B, K, n, T, D = x.shape
    return x.transpose(0, 3, 2, 1, 4).reshape(B, T, K * n * D)


def causal__counted_from_the_upper_left(T, S=None):
    S = T if S is None else S
    return np.tril(np.ones((T, S), bool))


def causal__not_itself(T, S=None):
    S = T if S is None else S
    return np.tril(np.ones((T, S), bool), S - T - 1)


def causal__one_into_the_future(T, S=None):
    S = T if S is None else S
    return np.tril(np.ones((T, S), bool), S - T + 1)


def causal__hides_the_past(T, S=None):
    S = T if S is None else S
    return np.arange(S)[None] >= np.arange(T)[:, None] + S - T


def causal__true_where_hidden(T, S=None):
    S = T if S is None else S
    return np.arange(S)[None] > np.arange(T)[:, None] + S - T


def causal__sees_everything(T, S=None):
    return np.ones((T, T if S is None else S), bool)
