"Corpora, token files, batches, and the baselines that a model must beat"
import gzip
import hashlib
import os
import re
import zlib
from itertools import permutations
from math import log2
from pathlib import Path
from string import Formatter

import numpy as np

from .bpe import load_tokenizer


NAMES = "Baker Duke Fool Friar Ghost Goose King Moth Nurse Page Queen Witch".split()
WORDS = {"a": "bald bold brave cold cruel damp dim drunk fat glum gold grim grey holy humble hungry lame lost mad meek noble odd old plump pink proud red rude sad shy vain wet".split(),
         "n": ("bat bean bee bell boot bun candle cat clown cow crab crown cup dog drum egg eel frog goat ham hat hen kite "
               "lamb lamp leg letter lute nose nun owl pan pear pie pig pin poet rat rope sock star sword tent toad turnip wig yak").split(),
         "v": "ate bit boiled broke burnt cursed dug feared forgot fried hid hit kissed led lost owed paid sang saw shot sold stole wed wrote".split(),
         "q": "two three four five six nine ten forty".split(),
         "g": ["Alas", "Awake", "Fie", "Good night", "Hark", "Peace", "Well met", "Wake not"],
         "m": ["asleep", "dancing", "in tears", "on a goose", "pursued by bees", "singing", "through a wall", "upside down"]}
RHYMES = [pair for family in ("moon spoon tune noon", "king ring string thing", "night light knight bite", "bear pear chair hair")
          for pair in permutations(family.split(), 2)]
CAST = list(permutations(NAMES, 2))
ENTER, EXIT = "{A}: {g}, {B}.\n", "[Exit {A}, {m}.]\n\n"
TALK = {"{B}: Who {v} my {a1} {n1}?\n{A}: {a2} {n2}s {v} it, {q} {a3} {n3}s.\n": 1/2,
        "{A}: I {v1} {q} {n1}s, you {a1} {n2}!\n{B}: And I {v2} your {a2} {n3}.\n": 1/4,
        "{A}: O {a1} {n1}, O {a2} {R},\n   O {a3} {n2}, O {a4} {S}!\n": 1/4}
MORE = 2/3      # chance that another exchange follows


def _fields(template): return [field for _, field, *_ in Formatter().parse(template) if field]


def choices(template):
    "What a template leaves open: (names of the fields, options); every option is equally likely"
    fields = dict.fromkeys(_fields(template))
    found = [(("R", "S"), RHYMES)] if "R" in fields else []
    return found + [((f,), [(w,) for w in WORDS[f[0]]]) for f in fields if f not in "ABRS"]


def _fill(template, cast, rng):
    "The template with its open choices made"
    values = dict(zip("AB", cast))
    for fields, options in choices(template): values.update(zip(fields, options[rng.integers(len(options))]))
    return template.format(**values)


def scene(rng):
    "One little play"
    cast, kinds, chances = CAST[rng.integers(len(CAST))], list(TALK), np.cumsum(list(TALK.values()))
    lines = [_fill(ENTER, cast, rng)]
    while True:
        lines.append(_fill(kinds[np.searchsorted(chances, rng.random(), "right")], cast, rng))
        if rng.random() >= MORE: return "".join([*lines, _fill(EXIT, cast, rng)])


def tinyplays(n_chars, seed=0):
    "Whole little plays, as many as it takes to reach `n_chars` characters; the same for the same seed"
    rng, scenes, n = np.random.default_rng(seed), [], 0
    while n < n_chars:
        scenes.append(scene(rng))
        n += len(scenes[-1])
    return "".join(scenes)


def _bits(template): return sum(log2(len(options)) for _, options in choices(template))


def _chars(template):
    "Expected length of a filled template"
    mean = {f: sum(len(o[i]) for o in options) / len(options)
            for fields, options in [(("A", "B"), CAST), *choices(template)] for i, f in enumerate(fields)}
    return sum(len(text) + mean.get(field, 0) for text, field, *_ in Formatter().parse(template))


def expected_scene():
    "(bits, characters) that a scene has on average"
    n = 1 / (1 - MORE)                                                          # exchanges in a scene
    coin = -MORE * log2(MORE) - (1 - MORE) * log2(1 - MORE)
    bits = log2(len(CAST)) + _bits(ENTER) + n * (coin + sum(p * (_bits(t) - log2(p)) for t, p in TALK.items())) + _bits(EXIT)
    return bits, _chars(ENTER) + n * sum(p * _chars(t) for t, p in TALK.items()) + _chars(EXIT)


TINYPLAYS_BITS = expected_scene()[0] / expected_scene()[1]      # bits per character: no model can do better on average


