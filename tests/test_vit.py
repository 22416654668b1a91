"""What the vision transformer relies on:
a block that hides nothing and knows no positions treats tokens as a set"""
import numpy as np
import pytest

from numpygpt.embedding import Position
from numpygpt.gradcheck import Probe, dot_test
from numpygpt.rope import angles
from numpygpt.transformer import Block, GPTConfig

T, C = 7, 12
ORDER = np.random.default_rng(5).permutation(T)


def probe(*rest, **kw):
    "A block in double precision with weights of order one; `rest` goes into its forward pass"
    config = GPTConfig(context=T, n_layer=1, n_embd=C, n_head=3, n_hidden=5, position="none",
                       **{"causal": False, **kw})
    x = np.random.default_rng(1).normal(size=(2, T, C))
    return Probe(Block(config, np.random.default_rng(0), np.random.default_rng(0)), x, *rest,
                 dtype="f8", scale=0.3)


def gap(probe, change=lambda x: x):
    "How far shuffling the tokens is from shuffling what comes out"
    x, *rest = probe.inputs
    moved = probe.layer(change(x), *rest)[:, ORDER]
    return abs(probe.layer(change(x[:, ORDER]), *rest) - moved).max()


@pytest.mark.parametrize("kw", [{}, {"n_kv_head": 1}, {"norm": "rmsnorm", "activation": "swiglu"}])
def test_block_is_equivariant(kw):
    p = probe(**kw)
    assert gap(p) < 1e-12
    x, = p.inputs
    pooled = lambda x: p.layer(x).mean(1)
    assert abs(pooled(x[:, ORDER]) - pooled(x)).max() < 1e-12


def test_gradient_is_equivariant():
    p = probe()
    x, = p.inputs
    dy = np.random.default_rng(2).normal(size=x.shape)
    p.layer(x)
    dx = p.layer.backward(dy)
    p.layer(x[:, ORDER])
    assert abs(p.layer.backward(dy[:, ORDER]) - dx[:, ORDER]).max() < 1e-12


def test_what_makes_order_matter():
    "A mask, rotated positions, added positions: each alone"
    place = Position(T, C, np.random.default_rng(3), std=1.0)
    assert gap(probe(causal=True)) > 1e-3
    assert gap(probe(angles(T, C // 3))) > 1e-3
    assert gap(probe(), place) > 1e-3


def test_backward_without_mask():
    p = probe()
    assert dot_test(p.layer, p.inputs[0]) < 1e-12
