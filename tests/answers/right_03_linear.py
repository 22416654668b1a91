"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"linear": "Linear.backward"}


def linear__einsum(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    self.dW += np.einsum("ni,no->io", X, D)
    if self.bias: self.db += np.einsum("no->o", D)
    return np.einsum("...o,io->...i", dy, self.W)


def linear__row_by_row(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dx = np.empty_like(X)
    for n in range(len(X)):
        self.dW += np.outer(X[n], D[n])
        if self.bias: self.db += D[n]
        dx[n] = self.W @ D[n]
    return dx.reshape(x.shape)


def linear__tensordot(self, dy):
    x, = self.saved()
    leading = tuple(range(x.ndim - 1))
    self.dW += np.tensordot(x, dy, axes=(leading, leading))
    if self.bias: self.db += dy.sum(axis=leading)
    return dy @ self.W.T
