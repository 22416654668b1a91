"""Edges of the engine and of layers: indices that repeat, broadcast letters, limits at 0 and at
infinity, types of gradients, sums of narrow numbers, arrays with nothing in them; and random
programs of all operations against the complex step, to the second derivative"""
import array
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import activations, losses, schedules
from numpygpt import autograd as ag
from numpygpt import module as parts
from numpygpt.autograd import OPERATIONS, Tensor, grad
from numpygpt.embedding import Embedding
from numpygpt.layernorm import LayerNorm, RMSNorm
from numpygpt.linear import Linear
from numpygpt.module import Flat
from numpygpt.optimizers import SGD, Adam, AdamW, clip_grad_norm

ALL = slice(None)


@pytest.fixture
def rng(): return np.random.default_rng(0)


def gradients(f, *xs, dtype=float):
    "Of the sum of f, by each x"
    leaves = [Tensor(np.asarray(x, dtype)) for x in xs]
    f(*leaves).sum().backward()
    return [x.grad for x in leaves]


INDICES = {
    "tuple in a tuple": (ALL, (0, 0, 1)), "one tuple in a tuple": ((1, 1, 0, 1),),
    "list": [1, 1, 0], "list with negative ones": [0, -2, -1, 1], "nested list": [[0, 0], [1, 1]],
    "nested tuples": ((((0, 0), (1, 1)),)), "range": range(2), "range in a tuple": (ALL, range(3)),
    "array.array": array.array("i", [1, 1, 0]), "two lists": ([0, 1, 0, 0], [2, 2, 2, 2]),
    "array.array in a tuple": (ALL, array.array("b", [2, 2, -1])),
    "a list and a tuple": ([0, 0], (2, 2)), "list beside a slice": ([1, 1], slice(0, 2)),
    "lists that broadcast": ([[0], [0]], [1, 1, 2]), "booleans": [True, False],
    "booleans in a tuple": (ALL, [True, False, True]), "a mask": np.eye(2, 3, dtype=bool),
    "a nested list of booleans": [[True, False, True], [False, False, True]],
    "mask and list": (np.array([True, True]), [2, 2]), "nothing": [], "one number": 1,
    "NumPy's number": np.int8(-1), "an array without axes": np.array(1), "True": True,
    "new axes": (None, 1, None, [0, 0]), "dots and a list": (..., [1, 1, 0]),
    "uint8": np.array([1, 1, 0], np.uint8), "int8 in a tuple": (ALL, np.array([-1, 2], np.int8)),
    "backwards": (ALL, slice(None, None, -2)),
}


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2)], ids=str)
def test_what_an_index_picks_twice_is_added_twice(name, shape, rng):
    index, x = INDICES[name], Tensor(rng.normal(size=shape))
    picked = np.arange(x.size).reshape(shape)[index]
    dy = rng.normal(size=picked.shape)
    (x[index] * dy).sum().backward()
    expected = np.bincount(picked.ravel(), dy.ravel(), x.size).reshape(shape)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype, n", [("u1", 256), ("i1", 128), ("u2", 65_536), ("i2", 32_768)])
def test_ids_may_have_a_type_that_just_holds_them(dtype, n, rng):
    ids, dy = np.array([0, 1, n - 1, n - 1], dtype), rng.normal(size=(4, 2))
    W, layer = Tensor(np.ones((n, 2))), Embedding(n, 2, rng)
    (ag.embedding(W, ids) * dy).sum().backward()
    Flat(layer, "f8")
    layer(ids)
    layer.backward(dy)
    np.testing.assert_allclose(W.grad[-1], dy[2:].sum(0))
    np.testing.assert_array_equal(W.grad, layer.dW)
    ag.cross_entropy(logits := Tensor(rng.normal(size=(4, n))), ids).backward()
    assert (logits.grad[range(4), ids.astype(int)] < 0).all() and (logits.grad < 0).sum() == 4


