"The GPT: blocks on a residual stream, between an embedding and a head"
import math
from dataclasses import dataclass

from .activations import (Dropout, gelu, gelu_bwd, gelu_exact, gelu_exact_bwd, relu, relu_bwd, silu, silu_bwd,
                          swiglu, swiglu_bwd)
from .attention import Attention, KVCache
from .backend import xp
from .embedding import Embedding, Position, Unembedding, sinusoidal
from .layernorm import LayerNorm, RMSNorm
from .linear import Linear
from .module import Module
from .rope import angles

ACTIVATIONS = {"relu": (relu, relu_bwd), "gelu": (gelu, gelu_bwd), "gelu_exact": (gelu_exact, gelu_exact_bwd),
               "silu": (silu, silu_bwd), "swiglu": (swiglu, swiglu_bwd)}
NORMS = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}
POSITIONS = "rope", "learned", "sinusoidal", "none"


@dataclass(frozen=True)
class GPTConfig:
    "The shape of a GPT; every field is checked when it is made"
    vocab_size: int = 65            # V: ids run from 0 to V - 1
    context: int = 64               # the longest sequence that the model reads, in tokens
    n_layer: int = 4                # blocks
    n_embd: int = 128               # C: width of the residual stream
    n_head: int = 4                 # H: query heads
    n_kv_head: int | None = None    # K: key/value heads; n_head unless told
    n_hidden: int | None = None     # F: width inside the MLP; 4 n_embd unless told
    activation: str = "gelu"        # relu, gelu, gelu_exact, silu or swiglu
    norm: str = "layernorm"         # layernorm or rmsnorm
    position: str = "rope"          # rope, learned, sinusoidal or none
    tied: bool = False              # the head shares the embedding's table
    attn_bias: bool = False         # biases in q, k, v, o
    mlp_bias: bool = True           # biases in the MLP
    dropout: float = 0.0            # probability
    dropout_at: tuple[str, ...] = ("embd", "attn", "mlp")   # after which of them
    rope_base: float = 10000.0      # RoPE's slowest wavelength is about 2 pi times this

    def __post_init__(self):
        if self.n_kv_head is None: object.__setattr__(self, "n_kv_head", self.n_head)
        if self.n_hidden is None: object.__setattr__(self, "n_hidden", 4 * self.n_embd)
        check_config(self)


def check_config(c):
    "What does not fit together, and what would"
    for name in ("vocab_size", "context", "n_layer", "n_embd", "n_head", "n_kv_head", "n_hidden"):
        value = getattr(c, name)
        if not isinstance(value, int) or value < 1: raise ValueError(f"{name} must be a whole number from 1 up, got {value!r}")
    if c.n_embd % c.n_head:
        low = c.n_embd // c.n_head * c.n_head
        tries = " or ".join(str(n) for n in (low, low + c.n_head) if n)
        raise ValueError(f"n_embd ({c.n_embd}) must be a multiple of n_head ({c.n_head}): try {tries}")
    if c.n_head % c.n_kv_head:
        fits = [k for k in range(1, c.n_head + 1) if c.n_head % k == 0]
        raise ValueError(f"n_head ({c.n_head}) must be a multiple of n_kv_head ({c.n_kv_head}): try one of {fits}")
    if c.position == "rope" and c.n_embd // c.n_head % 2:
        raise ValueError(f"rope turns pairs, so n_embd / n_head ({c.n_embd // c.n_head}) must be even: try n_embd {2 * c.n_embd}")
    for name, known in (("activation", ACTIVATIONS), ("norm", NORMS), ("position", POSITIONS)):
        if getattr(c, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(c, name)!r}")
    if not 0 <= c.dropout < 1: raise ValueError(f"dropout must be at least 0 and below 1, got {c.dropout}")
    if extra := set(c.dropout_at) - {"embd", "attn", "mlp"}:
        raise ValueError(f"dropout_at may name embd, attn and mlp; got {sorted(extra)}")


class MLP(Module):
    "Widen, bend, narrow; with swiglu, one half gates the other"
    def __init__(self, config, rng):
        c, std = config, 0.02
        self.act, self.act_bwd = ACTIVATIONS[c.activation]
        self.up = Linear(c.n_embd, c.n_hidden, rng, c.mlp_bias, std)
        self.gate = Linear(c.n_embd, c.n_hidden, rng, c.mlp_bias, std) if c.activation == "swiglu" else None
        self.down = Linear(c.n_hidden, c.n_embd, rng, c.mlp_bias, std / math.sqrt(2 * c.n_layer))

    def forward(self, x):                                    # (..., C)
        h = (self.gate(x), self.up(x)) if self.gate else (self.up(x),)      # (..., F) each
        self.save(*h)
        return self.down(self.act(*h))                       # (..., C)

    def backward(self, dy):                                  # (..., C)
        dh = self.act_bwd(self.down.backward(dy), *self.saved())
        if self.gate: return self.gate.backward(dh[0]) + self.up.backward(dh[1])
        return self.up.backward(dh)


