"Each position asks, every earlier position answers: attention with any number of key/value heads"
import math

from .activations import softmax, softmax_bwd
from .backend import xp
from .linear import Linear
from .module import Module
from .rope import rotate


def causal(T, S=None):
    "Which of S keys each of T queries may see, counted from the lower right: the last query sees all (T, S)"
    S = T if S is None else S
    return xp.arange(S) <= xp.arange(T)[:, None] + (S - T)


class KVCache:
    "The keys and values of one layer so far, in arrays made once"
    def __init__(self, batch, n_kv_head, context, head_size, dtype):
        self.k = xp.empty((batch, n_kv_head, context, head_size), dtype)
        self.v = xp.empty_like(self.k)
        self.length = 0

    def append(self, k, v):                                  # (B, K, T, D) each
        "Add T positions; returns views of all so far, (B, K, length, D) each"
        start, self.length = self.length, self.length + k.shape[2]
        if self.length > self.k.shape[2]:
            raise ValueError(f"the cache holds {self.k.shape[2]} positions; {self.length} are needed: start a new one from the last tokens")
        self.k[:, :, start:self.length], self.v[:, :, start:self.length] = k, v
        return self.k[:, :, :self.length], self.v[:, :, :self.length]


def split(x, K, D):   # (B, T, K*n*D) to (B, K, n, T, D): n query heads for each key head; n = 1 for keys and values
    "Cut the channels into heads, heads before time"
    return x.reshape(*x.shape[:2], K, -1, D).transpose(0, 2, 3, 1, 4)

def merge(x):         # (B, K, n, T, D) to (B, T, K*n*D)
    "The inverse of `split`"
    return x.transpose(0, 3, 1, 2, 4).reshape(x.shape[0], x.shape[3], -1)

def fold(x):          # (B, K, n, T, D) to (B, K, n*T, D)
    "The queries of a group become rows of one matrix: they share their keys"
    return x.reshape(*x.shape[:2], -1, x.shape[-1])

def unfold(x, T):     # (B, K, n*T, D) to (B, K, n, T, D)
    "The inverse of `fold`"
    return x.reshape(*x.shape[:2], -1, T, x.shape[-1])


def attend(q, k, v, T, mask=None):   # (B, K, G*T, D), (B, K, S, D) twice, a boolean (T, S): who may see whom
    "softmax(q k^T / sqrt(D)) v, and what backward needs"
    q = q * (1 / math.sqrt(q.shape[-1]))
    s = q @ k.swapaxes(-1, -2)                               # (B, K, G*T, S)
    if mask is not None: xp.copyto(unfold(s, T), -xp.inf, where=~mask)
    a = softmax(s, out=s)
    return a @ v, (q, k, v, a)                               # (B, K, G*T, D)

def attend_bwd(do, q, k, v, a):      # (B, K, G*T, D), and what `attend` kept
    "(dq, dk, dv); the products with k, and those that give dk and dv, sum over a group by themselves"
    dv = a.swapaxes(-1, -2) @ do                             # (B, K, S, D)
    ds = softmax_bwd(do @ v.swapaxes(-1, -2), a)             # (B, K, G*T, S)
    dk = ds.swapaxes(-1, -2) @ q                             # q was kept with its 1/sqrt(D)
    dq = ds @ k
    dq *= 1 / math.sqrt(q.shape[-1])
    return dq, dk, dv


class Attention(Module):
    "Multi-head, grouped-query and multi-query attention: n_kv_head = n_head, fewer, or 1"
    def __init__(self, n_embd, n_head, n_kv_head, rng, bias=False, std=None, out_std=None, is_causal=True):
        self.K, self.D, self.is_causal = n_kv_head, n_embd // n_head, is_causal
        self.q = Linear(n_embd, n_embd, rng, bias, std)
        self.k = Linear(n_embd, self.K * self.D, rng, bias, std)
        self.v = Linear(n_embd, self.K * self.D, rng, bias, std)
        self.o = Linear(n_embd, n_embd, rng, bias, std if out_std is None else out_std)

    def forward(self, x, rope=None, cache=None):             # (B, T, C), (cos, sin) of these T positions, a KVCache
        T = x.shape[1]
        q, k, v = (split(part(x), self.K, self.D) for part in (self.q, self.k, self.v))
        if rope: q, k = rotate(q, *rope), rotate(k, *rope)
        q, k, v = fold(q), fold(k), fold(v)
        if cache: k, v = cache.append(k, v)
        mask = causal(T, k.shape[2]) if self.is_causal and T > 1 else None
        y, kept = attend(q, k, v, T, mask)
        self.save(kept, rope)
        return self.o(merge(unfold(y, T)))                   # (B, T, C)

    def backward(self, dy):                                  # (B, T, C)
        kept, rope = self.saved()
        do = fold(split(self.o.backward(dy), self.K, self.D))
        dq, dk, dv = (unfold(d, dy.shape[1]) for d in attend_bwd(do, *kept))
        if rope: dq, dk = (rotate(d, rope[0], -rope[1]) for d in (dq, dk))
        dx = self.q.backward(merge(dq))                      # x was used three times: three gradients, added
        dx += self.k.backward(merge(dk))
        dx += self.v.backward(merge(dv))
        return dx
