"""The engine: order, accumulation, memory, second derivatives, pictures,
and agreement with every backward pass written by hand"""
import gc
import math
import shutil
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from fake_device import Device
from numpygpt import activations, losses, rope
from numpygpt import autograd as ag
from numpygpt.attention import Attention, causal
from numpygpt.autograd import Tensor, Taped, grad, no_grad
from numpygpt.backend import to_cpu, using, xp
from numpygpt.bpe import CharTokenizer
from numpygpt.data import load_text
from numpygpt.embedding import Embedding
from numpygpt.gradcheck import caught_by, certify, wrongs
from numpygpt.graphs import LOOKS, _below, dot_source, plot_graph
from numpygpt.layernorm import LayerNorm, RMSNorm
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.training import PRESETS
from numpygpt.transformer import GPT, MLP, GPTConfig

VARIANTS = [{}, dict(n_kv_head=2), dict(n_kv_head=1, tied=True), dict(norm="rmsnorm"),
            dict(activation="gelu_exact", position="none"),
            dict(activation="relu", position="sinusoidal"), dict(activation="silu", attn_bias=True),
            dict(position="learned", attn_bias=True, tied=True),
            dict(norm="rmsnorm", activation="swiglu", n_kv_head=2, mlp_bias=False),
            dict(dropout=0.2, position="learned"), dict(causal=False, n_kv_head=2),
            dict(recompute=True, dropout=0.2)]
NANO = GPTConfig(vocab_size=65, **PRESETS["nano"].model)


@pytest.fixture
def rng(): return np.random.default_rng(0)


def small(options, rng, dtype="f8"):
    "A GPT with weights of order one, its Flat, ids and targets"
    model = GPT(GPTConfig(vocab_size=13, context=9, n_layer=2, n_embd=24, n_head=4, n_hidden=20,
                          **options), rng, np.random.default_rng(7))
    flat = Flat(model, dtype)
    flat.w[:] = xp.asarray(rng.normal(0, 0.3, len(flat)))
    ids, targets = rng.integers(0, 13, (2, 3, 7))
    targets[0, :2] = -1
    return model, flat, xp.asarray(ids), xp.asarray(targets)


def by_hand(model, ids, targets):
    loss, dlogits = cross_entropy(model(ids), targets)
    model.backward(dlogits)
    return loss


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_whole_gpt_agrees_with_the_hand_written_backward(options, rng):
    model, flat, ids, targets = small(options, rng)
    loss, grads = ag.tape_gradients(model, ids, targets, np.random.default_rng(7))
    assert not flat.dw.any()                                     # the model was left alone
    assert abs(by_hand(model, ids, targets) - loss) < 1e-12
    for path, dw in model.named_gradients().items():
        np.testing.assert_allclose(grads[path], dw, rtol=1e-12, atol=1e-12 * np.abs(flat.dw).max(),
                                   err_msg=path)


def nano(dtype):
    "The model of preset nano with its Flat, and batches of 12 times 64 characters"
    text = load_text("tinyplays")[:20_000]
    stream, rng = np.array(CharTokenizer.train(text).encode(text)), np.random.default_rng(1)
    model = GPT(NANO, np.random.default_rng(0))
    def batches(n):
        for at in rng.integers(0, len(stream) - 65, (n, 12, 1)) + np.arange(64):
            yield stream[at], stream[at + 1]
    return model, Flat(model, dtype), batches


def test_one_step_of_nano_agrees_in_every_gradient():
    model, flat, batches = nano("f8")
    batch = [x[:4] for x in next(batches(1))]
    loss, grads = ag.tape_gradients(model, *batch)
    assert abs(by_hand(model, *batch) - loss) < 1e-12
    for path, dw in model.named_gradients().items():
        assert np.abs(grads[path] - dw).max() < 1e-12 * np.abs(dw).max(), path


def test_nano_trains_on_the_tape():
    def losses(taped):
        model, flat, batches = nano("f4")
        optimizer = AdamW(flat, 3e-3)
        for batch in batches(5):
            flat.zero_grad()
            if taped: (loss := ag.gpt_loss(NANO, ag.tensors(model), *batch)).backward()
            else: loss = by_hand(model, *batch)
            optimizer.step()
            yield float(loss)
    one, other = np.array(list(losses(False))), np.array(list(losses(True)))
    assert np.abs(one - other).max() < 1e-4 and other[-1] < other[0] - 0.3


