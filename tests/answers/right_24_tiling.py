"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"row": "row_in_pieces", "merge": "merge_parts", "bwd": "gradients_from_L",
           "tiles": "tiles_made", "spared": "bytes_spared", "read": "numbers_read"}


def row__at_once(pieces):
    s, v = (np.concatenate(xs) for xs in zip(*pieces))
    top = s.max()
    p = np.exp(s - top)
    return p @ v / p.sum(), float(np.log(p.sum()) + top)


def row__one_score_at_a_time(pieces):
    m, l, o = pieces[0][0][0], 0.0, 0.0
    for s, v in pieces:
        for score, value in zip(s, v):
            if score > m: l, o, m = l * np.exp(m - score), o * np.exp(m - score), score
            l, o = l + np.exp(score - m), o + np.exp(score - m) * value
    return o / l, float(m + math.log(l))


def row__always_divided(pieces):
    o, L = 0.0, -math.inf
    for s, v in pieces:
        here = np.logaddexp.reduce(s)
        new = np.logaddexp(L, here)
        o, L = o * np.exp(L - new) + np.exp(s - new) @ v, new
    return o, float(L)


def row__sum_and_output_together(pieces):
    state, m = 0.0, -np.inf
    for s, v in pieces:
        top = np.maximum(m, np.max(s))
        state = state * np.exp(m - top) + np.exp(s - top) @ np.c_[v, np.ones(len(s), v.dtype)]
        m = top
    return state[:-1] / state[-1], float(np.log(state[-1]) + m)


def merge__the_larger_as_the_offset(o1, L1, o2, L2):
    m = np.maximum(L1, L2)
    a, b = np.exp(L1 - m), np.exp(L2 - m)
    o = (a[..., None] * o1 + b[..., None] * o2) / (a + b)[..., None]
    return o, m + np.log(a + b)


def merge__a_share(o1, L1, o2, L2):
    share = 1 / (1 + np.exp(np.clip(L1 - L2, -700, 700).astype(float)))
    share = share.astype(o1.dtype)[..., None]
    return o1 + (o2 - o1) * share, np.logaddexp(L1, L2)


def merge__stacked(o1, L1, o2, L2):
    Ls, os = np.stack([L1, L2]), np.stack([o1, o2])
    L = np.logaddexp.reduce(Ls)
    return np.einsum("p...t,p...td->...td", np.exp(Ls - L), os), L


def bwd__loops(do, q, k, v, o, L):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    scale = 1 / math.sqrt(q.shape[-1])
    for i in range(len(q)):
        for j in range(i + 1):
            p = np.exp(q[i] @ k[j] * scale - L[i])
            ds = p * (do[i] @ v[j] - do[i] @ o[i]) * scale
            dq[i] += ds * k[j]
            dk[j] += ds * q[i]
            dv[j] += p * do[i]
    return dq, dk, dv


def bwd__einsum(do, q, k, v, o, L):
    q = q / math.sqrt(q.shape[-1])
    s = np.einsum("td,sd->ts", q, k) - L[:, None]
    s[np.triu_indices(len(q), 1)] = -np.inf
    p = np.exp(s)
    ds = p * np.einsum("td,tsd->ts", do, v[None] - o[:, None])
    dq = np.einsum("ts,sd->td", ds, k) / math.sqrt(q.shape[-1])
    return dq, np.einsum("ts,td->sd", ds, q), np.einsum("ts,td->sd", p, do)


def bwd__the_row_sum_itself(do, q, k, v, o, L):
    p = np.exp(q @ k.T / math.sqrt(q.shape[1]) - L.reshape(-1, 1))
    p *= np.arange(len(q))[:, None] >= np.arange(len(k))
    dp = do @ v.T
    ds = p * dp - p * (p * dp).sum(1, keepdims=True)
    ds /= math.sqrt(q.shape[1])
    return ds @ k, (q.T @ ds).T, (do.T @ p).T


def bwd__two_queries_at_a_time(do, q, k, v, o, L):
    dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    scale, place = q.shape[1] ** -0.5, np.arange(len(q))
    for at in np.array_split(place, range(2, len(q), 2)):
        p = np.where(place <= at[:, None], np.exp(q[at] @ k.T * scale - L[at][:, None]), 0)
        p = p.astype(q.dtype)
        ds = p * (do[at] @ v.T - (do[at] * o[at]).sum(1)[:, None]) * scale
        dq[at] = ds @ k
        dk += ds.T @ q[at]
        dv += p.T @ do[at]
    return dq, dk, dv


def tiles__looked_at(T, S, size):
    count = 0
    for i in range(0, T, size):
        for j in range(0, S, size):
            count += j < min(i + size, T) + S - T
    return int(count)


def tiles__from_the_mask(T, S, size):
    seen = np.tri(T, S, S - T)
    starts = [np.arange(0, n, size) for n in (T, S)]
    sums = np.add.reduceat(np.add.reduceat(seen, starts[0], 0), starts[1], 1)
    return int(np.count_nonzero(sums))


def spared__two_sums(layers, B, H, T, D):
    weights = np.float32().nbytes * T * T
    return layers * B * H * (weights - 4 * T * (D + 1))


def read__closed_form(T, D, size):
    full, rest = divmod(T, size)
    keys = size * full * (full + 1) // 2 + (T if rest else 0)
    return 2 * D * keys
