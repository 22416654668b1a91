"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"advantage": "advantage_in_bits", "stop": "when_to_stop", "tempered": "tempered",
           "calmer": "calmer_head"}


def advantage__bits_first(a, per_a, b, per_b):
    bits = lambda nats, per: nats / math.log(2) / per
    return bits(b, per_b) - bits(a, per_a)


def advantage__log_of_two(a, per_a, b, per_b):
    return math.log2(math.e) * (b * per_a - a * per_b) / (per_a * per_b)


def stop__loop(steps, train, val):
    best, at = math.inf, None
    for step, loss in zip(steps, val):
        if loss < best: best, at = loss, step
    return at, val[-1] - best


def stop__pairs(steps, train, val):
    loss, step = min(zip(val.tolist(), steps.tolist()))
    return step, val.tolist()[-1] - loss


def tempered__logits(p, T):
    z = np.log(p) / T
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def tempered__log_sum(p, T):
    z = np.log(p) / T
    return np.exp(z - np.logaddexp.reduce(z, -1)[..., None])


def tempered__rows(p, T):
    q = np.empty_like(p)
    for at in np.ndindex(p.shape[:-1]):
        powers = [x ** (1 / T) for x in p[at]]
        q[at] = np.array(powers) / sum(powers)
    return q


def calmer__tenth(loss, V, std): return std / 10


def calmer__root(loss, V, std):
    excess = loss - math.log(V)
    return std * math.sqrt(excess / 100 / excess)
