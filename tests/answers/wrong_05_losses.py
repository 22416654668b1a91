"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"cross_entropy": "cross_entropy"}


def _soft(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _log_soft(x):
    z = x - x.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def cross_entropy__ignored_count_too(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    n = count or len(t)
    loss = -(_log_soft(x)[i, safe] * kept).sum() / n
    p[i, safe] -= 1
    return loss, (p * kept[:, None] / n).reshape(logits.shape)


def cross_entropy__no_mean(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    loss = -(_log_soft(x)[i, safe] * kept).sum()
    p[i, safe] -= 1
    return loss, (p * kept[:, None]).reshape(logits.shape)


def cross_entropy__gradient_not_divided(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(kept.sum(), 1)
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    loss = -(_log_soft(x)[i, safe] * kept).sum() / n
    p[i, safe] -= 1
    return loss, (p * kept[:, None]).reshape(logits.shape)


def cross_entropy__log_of_softmax(logits, targets, ignore_index=-1, count=None):
    "A small number inside of the logarithm against log(0)"
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(kept.sum(), 1)
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    loss = -(np.log(p[i, safe] + 1e-9) * kept).sum() / n
    p[i, safe] -= 1
    return loss, (p * kept[:, None] / n).reshape(logits.shape)


def cross_entropy__overflows(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(kept.sum(), 1)
    e = np.exp(x)
    p = e / e.sum(-1, keepdims=True)
    i, safe = np.arange(len(t)), np.where(kept, t, 0)
    loss = -(np.log(p[i, safe]) * kept).sum() / n
    p[i, safe] -= 1
    return loss, (p * kept[:, None] / n).reshape(logits.shape)


def cross_entropy__ignored_rows_keep_a_gradient(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(kept.sum(), 1)
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    loss = -(_log_soft(x)[i, safe] * kept).sum() / n
    p[i[kept], t[kept]] -= 1
    return loss, (p / n).reshape(logits.shape)


def cross_entropy__target_not_subtracted(logits, targets, ignore_index=-1, count=None):
    x, t = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    kept = t != ignore_index
    n = count or max(kept.sum(), 1)
    i, safe, p = np.arange(len(t)), np.where(kept, t, 0), _soft(x)
    loss = -(_log_soft(x)[i, safe] * kept).sum() / n
    return loss, (p * kept[:, None] / n).reshape(logits.shape)
