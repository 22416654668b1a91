"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"embedding": "Embedding.backward"}


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
