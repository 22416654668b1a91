"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"rotate": "rotate", "back": "rotate_bwd"}


def rotate__two_halves(x, cos, sin):
    cos, sin, h = cos.astype(x.dtype), sin.astype(x.dtype), cos.shape[-1]
    a, b = x[..., :h], x[..., h:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def rotate__complex_numbers(x, cos, sin):
    h = cos.shape[-1]
    z = (x[..., :h] + 1j * x[..., h:]) * (cos + 1j * sin)
    return np.concatenate([z.real, z.imag], axis=-1).astype(x.dtype)


def rotate__rotate_half(x, cos, sin):
    a, b = np.split(x, 2, axis=-1)
    turned = np.concatenate([-b, a], axis=-1)
    c, s = np.tile(cos, 2).astype(x.dtype), np.tile(sin, 2).astype(x.dtype)
    return x * c + turned * s


def rotate__a_matrix_for_each_place(x, cos, sin):
    T, h = cos.shape
    R = np.zeros((T, 2 * h, 2 * h), x.dtype)
    i = np.arange(h)
    R[:, i, i], R[:, i + h, i + h] = cos, cos
    R[:, i, i + h], R[:, i + h, i] = -sin, sin
    return (R @ x[..., None])[..., 0]


def back__two_halves(dy, cos, sin):
    cos, sin, h = cos.astype(dy.dtype), sin.astype(dy.dtype), cos.shape[-1]
    a, b = dy[..., :h], dy[..., h:]
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)


def back__conjugate(dy, cos, sin):
    h = cos.shape[-1]
    z = (dy[..., :h] + 1j * dy[..., h:]) * np.conj(cos + 1j * sin)
    return np.concatenate([z.real, z.imag], axis=-1).astype(dy.dtype)


def back__transposed_matrix(dy, cos, sin):
    dx, h = np.empty_like(dy), cos.shape[-1]
    for t in range(len(cos)):
        for i in range(h):
            R = np.array([[cos[t, i], -sin[t, i]], [sin[t, i], cos[t, i]]], dy.dtype)
            dx[..., t, [i, i + h]] = dy[..., t, [i, i + h]] @ R
    return dx
