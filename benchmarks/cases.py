"What is compared: the shapes of DESIGN.md section 8, and random data of these shapes"
import numpy as np

from numpygpt.transformer import GPTConfig

STEPS = {"shakespeare": (GPTConfig(vocab_size=512, context=128, n_layer=4, n_embd=256, n_head=8, n_kv_head=4, n_hidden=1024), 32),
         "nano": (GPTConfig(vocab_size=65, context=64, n_layer=4, n_embd=128, n_head=4), 12),
         "10.7M": (GPTConfig(vocab_size=65, context=256, n_layer=6, n_embd=384, n_head=6), 8)}
MNIST = dict(images=60_000, batch=64, sizes=(784, 128, 10))
PROMPT, TOKENS = 16, 96


def batch(config, size):
    "(B, T) token ids and their successors"
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (size, config.context + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def digits(images):
    "Random pixels and labels in MNIST's shapes: the time of an epoch does not depend on what is on the pictures"
    rng = np.random.default_rng(0)
    return rng.random((images, 784), dtype=np.float32), rng.integers(0, 10, images)
