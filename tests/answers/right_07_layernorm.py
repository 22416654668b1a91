"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"layernorm": "LayerNorm.backward", "rmsnorm": "RMSNorm.backward",
           "ratio": "eps_ratio", "visible": "visible_part"}


def layernorm__by_the_projection(self, dy):
    n, r = self.saved()
    axes = tuple(range(dy.ndim - 1))
    self.dg += (dy * n).sum(axes)
    self.db += dy.sum(axes)
    dn = dy * self.g
    return r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))


def layernorm__by_way_of_dvar_and_dmean(self, dy):
    n, r = self.saved()
    axes, C, c = tuple(range(dy.ndim - 1)), dy.shape[-1], n / r
    self.dg += np.sum(dy * n, axis=axes)
    self.db += np.sum(dy, axis=axes)
    dn = dy * self.g
    dvar = np.sum(dn * c, -1, keepdims=True) * -0.5 * r ** 3
    dmean = -np.sum(dn * r, -1, keepdims=True) - 2 / C * dvar * c.sum(-1, keepdims=True)
    return dn * r + dvar * 2 * c / C + dmean / C


def layernorm__explicit_jacobian(self, dy):
    n, r = self.saved()
    C = dy.shape[-1]
    N, D, R = n.reshape(-1, C), dy.reshape(-1, C), r.reshape(-1)
    dx = np.empty_like(D)
    for i in range(len(D)):
        self.dg += D[i] * N[i]
        self.db += D[i]
        J = R[i] * (np.eye(C, dtype=D.dtype) - 1 / C - np.outer(N[i], N[i]) / C)
        dx[i] = J.T @ (D[i] * self.g)
    return dx.reshape(dy.shape)


def layernorm__times_c_then_divided(self, dy):
    n, r = self.saved()
    C = dy.shape[-1]
    self.dg += np.einsum("nc,nc->c", dy.reshape(-1, C), n.reshape(-1, C))
    self.db += np.einsum("nc->c", dy.reshape(-1, C))
    dn = dy * self.g
    along = np.einsum("...c,...c->...", dn, n)[..., None]
    return r / C * (C * dn - dn.sum(-1, keepdims=True) - n * along)


def rmsnorm__in_one_line(self, dy):
    n, r = self.saved()
    self.dg += (dy * n).reshape(-1, dy.shape[-1]).sum(0)
    return r * (dy * self.g - n * (dy * self.g * n).mean(-1, keepdims=True))


def rmsnorm__by_way_of_dr(self, dy):
    n, r = self.saved()
    x, C = n / r, dy.shape[-1]
    self.dg += np.einsum("nc,nc->c", dy.reshape(-1, C), n.reshape(-1, C))
    dn = dy * self.g
    dr = (dn * x).sum(-1, keepdims=True)
    return dn * r - r * r * r * dr * x / C


def rmsnorm__row_by_row(self, dy):
    n, r = self.saved()
    dx = np.empty_like(dy)
    for at in np.ndindex(dy.shape[:-1]):
        self.dg += dy[at] * n[at]
        dn = dy[at] * self.g
        dx[at] = r[at] * (dn - n[at] * np.dot(dn, n[at]) / len(dn))
    return dx


def ratio__two_roots(v, ours, theirs):
    return (1 / np.sqrt(v + ours)) / (1 / np.sqrt(v + theirs))


def visible__one_after_the_other(x, d):
    for u in (np.ones_like(x), x - x.mean()): d = d - u * (u @ d) / (u @ u)
    return d


def visible__matrix(x, d):
    C = len(x)
    n = (x - x.sum() / C) / x.std()
    P = np.eye(C, dtype=x.dtype) - np.ones((C, C), x.dtype) / C - np.outer(n, n) / C
    return P @ d


def visible__least_squares(x, d):
    A = np.stack([np.ones_like(x), x], 1)
    return d - A @ np.linalg.lstsq(A, d, rcond=None)[0]


def visible__unit_vectors(x, d):
    c, b = x - x.mean(), d - d.mean()
    e = c / np.linalg.norm(c)
    return b - e * np.dot(e, b)
