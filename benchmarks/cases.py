"""What is compared, and with what: the shapes, the bounds, the figures that are cited,
and random data of these shapes"""
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from numpygpt.data import load_text, tinyplays
from numpygpt.transformer import GPTConfig

SHAKESPEARE = GPTConfig(vocab_size=512, context=128, n_layer=4, n_embd=256, n_head=8, n_kv_head=4,
                        n_hidden=1024)
STEPS = {"shakespeare": (SHAKESPEARE, 32),
         "nano": (GPTConfig(vocab_size=65, context=64, n_layer=4, n_embd=128, n_head=4), 12),
         "10.7M": (GPTConfig(vocab_size=65, context=256, n_layer=6, n_embd=384, n_head=6), 8),
         **{f"{n} tokens": (replace(SHAKESPEARE, context=n), 4096 // n) for n in (512, 1024, 2048)},
         "49152 words": (replace(SHAKESPEARE, vocab_size=49_152, context=512), 2)}
SCALING = {"batch": ["128x8", "128x16", "128x32", "128x64"],             # context x batch
           # 4,096 tokens in each
           "context": ["64x64", "128x32", "256x16", "512x8", "1024x4", "2048x2"]}
SHARED = "128x32"                                  # foretells the others
SCORES = {"whole": 128, "blocks": 512, "twice": 1536}  # context, of a score timed by itself
TRAINING = {"NumPy-AI": (replace(SHAKESPEARE, dropout=0.1, dropout_at=("mlp",)), 32),
            "numpyGPT": (GPTConfig(vocab_size=69, context=128, n_layer=4, n_embd=256, n_head=4,
                                   activation="relu", position="learned"), 16),
            "Numpy-Transformer": (GPTConfig(vocab_size=65, context=64, n_layer=4, n_embd=128,
                                            n_head=4, position="learned", dropout=0.1), 32),
            "numpygrad": (GPTConfig(vocab_size=65, context=64, n_layer=4, n_embd=128, n_head=4,
                                    position="learned", attn_bias=True, tied=True), 12)}
GENERATIONS = "generation", "generation 8", "generation 32"                # sequences at once
# tokens to train to; merges to encode with
TOKENIZERS = "bpe 512", "bpe 1000", "bpe 8000", "encode 1000"
MNIST = dict(images=60_000, sizes=(784, 128, 10))
# `full`: tokens in the cache of the last setting
GENERATION = dict(prompt=16, tokens=96, context=1024, full=512)
TEXT = dict(characters=None)                       # of the corpus; None: all
SQUARE = 8192                                      # the product that measures a GPU's peak

# ours / PyTorch, at most
RATIOS = {"step shakespeare": 0.95, "step nano": 0.95, "step 10.7M": 0.95,
          "step 512 tokens": 0.9, "step 1024 tokens": 0.9, "step 2048 tokens": 0.9,
          "step 49152 words": 0.5, "generation": 0.7, "mnist": 0.8,
          "memory shakespeare": 1.0, "memory nano": 1.0, "memory 10.7M": 1.0,
          "memory 2048 tokens": 0.7, "memory 49152 words": 0.65}
SECONDS = {"bpe 1000": 1.5}                                              # ours, at most


class Setting(NamedTuple):
    "Another NumPy system in its own default setting"
    case: str                   # what we do in it
    unit: str                   # of all figures; more is better where it is a rate
    bound: float                # for ours
    cited: dict                 # {system: (lowest, highest)}
    value: Callable = lambda seconds: seconds               # from one time of ours to the unit


EPOCHS = 30
RATE = "tokens/s"
SETTINGS = {
    "training, as NumPy-AI":
        Setting("train NumPy-AI", "s a step", 0.7, {"NumPy-AI": (5.5, 6.9)}),
    "training, as numpyGPT":
        Setting("train numpyGPT", "s a step", 0.4, {"numpyGPT": (0.83, 0.83)}),
    "training, as Numpy-Transformer":
        Setting("train Numpy-Transformer", "s a step", 0.18, {"Numpy-Transformer": (1.0, 1.1)}),
    "training, as numpygrad":
        Setting("train numpygrad", "s a step", 0.06, {"numpygrad": (0.45, 0.50)}),
    "MNIST":
        Setting("mnist shuffled", f"s for {EPOCHS} epochs", 12, {"NumPy-AI": (33, 40)},
                lambda s: EPOCHS * s),
    "generation near the start":
        Setting("advance start", RATE, 300, {"NumPy-AI": (28, 28)},
                lambda s: GENERATION["tokens"] / s),
    "generation after 512 tokens":
        Setting("advance full", RATE, 300, {"NumPy-AI": (2.5, 2.5)},
                lambda s: GENERATION["tokens"] / s),
    "BPE to 512":
        Setting("bpe 512", "s", 1, {"NumPy-AI": (0.9, 0.9), "minbpe": (36, 97)}),
    "BPE to 1,000":
        Setting("bpe 1000", "s", 1.5, {"numpyGPT": (50, 50)})}
SYSTEMS = {"NumPy-AI": "github.com/DanFosing/numpy-ai",
           "numpyGPT": "github.com/codiceSpaghetti/numpyGPT",
           "Numpy-Transformer": "github.com/Ultron09/Numpy-Transformer",
           "numpygrad": "github.com/nguyenddang/numpygrad",
           "minbpe": "github.com/karpathy/minbpe"}


def shape(name):   # a name in STEPS, or "context x batch"
    "A GPTConfig and the sequences in a batch"
    if name in STEPS: return STEPS[name]
    context, size = map(int, name.split("x"))
    return replace(SHAKESPEARE, context=context), size


def batch(config, size):
    "(B, T) token ids and their successors"
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (size, config.context + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def prompt(config, sequences, length):
    return np.tile(np.arange(length) % config.vocab_size, (sequences, 1))


def digits():
    """Random pixels and labels in MNIST's shapes:
    the time of an epoch does not depend on what is on the pictures"""
    rng, n = np.random.default_rng(0), MNIST["images"]
    return rng.random((n, 784), dtype=np.float32), rng.integers(0, 10, n)


def corpus():
    """Tinyshakespeare, or without it and without a network as much text of our own;
    and which of the two"""
    try: text, name = load_text("shakespeare"), "tinyshakespeare"
    except Exception: text, name = tinyplays(1_115_394), "tinyplays, for want of tinyshakespeare"
    return text[:TEXT["characters"]], name


def shrink():
    "Everything at the size of a toy, to see that it runs"
    global SHAKESPEARE, SHARED
    toy = lambda c: replace(c, context=8, n_layer=1, n_embd=4 * c.n_head, n_hidden=8 * c.n_head)
    for shapes in (STEPS, TRAINING):
        shapes.update({name: (toy(c), 4) for name, (c, _) in shapes.items()})
    SHAKESPEARE = replace(toy(SHAKESPEARE), context=32)
    SCALING.update(batch=["8x2", "8x4"], context=["4x8", "8x4"])
    SHARED = "8x4"
    SCORES.update(whole=4, blocks=8, twice=16)
    MNIST.update(images=256)
    GENERATION.update(prompt=3, tokens=4, context=32, full=16)
    TEXT.update(characters=20_000)
