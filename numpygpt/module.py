"What a layer is: parameters, gradients, and what must be remembered for the backward pass"
import math

from .backend import FLOAT, to_cpu, xp


def rows(x):   # (..., C)
    "The same numbers as a matrix, one row for each position: (N, C)"
    return x.reshape(-1, x.shape[-1])


class Tree:
    "A thing made of named parts: finds all parameters below it, each of them once"
    def children(self):
        "(name, part) for each attribute that is a Tree or a list of them, in order of definition"
        for name, value in vars(self).items():
            if isinstance(value, Tree): yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, Tree))

    def modules(self, path="", seen=None):
        "(path, part) for this one and all below it, each of them once"
        seen = set() if seen is None else seen
        if id(self) in seen: return
        seen.add(id(self))
        yield path, self
        for name, child in self.children(): yield from child.modules(f"{path}.{name}".lstrip("."), seen)

    def slots(self):
        "(path, owner, name) of every parameter"
        for path, owner in self.modules():
            for name in vars(owner).get("_params", ()): yield f"{path}.{name}".lstrip("."), owner, name

    def named_parameters(self):
        "Every weight array by its dotted path, such as blocks.0.attn.q.W"
        return {path: getattr(owner, name) for path, owner, name in self.slots()}

    def named_gradients(self):
        "Every gradient array, by the path of its weight"
        return {path: getattr(owner, "d" + name) for path, owner, name in self.slots()}

    @property
    def n_params(self): return sum(w.size for w in self.named_parameters().values())


class Module(Tree):
    "A layer: `forward` remembers, `backward(dy)` adds into every `d<name>` and returns the gradient of the input"
    training = True

    def param(self, **arrays):   # name = initial value, host or device
        "Register parameters: `self.W` and, beside it, a gradient `self.dW` of zeros"
        for name, value in arrays.items():
            self.__dict__.setdefault("_params", []).append(name)
            setattr(self, name, xp.asarray(value, dtype=FLOAT))
            setattr(self, "d" + name, xp.zeros_like(getattr(self, name)))

    def save(self, *values):
        "Keep what backward will need; in eval mode keep nothing"
        self._saved = values if self.training else None

    def saved(self):
        "Hand over what `save` kept, once"
        values, self._saved = vars(self).get("_saved"), None
        if values is None:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward pass in training mode just before it: "
                               "call model.train(), then model(x), then model.backward(dy) once")
        return values

    def __call__(self, *args, **kwargs): return self.forward(*args, **kwargs)

    def train(self, mode=True):
        "Switch training mode on (or off) here and in every part below"
        for _, module in self.modules(): module.training = mode
        return self

    def eval(self): return self.train(False)

    def zero_grad(self):
        for dw in self.named_gradients().values(): dw.fill(0)

    def state_dict(self):
        "A copy of every parameter, as NumPy arrays by path"
        return {path: to_cpu(w).copy() for path, w in self.named_parameters().items()}

    def load_state_dict(self, state):   # arrays by path, as from `state_dict`
        "Copy `state` into the parameters, in place; nothing changes unless all of it fits"
        mine = self.named_parameters()
        check_fit({p: w.shape for p, w in mine.items()}, {p: w.shape for p, w in state.items()})
        for path, w in mine.items(): w[...] = xp.asarray(state[path], dtype=w.dtype)


def check_fit(needed, came):   # shapes by path
    "Name every array that is missing, extra or of a wrong shape"
    faults  = [f"missing {p} {needed[p]}" for p in needed if p not in came]
    faults += [f"unexpected {p} {came[p]}" for p in came if p not in needed]
    faults += [f"{p} needs {needed[p]}, got {came[p]}" for p in needed if p in came and tuple(needed[p]) != tuple(came[p])]
    if faults: raise ValueError("these arrays do not fit: " + "; ".join(faults))


class Flat:
    "All weights of a model as one vector `w`, all gradients as one vector `dw`; the model's arrays become views"
    def __init__(self, model, dtype=FLOAT):
        slots = sorted(model.slots(), key=lambda s: getattr(s[1], s[2]).ndim < 2)    # matrices first: decay is one slice
        shapes = [getattr(owner, name).shape for _, owner, name in slots]
        self.at, n = {}, 0
        for (path, *_), shape in zip(slots, shapes):
            self.at[path] = slice(n, n + math.prod(shape)), shape
            n += math.prod(shape)
        self.model, self.w, self.dw = model, xp.empty(n, dtype), xp.zeros(n, dtype)
        self.n_matrix = sum(at.stop - at.start for at, shape in self.at.values() if len(shape) > 1)
        w, dw = self.views(self.w), self.views(self.dw)
        for path, owner, name in slots:
            w[path][...], dw[path][...] = getattr(owner, name), getattr(owner, "d" + name)
            setattr(owner, name, w[path])
            setattr(owner, "d" + name, dw[path])

    def views(self, vector):   # as long as `w`: weights, gradients, an optimizer's state
        "Each parameter's part of `vector`, in its shape, by path"
        return {path: vector[at].reshape(shape) for path, (at, shape) in self.at.items()}

    def zero_grad(self): self.dw.fill(0)
    def __len__(self): return self.w.size