X, Y, ROW, COLUMN, PLUS = (np.random.default_rng(i).normal(size=n)
                           for i, n in enumerate([(3, 5, 7), (3, 5, 7), 7, (5, 1), (3, 5, 7)]))
PLUS = PLUS * PLUS + 0.5
REPEATS, KEEP = np.array([[2, 0, 2], [1, 2, 2]]), X > 0.3
BOX = (slice(1, None), slice(None, None, 2))


def scattered(dy, index, shape):
    "dy added one by one where the index took it from"
    dx = np.zeros(shape)
    for at, source in enumerate(np.arange(dx.size).reshape(shape)[index].reshape(-1)):
        dx.reshape(-1)[source] += dy.reshape(-1)[at]
    return dx


def shares(dy, x):
    "The gradient of the largest entries of rows, divided among equals"
    largest = x == x.max(-1, keepdims=True)
    return largest * (dy / largest.sum(-1))[..., None]


# function, arrays, and the gradient of each, written without the engine and without `unbroadcast`
OPERATIONS = {
    "add": (lambda a, b: a + b, (X, COLUMN), lambda dy, a, b: (dy, dy.sum((0, 2))[:, None])),
    "sub": (lambda a, b: a - b, (ROW, X), lambda dy, a, b: (dy.sum((0, 1)), -dy)),
    "mul": (lambda a, b: a * b, (X, ROW), lambda dy, a, b: (dy * b, (dy * a).sum((0, 1)))),
    "div": (lambda a, b: a / b, (COLUMN, PLUS),
            lambda dy, a, b: ((dy / b).sum((0, 2))[:, None], -dy * a / b**2)),
    "pow": (lambda a, b: a ** b, (PLUS, Y),
            lambda dy, a, b: (dy * b * a ** (b - 1), dy * a**b * np.log(a))),
    "cube": (lambda a: a ** 3, (X,), lambda dy, a: (3 * dy * a * a,)),
    "neg": (lambda a: -a, (X,), lambda dy, a: (-dy,)),
    "exp": (ag.exp, (X,), lambda dy, a: (dy * np.exp(a),)),
    "log": (ag.log, (PLUS,), lambda dy, a: (dy / a,)),
    "sqrt": (ag.sqrt, (PLUS,), lambda dy, a: (dy / (2 * np.sqrt(a)),)),
    "tanh": (ag.tanh, (X,), lambda dy, a: (dy / np.cosh(a) ** 2,)),
    "sin": (ag.sin, (X,), lambda dy, a: (dy * np.cos(a),)),
    "cos": (ag.cos, (X,), lambda dy, a: (-dy * np.sin(a),)),
    "erf": (ag.erf, (X,), lambda dy, a: (dy * 2 / np.sqrt(np.pi) * np.exp(-a * a),)),
    "matmul": (lambda a, b: a @ b, (X, Y[0].T),
               lambda dy, a, b: (dy @ b.T, np.einsum("bij,bik->jk", a, dy))),
    "batched matmul": (lambda a, b: a @ b, (X, Y.swapaxes(1, 2)),
                       lambda dy, a, b: (dy @ b.swapaxes(1, 2), a.swapaxes(1, 2) @ dy)),
    "matmul with a vector": (lambda a, b: a @ b, (X, ROW),
                             lambda dy, a, b: (dy[..., None] * b, (dy[..., None] * a).sum((0, 1)))),
    "einsum": (lambda a, b: ag.einsum("bij,kj->ik", a, b), (X, Y[0]),
               lambda dy, a, b: (np.broadcast_to(dy @ b, a.shape), (a.sum(0).T @ dy).T)),
    "slice": (lambda a: a[BOX], (X,), lambda dy, a: (scattered(dy, BOX, a.shape),)),
    "index, repeats": (lambda a: a[REPEATS], (X,),
                       lambda dy, a: (scattered(dy, REPEATS, a.shape),)),
    "rows of a table, repeats": (lambda a: a[REPEATS], (X[0],),
                                 lambda dy, a: (scattered(dy, REPEATS, a.shape),)),
    "index, pairs": (lambda a: a[[0, 1, 0], [2, 2, 2]], (X,),
                     lambda dy, a: (scattered(dy, ([0, 1, 0], [2, 2, 2]), a.shape),)),
    "index, mask": (lambda a: a[KEEP], (X,), lambda dy, a: (scattered(dy, KEEP, a.shape),)),
    "sum": (lambda a: a.sum(1), (X,), lambda dy, a: (np.repeat(dy[:, None], 5, 1),)),
    "mean of all": (lambda a: a.mean(), (X,), lambda dy, a: (np.full(a.shape, dy / a.size),)),
    "mean, kept": (lambda a: a.mean((0, 2), keepdims=True), (X,),
                   lambda dy, a: (np.broadcast_to(dy / 21, a.shape),)),
    "var": (lambda a: a.var(-1), (X,),
            lambda dy, a: (dy[..., None] * 2 / 7 * (a - a.mean(-1, keepdims=True)),)),
    "max, with ties": (lambda a: a.max(-1), (np.round(X),), lambda dy, a: (shares(dy, a),)),
    "reshape": (lambda a: a.reshape(7, -1), (X,), lambda dy, a: (dy.reshape(a.shape),)),
    "transpose": (lambda a: a.transpose(1, 2, 0), (X,), lambda dy, a: (dy.transpose(2, 0, 1),)),
    "swapaxes": (lambda a: a.swapaxes(0, -1), (X,), lambda dy, a: (dy.swapaxes(0, -1),)),
    "broadcast_to": (lambda a: ag.broadcast_to(a, (3, 5, 4)), (COLUMN,),
                     lambda dy, a: (dy.sum((0, 2))[:, None],)),
    "split": (lambda a: ag.split(a, 5, 1)[3], (X,),
              lambda dy, a: (scattered(dy, (slice(None), slice(3, 4)), a.shape),)),
    "concatenate": (lambda a, b: ag.concatenate([a, b, a], -1), (X, Y),
                    lambda dy, a, b: (dy[..., :7] + dy[..., 14:], dy[..., 7:14])),
    "stack": (lambda a, b: ag.stack([a, b], 1), (X, Y), lambda dy, a, b: (dy[:, 0], dy[:, 1])),
    "where": (lambda a, b: ag.where(KEEP, a, b), (X, ROW),
              lambda dy, a, b: (dy * KEEP, (dy * ~KEEP).sum((0, 1)))),
    "masked_fill": (lambda a: ag.masked_fill(a, KEEP, 0.5), (X,), lambda dy, a: (dy * ~KEEP,)),
    "dropout": (lambda a: ag.dropout(a, KEEP * 2.0), (X,), lambda dy, a: (dy * KEEP * 2,)),
    "sigmoid": (ag.sigmoid, (X,),
                lambda dy, a: (dy * activations.sigmoid(a) * (1 - activations.sigmoid(a)),)),
    "relu": (ag.relu, (X,), lambda dy, a: (activations.relu_bwd(dy, a),)),
    "silu": (ag.silu, (X,), lambda dy, a: (activations.silu_bwd(dy, a),)),
    "gelu": (ag.gelu, (X,), lambda dy, a: (activations.gelu_bwd(dy, a),)),
    "gelu_exact": (ag.gelu_exact, (X,), lambda dy, a: (activations.gelu_exact_bwd(dy, a),)),
    "swiglu": (ag.swiglu, (X, Y), lambda dy, a, b: activations.swiglu_bwd(dy, a, b)),
    "softmax": (ag.softmax, (30 * X,),
                lambda dy, a: (activations.softmax_bwd(dy, activations.softmax(a)),)),
    "log_softmax": (ag.log_softmax, (30 * X,),
                    lambda dy, a: (dy - activations.softmax(a) * dy.sum(-1, keepdims=True),)),
    "mse": (ag.mse, (X, Y), lambda dy, a, b: (dy * losses.mse(a, b)[1], -dy * losses.mse(a, b)[1])),
    "cross_entropy": (lambda a: ag.cross_entropy(a, IDS), (X,),
                      lambda dy, a: (dy * cross_entropy(a, IDS)[1],)),
    "rotate": (lambda a: ag.rotate(a, *rope.angles(5, 6)), (X[..., :6],),
               lambda dy, a: (rope.rotate(dy, rope.angles(5, 6)[0], -rope.angles(5, 6)[1]),)),
}
IDS = np.random.default_rng(9).integers(-1, 7, (3, 5))


