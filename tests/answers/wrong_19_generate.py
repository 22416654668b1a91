"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"truncate": "truncate", "distribution": "distribution"}


def _cut(p, top_k, top_p, min_p, before=True, tie=1e-12, whole=None, scaled=True):
    if top_p == 1: top_p = None
    order = np.argsort(-p, axis=-1, kind="stable")
    s = np.take_along_axis(p, order, -1)
    if top_k is not None: s[:, top_k:] = 0
    if top_p is not None:
        c = np.cumsum(s, -1)
        if before: c = c - s
        total = s.sum(-1, keepdims=True) if whole is None else whole
        drop = c >= top_p * total - tie
        drop[:, 0] = False
        s[drop] = 0
    p = np.zeros_like(p)
    np.put_along_axis(p, order, s, -1)
    if min_p: p = p * (p >= (min_p - 1e-12) * p.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) if scaled else p


def truncate__the_one_that_crosses_is_dropped(p, top_k=None, top_p=None, min_p=None):
    return _cut(p, top_k, top_p, min_p, before=False)


def truncate__not_scaled_again(p, top_k=None, top_p=None, min_p=None):
    return _cut(p, top_k, top_p, min_p, scaled=False)


def truncate__share_of_one_not_of_what_is_left(p, top_k=None, top_p=None, min_p=None):
    return _cut(p, top_k, top_p, min_p, whole=1.0)


def truncate__min_p_as_a_probability(p, top_k=None, top_p=None, min_p=None):
    q = _cut(p, top_k, top_p, None)
    if min_p: q = q * (q >= min_p)
    return q / q.sum(-1, keepdims=True)


def truncate__one_token_more(p, top_k=None, top_p=None, min_p=None):
    return _cut(p, None if top_k is None else top_k + 1, top_p, min_p)


def truncate__ties_all_stay(p, top_k=None, top_p=None, min_p=None):
    if top_k is not None:
        least = np.sort(p, -1)[:, -min(top_k, p.shape[-1])][:, None]
        p = np.where(p >= least, p, 0)
    return _cut(p, None, top_p, min_p)


def truncate__keeps_the_least_likely(p, top_k=None, top_p=None, min_p=None):
    order = np.argsort(p, axis=-1, kind="stable")
    s = np.take_along_axis(p, order, -1)
    if top_k is not None: s[:, top_k:] = 0
    if top_p is not None and top_p < 1:
        drop = np.cumsum(s, -1) - s >= top_p * s.sum(-1, keepdims=True) - 1e-12
        drop[:, 0] = False
        s[drop] = 0
    q = np.zeros_like(p)
    np.put_along_axis(q, order, s, -1)
    if min_p: q = q * (q >= (min_p - 1e-12) * q.max(-1, keepdims=True))
    return q / q.sum(-1, keepdims=True)


def truncate__not_put_back_in_order(p, top_k=None, top_p=None, min_p=None):
    s = -np.sort(-p, axis=-1)
    return _cut(s, top_k, top_p, min_p)


def _soft(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def distribution__multiplied_by_temperature(logits, temperature=1.0, top_k=None, top_p=None,
                                            min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    return _cut(_soft(z * temperature), top_k, top_p, min_p)


def distribution__temperature_on_probabilities(logits, temperature=1.0, top_k=None, top_p=None,
                                               min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    p = _soft(z) / temperature
    return _cut(p / p.sum(-1, keepdims=True), top_k, top_p, min_p)


def distribution__temperature_after_the_cut(logits, temperature=1.0, top_k=None, top_p=None,
                                            min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    p = _cut(_soft(z), top_k, top_p, min_p) ** (1 / temperature)
    return p / p.sum(-1, keepdims=True)


def distribution__last_of_equals(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0:
        return np.eye(z.shape[1])[z.shape[1] - 1 - z[:, ::-1].argmax(-1)]
    return _cut(_soft(z / temperature), top_k, top_p, min_p)


def distribution__never_cut(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    return _soft(z / temperature)


def distribution__temperature_ignored(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    return _cut(_soft(z), top_k, top_p, min_p)


def distribution__zero_is_as_one(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    z = np.asarray(logits, float)
    return _cut(_soft(z / (temperature or 1.0)), top_k, top_p, min_p)