class Block(Module):
    "x + attention(norm(x)), then x + mlp(norm(x))"
    def __init__(self, config, rng, dropout_rng):
        c, norm = config, NORMS[config.norm]
        drop = lambda place: Dropout(c.dropout * (place in c.dropout_at), dropout_rng)
        self.norm1, self.drop1 = norm(c.n_embd), drop("attn")
        self.attn = Attention(c.n_embd, c.n_head, c.n_kv_head, rng, c.attn_bias, 0.02, 0.02 / math.sqrt(2 * c.n_layer))
        self.norm2, self.drop2 = norm(c.n_embd), drop("mlp")
        self.mlp = MLP(c, rng)

    def forward(self, x, rope=None, cache=None):             # (B, T, C)
        x = x + self.drop1(self.attn(self.norm1(x), rope, cache))
        return x + self.drop2(self.mlp(self.norm2(x)))

    def backward(self, dy):                                  # (B, T, C)
        dy = dy + self.norm2.backward(self.mlp.backward(self.drop2.backward(dy)))
        return dy + self.norm1.backward(self.attn.backward(self.drop1.backward(dy)))


def check_ids(ids, c, start=0):
    "Token ids that a model of config `c` can read, or an error"
    if ids.ndim != 2: raise ValueError(f"token ids must have the shape (batch, time), got {ids.shape}: for one sequence use ids[None]")
    if start + ids.shape[1] > c.context:
        raise ValueError(f"the context is {c.context} tokens, and {start + ids.shape[1]} came: keep the last {c.context}, ids[:, -{c.context}:]")
    if ids.size and (ids.min() < 0 or ids.max() >= c.vocab_size):
        raise ValueError(f"token ids must lie from 0 to {c.vocab_size - 1}, got {int(ids.min())} to {int(ids.max())}: "
                         "were they made by this model's own tokenizer?")


class GPT(Module):
    "Token ids in, one score for each possible next token out"
    def __init__(self, config, rng, dropout_rng=None):       # rng: a numpy Generator for the initial weights
        c, self.config = config, config
        dropout_rng = rng.spawn(1)[0] if dropout_rng is None else dropout_rng
        self.emb = Embedding(c.vocab_size, c.n_embd, rng)
        self.pos = Position(c.context, c.n_embd, rng) if c.position == "learned" else None
        self.drop = Dropout(c.dropout * ("embd" in c.dropout_at), dropout_rng)
        self.blocks = [Block(c, rng, dropout_rng) for _ in range(c.n_layer)]
        self.norm = NORMS[c.norm](c.n_embd)
        self.head = Unembedding(self.emb) if c.tied else Linear(c.n_embd, c.vocab_size, rng, bias=False, std=0.02)
        self.rope = angles(c.context, c.n_embd // c.n_head, c.rope_base) if c.position == "rope" else None
        self.table = sinusoidal(c.context, c.n_embd) if c.position == "sinusoidal" else None

    def forward(self, ids, cache=None):                      # (B, T) integers, a list of KVCache from `new_cache`
        start = cache[0].length if cache else 0
        check_ids(ids, self.config, start)
        here = slice(start, start + ids.shape[1])
        x = self.emb(ids)                                    # (B, T, C)
        if self.pos: x = self.pos(x, start)
        if self.table is not None: x = x + self.table[here].astype(x.real.dtype)
        x = self.drop(x)
        rope = self.rope and tuple(t[here] for t in self.rope)
        for block, c in zip(self.blocks, cache or [None] * len(self.blocks)): x = block(x, rope, c)
        return self.head(self.norm(x))                       # (B, T, V)

    def backward(self, dlogits):                             # (B, T, V)
        dx = self.norm.backward(self.head.backward(dlogits))
        for block in reversed(self.blocks): dx = block.backward(dx)
        dx = self.drop.backward(dx)
        if self.pos: dx = self.pos.backward(dx)
        self.emb.backward(dx)

    def new_cache(self, batch=1):
        "An empty KVCache for each block"
        c = self.config
        return [KVCache(batch, c.n_kv_head, c.context, c.n_embd // c.n_head, self.emb.W.dtype) for _ in self.blocks]
