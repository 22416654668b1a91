"Proof that a backward pass is right, and a way to catch one that is not"
import copy
from dataclasses import dataclass
from types import MethodType
from typing import Callable

import numpy as np

from .backend import to_cpu, xp
from .module import Flat, Module


class Pair(Module):
    "A function and its `_bwd`, as a Module; `keep` says what backward needs, its inputs 'x' or its output 'y'"
    def __init__(self, function, bwd, keep="x"): self.function, self.bwd, self.keep = function, bwd, keep

    def forward(self, *xs):
        y = self.function(*xs)
        self.save(*xs if self.keep == "x" else (y,))
        return y

    def backward(self, dy): return self.bwd(dy, *self.saved())


class Loss(Module):
    "A function that returns (loss, gradient), as a Module"
    def __init__(self, function, *args, **kwargs): self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, x):
        loss, dx = self.function(x, *self.args, **self.kwargs)
        self.save(dx)
        return loss

    def backward(self, dy): return dy * self.saved()[0]


class Probe:
    "A copy of a layer in another precision; its parameters and floating inputs are one dict of tensors"
    def __init__(self, layer, *inputs, dtype="c16", scale=1.0, seed=0):
        rng = np.random.default_rng(seed)
        self.layer = copy.deepcopy(layer).train()
        self.flat = Flat(self.layer, dtype)
        self.flat.w[:] = xp.asarray(rng.normal(0, scale, len(self.flat)))       # of order one: zeros and ones hide errors
        is_float = lambda x: hasattr(x, "dtype") and x.dtype.kind in "fc"
        self.inputs = [xp.asarray(x).astype(dtype) if is_float(x) else x for x in inputs]
        floats = [x for x in self.inputs if is_float(x)]
        names = ["x"] if len(floats) == 1 else [f"x{i}" for i in range(len(floats))]
        self.tensors = {**self.flat.views(self.flat.w), **dict(zip(names, floats))}
        self.rngs = [(m.rng, m.rng.bit_generator.state) for _, m in self.layer.modules() if hasattr(m, "rng")]
        self.R = xp.asarray(rng.normal(size=self().shape))                      # the random cotangent

    def __call__(self):
        for rng, state in self.rngs: rng.bit_generator.state = state            # the same dropout mask each time
        return self.layer(*self.inputs)

    def loss(self): return (self.R * self()).sum()

    def gradients(self):
        "What backward(R) says of every tensor, by name (real parts)"
        self.flat.zero_grad()
        self()
        dx = self.layer.backward(self.R)
        dxs = dx if isinstance(dx, tuple) else (dx,)
        grads = {**self.flat.views(self.flat.dw), **dict(zip([n for n in self.tensors if n not in self.flat.at], dxs))}
        return {name: to_cpu(g.real).copy() for name, g in grads.items()}


def finite_difference(probe, name, index, h=1e-5):
    "Central difference of the loss along one number: (f(x + h) - f(x - h)) / 2h; error about h^2 + eps/h"
    x = probe.tensors[name]
    old, values = x[index].copy(), []
    for step in (h, -h):
        x[index] = old + step
        values.append(float(probe.loss().real))
    x[index] = old
    return (values[0] - values[1]) / (2 * h)


def complex_step(probe, name, index, h=1e-30):
    "Im f(x + ih) / h: no subtraction, so no cancellation (Squire & Trapp 1998); needs a complex probe"
    x = probe.tensors[name]
    old = x[index].copy()
    x[index] = old + 1j * h
    slope = float(probe.loss().imag) / h
    x[index] = old
    return slope


def entries(shape, limit, rng):
    "Up to `limit` index tuples into an array of this shape, all of them where they are few"
    n = int(np.prod(shape))
    chosen = range(n) if n <= limit else sorted(rng.choice(n, limit, replace=False))
    return [np.unravel_index(i, shape) for i in chosen]


def _scales(grads):
    "What an error in each tensor is relative to: its norm, or a thousandth of the norm of all"
    norms = {name: np.linalg.norm(g) for name, g in grads.items()}
    floor = 1e-3 * np.linalg.norm(list(norms.values()))
    return {name: max(norm, floor, 1e-100) for name, norm in norms.items()}


