"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

ANSWERS = {"cosine": "cosine"}


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
