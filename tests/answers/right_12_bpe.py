"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math
from collections import Counter

from numpygpt.bpe import Merges

ANSWERS = {"merge": "merge", "counts": "pair_counts", "train": "train_merges",
           "encode": "encode_word",
           "bits": "bits_of_text", "per_token": "bytes_per_token", "waiting": "waiting_bytes"}


def merge__index_by_index(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge__skip_flag(ids, pair, new):
    out, skip = [], False
    for a, b in zip(ids, [*ids[1:], None]):
        if skip: skip = False
        elif (a, b) == tuple(pair):
            out.append(new)
            skip = True
        else: out.append(a)
    return out


def merge__as_text(ids, pair, new):
    text = "".join(map(chr, ids)).replace(chr(pair[0]) + chr(pair[1]), chr(new))
    return [ord(c) for c in text]


def merge__look_back(ids, pair, new):
    out, fresh = [], False
    for i in ids:
        if out and fresh and (out[-1], i) == tuple(pair):
            out[-1], fresh = new, False
        else:
            out.append(i)
            fresh = True
    return out


def counts__str_count(word):
    return {pair: word.count(pair) for pair in map("".join, zip(word, word[1:]))}


def counts__jump_over_overlaps(word):
    counts = {}
    for i in range(len(word) - 1):
        pair, j, n = word[i:i + 2], 0, 0
        while j < len(word) - 1:
            here = word[j:j + 2] == pair
            n, j = n + here, j + 1 + here
        counts[pair] = n
    return counts


def counts__last_taken(word):
    counts, end = {}, {}
    for i in range(len(word) - 1):
        pair = word[i:i + 2]
        if end.get(pair, -1) < i:
            counts[pair] = counts.get(pair, 0) + 1
            end[pair] = i + 1
    return counts


def train__recount(words, n):
    texts, merges = [(list(w), k) for w, k in words.items()], []
    for _ in range(n):
        counts = Counter()
        for ids, k in texts:
            for pair in set(zip(ids, ids[1:])):
                counts[pair] += k * (len(ids) - len(merge__index_by_index(ids, pair, -1)))
        best = max(counts, key=lambda p: (counts[p], -p[0], -p[1]), default=None)
        if best is None or counts[best] < 2: break
        new = 256 + len(merges)
        texts = [(merge__index_by_index(ids, best, new), k) for ids, k in texts]
        merges.append(best)
    return merges


def train__sorted(words, n):
    texts, merges = {w.decode("latin-1"): k for w, k in words.items()}, []
    while len(merges) < n:
        pairs = {a + b for w in texts for a, b in zip(w, w[1:])}
        ranked = sorted((-sum(k * w.count(p) for w, k in texts.items()), p) for p in pairs)
        if not ranked or ranked[0][0] > -2: break
        best = ranked[0][1]
        joined = {}
        for w, k in texts.items():
            w = w.replace(best, chr(256 + len(merges)))
            joined[w] = joined.get(w, 0) + k
        merges.append((ord(best[0]), ord(best[1])))
        texts = joined
    return merges


def train__with_the_words_repeated(words, n):
    texts, merges = [list(w) for w, k in words.items() for _ in range(k)], []
    while len(merges) < n:
        counts = Counter()
        for ids in texts:
            end = {}
            for i, pair in enumerate(zip(ids, ids[1:])):
                if end.get(pair, -1) < i: counts[pair] += 1; end[pair] = i + 1
        often = [p for p in counts if counts[p] == max(counts.values())]
        if not often or counts[often[0]] < 2: break
        merges.append(min(often))
        texts = [merge__skip_flag(ids, merges[-1], 255 + len(merges)) for ids in texts]
    return merges


def encode__rank_by_rank(word, rules):
    for pair, new in sorted(rules.items(), key=lambda item: item[1]): word = word.replace(pair, new)
    return word


def encode__lowest_first(word, rules):
    parts = list(word)
    while True:
        best = min((rules[a + b], a, b) for a, b in zip(parts, parts[1:]) if a + b in rules) \
            if any(a + b in rules for a, b in zip(parts, parts[1:])) else None
        if best is None: return "".join(parts)
        parts = merge__skip_flag(parts, best[1:], best[0])


def encode__recursive(word, rules):
    found = [a + b for a, b in zip(word, word[1:]) if a + b in rules]
    if not found: return word
    first = min(found, key=rules.get)
    return encode__recursive(word.replace(first, rules[first]), rules)


def bits__loop(p, lengths):
    return sum(math.log(1 / q, 2) for q in p) / sum(lengths)


def bits__of_the_product(p, lengths): return -math.log2(math.prod(p)) / sum(lengths)


def per_token__loop(words, merges):
    n_bytes = n_tokens = 0
    for word, times in words.items():
        n_bytes += times * len(word)
        n_tokens += times * len(Merges(merges).ids(word))
    return n_bytes / n_tokens


def waiting__tried(data):
    for back in range(4):
        try: data[:len(data) - back].decode("utf-8")
        except UnicodeDecodeError: continue
        return back


def waiting__incremental(data):
    import codecs
    decoder = codecs.getincrementaldecoder("utf8")()
    decoder.decode(bytes(data))
    return len(decoder.getstate()[0])
