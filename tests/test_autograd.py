"The engine: order, accumulation, memory, second derivatives, pictures, and agreement with every backward pass written by hand"
import gc
import math
import shutil
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from fake_device import Device
from numpygpt import autograd as ag
from numpygpt.attention import causal
from numpygpt.autograd import Tensor, Taped, grad, no_grad, plot_graph
from numpygpt.backend import to_cpu, using, xp
from numpygpt.gradcheck import caught_by, certify, wrongs
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.transformer import GPT, GPTConfig

VARIANTS = [{}, dict(n_kv_head=2), dict(n_kv_head=1, tied=True), dict(norm="rmsnorm"), dict(activation="gelu_exact", position="none"),
            dict(activation="relu", position="sinusoidal"), dict(activation="silu", attn_bias=True), dict(position="learned", attn_bias=True, tied=True),
            dict(norm="rmsnorm", activation="swiglu", n_kv_head=2, mlp_bias=False), dict(dropout=0.2, position="learned")]


@pytest.fixture
def rng(): return np.random.default_rng(0)


def small(options, rng, dtype="f8"):
    "A GPT with weights of order one, its Flat, ids and targets"
    model = GPT(GPTConfig(vocab_size=13, context=9, n_layer=2, n_embd=24, n_head=4, n_hidden=20, **options), rng, np.random.default_rng(7))
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
        np.testing.assert_allclose(grads[path], dw, rtol=1e-12, atol=1e-12 * np.abs(flat.dw).max(), err_msg=path)


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
    assert "digraph" in ag.dot_source(y)
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
    gs = grad(ag.gpt_loss(model.config, weights, ids, targets), list(weights.values()), create_graph=True)
    along = sum((g * flat.views(v)[path]).sum() for path, g in zip(weights, gs))
    taped = grad(along, list(weights.values()))
    for path, t in zip(weights, taped): np.testing.assert_allclose(t, flat.views(flat.dw.imag / h)[path], rtol=1e-9, atol=1e-11)


SECOND = {"pow": lambda x: x ** 3, "div": lambda x: 1 / (2 + x * x), "exp": lambda x: ag.exp(x), "log": lambda x: ag.log(x * x + 1), "tanh": lambda x: ag.tanh(x),
          "sqrt": lambda x: ag.sqrt(x * x + 1), "erf": lambda x: ag.erf(x), "index": lambda x: x[[0, 0, 2]] ** 2, "max": lambda x: x.max(1) ** 2,
          "var": lambda x: x.var(0) ** 2, "einsum": lambda x: ag.einsum("ij,kj->i", x, x) ** 2, "concatenate": lambda x: ag.concatenate([x, x * x]) ** 2,
          "where": lambda x: ag.where(x > 0, x ** 2, x ** 3), "matmul": lambda x: x @ x.T @ x, "softmax": lambda x: ag.softmax(x) * x,
          "layer_norm": lambda x: ag.layer_norm(x, x[0], x[1]), "cross_entropy": lambda x: ag.cross_entropy(x, np.array([1, 1, -1])), "split": lambda x: ag.split(x, 2, 1)[0] ** 3}


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
    for f in (ag.exp, ag.softmax, ag.gelu, lambda x: ag.einsum("ij->j", x)): assert type(f(x)) is np.ndarray and f(x).dtype == x.dtype
    t = Tensor(x)
    for y in (x + t, t + x, 2 - t, x @ t.T, 1 / t, t > 0, t == x): assert isinstance(y, (Tensor, np.ndarray))
    assert isinstance(x - t, Tensor) and type(t >= x) is np.ndarray
    assert (t * 2 / 3 - 1).dtype == np.float32 and t.mean().dtype == np.float32 and t.var().dtype == np.float32


@pytest.mark.parametrize("ask, says", [(lambda: Tensor(3), "3.0 for 3"), (lambda: Tensor(np.ones(2)).backward(), r"shape \(2,\)"),
                                       (lambda: Tensor(np.ones(2)).sum().backward(np.ones(3)), "dy needs the shape"),
                                       (lambda: ag.einsum("ii->i", Tensor(np.ones((2, 2)))), "no letter twice"),
                                       (lambda: ag.split(Tensor(np.ones(5)), 2), "cannot be cut"),
                                       (lambda: plot_graph(Tensor(1.0), "a.gif"), ".dot, .png, .svg or .pdf")])
def test_errors_say_what_to_do(ask, says):
    with pytest.raises((TypeError, ValueError), match=says): ask()


def head(rng):
    x = Tensor(rng.normal(size=(5, 6)), name='x "in"')
    q, k, v = (x @ Tensor(rng.normal(size=(6, 4)), name=n) for n in "qkv")
    return ag.attend(q, k, v, causal(5))


def test_dot_needs_no_program_and_says_names_shapes_and_dtypes(rng, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    y = head(rng)
    plot_graph(y, tmp_path / "a.dot", verbose=True)
    text = (tmp_path / "a.dot").read_text(encoding="utf-8")
    assert all(part in text for part in ('x \\"in\\"', "(5, 6)", "float64", "exp", "@")) and text.count("{") == text.count("}") == 1
    assert plot_graph(y)._repr_svg_() is None and "float64" not in plot_graph(y).source
    with pytest.raises(RuntimeError, match="Graphviz.*apt install graphviz.*[.]dot"): plot_graph(y, tmp_path / "a.png")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed: pictures were not drawn")
def test_pictures(rng, tmp_path):
    y = head(rng)
    for kind, magic in dict(png=b"\x89PNG", svg=b"<?xml", pdf=b"%PDF").items():
        plot_graph(y, tmp_path / f"a.{kind}", verbose=True)
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(magic)
    assert "<svg" in plot_graph(y)._repr_svg_()
