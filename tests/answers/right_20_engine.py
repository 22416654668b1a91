"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"gradients": "reverse_mode", "ages": "generations", "power": "pow_bwd",
           "order": "backward_order"}


def gradients__while(steps):
    d = np.zeros(len(steps))
    d[-1], k = 1, len(steps)
    while k:
        k -= 1
        for i, slope in steps[k]: d[i] = d[i] + slope * d[k]
    return d.tolist()


def gradients__readers(steps):
    readers = [[] for _ in steps]
    for k, pairs in enumerate(steps):
        for i, slope in pairs: readers[i].append((k, slope))
    d = {len(steps) - 1: 1.0}
    for i in range(len(steps) - 2, -1, -1): d[i] = sum(d[k] * slope for k, slope in readers[i])
    return [float(d[i]) for i in range(len(steps))]


def ages__if(inputs):
    g = [0] * len(inputs)
    for k in range(len(inputs)):
        if inputs[k]: g[k] = max(g[i] for i in inputs[k]) + 1
    return g


def power__from_y(dy, y, a, b): return dy * y * b / a, dy * np.log(a) * y


def power__exponential(dy, y, a, b):
    ln = np.log(a)
    e = np.exp(b * ln) * dy
    return e * b / a, e * ln


def order__post_order_reversed(reads, y):
    done, found, todo = set(), [], [(y, False)]
    while todo:
        k, left = todo.pop()
        if left: found.append(k)
        elif k not in done:
            done.add(k)
            todo.append((k, True))
            todo.extend((x, False) for x in reads[k] if x not in done)
    return found[::-1]
