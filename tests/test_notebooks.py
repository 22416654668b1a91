"Every notebook is clean, executed, cut small, and says what its figures show"
import ast
import copy
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from numpygpt.course import fetches
from numpygpt.explore import without_views

NBS = Path(__file__).resolve().parents[1] / "nbs"
NOTEBOOKS = sorted(NBS.glob("*.ipynb"), key=lambda p: (p.name == "index.ipynb", p.name))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


@each
def test_cells_are_small_named_and_executed(path):
    nb = nbformat.read(path, 4)
    ids = [c.id for c in nb.cells]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[0-9a-f]{8}", i) for i in ids)
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        lines = [l for l in cell.source.splitlines() if l.strip() and not l.startswith("#|")]
        wide = cell.source.startswith("#| exercise") or any(l.startswith("class ") for l in lines)
        allowed = 40 if wide else 25
        assert len(lines) <= allowed, f"cell {cell.id} has {len(lines)} lines"
        kinds = [kind for o in cell.outputs for kind in o.get("data", {})]
        if any(kind.startswith("image/") for kind in kinds):
            assert "#| fig-alt:" in cell.source, f"the figure of cell {cell.id} has no alt text"
        errors = [o for o in cell.outputs if o.output_type == "error"]
        assert not errors, f"cell {cell.id} shows an error"
        instead = any("() stands in: all cells run" in o.get("text", "") for o in cell.outputs)
        assert not instead or path.stem == "course", f"cell {cell.id} was run without its data"
        assert "numpy.random.seed" not in cell.source and "np.random.seed" not in cell.source


@each
def test_it_names_no_place_of_its_making(path):
    text = path.read_text(encoding="utf-8")
    for word in ("/work/", "/root/", "/tmp/", "/home/"): assert word not in text, word


def test_notebooks_are_clean():
    "What nbdev_clean would change is nothing, and no view of a widget is kept"
    before = {p: p.read_bytes() for p in NOTEBOOKS}
    command = [Path(sys.executable).parent / "nbdev_clean", "--fname", str(NBS)]
    subprocess.run(command, check=True, capture_output=True)
    changed = [p.name for p in NOTEBOOKS if p.read_bytes() != before[p]]
    assert not changed
    for p in NOTEBOOKS:
        nb = json.loads(p.read_text(encoding="utf-8"))
        assert without_views(copy.deepcopy(nb)) == nb, f"{p.name}: run .ci/tidy.py on it"


@each
def test_what_is_documented_is_what_was_exported(path):
    "`show_doc` in a kernel knows no lines of the module, and takes a name for another's"
    spec = importlib.util.spec_from_file_location("tidy", NBS.parent / ".ci" / "tidy.py")
    tidy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tidy)
    now = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(tidy.tidied(path)) == now, f"run .ci/tidy.py nbs/{path.name}"


def test_chapters_are_numbered_and_titled():
    "nbdev makes title and description of the first cell, and drops what else is in it"
    for path in NOTEBOOKS:
        first = nbformat.read(path, 4).cells[0]
        says = f"the first cell of {path.name} must be a title and a description"
        assert re.fullmatch(r"# .+\n\n> .+", first.source), says


@each
def test_imports_have_cells_of_their_own(path):
    "Building the site runs every cell with an import, and no other that is not exported"
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "code" or "#| export" in cell.source: continue
        lines = [l for l in cell.source.splitlines() if not l.startswith(("%", "!"))]
        tree = ast.parse("\n".join(lines))
        found = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = [a.name for n in found for a in n.names]
        says = f"cell {cell.id} imports {names} among other code"
        assert not found or len(found) == len(tree.body), says
        assert not fetches(cell.source) or cell.metadata.get("jupyter", {}).get("source_hidden"), (
            f"cell {cell.id} of imports is not collapsed: run .ci/tidy.py")


@each
def test_the_site_shows_what_is_exported(path):
    "`#| exports` is shown, `#| export` is not"
    for cell in nbformat.read(path, 4).cells:
        assert not re.search(r"^#\| exporti?\s*$", cell.source, re.M), f"cell {cell.id}: #| exports"
