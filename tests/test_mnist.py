"""The layers together on real images: proved,
then trained for a few seconds to what the same network reaches elsewhere"""
import math
import os

import numpy as np
import pytest

from numpygpt.activations import relu, relu_bwd
from numpygpt.data import Arrays, DataLoader, mnist
from numpygpt.gradcheck import Loss, Pair, dot_test, wrongs
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat, Module
from numpygpt.optimizers import Adam

pytestmark = pytest.mark.skipif("NUMPYGPT_DATA" not in os.environ,
                                reason="NUMPYGPT_DATA does not name a folder with MNIST")


class Classifier(Module):
    def __init__(self, rng):
        self.one = Linear(784, 128, rng, std=math.sqrt(2 / 784))
        self.gate = Pair(relu, relu_bwd)
        self.two = Linear(128, 10, rng)

    def forward(self, x): return self.two(self.gate(self.one(x)))
    def backward(self, dy): return self.one.backward(self.gate.backward(self.two.backward(dy)))


class Objective(Module):
    def __init__(self, model, t): self.model, self.loss = model, Loss(cross_entropy, t)
    def forward(self, x): return self.loss(self.model(x))
    def backward(self, dy): return self.model.backward(self.loss.backward(dy))


@pytest.fixture(scope="module")
def digits():
    train_x, train_y, test_x, test_y = mnist()
    rows = lambda images: images.reshape(len(images), -1) / np.float32(255)
    return rows(train_x), train_y, rows(test_x), test_y


@pytest.fixture
def objective(digits): return Objective(Classifier(np.random.default_rng(0)), digits[1][:32])


def test_whole_gradient_on_real_images(digits, objective):
    assert dot_test(objective, digits[0][:32], scale=0.05) < 1e-12


@pytest.mark.parametrize("what, name, seen", [
    (Linear, "dW a mean over positions", True), (Linear, "dW times N", True),
    (cross_entropy, "one-hot forgotten", True), (cross_entropy, "softmax taken twice", False)])
def test_which_mistakes_the_dot_test_sees(digits, objective, what, name, seen):
    "The last one is the right gradient of the wrong loss"
    mistake = next(w for w in wrongs(what) if w.name == name)
    assert (dot_test(mistake.apply(objective), digits[0][:32], scale=0.05) > 1e-6) == seen


def test_five_epochs_reach_97_percent(digits):
    train_x, train_y, test_x, test_y = digits
    model = Classifier(np.random.default_rng(0))
    flat, loader = Flat(model), DataLoader(Arrays(train_x, train_y), 128, seed=0)
    optimizer, steps = Adam(flat), 5 * len(loader)
    for i in range(steps):
        x, t = loader.next()
        flat.zero_grad()
        loss, dlogits = cross_entropy(model(x), t)
        model.backward(dlogits)
        optimizer.step(2e-3 * (1 - i / steps))
    logits = model.eval()(test_x)
    assert flat.w.dtype == logits.dtype == np.float32 and np.isfinite(loss)
    assert np.mean(logits.argmax(-1) == test_y) > 0.97
