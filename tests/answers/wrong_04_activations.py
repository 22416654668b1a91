"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"softmax": "softmax_bwd", "gelu": "gelu_bwd", "swiglu": "swiglu_bwd"}


def softmax__like_a_sigmoid(dy, y, axis=-1):
    return dy * y * (1 - y)


def softmax__no_y_in_front(dy, y, axis=-1):
    return dy - (dy * y).sum(axis=axis, keepdims=True)


def softmax__sum_of_the_gradient(dy, y, axis=-1):
    return y * (dy - dy.sum(axis=axis, keepdims=True))


def softmax__mean_of_the_product(dy, y, axis=-1):
    return y * (dy - np.mean(dy * y, axis=axis, keepdims=True))


def softmax__over_everything(dy, y, axis=-1):
    return y * (dy - np.sum(dy * y))


def softmax__off_diagonal_plus(dy, y, axis=-1):
    s = np.sum(dy * y, axis=axis, keepdims=True)
    return y * dy + y * s


def softmax__only_the_off_diagonal(dy, y, axis=-1):
    s = np.sum(dy * y, axis=axis, keepdims=True)
    return -y * s


def gelu__product_rule_forgotten(dy, x):
    A = np.sqrt(2 / np.pi)
    return dy * 0.5 * (1 + np.tanh(A * (x + 0.044715 * x ** 3)))


def gelu__inner_derivative_lost(dy, x):
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t))


def gelu__three_lost(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t ** 2) * A * (1 + B * x ** 2))


def gelu__tanh_not_squared(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t) * A * (1 + 3 * B * x ** 2))


def gelu__x_in_front_lost(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x * x * x))
    left = 0.5 * (1 + t)
    right = 0.5 * (1 - t * t) * A * (1 + 3 * B * x * x)
    return (left + right) * dy


def gelu__root_lost(dy, x):
    B = 0.044715
    t = np.tanh(math.sqrt(2 / math.pi) * (x + B * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (1 + 3 * B * x * x))


def gelu__half_lost(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x * x * x))
    return dy * (0.5 * (1 + t) + x * (1 - t * t) * A * (1 + 3 * B * x * x))


def gelu__dy_forgotten(dy, x):
    A, B = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(A * (x + B * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * A * (1 + 3 * B * x * x)


def swiglu__as_a_sigmoid_gate(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * s * (1 - s), dy * a * s


def swiglu__gate_without_x(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * (s + a * s * (1 - s)), dy * s


def swiglu__minus_lost(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * (s + a * s * s), dy * a * s


def swiglu__first_part_only(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * s, dy * a * s


def swiglu__exchanged(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    da = dy * b * (s + a * s * (1 - s))
    db = dy * a * s
    return db, da


def swiglu__b_forgotten(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * (s + a * s * (1 - s)), dy * a * s


def swiglu__plus_one(dy, a, b):
    s = 1 / (1 + np.exp(-a))
    return dy * b * s * (1 + a + (1 - s)), dy * a * s
