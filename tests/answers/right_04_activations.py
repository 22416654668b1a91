"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"softmax": "softmax_bwd", "gelu": "gelu_bwd", "swiglu": "swiglu_bwd",
           "impostor": "softmax_impostor", "width": "gated_width", "noise": "dropout_noise",
           "logarithm": "log_softmax_bwd"}


def softmax__explicit_jacobian(dy, y, axis=-1):
    y, dy = np.moveaxis(y, axis, -1), np.moveaxis(dy, axis, -1)
    J = y[..., :, None] * np.eye(y.shape[-1], dtype=y.dtype) - y[..., :, None] * y[..., None, :]
    return np.moveaxis((J @ dy[..., None])[..., 0], -1, axis)


def softmax__in_two_parts(dy, y, axis=-1):
    direct = y * dy
    return direct - y * direct.sum(axis=axis, keepdims=True)


def softmax__row_by_row(dy, y, axis=-1):
    y, dy = np.moveaxis(y, axis, -1), np.moveaxis(dy, axis, -1)
    dx = np.empty_like(y)
    for at in np.ndindex(y.shape[:-1]): dx[at] = y[at] * (dy[at] - np.dot(dy[at], y[at]))
    return np.moveaxis(dx, -1, axis)


def gelu__product_rule(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x ** 3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t ** 2) * A * (1 + 3 * B * x ** 2))


def gelu__sech(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    u, du = A * (x + B * x * x * x), A * (1 + 3 * B * x * x)
    sech = 1 / np.cosh(np.clip(u, -40, 40))
    return 0.5 * dy * (1 + np.tanh(u) + x * sech * sech * du)


def gelu__as_a_gate(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    u = A * (x + B * x * x * x)
    gate = 0.5 + 0.5 * np.tanh(u)
    dgate = dy * x
    du = dgate * 2 * gate * (1 - gate)
    return dy * gate + du * A * (1 + 3 * B * x * x)


def swiglu__product_rule(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * (s + a * s * (1 - s)), dy * a * s


def swiglu__one_factor(dy, a, b):
    s = 0.5 * (1 + np.tanh(a / 2))
    return dy * b * s * (1 + a * (1 - s)), dy * s * a


def swiglu__step_by_step(dy, a, b):
    s = 0.5 * (1 + np.tanh(0.5 * a))
    gated = a * s
    dgated, db = dy * b, dy * gated
    da = dgated * s
    ds = dgated * a
    da += ds * s * (1 - s)
    return da, db


def impostor__median(dy, y): return dy - np.median(dy, axis=-1, keepdims=True)


def impostor__neighbours(dy, y): return dy - np.roll(dy, 1, axis=-1)


def width__counted(C, multiple):
    F = 0
    while 3 * C * (F + multiple) <= 2 * C * 4 * C: F += multiple
    return F


def width__remainder(C, multiple):
    most = math.floor(8 * C / 3)
    return most - most % multiple


def noise__two_values(x, p):
    kept = x / (1 - p)
    mean = (1 - p) * kept
    return mean, math.sqrt((1 - p) * (kept - mean) ** 2 + p * mean**2)


def noise__second_moment(x, p):
    return x * 1.0, (x * x / (1 - p) - x * x) ** 0.5


def logarithm__jacobian(dy, y):
    n = y.shape[-1]
    J = np.eye(n, dtype=y.dtype) - np.exp(y)[..., None, :]
    return np.einsum("...i,...ij->...j", dy, J)


def logarithm__each_row(dy, y):
    dx = dy.copy()
    for at in np.ndindex(y.shape[:-1]): dx[at] -= np.exp(y[at]) * sum(dy[at])
    return dx
