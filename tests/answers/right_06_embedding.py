"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"embedding": "Embedding.backward", "head": "Unembedding.backward",
           "position": "Position.backward",
           "table": "table_parameters", "padded": "padded_gradient", "moved": "rows_moved",
           "far": "how_far"}


def embedding__add_at(self, dy):
    ids, = self.saved()
    np.add.at(self.dW, ids, dy)


def embedding__one_hot(self, dy):
    ids, = self.saved()
    hot = np.eye(len(self.W), dtype=dy.dtype)[ids.reshape(-1)]
    self.dW += hot.T @ dy.reshape(-1, dy.shape[-1])


def embedding__loop(self, dy):
    ids, = self.saved()
    for i, row in zip(ids.reshape(-1), dy.reshape(-1, dy.shape[-1])): self.dW[i] += row


def embedding__row_by_row(self, dy):
    ids, = self.saved()
    for i in range(len(self.W)): self.dW[i] += dy[ids == i].sum(axis=0)


def head__einsum(self, dy):
    x, = self.saved()
    self.emb.dW += np.einsum("nv,nc->vc", dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1]))
    return np.einsum("...v,vc->...c", dy, self.emb.W)


def head__each_place(self, dy):
    x, = self.saved()
    dx = np.empty_like(x)
    for at in np.ndindex(x.shape[:-1]):
        self.emb.dW += np.outer(dy[at], x[at])
        dx[at] = self.emb.W.T @ dy[at]
    return dx


def head__token_by_token(self, dy):
    x, = self.saved()
    dx, lead = np.zeros_like(x), tuple(range(x.ndim - 1))
    for token, row in enumerate(self.emb.W):
        d = dy[..., token, None]
        self.emb.dW[token] += (d * x).sum(axis=lead)
        dx += d * row
    return dx


def head__tensordot(self, dy):
    x, = self.saved()
    lead = list(range(dy.ndim - 1))
    self.emb.dW += np.tensordot(dy, x, (lead, lead))
    return np.tensordot(dy, self.emb.W, 1)


def position__leading_axes(self, dy):
    start, T = self.saved()
    self.dW[start:start + T] += dy.sum(axis=tuple(range(dy.ndim - 2)))
    return dy


def position__add_at(self, dy):
    start, T = self.saved()
    np.add.at(self.dW, np.broadcast_to(np.arange(start, start + T), dy.shape[:-1]), dy)
    return dy.copy()


def position__loops(self, dy):
    start, T = self.saved()
    for at in np.ndindex(dy.shape[:-2]):
        for t in range(T): self.dW[start + t] += dy[at][t]
    return dy


def position__one_hot(self, dy):
    start, T = self.saved()
    hot = np.eye(len(self.W), dtype=dy.dtype)[start:start + T]
    self.dW += np.einsum("tp,ntc->pc", hot, dy.reshape(-1, *dy.shape[-2:]))
    return dy


def table__three(V, C, T, tied):
    sizes = [V * C, T * C] + ([] if tied else [C * V])
    return sum(sizes)


def padded__left_out(V, ids, dy, pad):
    dW = np.zeros((V, dy.shape[1]), dy.dtype)
    for i, row in zip(ids, dy):
        if i != pad: dW[i] += row
    return dW


def padded__one_hot(V, ids, dy, pad):
    hot = np.eye(V, dtype=dy.dtype)[ids]
    hot[:, pad] = 0
    return hot.T @ dy


def moved__set(V, ids, tied):
    return V if tied else len({int(i) for i in ids.flat})


def moved__bincount(V, ids, tied):
    return int(np.count_nonzero(np.bincount(ids.ravel(), minlength=V) + tied))


def far__two_rows(k, C, base):
    w = base ** (-2 * np.arange(C // 2) / C)
    rows = [np.concatenate([np.sin(t * w), np.cos(t * w)]) for t in (3, 3 + k)]
    return np.linalg.norm(rows[1] - rows[0])


def far__chords(k, C, base):
    return 2 * sum(math.sin(k * base ** (-2 * i / C) / 2) ** 2 for i in range(C // 2)) ** 0.5
