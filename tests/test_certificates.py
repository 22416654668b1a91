"""Every backward pass of the package by the one-pass dot test, tensor by tensor;
every recorded mistake is caught"""
import numpy as np
import pytest

from numpygpt import activations as A
from numpygpt.attention import Attention
from numpygpt.embedding import Embedding, Position, Unembedding
from numpygpt.gradcheck import Loss, Pair, Probe, caught_by, certify, dot_test, wrongs
from numpygpt.layernorm import LayerNorm, RMSNorm
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy, mae, mse
from numpygpt.lora import LoRA
from numpygpt.module import Module
from numpygpt.rope import angles, rotate
from numpygpt.transformer import ACTIVATIONS, GPT, MLP, Block, GPTConfig

rng = np.random.default_rng(5)
N = lambda *shape: rng.normal(size=shape)
IDS = rng.integers(0, 7, (3, 5))        # repeats for certain
IDS[0, :3] = 4
TARGETS = np.where(rng.random((3, 5)) < 0.3, -1, IDS)
SMALL = dict(vocab_size=13, context=7, n_layer=2, n_embd=24, n_head=4, n_kv_head=2, tied=True)
GPTS = {"GQA, RoPE, tied": {}, "MHA": dict(n_kv_head=4),
        "MQA, untied": dict(n_kv_head=1, tied=False), "dropout": dict(dropout=0.3),
        "Llama": dict(norm="rmsnorm", activation="swiglu", mlp_bias=False),
        "GPT-2": dict(position="learned", attn_bias=True, n_kv_head=4),
        "sinusoidal": dict(position="sinusoidal"),
        "all sizes equal": dict(vocab_size=8, context=8, n_embd=64, n_head=8, n_kv_head=8,
                                n_hidden=8),
        **{name: dict(activation=name) for name in ACTIVATIONS}}


class Tied(Module):
    "Embedding and head on one table"
    def __init__(self):
        self.emb = Embedding(11, 6, rng)
        self.head = Unembedding(self.emb)
    def forward(self, ids): return self.head(self.emb(ids))
    def backward(self, dy): return self.emb.backward(self.head.backward(dy))


TABLES = angles(5, 6)
CASES = {
    "Linear": (Linear(5, 7, rng), N(2, 3, 5)),
    "Linear, rank 2": (Linear(5, 5, rng, bias=False), N(5, 5)),
    "Linear, rank 4": (Linear(5, 7, rng), N(2, 3, 2, 5)),
    "Linear, not contiguous": (Linear(5, 7, rng), N(5, 3, 2).T),
    "Embedding": (Embedding(11, 5, rng), IDS), "Position": (Position(11, 5, rng), N(2, 7, 5), 3),
    "Tied": (Tied(), IDS), "LayerNorm": (LayerNorm(7), N(2, 3, 7)),
    "LayerNorm, offset": (LayerNorm(7), N(2, 3, 7) + 1e4), "RMSNorm": (RMSNorm(7), N(2, 3, 7)),
    "Dropout": (A.Dropout(0.3, np.random.default_rng(6)), N(4, 9)),
    "softmax": (Pair(A.softmax, A.softmax_bwd, "y"), N(2, 3, 7)),
    "sigmoid": (Pair(A.sigmoid, A.sigmoid_bwd, "y"), N(3, 5)),
    "swiglu": (Pair(A.swiglu, A.swiglu_bwd), N(3, 5), N(3, 5)),
    **{f.__name__: (Pair(f, bwd), N(3, 5))
       for f, bwd in ((A.relu, A.relu_bwd), (A.gelu, A.gelu_bwd), (A.gelu_exact, A.gelu_exact_bwd),
                      (A.silu, A.silu_bwd))},
    "rotate": (Pair(lambda x: rotate(x, *TABLES), lambda dy, x: rotate(dy, TABLES[0], -TABLES[1])),
               N(2, 3, 5, 6)),
    "cross_entropy": (Loss(cross_entropy, TARGETS), N(3, 5, 7)),
    "mse": (Loss(mse, N(3, 5)), N(3, 5)), "mae": (Loss(mae, N(3, 5)), N(3, 5)),
    **{f"Attention, {k} key heads": (Attention(24, 4, k, rng, bias=True), N(2, 5, 24), TABLES)
       for k in (4, 2, 1)},
    "Attention, every size 4": (Attention(16, 4, 4, rng), N(4, 4, 16), angles(4, 4)),
    "Attention, all options": (Attention(24, 4, 2, rng, head_size=10, qkv_bias=True, qk_norm=1e-5),
                               N(2, 5, 24), angles(5, 10)),
    "Attention both ways": (Attention(24, 4, 2, rng, is_causal=False), N(2, 5, 24)),
    "cross_entropy, sure and wrong": (Loss(cross_entropy, TARGETS), 40 * N(3, 5, 7)),
    "MLP": (MLP(GPTConfig(**SMALL), rng), N(2, 5, 24)),
    "MLP, SwiGLU": (MLP(GPTConfig(**SMALL, activation="swiglu"), rng), N(2, 5, 24)),
    "LoRA": (LoRA(Linear(5, 7, rng), 2, 6.0, rng), N(2, 3, 5)),
    "LoRA, square": (LoRA(Linear(6, 6, rng, False), 3, 2.0, rng), N(3, 6)),
    "Block": (Block(GPTConfig(**SMALL), rng, rng), N(2, 5, 24), TABLES),
    "Block, dropout and biases": (Block(GPTConfig(**SMALL, dropout=0.3, attn_bias=True), rng, rng),
                                  N(2, 5, 24), TABLES),
}


