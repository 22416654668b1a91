"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import math

ANSWERS = {"cosine": "cosine"}


def cosine__begins_at_zero(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * step / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def cosine__never_quite_at_the_floor(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def cosine__comes_back_up(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def cosine__floor_added_on_top(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + 0.5 * (1 + math.cos(math.pi * done)))


def cosine__floor_is_a_rate(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return floor + (lr - floor) * 0.5 * (1 + math.cos(math.pi * done))


def cosine__warmup_not_taken_off(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, step / max(1, steps - 1))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def cosine__quarter_wave(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + (1 - floor) * math.cos(math.pi / 2 * done))


def cosine__one_not_added(step, lr, steps, warmup=0, floor=0.0):
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + (1 - floor) * 0.5 * math.cos(math.pi * done))


def cosine__warmup_one_step_too_long(step, lr, steps, warmup=0, floor=0.0):
    if warmup and step <= warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def cosine__no_warmup(step, lr, steps, warmup=0, floor=0.0):
    done = min(1.0, max(0.0, (step - warmup) / max(1, steps - 1 - warmup)))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
