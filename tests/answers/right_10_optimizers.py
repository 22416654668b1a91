"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"clip": "clip_grad_norm", "adamw": "adamw_step",
           "nesterov": "nesterov_weights", "decayed": "decayed_paths", "left": "weight_left"}


def clip__linalg(dw, max_norm):
    norm = float(np.linalg.norm(dw))
    if math.isfinite(norm) and norm > max_norm: dw *= max_norm / norm
    return norm


def clip__factor(dw, max_norm):
    norm = math.sqrt(float((dw * dw).sum()))
    factor = min(1.0, max_norm / norm) if 0 < norm < math.inf else 1.0
    if factor < 1: dw[:] = dw * factor
    return norm


def clip__hypot(dw, max_norm):
    norm = math.hypot(*map(float, dw.ravel()))
    if max_norm < norm < math.inf:
        for i in range(len(dw)): dw[i] = dw[i] * max_norm / norm
    return norm


def adamw__textbook(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g ** 2
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    return w - lr * decay * w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__moved_towards(w, g, m, v, t, lr, b1, b2, eps, decay):
    m, v = m + (1 - b1) * (g - m), v + (1 - b2) * (g * g - v)
    r = math.sqrt(1 - b2 ** t)
    return (1 - lr * decay) * w - lr * r / (1 - b1 ** t) * m / (np.sqrt(v) + eps * r), m, v


def adamw__one_by_one(w, g, m, v, t, lr, b1, b2, eps, decay):
    w, m, v = w.copy(), m.copy(), v.copy()
    for i in np.ndindex(w.shape):
        m[i] = b1 * m[i] + (1 - b1) * g[i]
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i]
        w[i] -= lr * decay * w[i]
        w[i] -= lr * (m[i] / (1 - b1 ** t)) / (math.sqrt(v[i] / (1 - b2 ** t)) + eps)
    return w, m, v


def nesterov__by_the_movement(x, m, lr, mu):
    movement = -lr * m
    return x - mu * movement


def decayed__loop(shapes):
    paths = []
    for path in sorted(shapes):
        if len(shapes[path]) > 1: paths.append(path)
    return paths


def left__product(lr, decay, steps):
    rates = lr * (1 - np.arange(steps) / steps)
    return np.prod(1 - rates * decay)


def left__logarithms(lr, decay, steps):
    return math.exp(sum(math.log1p(-decay * lr * (steps - t) / steps) for t in range(steps)))
