"The learning rate as a pure function of the step"
import math


def constant(step, lr):
    "The same learning rate always"
    return lr


def warmup(step, lr, steps):
    "A line from lr/steps at step 0 to lr at step `steps` - 1, and lr from then on"
    return lr if step >= steps else lr * (step + 1) / steps


def cosine(step, lr, steps, warmup=0, floor=0.0):   # steps: of the whole run, warm-up included; floor: as a fraction of lr
    "Linear warm-up, then half a cosine from lr to floor*lr at step `steps` - 1, and floor*lr for ever after"
    if step < warmup: return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def step_decay(step, lr, every, factor=0.1):
    "Times `factor` after each `every` steps"
    return lr * factor ** (step // every)


def plateau(history, lr, factor=0.1, patience=10, threshold=1e-4, floor=0.0):   # history: validation losses so far
    "Times `factor`, not below floor*lr, whenever more than `patience` losses in a row were not below best*(1 - threshold)"
    best, bad, least = math.inf, 0, floor * lr
    for loss in history:
        if loss < best * (1 - threshold): best, bad = loss, 0
        else: bad += 1
        if bad > patience: lr, bad = max(lr * factor, least), 0
    return lr


def wsd(step, lr, steps, warmup=0, decay=0, floor=0.0):   # decay: number of steps at the end; floor: as a fraction of lr
    "Warm-up, stable, decay: a line up, lr, and a line down to floor*lr at step `steps` - 1"
    if step < warmup: return lr * (step + 1) / warmup
    left = min(1.0, max(0, steps - 1 - step) / max(1, decay))
    return lr * (floor + (1 - floor) * left)


def sequence(step, *parts):   # (length, function of the step within the part); the last part goes on for ever
    "One schedule after another"
    for length, schedule in parts[:-1]:
        if step < length: return schedule(step)
        step -= length
    return parts[-1][1](step)
