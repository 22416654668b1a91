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
from numpygpt.course import PARTS, Chapter, chapters, folder

LIB = Path(numpygpt.__file__).parent
CHAPTERS = chapters()
NUMBER = {c.module: i for i, c in enumerate(CHAPTERS) if c.module}      # in the order of reading
MODULES = sorted(p for p in LIB.glob("*.py") if not p.stem.startswith("_"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.path.stem)


def test_importing_loads_numpy_and_nothing_heavy():
    code = ("import sys, numpygpt, numpygpt.transformer, numpygpt.training; "
            "print(*{m.split('.')[0] for m in sys.modules})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"matplotlib", "torch", "IPython", "jupyter_client", "scipy", "pooch",
                         "cupy", "tyro", "safetensors"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module: yield node.module
            else: yield from (alias.name for alias in node.names)


@each_module
def test_modules_depend_only_on_lower_numbers(path):
    for needed in imports(path):
        if needed == "__version__": continue
        assert NUMBER[needed] < NUMBER[path.stem], f"{path.stem} imports {needed}: it comes later"


@each_module
def test_classes_fit_on_a_screen(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef): continue
        lines = sum(map(bool, map(str.strip, text.splitlines()[node.lineno - 1:node.end_lineno])))
        assert lines <= 40, f"{node.name} has {lines} lines"


@each_module
def test_everything_public_says_what_it_is(path):
    module = importlib.import_module(f"numpygpt.{path.stem}")
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{path.stem}.{name} has no docstring"


@each_module
def test_a_module_is_read_in_one_go(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@each_chapter
def test_a_chapter_fits_an_evening(chapter):
    "What is read, and what the reader does: each has its own measure"
    def measured(cells):
        prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
        return len(cells), sum(len(text.split()) for text in prose)
    done = [c for c in chapter.nb["cells"] if "reader" in c["metadata"].get("tags", [])]
    cells, words = measured([c for c in chapter.nb["cells"] if c not in done])
    assert cells <= 115 and words <= 4500, (cells, words)
    cells, words = measured(done)
    assert cells <= 75 and words <= 2600, (cells, words)


@each_chapter
def test_lines_fit_the_page(chapter):
    long = [(i, line) for i, source in chapter.cells() for line in source.splitlines()
            if len(line) > 100]
    assert not long


@each_chapter
def test_a_paragraph_is_one_line(chapter):
    "Lists, tables, quotations and formulas have lines of their own"
    own = re.compile(r"\s*([|#>*-]|\d+\.|\$|!|<|:|$)")
    for cell in chapter.nb["cells"]:
        if cell["cell_type"] != "markdown": continue
        text = re.sub(r"\$\$.*?\$\$|```.*?```", "", "".join(cell["source"]), flags=re.S)
        plain = [not own.match(line) for line in text.splitlines()]
        assert not any(a and b for a, b in zip(plain, plain[1:])), cell["id"]


def test_lines_of_scripts_and_tests_fit_too():
    root = Path(__file__).resolve().parents[1]
    by_hand = [LIB / name for name in ("__init__.py", "__init__.pyi", "__main__.py")]
    for path in [*root.glob("*.py"), *(root / ".ci").glob("*.py"), *(root / "tests").rglob("*.py"),
                 *(root / "benchmarks").glob("*.py"), *by_hand]:
        long = [i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
                if len(line) > 100]
        assert not long, f"{path.relative_to(root)}: lines {long}"


def test_parts_and_files_agree():
    "Every notebook has its place in the order, and numbers rise"
    stems = [stem for part in PARTS.values() for stem in part]
    assert sorted(stems) == sorted(p.stem for p in folder().glob("*.ipynb"))
    numbers = [int(stem[:2]) for stem in stems if stem[:2].isdigit()]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0


FRONT = numpygpt._names()


@pytest.mark.parametrize("name", FRONT)
def test_the_front_door_opens(name):
    "Each name leads to its module; for the module `generate`, called, to the function"
    module = importlib.import_module(f"numpygpt.{FRONT[name]}")
    found = getattr(numpygpt, name)
    assert found is getattr(module, name) or callable(found) and name == FRONT[name]
    assert name in dir(numpygpt)


def test_the_front_door_names_what_it_lacks():
    with pytest.raises(AttributeError, match="no 'Transformer'"): numpygpt.Transformer
    assert not hasattr(numpygpt, "__path_of_nothing__")


def test_the_page_for_those_who_know_pytorch_is_true():
    page = Chapter(folder() / "pytorch.ipynb")
    names = {}
    for source in (s for _, s in page.cells() if s.startswith(("import ", "def names"))):
        exec(source, names)
    found = names["names"](page)
    assert len(found) > 60
    for name in found: assert names["look_up"](name) is not None, name


def test_types_are_right():
    "What a type checker says about the package is nothing"
    done = subprocess.run([sys.executable, "-m", "mypy"], capture_output=True, text=True,
                          cwd=LIB.parent)
    assert done.returncode == 0, done.stdout


@each_module
def test_everything_public_is_annotated(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    found += [n for c in classes for n in c.body if isinstance(n, ast.FunctionDef)]
    for f in found:
        if f.name.startswith("_") and f.name not in ("__init__", "__call__"): continue
        given = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
        bare = [a.arg for a in given if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare and (f.returns or f.name == "__init__"), f"{f.name}: {bare}"