@pytest.mark.parametrize("case", CASES)
def test_layers(case):
    layer, *inputs = CASES[case]
    errors = dot_test(layer, *inputs, per_tensor=True)
    assert max(errors.values()) <= 1e-12, errors
    assert dot_test(layer, *inputs) <= 1e-12


@pytest.mark.parametrize("case", ["Linear", "LayerNorm", "RMSNorm", "softmax", "gelu",
                                  "cross_entropy", "Attention, 2 key heads"])
def test_whole_certificates(case):
    layer, *inputs = CASES[case]
    certificate = certify(layer, *inputs, limit=20)
    assert certificate.ok, certificate


@pytest.mark.parametrize("variant", GPTS)
def test_the_whole_gpt(variant):
    options = {**SMALL, **GPTS[variant]}
    ids = rng.integers(0, options["vocab_size"], (2, options["context"]))
    errors = dot_test(GPT(GPTConfig(**options), rng), ids, per_tensor=True, scale=0.3)
    assert max(errors.values()) <= 1e-12, errors


WHOLE = GPT(GPTConfig(**SMALL, dropout=0.3), rng), rng.integers(0, 13, (2, 7))
FITTING = [*CASES.values(), WHOLE]


def behaviour(layer, *inputs):
    """All that a reference can be compared in: output, gradients,
    gradients after a second backward, output in eval mode"""
    probe = Probe(layer, *inputs, dtype="f8", scale=0.5)
    seen = [probe(), *probe.gradients().values()]
    probe.flat.zero_grad()
    for _ in range(2):
        probe()
        probe.layer.backward(probe.R)
    seen.append(probe.flat.dw.copy())
    probe.layer.eval()
    return [np.asarray(x) for x in (*seen, probe())]


def differs(wrong, right, inputs):
    """The mistake shows: it crashes, or something that can be compared is not what the right
    version gives"""
    try: found = behaviour(wrong, *inputs)
    except Exception: return True
    return any(a.shape != b.shape or not np.allclose(a, b, rtol=1e-6, atol=1e-9)
               for a, b in zip(found, behaviour(right, *inputs)))


def fits(w):
    "(right layer, wrong layer, inputs) wherever this mistake can be made"
    for layer, *inputs in FITTING:
        try: yield layer, w.apply(layer), inputs
        except ValueError: continue


OF_LAYERS = [w for w in wrongs() if any(True for _ in fits(w))]


@pytest.mark.parametrize("w", OF_LAYERS, ids=[f"{w.what.__name__}: {w.name}" for w in OF_LAYERS])
def test_every_mistake_shows(w):
    assert w.thought and w.name
    assert any(differs(wrong, layer, inputs) for layer, wrong, inputs in fits(w))


# to a right gradient of another function, or a right first gradient
DOT_TEST_IS_BLIND = {"left on in eval mode", "= instead of +=", "scaled by 1/p", "not scaled",
                     "softmax taken twice", "start ignored", "ignored targets counted in the mean"}


@pytest.mark.parametrize("w", [w for w in OF_LAYERS if w.name not in DOT_TEST_IS_BLIND],
                         ids=lambda w: f"{w.what.__name__}: {w.name}")
def test_the_dot_test_alone_catches_it(w):
    assert any(caught_by(wrong, *inputs, scale=0.5)["dot test"] for _, wrong, inputs in fits(w))


@pytest.mark.parametrize("w", wrongs(Block), ids=lambda w: w.name)
def test_a_block_that_has_all_it_can_have_shows_each_mistake(w):
    block, *inputs = CASES["Block, dropout and biases"]
    assert dot_test(w.apply(block), *inputs, scale=0.5) > 1e-3


def test_a_forgotten_dropout_shows_where_there_is_some_and_nowhere_else():
    w, = [w for w in wrongs(Block) if w.name == "dropouts forgotten"]
    for case, seen in (("Block", False), ("Block, dropout and biases", True)):
        block, *inputs = CASES[case]
        assert caught_by(w.apply(block), *inputs, scale=0.5)["dot test"] == seen


def test_the_right_versions_are_not_accused():
    for layer, *inputs in FITTING:
        assert not caught_by(layer, *inputs, scale=0.5)["dot test"], type(layer).__name__


def test_each_layer_has_its_mistakes():
    recorded = {w.what.__name__ for w in OF_LAYERS}
    every = {"Linear", "softmax", "gelu", "swiglu", "Dropout", "cross_entropy", "mse", "Embedding",
             "LayerNorm", "RMSNorm", "Attention", "Block", "LoRA"}
    assert every <= recorded
