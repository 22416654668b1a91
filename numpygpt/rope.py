"Rotary position: turn each pair of numbers by an angle that grows with the position"
import numpy as np

from .backend import xp


def angles(context, head_size, base=10000.0):
    "cos and sin of position * base^(-2i/D) for each position and pair i, in double precision: two of (context, D/2)"
    if head_size % 2: raise ValueError(f"rotary position turns pairs: the head size must be even, got {head_size}")
    angle = np.arange(context)[:, None] * base ** (-np.arange(0, head_size, 2) / head_size)
    return xp.asarray(np.cos(angle)), xp.asarray(np.sin(angle))


def rotate(x, cos, sin):   # (..., T, D), (T, D/2), (T, D/2)
    "Turn the pairs (x[i], x[i + D/2]); the backward pass is the turn back, `rotate(dy, cos, -sin)`"
    half = x.shape[-1] // 2
    cos, sin = cos.astype(x.real.dtype), sin.astype(x.real.dtype)      # the tables follow the weights' precision
    a, b = x[..., :half], x[..., half:]
    y = xp.empty_like(x)
    y[..., :half] = a * cos - b * sin
    y[..., half:] = b * cos + a * sin
    return y


def half_split_order(head_size):
    "The permutation P with interleaved(x)[P] = half_split(x[P]): even places first, then the odd ones"
    return np.concatenate([np.arange(0, head_size, 2), np.arange(1, head_size, 2)])
