"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

from numpygpt.backend import xp

ANSWERS = {"pairwise": "pairwise_sum",
           "soft": "neutral_softmax", "clip": "clipped", "apart": "distances", "strides": "strides"}


def pairwise__guarded(x):
    if len(x) == 1: return x[0]
    middle = len(x) // 2
    left, right = pairwise__guarded(x[:middle]), pairwise__guarded(x[middle:])
    return left + right


def pairwise__by_places(x):
    def between(start, stop):
        if stop - start == 1: return x[start]
        middle = start + (stop - start) // 2
        return between(start, middle) + between(middle, stop)
    return between(0, len(x))


def pairwise__split(x):
    if x.size == 1: return x[0]
    return np.add(*(pairwise__split(half) for half in np.split(x, [x.size // 2])))


def soft__each_row(x):
    y = xp.empty_like(x)
    for at in np.ndindex(x.shape[:-1]):
        e = xp.exp(x[at] - max(x[at]))
        y[at] = e / e.sum()
    return y


def soft__moved_axis(x):
    e = xp.exp((x.T - x.T.max(0)).T)
    return (e.T / e.T.sum(axis=0)).T


def clip__minimum(g, limit):
    length = np.linalg.norm(g.reshape(-1))
    return g.copy() if length <= limit else (limit / length) * g


def clip__copy(g, limit):
    new, square = g.copy(), np.vdot(g, g)
    if square > limit**2: new *= limit / square**0.5
    return new


def apart__products(a, b):
    return (a * a).sum(1)[:, None] - 2 * a @ b.T + (b * b).sum(1)


def apart__einsum(a, b):
    d = a[:, np.newaxis, :] - b
    return np.einsum("nmi,nmi->nm", d, d)


def apart__loops(a, b):
    return np.stack([np.stack([((row - other) ** 2).sum() for other in b]) for row in a])


def strides__from_the_end(shape, itemsize):
    found, step = [], itemsize
    for n in reversed(shape):
        found.insert(0, step)
        step *= n
    return tuple(found)


def strides__ask_numpy(shape, itemsize): return np.empty(shape, f"S{itemsize}").strides


def strides__a_list(shape, itemsize):
    return [itemsize * int(np.prod(shape[i + 1:])) for i in range(len(shape))]