STRETCHED = {
    "i,i->": [(1,), (3,)], "i,i->i": [(3,), (1,)], "ij,jk->ik": [(2, 1), (3, 4)],
    "ij,ij->i": [(2, 3), (1, 3)], "ij,ij->": [(1, 3), (2, 1)],
    "ij,ij,ij->j": [(2, 1), (1, 3), (2, 3)],
    "ij,jk->k": [(1, 1), (3, 4)], "...i,...i->...": [(2, 1, 3), (4, 1)],
    "i...,...->i...": [(4, 4), (4, 4)], "i...j,...j->...i": [(2, 3, 4), (5, 1, 4)],
    "...ij->ij": [(2, 3, 4)], "...i->i": [(2, 3)], "i...,i...->": [(3, 2), (3,)],
    "...,...->...": [(2, 3), (3,)], "i,->i": [(3,), ()],
}


@pytest.mark.parametrize("spec", STRETCHED)
def test_what_einsum_repeats_on_the_way_in_is_summed_on_the_way_back(spec, rng):
    def f(*xs): return ag.einsum(spec, *xs)
    xs = [rng.normal(size=shape) for shape in STRETCHED[spec]]
    R = rng.normal(size=f(*xs).shape)
    for x, dx in zip(xs, gradients(lambda *xs: f(*xs) * R, *xs)):
        assert dx.shape == x.shape
        v = rng.normal(size=x.shape)
        slope = (f(*(z + 1e-30j * v if z is x else z for z in xs)) * R).sum().imag / 1e-30
        assert math.isclose((dx * v).sum(), slope, rel_tol=1e-10, abs_tol=1e-12)


def test_dots_are_the_last_axes_as_in_numpy(rng):
    a, b = rng.normal(size=(2, 5, 3, 4)), rng.normal(size=(3, 4))
    for spec in ("i...k,...k->...i", "...k,...k->...", "i...,...->...i"):
        np.testing.assert_allclose(ag.einsum(spec, a, b), np.einsum(spec, a, b), rtol=1e-12)


