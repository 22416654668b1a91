"Values worked out by hand or from the formula of a paper: what no gradient check can know"
import hashlib
import itertools
import json
import math
import os
import shutil
import signal
import stat
from inspect import signature

import numpy as np
import pytest

from numpygpt import checkpoint, files, optimizers
from numpygpt.activations import (Dropout, gelu, gelu_and_slope, gelu_bwd, gelu_exact,
                                  gelu_exact_and_slope, gelu_exact_bwd, relu, relu_and_slope,
                                  relu_bwd, sigmoid, sigmoid_bwd, silu, silu_and_slope, silu_bwd,
                                  softmax, softmax_bwd, swiglu, swiglu_and_slopes, swiglu_bwd)
from numpygpt.attention import (Attention, KVCache, attend, attend_bwd, causal, fold, merge,
                                split, unfold)
from numpygpt.bpe import (BPETokenizer, CharTokenizer, Merges, WordTokenizer, from_hugging_face,
                          hugging_face, pre_tokens)
from numpygpt.data import (TINYPLAYS_BITS, DataLoader, Dataset, Windows, expected_scene, load_text,
                           ngram_bits, tinyplays, tinyplays_surprisal)
from numpygpt.embedding import (Embedding, Position, Unembedding, check_rows, scatter_add,
                                sinusoidal)
from numpygpt.generate import (beam_search, distribution, extend, generate, penalise, pieces,
                               sample, stream, truncate)
from numpygpt.layernorm import LayerNorm, RMSNorm, row_mean
from numpygpt.linear import Linear
from numpygpt.losses import bits, cross_entropy, mae, mse, perplexity
from numpygpt.module import Flat, Module
from numpygpt.optimizers import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.rope import angles, half_split_order, rotate
from numpygpt.training import (PRESETS, Run, Step, TrainConfig, accumulate, evaluate,
                               first_nonfinite, fit, make_optimizer, micro_batch_size, scheduled,
                               spread, train_step)
from numpygpt.transformer import ACTIVATIONS, GPT, NORMS, GPTConfig, attention_maps, check_ids


def near(found, wanted): np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


# Activations

def test_relu_and_its_kink():
    x, dy = np.array([-2., 0, 3]), np.array([5., 6, 7])
    y, slope = relu_and_slope(x)
    assert relu(x).tolist() == y.tolist() == [0, 0, 3]
    assert relu_bwd(dy, x).tolist() == (dy * slope).tolist() == [0, 0, 7]
    assert relu(np.array([1e-30j])).imag == 0                    # so says the complex step, too


def test_sigmoid_and_silu_at_the_logarithm_of_three():
    "exp(-ln 3) = 1/3, so the sigmoid is 3/4 there and 1/4 on the other side"
    x = np.array([-math.log(3), 0, math.log(3)])
    y = sigmoid(x)
    near(y, [1 / 4, 1 / 2, 3 / 4])
    near(sigmoid_bwd(np.array([16., 4, 32]), y), [3, 1, 6])
    silus, slope = silu_and_slope(x)
    near(silu(x), [-math.log(3) / 4, 0, 3 * math.log(3) / 4])
    near(silus, silu(x))
    near(slope, [1 / 4 - math.log(3) * 3 / 16, 1 / 2, 3 / 4 + math.log(3) * 3 / 16])
    near(silu_bwd(np.full(3, 2.), x), 2 * slope)


def test_swiglu_gates_with_its_first_argument():
    a, b, dy = np.array([math.log(3)]), np.array([4.]), np.array([2.])
    near(swiglu(a, b), 3 * math.log(3))
    y, by_a, by_b = swiglu_and_slopes(a, b)
    near([y, by_a, by_b], [[3 * math.log(3)], [3 + math.log(3) * 3 / 4], [math.log(3) * 3 / 4]])
    near(swiglu_bwd(dy, a, b), [2 * by_a, 2 * by_b])


def test_gelu_as_in_the_paper():
    "Phi(1) = 0.8413447460685429 and phi(1) = 0.24197072451914337, from tables of the normal law"
    x, dy, Phi, phi = np.array([-1., 0, 1]), np.full(3, 2.), 0.8413447460685429, 0.24197072451914337
    y, slope = gelu_exact_and_slope(x)
    near(y, [-(1 - Phi), 0, Phi])
    near(gelu_exact(x), y)
    near(slope, [1 - Phi - phi, 0.5, Phi + phi])
    near(gelu_exact_bwd(dy, x), 2 * slope)


def test_gelu_by_tanh():
    "0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) of Hendrycks and Gimpel, in plain Python"
    def formula(x): return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    x, h = np.array([-3., -1, 0, 1, 3]), 1e-6
    near(formula(1.0), 0.8411919906082768)
    y, slope = gelu_and_slope(x)
    near(gelu(x), [formula(v) for v in x])
    near(y, gelu(x))
    np.testing.assert_allclose(slope, [(formula(v + h) - formula(v - h)) / (2 * h) for v in x],
                               atol=1e-9)
    near(gelu_bwd(np.full(5, 2.), x), 2 * slope)
    near(gelu(1.0), formula(1.0))                                # a number by itself


def test_softmax_of_logarithms():
    x = np.log([[1., 2, 5], [1, 1, 2]])
    y = np.array([[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 2 / 4]])
    dy = np.array([[8., 0, 0], [0, 0, 4]])
    dx = np.array([[7 / 8, -2 / 8, -5 / 8], [-2 / 4, -2 / 4, 4 / 4]])
    near(softmax(x), y)
    near(softmax(x.T, axis=0), y.T)
    near(softmax_bwd(dy, y), dx)
    near(softmax_bwd(dy.T, y.T, axis=0), dx.T)
    assert softmax(x, out=x) is x
    near(x, y)


def test_softmax_survives_any_scores():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        near(softmax(np.array([1e4, 0, -1e4])), [1, 0, 0])
        near(softmax(np.array([-1e4, -1e4])), [0.5, 0.5])


def test_dropout_zeroes_its_share_and_scales_the_rest():
    drop, ones = Dropout(0.2, np.random.default_rng(0)), np.ones(100_000)
    y = drop(ones)
    assert set(y.tolist()) == {0, np.float32(1) / np.float32(0.8)}
    assert abs((y == 0).mean() - 0.2) < 0.005                    # four standard deviations
    assert np.array_equal(drop.backward(3 * ones), 3 * y)
    assert drop.eval()(ones) is ones


def test_dropout_takes_a_probability_below_one():
    ones, rng = np.ones(3), np.random.default_rng(0)
    assert Dropout(0, rng)(ones) is ones
    for p in (1, -0.1, 1.5):
        with pytest.raises(ValueError, match=f"at least 0 and below 1, got {p}"): Dropout(p, rng)


# Losses

LOGITS = np.log([[1., 2, 5], [1, 1, 1]])                         # (2, 3)


def test_cross_entropy_by_hand():
    loss, dlogits = cross_entropy(LOGITS, np.array([1, 2]))
    near(loss, (math.log(4) + math.log(3)) / 2)
    near(48 * dlogits, [[3, -18, 15], [8, 8, -16]])
    loss, dlogits = cross_entropy(LOGITS, np.array([0, 0]))      # the first id is an id like others
    near(loss, (math.log(8) + math.log(3)) / 2)
    near(48 * dlogits, [[-21, 6, 15], [-16, 8, 8]])


def test_cross_entropy_ignores_minus_one():
    loss, dlogits = cross_entropy(LOGITS, np.array([1, -1]))
    near(loss, math.log(4))
    near(8 * dlogits, [[1, -6, 5], [0, 0, 0]])
    loss, dlogits = cross_entropy(LOGITS, np.array([1, 0]), ignore_index=1)
    near(loss, math.log(3))
    near(3 * dlogits, [[0, 0, 0], [-2, 1, 1]])
    loss, dlogits = cross_entropy(LOGITS, np.array([-1, -1]))
    assert loss == 0 and not dlogits.any()


def test_cross_entropy_divides_by_the_count_of_the_whole():
    loss, dlogits = cross_entropy(LOGITS, np.array([1, -1]), count=4)
    near(loss, math.log(4) / 4)
    near(32 * dlogits, [[1, -6, 5], [0, 0, 0]])


def test_cross_entropy_of_sure_models():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        near(cross_entropy(np.array([[1e4, 0.]]), np.array([0]))[0], 0)
        near(cross_entropy(np.array([[1e4, 0.]]), np.array([1]))[0], 1e4)
        near(cross_entropy(np.array([[-1e4, -1e4]]), np.array([1]))[0], math.log(2))


@pytest.mark.parametrize("targets, said", [
    ([0, 3], "token ids from 0 to 2 .or -1, ignored.; got 0 to 3"),
    ([-2, 0], "token ids from 0 to 2 .or -1, ignored.; got -2 to 0"),
    ([0], r"the shape \(2,\), one id for each row of logits; got \(1,\)"),
    ([0, 0, 0], r"the shape \(2,\), one id for each row of logits; got \(3,\)")])
def test_cross_entropy_says_what_is_no_target(targets, said):
    with pytest.raises(ValueError, match=said): cross_entropy(LOGITS, np.array(targets))


