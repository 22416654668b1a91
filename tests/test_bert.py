"""The encoder: what the chapter's `mask` hides and asks, who sees whom,
and that filling gaps is learned"""
import math
from pathlib import Path

import nbformat
import numpy as np
import pytest

from numpygpt.bpe import CharTokenizer
from numpygpt.data import tinyplays, unigram_bits
from numpygpt.losses import bits, cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.schedules import cosine
from numpygpt.transformer import GPT, GPTConfig

MASK = 47


@pytest.fixture(scope="module")
def chapter():
    "The functions `corrupt`, `mask` and `loop_mask`, from the cells of the chapter"
    path = Path(__file__).resolve().parents[1] / "nbs" / "36_bert.ipynb"
    nb, names = nbformat.read(path, 4), {"np": np, "MASK": MASK}
    for start in ("def corrupt(", "def loop_mask("):
        source = next(c.source for c in nb.cells if c.source.startswith(start))
        exec(source.split("\nfor ")[0], names)
    return names


def text_ids(n=200_000):
    text = tinyplays(n)
    tokenizer = CharTokenizer([*sorted(set(text)), "_"])
    assert tokenizer.vocab_size == MASK + 1
    return np.array(tokenizer.encode(text))


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_shares_of_the_mask(chapter, rate):
    ids = text_ids().reshape(-1)[:200_000].reshape(-1, 40)
    x, y = chapter["mask"](ids, np.random.default_rng(11), rate)
    chosen = y >= 0
    assert (y[chosen] == ids[chosen]).all() and (y[~chosen] == -1).all()
    assert (x[~chosen] == ids[~chosen]).all()
    for k, n, p in ((chosen.sum(), ids.size, rate), ((x == MASK).sum(), chosen.sum(), 0.8),
                    (((x == ids) & chosen).sum(), chosen.sum(), 0.1 + 0.1 / MASK)):
        assert abs(k / n - p) < 4.5 * math.sqrt(p * (1 - p) / n)
    # every character, none of them the mask
    noise = np.bincount(x[chosen & (x != MASK) & (x != ids)], minlength=MASK)
    assert len(noise) == MASK and noise.min() > 0


@pytest.mark.parametrize("rate", [0, 0.15, 0.4, 1])
def test_masking_by_loops_is_the_same(chapter, rate):
    ids = np.random.default_rng(0).integers(0, MASK, (7, 13))
    masked = [chapter[f](ids, np.random.default_rng(1), rate) for f in ("mask", "loop_mask")]
    for a, b in zip(*masked): assert (a == b).all()
    assert ((masked[0][1] >= 0).mean() in (0, 1)) == (rate in (0, 1))


@pytest.mark.parametrize("position", ["rope", "learned", "sinusoidal", "none"])
def test_who_sees_the_future(position):
    """Bit for bit: a token moves every output of an encoder,
    and only its own and later ones of a GPT"""
    ids, T = np.random.default_rng(2).integers(0, 11, (2, 7)), 7
    for causal in (True, False):
        model = GPT(GPTConfig(11, T, n_layer=2, n_embd=12, n_head=3, position=position,
                              causal=causal), np.random.default_rng(0)).eval()
        before = model(ids)
        for t in range(T):
            changed = ids.copy()
            changed[:, t] = (changed[:, t] + 1) % 11
            moved = (model(changed) != before).any((0, 2))
            assert (moved == (np.arange(T) >= t if causal else np.ones(T, bool))).all()


def test_no_gradient_where_nothing_is_asked(chapter):
    ids = np.random.default_rng(3).integers(0, MASK, (5, 16))
    x, y = chapter["mask"](ids, np.random.default_rng(4), 0.4)
    model = GPT(GPTConfig(MASK + 1, 16, n_layer=1, n_embd=16, n_head=2, causal=False),
                np.random.default_rng(0))
    _, dlogits = cross_entropy(model(x), y)
    assert not dlogits[y < 0].any() and dlogits[y >= 0].any(-1).all()
    nothing, zero = cross_entropy(model(x), np.full_like(y, -1))
    assert nothing == 0 and not zero.any()


def test_a_model_without_a_mask_copies_the_next_token():
    ids, rng = text_ids(), np.random.default_rng(5)
    model = GPT(GPTConfig(MASK + 1, 16, n_layer=1, n_embd=32, n_head=4, causal=False), rng)
    flat = Flat(model)
    optimizer = AdamW(flat, 1e-2)
    for step in range(140):
        rows = ids[rng.integers(0, len(ids) - 17, 16)[:, None] + np.arange(17)]
        flat.zero_grad()
        logits = model(rows[:, :-1])
        loss, dlogits = cross_entropy(logits, rows[:, 1:])
        model.backward(dlogits)
        optimizer.step()
    rows = ids[rng.integers(0, len(ids) - 17, 200)[:, None] + np.arange(17)]
    logits = model.eval()(rows[:, :-1])
    inside, last = (bits(cross_entropy(logits[:, part], rows[:, 1:][:, part])[0])
                    for part in (slice(0, -1), slice(-1, None)))
    assert inside < 1.2 and last > 2.5  # the answer is in view, except at the end


@pytest.mark.parametrize("seed", range(2))
def test_filling_gaps_is_learned(chapter, seed):
    "In a few seconds, to well below what the frequencies of the characters allow"
    ids, rng, steps = text_ids(), np.random.default_rng(seed), 150
    model = GPT(GPTConfig(MASK + 1, 24, n_layer=1, n_embd=48, n_head=4, n_hidden=96,
                          activation="swiglu", norm="rmsnorm", causal=False), rng)
    flat, losses = Flat(model), []
    optimizer = AdamW(flat, 1e-2, (0.9, 0.98))
    for step in range(steps):
        rows = ids[rng.integers(0, len(ids) - 24, 32)[:, None] + np.arange(24)]
        x, y = chapter["mask"](rows, rng, 0.4)
        flat.zero_grad()
        loss, dlogits = cross_entropy(model(x), y)
        model.backward(dlogits)
        optimizer.step(cosine(step, 1e-2, steps, 15))
        losses.append(bits(loss))
    assert np.mean(losses[-20:]) < unigram_bits(ids, ids[:50_000], MASK) - 0.5