inf, nan, at_edges = math.inf, math.nan, np.array([math.inf, -math.inf, math.nan, 0.0, -0.0])
EDGES = {   # function, inputs, gradients of the sum
    "the exponent at 0": (operator.pow, ([0.0, 2], [2.0, 3]), ([0, 12], [0, 8 * math.log(2)])),
    "0 to the power of 0": (operator.pow, ([0.0], [0.0]), ([0], [0])),
    "0 to a negative power": (operator.pow, ([0.0], [-1.0]), ([-inf], [-inf])),
    "0 to the power of 1": (operator.pow, ([0.0], [1.0]), ([1], [0])),
    "root of 0 as a power": (operator.pow, ([0.0], [0.5]), ([inf], [0])),
    "a number to a power": (lambda b: 0.0 ** b, ([2.0, 0.0, 0.5],), ([0, 0, 0],)),
    "a constant exponent 0": (lambda a: a ** np.array([0, 1, 2]), ([0.0, 0, 0],), ([0, 1, 0],)),
    "a negative base": (operator.pow, ([-2.0], [3.0]), ([12], [nan])),
    "sqrt": (ag.sqrt, ([0.0],), ([inf],)), "log": (ag.log, ([0.0],), ([inf],)),
    "1 / 0": (operator.truediv, ([1.0], [0.0]), ([inf], [-inf])),
    "relu": (ag.relu, (at_edges,), ([1, 0, 1, 0, 0],)),
    "sigmoid": (ag.sigmoid, (at_edges,), ([0, 0, nan, 0.25, 0.25],)),
    "max of equals": (lambda x: x.max(-1), ([[1.0, 2, 2], [3, 3, 3]],),
                      ([[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]],)),
    "root chosen by where": (lambda x: ag.where(x > 0, ag.sqrt(ag.where(x > 0, x, 1)), 0),
                             ([0.0, 4.0],), ([0, 0.25],)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", EDGES)
def test_the_slope_at_an_edge_is_its_limit(name):
    f, xs, expected = EDGES[name]
    for found, right in zip(gradients(f, *xs), expected): np.testing.assert_allclose(found, right)


def test_relu_is_one_function_in_layer_and_tape():
    for dtype in ("f2", "f4", "f8"):
        x, right = at_edges.astype(dtype), np.array([inf, 0, nan, 0, 0])
        np.testing.assert_array_equal(activations.relu(x), right)
        np.testing.assert_array_equal(ag.relu(x), right)
        y, slope = activations.relu_and_slope(x)
        np.testing.assert_array_equal(y, right)
        assert y.dtype == x.dtype == ag.relu(Tensor(x)).dtype
        assert slope.tolist() == [True, False, True, False, False]
        assert activations.relu_bwd(np.ones_like(x), x).tolist() == slope.tolist()
    z = np.array([1e-30j, 2 + 1e-30j, -2 + 1e-30j])
    assert activations.relu(z).tolist() == ag.relu(z).tolist() == [0, z[1], 0]


def test_who_sees_nobody_gets_zeros(rng):
    q, k, v = (Tensor(rng.normal(size=(3, 4))) for _ in "qkv")
    mask = np.array([[True, False, True], [False, False, False], [True, True, True]])
    y = ag.attend(q, k, v, mask)
    y.sum().backward()
    assert not y.data[1].any() and not q.grad[1].any()
    alone = ag.attend(q.data[[0, 2]], k.data, v.data, mask[[0, 2]])
    np.testing.assert_allclose(y.data[[0, 2]], alone, rtol=1e-12)
    assert all(np.isfinite(x.grad).all() for x in (q, k, v))


MIXED = {
    **{f.__name__: f for f in (operator.add, operator.sub, operator.mul, operator.truediv,
                               operator.pow)},
    "matmul": lambda a, b: a @ b.swapaxes(0, 1), "where": lambda a, b: ag.where(a > 1, a, b),
    "concatenate": lambda a, b: ag.concatenate([a, b]), "stack": lambda a, b: ag.stack([a, b]),
    "einsum": lambda a, b: ag.einsum("ij,ij->j", a, b), "layer_norm": lambda a, b: ag.layer_norm(
        a, b[0], b[1]), "rms_norm": lambda a, b: ag.rms_norm(a, b[0]), "mse": ag.mse,
    "attend": lambda a, b: ag.attend(a, b, b), "linear": lambda a, b: ag.linear(a, b.T, b[:, 0]),
    "max": lambda a, b: a.max(0) * b, "var": lambda a, b: a.var(0) * b.mean(),
    "softmax": lambda a, b: ag.softmax(a) * ag.log_softmax(b),
    "index": lambda a, b: a[[0, 0]] * b[1],
    "cast": lambda a, b: a.astype(b.dtype) * b if isinstance(b, Tensor) else b * a,
}


@pytest.mark.parametrize("types", [("f4", "f8"), ("f2", "f4"), ("f2", "f8")], ids=str)
@pytest.mark.parametrize("name", MIXED)
def test_a_gradient_has_the_type_of_what_it_belongs_to(name, types, rng):
    f, (x, y) = MIXED[name], rng.uniform(1, 2, (2, 2, 3))
    for mine, other in (types, types[::-1]):
        a, b = Tensor(x.astype(mine)), Tensor(y.astype(other))
        f(a, b).sum().backward()
        assert a.grad.dtype == mine and b.grad.dtype == other
        for g, leaf in zip(grad(f(a, b).sum(), [a, b], create_graph=True), (a, b)):
            assert isinstance(g, Tensor) and g.dtype == leaf.dtype
        a.zero_grad()
        f(a, y.astype(other)).sum().backward()                   # beside a constant
        assert a.grad.dtype == mine


def test_a_gradient_of_another_type_may_begin():
    x = Tensor(np.ones(3, "f4"))
    (x * 2).backward(np.ones(3), keep_graph=True)
    assert x.grad.dtype == np.float32
    assert grad(x * 2, [x], Tensor(np.ones(3)), create_graph=True)[0].dtype == np.float32


def test_sums_of_narrow_numbers_have_room():
    half = lambda *shape, value=1.0: np.full(shape, value, "f2")
    assert parts.unbroadcast(half(4096, 2), (2,)).tolist() == [4096, 4096]
    assert parts.total(half(4096, 2), 0, keepdims=True).tolist() == [[4096, 4096]]
    x = Tensor(half(4096, 2))
    assert x.sum(0).data.tolist() == [4096, 4096] and x.sum().dtype == np.float16
    big = Tensor(half(500, value=300))
    assert float(big.mean()) == 300 and big.mean().dtype == np.float16
    wave = Tensor(half(4000, value=100) * np.resize([1, -1], 4000).astype("f2"))
    assert float(wave.var()) == 10_000 and wave.var().dtype == np.float16
    b = Tensor(half(1))
    (b + half(4096, 1)).backward(half(4096, 1))
    assert b.grad.tolist() == [4096]
    logits = np.zeros((70_000, 1), "f2")
    for f in (activations.softmax, ag.softmax):
        np.testing.assert_allclose(f(logits, 0), 1 / 70_000, rtol=0.01)
        assert f(logits, 0).dtype == np.float16
    assert math.isclose(ag.log_softmax(logits, 0)[0, 0], -math.log(70_000), rel_tol=1e-3)
    ids = np.zeros(20_000, int)
    scores = Tensor(np.tile(np.array([0, 10], "f2"), (20_000, 1)))
    loss = ag.cross_entropy(scores, ids)
    assert math.isclose(float(loss), math.log1p(math.exp(10)), rel_tol=1e-3)
    assert float(ag.mse(half(4, value=300), half(4, value=0))) == 90_000


def test_losses_of_half_precision_are_those_of_float32(rng):
    logits, ids = np.tile(np.array([0, 10], "f2"), (20_000, 1)), np.zeros(20_000, int)
    loss, d = losses.cross_entropy(logits, ids)
    right, right_d = losses.cross_entropy(logits.astype("f4"), ids)
    assert loss == right and d.dtype == np.float16
    np.testing.assert_array_equal(d, right_d.astype("f2"))
    loss, d = losses.cross_entropy(np.zeros((1, 70_000), "f2"), np.array([3]))
    assert math.isclose(loss, math.log(70_000), rel_tol=1e-6) and d[0, 3] == -1
    far, zero = np.full(4, 300, "f2"), np.zeros(4, "f2")
    assert losses.mse(far, zero)[0] == 90_000 and losses.mse(far, zero)[1].tolist() == [150] * 4
    assert losses.mae(np.full(500, 300, "f2"), np.zeros(500, "f2"))[0] == 300


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("loss", [losses.mse, losses.mae])
def test_the_gradient_of_a_loss_is_as_the_prediction(loss):
    for mine, other in (("f4", "f8"), ("f8", "f4"), ("f2", "f8")):
        assert loss(np.ones(3, mine), np.zeros(3, other))[1].dtype == mine
    with pytest.warns(RuntimeWarning, match="empty"): value, d = loss(np.zeros(0), np.zeros(0))
    assert math.isnan(value) and d.shape == (0,)


@pytest.mark.parametrize("layer", [RMSNorm(8), LayerNorm(8)], ids=lambda x: type(x).__name__)
def test_a_norm_of_half_precision_is_that_of_float32(layer, rng):
    x, dy = 300 * rng.uniform(1, 2, (3, 8)).astype("f2"), rng.normal(size=(3, 8)).astype("f4")
    y, dx = layer(x), layer.backward(dy)
    right, right_dx = layer(x.astype("f4")), layer.backward(dy)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(dx, right_dx)
    name = "rms_norm" if isinstance(layer, RMSNorm) else "layer_norm"
    weights = [w.astype("f2") for w in layer.named_parameters().values()]
    taped = getattr(ag, name)(Tensor(x), *map(Tensor, weights))
    np.testing.assert_allclose(taped.data, right, atol=2e-3)
    assert taped.dtype == np.float16


@pytest.mark.parametrize("dtype, entry", [("f2", 300), ("f4", 1e25), ("f4", 1e-25), ("f8", 1e200)])
def test_a_gradient_of_any_length_is_clipped(dtype, entry):
    dw = np.full(9, entry, dtype)
    assert math.isclose(clip_grad_norm(dw, math.inf), 3 * entry, rel_tol=1e-3)
    clip_grad_norm(dw, min(1.0, entry))
    np.testing.assert_allclose(dw, min(1.0, entry) / 3, rtol=1e-3)
    for odd in (inf, nan):
        broken = np.array([1, odd], dtype)
        assert not math.isfinite(clip_grad_norm(broken, 1.0)) and broken[0] == 1


def test_nothing_has_a_mean_that_is_no_number():
    cases = ((0,), None, ()), ((0, 3), 0, (3,)), ((2, 0), 1, (2,)), ((0, 3), 1, (0,))
    for shape, axis, out in cases:
        x = Tensor(np.zeros(shape, "f4"))
        y = x.mean(axis)
        assert y.shape == out and np.isnan(y.data).all() and y.dtype == np.float32
        y.sum().backward()
        assert x.grad.shape == shape
        assert x.sum(axis).data.tolist() == np.zeros(out).tolist()
        assert np.isnan(x.var(axis).data).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 5, 3), (0,)], ids=str)