def dot_test(layer, *inputs, per_tensor=False, h=1e-30, scale=1.0, seed=0):
    "Relative error of <R, J v> = <J^T R, v>: J v by one complex forward, J^T R by one backward, v random"
    probe, rng = Probe(layer, *inputs, dtype="c16", scale=scale, seed=seed), np.random.default_rng(seed + 1)
    grads = probe.gradients()
    scales, v = _scales(grads), {name: rng.normal(size=g.shape) for name, g in grads.items()}

    def error(names, size):
        old = {name: probe.tensors[name].copy() for name in names}
        for name in names: probe.tensors[name] += 1j * h * xp.asarray(v[name])
        forward = float(probe.loss().imag) / h
        for name in names: probe.tensors[name][...] = old[name]
        return abs(forward - sum((grads[name] * v[name]).sum() for name in names)) / size

    if per_tensor: return {name: error([name], scales[name]) for name in grads}
    return error(list(grads), np.linalg.norm(list(scales.values())))


def taylor_rate(layer, *inputs, directions=3, scale=1.0, seed=0):
    "How fast f(x + hv) - f(x) - h<g, v> vanishes, the smallest power of h over the directions: 2 when g is right, 1 when wrong"
    probe, rng = Probe(layer, *inputs, dtype="f8", scale=scale, seed=seed), np.random.default_rng(seed + 2)
    grads, f0, rates, hs = probe.gradients(), float(probe.loss()), [], 0.05 * 0.5 ** np.arange(6)
    start = {name: x.copy() for name, x in probe.tensors.items()}
    for _ in range(directions):
        v = {name: rng.normal(size=g.shape) for name, g in grads.items()}
        length = np.linalg.norm([np.linalg.norm(x) for x in v.values()])
        v = {name: x / length for name, x in v.items()}
        slope, remainder = sum((grads[n] * v[n]).sum() for n in v), []
        for h in hs:
            for name, x in probe.tensors.items(): x[...] = start[name] + h * xp.asarray(v[name])
            remainder.append(abs(float(probe.loss()) - f0 - h * slope))
        exact = max(remainder) < 1e-12 * (1 + abs(f0))                          # linear: nothing left but rounding
        rates.append(np.inf if exact else np.polyfit(np.log(hs), np.log(np.maximum(remainder, 1e-300)), 1)[0])
    return min(rates)


LIMITS = {"finite differences": 1e-8, "complex step": 1e-12, "dot test": 1e-12, "PyTorch": 1e-5}


@dataclass
class Certificate:
    "What each check found: errors by check and tensor, and the Taylor rate"
    errors: dict        # check -> {tensor: relative error}
    shapes: dict        # tensor -> shape
    rate: float         # of the Taylor remainder
    one_pass: float     # dot test over all tensors at once

    @property
    def ok(self):
        return (all(e <= LIMITS[check] for check, row in self.errors.items() for e in row.values())
                and self.rate >= 1.9 and self.one_pass <= LIMITS["dot test"])

    def __repr__(self):
        width = max(map(len, self.shapes)) + 2
        lines = [" " * width + "".join(f"{c:>22}" for c in ["shape", *self.errors])]
        for name, shape in self.shapes.items():
            lines.append(f"{name:<{width}}{str(shape):>22}" + "".join(f"{row[name]:>22.1e}" for row in self.errors.values()))
        lines.append(" " * width + f"{'at most':>22}" + "".join(f"{LIMITS[c]:>22.0e}" for c in self.errors))
        lines.append(f"all at once: dot test {self.one_pass:.1e} | Taylor rate {self.rate:.2f}, at least 1.9 | "
                     + ("certified" if self.ok else "WRONG"))
        return "\n".join(lines)


def certify(layer, *inputs, stored=None, limit=64, scale=1.0, seed=0):
    "Every check on every parameter and every floating input of `layer`, with a random cotangent"
    real, cplx = (Probe(layer, *inputs, dtype=d, scale=scale, seed=seed) for d in ("f8", "c16"))
    grads, rng = real.gradients(), np.random.default_rng(seed + 3)
    scales, errors = _scales(grads), {}
    for check, probe, slope in (("finite differences", real, finite_difference), ("complex step", cplx, complex_step)):
        errors[check] = {}
        for name, g in grads.items():
            at = entries(g.shape, limit, rng)
            gap = np.array([slope(probe, name, i) - g[i] for i in at])
            errors[check][name] = float(np.linalg.norm(gap) / scales[name] * np.sqrt(g.size / len(at)))
    errors["dot test"] = dot_test(layer, *inputs, per_tensor=True, scale=scale, seed=seed)
    if stored is not None: errors["PyTorch"] = against_stored(layer, stored, *[x for x in inputs if not hasattr(x, "dtype")])
    return Certificate(errors, {name: g.shape for name, g in grads.items()},
                       taylor_rate(layer, *inputs, scale=scale, seed=seed),
                       dot_test(layer, *inputs, scale=scale, seed=seed))