def _pattern(template):
    "A regular expression that reads a filled template back"
    options = {f: {o[i] for o in opts} for fields, opts in [(("A", "B"), CAST), *choices(template)] for i, f in enumerate(fields)}
    seen, parts = set(), []
    for text, field, *_ in Formatter().parse(template):
        parts.append(re.escape(text))
        if field: parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>{'|'.join(sorted(options[field]))})")
        seen.add(field)
    return re.compile("".join(parts))


_PATTERNS = {}      # template -> (pattern, what it leaves open), made at first use


def _read(template, text, at, cast=None):
    "The match of a template at a position, when its choices and its cast are possible ones"
    if template not in _PATTERNS: _PATTERNS[template] = _pattern(template), [(f, set(o)) for f, o in choices(template)]
    pattern, opened = _PATTERNS[template]
    m = pattern.match(text, at)
    if not m or any(tuple(m[f] for f in fields) not in options for fields, options in opened): return None
    return m if cast is None or all(m[f] == cast[f] for f in m.groupdict() if f in cast) else None


def tinyplays_surprisal(text):
    "-log2 of the probability of a text of whole scenes, in bits: its one derivation read back, choice by choice"
    at, bits = 0, 0.0
    def lost(): raise ValueError(f"no scene of tinyplays reads like this, from character {at}: {text[at:at + 40]!r}")
    while at < len(text):
        m = _read(ENTER, text, at) or lost()
        cast = {"A": m["A"], "B": m["B"]}
        if cast["A"] == cast["B"]: lost()
        at, bits, talk = m.end(), bits + log2(len(CAST)) + _bits(ENTER), 0
        while not (talk and (m := _read(EXIT, text, at, cast))):
            m, kind = next(((m, t) for t in TALK if (m := _read(t, text, at, cast))), None) or lost()
            at, bits, talk = m.end(), bits + _bits(kind) - log2(TALK[kind]) - (log2(MORE) if talk else 0), talk + 1
        at, bits = m.end(), bits + _bits(EXIT) - log2(1 - MORE)
    return bits


SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
SOURCES = {     # file -> (address, SHA-256 of its contents, unpacked)
    "tinyshakespeare.txt": (SHAKESPEARE, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
    "train-images-idx3-ubyte.gz": (MNIST + "train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte.gz": (MNIST + "train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte.gz": (MNIST + "t10k-images-idx3-ubyte.gz", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte.gz": (MNIST + "t10k-labels-idx1-ubyte.gz", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2")}


def _where(name):
    "The file in the folder that NUMPYGPT_DATA names, else in pooch's cache, downloaded when it is not there"
    if folder := os.environ.get("NUMPYGPT_DATA"):
        path = Path(folder) / name
        if path.is_file(): return path
        raise FileNotFoundError(f"NUMPYGPT_DATA names the folder {folder}, which has no {name}: put it there, or unset NUMPYGPT_DATA to download it")
    import pooch
    try: return Path(pooch.retrieve(SOURCES[name][0], known_hash=None, fname=name, path=pooch.os_cache("numpygpt")))
    except Exception as e:
        raise OSError(f"could not download {name} from {SOURCES[name][0]} ({e}): try again, or get it elsewhere "
                      "and let NUMPYGPT_DATA name its folder") from e


def fetch(name):   # a key of SOURCES
    "The contents of a named file, unpacked and checked"
    path = _where(name)
    try: data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    except (EOFError, OSError, zlib.error) as e: raise ValueError(f"{path} is cut off or damaged ({e}): delete it and fetch it again") from None
    found = hashlib.sha256(data).hexdigest()
    if found != SOURCES[name][1]:
        raise ValueError(f"{path} has the wrong contents: SHA-256 {found[:12]}..., needed {SOURCES[name][1][:12]}...; "
                         f"it was cut off or changed ({len(data)} bytes): delete it and fetch it again")
    return data


def load_text(name):   # 'tinyplays', 'shakespeare', or the path of a UTF-8 file
    "A corpus as one string"
    if name == "tinyplays": return tinyplays(500_000)
    if name == "shakespeare": return fetch("tinyshakespeare.txt").decode()
    path = Path(name)
    if not path.is_file(): raise FileNotFoundError(f"no text file {path}: give 'tinyplays', 'shakespeare', or the path of a text file")
    data = path.read_bytes()
    try: text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e: raise ValueError(f"{path} is not UTF-8 text (byte {e.start} is {data[e.start]:#04x}): convert it to UTF-8") from None
    if "\0" in text: raise ValueError(f"{path} has a zero byte at {data.index(0)}, so it is a binary file: give a text file")
    if not text.strip(): raise ValueError(f"{path} is empty: give a file with text in it")
    return text.replace("\r\n", "\n")


def _idx(data):
    "An array from MNIST's format: two zeros, the type (8: bytes), the rank, the shape as big-endian int32, the bytes"
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def mnist():
    "(train_x, train_y, test_x, test_y), bytes: 60,000 and 10,000 handwritten digits of 28 by 28"
    return tuple(_idx(fetch(name)) for name in SOURCES if name.endswith(".gz"))


def write_tokens(path, ids, vocab_size):
    "A token file: .npy with uint16 where the vocabulary fits, else uint32; swapped in when complete"
    ids, path = np.asarray(ids), Path(path)
    if ids.size == 0: ids = ids.astype(np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu": raise ValueError(f"token ids must be a row of integers; got {ids.dtype} of shape {ids.shape}")
    if ids.size and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(f"token ids must lie in 0 to {vocab_size - 1}; these go from {ids.min()} to {ids.max()}: is it the right tokenizer?")
    beside = path.with_name(path.name + ".part")
    with open(beside, "wb") as f: np.save(f, ids.astype(np.uint16 if vocab_size <= 1 << 16 else np.uint32))
    os.replace(beside, path)


def read_tokens(path):
    "The tokens of a file as a memory map: nothing is read until it is used"
    if not Path(path).is_file(): raise FileNotFoundError(f"there is no token file {path}: write one with write_tokens or Dataset.save")
    try: tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as e: raise ValueError(f"{path} is no whole token file ({e}): it was cut off or is something else; write it again") from None
    if tokens.ndim != 1 or tokens.dtype not in (np.uint16, np.uint32):
        raise ValueError(f"{path} holds {tokens.dtype} of shape {tokens.shape}, not a row of uint16 or uint32 tokens")
    return tokens


def split_text(text, val_fraction=0.1):
    "(train, val): the last part is held out, in one piece"
    if not 0 <= val_fraction < 1: raise ValueError(f"val_fraction ({val_fraction}) must be at least 0 and below 1: try 0.1")
    cut = round(len(text) * (1 - val_fraction))
    return text[:cut], text[cut:]


class Dataset:
    "Train and validation tokens with the tokenizer that made them"
    def __init__(self, train, val, tokenizer): self.train, self.val, self.tokenizer = train, val, tokenizer

    def __repr__(self): return f"Dataset({len(self.train):,} tokens to train on, {len(self.val):,} held out, {self.tokenizer!r})"

    @property
    def vocab_size(self): return self.tokenizer.vocab_size

    @classmethod
    def from_text(cls, text, tokenizer, val_fraction=0.1):
        "Split first, then tokenize each part, so that no token lies across the cut"
        if not text: raise ValueError("the text is empty: give some text to learn from")
        dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        return cls(*(np.array(tokenizer.encode(part), dtype) for part in split_text(text, val_fraction)), tokenizer)

    def save(self, folder):
        "train.npy, val.npy and tokenizer.json"
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", "val"): write_tokens(folder / f"{name}.npy", getattr(self, name), self.vocab_size)
        self.tokenizer.save(folder / "tokenizer.json")

    @classmethod
    def open(cls, folder):
        "What `save` wrote; the tokens stay on disk"
        folder = Path(folder)
        if not folder.is_dir(): raise FileNotFoundError(f"there is no dataset folder {folder}: make one with Dataset.save")
        return cls(read_tokens(folder / "train.npy"), read_tokens(folder / "val.npy"), load_tokenizer(folder / "tokenizer.json"))

    def chars_per_token(self, part="val"):
        "For bits per character: divide bits per token by it"
        tokens = getattr(self, part)
        return len(self.tokenizer.decode(tokens)) / len(tokens)


def _check(indices, n):
    if isinstance(indices, slice): indices = range(n)[indices]
    indices = np.asarray(indices, np.int64)
    if indices.size and not 0 <= indices.min() <= indices.max() < n: raise IndexError(f"indices must lie in 0 to {n - 1}; these go from {indices.min()} to {indices.max()}")
    return indices


class Windows:
    "Every stretch of `context` tokens with the same stretch one token later; the index is where it starts"
    def __init__(self, tokens, context):
        if context < 1: raise ValueError(f"context ({context}) must be at least 1")
        if len(tokens) <= context:
            raise ValueError(f"{len(tokens)} tokens are too few for a context of {context}, which needs {context + 1}: "
                             "take a shorter context, more text, or another val_fraction")
        self.tokens, self.context, self.stride = tokens, context, context

    def __len__(self): return len(self.tokens) - self.context

    def __getitem__(self, indices):
        both = self.tokens[_check(indices, len(self))[..., None] + np.arange(self.context + 1)].astype(np.int64)    # (B, T+1)
        return both[..., :-1], both[..., 1:].copy()                             # (B, T), (B, T)


class Arrays:
    "Pairs of rows from two arrays, such as images and labels"
    stride = 1

    def __init__(self, x, y):
        if len(x) != len(y): raise ValueError(f"x and y must be equally long; got {len(x)} and {len(y)}")
        self.x, self.y = x, y

    def __len__(self): return len(self.x)

    def __getitem__(self, indices):
        indices = _check(indices, len(self))
        return self.x[indices], self.y[indices]


class DataLoader:
    "Batches: `next()` is endless, `iter()` gives the rest of an epoch; the order follows from (seed, epoch) alone"
    def __init__(self, data, batch_size, seed=0, shuffle=True, drop_last=True):
        self.data, self.batch_size, self.seed, self.shuffle, self.drop_last = data, batch_size, seed, shuffle, drop_last
        self.epoch, self.batch, self._order = 0, 0, (None, None)
        if batch_size < 1: raise ValueError(f"batch_size ({batch_size}) must be at least 1")
        if len(self) == 0:
            raise ValueError(f"an epoch has {self.items} items, fewer than one batch of {batch_size}: "
                             "take a smaller batch_size or more data, or drop_last=False")

    @property
    def items(self):
        "How many items an epoch visits: with a random phase, as many as every phase has"
        n, stride = len(self.data), self.data.stride
        return max(min(n, 1), n // stride) if self.shuffle else -(-n // stride)

    def __len__(self): return self.items // self.batch_size if self.drop_last else -(-self.items // self.batch_size)

    def order(self, epoch):
        "The indices of an epoch: a random phase below the stride, then every stride-th, shuffled"
        if self._order[0] != epoch:
            n, stride = len(self.data), self.data.stride
            rng = np.random.default_rng([self.seed, epoch])
            phase = rng.integers(min(n, stride)) if self.shuffle else 0
            starts = np.arange(phase, n, stride)
            self._order = epoch, (rng.permutation(starts) if self.shuffle else starts)[:self.items]
        return self._order[1]

    def next(self):
        "The next batch (x, y), into the next epoch where one ends"
        at = self.batch * self.batch_size
        x, y = self.data[self.order(self.epoch)[at:at + self.batch_size]]
        self.batch += 1
        if self.batch == len(self): self.epoch, self.batch = self.epoch + 1, 0
        return x, y

    def __iter__(self):
        epoch = self.epoch
        while self.epoch == epoch: yield self.next()

    def _setting(self): return {"seed": self.seed, "batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last,
                                "length": len(self.data), "stride": self.data.stride}

    def state_dict(self):
        "Where the loader stands, as plain numbers that JSON can hold"
        return {"epoch": self.epoch, "batch": self.batch, **self._setting()}

    def load_state_dict(self, state):
        "Go on from `state_dict()`: the same batches follow"
        for name, here in self._setting().items():
            if state.get(name) != here: raise ValueError(f"the saved loader had {name} {state.get(name)}, this one has {here}: make it as it was")
        self.epoch, self.batch = state["epoch"], state["batch"]


def uniform_bits(V): return log2(V)


def ngram_bits(train_ids, val_ids, V, n):   # n: length of the pieces that are counted
    "Bits per token on `val_ids` of the n-gram model counted on `train_ids`, smoothed by Witten and Bell: no setting to tune"
    if V ** n >= 1 << 63: raise ValueError(f"{V} ** {n} does not fit in 64 bits: take a smaller n or vocabulary")
    train, val = np.asarray(train_ids, np.int64), np.asarray(val_ids, np.int64)
    if not len(train) or not len(val): raise ValueError(f"both parts need tokens; got {len(train)} to count and {len(val)} to score")
    p, grams, scored = np.full(len(val), 1 / V), np.zeros(len(train) + 1, np.int64), np.zeros(len(val) + 1, np.int64)
    for k in range(n):                                                          # k: tokens of context
        contexts, grams = grams[:-1], grams[:-1] * V + train[k:]
        scored_contexts, scored = scored[:-1], scored[:-1] * V + val[k:]
        kinds, times = np.unique(grams, return_counts=True)
        distinct, seen = (_lookup(*np.unique(c, return_counts=True), scored_contexts) for c in (kinds // V, contexts))
        known = seen > 0
        p[k:][known] = ((_lookup(kinds, times, scored) + distinct * p[k:]) / np.maximum(seen + distinct, 1))[known]
    return float(-np.log2(p).mean())


def _lookup(keys, values, wanted):
    "values[keys == wanted], 0 where there is none"
    if not len(keys): return np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def unigram_bits(train_ids, val_ids, V): return ngram_bits(train_ids, val_ids, V, 1)


def bigram_bits(train_ids, val_ids, V): return ngram_bits(train_ids, val_ids, V, 2)