def test_layers_take_no_rows(shape, rng):
    n = shape[-1]
    for layer in (Linear(n, 4, rng) if n else Linear(0, 4, rng, std=1.0), LayerNorm(n), RMSNorm(n)):
        x = np.zeros(shape, "f4")
        y = layer(x)
        assert y.shape == (*shape[:-1], 4 if isinstance(layer, Linear) else n)
        assert layer.backward(y).shape == shape
    taped = ag.linear(Tensor(x), Tensor(np.zeros((n, 4), "f4")))
    assert taped.shape == (*shape[:-1], 4)
    assert parts.rows(np.zeros((5, 0))).shape == (5, 0)


def test_a_tensor_is_true_as_its_number_is():
    assert Tensor(2.0) and not Tensor(0.0) and Tensor([[3.0]])
    with pytest.raises(ValueError, match="ambiguous"): bool(Tensor([1.0, 2.0]))


def test_lists_are_arrays():
    a = [1.0, 2.0]
    for f in (lambda x: x ** [2, 3], lambda x: [2.0, 3.0] ** x, lambda x: x / a, lambda x: a - x,
              lambda x: x * a + a, lambda x: ag.where([True, False], x, a)):
        as_arrays = np.array([2.0, 3])
        found, = gradients(f, as_arrays)
        slope = [(f(as_arrays + e) - f(as_arrays - e)).sum() / 2e-6 for e in 1e-6 * np.eye(2)]
        np.testing.assert_allclose(found, slope, rtol=1e-7)


