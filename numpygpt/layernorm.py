"Normalisation: each row to zero mean and unit variance, or to unit root mean square"
from .backend import xp
from .module import Module, rows


class LayerNorm(Module):
    "y = g * (x - mean) / std + b, over the last axis"
    def __init__(self, n, eps=1e-5):
        self.param(g=xp.ones(n), b=xp.zeros(n))
        self.eps = eps

    def forward(self, x):                                 # (..., C)
        n = x - x.mean(-1, keepdims=True)
        r = 1 / xp.sqrt((n * n).mean(-1, keepdims=True) + self.eps)
        n *= r                                            # zero mean, unit variance
        self.save(n, r)
        return self.g * n + self.b

    def backward(self, dy):                               # (..., C)
        n, r = self.saved()
        self.dg += rows(dy * n).sum(0)
        self.db += rows(dy).sum(0)
        dn = dy * self.g
        along = n * (dn * n).mean(-1, keepdims=True)      # the part of dn that would change the variance
        return r * (dn - dn.mean(-1, keepdims=True) - along)


class RMSNorm(Module):
    "y = g * x / rms(x), over the last axis"
    def __init__(self, n, eps=1e-5):
        self.param(g=xp.ones(n))
        self.eps = eps

    def forward(self, x):                                 # (..., C)
        r = 1 / xp.sqrt((x * x).mean(-1, keepdims=True) + self.eps)
        n = x * r                                         # unit root mean square
        self.save(n, r)
        return self.g * n

    def backward(self, dy):                               # (..., C)
        n, r = self.saved()
        self.dg += rows(dy * n).sum(0)
        dn = dy * self.g
        return r * (dn - n * (dn * n).mean(-1, keepdims=True))
