"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"mask": "mask", "padded": "padded", "weights": "each_alike"}


def mask__by_the_letters_of_an_answer(messages, ids_of):
    found = []
    for role, text in messages:
        n = len(ids_of([(role, text)], False))
        found += [role == "assistant" and n - 1 - len(text) <= i for i in range(n)]
    return found


def mask__everything_behind_the_first_question(messages, ids_of):
    start = len(ids_of(messages[:1], True))
    return [i >= start for i in range(len(ids_of(messages, False)))]


def padded__with_minus_one_everywhere(found):
    T = max(len(ids) for ids, _ in found) - 1
    x, y = np.full((len(found), T), -1), np.full((len(found), T), -1)
    for b, (ids, learned) in enumerate(found):
        x[b, :len(ids) - 1] = ids[:-1]
        y[b, :len(ids) - 1] = np.where(learned, ids, -1)[1:]
    return x, y


def padded__not_learned_is_not_read(found):
    T = max(len(ids) for ids, _ in found) - 1
    x, y = np.zeros((len(found), T), int), np.full((len(found), T), -1)
    for b, (ids, learned) in enumerate(found):
        x[b, :len(ids) - 1] = np.where(learned, ids, 0)[:-1]
        y[b, :len(ids) - 1] = np.where(learned, ids, -1)[1:]
    return x, y


def weights__long_answers_squared(y):
    learned = y >= 0
    w = learned * learned.sum(1, keepdims=True)
    return w / w.sum()


def weights__one_for_each_row(y):
    return np.repeat((y >= 0).any(1, keepdims=True), y.shape[1], 1) / (y >= 0).any(1).sum()
