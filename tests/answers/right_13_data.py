"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"windows": "windows_at", "order": "epoch_order", "mixed": "witten_bell",
           "bits": "bits_per_char", "position": "position", "leaked": "leaked_windows"}


def windows__loop(tokens, context, starts):
    x = np.zeros((len(starts), context), np.int64)
    y = np.zeros((len(starts), context), np.int64)
    for b, s in enumerate(starts):
        x[b], y[b] = tokens[s:s + context], tokens[s + 1:s + context + 1]
    return x, y


def windows__sliding_view(tokens, context, starts):
    view = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[starts]
    return view[:, :context].astype(np.int64), view[:, 1:].astype(np.int64)


def windows__two_gathers(tokens, context, starts):
    at = np.add.outer(starts, np.arange(context))
    return np.take(tokens, at).astype("i8"), np.take(tokens, at + 1).astype("i8")


def order__shuffled_in_place(n, stride, seed, epoch):
    rng = np.random.default_rng((seed, epoch))
    starts = np.array([s for s in range(rng.integers(0, stride), n, stride)])
    rng.shuffle(starts)
    return starts


def order__sorted_by_noise(n, stride, seed, epoch):
    rng = np.random.default_rng([epoch, seed, 17])
    starts = np.arange(n)[rng.integers(stride)::stride]
    return starts[np.argsort(rng.random(len(starts)))]


def order__the_standard_library(n, stride, seed, epoch):
    import random
    rng = random.Random(f"{seed}, {epoch}")
    starts = list(range(rng.randrange(stride), n, stride))
    return np.array(rng.sample(starts, len(starts)))


def mixed__a_mixture_of_two(counts, shorter):
    N, D = counts.sum(), np.count_nonzero(counts)
    if N == 0: return shorter.copy()
    share = N / (N + D)
    return share * (counts / N) + (1 - share) * shorter


def mixed__token_by_token(counts, shorter):
    N, D = sum(counts.tolist()), sum(c > 0 for c in counts.tolist())
    p = shorter.copy()
    for v in range(len(p)):
        if N: p[v] = (counts[v] + D * shorter[v]) / (N + D)
    return p


def mixed__without_a_branch(counts, shorter):
    D = np.sign(counts).sum()
    total = counts.sum() + D
    return np.where(total > 0, (counts + D * shorter) / np.maximum(total, 1), shorter)


def bits__log2(loss, chars_per_token): return math.log2(math.exp(loss)) / chars_per_token


def position__walked(step, items, batch_size, drop_last):
    epoch = batch = 0
    for _ in range(step):
        batch += 1
        left = items - batch * batch_size
        if left < (batch_size if drop_last else 1): epoch, batch = epoch + 1, 0
    return epoch, batch


def position__divmod(step, items, batch_size, drop_last):
    whole, rest = divmod(items, batch_size)
    return divmod(step, whole + (rest > 0 and not drop_last))


def leaked__sets(train, val, context):
    used = {t for s in train.tolist() for t in range(s, s + context + 1)}
    return sum(not used.isdisjoint(range(s, s + context + 1)) for s in val.tolist())


def leaked__loops(train, val, context):
    count = 0
    for s in val:
        count += any(t <= s + context and s <= t + context for t in train)
    return int(count)


def position__a_list(step, items, batch_size, drop_last):
    batches = len(range(0, items - (batch_size - 1) * drop_last, batch_size))
    return [step // batches, step % batches]
