"""Every operation of the engine and its gradient against PyTorch's, with broadcasting,
in double precision"""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` installs it")
import torch.nn.functional as F

import twin
from numpygpt import autograd as ag
from numpygpt.attention import causal
from numpygpt.autograd import Tensor
from numpygpt.module import Flat
from numpygpt.training import PRESETS
from numpygpt.transformer import GPT, GPTConfig

rng = np.random.default_rng(11)
draw = lambda *shape: rng.normal(size=shape)
positive = lambda *shape: rng.uniform(0.5, 2, shape)
A, B, COL, POS = draw(3, 5, 7), draw(5, 1), draw(7), positive(5, 7)
IDS, KEEP, T = np.array([[2, 0, 2], [1, 2, 2]]), rng.random((5, 7)) < 0.5, torch.tensor
COS, SIN = np.cos(draw(5, 3)), np.sin(draw(5, 3))
TIES = np.array([[1.0, 2, 2], [3, 3, 3]])
both = lambda f: (f, f)              # the same Python for both

CASES = {
    "add": (*both(lambda a, b: a + b), A, B),
    "add, stretched both ways": (*both(lambda a, b: a + b), draw(3, 1), draw(1, 4)),
    "add a number": (*both(lambda a: 2 + a + 1), A),
    "add to a single number": (*both(lambda a, b: a + b), A, np.array(0.7)),
    "sub": (*both(lambda a, b: a - b), B, A), "number sub": (*both(lambda a: 2 - a), A),
    "mul": (*both(lambda a, b: a * b), A, COL),
    "mul by itself": (*both(lambda a: a * a), A), "div": (*both(lambda a, b: a / b), A, POS),
    "number div": (*both(lambda a: 3 / a), POS),
    "neg": (*both(lambda a: -a), A), "pow 2": (*both(lambda a: a ** 2), A),
    "pow -1.5": (*both(lambda a: a ** -1.5), POS),
    "pow 0 at 0": (*both(lambda a: a ** 0), np.array([0.0, 1, 2])),
    "pow of two": (*both(lambda a, b: a ** b), POS, COL),
    "number pow": (*both(lambda a: 2.0 ** a), A),
    "matmul": (*both(lambda a, b: a @ b), draw(5, 7), draw(7, 2)),
    "matmul, batch stretched": (*both(lambda a, b: a @ b), A, draw(2, 1, 7, 4)),
    "matmul, weights": (*both(lambda a, b: a @ b), A, draw(7, 2)),
    "vector matmul": (*both(lambda a, b: a @ b), COL, draw(3, 7, 4)),
    "matmul vector": (*both(lambda a, b: a @ b), A, COL),
    "vector matmul vector": (*both(lambda a, b: a @ b), COL, draw(7)),
    "slice": (*both(lambda a: a[1:, None, 2:5]), A), "ellipsis": (*both(lambda a: a[..., -1]), A),
    "one row": (*both(lambda a: a[2]), A),
    "index, repeats": (lambda a: a[IDS], lambda a: a[T(IDS)], draw(4, 3)),
    "index, negative": (*both(lambda a: a[[0, -1, 2]]), draw(3, 4)),
    "index, pairs": (*both(lambda a: a[[0, 1, 0], [2, 2, 2]]), draw(4, 3)),
    "index, mask": (lambda a: a[KEEP], lambda a: a[T(KEEP)], draw(5, 7)),
    "index, a tuple in a tuple": (lambda a: a[:, (0, 0, 1)], lambda a: a[:, [0, 0, 1]], draw(2, 3)),
    "index, a range": (lambda a: a[range(2)], lambda a: a[:2], draw(3, 4)),
    "index, nested": (lambda a: a[[[0, 0], [1, 1]]], lambda a: a[T([[0, 0], [1, 1]])], draw(2, 3)),
    "index, booleans": (*both(lambda a: a[:, [True, False, True]]), draw(2, 3)),
    "index, small ids": (lambda a: a[IDS.astype("u1")], lambda a: a[T(IDS)], draw(256, 3)),
    "sum": (*both(lambda a: a.sum()), A),
    "sum of axes": (lambda a: a.sum((0, 2)), lambda a: a.sum((0, 2)), A),
    "sum, kept": (lambda a: a.sum(-1, keepdims=True), lambda a: a.sum(-1, keepdim=True), A),
    "mean": (*both(lambda a: a.mean()), A), "mean of an axis": (*both(lambda a: a.mean(1)), A),
    "max": (lambda a: a.max(1), lambda a: a.amax(1), A),
    "max with ties": (lambda a: a.max(1), lambda a: a.amax(1), TIES),
    "max of all": (lambda a: a.max(), lambda a: a.amax(), TIES),
    "var": (lambda a: a.var(-1), lambda a: a.var(-1, correction=0), A),
    "var of all": (lambda a: a.var(), lambda a: a.var(correction=0), A),
    "reshape": (*both(lambda a: a.reshape(7, -1)), A),
    "transpose": (lambda a: a.transpose(1, 2, 0), lambda a: a.permute(1, 2, 0), A),
    "swapaxes": (*both(lambda a: a.swapaxes(0, -1)), A), "T": (*both(lambda a: a.T), draw(2, 3)),
    "broadcast_to": (lambda b: ag.broadcast_to(b, (3, 5, 4)), lambda b: b.expand(3, 5, 4), B),
    "concatenate": (lambda a, b: ag.concatenate([a, b, a], -1),
                    lambda a, b: torch.cat([a, b, a], -1), draw(5, 7), draw(5, 2)),
    "stack": (lambda a, b: ag.stack([a, b], 1), lambda a, b: torch.stack([a, b], 1), POS,
              draw(5, 7)),
    "split": (lambda a: ag.split(a, 3)[0] * ag.split(a, 3)[2],
              lambda a: a.chunk(3)[0] * a.chunk(3)[2], A),
    "where": (lambda a, b: ag.where(KEEP, a, b), lambda a, b: torch.where(T(KEEP), a, b),
              draw(5, 7), COL),
    "masked_fill": (lambda a: ag.masked_fill(a, KEEP, 0.5),
                    lambda a: a.masked_fill(T(KEEP), 0.5), A),
    "exp": (ag.exp, torch.exp, A), "log": (ag.log, torch.log, POS),
    "tanh": (ag.tanh, torch.tanh, A), "sin": (ag.sin, torch.sin, A), "cos": (ag.cos, torch.cos, A),
    "sqrt": (ag.sqrt, torch.sqrt, POS), "erf": (ag.erf, torch.erf, A),
    "relu": (ag.relu, F.relu, A), "sigmoid": (ag.sigmoid, torch.sigmoid, A),
    "silu": (ag.silu, F.silu, A), "swiglu": (ag.swiglu, twin.CURVES["swiglu"], A, POS),
    "gelu": (ag.gelu, twin.CURVES["gelu"], A), "gelu_exact": (ag.gelu_exact, F.gelu, A),
    "softmax": (ag.softmax, lambda a: a.softmax(-1), A),
    "softmax of another axis": (lambda a: ag.softmax(a, 0), lambda a: a.softmax(0), 30 * A),
    "log_softmax": (ag.log_softmax, lambda a: a.log_softmax(-1), 100 * A),
    "layer_norm": (ag.layer_norm, lambda x, g, b: F.layer_norm(x, (7,), g, b), A, COL, draw(7)),
    "rms_norm": (ag.rms_norm, lambda x, g: F.rms_norm(x, (7,), g, 1e-5), A, COL),
    "linear": (ag.linear, lambda x, W, b: F.linear(x, W.T, b), A, draw(7, 4), draw(4)),
    "embedding": (lambda W: ag.embedding(W, IDS), lambda W: F.embedding(T(IDS), W), draw(4, 3)),
    "dropout": (lambda a: ag.dropout(a, KEEP * 2.0), lambda a: a * T(KEEP * 2.0), A),
    "rotate": (lambda x: ag.rotate(x, COS, SIN),
               lambda x: torch.cat([x[..., :3] * T(COS) - x[..., 3:] * T(SIN),
                                    x[..., 3:] * T(COS) + x[..., :3] * T(SIN)], -1), draw(2, 5, 6)),
    "attend": (lambda q, k, v: ag.attend(q, k, v, causal(5)),
               lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
               *draw(3, 2, 3, 5, 4)),
    "attend to all": (ag.attend, F.scaled_dot_product_attention, *draw(3, 2, 3, 5, 4)),
    "mse": (ag.mse, F.mse_loss, A, draw(3, 5, 7)),
    "cross_entropy": (lambda a: ag.cross_entropy(a, np.array([3, 3, -1, 0, 6])),
                      lambda a: F.cross_entropy(a, T([3, 3, -1, 0, 6]), ignore_index=-1),
                      draw(5, 7)),
}
EDGE = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0])
CASES |= {
    "pow at 0": (*both(lambda a, b: a ** b), np.array([0, 2, 0, 0, 0.0]),
                 np.array([2, 3, 0, 0.5, -1])),
    "0 pow": (*both(lambda b: 0.0 ** b), np.array([0.0, 0.5, 2])),
    "pow of a negative": (*both(lambda a, b: a ** b), np.array([-2.0]), np.array([3.0])),
    "div by 0": (*both(lambda a, b: a / b), np.array([1.0, 0, -1]), np.zeros(3)),
    "sqrt at 0": (ag.sqrt, torch.sqrt, np.zeros(2)), "log at 0": (ag.log, torch.log, np.zeros(2)),
    "mean of nothing": (*both(lambda a: a.mean()), np.zeros((0, 3))),
    "mean of no rows": (*both(lambda a: a.mean(0)), np.zeros((0, 3))),
    "var of nothing": (lambda a: a.var(), lambda a: a.var(correction=0), np.zeros(0)),
    "linear, no rows": (ag.linear, lambda x, W: F.linear(x, W.T), np.zeros((2, 0, 3)), draw(3, 4)),
    "softmax of -inf": (ag.softmax, lambda a: a.softmax(-1), np.array([[0, -np.inf, 1.0]])),
    "attend, a row sees nobody": (
        lambda q, k, v: ag.attend(q, k, v, np.eye(5, k=-1, dtype=bool)),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, T(np.eye(5, k=-1, dtype=bool))),
        *draw(3, 2, 3, 5, 4)),
    **{f"{name} at the edges": (getattr(ag, name), f, EDGE) for name, f in (
        ("relu", F.relu), ("sigmoid", F.sigmoid), ("tanh", torch.tanh), ("silu", F.silu),
        ("gelu_exact", F.gelu), ("gelu", twin.CURVES["gelu"]), ("exp", torch.exp))},
}
SPECS = {"i,i->": [(1,), (3,)], "ij,jk -> ik": [(2, 1), (3, 4)], "ij,ij->ij": [(2, 3), (1, 3)],
         "...i,...i->...": [(2, 1, 3), (4, 1)], "i...,...->i...": [(4, 4), (4, 4)],
         "...ij->ij": [(2, 3, 4)],
         "ij,jk->ik": [(2, 3), (3, 4)], "ij->ji": [(2, 3)], "ij->": [(2, 3)],
         "bij->j": [(2, 3, 4)],
         "i,j->ij": [(2,), (3,)], "ij,ij->i": [(2, 3), (2, 3)],
         "bhtd,bhsd->bhts": [(2, 3, 4, 5), (2, 3, 6, 5)], "bij,i,bk->kj": [(2, 3, 4), (3,), (2, 5)],
         "...ij,...jk->...ik": [(2, 3, 4), (2, 4, 5)], "ij,k->i": [(2, 3), (4,)]}
for spec, shapes in SPECS.items():
    CASES["einsum " + spec] = (lambda *xs, spec=spec: ag.einsum(spec, *xs),
                               lambda *xs, spec=spec: torch.einsum(spec, *xs),
                               *(draw(*s) for s in shapes))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name):
    ours, theirs, *inputs = CASES[name]
    mine, other = [Tensor(x) for x in inputs], [torch.tensor(x, requires_grad=True) for x in inputs]
    y, z = ours(*mine), theirs(*other)
    dy = np.random.default_rng(1).normal(size=z.shape)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-10)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for x, t in zip(mine, other):
        np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mine, theirs", [("f4", "f8"), ("f8", "f4"), ("f2", "f4")])
def test_types_of_gradients(mine, theirs):
    for f in (lambda a, b: a * b, lambda a, b: a ** b, lambda a, b: a / b):
        a, b = POS.astype(mine), POS.astype(theirs)
        x, y = Tensor(a), Tensor(b)
        t, u = (torch.tensor(v, requires_grad=True) for v in (a, b))
        f(x, y).sum().backward()
        f(t, u).sum().backward()
        for leaf, other in ((x, t), (y, u)):
            assert leaf.grad.dtype == other.grad.numpy().dtype
            np.testing.assert_allclose(leaf.grad, other.grad.numpy(), rtol=3e-3)


def test_sums_of_half_precision():
    x = np.tile(np.array([10, -10, 30, 1], "f2"), (1500, 1))
    t = torch.tensor(x)
    for ours, other in ((Tensor(x).sum(0), t.sum(0)), (Tensor(x).mean(), t.mean()),
                        (Tensor(x).var(), t.var(correction=0)), (ag.softmax(x, 0), t.softmax(0)),
                        (ag.rms_norm(x, np.ones(4, "f2")), F.rms_norm(t, (4,), eps=1e-5)),
                        (ag.layer_norm(x, x[0] / x[0], 0 * x[0]), F.layer_norm(t, (4,)))):
        np.testing.assert_allclose(ag.value(ours), other.numpy(), rtol=2e-3, atol=2e-3)
        assert ours.dtype == other.numpy().dtype


def test_second_derivatives():
    f = lambda x, tanh: ((tanh(x) * x) ** 2).sum()
    x, v = draw(6), draw(6)
    t = torch.tensor(x)
    theirs = torch.autograd.functional.hvp(lambda x: f(x, torch.tanh), t, torch.tensor(v))[1]
    x = Tensor(x)
    g, = ag.grad(f(x, ag.tanh), [x], create_graph=True)
    np.testing.assert_allclose(ag.grad((g * v).sum(), [x])[0], theirs.numpy(), rtol=1e-10)


def engine_and_torch(model, ids, targets):
    "Loss and gradient of every parameter, from both"
    loss, grads = ag.tape_gradients(model, ids, targets)
    w = {path: torch.tensor(x.copy(), requires_grad=True)
         for path, x in model.named_parameters().items()}
    theirs = F.cross_entropy(twin.run(model, w, "", torch.tensor(ids)).flatten(0, 1),
                             torch.tensor(targets).reshape(-1), ignore_index=-1)
    theirs.backward()
    assert abs(float(loss) - theirs.item()) < 1e-10
    return {path: (g, w[path].grad.numpy()) for path, g in grads.items()}


@pytest.mark.parametrize("options", [
    dict(n_kv_head=2, tied=True),
    dict(norm="rmsnorm", activation="swiglu", n_kv_head=1, mlp_bias=False),
    dict(position="learned", attn_bias=True, activation="gelu_exact"),
    dict(position="sinusoidal", activation="relu"),
    dict(position="none", activation="silu"),
    dict(causal=False, position="learned")], ids=str)
def test_the_whole_gpt(options):
    rng = np.random.default_rng(3)
    model = GPT(GPTConfig(vocab_size=17, context=11, n_layer=2, n_embd=24, n_head=4, n_hidden=40,
                          **options), rng)
    flat = Flat(model, "f8")
    flat.w[:] = rng.normal(0, 0.3, len(flat))
    ids, targets = rng.integers(0, 17, (2, 3, 7))
    targets[0, :2] = -1
    for path, pair in engine_and_torch(model, ids, targets).items():
        np.testing.assert_allclose(*pair, rtol=1e-10, atol=1e-10, err_msg=path)


def test_nano():
    """The model of the preset, on a whole batch of its size:
    each gradient to 1e-10 of its largest entry"""
    rng = np.random.default_rng(4)
    model = GPT(GPTConfig(vocab_size=65, **PRESETS["nano"].model), rng)
    Flat(model, "f8")
    for path, (ours, theirs) in engine_and_torch(model, *rng.integers(0, 65, (2, 12, 64))).items():
        assert np.abs(ours - theirs).max() < 1e-10 * np.abs(theirs).max(), path
