"The layers together on real images: a few hundred steps must read most digits"
import math
import os

import numpy as np
import pytest

from numpygpt.activations import relu, relu_bwd
from numpygpt.data import Arrays, DataLoader, mnist
from numpygpt.gradcheck import Loss, Pair, dot_test
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat, Module
from numpygpt.optimizers import Adam

pytestmark = pytest.mark.skipif("NUMPYGPT_DATA" not in os.environ, reason="NUMPYGPT_DATA does not name a folder with MNIST")


class Classifier(Module):
    def __init__(self, rng):
        self.one, self.gate, self.two = Linear(784, 128, rng, std=math.sqrt(2 / 784)), Pair(relu, relu_bwd), Linear(128, 10, rng)

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


def test_whole_gradient_on_real_images(digits):
    x, t = digits[0][:32], digits[1][:32]
    assert dot_test(Objective(Classifier(np.random.default_rng(0)), t), x, scale=0.05) < 1e-12


@pytest.mark.parametrize("seed", range(2))
def test_four_hundred_steps_reach_ninety_percent(digits, seed):
    train_x, train_y, test_x, test_y = digits
    model = Classifier(np.random.default_rng(seed))
    flat, loader = Flat(model), DataLoader(Arrays(train_x, train_y), 128, seed=seed)
    optimizer = Adam(flat, 1e-3)
    for _ in range(400):
        x, t = loader.next()
        flat.zero_grad()
        loss, dlogits = cross_entropy(model(x), t)
        model.backward(dlogits)
        optimizer.step()
    logits = model.eval()(test_x)
    assert flat.w.dtype == logits.dtype == np.float32 and np.isfinite(loss)
    assert np.mean(logits.argmax(-1) == test_y) > 0.90
