"Text to token ids and back: characters, words, and byte-pair encoding"
import json
import re
from collections import Counter, defaultdict
from functools import lru_cache
from heapq import heapify, heappop, heappush
from operator import add
from pathlib import Path


PATTERN = r"'(?:[dmst]|ll|re|ve)(?!\p{L})| ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s"


@lru_cache
def _compiled(pattern):
    "The split pattern, checked: no capturing group and no empty match, which would cut between all characters"
    import regex
    found = regex.compile(pattern)
    if found.groups: raise ValueError(f"the split pattern {pattern!r} has a capturing group: write (?:...) instead of (...)")
    if found.fullmatch(""): raise ValueError(f"the split pattern {pattern!r} matches the empty string: make every alternative take a character")
    return found


def pre_tokens(text, pattern=PATTERN):   # pattern: in the syntax of the package `regex`
    "`text` cut into the pieces that merges never cross; joined together they are the text again"
    pieces = _compiled(pattern).findall(text)
    if sum(map(len, pieces)) != len(text):
        raise ValueError(f"the split pattern {pattern!r} leaves out part of the text: add an alternative for what it skips, such as |\\s+|.")
    return pieces


def pair_counts(word):   # a str whose characters are token ids
    "How many merges each pair of neighbours allows in this word: overlapping occurrences count once"
    counts = Counter(map(add, word, word[1:]))
    for pair, n in counts.items():
        if n > 1 and pair[0] == pair[1]: counts[pair] = word.count(pair)
    return counts


def train_merges(words, n):   # words: {bytes: how often}; n: merges wanted
    "The first `n` merges as pairs of ids: the highest count first, the smallest ids among equals; fewer when no pair occurs twice"
    texts, times = [w.decode("latin-1") for w in words], list(words.values())
    total, where, merges = Counter(), defaultdict(set), []
    for i, word in enumerate(texts):
        for pair, k in pair_counts(word).items():
            total[pair] += k * times[i]
            where[pair].add(i)
    heap = [(-k, pair) for pair, k in total.items()]
    heapify(heap)
    while heap and len(merges) < n:
        k, pair = heappop(heap)
        if -k != total[pair]: heappush(heap, (-total[pair], pair)); continue    # an old count: counts only fall
        if -k < 2: break
        new, fresh = chr(256 + len(merges)), set()
        merges.append((ord(pair[0]), ord(pair[1])))
        for i in where.pop(pair):
            old, word = texts[i], texts[i].replace(pair, new)
            if word == old: continue
            texts[i] = word
            for p, k in pair_counts(old).items(): total[p] -= k * times[i]
            for p, k in pair_counts(word).items():
                total[p] += k * times[i]
                if new in p: where[p].add(i); fresh.add(p)
        for p in fresh: heappush(heap, (-total[p], p))
    return merges


def _json(path):
    "The contents of a tokenizer file, or of tokenizer.json in a folder"
    path = Path(path)
    if path.is_dir(): path = path / "tokenizer.json"
    if not path.is_file(): raise FileNotFoundError(f"there is no tokenizer file {path}: save one with tokenizer.save(path)")
    try: found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is not complete JSON ({e}): it was cut off or damaged; save the tokenizer again") from None
    kind = found.get("model", {}).get("type") if isinstance(found, dict) and isinstance(found.get("model"), dict) else None
    if kind is None: raise ValueError(f"{path} is JSON but holds no tokenizer: it needs an entry 'model' with a 'type'")
    return path, kind, found


