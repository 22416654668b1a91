"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from itertools import combinations

ANSWERS = {"between": "fault_between", "battery": "cheapest_battery"}


def between__from_the_end(errors, limit=1e-10):
    passed = None
    for name, error in reversed(errors):
        if error > limit: return name, passed
        passed = name


def between__by_index(errors, limit=1e-10):
    names = [name for name, _ in errors] + [None]
    at = max((i for i, (_, error) in enumerate(errors) if error > limit), default=-1)
    return None if at < 0 else (names[at], names[at + 1])


def battery__by_combinations(caught, seconds):
    n, found = caught.shape[1], caught.any(1)
    every = [c for k in range(n + 1) for c in combinations(range(n), k)]
    good = [c for c in every if (caught[:, c].sum(1) > 0).tolist() == found.tolist()]
    return min(good, key=lambda c: sum(seconds[i] for i in c))


def battery__step_by_step(caught, seconds):
    "The cheapest way to each set of found bugs, check by check"
    best = {frozenset(): (0.0, ())}
    for i, cost in enumerate(seconds):
        more = frozenset(caught[:, i].nonzero()[0].tolist())
        for bugs, (paid, picks) in list(best.items()):
            new = paid + float(cost), (*picks, i)
            if bugs | more not in best or new < best[bugs | more]: best[bugs | more] = new
    return best[max(best, key=len)][1]
