"""Attention in blocks: the plain version's numbers, certified, without an array of T times S;
and texts of one window that do not see each other"""
import re
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from numpygpt import attention, transformer
from numpygpt.attention import (KEPT, LONG, ROWS, Attention, KVCache, attend, attend_blocks,
                                attend_blocks_bwd, attend_bwd, attend_within, between, causal,
                                reach, weights)
from numpygpt.gradcheck import caught_by, certify, dot_test, wrongs
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.replicas import Replicas
from numpygpt.rope import angles
from numpygpt.tiling import InBlocks, apart as kept_apart
from numpygpt.generate import beam_search
from numpygpt.shards import document_mask, positions, segments
from numpygpt.transformer import GPT, POSITIONS, GPTConfig, attention_maps, text_starts

rng = np.random.default_rng(7)
N = lambda *shape: rng.normal(size=shape)
T = 150
TEXTS = np.stack([np.arange(T) // 40 * 40, np.arange(T) // 95 * 95])
HOW = {"causal": {}, "a window": dict(window=33), "texts": dict(first=TEXTS),
       "both": dict(window=33, first=TEXTS), "no mask": dict(is_causal=False)}


def inputs(S=T, G=2, D=5): return N(2, 3, G * T, D), N(2, 3, S, D), N(2, 3, S, D)


def slowly(S, window=None, first=None, is_causal=True):
    "Who sees whom, by a loop"
    seen = np.zeros((2, T, S), bool)
    for b, t, j in np.ndindex(seen.shape):
        at = t + S - T
        seen[b, t, j] = (j <= at or not is_causal) and (window is None or j > at - window) and (
            first is None or j >= first[b, t])
    return seen


@pytest.mark.parametrize("keep", [0, T])
@pytest.mark.parametrize("rows", [1, 7, 128, 10_000])
@pytest.mark.parametrize("S, G", [(T, 1), (T, 3), (T + 11, 2)])
@pytest.mark.parametrize("how", HOW)
def test_it_is_the_plain_version(how, S, G, rows, keep, monkeypatch):
    monkeypatch.setattr(attention, "ROWS", rows)
    monkeypatch.setattr(attention, "KEPT", keep)
    (q, k, v), how = inputs(S, G), HOW[how]
    low, high = reach(T, S, **how)
    mask = between(low, high, S)
    assert (mask == slowly(S, **how)[:, None, None]).all()
    if not how: assert (mask == causal(T, S)).all()
    plain, kept = attend(q, k, v, T, mask)
    y, less = attend_blocks(q, k, v, T, low, high)
    do = N(*y.shape)
    np.testing.assert_allclose(y, plain, atol=1e-12)
    np.testing.assert_allclose(weights(*less), weights(*kept), atol=1e-12)
    for mine, whole in zip(attend_blocks_bwd(do, *less), attend_bwd(do, *kept)):
        np.testing.assert_allclose(mine, whole, atol=1e-12)


@pytest.mark.parametrize("keep", [0, T])
@pytest.mark.parametrize("how", [h for h in HOW if h != "no mask"])
def test_it_is_certified(how, keep, monkeypatch):
    monkeypatch.setattr(attention, "KEPT", keep)
    assert certify(InBlocks(2, **HOW[how]), *inputs(), limit=4).ok


@pytest.mark.parametrize("keep", [0, T])
def test_where_scores_are_large_the_largest_of_each_row_is_taken_off(keep, monkeypatch):
    monkeypatch.setattr(attention, "KEPT", keep)
    q, k, v = inputs()
    for size, calm in ((1, True), (20, False)):
        y, less = attend_blocks(size * q, k, v, T, *reach(T, T))
        plain, kept = attend(size * q, k, v, T, causal(T))
        assert (less[4] is None) == calm and np.abs(q @ k.swapaxes(-1, -2)).max() * 20 > 90
        np.testing.assert_allclose(weights(*less), weights(*kept), atol=1e-12)
        for mine, whole in zip((y, *attend_blocks_bwd(y, *less)), (plain, *attend_bwd(y, *kept))):
            np.testing.assert_allclose(mine, whole, atol=1e-12 * size)
    assert certify(InBlocks(2), 20 * q, k, v, limit=4).ok


@pytest.mark.parametrize("mistake", wrongs(InBlocks), ids=lambda w: w.name)
def test_every_mistake_is_caught(mistake):
    layer = InBlocks(2, 70, TEXTS)
    assert mistake.thought and not caught_by(layer, *inputs())["dot test"]
    assert caught_by(mistake.apply(layer), *inputs())["dot test"]


@pytest.mark.parametrize("queries, kept", [(1, 4), (LONG, 4), (LONG + 1, 9)])
def test_the_rule(queries, kept):
    q, k, v = N(1, 2, 2 * queries, 4), N(1, 2, queries, 4), N(1, 2, queries, 4)
    assert len(attend_within(q, k, v, queries)[1]) == kept


@pytest.mark.parametrize("queries", [KEPT, KEPT + 1])
def test_the_weights_wait_for_backward_up_to_so_many_queries(queries):
    q, k, v = N(1, 1, 2 * queries, 4), N(1, 1, queries, 4), N(1, 1, queries, 4)
    _, (*_, kept) = attend_within(q, k, v, queries)
    n = ROWS // 2                                # queries of a block, two heads to a key
    shapes = [a.shape for a in kept]
    assert shapes == [(2 * n, i + n) for i in range(0, queries, n)] * (queries <= KEPT)


def test_short_sequences_keep_their_bits():
    q, k, v = (N(2, 3, n, 8).astype("f4") for n in (2 * LONG, LONG, LONG))
    plain, within = attend(q, k, v, LONG, causal(LONG)), attend_within(q, k, v, LONG)
    assert (plain[0] == within[0]).all() and (plain[1][3] == within[1][3]).all()


@pytest.mark.parametrize("options", [{}, dict(window=100), dict(qk_norm=1e-5), dict(bias=True),
                                     dict(is_causal=False)])
def test_the_layer_in_blocks_is_the_plain_layer(options, monkeypatch):
    made = lambda: Attention(24, 4, 2, np.random.default_rng(0), **options)
    x, dy, rope = N(2, LONG + 50, 24), N(2, LONG + 50, 24), angles(LONG + 50, 6)
    blocked, plain = made(), made()
    mine = [blocked(x, rope), blocked.backward(dy)]
    monkeypatch.setattr(attention, "LONG", 10_000)
    theirs = [plain(x, rope), plain.backward(dy)]
    for a, b in zip(mine + [*blocked.named_gradients().values()],
                    theirs + [*plain.named_gradients().values()]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * np.abs(b).max())


@pytest.mark.parametrize("window", [None, 70])
@pytest.mark.parametrize("sizes", [(400,), (300, 1, 1, 98), (10, 390), (290, 110)])
def test_a_long_prompt_goes_into_the_cache(sizes, window):
    layer = Attention(24, 4, 2, np.random.default_rng(0), window=window).eval()
    x, rope, cache = N(2, 400, 24), angles(400, 6), KVCache(2, 2, 400, 6, "f8")
    whole, parts = layer(x, rope), []
    for n in sizes:
        here = slice(cache.length, cache.length + n)
        parts.append(layer(x[:, here], tuple(t[here] for t in rope), cache))
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-12)


def test_nothing_leaks_from_what_comes_later():
    layer, x = Attention(24, 4, 2, np.random.default_rng(0)), N(1, 400, 24).astype("f4")
    before = layer(x)
    for j in (0, 63, 64, 200, 399):
        after = x.copy()
        after[:, j] += 1
        same = (layer(after) == before).all((0, 2))
        assert same[:j].all() and not same[j:].any()


def test_large_scores_stay_finite_and_float32():
    layer = InBlocks()
    for a in (y := layer(*(1e4 * a.astype("f4") for a in inputs())),
              *layer.backward(np.ones_like(y))):
        assert a.dtype == np.float32 and np.isfinite(a).all()


def test_memory_grows_with_the_context_and_not_with_its_square():
    n = 2048
    q, k, v = (np.ones((1, 2, m, 8), "f4") for m in (2 * n, n, n))
    tracemalloc.start()
    y, kept = attend_within(q, k, v, n)
    attend_blocks_bwd(y, *kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * n * n / 3         # one head's square has 4 n n bytes, and there are four


def gradients(model, x, y, workers=None, micro_batch=1):
    flat = Flat(model)
    if workers is None: model.backward(cross_entropy(model(x), y)[1])
    else:
        with Replicas(model, flat, workers) as team: team.accumulate(x, y, micro_batch)
    return flat.dw.copy()


def long_model(**more):
    sizes = dict(vocab_size=13, context=300, n_layer=2, n_embd=16, n_head=4, n_kv_head=2)
    return GPT(GPTConfig(**sizes, **more), np.random.default_rng(0)).train()


def test_same_bits_for_any_number_of_workers():
    x, y = rng.integers(0, 13, (2, 4, 300))
    one, two, three = (gradients(long_model(dropout=0.1), x, y, n) for n in (1, 2, 3))
    assert (one == two).all() and (one == three).all()


def test_a_recomputed_block_gives_the_same_bits():
    x, y = rng.integers(0, 13, (2, 2, 300))
    plain, again = (gradients(long_model(recompute=r), x, y) for r in (False, True))
    assert (plain == again).all()


def apart(position="rope", T=40, **more):
    "A model that keeps texts apart, in double precision, and ids (2, T) of several texts"
    r = np.random.default_rng(1)
    sizes = dict(vocab_size=11, context=T, n_layer=2, n_embd=16, n_head=4, n_kv_head=2)
    model = GPT(GPTConfig(**sizes, position=position, text_end=0, **more), r).eval()
    flat = Flat(model, "f8")
    flat.w[:] = r.normal(0, 0.3, len(flat))
    ids = np.where(r.random((2, T)) < 0.1, 0, r.integers(1, 11, (2, T)))
    ids[0, :2], ids[1, -1] = 0, 0                # a text of one token, and an end at the very end
    return model, ids


def test_where_texts_begin_is_what_shards_derive():
    model, ids = apart()
    starts, s = text_starts(ids, model.config), segments(ids, 0)
    assert (np.arange(40) - starts == positions(s)).all()
    assert (between(starts, np.arange(40) + 1, 40)[:, 0, 0] == document_mask(s)).all()
    assert text_starts(ids, GPTConfig()) is None


def alone(model, ids):
    "Each text by itself"
    y = np.empty((*ids.shape, 11))
    for b, row in enumerate(segments(ids, 0)):
        for here in (row == s for s in range(row.max() + 1)): y[b, here] = model(ids[b, here][None])
    return y


@pytest.mark.parametrize("T", [40, LONG + 30])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("more", [{}, dict(window=7)])
def test_a_text_in_a_window_is_as_if_alone(position, T, more):
    model, ids = apart(position, T, **more)
    np.testing.assert_allclose(model(ids), alone(model, ids), atol=1e-10)


@pytest.mark.parametrize("position", POSITIONS)
def test_texts_apart_are_certified(position):
    model, ids = apart(position)
    assert max(dot_test(model.train(), ids, per_tensor=True).values()) < 1e-12


@pytest.mark.parametrize("mistake", wrongs(text_starts), ids=lambda w: w.name)
@pytest.mark.parametrize("T", [40, LONG + 30])
def test_every_mistake_about_texts_shows(mistake, T, monkeypatch):
    model, ids = apart(T=T)
    right = alone(model, ids)
    monkeypatch.setattr(transformer, "text_starts", mistake.code)
    with np.errstate(invalid="ignore", divide="ignore"):
        try: assert not np.allclose(model(ids), right, atol=1e-3)
        except (ValueError, IndexError): pass    # or there is nothing at all to attend to


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("sizes", [(1,) * 40, (7, 1, 20, 12), (40,)])
def test_texts_through_a_cache(position, sizes):
    model, ids = apart(position)
    cache, parts, i = model.new_cache(2), [], 0
    for n in sizes: parts.append(model(ids[:, i:i + n], cache)); i += n
    np.testing.assert_allclose(np.concatenate(parts, 1), model(ids), atol=1e-10)
    for c in cache: c.length = 9                 # taken back, and read again
    np.testing.assert_allclose(model(ids[:, 9:], cache), model(ids)[:, 9:], atol=1e-10)


def test_beams_keep_their_texts_apart():
    model, ids = apart(T=40)
    (best, score), *_ = beam_search(model, ids[1, :12], 6, width=3)
    text, logs = np.concatenate([ids[1, :12], best]), 0
    p = model(text[None])[0]
    for t, token in enumerate(best, 11): logs += p[t, token] - np.log(np.exp(p[t]).sum())
    assert abs(logs - score) < 1e-6


def test_recomputed_blocks_keep_texts_apart():
    x, y = rng.integers(0, 13, (2, 2, 300))
    plain, again = (gradients(long_model(recompute=r, text_end=0), x, y) for r in (False, True))
    assert (plain == again).all() and (plain != gradients(long_model(), x, y)).any()


def test_maps_of_long_texts():
    model, ids = apart(T=LONG + 30)
    maps = attention_maps(model, ids)
    hidden = ~document_mask(segments(ids, 0))
    assert not maps[:, np.broadcast_to(hidden[:, None], maps.shape[1:])].any()
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-12)


@pytest.mark.parametrize("more", [dict(text_end=11), dict(text_end=-1),
                                  dict(text_end=0, causal=False)])
def test_an_end_that_is_no_token(more):
    with pytest.raises(ValueError, match="text_end must be an id from 0 to 10"):
        GPTConfig(vocab_size=11, **more)


def test_the_end_is_that_of_the_tokenizer():
    c = GPTConfig(vocab_size=11)
    assert kept_apart(c, SimpleNamespace(special={"<|endoftext|>": 3})).text_end == 3
    with pytest.raises(ValueError, match="this tokenizer has none"):
        kept_apart(c, SimpleNamespace(index={}))


def test_the_command_line_keeps_texts_apart(tmp_path):
    def run(*words):
        done = subprocess.run([sys.executable, "-m", "numpygpt", *words], cwd=tmp_path,
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    (tmp_path / "texts").mkdir()
    for i in range(6):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"text {i} says {i} again\n" * 99)
    assert run("data", "texts", "--out", "tokens")[0] == 0
    small = "--sample", "0", "--workers", "1", "--texts-apart"
    code, said = run("train", "--data", "tokens", "--steps", "2", "--out", "run", *small)
    assert code == 0, said
    info = (tmp_path / "run" / "checkpoint" / "train.json").read_text()
    assert re.search(r'"text_end": \d+', info)
    code, said = run("train", "--data", "texts/1.txt", "--steps", "2", *small)
    assert code and "this tokenizer has none" in said
