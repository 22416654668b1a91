"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"central": "central_gradient", "complex": "complex_gradient", "sides": "two_sides",
           "relative": "relative_error", "one": "one_sided", "fraud": "fraud",
           "rate": "fitted_rate"}


def central__in_place(f, x, h):
    x, dx = x.copy(), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        up = f(x)
        x[i] = old - h
        dx[i] = (up - f(x)) / (2 * h)
        x[i] = old
    return dx


def central__identity(f, x, h):
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([f(x + s) - f(x - s) for s in steps]).reshape(x.shape) / h / 2


def complex__identity(f, x):
    steps = 1e-30j * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([f(x + s).imag for s in steps]).reshape(x.shape) / 1e-30


def complex__other_step(f, x):
    dx, z = np.zeros(x.shape), x + 0j
    for i in np.ndindex(x.shape):
        z[i] = x[i] + 1e-20j
        dx[i] = f(z).imag * 1e20
        z[i] = x[i]
    return dx


def sides__vdot(f, bwd, x, R, v):
    moved = f(x + 1j * 1e-30 * v).imag / 1e-30
    return np.vdot(R, moved), np.vdot(bwd(R, x), v)


def central__one_number_at_a_time(f, x, h):
    def slope(i):
        low, high = x.ravel().copy(), x.ravel().copy()
        low[i], high[i] = low[i] - h, high[i] + h
        return (f(high.reshape(x.shape)) - f(low.reshape(x.shape))) * 0.5 / h
    return np.array([slope(i) for i in range(x.size)]).reshape(x.shape)


def complex__flat(f, x):
    dx = np.zeros(x.size)
    for i in range(x.size):
        z = x.reshape(-1).astype(np.complex128)
        z.imag[i] = 1e-30
        dx[i] = np.imag(f(z.reshape(x.shape))) / 1e-30
    return dx.reshape(x.shape)


def sides__weighed_after_the_step(f, bwd, x, R, v):
    back = sum(a * b for a, b in zip(bwd(R, x).ravel(), v.ravel()))
    return float((R * np.imag(f(x + v * 1e-30j) * 1e30)).sum()), float(back)


def sides__einsum(f, bwd, x, R, v):
    z = x.astype(complex)
    z.imag = 1e-30 * v
    return np.einsum("nb,nb->", R, f(z)).imag / 1e-30, np.einsum("na,na->", v, bwd(R, x))


def relative__by_squares(ours, theirs):
    length = lambda a: math.sqrt(float((a * a).sum()))
    size = max(length(ours), length(theirs))
    return 0.0 if size == 0 else length(theirs - ours) / size


def relative__guarded(ours, theirs):
    if not ours.any() and not theirs.any(): return 0
    norms = [np.linalg.norm(a.ravel()) for a in (ours, theirs)]
    return np.linalg.norm((ours - theirs).ravel()) / np.max(norms)


def one__budget_at_the_best(u, f0, f2):
    h = (4 * u * f0 / f2) ** 0.5
    return h, h * f2 / 2 + 2 * u * f0 / h


def fraud__minus(dy, y):
    return -y * (dy - (dy * y).sum(-1)[..., None])


def fraud__another_mean(dy, y): return y * (dy - dy.mean(-1, keepdims=True))


def fraud__centred(dy, y): return dy - dy.mean(-1, keepdims=True)


def rate__covariance(hs, remainders):
    x, y = np.log(hs), np.log(remainders)
    return ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()


def rate__least_squares(hs, remainders):
    A = np.stack([np.ones(len(hs)), np.log2(hs)], 1)
    return np.linalg.lstsq(A, np.log2(remainders), rcond=None)[0][1]
