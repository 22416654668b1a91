"The package as a user meets it: light to import, dependencies only downwards, small enough to read"
import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numpygpt

LIB = Path(numpygpt.__file__).parent
NOTEBOOKS = sorted((LIB.parent / "nbs").glob("*.ipynb"))
NUMBER = {m[1]: int(p.name[:2]) for p in NOTEBOOKS if p.name[:2].isdigit() for m in [re.search(r"#\| default_exp (\w+)", p.read_text(encoding="utf-8"))] if m}
MODULES = sorted(p for p in LIB.glob("*.py") if not p.stem.startswith("_"))


def test_importing_loads_numpy_and_nothing_heavy():
    code = "import sys, numpygpt, numpygpt.transformer, numpygpt.training; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"matplotlib", "torch", "IPython", "jupyter_client", "scipy", "pooch", "cupy", "tyro", "safetensors"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module: yield node.module
            else: yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_modules_depend_only_on_lower_numbers(path):
    for needed in imports(path):
        if needed != "__version__": assert NUMBER[needed] < NUMBER[path.stem], f"{path.stem} ({NUMBER[path.stem]}) imports {needed} ({NUMBER[needed]})"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_classes_fit_on_a_screen(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            lines = sum(bool(line.strip()) for line in text.splitlines()[node.lineno - 1:node.end_lineno])
            assert lines <= 40, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_everything_public_says_what_it_is(path):
    module = importlib.import_module(f"numpygpt.{path.stem}")
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing): assert thing.__doc__, f"{path.stem}.{name} has no docstring"


def test_the_named_api_is_there():
    from numpygpt import checkpoint
    from numpygpt.bpe import BPETokenizer
    from numpygpt.generate import generate
    from numpygpt.losses import cross_entropy
    from numpygpt.module import Flat
    from numpygpt.transformer import GPT, GPTConfig
    assert all(map(callable, (checkpoint.save, checkpoint.load, BPETokenizer.train, BPETokenizer.encode, BPETokenizer.decode, BPETokenizer.save,
                              BPETokenizer.load, generate, cross_entropy, Flat, Flat.views, GPT, GPT.backward, GPT.train, GPT.eval, GPTConfig)))
