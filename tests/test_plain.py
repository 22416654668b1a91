"""The plain versions that the chapters show say what the exported ones say, at the ends of every
range as well as in its middle; each is read from the chapter's own cell"""
import ast
import math
import re
from functools import cache
from operator import add
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numpygpt import optimizers
from numpygpt.activations import gelu, gelu_bwd, gelu_exact, relu, sigmoid, softmax
from numpygpt.attention import Attention, KVCache, attend, causal, fold, merge, split, unfold
from numpygpt.backend import xp
from numpygpt.bpe import Merges, naive_merges
from numpygpt.course import Chapter, folder
from numpygpt.data import Windows, ngram_bits
from numpygpt.embedding import Embedding, scatter_add, sinusoidal
from numpygpt.layernorm import LayerNorm
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat, rows, unbroadcast
from numpygpt.optimizers import AdamW
from numpygpt.rope import angles, rotate
from numpygpt.transformer import Block, GPTConfig


@cache
def cell(stem, *patterns):
    "The one cell of a chapter in which all the patterns are found, as a syntax tree"
    source, = (s for _, s in Chapter(folder() / f"{stem}.ipynb").cells()
               if all(re.search(p, s, re.M) for p in patterns))
    return ast.parse(source)


def plain(stem, *wanted, **names):
    "Functions of a chapter, from the cell that defines them, run as far as its last definition"
    body = cell(stem, rf"^def {wanted[0]}\(").body
    end = max(i for i, node in enumerate(body) if isinstance(node, ast.FunctionDef)) + 1
    names |= {"np": np, "math": math}
    exec(compile(ast.Module(body[:end], []), f"<{stem}: {wanted[0]}>", "exec"), names)
    return [names[name] for name in wanted]


def curve(name):
    "The function of one number that chapter 04 takes through `each` to compare it with `name`"
    tree = cell("04_activations", rf"\b{name}\(x\)", r"\beach\(lambda")
    f, = (node.args[0] for node in ast.walk(tree)
          if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "each")
    return eval(compile(ast.Expression(f), f"<04_activations: {name}>", "eval"), {"math": math})


each, softmax_loop = plain("04_activations", "each", "softmax_loop")
heads_loops, = plain("09_attention", "heads_loops",
                     head_loops=plain("09_attention", "head_loops")[0])
rotate_plain, = plain("08_rope", "rotate_plain", angles=angles)

