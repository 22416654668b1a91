"""A modern GPT from first principles in NumPy. `from numpygpt import GPT, fit, load, generate, ...` finds the names in __init__.pyi."""
__version__ = "0.1.0"


def _names():
    "{name: module} of the front door, from the one place where it stands"
    import ast
    from pathlib import Path
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}


def __getattr__(name):
    if name.startswith("_") or name not in (names := _names()):
        raise AttributeError(f"numpygpt has no {name!r}; dir(numpygpt) lists what it has")
    from importlib import import_module
    module = import_module(f"numpygpt.{names[name]}")
    return globals().setdefault(name, getattr(module, name))    # the module `generate`, called, is its function


def __dir__(): return sorted({*globals(), *_names()})
