"From token ids to vectors, and where each vector stands"
import numpy as np

from .backend import xp
from .module import Module, rows


def scatter_add(dW, ids, dy):   # (V, C), integers (N,), (N, C)
    "dW[ids[n]] += dy[n] for each n, repeats included: sort the ids, then add each run of equals in one go"
    if ids.size == 0: return
    order = xp.argsort(ids, kind="stable")
    ids = ids[order]
    starts = xp.flatnonzero(xp.concatenate([xp.ones(1, bool), ids[1:] != ids[:-1]]))
    dW[ids[starts]] += xp.add.reduceat(dy[order], starts, axis=0)


class Embedding(Module):
    "y = W[ids]: row `id` of a table"
    def __init__(self, n, n_embd, rng, std=0.02): self.param(W=rng.normal(0, std, (n, n_embd)))

    def forward(self, ids):                                  # (...) integers
        self.save(ids)
        return self.W[ids]                                   # (..., C)

    def backward(self, dy):                                  # (..., C)
        ids, = self.saved()
        scatter_add(self.dW, ids.reshape(-1), rows(dy))      # ids have no gradient: nothing to return


class Unembedding(Module):
    "y = x W^T with the table of an `Embedding`: the tied output head"
    def __init__(self, emb): self.emb = emb

    def forward(self, x):                                    # (..., C)
        self.save(x)
        return (rows(x) @ self.emb.W.T).reshape(*x.shape[:-1], -1)   # (..., V)

    def backward(self, dy):                                  # (..., V)
        x, = self.saved()
        self.emb.dW += rows(dy).T @ rows(x)
        return (rows(dy) @ self.emb.W).reshape(x.shape)


class Position(Module):
    "x + W[position]: one learned vector for each place in the context"
    def __init__(self, context, n_embd, rng, std=0.02): self.param(W=rng.normal(0, std, (context, n_embd)))

    def forward(self, x, start=0):                           # (B, T, C), place of the first column
        self.save(start, x.shape[1])
        return x + self.W[start:start + x.shape[1]]

    def backward(self, dy):                                  # (B, T, C)
        start, T = self.saved()
        self.dW[start:start + T] += dy.sum(0)
        return dy


def sinusoidal(context, n_embd, base=10000.0):
    "The fixed table of Vaswani et al. 2017, section 3.5: sines in the even columns, cosines in the odd ones"
    angle = np.arange(context)[:, None] * base ** (-np.arange(0, n_embd, 2) / n_embd)    # (context, C/2)
    return xp.asarray(np.stack([np.sin(angle), np.cos(angle)], -1).reshape(context, -1)[:, :n_embd])