class Tokenizer:
    "What the three tokenizers share: `encode`, `decode`, `vocab_size`, `save`, `load`"
    kind = None     # what the file calls it

    def __repr__(self): return f"{type(self).__name__}({self.vocab_size} tokens)"

    def _ids(self, ids):
        "`ids` as a list of ints, checked"
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            bad = next(i for i in ids if not 0 <= i < self.vocab_size)
            raise ValueError(f"token id {bad} is outside this tokenizer's vocabulary of {self.vocab_size}: "
                             "decode with the tokenizer that made the ids")
        return ids

    def save(self, path):   # a file name, or a folder that gets a tokenizer.json
        "Write one JSON file"
        path = Path(path)
        if path.is_dir(): path = path / "tokenizer.json"
        path.write_text(json.dumps(self._to_json(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path):
        "Read what `save` wrote"
        path, kind, found = _json(path)
        if kind != cls.kind: raise ValueError(f"{path} holds a {kind} tokenizer, not {cls.kind}: use load_tokenizer, which reads any")
        try: return cls._from_json(found)
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"{path} lacks a part of a {kind} tokenizer ({e!r}): save the tokenizer again") from None


class CharTokenizer(Tokenizer):
    "One token per character; ids follow the order of the code points"
    kind = "Char"

    def __init__(self, chars):   # all different
        self.chars = list(chars)
        self.index = {c: i for i, c in enumerate(self.chars)}

    @classmethod
    def train(cls, text): return cls(sorted(set(text)))

    @property
    def vocab_size(self): return len(self.chars)

    def encode(self, text):
        try: return list(map(self.index.__getitem__, text))
        except KeyError as e:
            raise ValueError(f"the character {e.args[0]!r} is not among the {self.vocab_size} this tokenizer was trained on: "
                             "train it on text that has it, take it out, or use BPETokenizer, which knows every character") from None

    def decode(self, ids): return "".join([self.chars[i] for i in self._ids(ids)])

    def _to_json(self): return {"model": {"type": self.kind, "chars": self.chars}}

    @classmethod
    def _from_json(cls, found): return cls(found["model"]["chars"])


class WordTokenizer(Tokenizer):
    "One token per word, and one per space or mark between words; what is unknown becomes `<unk>`, id 0"
    kind = "Word"
    unk = "<unk>"

    def __init__(self, words):   # without `<unk>`, all different
        self.words = [self.unk, *words]
        self.index = {w: i for i, w in enumerate(self.words)}

    @staticmethod
    def split(text): return re.findall(r"\w+|\W", text)

    @classmethod
    def train(cls, text, min_count=1, max_size=None):   # max_size counts `<unk>`
        "The most frequent words first, in the order of the code points among equals"
        if max_size is not None and max_size < 2: raise ValueError(f"max_size ({max_size}) must leave room for <unk> and a word: at least 2")
        counts = Counter(cls.split(text))
        words = sorted((w for w, n in counts.items() if n >= min_count), key=lambda w: (-counts[w], w))
        return cls(words[:None if max_size is None else max_size - 1])

    @property
    def vocab_size(self): return len(self.words)

    def encode(self, text): return [self.index.get(w, 0) for w in self.split(text)]

    def decode(self, ids): return "".join([self.words[i] for i in self._ids(ids)])

    def _to_json(self): return {"model": {"type": self.kind, "words": self.words[1:]}}

    @classmethod
    def _from_json(cls, found): return cls(found["model"]["words"])


def byte_alphabet():
    "The printable character by which Hugging Face and GPT-2 files write each of the 256 bytes"
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(b) if b in shown else chr(next(hidden)) for b in range(256)]