@pytest.mark.parametrize("ask, says", [
    (lambda: schedules.step_decay(5, 1.0, 0), "every must be 1 or more.*got 0"),
    (lambda: schedules.step_decay(5, 1.0, nan), "every must be 1 or more.*got nan"),
    (lambda: schedules.wsd(5, 1.0, 10, decay=-1), "0 or more"),
    *[(lambda make=make, bad=bad: make(Flat(Linear(2, 2, np.random.default_rng(0))), **bad), says)
      for make in (SGD, Adam, AdamW)
      for bad, says in (({"weight_decay": nan}, "0 or more; got .* and nan"),
                        ({"lr": nan}, "got nan"), ({"lr": inf}, "got inf.*must be finite"),
                        ({"weight_decay": -1}, "0 or more"))],
    (lambda: Adam(Flat(Linear(2, 2, np.random.default_rng(0))), eps=nan), "eps must be 0 or more"),
    (lambda: ag.einsum("ij,jk->ik", Tensor(np.ones((2, 2)))), "a part for each operand.*for 1"),
    (lambda: ag.einsum("i", Tensor(np.ones(2))), "needs a spec with ->")])
def test_a_line_says_what_to_do(ask, says):
    with pytest.raises(ValueError, match=says): ask()


def test_no_decay_never_falls():
    assert [schedules.wsd(step, 1.0, 5, decay=0) for step in range(7)] == [1.0] * 7


