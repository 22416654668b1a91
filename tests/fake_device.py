"""A stand-in for CuPy on a machine without a GPU: arrays that refuse to mix with NumPy's.

`Device` wraps NumPy; what it returns are `Array`s, which cannot be turned into NumPy arrays by
accident, cannot meet one in an operation, and stay arrays (0-d) after a reduction, as CuPy's do.
Names and keywords that CuPy lacks do not exist."""
import json
import types
from pathlib import Path

import numpy as np

# name -> keywords, or null where unknown
CUPY = json.loads((Path(__file__).parent / "cupy_names.json").read_text())
OPERATORS = ("add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow "
             "matmul rmatmul and rand or ror xor rxor lt le gt ge eq ne neg pos abs invert "
             "iadd isub imul itruediv ifloordiv imatmul ipow iand ior ixor").split()


class Array:
    "An array on the fake device"
    __hash__ = None

    def __init__(self, host): self._host = host
    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to NumPy: use to_cpu")
    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        raise TypeError(f"np.{ufunc.__name__} met a device array: use xp")
    def __array_function__(self, function, *args):
        raise TypeError(f"np.{function.__name__} met a device array: use xp")
    def __getitem__(self, index): return wrap(self._host[unwrap(index)])
    def __setitem__(self, index, value): self._host[unwrap(index)] = unwrap(value)
    def __len__(self): return len(self._host)
    def __iter__(self): return map(wrap, self._host)
    def __bool__(self): return bool(self._host)
    def __int__(self): return int(self._host)
    def __index__(self): return self._host.__index__()
    def __float__(self): return float(self._host)
    def __repr__(self): return f"device({self._host!r})"
    def get(self): return self._host.copy()
    def __deepcopy__(self, memo): return Array(self._host.copy())

    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        if f"ndarray.{name}" not in CUPY: raise AttributeError(f"cupy.ndarray has no {name!r}")
        value = getattr(self._host, name)
        return on_device(value, f"ndarray.{name}") if callable(value) else wrap(value)


def _operator(name):
    def apply(self, *others):
        result = getattr(self._host, f"__{name}__")(*map(unwrap, others))
        return self if name.startswith("i") and name != "invert" else wrap(result)
    return apply


for name in OPERATORS: setattr(Array, f"__{name}__", _operator(name))


def wrap(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return Array(np.asarray(x) if isinstance(x, np.generic) else x)
    return type(x)(map(wrap, x)) if isinstance(x, (tuple, list)) else x


def unwrap(x):
    if isinstance(x, np.ndarray):
        raise TypeError("a NumPy array met a device array: move it over with xp.asarray")
    if isinstance(x, Array): return x._host
    return type(x)(map(unwrap, x)) if isinstance(x, (tuple, list)) else x


def on_device(function, name):
    known = CUPY.get(name)

    def call(*args, **kwargs):
        if known is not None and (extra := set(kwargs) - set(known)):
            raise TypeError(f"cupy.{name} has no keyword {sorted(extra)}")
        if name in ("asarray", "array"):      # host to device: allowed
            args = [x._host if isinstance(x, Array) else x for x in args]
        else: args = [unwrap(x) for x in args]
        return wrap(function(*args, **{k: unwrap(v) for k, v in kwargs.items()}))
    return call


class Device:
    "A namespace like `cupy`"
    def __init__(self, path=""): self._path = path
    def asnumpy(self, x): return x._host.copy() if isinstance(x, Array) else np.asarray(x)

    def __getattr__(self, name):
        path = self._path + name
        if path not in CUPY: raise AttributeError(f"cupy has no {path!r}")
        value = np
        for part in path.split("."): value = getattr(value, part)
        if isinstance(value, types.ModuleType): return Device(path + ".")
        if isinstance(value, np.ufunc): return Ufunc(value, path)
        return on_device(value, path) if callable(value) and not isinstance(value, type) else value


class Ufunc:
    "A ufunc with those of its methods that CuPy has"
    def __init__(self, ufunc, path): self._ufunc, self._path = ufunc, path
    def __call__(self, *args, **kwargs): return on_device(self._ufunc, self._path)(*args, **kwargs)

    def __getattr__(self, name):
        if f"{self._path}.{name}" not in CUPY:
            raise AttributeError(f"cupy.{self._path} has no {name!r}")
        return on_device(getattr(self._ufunc, name), f"{self._path}.{name}")
