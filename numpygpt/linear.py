"y = x W + b, and the two matrix products of its backward pass"
import math

from .backend import xp
from .module import Module, rows


class Linear(Module):
    "y = x W + b, over the last axis"
    def __init__(self, n_in, n_out, rng, bias=True, std=None):   # std: of W's initial values, 1/sqrt(n_in) unless told
        self.param(W=rng.normal(0, 1 / math.sqrt(n_in) if std is None else std, (n_in, n_out)))
        self.bias = bias
        if bias: self.param(b=xp.zeros(n_out))

    def forward(self, x):                                    # (..., n_in)
        self.save(x)
        y = rows(x) @ self.W
        if self.bias: y += self.b
        return y.reshape(*x.shape[:-1], -1)                  # (..., n_out)

    def backward(self, dy):                                  # (..., n_out)
        x, = self.saved()
        self.dW += rows(x).T @ rows(dy)
        if self.bias: self.db += rows(dy).sum(0)
        return (rows(dy) @ self.W.T).reshape(x.shape)        # (..., n_in)
