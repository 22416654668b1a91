"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"linear": "Linear.backward",
           "thin": "low_rank_bwd", "glorot": "glorot_std", "flops": "linear_flops"}


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


def thin__einsum(dy, x, A, B):
    dx = np.einsum("no,ro,ir->ni", dy, B, A)
    return dx, np.einsum("ni,no,ro->ir", x, dy, B), np.einsum("ni,ir,no->ro", x, A, dy)


def thin__through_the_whole_matrix(dy, x, A, B):
    dW = x.T @ dy
    return dy @ (A @ B).T, dW @ B.T, A.T @ dW


def thin__row_by_row(dy, x, A, B):
    dx, dA, dB = np.empty_like(x), np.zeros_like(A), np.zeros_like(B)
    for n in range(len(x)):
        dh = B @ dy[n]
        dx[n] = A @ dh
        dA += np.outer(x[n], dh)
        dB += np.outer(x[n] @ A, dy[n])
    return dx, dA, dB


def glorot__variances(n_in, n_out):
    v = 1 / np.mean([n_in, n_out])
    return v**0.5, (n_in * v) ** 0.5, (n_out * v) ** 0.5


def flops__counted(B, T, n_in, n_out):
    N = B * T
    shapes = (N, n_in, n_out), (N, n_out, n_in), (n_in, N, n_out)
    y, dx, dW = (2 * rows * inner * columns for rows, inner, columns in shapes)
    return y, dx + dW
