"""Logits, loss and every gradient of a whole GPT, and a hundred training steps,
against PyTorch with the same weights"""
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` installs it")
import torch.nn.functional as F

import twin
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW, clip_grad_norm
from numpygpt.schedules import cosine
from numpygpt.transformer import GPT, GPTConfig

BASE = dict(vocab_size=17, context=11, n_layer=2, n_embd=24, n_head=4, n_hidden=40)
VARIANTS = {
    "MHA, LayerNorm, RoPE": {},
    "GQA": dict(n_kv_head=2),
    "MQA": dict(n_kv_head=1),
    "tied": dict(tied=True, n_kv_head=2),
    "RMSNorm": dict(norm="rmsnorm"),
    "exact GELU": dict(activation="gelu_exact"),
    "ReLU": dict(activation="relu"),
    "SiLU": dict(activation="silu"),
    "Llama: RMSNorm, SwiGLU, GQA":
        dict(norm="rmsnorm", activation="swiglu", n_kv_head=2, mlp_bias=False),
    "GPT-2: learned positions, biases, tied": dict(position="learned", attn_bias=True, tied=True),
    "sinusoidal positions": dict(position="sinusoidal"),
    "no positions": dict(position="none"),
    "in blocks": dict(context=320, T=320, n_kv_head=2),
    "texts apart, RoPE": dict(text_end=3, n_kv_head=2),
    "texts apart, learned positions": dict(text_end=3, position="learned"),
    "texts apart, sinusoids": dict(text_end=3, position="sinusoidal"),
    "texts apart, in blocks": dict(text_end=3, context=320, T=320, n_kv_head=2),
    "texts apart, in blocks, learned": dict(text_end=3, context=320, T=320, position="learned"),
    "every size equal": dict(vocab_size=8, context=8, n_embd=64, n_head=8, n_hidden=8, B=8, T=8),
}


@pytest.mark.parametrize("precision, limit", [("f8", 1e-10), ("f4", 1e-4)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_loss_and_every_gradient(variant, precision, limit):
    options = {**BASE, **VARIANTS[variant]}
    rng, B, T = np.random.default_rng(3), options.pop("B", 3), options.pop("T", 7)
    model = GPT(GPTConfig(**options), rng)
    flat = Flat(model, precision)
    flat.w[:] = rng.normal(0, 0.3, len(flat))
    ids, targets = rng.integers(0, options["vocab_size"], (2, B, T))
    targets[0, :2] = -1
    logits = model(ids)
    loss, dlogits = cross_entropy(logits, targets)
    model.backward(dlogits)

    w = {path: torch.tensor(x.copy(), requires_grad=True)
         for path, x in model.named_parameters().items()}
    theirs = twin.run(model, w, "", torch.tensor(ids))
    their_loss = F.cross_entropy(theirs.reshape(-1, options["vocab_size"]),
                                 torch.tensor(targets).reshape(-1), ignore_index=-1)
    their_loss.backward()

    assert logits.dtype == loss.dtype == np.dtype(precision)
    assert far(logits, theirs) < limit and abs(float(loss) - their_loss.item()) < limit
    total = np.linalg.norm(flat.dw)
    for path, mine in model.named_gradients().items():
        gap = np.linalg.norm(mine - w[path].grad.numpy())
        assert gap < limit * max(np.linalg.norm(mine), 1e-3 * total), f"{path}: {gap:.2e}"


def far(mine, theirs): return np.linalg.norm(mine - theirs.detach().numpy()) / np.linalg.norm(mine)


def test_a_hundred_adamw_steps_with_clipping_and_cosine():
    steps, lr, rng = 100, 3e-3, np.random.default_rng(4)
    model = GPT(GPTConfig(vocab_size=31, context=16, n_layer=2, n_embd=32, n_head=4, n_kv_head=2),
                rng)
    flat = Flat(model)
    w = {path: torch.tensor(x.copy(), requires_grad=True)
         for path, x in model.named_parameters().items()}
    mine, clip = AdamW(flat, lr, weight_decay=0.1), 0.5
    matrices, vectors = ([x for x in w.values() if (x.ndim > 1) == many] for many in (True, False))
    theirs = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1),
                                dict(params=vectors, weight_decay=0.0)], lr=lr)
    clipped = 0
    for step in range(steps):
        # learnable, never the same
        text = (rng.integers(0, 5, (8, 1)) * np.arange(1, 18) + rng.integers(0, 2, (8, 17))) % 31
        x, y, rate = text[:, :-1], text[:, 1:], cosine(step, lr, steps, 10, 0.1)
        flat.zero_grad()
        loss, dlogits = cross_entropy(model(x), y)
        model.backward(dlogits)
        clipped += clip_grad_norm(flat.dw, clip) > clip
        mine.step(rate)

        logits = twin.run(model, w, "", torch.tensor(x))
        their_loss = F.cross_entropy(logits.reshape(-1, 31), torch.tensor(y).reshape(-1))
        theirs.zero_grad()
        their_loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), clip)
        for group in theirs.param_groups: group["lr"] = rate
        theirs.step()
        both = float(loss), their_loss.item()
        assert abs(both[0] - both[1]) < 1e-4, f"step {step}: {both[0]} and {both[1]}"
    assert loss < 2.5 and clipped > 20, "the run must learn, and clip, or it proves nothing"
