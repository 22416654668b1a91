"How wrong the model is, and the first gradient of every backward pass"
import numpy as np

from .backend import xp
from .module import rows


def cross_entropy(logits, targets, ignore_index=-1, count=None):   # (..., V), integers (...)
    "Mean of -log softmax(logits)[target] in nats over the targets that are not ignored, and its gradient"
    x, t = rows(logits), targets.reshape(-1)                 # (N, V), (N)
    kept = t != ignore_index
    if (kept & ((t < 0) | (t >= x.shape[1]))).any():
        raise ValueError(f"targets must be token ids from 0 to {x.shape[1] - 1} (or {ignore_index}, ignored); "
                         f"got {int(t.min())} to {int(t.max())}")
    n = count or max(int(kept.sum()), 1)                     # `count`: of the whole batch, when this is a part of it
    at = xp.arange(len(t)), xp.where(kept, t, 0)
    z = x - x.real.max(-1, keepdims=True)
    p = xp.exp(z)
    s = p.sum(-1, keepdims=True)
    loss = xp.where(kept, xp.log(s[:, 0]) - z[at], 0).sum() * (1 / n)
    p /= s                                                   # softmax, then p - one-hot
    p[at] -= 1
    p *= xp.where(kept, p.dtype.type(1 / n), 0)[:, None]
    return loss, p.reshape(logits.shape)


def mse(y, target):
    "Mean of (y - target)^2 over all entries, and its gradient"
    d = y - target
    return (d * d).mean(), d * (2 / d.size)


def mae(y, target):
    "Mean of |y - target|, and its gradient; at the kink, 0"
    d = y - target
    sign = xp.sign(d.real)
    return (d * sign).mean(), (sign * (1 / d.size)).astype(d.dtype)