def agree(f, inputs, gradients):
    "The engine's gradients of f are those given, to 1e-12 of the largest entry"
    tensors = [Tensor(x) for x in inputs]
    y = f(*tensors)
    dy = np.random.default_rng(1).normal(size=y.shape)
    y.backward(dy)
    by_hand = gradients(dy, *inputs)
    assert len(by_hand) == len(inputs)
    for x, dx in zip(tensors, by_hand):
        np.testing.assert_allclose(x.grad, dx, rtol=0, atol=1e-12 * max(1, np.abs(dx).max()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_agrees_with_its_gradient_by_hand(name): agree(*OPERATIONS[name])


def attention(K, is_causal):
    layer = Attention(12, 4, K, np.random.default_rng(0), bias=True, is_causal=is_causal)
    config = GPTConfig(context=5, n_embd=12, n_head=4, n_kv_head=K, position="none", attn_bias=True,
                       causal=is_causal)
    by_path = lambda w: {f"attn.{path}": t for path, t in zip(layer.named_parameters(), w)}
    return layer, lambda x, *w: ag._attention(config, by_path(w), "attn", x, None), (3, 5, 12)


def mlp(activation):
    config = GPTConfig(n_embd=16, n_hidden=20, activation=activation)
    layer = MLP(config, np.random.default_rng(0))
    by_path = lambda w: {f"mlp.{path}": t for path, t in zip(layer.named_parameters(), w)}
    return layer, lambda x, *w: ag._mlp(config, by_path(w), "mlp", x), (3, 5, 16)


LAYERS = {"linear": lambda: (Linear(7, 4, np.random.default_rng(0)), ag.linear, (3, 5, 7)),
          "layer_norm": lambda: (LayerNorm(7), ag.layer_norm, (3, 5, 7)),
          "rms_norm": lambda: (RMSNorm(7), ag.rms_norm, (3, 5, 7)),
          "attention": lambda: attention(4, True), "GQA": lambda: attention(2, True),
          "MQA": lambda: attention(1, True), "attention to all": lambda: attention(2, False),
          **{a: lambda a=a: mlp(a) for a in ("relu", "gelu", "gelu_exact", "silu", "swiglu")}}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_agrees_with_its_backward_by_hand(name, rng):
    layer, function, shape = LAYERS[name]()
    flat = Flat(layer, "f8")
    flat.w[:] = rng.normal(0, 0.5, len(flat))
    x, weights = rng.normal(size=shape), [w.copy() for w in layer.named_parameters().values()]
    def gradients(dy, x, *_):
        np.testing.assert_allclose(layer(x), function(x, *weights), rtol=1e-12, atol=1e-12)
        return layer.backward(dy), *layer.named_gradients().values()
    agree(function, (x, *weights), gradients)


def test_the_embedding_agrees_with_its_backward_by_hand(rng):
    layer, ids = Embedding(7, 4, rng), rng.integers(0, 7, (3, 5))
    Flat(layer, "f8")
    def gradients(dy, W):
        layer(ids)
        layer.backward(dy)
        return layer.dW,
    agree(lambda W: ag.embedding(W, ids), (layer.W.copy(),), gradients)


@pytest.mark.parametrize("options", [VARIANTS[2], VARIANTS[8], VARIANTS[9]], ids=str)
def test_a_training_step_is_the_same_on_a_device(options):
    def step():
        model, flat, ids, targets = small(options, np.random.default_rng(3), "f4")
        loss = ag.gpt_loss(model.config, ag.tensors(model), ids, targets, np.random.default_rng(7))
        loss.backward()
        assert str(flat.dw.dtype) == "float32"
        return float(loss), to_cpu(flat.dw).copy()
    here = step()
    with using(Device()): there = step()
    assert math.isclose(here[0], there[0], rel_tol=1e-5)
    np.testing.assert_allclose(there[1], here[1], rtol=1e-3, atol=2e-6)


def test_training_follows_the_hand_written_loss_for_loss():
    def losses(taped):
        model, flat, ids, targets = small({}, np.random.default_rng(5))
        opt, weights = AdamW(flat, 1e-2), ag.tensors(model)
        for _ in range(15):
            flat.zero_grad()
            if taped: (loss := ag.gpt_loss(model.config, weights, ids, targets)).backward()
            else: loss = by_hand(model, ids, targets)
            yield float(loss)
            opt.step()
    one, other = list(losses(False)), list(losses(True))
    np.testing.assert_allclose(one, other, rtol=1e-10)
    assert one[-1] < one[0]


def test_order_by_generation_in_diamonds():
    x = Tensor(3.0)
    (x ** 2 + (x ** 2) ** 2).backward()
    assert float(x.grad) == 114
    y = x = Tensor(1.0)
    for _ in range(40): y = y * 0.5 + y * 0.5                    # 2^40 paths
    y.backward(keep_graph=True)
    assert math.isclose(float(x.grad), 1)


def test_a_deep_chain_needs_no_recursion():
    y = x = Tensor(1.0)
    for _ in range(20_000): y = y + 1
    y.backward(keep_graph=True)
    assert float(x.grad) == 1
    assert "digraph" in dot_source(y)
    del y                                                        # and neither does letting go of it


def test_gradients_accumulate_and_are_not_shared():
    x = Tensor([1.0, 2.0])
    (x + x).backward(np.array([1.0, 10.0]))
    first = x.grad
    (3 * x).sum().backward()
    assert x.grad is first and x.grad.tolist() == [5, 23]        # in place
    a, b = Tensor([1.0]), Tensor([1.0])
    (a + b).sum().backward()
    a.grad += 1
    assert b.grad.tolist() == [1]
    x.zero_grad()
    assert x.grad is first and not first.any()


def test_gradients_land_in_a_flat():
    model, flat, ids, targets = small({}, np.random.default_rng(0))
    for n in (1, 2):
        ag.gpt_loss(model.config, ag.tensors(model), ids, targets).backward()
        if n == 1: once = flat.dw.copy()
    np.testing.assert_allclose(flat.dw, 2 * once)


def test_nothing_is_held_without_the_cycle_collector():
    gc.collect(); gc.disable()
    try:
        y = (Tensor(np.ones(100_000)) ** 2).sum()
        inner = weakref.ref(y.creator.inputs[0])
        y.backward()
        assert inner() is None                                   # released by backward
        tracemalloc.start()
        for _ in range(20): (Tensor(np.ones(100_000)) ** 2 * 3 + 1)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 50_000 and peak < 5e6
    finally: gc.enable()


def test_a_released_graph_is_an_error():
    x = Tensor(2.0)
    trunk = x * x
    (trunk * 3).backward()
    with pytest.raises(RuntimeError, match="released.*keep_graph=True"): (trunk * 4).backward()
    trunk = x * x
    (trunk * 3).backward(keep_graph=True)
    (trunk * 4).backward()
    assert float(x.grad) == 12 + 12 + 16


def test_no_grad_is_for_this_thread_and_this_block():
    x, seen = Tensor(2.0), []
    with no_grad():
        assert (x * x).creator is None
        thread = threading.Thread(target=lambda: seen.append((x * x).creator))
        thread.start(); thread.join()
    assert seen[0] is not None and (x * x).creator is not None


def test_higher_derivatives(rng):
    x, d, seen = Tensor(2.0), None, []
    d = x ** 3
    for _ in range(4):
        d, = grad(d, [x], create_graph=True)
        seen.append(float(d))
    assert seen == [12, 12, 6, 0]
    x = Tensor(2.0)
    (x ** 3).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    assert float(x.grad) == 12


def test_hessian_times_vector_of_a_gpt(rng):
    "The engine twice, against a complex step through the hand-written backward"
    options = dict(norm="rmsnorm", activation="swiglu", n_kv_head=2, tied=True)
    model, flat, ids, targets = small(options, rng, "c16")
    v, h = rng.normal(size=len(flat)), 1e-30
    weights = {path: Tensor(w.real.copy()) for path, w in model.named_parameters().items()}
    flat.w += 1j * h * v
    by_hand(model, ids, targets)
    gs = grad(ag.gpt_loss(model.config, weights, ids, targets), list(weights.values()),
              create_graph=True)
    along = sum((g * flat.views(v)[path]).sum() for path, g in zip(weights, gs))
    taped = grad(along, list(weights.values()))
    for path, t in zip(weights, taped):
        np.testing.assert_allclose(t, flat.views(flat.dw.imag / h)[path], rtol=1e-9, atol=1e-11)


SECOND = {"pow": lambda x: x ** 3, "div": lambda x: 1 / (2 + x * x), "exp": lambda x: ag.exp(x),
          "log": lambda x: ag.log(x * x + 1), "tanh": lambda x: ag.tanh(x),
          "sin": lambda x: ag.sin(x), "cos": lambda x: ag.cos(x), "mse": lambda x: ag.mse(x, x * x),
          "sqrt": lambda x: ag.sqrt(x * x + 1), "erf": lambda x: ag.erf(x),
          "index": lambda x: x[[0, 0, 2]] ** 2, "max": lambda x: x.max(1) ** 2,
          "var": lambda x: x.var(0) ** 2, "einsum": lambda x: ag.einsum("ij,kj->i", x, x) ** 2,
          "concatenate": lambda x: ag.concatenate([x, x * x]) ** 2,
          "where": lambda x: ag.where(x > 0, x ** 2, x ** 3), "matmul": lambda x: x @ x.T @ x,
          "softmax": lambda x: ag.softmax(x) * x,
          "layer_norm": lambda x: ag.layer_norm(x, x[0], x[1]),
          "cross_entropy": lambda x: ag.cross_entropy(x, np.array([1, 1, -1])),
          "split": lambda x: ag.split(x, 2, 1)[0] ** 3}


@pytest.mark.parametrize("name", SECOND)
def test_gradients_of_gradients(name, rng):
    f, x = SECOND[name], rng.normal(size=(3, 4))
    R = rng.normal(size=f(Tensor(x)).shape)
    first = lambda x: grad((f(x) * R).sum(), [x], create_graph=True)[0]
    assert certify(Taped(first), x, limit=12).ok


@pytest.mark.parametrize("mistake", wrongs(Taped), ids=lambda w: w.name)
def test_every_wrong_engine_is_caught(mistake, rng):
    def trial(x, b):
        a = x * x + b
        return (a + a * a)[[0, 2, 2, 1]]
    layer, inputs = Taped(trial), (rng.normal(size=(3, 5)), rng.normal(size=5))
    assert certify(layer, *inputs).ok
    assert caught_by(mistake.apply(layer), *inputs)["dot test"]


def test_arrays_stay_arrays_and_constants_need_no_flag(rng):
    x = rng.normal(size=(2, 3)).astype("f4")
    for f in (ag.exp, ag.softmax, ag.gelu, lambda x: ag.einsum("ij->j", x)):
        assert type(f(x)) is np.ndarray and f(x).dtype == x.dtype
    t = Tensor(x)
    for y in (x + t, t + x, 2 - t, x @ t.T, 1 / t, t > 0, t == x):
        assert isinstance(y, (Tensor, np.ndarray))
    assert isinstance(x - t, Tensor) and type(t >= x) is np.ndarray
    assert (t * 2 / 3 - 1).dtype == np.float32 and t.mean().dtype == np.float32
    assert t.var().dtype == np.float32


@pytest.mark.parametrize("ask, says", [
    (lambda: Tensor(3), "3.0 for 3"), (lambda: Tensor(np.ones(2)).backward(), r"shape \(2,\)"),
    (lambda: Tensor(np.ones(2)).sum().backward(np.ones(3)), "dy needs the shape"),
    (lambda: ag.einsum("ii->i", Tensor(np.ones((2, 2)))), "no letter twice"),
    (lambda: ag.split(Tensor(np.ones(5)), 2), "cannot be cut"),
    (lambda: plot_graph(Tensor(1.0), "a.gif"), ".dot, .png, .svg or .pdf"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([0, 3])),
     "ids from 0 to 2.*got 0 to 3.*tokenizer"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([-2, 0])),
     "or -1 for those that are ignored; got -2 to 0"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([0, -1]), ignore_index=9),
     "or 9 for those that are ignored"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([0, 1, 2])),
     r"shape \(2,\), one id for each row.*got \(3,\)"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([[0], [1]])),
     r"shape \(2,\).*got \(2, 1\)"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), np.array([0.0, 1.0])),
     "array of integers.*got float64"),
    (lambda: ag.cross_entropy(Tensor(np.ones((2, 3))), [0, 1]), "array of integers.*got list"),
    (lambda: ag.gpt_logits(NANO, {}, np.array([[0, 65]])), "ids must lie from 0 to 64"),
    (lambda: ag.gpt_logits(NANO, {}, np.zeros((1, 65), int)), "context is 64 tokens")])
