"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"layernorm": "LayerNorm.backward", "rmsnorm": "RMSNorm.backward"}


def _gains(self, dy, n, bias=True):
    axes = tuple(range(dy.ndim - 1))
    self.dg += (dy * n).sum(axis=axes)
    if bias: self.db += dy.sum(axis=axes)


def layernorm__variance_detached(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn = dy * self.g
    return (dn - dn.mean(axis=-1, keepdims=True)) * r


def layernorm__mean_detached(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn = dy * self.g
    return r * (dn - n * (dn * n).mean(axis=-1, keepdims=True))


def layernorm__both_detached(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    return dy * self.g * r


def layernorm__sums_not_means(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn = dy * self.g
    return r * (dn - dn.sum(-1, keepdims=True) - n * (dn * n).sum(-1, keepdims=True))


def layernorm__gain_forgotten(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    return r * (dy - dy.mean(-1, keepdims=True) - n * (dy * n).mean(-1, keepdims=True))


def layernorm__gain_outside(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    inside = dy - np.mean(dy, -1, keepdims=True) - n * np.mean(dy * n, -1, keepdims=True)
    return self.g * r * inside


def layernorm__standard_deviation_forgotten(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn = dy * self.g
    return dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)


def layernorm__unbiased_variance(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn, C = dy * self.g, dy.shape[-1]
    along = n * (dn * n).sum(-1, keepdims=True) / (C - 1)
    return r * (dn - dn.mean(-1, keepdims=True) - along)


def layernorm__two_forgotten_in_the_variance(self, dy):
    n, r = self.saved()
    _gains(self, dy, n)
    dn, C, c = dy * self.g, dy.shape[-1], n / r
    dvar = (dn * c * -0.5 * r ** 3).sum(-1, keepdims=True)
    dmean = -(dn * r).sum(-1, keepdims=True)
    return dn * r + dvar * c / C + dmean / C


def layernorm__mean_and_gain_sum_over_one_axis(self, dy):
    n, r = self.saved()
    self.dg += (dy * n).reshape(-1, dy.shape[-1]).mean(0)
    self.db += dy.reshape(-1, dy.shape[-1]).mean(0)
    dn = dy * self.g
    return r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))


def layernorm__gain_by_the_output(self, dy):
    n, r = self.saved()
    y = self.g * n + self.b
    axes = tuple(range(dy.ndim - 1))
    self.dg += (dy * y).sum(axes)
    self.db += dy.sum(axes)
    dn = dy * self.g
    return r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))


def rmsnorm__as_a_plain_scale(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    return r * self.g * dy


def rmsnorm__mean_taken_away_too(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    dn = dy * self.g
    return r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))


def rmsnorm__sum_not_mean(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    dn = dy * self.g
    return r * (dn - n * (dn * n).sum(-1, keepdims=True))


def rmsnorm__r_on_one_term(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    dn = dy * self.g
    return r * dn - n * (dn * n).mean(-1, keepdims=True)


def rmsnorm__gain_not_in_the_projection(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    return r * (dy * self.g - n * (dy * n).mean(-1, keepdims=True))


def rmsnorm__two_too_many(self, dy):
    n, r = self.saved()
    _gains(self, dy, n, False)
    dn, C = dy * self.g, dy.shape[-1]
    x = n / r
    dr = (dn * x).sum(-1, keepdims=True)
    return dn * r - r ** 3 * x * dr * 2 / C


def rmsnorm__gain_gradient_of_x(self, dy):
    n, r = self.saved()
    x = n / r
    self.dg += (dy * x).reshape(-1, dy.shape[-1]).sum(0)
    dn = dy * self.g
    return r * (dn - n * (dn * n).mean(-1, keepdims=True))