def against_stored(layer, stored, *rest):   # in0, in1, ...: inputs; w:<path>: weights; R; d:<tensor>: gradients by PyTorch
    "Relative difference of each gradient from the one that PyTorch computed, for the weights and inputs stored with it"
    inputs = [stored[f"in{i}"] for i in range(sum(k.startswith("in") for k in stored))]
    probe = Probe(layer, *inputs, *rest, dtype="f8")
    for path in probe.flat.at: probe.tensors[path][...] = xp.asarray(stored[f"w:{path}"])
    probe.R = xp.asarray(stored["R"])
    theirs = {name: stored[f"d:{name}"] for name in probe.tensors}
    scales = _scales(theirs)
    return {name: float(np.linalg.norm(g - theirs[name]) / scales[name]) for name, g in probe.gradients().items()}


@dataclass(frozen=True)
class Wrong:
    "A mistake that people make, kept so that it can be recognised"
    what: object        # the class or function it imitates
    name: str           # what is wrong, in a phrase
    thought: str        # what its author was thinking
    code: Callable      # the wrong code, with the signature of the right one
    replaces: str       # the method that it stands in for

    def apply(self, layer):
        "A copy of `layer` with this mistake in every place where it fits"
        layer, found = copy.deepcopy(layer), 0
        for _, m in layer.modules():
            if isinstance(m, Pair) and m.function is self.what: m.bwd = self.code
            elif isinstance(m, Loss) and m.function is self.what: m.function = self.code
            elif isinstance(self.what, type) and isinstance(m, self.what): setattr(m, self.replaces, MethodType(self.code, m))
            else: continue
            found += 1
        if not found: raise ValueError(f"{self.name!r} belongs to {self.what.__name__}, and there is none in this {type(layer).__name__}")
        return layer


WRONG = []      # every chapter's wrong versions, in order


def wrong(what, name, thought, replaces="backward"):
    "Decorator: record the decorated function as a wrong version of `what`"
    def record(code):
        WRONG.append(Wrong(what, name, thought, code, replaces))
        return code
    return record


def wrongs(what): return [w for w in WRONG if w.what is what]


def caught_by(layer, *inputs, scale=1.0, seed=0):
    "Verdict of each check on a layer: did it notice? `shape` and `sum` are the two that most people use"
    def notices(check):
        try: return bool(check())
        except Exception: return True                                          # it crashed: that is noticed too
    probe = Probe(layer, *inputs, dtype="f8", scale=scale, seed=seed)
    ones = copy.deepcopy(probe)
    ones.R = xp.ones_like(probe.R)

    def differs(probe, tolerance=1e-6):
        grads = probe.gradients()
        scales = {n: max(s, np.linalg.norm([finite_difference(probe, n, i) for i in entries(grads[n].shape, 8, np.random.default_rng(0))]))
                  for n, s in _scales(grads).items()}
        return any(abs(finite_difference(probe, n, i) - g[i]) > tolerance * (scales[n] + 1e-3)
                   for n, g in grads.items() for i in entries(g.shape, 8, np.random.default_rng(0)))
    return {"shape": notices(lambda: any(g.shape != probe.tensors[n].shape for n, g in probe.gradients().items())),
            "sum": notices(lambda: differs(ones)),
            "finite differences": notices(lambda: differs(probe)),
            "dot test": notices(lambda: not dot_test(layer, *inputs, scale=scale, seed=seed) < 1e-10),
            "Taylor rate": notices(lambda: not taylor_rate(layer, *inputs, scale=scale, seed=seed) > 1.8)}


def kill_table(layer, *inputs, what=None, scale=1.0, seed=0):
    "Which check catches which wrong version, as text; the right version comes first"
    what, rows = type(layer) if what is None else what, {"the right version": layer}
    rows.update({w.name: w.apply(layer) for w in wrongs(what)})
    found = {name: caught_by(l, *inputs, scale=scale, seed=seed) for name, l in rows.items()}
    checks, width = list(next(iter(found.values()))), max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{c:>20}" for c in checks)]
    return "\n".join(lines + [f"{n:<{width}}" + "".join(f"{'caught' if v else '-':>20}" for v in f.values()) for n, f in found.items()])