def test_errors_say_what_to_do(ask, says):
    with pytest.raises((TypeError, ValueError), match=says): ask()


def test_ignored_targets_teach_nothing(rng):
    x, targets = Tensor(rng.normal(size=(2, 3, 5))), np.array([[1, -1, 4], [-1, -1, 0]])
    loss = ag.cross_entropy(x, targets)
    loss.backward()
    assert not x.grad[targets == -1].any() and (np.abs(x.grad[targets != -1]).sum(-1) > 0).all()
    picked = -np.log(activations.softmax(x.data)[targets != -1, targets[targets != -1]])
    assert math.isclose(float(loss), picked.mean(), rel_tol=1e-12)
    assert float(ag.cross_entropy(x, np.full((2, 3), -1))) == 0


def goldstein(x, y):
    return ((1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x ** 2 - 14 * y + 6 * x * y + 3 * y ** 2))
            * (30 + (2 * x - 3 * y) ** 2
               * (18 - 32 * x + 12 * x ** 2 + 48 * y - 36 * x * y + 27 * y ** 2)))


def test_goldstein_has_its_minimum_where_it_should():
    x, y = Tensor(0.0, name="x"), Tensor(-1.0, name="y")
    z = goldstein(x, y)
    assert float(z) == 3 and [float(g) for g in grad(z, [x, y])] == [0, 0]
    x, y, h = Tensor(0.3), Tensor(0.7), 1e-6
    slopes = [(goldstein(0.3 + h, 0.7) - goldstein(0.3 - h, 0.7)) / (2 * h),
              (goldstein(0.3, 0.7 + h) - goldstein(0.3, 0.7 - h)) / (2 * h)]
    np.testing.assert_allclose([float(g) for g in grad(goldstein(x, y), [x, y])], slopes, rtol=1e-7)