# --- random programs ---
LEAVES = (2, 3, 4), (3, 1), (4,), (), (3, 4)
ANY_INDEX = (       # of an array with at least one axis: (random numbers, its shape) -> index
    lambda r, s: [int(i) for i in r.integers(-s[0], s[0], 3)],
    lambda r, s: (tuple(int(i) for i in r.integers(0, s[0], 4)),),
    lambda r, s: (..., r.integers(-s[-1], s[-1], (2, 2))),
    lambda r, s: r.integers(0, s[0], 3).astype("u1"), lambda r, s: range(s[0]),
    lambda r, s: array.array("h", r.integers(-s[0], s[0], 3).tolist()),
    lambda r, s: np.append(True, r.random(s[0] - 1) < 0.5),
    lambda r, s: (..., [True] + (r.random(s[-1] - 1) < 0.5).tolist()),
    lambda r, s: (None, slice(None, None, -1)), lambda r, s: (..., -1),
    lambda r, s: tuple(r.integers(0, n, 3).tolist() for n in s),
    lambda r, s: ([0, 0], ..., None) if len(s) > 1 else ([0, 0], None),
)


def fit(a, b):
    "b, or its sum where the two do not broadcast"
    try: np.broadcast_shapes(a.shape, b.shape)
    except ValueError: return a, b.sum()
    return a, b


def some_axis(r, x):
    axes = [None, *range(-x.ndim, x.ndim)] + [(0, -1)] * (x.ndim > 1)
    return axes[r.integers(len(axes))]


def picked(r, a, b): return a[ANY_INDEX[r.integers(len(ANY_INDEX))](r, a.shape)] if a.ndim else a


def joined(r, a, b):
    if not a.ndim: return ag.stack([a, a])
    return ag.concatenate([a, a * b.mean(), a], int(r.integers(-a.ndim, a.ndim)))


def turned(r, a, b): return a.transpose([int(i) for i in r.permutation(a.ndim)])


def chosen(r, a, b):
    a, b = fit(a, b)
    return ag.where(r.random(np.broadcast_shapes(a.shape, b.shape)) < 0.5, a, b)


def multiplied(r, a, b):
    if a.ndim == 0: return a * b
    if a.ndim == 1: return a @ a if r.random() < 0.5 else a @ ag.stack([a, a * a], 1)
    return a @ (a.swapaxes(-1, -2) if r.random() < 0.5 else a.sum(tuple(range(a.ndim - 1))))


def summed_products(r, a, b):
    a, b = fit(a, b)
    if a.ndim == 0: return ag.einsum("...,...->...", a, b)
    thin, spec = a.mean(-1, keepdims=True), ("...i,...i->...", "...i,...i->i", "...i,...i->")
    return (ag.einsum(spec[r.integers(3)], a, thin if r.random() < 0.5 else a)
            * ag.einsum("i...,...->", a, b.sum()))


