"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"head": "attention_head", "bwd": "gradients_of_head", "split": "split"}


def _soft(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _masked(s):
    return np.where(np.tri(len(s), dtype=bool), s, -np.inf)


def _weights(q, k):
    return _soft(_masked(q @ k.T / math.sqrt(q.shape[-1])))


def head__not_scaled(q, k, v):
    return _soft(_masked(q @ k.T)) @ v


def head__divided_by_d(q, k, v):
    return _soft(_masked(q @ k.T / q.shape[-1])) @ v


def head__scaled_by_keys(q, k, v):
    return _soft(_masked(q @ k.T / math.sqrt(k.shape[-2]))) @ v


def head__mask_zeroes_scores(q, k, v):
    return _soft(q @ k.T / math.sqrt(q.shape[-1]) * np.tri(len(q))) @ v


def head__mask_after_softmax(q, k, v):
    return (_soft(q @ k.T / math.sqrt(q.shape[-1])) * np.tri(len(q))) @ v


def head__mask_the_wrong_way(q, k, v):
    s = q @ k.T / math.sqrt(q.shape[-1])
    return _soft(np.where(np.tri(len(q), dtype=bool), -np.inf, s)) @ v


def head__future_hidden_from_itself(q, k, v):
    s = q @ k.T / math.sqrt(q.shape[-1])
    return _soft(np.where(np.tri(len(q), k=-1, dtype=bool), s, -np.inf)) @ v


def head__mask_ignored(q, k, v):
    return _soft(q @ k.T / math.sqrt(q.shape[-1])) @ v


def head__softmax_over_queries(q, k, v):
    return _soft(_masked(q @ k.T / math.sqrt(q.shape[-1])), axis=0) @ v


def head__weights_transposed(q, k, v):
    return _weights(q, k).T @ v


def bwd__scale_forgotten_in_dq(do, q, k, v):
    a, da = _weights(q, k), do @ v.T
    ds = a * (da - (da * a).sum(-1, keepdims=True))
    return ds @ k, ds.T @ q / math.sqrt(q.shape[-1]), a.T @ do


def bwd__scale_twice_in_dk(do, q, k, v):
    a, da, scale = _weights(q, k), do @ v.T, 1 / math.sqrt(q.shape[-1])
    ds = a * (da - (da * a).sum(-1, keepdims=True)) * scale
    return ds @ k, ds.T @ (q * scale), a.T @ do


def bwd__softmax_as_its_diagonal(do, q, k, v):
    a = _weights(q, k)
    ds = a * (1 - a) * (do @ v.T) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__softmax_skipped(do, q, k, v):
    a, ds = _weights(q, k), do @ v.T / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__no_row_sum(do, q, k, v):
    a = _weights(q, k)
    ds = a * (do @ v.T) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__row_sum_of_da(do, q, k, v):
    a, da = _weights(q, k), do @ v.T
    ds = a * (da - da.sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__sum_along_queries(do, q, k, v):
    a, da = _weights(q, k), do @ v.T
    ds = a * (da - (da * a).sum(0)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, a.T @ do


def bwd__results_in_another_order(do, q, k, v):
    a, da = _weights(q, k), do @ v.T
    ds = a * (da - (da * a).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds.T @ q, ds @ k, a.T @ do


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
