"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"embedding": "Embedding.backward"}


def embedding__fancy_index_adds_once(self, dy):
    ids, = self.saved()
    self.dW[ids] += dy


def embedding__last_one_wins(self, dy):
    ids, = self.saved()
    self.dW[ids] = dy


def embedding__replaced_by_a_new_array(self, dy):
    ids, = self.saved()
    dW = np.zeros_like(self.W)
    np.add.at(dW, ids, dy)
    self.dW = dW


def embedding__divided_by_how_often(self, dy):
    ids, = self.saved()
    flat, d = ids.reshape(-1), dy.reshape(-1, dy.shape[-1])
    many = np.bincount(flat, minlength=len(self.W))
    total = np.zeros_like(self.W)
    np.add.at(total, flat, d)
    self.dW += total / np.maximum(many, 1)[:, None]


def embedding__row_zero_is_padding(self, dy):
    ids, = self.saved()
    flat, d = ids.reshape(-1), dy.reshape(-1, dy.shape[-1])
    for i, row in zip(flat, d):
        if i > 0: self.dW[i] += row


def embedding__mean_over_positions(self, dy):
    ids, = self.saved()
    one_hot = np.eye(len(self.W))[ids.reshape(-1)]
    self.dW += one_hot.T @ dy.reshape(-1, dy.shape[-1]) / ids.size


def embedding__last_position_lost(self, dy):
    ids, = self.saved()
    flat, d = ids.reshape(-1), dy.reshape(-1, dy.shape[-1])
    for n in range(len(flat) - 1): self.dW[flat[n]] += d[n]