def test_mean_errors():
    y, target = np.array([[1., 2], [3, 3]]), np.array([[0., 4], [3, 6]])       # 1, -2, 0, -3
    loss, dy = mse(y, target)
    near(loss, 14 / 4)
    near(dy, [[0.5, -1], [0, -1.5]])
    loss, dy = mae(y, target)
    near(loss, 6 / 4)
    near(dy, [[0.25, -0.25], [0, -0.25]])
    assert all(f(y.astype("f4"), target.astype("f4"))[1].dtype == np.float32 for f in (mse, mae))


def test_perplexity_and_bits():
    near(perplexity(0), 1)
    near(perplexity(math.log(50257)), 50257)
    assert 1e307 < perplexity(708) < math.inf == perplexity(710) == perplexity(1e6)
    near([bits(math.log(2)), bits(math.log(8))], [1, 3])
    near(bits(math.log(64), per_token=2.5), 6 / 2.5)


# Embeddings and positions

def test_scatter_add_of_aab():
    dW = np.array([[100., 200], [300, 400], [500, 600]])
    dy = np.array([[1., 0], [10, 5], [0, 7]])
    scatter_add(dW, np.array([0, 0, 1]), dy)
    assert dW.tolist() == [[111, 205], [300, 407], [500, 600]]
    scatter_add(dW, np.array([2]), dy[:1])
    assert dW.tolist() == [[111, 205], [300, 407], [501, 600]]
    scatter_add(dW, np.array([], int), dy[:0])
    assert dW.tolist() == [[111, 205], [300, 407], [501, 600]]


def test_ids_are_integers_of_the_table():
    for good in ([0, 6], [6, 0], []):
        for kind in ("i8", "u2"): check_rows(np.array(good, kind), 7)
    for low, high in ((0, 7), (-1, 6), (-1, 7)):
        with pytest.raises(ValueError, match=f"0 to 6 for a table of 7 rows, got {low} to {high}"):
            check_rows(np.array([low, high]), 7)
    for bad in (1.0, True):
        with pytest.raises(TypeError, match="with integers"): check_rows(np.array([bad]), 7)


@pytest.mark.parametrize("std", [0.02, 0.3])
@pytest.mark.parametrize("kind", [Embedding, Position])
def test_tables_start_small_and_around_zero(kind, std):
    rng = np.random.default_rng(0)
    W = (kind(300, 100, rng) if std == 0.02 else kind(300, 100, rng, std)).W
    assert W.shape == (300, 100)
    assert abs(W.std() / std - 1) < 0.02 and abs(W.mean()) < 0.03 * std        # four to five sigma


def test_a_tied_head_adds_to_what_is_there():
    emb = Embedding(3, 2, np.random.default_rng(0))
    emb.W[...], emb.dW[...] = [[1, 2], [3, 4], [5, 6]], 100
    head = Unembedding(emb)
    assert head(np.array([[1., 10]])).tolist() == [[21, 43, 65]]
    assert head.backward(np.array([[1., 0, 2]])).tolist() == [[11, 14]]
    assert emb.dW.tolist() == [[101, 110], [100, 100], [102, 120]]


def test_positions_are_counted_from_start():
    pos = Position(4, 1, np.random.default_rng(0))
    pos.W[...] = [[1], [2], [3], [4]]
    x = np.full((2, 2, 1), 10.)
    assert pos(x).tolist() == [[[11], [12]]] * 2
    assert pos(x, 2).tolist() == [[[13], [14]]] * 2              # the last place that fits
    pos.backward(np.array([[[1.], [2]], [[10], [20]]]))
    assert pos.dW.tolist() == [[0], [0], [11], [22]]
    for start in (3, 4, -1):
        with pytest.raises(ValueError, match=f"4 places, and places {start} to {start + 1}"):
            pos(x, start)


