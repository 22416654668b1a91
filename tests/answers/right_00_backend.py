"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"pairwise": "pairwise_sum"}


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
