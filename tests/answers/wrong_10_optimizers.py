"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"clip": "clip_grad_norm", "adamw": "adamw_step"}


def clip__each_number_alone(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    np.clip(dw, -max_norm, max_norm, out=dw)
    return norm


def clip__always_scaled(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    if norm > 0: dw *= max_norm / norm
    return norm


def clip__returns_the_new_length(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    if norm > max_norm:
        dw *= max_norm / norm
        norm = max_norm
    return norm


def clip__square_not_rooted(dw, max_norm):
    norm = float((dw * dw).sum())
    if norm > max_norm: dw *= max_norm / norm
    return norm


def clip__largest_entry(dw, max_norm):
    norm = float(np.abs(dw).max(initial=0.0))
    if norm > max_norm: dw *= max_norm / norm
    return norm


def clip__upside_down(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    if norm > max_norm: dw *= norm / max_norm
    return norm


def clip__divided_by_the_length_only(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    if norm > max_norm: dw /= norm
    return norm


def clip__root_of_the_mean(dw, max_norm):
    norm = float(np.sqrt((dw * dw).mean()))
    if norm > max_norm: dw *= max_norm / norm
    return norm


def clip__short_ones_are_stretched(dw, max_norm):
    norm = float(np.sqrt((dw * dw).sum()))
    if 0 < norm < max_norm: dw *= max_norm / norm
    return norm


def adamw__not_bias_corrected(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    w = w - lr * decay * w
    return w - lr * m / (np.sqrt(v) + eps), m, v


def adamw__decay_in_the_gradient(w, g, m, v, t, lr, b1, b2, eps, decay):
    g = g + decay * w
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    return w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__eps_in_the_root(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    w = w - lr * decay * w
    return w - lr * mh / np.sqrt(vh + eps), m, v


def adamw__decay_without_the_rate(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    w = w - decay * w
    return w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__steps_from_zero(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** (t + 1)), v / (1 - b2 ** (t + 1))
    w = w - lr * decay * w
    return w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__no_root(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    w = w - lr * decay * w
    return w - lr * mh / (vh + eps), m, v


def adamw__second_moment_not_squared(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    w = w - lr * decay * w
    return w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__gradient_not_weighted(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    w = w - lr * decay * w
    return w - lr * mh / (np.sqrt(vh) + eps), m, v


def adamw__decay_forgotten(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    mh, vh = m / (1 - b1 ** t), v / (1 - b2 ** t)
    return w - lr * mh / (np.sqrt(vh) + eps), m, v
