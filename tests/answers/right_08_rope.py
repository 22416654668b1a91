"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"speeds": "inverse_frequencies", "rotate": "turn_pairs", "back": "turn_back",
           "base": "longer_base", "part": "partial_turn", "score": "relative_score"}


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


def speeds__powers(head_size, base):
    return np.array([base ** (-2 * i / head_size) for i in range(head_size // 2)])


def speeds__exponential(head_size, base):
    i = np.arange(head_size // 2)
    return np.exp(-2 * i * np.log(base) / head_size)


def speeds__one_over(head_size, base):
    return 1.0 / base ** (np.arange(0, head_size, 2) / head_size)


def speeds__a_geometric_row(head_size, base):
    step = base ** (2 / head_size)
    return np.divide(1, np.cumprod([1.0] + [step] * (head_size // 2 - 1)))


def speeds__logspace(head_size, base):
    return np.logspace(0, 2 / head_size - 1, head_size // 2, base=base)


def base__solved_for(base, head_size, factor):
    slowest = base ** (-(head_size - 2) / head_size) / factor
    return slowest ** (-head_size / (head_size - 2))


def base__logarithms(base, head_size, factor):
    last = head_size // 2 - 1
    return float(np.exp(np.log(base) + np.log(factor) * head_size / (2 * last)))


def part__written_out(x, cos, sin):
    h, y = cos.shape[-1], x.copy()
    c, s = cos.astype(x.dtype), sin.astype(x.dtype)
    y[..., :h] = x[..., :h] * c - x[..., h:2 * h] * s
    y[..., h:2 * h] = x[..., h:2 * h] * c + x[..., :h] * s
    return y


def part__complex(x, cos, sin):
    h = cos.shape[-1]
    z = (x[..., :h] + 1j * x[..., h:2 * h]) * (cos + 1j * sin)
    return np.concatenate([z.real, z.imag, x[..., 2 * h:]], axis=-1).astype(x.dtype)


def score__k_turned(q, k, m, n, theta):
    h = len(theta)
    c, s = np.cos((n - m) * theta), np.sin((n - m) * theta)
    turned = np.concatenate([k[:h] * c - k[h:] * s, k[h:] * c + k[:h] * s])
    return q @ turned


def score__q_turned(q, k, m, n, theta):
    h, t = q.shape[0] // 2, (m - n) * theta
    a, b = q[:h] * np.cos(t) - q[h:] * np.sin(t), q[h:] * np.cos(t) + q[:h] * np.sin(t)
    return (a * k[:h]).sum() + (b * k[h:]).sum()
