"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"windows": "windows_at", "order": "epoch_order", "mixed": "witten_bell"}


def windows__targets_one_shorter(tokens, context, starts):
    at = starts[:, None] + np.arange(context)
    x = tokens[at].astype(np.int64)
    return x[:, :-1], x[:, 1:]


def windows__two_places_later(tokens, context, starts):
    at = starts[:, None] + np.arange(context)
    x, y = tokens[at], tokens[np.minimum(at + 2, len(tokens) - 1)]
    return x.astype(np.int64), y.astype(np.int64)


def windows__the_next_token_only(tokens, context, starts):
    x = tokens[starts[:, None] + np.arange(context)].astype(np.int64)
    return x, tokens[starts + context].astype(np.int64)


def order__from_the_global_generator(n, stride, seed, epoch):
    return np.random.permutation(np.arange(np.random.randint(stride), n, stride))


def order__seed_plus_epoch_without_a_shuffle(n, stride, seed, epoch):
    return np.arange(np.random.default_rng(seed + epoch).integers(stride), n, stride)


def order__drawn_with_replacement(n, stride, seed, epoch):
    return np.random.default_rng([seed, epoch]).integers(0, n, n // stride)


def order__phase_is_the_epoch(n, stride, seed, epoch):
    starts = np.arange(epoch, n, stride)
    return np.random.default_rng([seed, epoch]).permutation(starts)


def mixed__add_one(counts, shorter):
    return (counts + 1) / (counts.sum() + len(counts))


def mixed__back_off_where_unseen(counts, shorter):
    N = counts.sum()
    return np.where(counts > 0, counts / max(N, 1), shorter)


def mixed__n_for_d(counts, shorter):
    N = counts.sum()
    return (counts + N * shorter) / (2 * N) if N else shorter * 1


def mixed__the_number_of_unseen(counts, shorter):
    N, D = counts.sum(), (counts == 0).sum()
    return (counts + D * shorter) / (N + D)


def windows__rolled(tokens, context, starts):
    x = tokens[starts[:, None] + np.arange(context)].astype(np.int64)
    return x, np.roll(x, -1, axis=1)


def windows__the_other_way(tokens, context, starts):
    at = starts[:, None] + np.arange(context)
    return tokens[at + 1].astype(np.int64), tokens[at].astype(np.int64)


def windows__a_view_that_is_not_widened(tokens, context, starts):
    at = starts[:, None] + np.arange(context + 1)
    return tokens[at].astype(np.int64), tokens[at][:, 1:].astype(np.int64)


def order__the_same_each_epoch(n, stride, seed, epoch):
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(rng.integers(stride), n, stride))


def order__always_from_the_first(n, stride, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(np.arange(0, n, stride))


def mixed__never_divided(counts, shorter):
    return counts + (counts > 0).sum() * shorter


def mixed__shorter_as_one_count(counts, shorter):
    N, D = counts.sum(), (counts > 0).sum()
    return (counts + shorter) / (N + D) if N else shorter * 1