def test_the_colours_of_a_graph_say_what_is_what():
    x, y = Tensor(0.0, name="x"), Tensor(-1.0, name="y")
    z = goldstein(x, y)
    lines = plot_graph(z).source.splitlines()
    looking = lambda kind: [line for line in lines if LOOKS[kind] in line and "->" not in line]
    assert len(looking("leaf")) == 2
    assert {line.split('"')[1] for line in looking("leaf")} == {"x", "y"}
    assert len(looking("result")) == 1
    assert len(looking("operation")) == sum(t.creator is not None for t in _below(z))
    assert len({*LOOKS.values()}) == len(LOOKS) == 5
    verbose = plot_graph((z * np.ones(3)).sum(), verbose=True).source
    assert LOOKS["tensor"] in verbose and LOOKS["constant"] in verbose and "(3,) float64" in verbose


def head(rng):
    x = Tensor(rng.normal(size=(5, 6)), name='x "in"')
    q, k, v = (x @ Tensor(rng.normal(size=(6, 4)), name=n) for n in "qkv")
    return ag.attend(q, k, v, causal(5))


def test_dot_needs_no_program_and_says_names_shapes_and_dtypes(rng, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    y = head(rng)
    plot_graph(y, tmp_path / "a.dot", verbose=True)
    text = (tmp_path / "a.dot").read_text(encoding="utf-8")
    assert all(part in text for part in ('x \\"in\\"', "(5, 6)", "float64", "exp", "@"))
    assert text.count("{") == text.count("}") == 1
    assert plot_graph(y)._repr_svg_() is None and "float64" not in plot_graph(y).source
    with pytest.raises(RuntimeError, match="Graphviz.*apt install graphviz.*[.]dot"):
        plot_graph(y, tmp_path / "a.png")


@pytest.mark.skipif(shutil.which("dot") is None,
                    reason="Graphviz is not installed: pictures were not drawn")
@pytest.mark.parametrize("make", [
    head, lambda rng: goldstein(Tensor(0.0, name="x"), Tensor(-1.0, name="y"))],
    ids=["attention head", "goldstein"])
def test_pictures(make, rng, tmp_path):
    y = make(rng)
    for kind, magic in dict(png=b"\x89PNG", svg=b"<?xml", pdf=b"%PDF").items():
        plot_graph(y, tmp_path / f"a.{kind}", verbose=True)
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(magic)
    assert "<svg" in plot_graph(y)._repr_svg_()
