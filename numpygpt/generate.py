"Text from a model: samplers, the loop with its cache, and beam search"
from contextlib import contextmanager

import numpy as np

from .backend import to_cpu, xp


def check_sampling(temperature=1.0, top_k=None, top_p=None, min_p=None):
    "The four knobs of a sampler, or an error that says what each may be"
    if not 0 <= temperature < np.inf: raise ValueError(f"temperature must be a number from 0 (greedy) up, got {temperature}")
    if top_k is not None and not (isinstance(top_k, (int, np.integer)) and top_k >= 1):
        raise ValueError(f"top_k must be a whole number from 1 up, or None for all tokens; got {top_k!r}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}: for the likeliest token only use temperature=0")
    if min_p is not None and not 0 <= min_p <= 1: raise ValueError(f"min_p must lie from 0 to 1, got {min_p}")


def truncate(p, top_k=None, top_p=None, min_p=None):     # (B, V), rows that sum to 1
    "Zero what the three rules drop, one after the other, and scale the rest to sum to 1 again"
    if top_k is not None and top_k < p.shape[1] or top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=-1, kind="stable")       # likeliest first; among equals the lower id first
        s = np.take_along_axis(p, order, -1)
        if top_k is not None: s[:, top_k:] = 0
        if top_p is not None and top_p < 1:
            before = np.cumsum(s, -1) - s                    # what the likelier tokens have together
            s[:, 1:] *= (before < (top_p - 1e-12) * s.sum(-1, keepdims=True))[:, 1:]
        p = np.empty_like(p)
        np.put_along_axis(p, order, s, -1)
    if min_p: p = p * (p >= min_p * p.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def distribution(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):   # (B, V), of any backend
    "The probabilities that `sample` draws from: (B, V) on the host, in double precision"
    check_sampling(temperature, top_k, top_p, min_p)
    z = np.asarray(to_cpu(logits), np.float64)
    if z.ndim != 2: raise ValueError(f"logits must have the shape (batch, vocabulary), got {z.shape}: for one row use logits[None]")
    top = z.max(-1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("each row of logits needs a finite maximum, and one has NaN, inf or only -inf: look at the model's weights")
    if temperature == 0: return np.eye(z.shape[1])[z.argmax(-1)]
    with np.errstate(over="ignore"): p = np.exp((z - top) / temperature)
    return truncate(p / p.sum(-1, keepdims=True), top_k, top_p, min_p)


def sample(logits, rng, temperature=1.0, top_k=None, top_p=None, min_p=None):
    "One token id for each row of logits (B, V), as host integers (B,)"
    if temperature == 0: return distribution(logits, 0).argmax(-1)
    cdf = np.cumsum(distribution(logits, temperature, top_k, top_p, min_p), -1)
    u = rng.random(len(cdf)) * cdf[:, -1]                    # below the last value, always
    return (cdf <= u[:, None]).sum(-1)                       # the first id whose cdf is above u


def penalise(logits, ids, penalty):   # (B, V), (B, T) integers, at least 1
    "Divide the positive logits of the tokens in `ids` by `penalty`, multiply the negative ones: a copy, on the host"
    if not 0 < penalty < np.inf: raise ValueError(f"the repetition penalty must be a number above 0 (1 does nothing), got {penalty}")
    z, ids = np.array(to_cpu(logits)), to_cpu(ids)
    seen = np.take_along_axis(z, ids, -1)
    np.put_along_axis(z, ids, np.where(seen > 0, seen / penalty, seen * penalty), -1)
    return z


@contextmanager
def evaluating(model):
    "Eval mode for the length of a `with` block; then each part gets back the mode that it had"
    modes = [(part, part.training) for _, part in model.modules()]
    model.eval()
    try: yield model
    finally:
        for part, mode in modes: part.training = mode


def check_prompt(ids):   # (B, T) or (T,) token ids, on the host or not
    "The prompt as host integers (B, T), or an error"
    ids = np.asarray(to_cpu(ids) if hasattr(ids, "dtype") else ids)
    if ids.ndim not in (1, 2): raise ValueError(f"the prompt must have the shape (time,) or (batch, time), got {ids.shape}")
    if ids.size == 0: raise ValueError("the prompt is empty, and a model needs something to continue: give it one token, such as a line break")
    if ids.dtype.kind not in "iu": raise ValueError(f"the prompt must be token ids, got {ids.dtype}: encode the text with a tokenizer first")
    return np.atleast_2d(ids)


def generate(model, ids, n_tokens=None, rng=None, temperature=1.0, top_k=None, top_p=None, min_p=None,
             repetition_penalty=1.0, stop=(), use_cache=True):
    "Yield each new column of token ids (B,) as it is made: plain integers when `ids` is one sequence (T,)"
    check_sampling(temperature, top_k, top_p, min_p)
    penalise(np.zeros((1, 1)), np.zeros((1, 1), int), repetition_penalty)
    if n_tokens is not None and n_tokens < 0: raise ValueError(f"n_tokens must be at least 0, or None for no end; got {n_tokens}")
    text, rng = check_prompt(ids), np.random.default_rng(rng)
    stop = np.atleast_1d(np.asarray(stop, int)) if np.ndim(stop) == 0 else np.asarray(list(stop), int)

    def choose(logits, text):
        if repetition_penalty != 1: logits = penalise(logits, text, repetition_penalty)
        return sample(logits, rng, temperature, top_k, top_p, min_p)
    columns = stream(model, text, n_tokens, choose, stop, use_cache)
    return columns if np.ndim(ids) == 2 else (int(column[0]) for column in columns)


def stream(model, text, n_tokens, choose, stop, use_cache):
    "The loop of `generate`: one pass over the prompt, then one position at a time"
    context, made = model.config.context, 0
    text = window = text[:, -context:]
    cache, fresh = model.new_cache(len(text)) if use_cache else None, window
    ended = np.zeros(len(text), bool)
    with evaluating(model):
        while made != n_tokens and not ended.all():
            logits = to_cpu(model(xp.asarray(fresh if use_cache else window), cache)[:, -1])     # (B, V)
            column = np.where(ended, text[:, -1], choose(logits, text))    # who has ended repeats its last token
            ended |= np.isin(column, stop)
            yield column
            made, fresh = made + 1, column[:, None]
            text = np.concatenate([text[:, -context + 1:] if context > 1 else text[:, :0], fresh], 1)
            window = np.concatenate([window, fresh], 1)
            if window.shape[1] > context:                    # full: begin again with half a context of memory
                window = fresh = window[:, -max(context // 2, 1):]
                cache = model.new_cache(len(text)) if use_cache else None


def length_factor(n, alpha):
    "(5 + n)^alpha / 6^alpha: what a log probability of n tokens is divided by (Wu et al. 2016, equation 14)"
    return ((5 + n) / 6) ** alpha


def beam_search(model, ids, n_tokens, width=4, length_penalty=0.6, stop=()):
    "The `width` best continuations found, as (token ids, log probability), best first by log probability / length factor"
    prompt, stop = check_prompt(ids), set(stop)
    if len(prompt) > 1: raise ValueError(f"beam search continues one sequence, got {len(prompt)}: call it once for each")
    if width < 1 or n_tokens < 1: raise ValueError(f"width and n_tokens must be at least 1, got {width} and {n_tokens}")
    if (need := prompt.shape[1] + n_tokens - 1) > model.config.context:
        raise ValueError(f"prompt and continuation need {need} positions and the context is {model.config.context}: shorten one of them")
    beams, done, cache, fresh = [((), 0.0)], [], model.new_cache(1), prompt
    with evaluating(model):
        for _ in range(n_tokens):
            p = distribution(model(xp.asarray(fresh), cache)[:, -1])                # (beams, V)
            with np.errstate(divide="ignore"): total = np.log(p) + np.array([[s] for _, s in beams])
            best = np.argsort(-total, axis=None, kind="stable")[:width]
            grown = [(b, (*beams[b][0], int(t)), float(total[b, t])) for b, t in zip(*np.unravel_index(best, total.shape))]
            done += [(new, s) for _, new, s in grown if new[-1] in stop]
            grown = [g for g in grown if g[1][-1] not in stop]
            beams = [(new, s) for _, new, s in grown]
            if not beams: break
            parents, fresh = xp.asarray([b for b, _, _ in grown]), np.array([[new[-1]] for _, new, _ in grown])
            for c in cache: c.k, c.v = c.k[parents], c.v[parents]                    # each beam inherits its parent's memory
    found = sorted(done + beams, key=lambda f: -f[1] / length_factor(len(f[0]), length_penalty))
    return [(list(new), s) for new, s in found[:width]]