def test_sinusoids_as_in_the_paper():
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(same); Vaswani et al. 2017, 3.5

    With d = 4 the divisors are 1 and 10000^(2/4) = 100; with d = 8 they are 1, 10, 100, 1000."""
    table = sinusoidal(3, 4)
    assert table.dtype == np.float64
    near(table[0], [0, 1, 0, 1])
    near(table[1], [0.8414709848078965, 0.5403023058681398,      # sin 1, cos 1
                    0.009999833334166664, 0.9999500004166653])   # sin 1/100, cos 1/100
    near(table[2], [0.9092974268256817, -0.4161468365471424,
                    0.01999866669333308, 0.9998000066665778])
    angles = [700, 70, 7, 0.7]
    near(sinusoidal(701, 8)[700], [f(a) for a in angles for f in (math.sin, math.cos)])


def test_sinusoids_of_another_base_and_an_odd_width():
    angles = [3, 0.3]                                            # 3, and 3 / 100^(2/4)
    near(sinusoidal(4, 4, base=100)[3], [f(a) for a in angles for f in (math.sin, math.cos)])
    near(sinusoidal(2, 3, base=1000), [[0, 1, 0], [math.sin(1), math.cos(1), math.sin(0.01)]])


# Norms

def test_row_mean_by_hand():
    a, b = np.array([[1., 2, 3]]), np.array([[4., 5, 9]])
    near(row_mean(a), [[2]])
    near(row_mean(a, b), [[41 / 3]])
    near(row_mean(a, b, b), [[(16 + 50 + 243) / 3]])


def test_layernorm_by_hand():
    "(5, 5, 2) has mean 4 and variance 2; with eps = 2 the standard deviation is 2"
    layer, x = LayerNorm(3, eps=2), np.array([[5., 5, 2], [7, 7, 7]])
    near(layer(x), [[0.5, 0.5, -1], [0, 0, 0]])                  # fresh: gain 1, bias 0
    layer.g[...], layer.b[...], layer.dg[...], layer.db[...] = [2, -1, 3], [1, 0, -1], 100, 100
    near(layer(x), [[2, -0.5, -4], [1, 0, -1]])
    dx = layer.backward(np.array([[3., 0, 0], [0, 4, 0]]))       # dn = (6, 0, 0) and (0, -4, 0)
    near(dx[0], [1.75, -1.25, -0.5])                             # ((6, 0, 0) - 2 - n) / 2
    near(dx[1], np.array([4, -8, 4]) / 3 / math.sqrt(2))
    near(layer.dg, [101.5, 100, 100])
    near(layer.db, [103, 104, 100])


def test_rmsnorm_by_hand():
    "(6, 2) has the mean square 20; with eps = 44 the root is 8"
    layer, x = RMSNorm(2, eps=44), np.array([[6., 2]])
    near(layer(x), [[0.75, 0.25]])
    layer.g[...], layer.dg[...] = [8, 4], 100
    near(layer(x), [[6, 1]])
    near(layer.backward(np.array([[1., 0]])), [[0.71875, -0.09375]])    # (8, 0) - 3 n, over 8
    near(layer.dg, [100.75, 100])


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_eps_is_one_in_a_hundred_thousand_and_inside_the_root(norm):
    "A mean square of 3e-5 and eps = 1e-5 make 4e-5"
    x = math.sqrt(3e-5) * np.array([[1., -1]])
    near(norm(2)(x), [[math.sqrt(3) / 2, -math.sqrt(3) / 2]])


# Rotary position

def test_angles_by_hand():
    "Su et al. 2021, 3.2.2: theta_i = 10000^(-2i/d), which is 1 and 1/100 for d = 4"
    cos, sin = angles(10_001, 4)
    assert cos.dtype == sin.dtype == np.float64 and cos.shape == sin.shape == (10_001, 2)
    near(cos[0], [1, 1])
    near(sin[0], [0, 0])
    near(cos[1], [0.5403023058681398, 0.9999500004166653])       # cos 1, cos 1/100
    near(sin[1], [0.8414709848078965, 0.009999833334166664])
    near(cos[10_000], [math.cos(10_000), math.cos(100)])
    cos, sin = angles(8, 8, base=16)                             # 1, 1/2, 1/4, 1/8
    near(cos[7], [math.cos(a) for a in (7, 3.5, 1.75, 0.875)])
    near(sin[7], [math.sin(a) for a in (7, 3.5, 1.75, 0.875)])


def test_an_odd_head_has_no_pairs():
    with pytest.raises(ValueError, match="must be even, got 5: try 6"): angles(3, 5)


def test_rotate_by_a_quarter_and_by_a_half_turn():
    "(1, 3) by a quarter is (-3, 1); (2, 4) by a half is (-2, -4)"
    x, cos, sin = np.array([[1., 2, 3, 4]]), np.array([[0., -1]]), np.array([[1., 0]])
    assert rotate(x, cos, sin).tolist() == [[-3, -2, 1, -4]]
    assert rotate(rotate(x, cos, sin), cos, -sin).tolist() == x.tolist()


def test_rotation_follows_the_precision_of_its_data():
    x = np.random.default_rng(0).normal(size=(5, 3, 8)).astype("f4").swapaxes(0, 1)
    tables = angles(5, 8)
    y = rotate(x, *tables)
    assert y.dtype == np.float32 and y.flags.c_contiguous
    assert np.array_equal(y, rotate(x, *(t.astype("f4") for t in tables)))


def test_half_split_order_by_hand():
    assert half_split_order(6).tolist() == [0, 2, 4, 1, 3, 5]


# Attention

def test_causal_counts_from_the_lower_right():
    assert causal(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert causal(1, 3).tolist() == [[True, True, True]]


def test_each_number_of_a_head_has_its_address():
    "Two key heads of two queries each, D = 1: channel 2 k + g at time t goes to [k, g, t]"
    x = np.array([[[0, 1, 2, 3], [10, 11, 12, 13]]])             # (B, T, C): 10 t + channel
    heads = split(x, 2, 1)
    assert heads[..., 0].tolist() == [[[[0, 10], [1, 11]], [[2, 12], [3, 13]]]]
    assert fold(heads)[..., 0].tolist() == [[[0, 10, 1, 11], [2, 12, 3, 13]]]
    assert unfold(fold(heads), 2).tolist() == heads.tolist()
    assert merge(heads).tolist() == x.tolist()


def test_attend_by_hand():
    "Equal scores but for ln 2, from the last query or any other to the last key; D = 4, root 2"
    q, k = np.zeros((2, 1, 1, 3, 4))
    q[..., 0], k[..., 2, 0] = 2, math.log(2)
    v = np.array([[4., 0], [0, 4], [8, 8]])[None, None]
    near(attend(q, k, v, 3)[0][0, 0], [[5, 5]] * 3)
    y, kept = attend(q, k, v, 3, causal(3))
    near(y[0, 0], [[4, 0], [2, 2], [5, 5]])
    near(kept[3][0, 0], [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 4, 1 / 4, 1 / 2]])
    assert (q[..., 0] == 2).all()                                # not scaled where it lies
    dq, dk, dv = attend_bwd(np.array([[0., 0], [0, 0], [1, 0]])[None, None], *kept)
    near(dv[0, 0], [[1 / 4, 0], [1 / 4, 0], [1 / 2, 0]])
    near(dk[0, 0, :, 0], [-1 / 4, -5 / 4, 3 / 2])                # a (da - 5), da = (4, 0, 8)
    near(dq[0, 0, :, 0], [0, 0, 3 / 4 * math.log(2)])
    assert not dk[..., 1:].any() and not dq[..., 1:].any()


def test_the_future_is_hidden_whatever_it_scores():
    "The only key that the first query may see scores -1e10, the one that it may not see 0"
    q, k = np.array([[1e5], [0]])[None, None], np.array([[-1e5], [0]])[None, None]
    v = np.array([[1.], [2]])[None, None]
    near(attend(q, k, v, 2, causal(2))[0][0, 0], [[1], [1.5]])


def test_attention_starts_as_it_is_told():
    "The 64 x 64 entries know their standard deviation to 1 %, 64 x 16 to 2 %"
    def stds(**kwargs):
        layer = Attention(64, 4, 1, np.random.default_rng(0), **kwargs)
        return np.array([part.W.std() for part in (layer.q, layer.k, layer.v, layer.o)])
    np.testing.assert_allclose(stds(), 1 / 8, rtol=0.06)
    np.testing.assert_allclose(stds(std=0.3), 0.3, rtol=0.06)
    np.testing.assert_allclose(stds(std=0.3, out_std=0.01), [0.3, 0.3, 0.3, 0.01], rtol=0.06)


def test_attention_has_biases_where_asked():
    rng = np.random.default_rng(0)
    names = {f"{part}.W" for part in "qkvo"}
    assert set(Attention(8, 2, 1, rng).named_parameters()) == names
    biases = {f"{part}.b" for part in "qkvo"}
    assert set(Attention(8, 2, 1, rng, bias=True).named_parameters()) == names | biases


def test_attention_hides_the_future_unless_told():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 2, 8))
    changed = x + [[[0.], [1]]]
    def moved(**kwargs):
        layer = Attention(8, 2, 1, np.random.default_rng(0), **kwargs)
        return (layer(x) != layer(changed)).any(-1)[0].tolist()
    assert moved() == [False, True] and moved(is_causal=False) == [True, True]


@pytest.mark.parametrize("n_head, n_kv_head, said", [
    (5, 1, "n_head may be one of [1, 2, 3, 4, 6, 8, 12, 24]"),
    (5, 2, "n_head may be one of [2, 4, 6, 8, 12, 24]"),
    (6, 4, "n_head may be one of [4, 8, 12, 24]"), (5, 5, "no n_head fits: try n_kv_head = 1")])
def test_attention_says_which_heads_fit(n_head, n_kv_head, said):
    "24 channels: a head must divide them, and be a multiple of the key heads"
    with pytest.raises(ValueError) as error:
        Attention(24, n_head, n_kv_head, np.random.default_rng(0))
    assert str(error.value).endswith("here " + said)


def test_no_gradient_passes_a_cache():
    layer, cache = Attention(4, 2, 1, np.random.default_rng(0)), KVCache(1, 1, 3, 2, np.float64)
    layer(np.ones((1, 2, 4)), cache=cache)
    y = layer(np.ones((1, 1, 4)), cache=cache)
    with pytest.raises(RuntimeError, match="dy has 1 positions, forward kept 3 keys"):
        layer.backward(y)


def test_a_cache_holds_what_it_was_made_for():
    cache = KVCache(1, 1, 3, 1, np.float32)
    assert cache.k.dtype == cache.v.dtype == np.float32
    k, v = np.array([[[[1.], [2]]]]), np.array([[[[10.], [20]]]])
    assert [a[0, 0, :, 0].tolist() for a in cache.append(k, v)] == [[1, 2], [10, 20]]
    with pytest.raises(ValueError, match="holds 3 positions; 4 are needed"): cache.append(k, v)
    assert cache.length == 2
    last = cache.append(k[:, :, 1:] + 1, v[:, :, 1:] + 10)       # the last place is a place
    assert [a[0, 0, :, 0].tolist() for a in last] == [[1, 2, 3], [10, 20, 30]]


# Optimizers

class Weights(Module):
    "A matrix of n rows and, where asked for, a vector behind it"
    def __init__(self, matrix, vector=()): self.param(W=np.array([matrix]).T, b=np.array(vector))


def after(cls, grads, matrix=(0.0,), vector=(), rates=None, **settings):
    "The weights after a step for each row of gradients, and the optimizer"
    flat = Flat(Weights(matrix, vector), "f8")
    opt = cls(flat, **settings)
    for i, g in enumerate(grads):
        flat.dw[:] = g
        opt.step(*([] if rates is None else [rates[i]]))
        assert (flat.dw == g).all()                          # the gradient is the caller's
    return flat.w.tolist(), opt


def test_sgd_as_it_is_unless_told():
    w, opt = after(SGD, [2, 2], [1.0])
    near(w, [1 - 0.1 * 2 - 0.1 * 2])
    assert opt.state == {} and opt.t == 2 and not opt.nesterov


def test_momentum_sums_what_was():
    "m is 1, then 1/4 + 1, then 5/16 + 1"
    near(after(SGD, [1, 1, 1], lr=0.1, momentum=0.25)[0], [-0.1 * (1 + 5 / 4 + 21 / 16)])


def test_nesterov_looks_ahead_along_the_new_momentum():
    "m is 1, then 1/4 + 2; the steps are 1 + 1/4 and 2 + 9/16"
    near(after(SGD, [1, 2], lr=0.1, momentum=0.25, nesterov=True)[0], [-0.1 * (5 / 4 + 41 / 16)])


def test_decay_of_sgd_and_adam_is_a_part_of_the_gradient():
    near(after(SGD, [1], [2.0], lr=0.5, weight_decay=0.5)[0], [2 - 0.5 * (1 + 0.5 * 2)])
    w, opt = after(SGD, [1], [2.0], lr=0.5, momentum=0.5, weight_decay=0.5)
    near(opt.state["m"], [2])
    w, opt = after(Adam, [0], [2.0], [-4.0], lr=0.1, weight_decay=0.5)         # vectors decay, too
    near(opt.state["m"], [0.1 * 1, 0.1 * -2])
    near(w, [2 - 0.1 * 1 / (1 + 1e-8), -4 + 0.1 * 2 / (2 + 1e-8)])


def test_adam_by_hand():
    """m: 3/4, then 3/16 - 3/4, over 3/4 and 15/16; v: 1/4, then 7/16, over the same.
    So the steps are lr 1/(1 + eps) and -lr 3/5/(1 + eps)"""
    w, opt = after(Adam, [1, -1], lr=0.5, betas=(0.25, 0.75), eps=1.0)
    near(w, [-0.25 + 0.15])
    near(opt.state["m"], [-9 / 16])
    near(opt.state["v"], [7 / 16])


@pytest.mark.parametrize("cls", [Adam, AdamW])
def test_adam_as_it_is_unless_told(cls):
    "lr 0.001, betas 0.9 and 0.999, eps 1e-8: a gradient as small as eps moves by half of lr"
    near(after(cls, [1e-8])[0], [-0.001 / 2])
    w, opt = after(cls, [1, 0], (), [0.0])                   # a vector: AdamW leaves it alone
    near(opt.state["m"], [0.1 * 0.9])
    near(opt.state["v"], [0.001 * 0.999])
    second = 0.001 * (0.09 / 0.19) / (math.sqrt(0.000999 / 0.001999) + 1e-8)
    assert math.isclose(w[0], -0.001 / (1 + 1e-8) - second, rel_tol=1e-9)


def test_decay_unless_told():
    near(after(Adam, [0], [1.0])[0], [1])
    near(after(AdamW, [0], [1.0])[0], [1 - 0.001 * 0.01])


def test_decay_of_adamw_shrinks_matrices_by_a_share_of_the_rate():
    w, opt = after(AdamW, [0, 0], [1.0, -3.0], [5.0], rates=[0.5, 0.25], weight_decay=0.1)
    near(w, [0.95 * 0.975, -3 * 0.95 * 0.975, 5])
    assert not opt.state["m"].any()                          # no part of the gradient


def test_decay_ends_with_the_matrices_in_every_slice(monkeypatch):
    monkeypatch.setattr(optimizers, "SLICE", 2)
    w, opt = after(AdamW, [0], [1.0, 1, 1], [1.0, 1, 1, 1], lr=0.5, weight_decay=0.1)
    assert [(p.start, p.stop) for p in opt.parts] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    near(w, [0.95] * 3 + [1] * 4)


@pytest.mark.parametrize("cls", [SGD, Adam, AdamW])
def test_a_step_takes_the_rate_it_is_told(cls):
    eps = {} if cls is SGD else {"eps": 0}
    w, opt = after(cls, [1, 1, 1], (), [0.0], rates=[0.0, 0.0, 1.0], lr=0.25, **eps)
    near(w, [-1])
    assert opt.lr == 0.25 and opt.t == 3
    opt.step()
    near(opt.flat.w, [-1.25])


@pytest.mark.parametrize("cls, settings, says", [
    (SGD, {"lr": -0.1}, "lr and weight_decay must be 0 or more; got -0.1"),
    (AdamW, {"weight_decay": -0.1}, "lr and weight_decay must be 0 or more; got 0.001 and -0.1"),
    (SGD, {"momentum": 1.0}, "below 1; got 1.0"), (SGD, {"momentum": -0.1}, "got -0.1"),
    (SGD, {"nesterov": True}, "needs a momentum above 0"),
    (Adam, {"betas": (1.0, 0.9)}, "below 1"), (Adam, {"betas": (0.9, 1.0)}, "below 1"),
    (Adam, {"betas": (-0.1, 0.9)}, "at least 0")])
def test_settings_of_optimizers_out_of_range(cls, settings, says):
    with pytest.raises(ValueError, match=says): after(cls, [], **settings)


def test_settings_of_optimizers_at_the_border():
    near(after(SGD, [1], [1.0], lr=0)[0], [1])
    near(after(Adam, [3], betas=(0.0, 0.0), lr=0.1, eps=0)[0], [-0.1])
    near(after(SGD, [1, 1], momentum=0.5, nesterov=False, lr=1.0)[0], [-2.5])


def test_clipping_by_hand():
    g = np.array([3.0, -4.0])
    assert clip_grad_norm(g, 1.0) == 5
    near(g, [0.6, -0.8])
    assert clip_grad_norm(g, 2.0) == pytest.approx(1) and clip_grad_norm(g, 1e9) == pytest.approx(1)
    near(g, [0.6, -0.8])


# Checkpoints

def small_run(text="the rat sat on the mat and ate the cat. " * 8, **model):
    dataset = Dataset.from_text(text, CharTokenizer.train(text))
    shape = dict(vocab_size=dataset.vocab_size, context=4, n_layer=1, n_embd=4, n_head=2)
    recipe = TrainConfig(steps=4, batch_size=2, warmup=1, eval_every=2, eval_batches=1)
    return Run(GPTConfig(**{**shape, "dropout": 0.1, **model}), recipe, dataset, "a text")


def stopped(run, n=2):
    for _ in itertools.islice(fit(run), n): pass
    return run


def save_run(folder, run, **how):
    checkpoint.save(folder, run.model, run.dataset.tokenizer, run, **how)
    return folder


@pytest.mark.skipif(os.name != "posix", reason="asks how a file was opened")
def test_what_is_on_the_disk_before_what_is_renamed(tmp_path, monkeypatch):
    "Files, opened for writing, and their names; then renames; their names; then the old one goes"
    from fcntl import F_GETFL, fcntl
    run, done = stopped(small_run()), []
    def flushed(handle):
        writable = fcntl(handle, F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        done.append("names" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"file {writable}")
    plain = os.replace
    save_run(tmp_path / "run", run)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), plain(a, b)))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: done.append(f"delete {path.name}"))
    save_run(tmp_path / "run", run)
    assert done == ["delete .run.old", "delete .run.new", "file True", "rename",     # tokenizer
                    *["file True"] * 4, "names", "rename", "rename", "names", "delete .run.old"]


def test_a_swap_that_was_interrupted_is_found_and_finished(tmp_path):
    folder, run = tmp_path / "run", small_run()
    old, there = checkpoint.aside(folder, "old"), save_run(folder, run)
    assert checkpoint.find(tmp_path / "run") == there and checkpoint.holds_run(folder)
    folder.rename(old)                                       # cut between the renames
    assert checkpoint.find(folder) == old and checkpoint.holds_run(folder)
    checkpoint.recover(folder)
    assert not old.exists() and checkpoint.find(folder) == folder
    shutil.copytree(folder, old)                             # cut after them, half deleted
    (old / checkpoint.MODEL).unlink()
    checkpoint.recover(folder)
    assert not old.exists() and (folder / checkpoint.MODEL).exists()
    inner = save_run(tmp_path / "out" / "checkpoint", run)
    assert checkpoint.find(tmp_path / "out") == inner and checkpoint.holds_run(tmp_path / "out")
    assert not checkpoint.holds_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint in"): checkpoint.find(tmp_path)


def test_a_folder_of_that_name_comes_before_the_model_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint.find("pretrained").is_absolute()
    save_run(tmp_path / "pretrained", small_run())
    assert str(checkpoint.find("pretrained")) == "pretrained"


def test_only_numbers_that_become_infinite_are_lost():
    assert checkpoint.cast({"a": np.float32([np.inf, 1])}, "f2")["a"].tolist() == [np.inf, 1]
    assert checkpoint.cast({"a": np.float32([65504])}, "f2")["a"] == 65504
    for values in ([65536], [np.inf, 1e9]):
        with pytest.raises(ValueError, match="^b holds numbers beyond 6.55e"):
            checkpoint.cast({"a": np.float32([1]), "b": np.float32(values)}, "f2")


def test_a_checkpoint_replaces_a_checkpoint_and_nothing_else(tmp_path):
    run = small_run()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"): save_run(tmp_path / "file", run)
    (tmp_path / "home").mkdir()
    save_run(tmp_path / "home", run)                         # empty: free
    (tmp_path / "home" / "note").write_text("a note")
    (tmp_path / "home" / "album").mkdir()
    (tmp_path / "home" / "album" / "photo").write_text("a photo")
    save_run(tmp_path / "home", run)
    assert (tmp_path / "home" / "note").read_text() == "a note"
    assert (tmp_path / "home" / "album" / "photo").read_text() == "a photo"
    (tmp_path / "home" / checkpoint.TRAIN).unlink()
    with pytest.raises(ValueError, match="album, .*and a checkpoint replaces its folder whole"):
        save_run(tmp_path / "home", run)


def test_what_train_json_says(tmp_path):
    "The digests of all other files, and what the caller says above what the run says"
    folder = save_run(tmp_path / "run", stopped(small_run()), source="mine", x=1)
    info = checkpoint.read_info(folder)
    assert (info["source"], info["x"], info["index"]) == ("mine", 1, 2)
    names = set(checkpoint.FILES) - {checkpoint.TRAIN}
    wanted = {n: hashlib.sha256((tmp_path / "run" / n).read_bytes()).hexdigest() for n in names}
    assert info["sha256"] == wanted


def test_the_fingerprint_of_a_text():
    "SHA-256 over each part's length and all of its tokens; an older one sees both ends"
    digest, older = hashlib.sha256(), hashlib.sha256()
    for tokens in ([3, 1, 2], [4]):
        for h, times in ((digest, 1), (older, 2)):
            h.update(str(len(tokens)).encode())
            h.update(times * np.array(tokens, "<i4").tobytes())
    part = lambda tokens: np.array(tokens, np.uint16)
    found = checkpoint.fingerprint(Dataset(part([3, 1, 2]), part([4]), None))
    assert found == "all:" + digest.hexdigest()[:32]
    small = Dataset(part([3, 1, 2]), part([4]), None)
    assert files.sampled(small) == older.hexdigest()[:16]
    assert files.is_same(small, found) and files.is_same(small, older.hexdigest()[:16])
    for wrong in (None, 5, "", "all:", found[:-1], digest.hexdigest()[:16]):
        assert not files.is_same(small, wrong)
    n, seen = (1 << 21) + 2, {}
    for at in (None, 0, (1 << 20) - 1, 1 << 20, n - (1 << 20) - 1, n - (1 << 20), n - 1):
        tokens = np.zeros(n, np.uint16)
        if at is not None: tokens[at] = 1
        seen[at] = checkpoint.fingerprint(Dataset(tokens, tokens[:1] * 0, None))
    assert len(set(seen.values())) == len(seen)
    long, short = part([0] * 3), part([0])
    swapped = [checkpoint.fingerprint(Dataset(*p, None)) for p in ((long, short), (short, long))]
    assert swapped[0] != swapped[1]


def test_a_resumed_run_is_the_run(tmp_path):
    run = stopped(small_run(dropout_at=("mlp",)))
    run.sample_rng.random(3)
    back = checkpoint.resume(save_run(tmp_path / "run", run), run.dataset)
    assert checkpoint.run_state(back) == checkpoint.run_state(run) and back.index == 2
    assert back.model.config == run.model.config and (back.flat.w == run.flat.w).all()
    assert all(type(pair) is tuple for pair in back.val_losses) and len(back.val_losses) == 1
    assert checkpoint.resume(tmp_path / "run", run.dataset, steps=9).config.steps == 9
    assert back.config == run.config and back.source == "a text"
    other = Dataset(run.dataset.train, run.dataset.val[::-1], run.dataset.tokenizer)
    with pytest.raises(ValueError, match="not the one"): checkpoint.resume(tmp_path / "run", other)


def test_a_step_that_a_ctrl_c_kept_back_is_saved_with_the_run(tmp_path):
    "It was due for a validation, on which the rate of the next steps may depend"
    straight = [(s.index, s.loss, s.lr, s.val_loss) for s in fit(small_run())]
    run = stopped(small_run(), 1)
    run.ready = train_step(run)                              # as after a Ctrl-C in its validation
    folder = save_run(tmp_path / "run", run)
    back = checkpoint.resume(folder, run.dataset)
    assert back.ready == run.ready and checkpoint.run_state(back) == checkpoint.run_state(run)
    assert [(s.index, s.loss, s.lr, s.val_loss) for s in fit(back)] == straight[1:]
    info = checkpoint.read_info(folder)
    del info["ready"]                                        # as in a run that was saved before
    (folder / checkpoint.TRAIN).write_text(json.dumps(info))
    assert checkpoint.resume(folder, run.dataset).ready is None


def test_a_loaded_model_is_ready_and_its_weights_are_whole(tmp_path):
    run = small_run()
    checkpoint.save(tmp_path / "mute", run.model)
    model, tokenizer = checkpoint.load(tmp_path / "mute")
    assert tokenizer is None and not any(part.training for _, part in model.modules())
    mine = run.model.named_parameters()
    assert all((w == mine[path]).all() for path, w in model.named_parameters().items())
    with pytest.raises(ValueError, match="no tokenizer.json"):
        checkpoint.open_model(tmp_path / "mute")
    assert "trained" not in checkpoint.summary(tmp_path / "mute")


def test_a_summary(tmp_path):
    told = checkpoint.summary(save_run(tmp_path / "run", stopped(small_run()))).split("\n")
    assert told[0].startswith(f"{tmp_path / 'run'}: ") and told[0].endswith("CharTokenizer")
    assert told[1].startswith("model: vocab_size=") and "dropout=0.1" in told[1]
    assert told[2].startswith("train: steps=4, batch_size=2")
    assert told[3] == "trained for 2 steps on a text"
    assert told[4].startswith("  step      2: validation loss ") and len(told) == 5


def test_a_run_that_starts_from_another(tmp_path):
    first, text = stopped(small_run(), 4), "that cat sat on the rat. " * 8
    folder = save_run(tmp_path / "run", first)
    (tmp_path / "new.txt").write_text(text)
    start = lambda source="new.txt", **asked: checkpoint.start_from(
        folder, str(tmp_path / source), TrainConfig(steps=7, batch_size=2), **asked)
    run = start(dropout=0.3, dropout_at=("embd",), recompute=True, n_layer=1)
    assert (run.flat.w == first.flat.w).all() and run.index == run.optimizer.t == 0
    assert run.config.steps == 7 and run.source == str(tmp_path / "new.txt")
    c = run.model.config
    assert (c.dropout, c.dropout_at, c.recompute) == (0.3, ("embd",), True)
    assert run.dataset.tokenizer.decode(run.dataset.train) + run.dataset.tokenizer.decode(
        run.dataset.val) == text
    with pytest.raises(ValueError, match="n_layer is 1 in .* and cannot become 2; tied is False"):
        start(n_layer=2, tied=True)
    Dataset.from_text(text, CharTokenizer.train(text)).save(tmp_path / "tokens")
    with pytest.raises(ValueError, match="made by another tokenizer"): start("tokens")


def test_a_tokenizer_may_be_made_for_a_text(tmp_path):
    (tmp_path / "a.txt").write_text("abcabc" * 20)
    made = checkpoint.open_data(str(tmp_path / "a.txt"), CharTokenizer.train)
    assert made.vocab_size == 3
    same = checkpoint.open_data(str(tmp_path / "a.txt"), CharTokenizer("cabd"))
    assert same.vocab_size == 4 and same.train[:3].tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="no name to find it by"):
        checkpoint.open_data(None, made.tokenizer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_leaves_a_note_and_the_second_is_meant(number):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with checkpoint.stop_signals() as stop:
        assert stop == []
        signal.raise_signal(number)
        assert stop == [number]
        with pytest.raises(KeyboardInterrupt): signal.raise_signal(number)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


# Generation

@pytest.mark.parametrize("settings", [dict(top_p=1), dict(min_p=0), dict(min_p=1), dict(top_k=1)])
def test_the_ends_of_a_sampler_s_ranges_belong_to_them(settings):
    p = distribution(np.log([[1., 2, 2]]), **settings)
    wanted = {"top_p": [1, 2, 2], "top_k": [0, 1, 0]}.get(*settings, [0, 1, 1])
    if settings == dict(min_p=0): wanted = [1, 2, 2]
    near(p[0], np.array(wanted) / np.sum(wanted))


def test_top_p_of_one_cuts_nothing_however_thin():
    thin = np.array([[1 - 1e-13, 1e-13]])
    assert truncate(thin.copy(), top_p=1)[0, 1] > 0 and truncate(thin.copy())[0, 1] > 0
    assert truncate(thin.copy(), top_p=1 - 1e-9)[0, 1] == 0


def test_the_tolerances_of_the_cuts_are_tiny():
    "What misses a limit by a thousandth has missed it"
    assert truncate(np.array([[.5, .4995, .0005]]), top_p=.9996)[0, 2] > 0
    assert truncate(np.array([[.5, .4995, .0005]]), top_p=.9994)[0, 2] == 0
    assert truncate(np.array([[.5, .3, .2]]), min_p=.601)[0, 1] == 0
    assert truncate(np.array([[.5, .3, .2]]), min_p=.599)[0, 1] > 0


class Fixed:
    "A generator whose every number is u"
    def __init__(self, u): self.u = u
    def random(self, n): return np.full(n, self.u)


def test_a_number_on_the_edge_of_two_pieces_belongs_to_the_upper_one():
    "P(id = i) = P(F_{i-1} <= u < F_i), so u = 0 never draws a token without probability"
    quarter = np.log([[1., 1, 2]])
    found = [int(sample(quarter, Fixed(u))[0]) for u in (0, .2, .25, .5, .75, np.nextafter(1, 0))]
    assert found == [0, 0, 1, 2, 2, 2]
    assert sample(np.array([[-np.inf, 0, 0]]), Fixed(0)) == [1]


class Parrot:
    "Says the token after the last one it read, of V, and remembers how much it was given"
    def __init__(self, V=5, context=6):
        self.config, self.V, self.read = GPTConfig(vocab_size=V, context=context), V, []
    def __call__(self, ids, cache=None, last=False):
        self.read.append(ids.shape[1])
        if last: ids = ids[:, -1:]
        return np.log(np.eye(self.V)[(ids + 1) % self.V] + 1e-3)
    def new_cache(self, batch=1): return []
    def modules(self): return []
    def eval(self): return self


def test_a_full_context_begins_again_with_its_last_half():
    parrot = Parrot()
    text = list(generate(parrot, [0, 1, 2], 9, temperature=0, use_cache=False))
    assert text == [3, 4, 0, 1, 2, 3, 4, 0, 1] and parrot.read == [3, 4, 5, 6, 3, 4, 5, 6, 3]
    parrot = Parrot()
    assert list(generate(parrot, [0, 1, 2], 9, temperature=0)) == text
    assert parrot.read == [3, 1, 1, 1, 3, 1, 1, 1, 3]       # with the cache, unless told


def test_the_penalty_sees_the_last_context_tokens():
    seen = []
    def choose(logits, text):
        seen.append(text[0].tolist())
        return logits.argmax(-1)
    list(stream(Parrot(), np.arange(4)[None] % 5, 5, choose, [], True))
    everything = [n % 5 for n in range(20)]
    assert seen == [everything[max(0, n - 6):n] for n in range(4, 9)]


class Constant(Parrot):
    "Says the same of every place: 0 before 1, and both before the others"
    def __call__(self, ids, cache=None, last=False):
        return np.tile([2, 1.5, 0, 0, 0], (len(ids), 1 if last else ids.shape[1], 1))


def test_a_penalty_below_one_rewards():
    near(penalise(np.array([[1., -1, 4]]), np.array([[0, 1]]), .5), [[2, -.5, 4]])
    assert list(generate(Constant(), [1], 3, temperature=0)) == [0, 0, 0]
    assert list(generate(Constant(), [1], 3, temperature=0, repetition_penalty=.5)) == [1, 1, 1]


def test_extend_keeps_the_best_that_are_possible():
    "By hand: 0.6 * 0.5, 0.6 * 0.5, 0.4 * 1.0; zeros are no continuations"
    beams, p = [([7], math.log(.6)), ([8], math.log(.4))], np.array([[.5, .5, 0], [0, 0, 1.]])
    parents, grown = extend(beams, p, 2)
    assert parents.tolist() == [1, 0] and [new for new, _ in grown] == [[8, 2], [7, 0]]
    near([s for _, s in grown], np.log([.4, .3]))
    assert [new for new, _ in extend(beams, p, 9)[1]] == [[8, 2], [7, 0], [7, 1]]


def test_a_beam_search_returns_its_width_and_no_more():
    "Four tokens, all alike, and one of them ends: what has ended and what goes on are too many"
    shape = GPTConfig(vocab_size=4, context=8, n_layer=1, n_embd=8, n_head=2)
    m = GPT(shape, np.random.default_rng(0))
    for width in (1, 2, 3, 5): assert len(beam_search(m, [0, 1], 4, width, stop=2)) == width
    assert len(beam_search(m, [0, 1], 4, stop=2)) == 4       # unless told


def test_the_length_penalty_is_six_tenths_unless_told():
    "Where translations were best (Wu et al. 2016, section 7)"
    assert signature(beam_search).parameters["length_penalty"].default == 0.6


def test_what_is_drawn_unless_told_is_the_model_s_own_distribution():
    parrot = Parrot()
    drawn = lambda **how: list(generate(parrot, [0], 2000, rng=3, **how))
    assert drawn() == drawn(temperature=1) != drawn(temperature=.9)


def test_pieces_are_whole_characters():
    decode = lambda ids: bytes(ids).decode(errors="replace")
    assert list(pieces("né🐔.".encode(), decode)) == ["n", "é", "🐔", "."]
    assert list(pieces("é".encode()[:1], decode)) == ["\ufffd"]        # an end is an end
    assert list(pieces(b"\xffab", decode)) == ["\ufffda", "b"]          # never whole: it goes along
    assert list(pieces(b"", decode)) == []


# Tokenizers

def test_an_alphabet_is_in_the_order_of_the_code_points():
    tok = CharTokenizer.train("banana!")
    assert tok.chars == ["!", "a", "b", "n"] and tok.encode("ban") == [2, 1, 3]


def test_the_first_id_that_is_none():
    for tok in (CharTokenizer.train("ab"), WordTokenizer.train("b"), BPETokenizer([(97, 97)])):
        n = tok.vocab_size
        tok.decode([0, n - 1])
        with pytest.raises(ValueError, match=f"token id {n} is outside"): tok.decode([0, n])


def test_words_and_single_marks_between_them():
    assert WordTokenizer.split("a,  b") == ["a", ",", " ", " ", "b"]


@pytest.mark.parametrize("text, wanted", [
    ("don't 'tis 'twas", ["don", "'t", " '", "tis", " '", "twas"]),
    ("'tis\n'll", ["'", "tis", "\n", "'ll"]),               # no contraction where the word goes on
    ("we've they'll I'm", ["we", "'ve", " they", "'ll", " I", "'m"]),
    ("you're he's I'd", ["you", "'re", " he", "'s", " I", "'d"]),
    ("in 1603, 42", ["in", " 1603", ",", " 42"]), ("a?! --b", ["a", "?!", " --", "b"]),
    ("a   b  ", ["a", "  ", " b", "  "]), ("x\n\ny", ["x", "\n", "\n", "y"])])
def test_pieces_of_a_text(text, wanted): assert pre_tokens(text) == wanted


def test_a_merge_needs_parts_that_are_there():
    assert Merges([(97, 98), (256, 99)]).tokens[257] == b"abc"
    for pairs, says in ([(256, 97)], "merge 0 .* below 256"), ([(97, 98), (97, 257)], "below 257"):
        with pytest.raises(ValueError, match=says): BPETokenizer(pairs)


def test_of_special_tokens_the_longest_is_taken():
    for special in (["<a", "<a>"], ["<a>", "<a"]):
        tok = BPETokenizer((), special)
        assert tok.encode("<a>") == tok.encode_bytes(b"<a>") == [256 + special.index("<a>")]
        plain = tok.encode("<a>", special=False), tok.encode_bytes(b"<a>", special=False)
        assert plain == ([60, 97, 62],) * 2


def test_sizes_of_a_vocabulary_at_the_border():
    assert BPETokenizer.train("abab", 256).merges == []
    assert BPETokenizer.train("abab", 258, ["<a>"]).merges == [(97, 98)]
    assert BPETokenizer.train("abab", 0x110000).vocab_size == 257
    with pytest.raises(ValueError, match="from 256 .* to 1114112"):
        BPETokenizer.train("a", 0x110001)


def test_a_tokenizer_as_a_file_of_hugging_face():
    tok = BPETokenizer([(32, 97), (256, 10)], ["<b>", "<a>"], r"\s|\S")
    found = hugging_face(tok)
    model, (split, level) = found["model"], found["pre_tokenizer"]["pretokenizers"]
    assert model["merges"] == ["Ġ a", "Ġa Ċ"]
    assert model["vocab"]["Ġ"] == 32 and model["vocab"]["ĠaĊ"] == 257
    assert split == {"type": "Split", "pattern": {"Regex": r"\s|\S"}, "behavior": "Isolated",
                     "invert": False}
    assert level == found["decoder"] == {"type": "ByteLevel", "add_prefix_space": False,
                                         "trim_offsets": True, "use_regex": False}
    added = [(t["id"], t["content"], t["special"]) for t in found["added_tokens"]]
    assert added == [(258, "<b>", True), (259, "<a>", True)]
    found["added_tokens"].reverse()
    assert from_hugging_face(found) == ([(32, 97), (256, 10)], ["<b>", "<a>"], r"\s|\S")


# Data

ENTRANCE, LEAVE = "Duke: Fie, Fool.\n", "[Exit Duke, asleep.]\n\n"
ASK = "Fool: Who ate my bad bat?\nDuke: The bad bat, O bad bat.\n"
RHYME = "Duke: O bad bat, O bad moon,\n   O bad bat, O bad spoon!\n"


def test_bits_of_scenes_by_hand():
    """56 casts, 8 greetings, 8 ways to leave; 16 adjectives and verbs, 32 nouns, 48 rhymes.
    A question is one of two exchanges and has a verb and three times adjective and noun; to go on
    costs log2(3/2), to stop log2(3)"""
    ends, ask = math.log2(56) + 3 + 3 + math.log2(3), 1 + 4 + 3 * (4 + 5)
    rhyme = 2 + 4 * 4 + 2 * 5 + math.log2(48)
    for talk, wanted in ((ASK, ask), (ASK + ASK, 2 * ask + math.log2(1.5)),
                         (RHYME + ASK + RHYME, 2 * rhyme + ask + 2 * math.log2(1.5))):
        near(tinyplays_surprisal(ENTRANCE + talk + LEAVE), ends + wanted)
    near(tinyplays_surprisal(2 * (ENTRANCE + ASK + LEAVE)), 2 * (ends + ask))


@pytest.mark.parametrize("text", [
    ENTRANCE + LEAVE, ENTRANCE + ASK, ENTRANCE.replace("Fool", "Duke") + ASK + LEAVE,
    ENTRANCE + RHYME.replace("moon", "king") + LEAVE,
    ENTRANCE + RHYME.replace("moon", "spoon") + LEAVE,
    ENTRANCE + ASK.replace("Fool", "King") + LEAVE, ENTRANCE + ASK + LEAVE.replace("Duke", "Fool")])
def test_what_is_no_scene(text):
    with pytest.raises(ValueError, match="no scene of tinyplays"): tinyplays_surprisal(text)


def test_expected_scene_by_hand():
    "Three exchanges on average; of a question and of an exit the bits are as above"
    bits, chars = expected_scene()
    ask, boast, rhyme = 32, 2 + 2 * 4 + 3 + 2 * 4 + 3 * 5, 28 + math.log2(48)
    coin = math.log2(3) - 2 / 3
    near(bits, math.log2(56) + 3 + 3 * (coin + ask / 2 + boast / 4 + rhyme / 4) + 3)
    near(TINYPLAYS_BITS, bits / chars)


def test_plays_stop_at_the_length_that_was_asked_for():
    one = tinyplays(1, seed=4)
    assert tinyplays(len(one), seed=4) == one != tinyplays(len(one) + 1, seed=4)
    assert 500_000 <= len(load_text("tinyplays")) < 502_000


def test_characters_of_a_token():
    ds = Dataset.from_text("ababcdef", BPETokenizer([(97, 98)]), val_fraction=0.5)
    assert ds.chars_per_token() == ds.chars_per_token("val") == 1
    assert ds.chars_per_token("train") == 2


def test_a_text_shorter_than_a_phase_is_one_window():
    loader = DataLoader(Windows(np.arange(10), 8), 1)
    assert len(loader) == 1 and {loader.next()[0][0, 0] for _ in range(20)} == {0, 1}


def test_a_context_that_was_seen_once_counts():
    "Both tokens have 1/2 as unigrams; after 0 came one token, once: (1 + 1/2)/(1 + 1)"
    near(ngram_bits([0, 1], [0, 1], 2, 2), (1 - math.log2(3 / 4)) / 2)


# The model and its training

def test_defaults_of_the_shape():
    assert vars(GPTConfig()) == dict(
        vocab_size=65, context=64, n_layer=4, n_embd=128, n_head=4, n_kv_head=4, n_hidden=512,
        activation="gelu", norm="layernorm", position="rope", tied=False, attn_bias=False,
        mlp_bias=True, dropout=0.0, dropout_at=("embd", "attn", "mlp"), rope_base=10000.0,
        causal=True, recompute=False, norm_eps=1e-5, head_dim=None, qkv_bias=None, qk_norm=False,
        rope_scaling=None, rope_dtype="float64", window=None, window_layers=None, text_end=None)
    open_ends = GPTConfig(n_embd=24, n_head=6)
    assert (open_ends.n_kv_head, open_ends.n_hidden) == (6, 96)


def test_defaults_of_the_training():
    assert vars(TrainConfig()) == dict(
        steps=2000, batch_size=12, length=0, micro_batch=0, optimizer="adamw", lr=1e-3,
        schedule="cosine", warmup=100, floor=0.1, beta1=0.9, beta2=0.99, weight_decay=0.1,
        clip=1.0, eval_every=250, eval_batches=0, save_every=500, seed=1337, freeze=())


def test_recipes_and_records_do_not_change():
    for it in (GPTConfig(), TrainConfig(), Step(1, 2.0, 3.0, 4.0, 5.0), PRESETS["tiny"]):
        name = next(iter(vars(it)))
        with pytest.raises(AttributeError, match="cannot assign"): setattr(it, name, 7)


def test_recipes_are_those_of_the_books():
    shakespeare = dict(vocab_size=512, context=128, n_layer=4)
    models = {
        "tiny": dict(context=192, n_layer=2, n_embd=64, n_head=2),
        "nano": dict(context=64, n_layer=4, n_embd=128, n_head=4),
        "shakespeare": shakespeare | dict(n_embd=256, n_head=8, n_kv_head=4, n_hidden=1024,
                                          dropout=0.1, dropout_at=("mlp",)),
        "pretrained": shakespeare | dict(n_embd=96, n_head=4, n_hidden=320, tied=True)}
    trainings = {
        "tiny": dict(steps=1800, batch_size=3, lr=0.012, warmup=180, floor=0.0, eval_every=300,
                     eval_batches=30),
        "nano": dict(steps=2000, batch_size=12, lr=0.001),
        "shakespeare": dict(steps=1596, batch_size=32, lr=0.001, eval_every=100, save_every=400),
        "pretrained": dict(steps=4536, batch_size=8, lr=0.003, warmup=200, floor=0.05,
                           eval_every=504, save_every=0)}
    assert {name: p.model for name, p in PRESETS.items()} == models
    assert {name: p.train for name, p in PRESETS.items()} == trainings
    texts = {name: (p.data, p.tokenizer) for name, p in PRESETS.items()}
    assert texts == {"tiny": ("tinyplays", "char"), "nano": ("shakespeare", "char"),
                     "shakespeare": ("shakespeare", "bpe"), "pretrained": ("shakespeare", "bpe")}


def test_names_of_activations_and_norms_mean_what_they_say():
    for name, (value, both) in ACTIVATIONS.items():
        assert value.__name__ == name and both.__name__.rstrip("s") == f"{name}_and_slope"
    assert NORMS == {"layernorm": LayerNorm, "rmsnorm": RMSNorm}


@pytest.mark.parametrize("bad, said", [
    (dict(n_embd=100, n_head=8), "try 96 or 104"), (dict(n_embd=6, n_head=8), "try 8$"),
    (dict(n_head=8, n_kv_head=3), r"try one of \[1, 2, 4, 8\]"),
    (dict(n_embd=12, n_head=4), "n_embd / n_head (3) must be even: try n_embd 24"),
    (dict(n_layer=0), "n_layer must be a whole number from 1 up, got 0"),
    (dict(n_hidden=0), "n_hidden must be"), (dict(context=1.5), "context must be"),
    (dict(dropout=1.0), "at least 0 and below 1, got 1.0"), (dict(dropout=-0.1), "got -0.1"),
    (dict(dropout_at=("mlp", "head", "all")), r"got \['all', 'head'\]"),
    (dict(activation="tanh"), "one of relu, gelu, gelu_exact, silu, swiglu; got 'tanh'"),
    (dict(norm="none"), "norm must be"), (dict(position="alibi"), "position must be")])
def test_shapes_that_do_not_fit(bad, said):
    with pytest.raises(ValueError, match=said.replace("(3)", r"\(3\)")): GPTConfig(**bad)


def test_shapes_at_the_edge_fit():
    least = GPTConfig(vocab_size=1, context=1, n_layer=1, n_embd=1, n_head=1, position="none")
    assert least.n_hidden == 4 and GPTConfig(dropout=0.999).dropout == 0.999
    assert GPTConfig(n_embd=12, n_head=4, position="learned").n_embd == 12


@pytest.mark.parametrize("bad", [
    dict(steps=0), dict(batch_size=0), dict(batch_size=2.0), dict(micro_batch=-1), dict(warmup=-1),
    dict(eval_every=-1), dict(eval_batches=-1), dict(save_every=-1), dict(seed=-1), dict(lr=-1e-9),
    dict(lr=math.nan), dict(floor=1.01), dict(floor=-0.01), dict(beta1=1.01), dict(beta2=1.01),
    dict(beta1=-0.01), dict(weight_decay=-0.1), dict(clip=-0.1), dict(optimizer="lion"),
    dict(schedule="linear")])
def test_recipes_out_of_range(bad):
    name, = bad
    with pytest.raises(ValueError, match=f"^{name} must"): TrainConfig(**bad)


def test_recipes_at_the_edge_of_their_range():
    TrainConfig(steps=1, batch_size=1, micro_batch=0, warmup=0, eval_every=0, eval_batches=0,
                save_every=0, seed=0, lr=0.0, floor=0.0, weight_decay=0.0, clip=0.0, beta1=0.0)
    TrainConfig(floor=1.0, lr=1e9, weight_decay=10.0, clip=1e9)


def test_initial_weights_have_the_spread_of_gpt2():
    "0.02, and of what is added to the stream 0.02 / sqrt(2 L); n numbers say so to 1/sqrt(2n)"
    c = GPTConfig(vocab_size=300, n_layer=8, n_embd=192, n_head=4, activation="swiglu",
                  n_hidden=250)
    weights = GPT(c, np.random.default_rng(0)).named_parameters()
    for path, w in weights.items():
        if w.ndim < 2 or path == "emb.W": continue
        std = 0.02 / 4 if path.endswith(("attn.o.W", "mlp.down.W")) else 0.02
        assert abs(w.std() / std - 1) < 4 / math.sqrt(2 * w.size), path


def test_dropout_stands_where_it_is_named():
    for at in ((), ("embd",), ("attn",), ("mlp", "embd")):
        c = GPTConfig(n_embd=8, n_head=2, n_layer=2, dropout=0.25, dropout_at=at)
        m = GPT(c, np.random.default_rng(0))
        found = [("embd", m.drop)]
        for b in m.blocks: found += [("attn", b.drop1), ("mlp", b.drop2)]
        assert [d.p for _, d in found] == [0.25 * (place in at) for place, _ in found]
        assert all(d.rng is m.drop.rng for _, d in found)


def test_each_purpose_draws_from_its_own_child_of_the_seed():
    "As numpy's spawn makes them: initial weights, order of the data, dropout, sampling"
    tokens = np.arange(200) % 7
    run = Run(GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2),
              TrainConfig(seed=5), Dataset(tokens, tokens, None))
    init, data, dropout, sample = np.random.default_rng(5).spawn(4)
    weights = run.model.named_parameters()
    for path, w in GPT(run.model.config, init, dropout).named_parameters().items():
        assert (w == weights[path]).all()
    assert run.loader.seed == data.integers(2**31)
    assert run.dropout_rng.bit_generator.state == dropout.bit_generator.state
    assert run.sample_rng.bit_generator.state == sample.bit_generator.state
    own = GPT(run.model.config, r := np.random.default_rng(3)).drop.rng
    assert own.random() == np.random.default_rng(3).spawn(1)[0].random() and r is not own


def test_positions_are_turned_by_the_base_and_added_from_the_start():
    c = GPTConfig(vocab_size=5, context=6, n_embd=12, n_head=2, n_layer=1, rope_base=50.0)
    cos, sin = GPT(c, np.random.default_rng(0)).rope
    assert (cos == angles(6, 6, 50.0)[0]).all() and (sin == angles(6, 6, 50.0)[1]).all()
    c = GPTConfig(vocab_size=5, context=6, n_embd=12, n_head=2, n_layer=1, position="sinusoidal")
    m, ids = GPT(c, np.random.default_rng(0)).eval(), np.array([[3, 1, 4, 2]])
    assert m.rope is None and (m.table == sinusoidal(6, 12)).all()
    x = m.emb(ids) + sinusoidal(6, 12)[:4].astype("f4")
    near(m(ids), m.head(m.norm(m.blocks[0](x))))
    cache, whole = m.new_cache(), m(ids)
    parts = [m(ids[:, :3], cache), m(ids[:, 3:], cache)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-6)
    k = cache[0].k
    assert cache[0].length == 4 and k.shape == (1, 2, 6, 6) and k.dtype == np.float32


@pytest.mark.parametrize("ids, start, said", [
    (np.zeros((2, 6), int), 0, None), (np.zeros((2, 2), int), 4, None),
    (np.full((1, 1), 10), 0, None), (np.zeros((1, 1), np.uint8), 0, None),
    (np.zeros((2, 7), int), 0, "context is 6 tokens, and 7 came"),
    (np.zeros((2, 3), int), 4, "context is 6 tokens, and 7 came: keep the last 6"),
    (np.full((1, 1), 11), 0, "from 0 to 10, got 11 to 11"),
    (np.full((1, 1), -1), 0, "got -1 to -1"), (np.zeros(3, int), 0, "shape"),
    (np.zeros((1, 1, 1), int), 0, "shape"), (np.zeros((1, 2)), 0, "integers, got float64"),
    (np.zeros((1, 2), bool), 0, "integers, got bool"),
    (np.zeros((1, 0), int), 0, "at least one token")])
def test_which_ids_a_model_reads(ids, start, said):
    c = GPTConfig(vocab_size=11, context=6)
    if said is None and start == 0: return check_ids(ids, c)
    if said is None: return check_ids(ids, c, start)
    with pytest.raises(ValueError, match=said): check_ids(ids, c, start)


def test_rates_by_hand():
    def at(i, val=(), **kw):
        return scheduled(TrainConfig(**dict(steps=91, lr=2.0, warmup=10) | kw), i, val)
    near([at(0), at(4), at(9)], [0.2, 1.0, 2.0])             # warm-up: (i + 1) / 10
    near([at(10), at(50), at(90)], [2.0, 1.1, 0.2])          # cosine, its half, down to a tenth
    near([at(i, schedule="constant") for i in (4, 10, 89)], [1.0, 2.0, 2.0])
    near([at(i, schedule="step") for i in (29, 30, 59, 60)], [2.0, 0.6, 0.6, 0.2])
    near(at(60, schedule="step", floor=0.0), 0.18)           # 2 times 0.3 squared, from a third on
    near(at(1, schedule="step", steps=2, warmup=0), 0.6)
    stuck = [(i, 1.0) for i in range(7)]
    near([at(20, stuck[:n], schedule="plateau") for n in (0, 3, 4, 7)], [2.0, 2.0, 1.0, 0.5])
    near(at(20, stuck, schedule="plateau", floor=0.5), 1.0)
    near(at(4, stuck, schedule="plateau"), 0.5)              # the lower of the two


def test_the_optimizer_gets_the_numbers_of_the_recipe():
    flat = Flat(Linear(3, 2, np.random.default_rng(0)))
    for name, kind in (("sgd", SGD), ("adam", Adam), ("adamw", AdamW)):
        c = TrainConfig(optimizer=name, lr=0.5, beta1=0.7, beta2=0.8, weight_decay=0.3)
        memory = dict(momentum=0.7) if name == "sgd" else dict(betas=(0.7, 0.8))
        made, plain = make_optimizer(flat, c), kind(flat, 0.5, **memory, weight_decay=0.3)
        assert type(made) is kind
        number = lambda o: {k: v for k, v in vars(o).items() if isinstance(v, (int, float, tuple))}
        assert number(made) == number(plain)


def test_two_megabytes_of_the_widest_array():
    size = lambda F, T: micro_batch_size(GPTConfig(n_embd=8, n_head=2, n_hidden=F, context=T))
    assert [size(512, 64), size(1024, 128), size(1 << 19, 1), size(1 << 19, 2), size(3, 5)] == [
        16, 4, 1, 1, (1 << 19) // 15]                        # float32: 2 MB are 2^19 numbers


def test_a_validation_is_the_mean_over_its_windows():
    "By one window at a time, with batches and micro-batches of unequal size"
    c = GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2, dropout=0.5)
    m, tokens = GPT(c, np.random.default_rng(0)), np.random.default_rng(1).integers(0, 7, 47)
    def loss(window):
        ids = tokens[4 * window:4 * window + 5]
        return float(cross_entropy(m.eval()(ids[None, :-1]), ids[None, 1:])[0])
    assert len(tokens) - 4 == 43                             # starts of windows: 0, 4, ... 40
    for size, batches, windows in ((3, 0, range(11)), (20, 0, range(11)), (3, 2, (0, 1, 2, 9, 10)),
                                   (3, 1, (0, 1, 2)), (3, 9, range(11))):
        wanted = np.mean([loss(w) for w in windows])
        m.train()
        assert abs(evaluate(m, tokens, size, batches) - wanted) < 1e-6 and m.training
        assert abs(evaluate(m.eval(), tokens, size, batches) - wanted) < 1e-6 and not m.training
    assert signature(evaluate).parameters["batch_size"].default == 12
    assert [b.tolist() for b in spread(5, 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in spread(10, 2, 3)] == [[0, 1], [4, 5], [8, 9]]
    assert len(spread(10, 2, 5)) == len(spread(10, 2, 6)) == len(spread(9, 2)) == 5


def test_the_loss_of_a_batch_counts_what_counts():
    c = GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2)
    m, (x, y) = GPT(c, np.random.default_rng(0)), np.random.default_rng(1).integers(0, 7, (2, 5, 4))
    y[0, :2], y[3] = -1, -1
    each = [float(cross_entropy(m(x[i:i+1, :t+1])[:, t], y[i, t:t+1])[0])
            for i in range(5) for t in range(4) if y[i, t] != -1]
    for n in (None, 1, 2, 3, 5): assert abs(float(accumulate(m, x, y, n)) - np.mean(each)) < 1e-6


def test_a_step_says_what_it_did(monkeypatch):
    tokens = np.arange(300) % 7
    c = GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2)
    recipe = dict(optimizer="sgd", beta1=0.0, weight_decay=0.0, schedule="constant", warmup=2,
                  lr=0.5)
    for clip, seconds in ((0.0, 2.0), (0.01, 0.5)):
        run = Run(c, TrainConfig(**recipe, batch_size=3, clip=clip), Dataset(tokens, tokens, None))
        clock = iter([10.0, 10.0 + seconds])
        monkeypatch.setattr("time.perf_counter", lambda: next(clock))
        before = run.flat.w.copy()
        step = train_step(run)
        monkeypatch.undo()
        assert (step.index, step.lr, step.val_loss) == (1, 0.25, None) and run.index == 1
        assert step.tokens_per_s == 12 / seconds and abs(step.loss - math.log(7)) < 0.1
        assert step.grad_norm > 0.1                          # as it was before it was clipped
        moved = np.linalg.norm(run.flat.w - before)
        assert abs(moved / (0.25 * (clip or step.grad_norm)) - 1) < 1e-4


@pytest.mark.parametrize("steps, every, wanted", [
    (5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 0, [3]), (3, 9, [3])])
def test_when_a_run_is_validated(steps, every, wanted):
    tokens = np.arange(100) % 7
    c = GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2)
    run = Run(c, TrainConfig(steps=steps, eval_every=every, batch_size=3, eval_batches=2),
              Dataset(tokens, tokens, None))
    seen = list(fit(run))
    assert [s.index for s in seen] == list(range(1, steps + 1)) and not list(fit(run))
    assert [s.index for s in seen if s.val_loss is not None] == wanted
    assert [i for i, _ in run.val_losses] == wanted
    assert run.val_losses[-1][1] == seen[-1].val_loss == evaluate(run.model, tokens, 3, 2)


def test_the_first_number_that_is_none_is_found():
    c = GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2)
    m, ids, call = GPT(c, np.random.default_rng(0)), np.zeros((1, 4), int), Module.__call__
    assert first_nonfinite(m, ids) == "the loss alone"
    m.blocks[0].mlp.up.dW[0, 0] = m.head.dW[0, 0] = math.inf
    assert first_nonfinite(m, ids) == "the gradient of head.W"   # the nearest to the loss
    m.norm.g[:] = 3e38
    with np.errstate(all="ignore"):
        assert first_nonfinite(m, ids) == "the output of norm (LayerNorm)"
    m.forward = lambda ids: np.array(np.nan)
    assert first_nonfinite(m, ids) == "the output of the model (GPT)"
    m.emb.W[0, 0] = np.nan
    assert first_nonfinite(m, ids) == "the weights emb.W" and Module.__call__ is call


@pytest.mark.parametrize("loss, slope", [(math.nan, 1.0), (1.0, math.inf), (math.inf, math.nan)])
def test_a_loss_or_a_gradient_that_is_not_finite_stops_the_step(loss, slope):
    tokens = np.arange(100) % 7
    run = Run(GPTConfig(vocab_size=7, context=4, n_layer=1, n_embd=8, n_head=2),
              TrainConfig(batch_size=3), Dataset(tokens, tokens, None))
    before = run.flat.w.copy()

    def accumulate(x, y):
        run.flat.dw[0] = slope
        return loss
    run.accumulate = accumulate
    with pytest.raises(FloatingPointError, match=f"step 1: the loss is {loss} and"): train_step(run)
    assert (run.flat.w == before).all() and run.index == run.optimizer.t == 0


def test_attention_maps_of_a_model_with_uniform_heads():
    "Queries of zero see all that came before alike"
    c = GPTConfig(vocab_size=7, context=5, n_layer=2, n_embd=8, n_head=4, n_kv_head=2)
    m = GPT(c, np.random.default_rng(0))
    for b in m.blocks: b.attn.q.W[:] = 0
    maps = attention_maps(m, np.zeros((3, 5), int))
    assert maps.shape == (2, 3, 4, 5, 5)
    alike = np.tril(np.ones((5, 5))) / np.arange(1, 6)[:, None]
    np.testing.assert_allclose(maps, np.broadcast_to(alike, maps.shape), rtol=1e-6)
