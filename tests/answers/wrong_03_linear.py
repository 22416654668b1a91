"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"linear": "Linear.backward"}


def linear__sum_over_first_axis_only(self, dy):
    x, = self.saved()
    self.dW += x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
    if self.bias: self.db += dy[0].reshape(-1, dy.shape[-1]).sum(axis=0)
    return dy @ self.W.T


def linear__divided_by_the_batch(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    m = X.shape[0]
    self.dW += (1 / m) * np.dot(X.T, D)
    if self.bias: self.db += (1 / m) * np.sum(D, axis=0)
    return np.dot(D, self.W.T).reshape(x.shape)


def linear__bias_takes_the_mean(self, dy):
    x, = self.saved()
    D = dy.reshape(-1, dy.shape[-1])
    self.dW += np.einsum("ni,no->io", x.reshape(len(D), -1), D)
    if self.bias: self.db += D.mean(axis=0)
    return np.einsum("no,io->ni", D, self.W).reshape(x.shape)


def linear__overwrites(self, dy):
    (x,) = self.saved()
    D = dy.reshape(-1, dy.shape[-1])
    self.dW = x.reshape(len(D), -1).T @ D
    if self.bias: self.db = D.sum(0)
    return (D @ self.W.T).reshape(x.shape)


def linear__weights_lost(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    if self.bias: self.db += D.sum(0)
    return (D @ self.W.T).reshape(x.shape)


def linear__bias_forgotten(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    for row_x, row_d in zip(X, D): self.dW += np.outer(row_x, row_d)
    return (D @ self.W.T).reshape(x.shape)


def linear__minus_as_in_a_step(self, dy):
    x, = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    self.dW -= X.T @ D
    if self.bias: self.db -= D.sum(0)
    return (D @ self.W.T).reshape(x.shape)