STEPS = {
    "add": lambda r, a, b: operator.add(*fit(a, b)),
    "sub": lambda r, a, b: 1 - operator.sub(*fit(a, b)),
    "mul": lambda r, a, b: operator.mul(*fit(a, b)), "square": lambda r, a, b: a * a,
    "div": lambda r, a, b: operator.truediv(*fit(a, b * b + 1.5)),
    "over": lambda r, a, b: 2 / (a * a + 1),
    "pow": lambda r, a, b: operator.pow(*fit(a * a + 0.5, ag.tanh(b))),
    "cube": lambda r, a, b: a ** 3,
    "power": lambda r, a, b: 2.0 ** ag.tanh(a), "neg": lambda r, a, b: -a, "matmul": multiplied,
    "exp": lambda r, a, b: ag.exp(ag.tanh(a)), "log": lambda r, a, b: ag.log(a * a + 1),
    "tanh": lambda r, a, b: ag.tanh(a), "sin": lambda r, a, b: ag.sin(a),
    "cos": lambda r, a, b: ag.cos(a),
    "sqrt": lambda r, a, b: ag.sqrt(a * a + 1), "erf": lambda r, a, b: ag.erf(a),
    "relu": lambda r, a, b: ag.relu(a), "gelu": lambda r, a, b: ag.gelu(a),
    "sum": lambda r, a, b: a.sum(some_axis(r, a), keepdims=bool(r.random() < 0.5)),
    "mean": lambda r, a, b: a.mean(some_axis(r, a), keepdims=bool(r.random() < 0.5)),
    "var": lambda r, a, b: a.var(some_axis(r, a)), "max": lambda r, a, b: a.max(some_axis(r, a)),
    "getitem": picked, "transpose": turned, "where": chosen, "einsum": summed_products,
    "reshape": lambda r, a, b: a.reshape(-1, 1) if r.random() < 0.5 else a.reshape(-1),
    "broadcast_to": lambda r, a, b: ag.broadcast_to(a, (2, *a.shape)),
    "masked_fill": lambda r, a, b: ag.masked_fill(a, r.random(a.shape) < 0.3, 0.5),
    "concatenate": joined,
    "stack": lambda r, a, b: ag.stack([a, -a], int(r.integers(a.ndim + 1))),
    "split": lambda r, a, b: ag.split(a, a.shape[-1], -1)[-1] if a.ndim else a,
    "softmax": lambda r, a, b: ag.softmax(a) if a.ndim else a,
    "log_softmax": lambda r, a, b: ag.log_softmax(a, 0) if a.ndim else a,
    "rms_norm": lambda r, a, b: ag.rms_norm(a, b.sum()) if a.ndim else a,
    "astype": lambda r, a, b: a.astype(a.dtype),
}
NAMES = tuple(STEPS)
steps = st.tuples(st.sampled_from(NAMES), *[st.integers(0, 99)] * 3)
programs = st.tuples(st.integers(0, 2 ** 32 - 1), st.lists(steps, min_size=4, max_size=12))


def carry_out(program, leaves):
    "One number, made of all values of a program"
    seed, lines = program
    values = list(leaves)
    for name, a, b, seed_of_step in lines:
        y = STEPS[name](np.random.default_rng(seed_of_step), values[a % len(values)],
                         values[b % len(values)])
        while y.size > 150: y = y.sum(0)
        size = np.abs(y.data.real).max(initial=0)
        values.append(y if size < 8 else y * 2.0 ** -math.ceil(math.log2(size / 8)))
    weights = np.random.default_rng(seed)
    return sum((v * weights.normal(size=v.shape)).sum() for v in values[len(leaves):])


def check_program(program, h=1e-30):
    "Gradient and second derivative along a direction, against the complex step"
    r = np.random.default_rng(program[0])
    xs, vs = ([r.normal(size=s) for s in LEAVES] for _ in range(2))
    leaves, moved = [Tensor(x) for x in xs], [Tensor(x + 1j * h * v) for x, v in zip(xs, vs)]
    gs = grad(carry_out(program, leaves), leaves, create_graph=True)
    L = carry_out(program, moved)
    terms = [g.data * v if isinstance(g, Tensor) else g * v for g, v in zip(gs, vs)]
    scale = 1 + sum(np.abs(t).sum() for t in terms)
    assert abs(sum(t.sum() for t in terms) - L.data.imag / h) < 1e-9 * scale
    along = sum((g * v).sum() for g, v in zip(gs, vs))
    if not isinstance(along, Tensor): return
    for Hv, g, x in zip(grad(along, leaves), grad(L, moved), xs):
        assert Hv.shape == x.shape and Hv.dtype == x.dtype
        atol = 1e-9 * (scale + np.abs(Hv).max())
        np.testing.assert_allclose(Hv, g.imag / h, rtol=1e-8, atol=atol)


def test_the_programs_know_every_operation():
    used = set()
    x = Tensor(np.ones((2, 3)))
    for name in NAMES:
        for seed in range(20):
            y = STEPS[name](np.random.default_rng(seed), x, x)
            todo = [y, *grad(y.sum(), [x], create_graph=True)]
            while todo:
                t = todo.pop()
                if isinstance(t, Tensor) and t.creator is not None:
                    used.add(t.creator.operation)
                    todo += t.creator.inputs or ()
    assert used >= OPERATIONS.keys()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(programs)
def test_random_programs_agree_with_the_complex_step(program): check_program(program)
