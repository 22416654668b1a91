"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"shares": "logit_shares", "score": "prefix_matching", "ranks": "rank_range",
           "null": "unseen"}


def shares__part_by_part(terms, g, eps, W):
    x = terms.sum(0)
    r = (x.var() + eps) ** -0.5
    return np.stack([((p - p.mean()) * g * r) @ W for p in terms])


def shares__centring_as_a_matrix(terms, g, eps, W):
    C = len(g)
    P = (np.eye(C) - np.ones((C, C)) / C).astype(terms.dtype)
    c = P @ terms.sum(0)
    A = P @ np.diag(g) @ W * float(c @ c / C + eps) ** -0.5
    return terms @ A


def shares__one_more_each_time(terms, g, eps, W):
    "What the logits gain when a part is added, under the scale of the whole"
    std = np.sqrt(terms.sum(0).var() + eps)
    sums = np.vstack([0 * terms[:1], np.cumsum(terms, 0)])
    z = (sums - sums.mean(1, keepdims=True)) / std * g @ W
    return np.diff(z, axis=0)


def score__loops(maps, ids):
    L, B, H, T, _ = maps.shape
    total, queries = np.zeros((L, H)), 0
    for b in range(B):
        for i in range(T):
            keys = [j for j in range(1, i + 1) if ids[b, j - 1] == ids[b, i]]
            if not keys: continue
            queries += 1
            total += maps[:, b, :, i][..., keys].sum(-1)
    return total / queries


def score__einsum(maps, ids):
    before = np.concatenate([np.full((len(ids), 1), -1), ids[:, :-1]], 1)
    F = np.tril(ids[:, :, None] == before[:, None])
    return np.einsum("lbhij,bij->lh", maps, F) / F.any(2).sum()


def score__flat_pairs(maps, ids):
    b, i, j = np.nonzero(ids[:, :, None] == ids[:, None, :])
    keep = j < i
    b, i, j = b[keep], i[keep], j[keep]
    asked = len(set(zip(b.tolist(), i.tolist())))
    return maps[:, b, :, i, j + 1].sum(0) / asked


def ranks__pair_by_pair(rises, draws):
    P = len(rises)
    above = np.zeros((P, P), bool)
    for a in range(P):
        for b in range(P):
            d = (rises[a] - rises[b])[draws].mean(1)
            above[a, b] = np.quantile(d, 0.025) > 0
    return np.array([[1 + above[:, p].sum(), P - above[p].sum()] for p in range(P)])


def ranks__counts_of_texts(rises, draws):
    N = rises.shape[1]
    weights = np.stack([np.bincount(d, minlength=N) for d in draws], 1) / draws.shape[1]
    m = rises @ weights
    low = np.percentile(m[:, None] - m[None], 2.5, axis=2)
    return np.column_stack([(low > 0).sum(0) + 1, (low <= 0).sum(1)])


def null__singular_vectors(v):
    M = np.hstack([v, np.ones((len(v), 1))])
    U, s, _ = np.linalg.svd(M)
    free = U[:, (s > 1e-10).sum():]
    return free @ free.T


def null__least_squares(v):
    M = np.column_stack([np.ones(len(v)), v])
    E = np.eye(len(v))
    return E - M @ np.linalg.lstsq(M, E, rcond=None)[0]
