"One name, `xp`, for NumPy on the processor and CuPy on a GPU"
import os
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np

FLOAT = np.float32      # the precision that every parameter starts in


class _Live:
    "Looks each name up in the chosen array library, at call time"
    library = np
    def __getattr__(self, name): return getattr(self.library, name)
    def __repr__(self): return f"xp ({self.library.__name__})"


xp = _Live()


def _gpu():
    "CuPy, or an error that says what is missing"
    try: import cupy
    except ImportError: raise RuntimeError("the CuPy backend needs CuPy, which is not installed: pip install cupy-cuda12x "
                                           "(or cupy-cuda13x), or stay on NumPy with use('numpy')") from None
    if not cupy.cuda.is_available():
        raise RuntimeError("the CuPy backend needs an NVIDIA GPU with its driver, and CuPy found none here: use('numpy')")
    return cupy


def _auto():
    "CuPy where it would work, else NumPy"
    try: return _gpu()
    except RuntimeError: return np


def use(backend="auto"):   # 'numpy', 'cupy', 'auto' (CuPy where it works), or a namespace that behaves like NumPy
    "Switch `xp` for the whole process"
    names = {"numpy": lambda: np, "cupy": _gpu, "auto": _auto}
    if isinstance(backend, str):
        if backend not in names: raise ValueError(f"backend must be one of {', '.join(names)}; got {backend!r}")
        backend = names[backend]()
    _Live.library = backend


@contextmanager
def using(backend):   # as in `use`
    "`use(backend)` for the length of a `with` block"
    before = _Live.library
    use(backend)
    try: yield xp
    finally: _Live.library = before


def get_device():
    "Where `xp` puts its arrays: 'cpu' or 'gpu'"
    return "cpu" if _Live.library is np else "gpu"


def to_cpu(x):   # an array of any backend
    "The same numbers as a NumPy array; a NumPy array comes back as it is"
    return x if isinstance(x, (np.ndarray, np.generic)) else xp.asnumpy(x)


def to_gpu(x):   # an array of any backend
    "The same numbers on the GPU, whichever backend is in use"
    return (_gpu() if _Live.library is np else xp).asarray(x)


def _wanted():
    "NUMPYGPT_BACKEND from the environment, else from a `.env` file in the working folder, else NumPy"
    if "NUMPYGPT_BACKEND" in os.environ: return os.environ["NUMPYGPT_BACKEND"]
    if not Path(".env").is_file(): return "numpy"
    return import_module("dotenv").dotenv_values(".env").get("NUMPYGPT_BACKEND", "numpy")


use(_wanted())
