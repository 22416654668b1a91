"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import collections
import heapq
import math

import numpy as np

ANSWERS = {"gradients": "reverse_mode", "ages": "generations", "power": "pow_bwd",
           "order": "backward_order",
           "maximum": "max_bwd", "twice": "tanh_twice"}


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


def gradients__nearest_to_the_loss_first(steps):
    d, todo, last = [0.0] * len(steps), [1 - len(steps)], len(steps) - 1
    d[last], waiting = 1.0, {last}
    while todo:
        k = -heapq.heappop(todo)
        for i, slope in steps[k]:
            d[i] += slope * d[k]
            if i not in waiting: heapq.heappush(todo, -i)
            waiting.add(i)
    return d


def ages__if(inputs):
    g = [0] * len(inputs)
    for k in range(len(inputs)):
        if inputs[k]: g[k] = max(g[i] for i in inputs[k]) + 1
    return g


def ages__until_nothing_changes(inputs):
    g, before = [0] * len(inputs), None
    while g != before:
        before = g
        g = [max([g[i] + 1 for i in xs] + [0]) for xs in inputs]
    return g


def ages__generation_by_generation(inputs):
    found, now, place = {}, [k for k, xs in enumerate(inputs) if not xs], 0
    while now:
        found |= dict.fromkeys(now, place)
        place += 1
        now = [k for k, xs in enumerate(inputs) if k not in found and all(i in found for i in xs)]
    return [found[k] for k in range(len(inputs))]


def power__from_y(dy, y, a, b): return dy * y * b / a, dy * np.log(a) * y


def power__exponential(dy, y, a, b):
    ln = np.log(a)
    e = np.exp(b * ln) * dy
    return e * b / a, e * ln


def power__number_by_number(dy, y, a, b):
    da, db = np.empty_like(dy), np.empty_like(dy)
    for at in np.ndindex(dy.shape):
        da[at] = dy[at] * b[at] * float(a[at]) ** (float(b[at]) - 1)
        db[at] = dy[at] * y[at] * math.log(a[at])
    return da, db


def order__reports_counted(reads, y):
    below, todo = {y}, [y]
    for k in todo:
        fresh = [x for x in dict.fromkeys(reads[k]) if x not in below]
        below.update(fresh)
        todo += fresh
    reports = collections.Counter(x for k in below for x in set(reads[k]))
    order = [y]
    for k in order:
        for x in dict.fromkeys(reads[k]):
            reports[x] -= 1
            if reports[x] == 0: order.append(x)
    return order


def order__the_latest_made_first(reads, y):
    below = {y}
    for k in reversed(made := _forward(reads)): below |= set(reads[k]) if k in below else set()
    return [k for k in reversed(made) if k in below]


def _forward(reads):
    "Names so that each stands behind what it was made of"
    done, missing = {}, dict(reads)
    while missing:
        for k in list(missing):
            if all(x in done for x in missing[k]): done[k] = missing.pop(k)
    return list(done)


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


def maximum__loops(dy, x):
    dx = np.zeros_like(x)
    for n, row in enumerate(x):
        best = [i for i, value in enumerate(row) if value == max(row)]
        for i in best: dx[n, i] = dy[n] / len(best)
    return dx


def maximum__where(dy, x):
    ties = np.equal(x, np.max(x, axis=1)[:, None])
    share = (dy / ties.sum(1)).astype(dy.dtype)
    return np.where(ties, share[:, None], 0).astype(x.dtype)


def twice__by_y(ddx, dy, y):
    slope = 1 - y**2
    by_y = ddx * dy * (-2 * y)
    return slope * ddx, by_y * slope


def twice__expanded(ddx, dy, y):
    return ddx - ddx * y * y, 2 * ddx * dy * (y**3 - y)
