"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from itertools import zip_longest

import numpy as np

ANSWERS = {"mask": "mask", "padded": "padded", "weights": "each_alike"}


def mask__message_by_message(messages, ids_of):
    found = []
    for i, (role, _) in enumerate(messages):
        end = len(ids_of(messages[:i + 1], False))
        first = len(ids_of(messages[:i], True)) if role == "assistant" else end
        found += [False] * (first - len(found)) + [True] * (end - first)
    return found


def mask__intervals(messages, ids_of):
    spans = [(len(ids_of(messages[:i], True)), len(ids_of(messages[:i + 1], False)))
             for i, m in enumerate(messages) if m[0] == "assistant"]
    return [any(a <= n < b for a, b in spans) for n in range(len(ids_of(messages, False)))]


def padded__rows_put_together(found):
    T = max(len(ids) for ids, _ in found) - 1
    fill = lambda row, with_: np.concatenate([row, np.full(T - len(row), with_)]).astype(int)
    x = [fill(ids[:-1], 0) for ids, _ in found]
    y = [fill(np.where(learned[1:], ids[1:], -1), -1) for ids, learned in found]
    return np.stack(x), np.stack(y)


def padded__letter_by_letter(found):
    T = max(len(ids) - 1 for ids, _ in found)
    x = np.zeros((len(found), T), np.int64)
    y = x - 1
    for b, (ids, learned) in enumerate(found):
        for t in range(len(ids) - 1):
            x[b, t] = ids[t]
            if learned[t + 1]: y[b, t] = ids[t + 1]
    return x, y


def padded__columns(found):
    rows = lambda some, fill: np.array(list(zip_longest(*some, fillvalue=fill))).T
    return (rows([ids[:-1] for ids, _ in found], 0),
            rows([[i if here else -1 for i, here in zip(ids[1:], learned[1:])]
                  for ids, learned in found], -1))


def weights__row_by_row(y):
    w = np.zeros(y.shape)
    for row, targets in zip(w, y):
        if (targets >= 0).any(): row[targets >= 0] = 1 / np.count_nonzero(targets >= 0)
    return w / w.sum()


def weights__without_empty_rows(y):
    learned = (y >= 0).astype(float)
    full = learned.any(1)
    learned[full] /= learned[full].sum(1)[:, None] * full.sum()
    return learned
