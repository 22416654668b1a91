"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"mlp": "MLP.backward", "block": "Block.backward", "gpt": "GPT.backward",
           "first": "first_loss", "leaks": "leaks", "flops": "token_flops"}


def mlp__two_branches(self, dy):
    slopes, dh = self.saved(), self.down.backward(dy)
    if self.gate is None: return self.up.backward(dh * slopes[0])
    dx = self.up.backward(dh * slopes[1])
    return dx + self.gate.backward(dh * slopes[0])


def mlp__layers_and_slopes(self, dy):
    layers = [self.up] if self.gate is None else [self.gate, self.up]
    d = self.down.backward(dy)
    return sum(layer.backward(slope * d) for layer, slope in zip(layers, self.saved()))


def mlp__the_last_slope_is_that_of_up(self, dy):
    *rest, slope = self.saved()
    dh = self.down.backward(dy.copy())
    dx = self.up.backward(np.multiply(dh, slope))
    for other in rest: dx += self.gate.backward(dh * other)
    return dx


def _through(layer, dy):
    "The backward pass of a Linear layer, by einsum"
    (x,), lead = layer.saved(), dy.shape[:-1]
    flat, back = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    layer.dW += np.einsum("ni,nj->ij", flat, back)
    if "b" in layer._params: layer.db += back.sum(0)
    return np.einsum("nj,ij->ni", back, layer.W).reshape(*lead, -1)


def mlp__by_einsum(self, dy):
    slopes, dh = self.saved(), _through(self.down, dy)
    dx = _through(self.up, dh * slopes[-1])
    return dx + _through(self.gate, dh * slopes[0]) if self.gate else dx


def block__names_for_everything(self, dy):
    d_mlp = self.drop2.backward(dy)
    d_norm2 = self.mlp.backward(d_mlp)
    dz = dy + self.norm2.backward(d_norm2)
    d_attn = self.drop1.backward(dz)
    d_norm1 = self.attn.backward(d_attn)
    return dz + self.norm1.backward(d_norm1)


def block__loops(self, dy):
    for branch in ((self.drop2, self.mlp, self.norm2), (self.drop1, self.attn, self.norm1)):
        d = dy
        for part in branch: d = part.backward(d)
        dy = d + dy
    return dy


def block__three_terms(self, dy):
    second = self.norm2.backward(self.mlp.backward(self.drop2.backward(dy.copy())))
    arriving = np.add(dy, second)
    first = self.norm1.backward(self.attn.backward(self.drop1.backward(arriving)))
    return first + second + dy


def gpt__a_list_of_parts(self, dlogits):
    parts = [self.emb, self.pos, self.drop, *self.blocks, self.norm, self.head]
    d = dlogits
    for part in parts[::-1]:
        if part is not None: d = part.backward(d)


def gpt__by_index(self, dlogits):
    d = self.head.backward(dlogits)
    d = self.norm.backward(d)
    for i in range(len(self.blocks) - 1, -1, -1): d = self.blocks[i].backward(d)
    d = self.drop.backward(d)
    self.emb.backward(d if self.pos is None else self.pos.backward(d))


def gpt__recursion(self, dlogits):
    def back(d, parts):
        return back(parts[-1].backward(d), parts[:-1]) if parts else d
    d = back(dlogits, [self.drop, *self.blocks, self.norm, self.head])
    if self.pos is not None: self.pos.backward(d)
    self.emb.backward(d)


def first__entropy(V, C, s):
    return -np.log(1 / V) + 0.5 * (np.sqrt(C) * s) ** 2


def leaks__where(before, after, j):
    changed = np.flatnonzero((before != after).any(1))
    return changed[changed < j].tolist()


def leaks__loops(before, after, j):
    found = []
    for t in range(len(before)):
        if t >= j: break
        if not np.array_equal(before[t], after[t]): found.append(t)
    return found


def flops__three_times_forward(N, L, T, C):
    forward = 2 * N + L * 2 * (2 * T * C)
    return forward + 2 * forward
