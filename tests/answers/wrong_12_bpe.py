"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
from collections import Counter

ANSWERS = {"merge": "merge", "counts": "pair_counts", "train": "train_merges",
           "encode": "encode_word"}


def merge__overlaps_merged_twice(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair): out.append(new)
        else: out.append(ids[i])
        i += 1
    return out


def merge__last_id_lost(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge__first_one_only(ids, pair, new):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == tuple(pair):
            return ids[:i] + [new] + ids[i + 2:]
    return list(ids)


def merge__steps_over_one_too_many(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i:i + 2]) == tuple(pair):
            out.append(new)
            i += 3
        else:
            out.append(ids[i])
            i += 1
    return out


def merge__from_the_right(ids, pair, new):
    out, i = [], len(ids)
    while i > 0:
        if i > 1 and (ids[i - 2], ids[i - 1]) == tuple(pair):
            out.append(new)
            i -= 2
        else:
            out.append(ids[i - 1])
            i -= 1
    return out[::-1]


def merge__either_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if sorted(ids[i:i + 2]) == sorted(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge__last_pair_missed(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i < len(ids) - 2 and (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def counts__overlaps_counted(word):
    return dict(Counter(a + b for a, b in zip(word, word[1:])))


def counts__each_once(word):
    return {pair: 1 for pair in map("".join, zip(word, word[1:]))}


def counts__last_pair_missed(word):
    counts = {}
    for i in range(len(word) - 2): counts[word[i:i + 2]] = word.count(word[i:i + 2])
    return counts


def counts__pairs_side_by_side(word):
    counts = {}
    for i in range(0, len(word) - 1, 2):
        counts[word[i:i + 2]] = counts.get(word[i:i + 2], 0) + 1
    return counts


def counts__pair_with_itself_halved(word):
    counts = {}
    for pair in map("".join, zip(word, word[1:])): counts[pair] = counts.get(pair, 0) + 1
    return {p: n // 2 if p[0] == p[1] and n > 1 else n for p, n in counts.items()}


def _merged(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        here = tuple(ids[i:i + 2]) == pair
        out.append(new if here else ids[i])
        i += 2 if here else 1
    return out


def _trained(words, n, weight=lambda k: k, choose=None, least=2, start=256):
    texts, merges = [(list(w), k) for w, k in words.items()], []
    while len(merges) < n:
        counts = Counter()
        for ids, k in texts:
            for pair in set(zip(ids, ids[1:])):
                counts[pair] += weight(k) * (len(ids) - len(_merged(ids, pair, -1)))
        if not counts: break
        best = choose(counts) if choose else min(counts, key=lambda p: (-counts[p], p))
        if counts[best] < least: break
        texts = [(_merged(ids, best, start + len(merges)), k) for ids, k in texts]
        merges.append(best)
    return merges


def train__ties_by_last(words, n):
    return _trained(words, n, choose=lambda counts: max(counts, key=lambda p: (counts[p], p)))


def train__ties_by_first_seen(words, n):
    texts, merges = [(list(w), k) for w, k in words.items()], []
    while len(merges) < n:
        counts = {}
        for ids, k in texts:
            for pair in dict.fromkeys(zip(ids, ids[1:])):
                more = len(ids) - len(_merged(ids, pair, -1))
                counts[pair] = counts.get(pair, 0) + k * more
        if not counts: break
        best = max(counts, key=counts.get)
        if counts[best] < 2: break
        texts = [(_merged(ids, best, 256 + len(merges)), k) for ids, k in texts]
        merges.append(best)
    return merges


def train__how_often_a_word_occurs_ignored(words, n):
    return _trained(words, n, weight=lambda k: 1)


def train__until_nothing_is_left(words, n):
    return _trained(words, n, least=1)


def train__stops_at_two(words, n):
    return _trained(words, n, least=3)


def train__ids_begin_one_later(words, n):
    return _trained(words, n, start=257)


def train__one_too_many(words, n):
    return _trained(words, n + 1)


def encode__one_pass(word, rules):
    for pair in [a + b for a, b in zip(word, word[1:])]:
        if pair in rules: word = word.replace(pair, rules[pair])
    return word


def encode__longest_first(word, rules):
    while True:
        ready = [a + b for a, b in zip(word, word[1:]) if a + b in rules]
        if not ready: return word
        last = max(ready, key=lambda p: rules[p])
        word = word.replace(last, rules[last])


def encode__leftmost_first(word, rules):
    while True:
        ready = [a + b for a, b in zip(word, word[1:]) if a + b in rules]
        if not ready: return word
        word = word.replace(ready[0], rules[ready[0]], 1)


def encode__only_once(word, rules):
    ready = [a + b for a, b in zip(word, word[1:]) if a + b in rules]
    if not ready: return word
    first = min(ready, key=lambda p: rules[p])
    return word.replace(first, rules[first])


def encode__most_frequent_first(word, rules):
    while True:
        ready = [a + b for a, b in zip(word, word[1:]) if a + b in rules]
        if not ready: return word
        best = max(ready, key=lambda p: (word.count(p), p))
        word = word.replace(best, rules[best])
