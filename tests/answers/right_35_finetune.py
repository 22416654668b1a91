"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"targets": "prompt_targets", "forget": "forgetting", "rates": "layer_rates"}


def targets__by_loops(ids, n_prompt, n_all, ignore=-100):
    y = np.full((ids.shape[0], ids.shape[1] - 1), ignore)
    for b, (n, end) in enumerate(zip(n_prompt, n_all)):
        y[b, n - 1:end - 1] = ids[b, n:end]
    return ids[:, :-1], y


def targets__forbidden_afterwards(ids, n_prompt, n_all, ignore=-100):
    x, y = ids[:, :-1], ids[:, 1:].copy()
    t = np.arange(y.shape[1])[None]
    y[(t < n_prompt[:, None] - 1) | (t + 1 >= n_all[:, None])] = ignore
    return x, y


def forget__by_loops(losses):
    texts = range(len(losses) - 1)
    return np.array([losses[-1, j] - min(losses[i, j] for i in texts) for j in texts])


def forget__as_a_maximum(losses):
    *before, end = losses
    return (end - np.array(before)).max(0)[:-1]


def rates__step_by_step(paths, n_layer, lr, factor):
    rates, rate = {}, lr
    for i in reversed(range(n_layer)):
        rates[f"blocks.{i}"] = rate
        rate /= factor
    rates["emb"] = rates["pos"] = rate
    key = lambda path: path if path.count(".") < 2 else ".".join(path.split(".")[:2])
    return {path: rates.get(key(path), rates.get(path.split(".")[0], lr)) for path in paths}
