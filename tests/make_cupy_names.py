"""Writes cupy_names.json: every name in CuPy's namespace, its arrays and its ufuncs,
with the keywords where they are known (needs CuPy, no GPU)"""
import inspect
import json
import types
from pathlib import Path

import cupy


def keywords(thing):
    try: parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError): return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters): return None
    return [p.name for p in parameters]


names = {}
for name in dir(cupy):
    if name.startswith("_"): continue
    thing = getattr(cupy, name)
    names[name] = keywords(thing) if callable(thing) else None
    if isinstance(thing, cupy.ufunc):
        methods = "at", "reduce", "accumulate", "reduceat", "outer"
        names.update({f"{name}.{m}": None for m in methods if hasattr(thing, m)})
    if isinstance(thing, types.ModuleType) and name in ("linalg", "fft"):
        names.update({f"{name}.{n}": keywords(getattr(thing, n))
                      for n in dir(thing) if not n.startswith("_")})
names.update({f"ndarray.{name}": None for name in dir(cupy.ndarray) if not name.startswith("_")})
text = json.dumps(names, indent=0, sort_keys=True) + "\n"
Path(__file__).with_name("cupy_names.json").write_text(text)
print(f"{len(names)} names of CuPy {cupy.__version__}")
