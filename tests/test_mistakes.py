"Wrong versions stay in the chapters: the package holds none, and every one can be had from there"
import ast
import builtins
import dis
import importlib
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest

import numpygpt
from numpygpt import course
from numpygpt.course import COPIED, chapters, copied, copy_chapters, digest
from numpygpt.gradcheck import WRONG, wrong, wrongs
from numpygpt.linear import Linear

LIB = Path(numpygpt.__file__).parent
CHAPTERS = chapters()
MARKED = [c for c in CHAPTERS if c.module and c.cells("mistake")]
each_marked = pytest.mark.parametrize("chapter", MARKED, ids=lambda c: c.path.stem)

WATCHED = """
import sys
read = []
sys.addaudithook(lambda event, args: event == "open" and read.append(str(args[0])))
import numpygpt.{module}
print(*[m for m in sys.modules if m.startswith("numpygpt.")], *[p for p in read if "ipynb" in p])
"""


@pytest.mark.parametrize("module", ["transformer", "training", "generate", "cli_train", "cli"])
def test_who_trains_a_model_meets_no_mistake(module):
    "In a fresh interpreter: neither the test bench is loaded nor a chapter read"
    done = subprocess.run([sys.executable, "-c", WATCHED.format(module=module)], text=True,
                          capture_output=True, check=True)
    found = set(done.stdout.split())
    assert f"numpygpt.{module}" in found and "numpygpt.gradcheck" not in found
    assert not [name for name in found if name.endswith("ipynb")]
    if module != "cli": assert "numpygpt.course" not in found


def decorates(node):
    "Does this record a wrong version?"
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    return any(isinstance(c.func, ast.Name) and c.func.id == "wrong" for c in calls)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.path.stem)
def test_no_exported_cell_records_a_mistake(chapter):
    for i, source in chapter.cells():
        if "#| export" in source: assert not decorates(ast.parse(source)), i


@pytest.mark.parametrize("path", sorted(LIB.glob("*.py")), ids=lambda p: p.stem)
def test_no_module_records_a_mistake(path):
    assert not decorates(ast.parse(path.read_text(encoding="utf-8")))


def used(tree):
    "Every name and attribute that is read"
    return ({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)})


def plain(source):
    "A cell as a syntax tree, without the lines that only Jupyter understands"
    lines = source.splitlines()
    return ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))


def test_nothing_in_the_package_serves_mistakes_alone():
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in sorted(LIB.glob("*.py"))]
    kinds = ast.FunctionDef, ast.ClassDef
    defined = {n.name for tree in trees for n in tree.body if isinstance(n, kinds)}
    for_mistakes, elsewhere = set(), set().union(*map(used, trees))
    for chapter in CHAPTERS:
        marked = dict(chapter.cells("mistake"))
        for i, source in chapter.cells():
            if "#| export" in source: continue           # its module is among the trees
            (for_mistakes if i in marked else elsewhere).update(used(plain(source)))
    assert not defined & for_mistakes - elsewhere


def test_there_are_many_and_each_is_found_under_what_it_imitates():
    everything = wrongs()
    assert len(everything) >= 155
    for w in everything: assert w in wrongs(w.what) and w.name and w.thought, w.name


def test_those_recorded_by_hand_come_last():
    own = wrongs(Linear)
    wrong(Linear, "nothing", "I try what happens")(lambda self, dy: dy)
    try: assert own and wrongs(Linear) == [*own, WRONG[-1]] and WRONG[-1].name == "nothing"
    finally: WRONG.pop()


def test_the_source_of_a_mistake_can_be_shown():
    for w in wrongs(): assert any(word in inspect.getsource(w.code) for word in ("def ", "lambda"))


def codes(code):
    "A code object and those inside it"
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType): yield from codes(inner)


