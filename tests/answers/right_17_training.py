"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

from numpygpt.losses import cross_entropy

ANSWERS = {"accumulate": "accumulate",
           "bits": "bits_of_a_run", "pooled": "pooled", "clipped": "clipped_step",
           "rate": "best_rate"}


def accumulate__split(model, x, y, micro_batch):
    total, n = 0.0, np.count_nonzero(y != -1)
    cuts = range(micro_batch, len(x), micro_batch)
    for ids, targets in zip(np.split(x, cuts), np.split(y, cuts)):
        loss, d = cross_entropy(model(ids), targets, count=n)
        model.backward(d)
        total += loss
    return total


def accumulate__means_weighed(model, x, y, micro_batch):
    kept, total, at = (y >= 0).sum(), 0.0, 0
    while at < len(x):
        part = slice(at, at + micro_batch)
        loss, d = cross_entropy(model(x[part]), y[part])
        share = (y[part] >= 0).sum() / kept
        model.backward(d * share)
        total, at = total + loss * share, at + micro_batch
    return total


def accumulate__losses_collected(model, x, y, micro_batch):
    count, losses = sum(int(t) != -1 for t in y.ravel()), []
    for i in range(-(-len(x) // micro_batch)):
        these = np.arange(len(x)) // micro_batch == i
        loss, d = cross_entropy(model(x[these]), y[these], count=count)
        losses.append(loss)
        model.backward(d)
    return np.sum(losses)


def accumulate__softmax_by_hand(model, x, y, micro_batch):
    kept, loss = y != -1, 0.0
    for i in range(0, len(x), micro_batch):
        t, here = y[i:i + micro_batch], kept[i:i + micro_batch]
        z = model(x[i:i + micro_batch])
        logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        hot = np.eye(z.shape[-1])[t] * here[..., None]
        loss -= (hot * logp).sum() / kept.sum()
        model.backward((np.exp(logp) * here[..., None] - hot) / kept.sum())
    return loss


def bits__of_the_whole(nats, tokens, n_bytes):
    return np.log2(np.exp(nats)) * tokens / n_bytes, np.exp(nats)


def pooled__loop(losses, counts):
    total = n = 0
    for loss, count in zip(losses, counts): total, n = total + loss * count, n + count
    return total / n


def pooled__average(losses, counts): return np.average(losses, weights=counts)


def clipped__minimum(w, dw, lr, clip):
    length = np.linalg.norm(dw)
    share = min(1, clip / length) if clip else 1
    return w - (lr * share) * dw


def clipped__copy(w, dw, lr, clip):
    g = dw.copy()
    if clip > 0 and np.linalg.norm(g) > clip: g *= clip / np.linalg.norm(g)
    new = w.copy()
    new -= lr * g
    return new


def rate__loop(rates, curves):
    best, choice = np.inf, None
    for rate, curve in zip(rates, curves):
        if not all(np.isfinite(x) for x in curve): continue
        if sum(curve[-5:]) / 5 < best: best, choice = sum(curve[-5:]) / 5, rate
    return choice


def rate__argmin(rates, curves):
    ends = np.array(curves)
    ends[~np.isfinite(ends).all(1)] = np.inf
    return rates[int(ends[:, -5:].mean(1).argmin())]
