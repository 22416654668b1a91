"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"cosine": "cosine", "plateau": "plateau", "wsd": "wsd",
           "inverse": "inverse_sqrt", "whole": "whole_gradient"}


def cosine__three_cases(step, lr, steps, warmup=0, floor=0.0):
    low, last = floor * lr, steps - 1
    if step < warmup: return lr * (step + 1) / warmup
    if step >= max(last, warmup + 1): return low
    share = (step - warmup) / max(last - warmup, 1)
    return low + (lr - low) * (1 + math.cos(math.pi * share)) / 2


def cosine__half_angle(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr / warmup * (step + 1)
    length = max(steps - warmup - 1, 1)
    share = min(step - warmup, length) / length
    return lr * (1 - (1 - floor) * math.sin(math.pi * share / 2) ** 2)


def cosine__weights(step, lr, steps, warmup=0, floor=0.0):
    if warmup and step + 1 <= warmup: return lr * ((step + 1) / warmup)
    share = min(1, (step - warmup) / max(1, steps - warmup - 1))
    high = 0.5 + 0.5 * math.cos(math.pi * share)
    return high * lr + (1 - high) * floor * lr


def plateau__cuts_counted(history, lr, factor=0.1, patience=10, threshold=1e-4, floor=0.0):
    best, last = None, -1
    for i, loss in enumerate(history):
        if best is None or loss < best - best * threshold: best, last = loss, i
        elif i - last > patience: lr, last = lr if lr < floor else max(factor * lr, floor), i
    return lr


def plateau__one_loss_at_a_time(history, lr, factor=0.1, patience=10, threshold=1e-4, floor=0.0):
    losses, best, left = list(history), None, patience
    while losses:
        loss = losses.pop(0)
        if best is None or loss < (1 - threshold) * best:
            best, left = loss, patience
            continue
        left -= 1
        if left < 0:
            left = patience
            if lr > floor: lr = max(lr * factor, floor)
    return lr


def plateau__by_runs(history, lr, factor=0.1, patience=10, threshold=1e-4, floor=0.0):
    better, best = [], math.inf
    for loss in history:
        better.append(loss < best * (1 - threshold))
        if better[-1]: best = loss
    runs = "".join("+" if b else "-" for b in better).split("+")
    cuts = sum(len(run) // (patience + 1) for run in runs)
    for _ in range(cuts):
        if lr > floor: lr = max(lr * factor, floor)
    return lr


def wsd__three_cases(step, lr, steps, warmup=0, decay=0, floor=0.0):
    if step < warmup: return lr / warmup * (step + 1)
    if decay == 0 or step <= steps - 1 - decay: return lr
    if step >= steps - 1: return lr * floor
    return lr - lr * (1 - floor) * (step - (steps - 1 - decay)) / decay


def wsd__the_lower_of_two_lines(step, lr, steps, warmup=0, decay=0, floor=0.0):
    up = lr * min(1, (step + 1) / warmup) if warmup else lr
    if not decay or step < warmup: return up
    share = max(0.0, (steps - 1 - step) / decay)
    return min(up, floor * lr + (lr - floor * lr) * share)


def wsd__interpolated(step, lr, steps, warmup=0, decay=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    if not decay: return lr
    return float(np.interp(step, [steps - 1 - decay, steps - 1], [lr, floor * lr]))


def inverse__two_cases(step, lr, warmup):
    t = step + 1
    return lr * t / warmup if t <= warmup else lr * warmup**0.5 / t**0.5


def inverse__scaled(step, lr, warmup):
    t = step + 1
    return lr * math.sqrt(warmup) * min(t**-0.5, t * warmup**-1.5)


def whole__loop(grads, counts):
    total = np.zeros_like(grads[0])
    for g, n in zip(grads, counts): total += n * g
    return total / sum(counts)


def whole__average(grads, counts): return np.average(grads, axis=0, weights=counts)