@each_marked
def test_mistakes_need_nothing_but_the_module(chapter):
    "A name that is not the module's, not Python's and not made in a marked cell before is missing"
    known = {"wrong", *vars(builtins), *vars(importlib.import_module(f"numpygpt.{chapter.module}"))}
    for i, source in chapter.cells("mistake"):
        top = compile(source, i, "exec")
        for code in codes(top):
            steps = list(dis.get_instructions(code))
            stored = {s.argval for s in steps if s.opname == "STORE_NAME"}
            if code is top: known |= stored
            needed = {s.argval for s in steps if s.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
            assert not needed - known - stored, f"cell {i}"


def test_all_chapters_are_copied_without_outputs(tmp_path):
    target = tmp_path / "a" / "course"
    written, left = copy_chapters(target)
    assert written == [c.path.name for c in CHAPTERS] and not left
    for chapter in CHAPTERS:
        nb = json.loads((target / chapter.path.name).read_text(encoding="utf-8"))
        assert [c["source"] for c in nb["cells"]] == [c["source"] for c in chapter.nb["cells"]]
        code = [c for c in nb["cells"] if c["cell_type"] == "code"]
        assert not any(c["outputs"] or c["execution_count"] for c in code)
    assert {p.name for p in target.iterdir()} == {*written, COPIED}


@pytest.fixture
def small(tmp_path, monkeypatch):
    "A course of three chapters, and the folder of a copy of it"
    source, target = tmp_path / "nbs", tmp_path / "copy"
    source.mkdir()
    for stem in ("index", "03_linear", "07_layernorm"):
        shutil.copy(course.folder() / f"{stem}.ipynb", source)
    monkeypatch.setattr(course, "folder", lambda: source)
    assert copy_chapters(target) == (["index.ipynb", "03_linear.ipynb", "07_layernorm.ipynb"], [])
    return target


def test_work_in_a_copy_is_never_lost(small):
    mine, older = (small / f"{stem}.ipynb" for stem in ("03_linear", "07_layernorm"))
    current = older.read_text(encoding="utf-8")
    mine.write_text("what I tried", encoding="utf-8")
    older.write_text("as an older version had it", encoding="utf-8")
    noted = {**copied(small), older.name: digest("as an older version had it")}
    (small / COPIED).write_text(json.dumps(noted), encoding="utf-8")
    written, left = copy_chapters(small)
    assert left == [mine.name] and len(written) == 2
    assert mine.read_text(encoding="utf-8") == "what I tried"
    assert older.read_text(encoding="utf-8") == current
    assert copy_chapters(small, force=True)[1] == []
    assert "what I tried" not in mine.read_text(encoding="utf-8")


@pytest.mark.parametrize("note", ["{ not json", "[]", '{"03_linear.ipynb": 7}', None])
def test_a_broken_note_costs_nothing(small, note):
    mine = small / "03_linear.ipynb"
    mine.write_text("what I tried", encoding="utf-8")
    if note is None: (small / COPIED).unlink()
    else: (small / COPIED).write_text(note, encoding="utf-8")
    assert copy_chapters(small)[1] == [mine.name]
    assert mine.read_text(encoding="utf-8") == "what I tried"
    assert copied(small)["07_layernorm.ipynb"]


def test_a_file_is_no_folder(tmp_path):
    target = tmp_path / "course"
    target.write_text("a file", encoding="utf-8")
    with pytest.raises(NotADirectoryError, match="name a folder"): copy_chapters(target)
    assert target.read_text(encoding="utf-8") == "a file"


def test_what_is_recorded_by_hand_takes_the_place_of_a_chapters():
    "A chapter that imports what it breaks records its mistakes by hand as well: they count once"
    first, *others = wrongs(Linear)
    try:
        code = wrong(Linear, first.name, "mine")(lambda self, dy: dy)
        found = wrongs(Linear)
    finally: WRONG.pop()
    assert [w.name for w in found] == [*(w.name for w in others), first.name]
    assert found[-1].code is code and found[-1].thought == "mine"
    assert wrongs(Linear) == [first, *others]
