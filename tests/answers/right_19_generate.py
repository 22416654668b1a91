"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"truncate": "truncate", "distribution": "distribution",
           "penalise": "penalise",
           "pick": "pick", "best": "best_beam", "speculate": "speculate"}


def truncate__row_by_row(p, top_k=None, top_p=None, min_p=None):
    out = np.zeros_like(p)
    for row, q in enumerate(p):
        order = sorted(range(len(q)), key=lambda i: (-q[i], i))
        if top_k is not None: order = order[:top_k]
        if top_p is not None and top_p < 1:
            total, before, kept = sum(q[i] for i in order), 0.0, []
            for i in order:
                if kept and before >= top_p * total - 1e-12: break
                kept.append(i)
                before += q[i]
            order = kept
        for i in order: out[row, i] = q[i]
        if min_p: out[row, out[row] < (min_p - 1e-12) * out[row].max()] = 0
    return out / out.sum(-1, keepdims=True)


def truncate__by_rank(p, top_k=None, top_p=None, min_p=None):
    order = np.argsort(-p, -1, kind="stable")
    rank = np.argsort(order, -1, kind="stable")
    if top_k is not None: p = np.where(rank < top_k, p, 0)
    if top_p is not None and top_p < 1:
        s = np.take_along_axis(p, order, -1)
        before = np.concatenate([np.zeros((len(p), 1)), np.cumsum(s, -1)[:, :-1]], -1)
        stays = before < top_p * s.sum(-1, keepdims=True) - 1e-12
        stays[:, 0] = True
        p = np.where(np.take_along_axis(stays, rank, -1), p, 0)
    if min_p: p = np.where(p < (min_p - 1e-12) * p.max(-1, keepdims=True), 0, p)
    return p / p.sum(-1, keepdims=True)


def truncate__one_rule_after_the_other(p, top_k=None, top_p=None, min_p=None):
    p = p.copy()
    for q in p:
        order = np.argsort(-q, kind="stable")
        if top_k is not None: q[order[top_k:]] = 0
        if top_p is not None and top_p < 1:
            n = int(np.searchsorted(np.cumsum(q[order]), top_p * q.sum() - 1e-12)) + 1
            q[order[n:]] = 0
        if min_p: q[q < (min_p - 1e-12) * q.max()] = 0
        q /= q.sum()
    return p


def _draw(z, temperature, top_k, top_p, min_p, cut):
    z = np.asarray(z, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    e = np.exp((z - z.max(-1, keepdims=True)) / temperature)
    return cut(e / e.sum(-1, keepdims=True), top_k, top_p, min_p)


def distribution__row_by_row(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    return _draw(logits, temperature, top_k, top_p, min_p, truncate__row_by_row)


def distribution__powers(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return (np.arange(z.shape[1]) == z.argmax(-1)[:, None]).astype(float)
    q = np.exp(z - z.max(-1, keepdims=True)) ** (1 / temperature)
    return truncate__by_rank(q / q.sum(-1, keepdims=True), top_k, top_p, min_p)


def distribution__log_softmax(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[np.argmax(z, axis=1)]
    z = z / temperature
    z = z - z.max(-1, keepdims=True)
    p = np.exp(z - np.log(np.exp(z).sum(-1, keepdims=True)))
    return truncate__one_rule_after_the_other(p, top_k, top_p, min_p)


def penalise__sets(logits, ids, penalty):
    z = logits.copy()
    for row, tokens in zip(z, ids):
        for i in set(tokens.tolist()): row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
    return z


def penalise__marks(logits, ids, penalty):
    seen = np.zeros(logits.shape, bool)
    seen[np.arange(len(ids))[:, None], ids] = True
    punished = np.where(logits > 0, logits / penalty, logits * penalty)
    return np.where(seen, punished, logits)


def penalise__one_hot_powers(logits, ids, penalty):
    seen = np.eye(logits.shape[-1], dtype=int)[ids].max(axis=1)
    return logits * (penalty ** (-np.sign(logits) * seen)).astype(logits.dtype)


def penalise__unique(logits, ids, penalty):
    z = np.array(logits)
    for b in range(len(z)):
        i = np.unique(ids[b])
        up, down = i[z[b, i] > 0], i[z[b, i] <= 0]
        z[b, up] /= penalty
        z[b, down] *= penalty
    return z


def pick__searchsorted(q, u): return int(np.searchsorted(np.cumsum(q), u, side="right"))


def pick__loop(q, u):
    end = 0.0
    for i, share in enumerate(q):
        end += share
        if u < end: return i


def best__loop(beams, alpha):
    score = lambda k: beams[k][1] * (6 / (5 + len(beams[k][0]))) ** alpha
    return max(range(len(beams)), key=score)


def best__sorted(beams, alpha):
    rows = sorted((-s / ((len(ids) + 5) / 6) ** alpha, k) for k, (ids, s) in enumerate(beams))
    return rows[0][1]


def speculate__loop(p, q):
    accept, rest = np.ones_like(p), np.zeros_like(p)
    for i in range(len(p)):
        if q[i] < p[i]: accept[i] = q[i] / p[i]
        else: rest[i] = q[i] - p[i]
    return accept, rest / rest.sum()


def speculate__what_is_left(p, q):
    common = np.minimum(p, q)
    return common / p, (q - common) / (1 - common.sum())
