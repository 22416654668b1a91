"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"cross_entropy": "cross_entropy"}


def cross_entropy__log_softmax(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(int(kept.sum()), 1)
    z = x - x.max(-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    rows = np.flatnonzero(kept)
    loss = -logp[rows, t[rows]].sum() / n
    d = np.exp(logp)
    d[rows, t[rows]] -= 1
    d[~kept] = 0
    return loss, (d / n).astype(logits.dtype).reshape(logits.shape)


def cross_entropy__one_hot(logits, targets, ignore_index=-1, count=None):
    V = logits.shape[-1]
    kept = targets != ignore_index
    n = count or max(int(kept.sum()), 1)
    hot = np.eye(V, dtype=logits.dtype)[np.where(kept, targets, 0)] * kept[..., None]
    z = logits - logits.max(-1, keepdims=True)
    e = np.exp(z)
    s = e.sum(-1, keepdims=True)
    loss = ((np.log(s) - z) * hot).sum() / n
    return loss, (e / s * kept[..., None] - hot) / n


def cross_entropy__row_by_row(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    n = count or max(sum(int(i) != ignore_index for i in t), 1)
    d, loss = np.zeros_like(x), 0.0
    for row, (z, i) in enumerate(zip(x, t)):
        if i == ignore_index: continue
        z = z - z.max()
        total = np.exp(z).sum()
        loss += np.log(total) - z[i]
        d[row] = np.exp(z) / total
        d[row, i] -= 1
    return loss / n, (d / n).reshape(logits.shape)
