"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"rotate": "turn_pairs", "back": "turn_back"}


def rotate__neighbours_paired(x, cos, sin):
    y = np.empty_like(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    y[..., 0::2] = even * cos - odd * sin
    y[..., 1::2] = even * sin + odd * cos
    return y


def rotate__turned_backwards(x, cos, sin):
    h = cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)


def rotate__no_minus(x, cos, sin):
    h = cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * cos + b * sin, a * sin + b * cos], axis=-1)


def rotate__cos_and_sin_exchanged(x, cos, sin):
    h = cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * sin - b * cos, a * cos + b * sin], axis=-1)


def rotate__halves_not_exchanged(x, cos, sin):
    c, s = np.concatenate([cos, cos], -1), np.concatenate([sin, sin], -1)
    return x * c + x * s


def rotate__halves_exchanged_without_minus_for_one(x, cos, sin):
    h = cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * cos - b * sin, b * cos - a * sin], axis=-1)


def rotate__second_half_uses_the_new_first(x, cos, sin):
    h = cos.shape[-1]
    y = x.copy()
    y[..., :h] = y[..., :h] * cos - y[..., h:] * sin
    y[..., h:] = y[..., :h] * sin + y[..., h:] * cos
    return y


def rotate__second_half_left_alone(x, cos, sin):
    h = cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * cos - b * sin, b], axis=-1)


def back__the_same_way_again(dy, cos, sin):
    h = cos.shape[-1]
    a, b = dy[..., :h], dy[..., h:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def back__handed_on(dy, cos, sin):
    return dy


def back__cos_negative_too(dy, cos, sin):
    h = cos.shape[-1]
    a, b = dy[..., :h], dy[..., h:]
    return np.concatenate([-a * cos + b * sin, -a * sin - b * cos], axis=-1)


def back__one_sign_turned(dy, cos, sin):
    h = cos.shape[-1]
    a, b = dy[..., :h], dy[..., h:]
    return np.concatenate([a * cos + b * sin, a * sin + b * cos], axis=-1)


def back__divided(dy, cos, sin):
    h = cos.shape[-1]
    a, b = dy[..., :h], dy[..., h:]
    return np.concatenate([a * cos, b * cos], axis=-1)
