"Head and loss a block of rows at a time: the numbers of `cross_entropy`, and never all logits"
import tracemalloc

import numpy as np
import pytest

from numpygpt import losses
from numpygpt.embedding import Embedding, Unembedding
from numpygpt.gradcheck import Loss, certify, wrongs
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy, loss_by_rows
from numpygpt.module import Flat
from numpygpt.replicas import Replicas
from numpygpt.training import evaluate
from numpygpt.transformer import GPT, GPTConfig, batch_loss

rng = np.random.default_rng(7)
N, C, V = 11, 5, 7
X, T = rng.normal(size=(N, C)), rng.integers(0, V, N)
T[4] = -1
W = rng.normal(size=(C, V))


def with_head(x=X, w=W, f=loss_by_rows, t=T, **more):
    "Loss, gradient of x, gradient of W"
    head = Linear(C, V, rng, bias=False)
    head.W, head.dW = w, np.zeros(w.shape, np.result_type(x, w))
    return *f(x, t, head, V, **more), head.dW


def plainly(count=None):
    loss, d = cross_entropy(X @ W, T, count=count)
    return loss, d @ W.T, X.T @ d


@pytest.mark.parametrize("near", [1, 2 * V, 10**6])
@pytest.mark.parametrize("logits", [1, 3 * V, 10 * V, 11 * V, 10**6])
@pytest.mark.parametrize("count", [None, 29])
def test_any_cut_gives_the_whole(logits, near, count, monkeypatch):
    monkeypatch.setattr(losses, "LOGITS", logits)
    monkeypatch.setattr(losses, "NEAR", near)
    for mine, whole in zip(with_head(count=count), plainly(count)):
        np.testing.assert_allclose(mine, whole, rtol=1e-13, atol=1e-16)
    loss, dx, _ = with_head(X.reshape(1, N, C), t=T[None])
    assert dx.shape == (1, N, C) and np.isclose(loss, plainly()[0], rtol=1e-13)


def test_one_block_keeps_the_bits():
    x, w = X.astype("f4"), W.astype("f4")
    loss, d = cross_entropy(x @ w, T)
    mine = with_head(x, w)
    assert mine[0] == loss and (mine[1] == d @ w.T).all() and (mine[2] == x.T @ d).all()


def test_it_is_certified(monkeypatch):
    monkeypatch.setattr(losses, "LOGITS", 3 * V)
    assert certify(Loss(lambda x: with_head(x)[:2]), X).ok
    assert certify(Loss(lambda w: with_head(X, w)[::2]), W).ok


@pytest.mark.parametrize("mistake", wrongs(loss_by_rows), ids=lambda w: w.name)
def test_every_mistake_shows(mistake, monkeypatch):
    monkeypatch.setattr(losses, "LOGITS", 3 * V)
    off = [np.abs(a - b).max() for a, b in zip(with_head(f=mistake.code), plainly())]
    assert mistake.thought and max(off) > 0.01


def test_in_eval_mode_there_is_no_gradient(monkeypatch):
    for logits in (3 * V, 10**6):
        monkeypatch.setattr(losses, "LOGITS", logits)
        head = Unembedding(Embedding(V, C, rng)).eval()
        loss, dx = loss_by_rows(X, T, head, V)
        assert dx is None and np.isclose(loss, cross_entropy(head(X), T)[0], rtol=1e-6)


@pytest.mark.parametrize("bad, said", [(np.full(N, V), "token ids from 0"), (T[:3], "shape")])
def test_errors_are_those_of_the_loss(bad, said, monkeypatch):
    monkeypatch.setattr(losses, "LOGITS", 3 * V)
    with pytest.raises(ValueError, match=said): with_head(t=bad)


def test_memory_is_that_of_a_block():
    width, rows = 1 << 13, 1 << 12                           # all logits: 128 MB
    head = Linear(2, width, rng, bias=False).eval()
    x, t = np.ones((rows, 2), "f4"), np.zeros(rows, int)
    tracemalloc.start()
    loss_by_rows(x, t, head, width)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * 4 * losses.LOGITS < 4 * rows * width / 2


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_in_blocks_of_rows(tied, monkeypatch):
    "For any number of workers the same bits, and to rounding those of the whole"
    c = GPTConfig(vocab_size=31, context=9, n_layer=1, n_embd=8, n_head=2, tied=tied)
    x, y = rng.integers(0, 31, (2, 4, 9))
    y[0, :4] = -1
    monkeypatch.setattr(losses, "LOGITS", 31 * 4)
    found = []
    for workers in (None, 1, 2, 3):
        model = GPT(c, np.random.default_rng(0))
        flat = Flat(model)
        if workers is None: model.backward(cross_entropy(model(x), y)[1])
        else:
            with Replicas(model, flat, workers) as team: team.accumulate(x, y, 1)
        found.append(flat.dw.copy())
    whole, one, two, three = found
    assert (one == two).all() and (one == three).all()
    np.testing.assert_allclose(one, whole, atol=1e-6)
    text = rng.integers(0, 31, 100)
    parts = evaluate(model, text)
    monkeypatch.setattr(losses, "LOGITS", 1 << 23)
    assert np.isclose(parts, evaluate(model, text), rtol=1e-6)
    assert np.isclose(float(batch_loss(model.eval(), x, y)), cross_entropy(model(x), y)[0])
