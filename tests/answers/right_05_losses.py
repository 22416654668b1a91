"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"cross_entropy": "cross_entropy",
           "bits": "bits_per_byte", "whole": "whole_mean", "z": "z_loss", "smooth": "smoothed"}


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


def bits__log2_of_e(nats, tokens, nbytes): return np.log2(np.e) * nats * (tokens / nbytes)


def whole__average(means, counts): return np.average(means, weights=counts)


def whole__loop(means, counts):
    total, n = 0.0, 0
    for mean, count in zip(means, counts):
        total += mean * count
        n += count
    return total / n


def z__logaddexp(logits, weight):
    L = np.logaddexp.reduce(logits, axis=1)
    p = np.exp(logits - L[:, None])
    return weight * np.mean(L**2), (2 * weight / len(L)) * L[:, None] * p


def z__loop(logits, weight):
    total, d = 0 * logits[0, 0], np.empty_like(logits)
    for n, row in enumerate(logits):
        e = np.exp(row - row.max())
        lse = row.max() + np.log(e.sum())
        total += lse * lse
        d[n] = 2 * weight * lse * e / e.sum() / len(logits)
    return weight * total / len(logits), d


def smooth__two_losses(logits, targets, eps):
    N, V = logits.shape
    logp = logits - np.logaddexp.reduce(logits, axis=-1)[:, None]
    loss = (1 - eps) * -logp[np.arange(N), targets].mean() + eps * -logp.mean()
    d = np.exp(logp) - eps / V
    d[np.arange(N), targets] -= 1 - eps
    return loss, d / N


def smooth__one_hot(logits, targets, eps):
    V = logits.shape[1]
    q = (1 - eps) * (targets[:, None] == np.arange(V)) + eps / V
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return -(q * np.log(p)).sum(1).mean(), (p - q) / len(q)


def z__a_float(logits, weight):
    L = np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(weight * (L * L).mean()), 2 * weight / len(L) * L * np.exp(logits - L)


def cross_entropy__a_float(logits, targets, ignore_index=-1, count=None):
    z, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    keep = np.flatnonzero(t != ignore_index)
    n = count or max(len(keep), 1)
    logp = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    d = np.zeros_like(z)
    d[keep] = np.exp(logp[keep]) / n
    d[keep, t[keep]] -= 1 / n
    return float(-logp[keep, t[keep]].sum() / n), d.reshape(logits.shape)
