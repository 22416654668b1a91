"""Writes nbs/stored/*.npz: inputs, weights,
a random cotangent and the gradients that PyTorch finds, in float64"""
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import twin
from numpygpt.attention import Attention
from numpygpt.embedding import Embedding, Position
from numpygpt.layernorm import LayerNorm, RMSNorm
from numpygpt.linear import Linear
from numpygpt.rope import angles
from numpygpt.transformer import GPT, MLP, Block, GPTConfig

OUT = Path(__file__).parents[2] / "nbs" / "stored"
SMALL = GPTConfig(vocab_size=13, context=7, n_layer=2, n_embd=24, n_head=4, n_kv_head=2, tied=True)


def stored(f, weights, *inputs, rng):
    """Run f(weights, *inputs) in PyTorch, pull a random R back through it,
    and keep everything by name"""
    w = {p: torch.tensor(x, requires_grad=True) for p, x in weights.items()}
    xs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    y = f(w, *xs)
    R = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(R))
    floats = [x for x in xs if x.requires_grad]
    names = ["x"] if len(floats) == 1 else [f"x{i}" for i in range(len(floats))]
    return {**{f"in{i}": x for i, x in enumerate(inputs)},
            **{f"w:{p}": x for p, x in weights.items()}, "R": R,
            "y": y.detach().numpy(), **{f"d:{p}": x.grad.numpy() for p, x in w.items()},
            **{f"d:{n}": x.grad.numpy() for n, x in zip(names, floats)}}


def cases(rng):
    "(name, arrays) of every case"
    N, draw = (lambda *s: rng.normal(size=s)), np.random.default_rng(1)
    for name, curve in twin.CURVES.items():
        inputs = [N(3, 5) for _ in range(1 + (name == "swiglu"))]
        yield name, stored(lambda w, *x: curve(*x), {}, *inputs, rng=rng)
    yield "softmax", stored(lambda w, x: F.softmax(x, -1), {}, N(3, 7), rng=rng)
    t = rng.integers(0, 7, (2, 5))
    t[0, 1] = -1
    ce = lambda w, x: F.cross_entropy(x.reshape(-1, 7), torch.tensor(t).reshape(-1),
                                      ignore_index=-1)
    yield "cross_entropy", {**stored(ce, {}, N(2, 5, 7), rng=rng), "t": t}
    for name, f in (("mse", F.mse_loss), ("mae", F.l1_loss)):
        t = N(2, 5)
        yield name, {**stored(lambda w, x: f(x, torch.tensor(t)), {}, N(2, 5), rng=rng), "t": t}
    tables = angles(5, 6)
    turn = lambda w, x: twin.rotate(x, *map(torch.tensor, tables))
    yield "rope", stored(turn, {}, N(2, 3, 5, 6), rng=rng)
    layers = {"linear": (Linear(5, 7, draw), N(2, 3, 5)),
              "embedding": (Embedding(11, 5, draw), rng.integers(0, 5, (2, 7))),
              "position": (Position(11, 5, draw), N(2, 7, 5)),
              "layernorm": (LayerNorm(7), N(2, 3, 7)),
              "rmsnorm": (RMSNorm(7), N(2, 3, 7)), "mlp": (MLP(SMALL, draw), N(2, 5, 24)),
              "block": (Block(SMALL, draw, draw), N(2, 5, 24)),
              "gpt": (GPT(SMALL, draw), rng.integers(0, 13, (2, 7)))}
    for name, k in (("mha", 4), ("gqa", 2), ("mqa", 1)):
        layers[f"attention_{name}"] = Attention(24, 4, k, draw), N(2, 5, 24)
    for name, (layer, x) in layers.items():
        more = {"rope": tables} if name.startswith("attention") or name == "block" else {}
        weights = {p: rng.normal(0, 0.5, a.shape) for p, a in layer.named_parameters().items()}
        yield name, stored(lambda w, x: twin.run(layer, w, "", x, **more), weights, x, rng=rng)


def optimizer_traces(rng, n=20, steps=200):
    "Weights after each of PyTorch's steps on the same gradients"
    w0 = rng.normal(size=(n, 1))
    grads = rng.normal(size=(steps, n)) * rng.lognormal(size=(steps, 1))
    momentum = dict(lr=0.05, momentum=0.9, weight_decay=0.01)
    makers = {"sgd": lambda p: torch.optim.SGD(p, lr=0.05),
              "sgd_momentum": lambda p: torch.optim.SGD(p, **momentum),
              "sgd_nesterov": lambda p: torch.optim.SGD(p, nesterov=True, **momentum),
              "adam": lambda p: torch.optim.Adam(p, lr=0.01),
              "adam_l2": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
              "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)}
    traces = {"w0": w0[:, 0], "grads": grads}
    for name, make in makers.items():
        w, trace = torch.tensor(w0, requires_grad=True), []
        opt = make([w])
        for g in grads:
            w.grad = torch.tensor(g[:, None])
            opt.step()
            trace.append(w.detach().numpy()[:, 0].copy())
        traces[name] = np.array(trace)
    return traces


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for name, arrays in cases(np.random.default_rng(20)):
        np.savez_compressed(OUT / f"{name}.npz", **arrays)
    np.savez_compressed(OUT / "optimizers.npz", **optimizer_traces(np.random.default_rng(21)))
    print(f"{len(list(OUT.glob('*.npz')))} files in {OUT.relative_to(Path.cwd())}")