class BPETokenizer(Tokenizer):
    "Byte-pair encoding: ids 0..255 are the bytes, then the merges in order, then the special tokens"
    kind = "BPE"
    long = 1000     # bytes: a longer piece is merged rule by rule, a shorter one by lowest rank (the results are equal)

    def __init__(self, merges, special_tokens=(), pattern=PATTERN):   # merges: pairs of ids, in order
        self.merges, self.special_tokens, self.pattern = [(int(a), int(b)) for a, b in merges], list(special_tokens), pattern
        self.tokens = [bytes([b]) for b in range(256)]
        for a, b in self.merges: self.tokens.append(self.tokens[a] + self.tokens[b])
        self.rules = {chr(a) + chr(b): chr(256 + i) for i, (a, b) in enumerate(self.merges)}
        self.special = {s: len(self.tokens) + i for i, s in enumerate(self.special_tokens)}
        clash = [s for s in self.special_tokens if not s or s.encode() in self.tokens]
        if clash or len(self.special) < len(self.special_tokens):
            raise ValueError(f"special tokens must be different, not empty and not tokens already; got {self.special_tokens}")
        self.tokens += [s.encode() for s in self.special_tokens]
        longest_first = sorted(map(re.escape, self.special_tokens), key=len, reverse=True)
        self._special = re.compile("(" + "|".join(longest_first) + ")") if longest_first else None
        self._cache = {}

    @classmethod
    def train(cls, text, vocab_size, special_tokens=(), pattern=PATTERN):
        "Learn merges until there are `vocab_size` tokens, or until no pair of neighbours occurs twice"
        n = vocab_size - 256 - len(special_tokens)
        if n < 0: raise ValueError(f"vocab_size ({vocab_size}) must be at least {256 + len(special_tokens)}: 256 bytes "
                                   f"and {len(special_tokens)} special tokens")
        if vocab_size > 0x110000: raise ValueError(f"vocab_size ({vocab_size}) must be at most {0x110000}")
        empty, words = cls((), special_tokens, pattern), Counter()
        for part in empty._parts(text):
            if part not in empty.special: words.update(pre_tokens(part, pattern))
        return cls(train_merges({_utf8(w): n for w, n in words.items()}, n), special_tokens, pattern)

    @property
    def vocab_size(self): return len(self.tokens)

    def _parts(self, text): return [p for p in self._special.split(text) if p] if self._special else [text]

    def _merge(self, word):   # a str whose characters are ids, here still bytes
        "Apply the merges: lowest rank first, every occurrence, from the left"
        if len(word) > self.long:
            for pair, new in self.rules.items(): word = word.replace(pair, new)
            return word
        while len(word) > 1:
            ready = {self.rules[p]: p for p in map(add, word, word[1:]) if p in self.rules}
            if not ready: break
            new = min(ready)
            word = word.replace(ready[new], new)
        return word

    def _word(self, word, errors="strict"):
        "The ids of one pre-token"
        ids = list(map(ord, self._merge(_utf8(word, errors).decode("latin-1"))))
        if len(self._cache) > 1 << 18: self._cache.clear()
        self._cache[word] = ids
        return ids

    def encode(self, text, special=True, errors="strict"):
        "Token ids of a text; a special token in it becomes its one id, unless `special` is False"
        ids, cache = [], self._cache
        for part in self._parts(text) if special else [text]:
            if special and part in self.special: ids.append(self.special[part]); continue
            for word in pre_tokens(part, self.pattern):
                ids += cache[word] if word in cache else self._word(word, errors)
        return ids

    def decode_bytes(self, ids): return b"".join([self.tokens[i] for i in self._ids(ids)])

    def decode(self, ids):
        "The text; bytes that are not whole UTF-8 characters, as at a cut, show as U+FFFD"
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def encode_bytes(self, data, special=True):
        "Token ids of any bytes, UTF-8 or not; equal to `encode` where they are the UTF-8 of a text"
        return self.encode(bytes(data).decode("utf-8", "surrogateescape"), special, "surrogateescape")

    def _to_json(self):
        letters = byte_alphabet()
        names = ["".join(letters[b] for b in t) for t in self.tokens[:256 + len(self.merges)]]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        split = {"type": "Split", "pattern": {"Regex": self.pattern}, "behavior": "Isolated", "invert": False}
        return {"version": "1.0", "truncation": None, "padding": None,
                "added_tokens": [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
                                  "normalized": False, "special": True} for s, i in self.special.items()],
                "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
                "post_processor": None, "decoder": byte_level,
                "model": {"type": self.kind, "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                          "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                          "vocab": {name: i for i, name in enumerate(names)},
                          "merges": [f"{names[a]} {names[b]}" for a, b in self.merges]}}

    @classmethod
    def _from_json(cls, found):
        vocab = found["model"]["vocab"]
        if any(vocab.get(c) != i for i, c in enumerate(byte_alphabet())):
            raise ValueError("this BPE file does not number the bytes 0 to 255, so BPETokenizer did not write it: read it with Hugging Face tokenizers")
        merges = [m.split(" ") if isinstance(m, str) else m for m in found["model"]["merges"]]
        pattern = found["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        special = sorted(found["added_tokens"], key=lambda t: t["id"])
        return cls([(vocab[a], vocab[b]) for a, b in merges], [t["content"] for t in special], pattern)


def _utf8(text, errors="strict"):
    "The bytes of a text, or an error that names what has none"
    try: return text.encode("utf-8", errors)
    except UnicodeEncodeError as e:
        raise ValueError(f"the text has a lone surrogate {text[e.start]!r}, half of a character, which UTF-8 cannot write: "
                         "take it out, or give the raw bytes to encode_bytes") from None


def load_tokenizer(path):   # a file, or a folder with a tokenizer.json
    "Read a tokenizer of any of the three kinds"
    path, kind, _ = _json(path)
    kinds = {t.kind: t for t in (CharTokenizer, WordTokenizer, BPETokenizer)}
    if kind not in kinds: raise ValueError(f"{path} holds a {kind} tokenizer: only {', '.join(kinds)} can be read")
    return kinds[kind].load(path)
