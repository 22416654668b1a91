"""A modern GPT from first principles in NumPy

`from numpygpt import GPT, fit, load, generate, ...` finds the names that stand in __init__.pyi."""
from functools import cache

__version__ = "0.1.0"


@cache
def _names():
    "{name: module} of the front door, from the one place where it stands"
    import ast
    from pathlib import Path
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: line.module for line in lines for alias in line.names}


def __getattr__(name):
    if name.startswith("_") or name not in _names():
        raise AttributeError(f"numpygpt has no {name!r}; dir(numpygpt) lists what it has")
    from importlib import import_module
    module = import_module(f"numpygpt.{_names()[name]}")
    return globals().setdefault(name, getattr(module, name))    # `generate` stays the module


def __dir__(): return sorted({*globals(), *_names()})
