"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"lora": "LoRA.backward", "merged": "merged", "fused": "fused"}


def lora__two_branches_one_after_the_other(self, dy):
    x, h = self.saved()
    N = x.reshape(-1, x.shape[-1])
    D = dy.reshape(-1, dy.shape[-1])
    self.dB += h.T.dot(D)
    back = D.dot(self.B.T)
    self.dA += self.scale * N.T.dot(back)
    frozen = D.dot(self.base.W.T)
    return (frozen + self.scale * back.dot(self.A.T)).reshape(x.shape)


def lora__by_einsum(self, dy):
    x, h = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    self.dB += np.einsum("nr,no->ro", h, D)
    dh = np.einsum("no,ro->nr", D, self.B) * self.scale
    self.dA += np.einsum("ni,nr->ir", X, dh)
    return self.base.backward(dy) + np.einsum("nr,ir->ni", dh, self.A).reshape(x.shape)


def lora__h_made_again_and_one_matrix_for_dx(self, dy):
    x, _ = self.saved()
    X, D = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    s = self.scale
    self.dB += s * (X @ self.A).T @ D
    self.dA += s * X.T @ D @ self.B.T
    return (D @ (self.base.W + s * self.A @ self.B).T).reshape(x.shape)


def merged__row_by_row(W, A, B, alpha):
    out = W.copy()
    for k in range(len(B)): out += alpha / len(B) * np.outer(A[:, k], B[k])
    return out


def fused__by_block(Aq, Bq, Av, Bv, K):
    r, k = len(Bq), np.zeros
    return np.hstack([Aq, Av]), np.block([[Bq, k((r, K)), k((r, Bv.shape[1]))],
                                          [k((r, Bq.shape[1])), k((r, K)), Bv]])