few = settings(max_examples=80, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([1, 2, 3, 4, 5, 7])
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ENDS = 0., -0., 1., -1., 1e-4, 1e4, -1e4


@st.composite
def picks(draw, shape, values, dtype="i8"):
    "Arrays of all these values, of the first one alone, or of the last"
    some = draw(st.sampled_from([values, values[:1], values[-1:]]))
    return np.random.default_rng(draw(seeds)).choice(some, shape).astype(dtype)


@st.composite
def reals(draw, shape, *ends, dtype="f8"):
    "Ordinary numbers, and among them no, few, many or only extreme ones: zeros, ties, one alone"
    ends, share = ends or ENDS, draw(st.sampled_from([0, 0.2, 0.7, 1]))
    some = draw(st.sampled_from([ends, ends, *((end,) for end in ends)]))
    rng = np.random.default_rng(draw(seeds))
    x = np.where(rng.random(shape) < share, rng.choice(some, shape), rng.normal(0, 2, shape))
    return x.astype(dtype)


def near(found, wanted, rtol=1e-12, atol=1e-12):
    "One shape, and the same numbers; infinite ones are equal to themselves"
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


def random_weights(layer, seed, scale=1):
    "The layer in double precision, with weights that are none of its initial ones"
    flat = Flat(layer, "f8")
    flat.w[:] = np.random.default_rng(seed).normal(0, scale, len(flat))
    return layer


# 00 to 03: sums, indices, products

@few
@given(st.data(), st.integers(1, 70) | st.sampled_from([127, 128, 129, 256]))
def test_sums(data, n):
    "To the last bit in the same order; each order within the bound that the chapter derives"
    naive_loop, pairwise_loop, naive, pairwise = plain(
        "00_backend", "naive_loop", "pairwise_loop", "naive", "pairwise")
    x = data.draw(reals(n, dtype="f4"))
    by_order, by_pairs, exact = naive_loop(x), pairwise_loop(x), math.fsum(x.tolist())
    assert by_order == naive(x) and by_order.dtype == by_pairs.dtype == "f4"
    if n & (n - 1) == 0: assert by_pairs == pairwise(x)
    size, u = math.fsum(abs(x).tolist()), 2.0**-24
    for found, depth in ((by_order, n - 1), (by_pairs, (n - 1).bit_length()), (xp.sum(x), n - 1)):
        assert abs(float(found) - exact) <= ((1 + u)**depth - 1) * size


@few
@given(st.data(), shapes)
def test_unbroadcast(data, out):
    unbroadcast_loop, = plain("01_module", "unbroadcast_loop")
    dropped = data.draw(st.integers(0, len(out)))
    shape = tuple(data.draw(st.sampled_from([1, n])) for n in out[dropped:])
    dy = data.draw(reals(out))
    near(unbroadcast(dy, shape), unbroadcast_loop(dy, shape), atol=1e-9)


@few
@given(st.data(), sizes, sizes, st.integers(0, 9))
def test_rows_that_were_picked_get_their_gradients(data, V, C, N):
    index_loop, index_vjp = plain("01_module", "index_loop", "index_vjp")
    scatter_loops, = plain("06_embedding", "scatter_loops")
    ids = data.draw(picks(N, range(V)))
    x, dy = np.ones((V, C)), data.draw(reals((N, C)))
    want = index_loop(dy, x, ids)
    assert np.array_equal(index_vjp(dy, x, ids), want)
    assert np.array_equal(scatter_loops(V, ids, dy), want)
    scatter_add(x, ids, dy)
    near(x, 1 + want, atol=1e-9)


@few
@given(st.data(), sizes, sizes, st.lists(st.integers(1, 3), max_size=3), st.booleans(), seeds)
def test_linear(data, n_in, n_out, lead, bias, seed):
    matmul_loop, backward_loop = plain("01_module", "matmul_loop", "matmul_backward_loop")
    forward_loops, = plain("03_linear", "forward_loops")
    layer = random_weights(Linear(n_in, n_out, np.random.default_rng(seed), bias), seed)
    b = layer.b if bias else np.zeros(n_out)
    x, dy = (data.draw(reals((*lead, n))) for n in (n_in, n_out))
    y = layer(x)
    assert y.shape == dy.shape
    near(rows(y), forward_loops(rows(x), layer.W, b), atol=1e-9)
    near(rows(y), matmul_loop(rows(x), layer.W) + b, atol=1e-9)
    dx, dW = backward_loop(rows(dy), rows(x), layer.W)
    near(rows(layer.backward(dy)), dx, atol=1e-9)
    near(layer.dW, dW, atol=1e-6)                            # products of 1e4 and 1e4 cancel in it


# 04 to 06: curves, softmax, losses, tables

@pytest.mark.parametrize("f, limit", [(relu, 1e4), (sigmoid, 700), (gelu_exact, 1e4)])
@few
@given(data=st.data(), shape=shapes)
def test_curves(f, limit, data, shape):
    "The sigmoid's formula needs exp(-x), which overflows beyond 700"
    x = data.draw(reals(shape, 0., -0., 1e-4, -1e-4, 6., -6., limit, -limit))
    near(f(x), each(curve(f.__name__), x), rtol=1e-13, atol=1e-15)


@few
@given(st.data(), shapes)
def test_gelu(data, shape):
    gelu_naive, gelu_bwd_naive = plain("04_activations", "gelu_naive", "gelu_bwd_naive")
    x, dy = (data.draw(reals(shape, *ENDS, 6., -6.)) for _ in "xy")
    near(gelu(x), gelu_naive(x), rtol=1e-12, atol=1e-14)
    near(gelu_bwd(dy, x), gelu_bwd_naive(dy, x), rtol=1e-11, atol=1e-10)


def shifted(x):
    "Scores (N, V) whose exponentials are numbers: as they are, or with the largest at 0"
    return x if (abs(x) < 600).all() else x - x.max(-1, keepdims=True)


@few
@given(st.data(), st.lists(st.integers(0, 3), max_size=3), sizes, st.booleans())
def test_softmax(data, lead, C, masked):
    "Along each axis, with columns that are out of the question, with and without `out`"
    x = data.draw(reals((*lead, C), *ENDS, *[-math.inf] * masked))
    x[..., data.draw(st.integers(0, C - 1))] = data.draw(reals(lead))       # never all of them
    want = softmax_loop(shifted(rows(x))).reshape(x.shape)
    plain_softmax, = plain("23_cost", "plain_softmax", rng=np.random.default_rng(0), n=1, H=1, T=1)
    near(plain_softmax(x), want)
    for axis in range(x.ndim):
        turned = np.moveaxis(x, -1, axis).copy()
        near(np.moveaxis(softmax(turned, axis=axis), axis, -1), want)
        assert softmax(turned, axis, out=turned) is turned
        near(np.moveaxis(turned, axis, -1), want)
    y = softmax(x.astype("f4"))
    assert y.dtype == "f4"
    near(y, plain_softmax(x.astype("f4")), rtol=1e-6, atol=0)


@few
@given(st.data(), st.lists(st.integers(0, 4), max_size=3), sizes,
       st.sampled_from([-1, -100, 0, 99]), st.booleans())
def test_cross_entropy(data, lead, V, ignored, masked):
    """Tokens that are out of the question, as targets too: then both are infinite. The ignored
    target may be the name of a token, and nothing may be left to learn"""
    cross_entropy_loop, = plain("05_losses", "cross_entropy_loop")
    cross_entropy_naive, = plain("05_losses", "cross_entropy_naive")
    z = data.draw(reals((*lead, V), *ENDS, *[-math.inf] * masked))
    z[..., data.draw(st.integers(0, V - 1))] = data.draw(reals(lead))       # never all of them
    t = data.draw(picks(lead, [*range(V), ignored]))
    loss, dz = cross_entropy(z, t, ignored)
    flat, short = t.reshape(-1), shifted(rows(z))
    near(loss, cross_entropy_loop(short, flat, ignored), atol=1e-11)
    kept = flat != ignored
    assert dz.shape == z.shape and not rows(dz)[~kept].any()
    if kept.any() and (abs(z) < 300).all():
        near(loss, cross_entropy_naive(short[kept], flat[kept]), atol=1e-11)
    if not kept.any(): assert loss == 0


@few
@given(st.data(), shapes, sizes, sizes, st.sampled_from(["i8", "u2", "u1"]), seeds)
def test_embedding(data, shape, V, C, dtype, seed):
    lookup_loops, = plain("06_embedding", "lookup_loops")
    scatter_loops, = plain("06_embedding", "scatter_loops")
    table = random_weights(Embedding(V, C, np.random.default_rng(seed)), seed)
    ids = data.draw(picks(shape, range(V), dtype))
    dy, flat = data.draw(reals((*shape, C))), ids.ravel()
    y = table(ids)
    assert y.shape == dy.shape and np.array_equal(rows(y), lookup_loops(table.W, flat))
    table.backward(dy)
    near(table.dW, scatter_loops(V, flat, rows(dy)), atol=1e-9)


@few
@given(st.integers(1, 40), st.integers(1, 9))
def test_sinusoids(context, C):
    sinusoidal_loops, = plain("06_embedding", "sinusoidal_loops")
    near(sinusoidal(context, C), sinusoidal_loops(context, C))


# 07 to 09: norms, turns, attention

@few
@given(st.data(), st.lists(st.integers(0, 3), max_size=3), sizes, st.sampled_from([1e-5, 1e-3, 1]),
       seeds)
def test_layernorm(data, lead, C, eps, seed):
    "Constant rows, and one channel alone: nothing but eps is left to divide by"
    layernorm_loops, = plain("07_layernorm", "layernorm_loops")
    layer = random_weights(LayerNorm(C, eps), seed)
    x = data.draw(reals((*lead, C)))
    y = layer(x)
    assert y.shape == x.shape
    rounding = 1e-14 * (1 + abs(x).max(initial=0)) / math.sqrt(eps)
    near(rows(y), layernorm_loops(rows(x), layer.g, layer.b, eps), atol=rounding)


@few
@given(st.data(), st.lists(st.integers(0, 3), max_size=2), st.integers(0, 7), st.integers(1, 4),
       st.sampled_from([10000., 10., 1.]), st.sampled_from(["f4", "f8"]), st.booleans())
def test_rotate(data, lead, T, half, base, dtype, gaps):
    "To the last bit, also where x has gaps; and one pair at a time"
    rotate_loops, = plain("08_rope", "rotate_loops")
    shape = *lead, T, 2 * half
    x = data.draw(reals(shape, dtype=dtype))
    if gaps: x = np.repeat(x, 2, -1)[..., ::2]
    cos, sin = (t.astype(dtype) for t in angles(T, 2 * half, base))
    y = rotate(x, cos, sin)
    assert y.dtype == dtype and np.array_equal(y, rotate_plain(x, cos, sin))
    theta = base ** (-np.arange(0, 2 * half, 2) / (2 * half))
    for i in np.ndindex(*lead):
        near(y[i], rotate_loops(x[i], theta), atol=1e-10 if dtype == "f8" else 1e-2, rtol=1e-5)


HEADS = [(1, 1), (4, 1), (4, 2), (4, 4), (6, 3), (3, 3), (5, 1)]     # H, K


@few
@given(st.data(), st.integers(1, 2), st.sampled_from(HEADS), st.integers(1, 4), st.integers(1, 6),
       st.integers(0, 5))
def test_attend(data, B, heads, D, T, before):
    "The last T of S queries, which is all of them or fewer; scores up to 1e4, and ties"
    (H, K), S = heads, T + before
    q, k = (data.draw(reals((B, S, n * D), 0., 1., 100., -100.)) for n in (H, K))
    v = data.draw(reals((B, S, K * D)))
    folded = (fold(split(x, K, D)) for x in (q[:, before:], k, v))
    y, _ = attend(*folded, T, causal(T, S))
    near(merge(unfold(y, T)), heads_loops(q, k, v, D)[:, before:], atol=1e-7)


@few
@given(st.data(), st.integers(1, 2), st.sampled_from(HEADS), st.sampled_from([1, 2, 4]),
       st.integers(1, 5), st.integers(0, 4), st.booleans(), st.booleans(), seeds)
def test_attention(data, B, heads, D, T, before, bias, turned, seed):
    "The whole text at once, and its last T positions after a cache has seen the others"
    (H, K), S = heads, T + before
    attn = Attention(H * D, H, K, np.random.default_rng(seed), bias)
    random_weights(attn, seed, 0.5).eval()
    x = data.draw(reals((B, S, H * D), 0., 1., 10., -10.))
    rope = angles(S, D) if turned and D % 2 == 0 else None
    q, k, v = attn.q(x), attn.k(x), attn.v(x)
    if rope:
        cut = lambda x: x.reshape(B, S, -1, D).swapaxes(1, 2)
        q, k = (rotate_plain(cut(x), *rope).swapaxes(1, 2).reshape(x.shape) for x in (q, k))
    want = attn.o(heads_loops(q, k, v, D))
    near(attn(x, rope), want, atol=1e-9)
    cache, at = KVCache(B, K, S, D, "f8"), [slice(0, before), slice(before, S)]
    parts = [attn(x[:, s], rope and tuple(t[s] for t in rope), cache)
             for s in at if s.start < s.stop]
    near(np.concatenate(parts, 1), want, atol=1e-9)


# 10 to 14: steps, tokens, windows, blocks

@few
@given(st.data(), st.sampled_from([(0.9, 0.999), (0., 0.), (0., 0.99), (0.9, 0.), (0.5, 0.9999)]),
       st.sampled_from([1e-8, 1e-3, 1.]), st.sampled_from([0., 0.01, 0.5, 3.]),
       st.sampled_from(["both", "matrix", "vectors"]), st.integers(1, 99), seeds)
def test_adamw(data, betas, eps, decay, kind, size, seed):
    "Matrices and vectors, alone and together, in slices of any size; rates that change, and zero"
    adamw_loop, = plain("10_optimizers", "adamw_loop")
    adamw_plain, = plain("10_optimizers", "adamw_plain")
    n_in, n_out, rng = data.draw(sizes), data.draw(sizes), np.random.default_rng(seed)
    flat = Flat(LayerNorm(n_in) if kind == "vectors" else Linear(n_in, n_out, rng, kind == "both"),
                "f8")
    flat.w[:], n = rng.normal(size=len(flat)), flat.n_matrix
    with mock.patch.object(optimizers, "SLICE", size):
        opt = AdamW(flat, 0.1, betas, eps, decay)
    arrays = [flat.w.copy(), np.zeros(len(flat)), np.zeros(len(flat))]
    lists, largest = [x.tolist() for x in arrays], 1
    for t in range(1, 1 + data.draw(st.integers(1, 5))):
        flat.dw[:], lr = data.draw(reals(len(flat))), data.draw(st.sampled_from([1e-3, 0., 1.]))
        opt.step(lr)
        for part, share in ((slice(0, n), decay), (slice(n, len(flat)), 0)):
            how = t, lr, *betas, eps, share
            w, g, m, v = (x[part] for x in (arrays[0], flat.dw, *arrays[1:]))
            for x, new in zip(arrays, adamw_plain(w, g, m, v, *how)): x[part] = new
            w, g, m, v = (x[part] for x in (lists[0], flat.dw.tolist(), *lists[1:]))
            adamw_loop(w, g, m, v, *how)
            for x, new in zip(lists, (w, m, v)): x[part] = new
        found = flat.w, opt.state["m"], opt.state["v"]
        largest = max(largest, abs(flat.w).max())
        for a, b, c in zip(found, arrays, lists):
            near(a, b, rtol=1e-11, atol=1e-12 * largest)
            near(a, np.array(c), rtol=1e-11, atol=1e-12 * largest)


words = st.dictionaries(st.text("abc", max_size=8).map(str.encode), st.integers(0, 9), max_size=12)


@few
@given(words, st.integers(0, 30), st.text("abc", max_size=30),
       st.sampled_from([0, 1, 2, 999, 1000, 1001]))
def test_merges(words, n, text, length):
    "Short pieces and long ones, empty ones too, merged by rank and in order"
    in_order, lowest_rank = plain("12_bpe", "in_order", "lowest_rank", add=add)
    pairs = naive_merges(words, n)
    rules, long = Merges(pairs), (text * (length // max(1, len(text)) + 1))[:length]
    for piece in (text, long):
        ids = rules.ids(piece.encode())
        assert ids == [*map(ord, lowest_rank(piece, pairs))] == [*map(ord, in_order(piece, pairs))]


@few
@given(st.data(), st.integers(1, 9), st.integers(1, 20), st.sampled_from(["u1", "u2", "i8"]))
def test_windows(data, context, n, dtype):
    "From the first start to the last, in any order, repeated, one alone or none"
    windows_by_hand, = plain("13_data", "windows_by_hand")
    tokens = data.draw(picks(context + n, range(256), dtype))
    starts = data.draw(st.lists(st.integers(0, n - 1) | st.sampled_from([0, n - 1]), max_size=6))
    for fast, slow in zip(Windows(tokens, context)[starts],
                          windows_by_hand(tokens, context, starts)):
        assert fast.dtype == np.int64 and fast.shape == (len(starts), context)
        assert np.array_equal(fast, slow.reshape(fast.shape))


@few
@given(st.data(), st.integers(1, 5), st.integers(0, 5))
def test_ngrams(data, V, n):
    "Contexts longer than the text, one possible token, tokens that were never seen"
    ngram_by_hand, = plain("13_data", "ngram_by_hand", log2=math.log2)
    ids = st.lists(st.integers(0, V - 1), min_size=1, max_size=25)
    train, val = data.draw(ids), data.draw(ids)
    near(ngram_bits(train, val, V, n), ngram_by_hand(train, val, V, n))


@few
@given(st.data(), st.integers(1, 2), st.integers(1, 5), st.sampled_from(HEADS), st.integers(1, 2),
       st.sampled_from([1, 3, 8]), seeds)
def test_block(data, B, T, heads, D, F, seed):
    parts = plain("16_transformer", "loop_norm", "loop_linear", "loop_head")
    names = dict(zip(("loop_norm", "loop_linear", "loop_head"), parts), gelu=gelu)
    loop_block, = plain("16_transformer", "loop_block", **names)
    H, K = heads
    config = GPTConfig(n_embd=H * D, n_head=H, n_kv_head=K, n_hidden=F, position="none")
    block = random_weights(Block(config, *np.random.default_rng(seed).spawn(2)), seed, 0.5)
    x = data.draw(reals((B, T, H * D)))
    near(block(x), np.stack([loop_block(row, block, H) for row in x]), rtol=1e-10, atol=1e-8)
