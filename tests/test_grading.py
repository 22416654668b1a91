"Answers in files: found by their calls, made in the box, told in a line each"
import json
import os

import pytest

from numpygpt import cli, grading
from numpygpt.grading import calls, files, graded, needed, report, source
from numpygpt.learn import exercises

RIGHT = "def f(v, ours, theirs): return float(((v + theirs) / (v + ours)) ** 0.5)\n"
WRONG = "def f(v, ours, theirs): return float((v + theirs) / (v + ours))\n"
CHECK = 'check("eps_ratio", f)\n'
HEAD = "from numpygpt.learn import check\n"


@pytest.fixture(scope="module")
def known(): return {one.name: one for one in exercises()}


def written(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def notebook(*cells):
    made = [{"cell_type": "code", "source": c.splitlines(True)} for c in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": [CHECK]}, *made]})


@pytest.mark.parametrize("text, states", [
    (HEAD + RIGHT + CHECK, ["right"]), (HEAD + WRONG + CHECK, ["wrong"]),
    ("\ufeff" + HEAD + RIGHT + CHECK, ["right"]),
    (HEAD + CHECK.replace("f)", "None)"), ["open"]),
    (HEAD + WRONG + CHECK + RIGHT + CHECK, ["right"]),
    ("import numpygpt.learn as l\n" + RIGHT + "l." + CHECK, ["right"]),
    (RIGHT + f"def late():\n    {CHECK}late()\n", ["right"]),
    (HEAD + RIGHT + f"1 / 0\nwhile True: pass\n{CHECK}", ["right"]),
    (HEAD + CHECK, ["wrong"]),
    (HEAD + RIGHT + CHECK.replace("eps_ratio", "nobody"), ["unreadable"]),
    ("def (", ["unreadable"]), ("(" * 5000, ["unreadable"]), (f"# {CHECK}'''{CHECK}'''", [])])
def test_scripts(tmp_path, known, text, states):
    path = written(tmp_path, "a.py", text)
    assert [g.state for g in graded(path, known, 3.0)] == states


def test_a_notebook_is_its_code_cells(tmp_path, known):
    path = written(tmp_path, "a.ipynb", notebook("%matplotlib inline\n" + HEAD, "no python", RIGHT,
                                                 "!ls", CHECK))
    assert [(g.state, g.exercise) for g in graded(path, known)] == [("right", "eps_ratio")]
    for text in ("{}", "[", '{"cells": 3}', notebook("def (\n" + CHECK)):
        with pytest.raises(grading.Unreadable): source(written(tmp_path, "b.ipynb", text))


def test_nothing_of_a_file_runs_in_the_grader(tmp_path, known, monkeypatch):
    monkeypatch.setenv("NUMPYGPT_PROGRESS", str(tmp_path / "mine.json"))
    text = ("import os\nfrom numpygpt.learn import check, hint\n"
            f"def f(v, ours, theirs):\n    os.environ['ESCAPED'] = '1'\n    hint('eps_ratio')\n"
            f"    import numpygpt.grading as g\n    g.graded = None\n    os._exit(0)\n{CHECK}")
    found, = graded(written(tmp_path, "a.py", text), known)
    assert found.state == "wrong" and "os._exit" in found.text
    assert "ESCAPED" not in os.environ and callable(grading.graded)
    assert not (tmp_path / "mine.json").exists()


def test_a_check_of_anothers_exercise_is_an_example_on_a_chapters_page(tmp_path, known):
    text = notebook(HEAD, RIGHT, CHECK, 'check("nobody", 3)')
    for name, states in (("07_layernorm", ["right"]), ("learn", []),
                         ("mine", ["right", "unreadable"])):
        path = written(tmp_path, f"{name}.ipynb", text)
        assert [g.state for g in graded(path, known)] == states


def test_what_an_answer_depends_on():
    tree = grading.ast.parse("import a, b\nx = 1\nx = a.f(2)\nx.append(b)\ny = x\nz = 3\n"
                             "if z: w = 1\ndef g(y): return x, w, y\n"
                             "names = [check for check in b]\ncheck('n', g)")
    kept = [grading.ast.unparse(top) for top in needed(tree, calls(tree)["n"][0])]
    assert kept == ["import a, b", "x = a.f(2)", "x.append(b)", "z = 3", "if z:\n    w = 1",
                    "def g(y):\n    return (x, w, y)", "check('n', g)"]


def test_folders_exit_codes_and_json(tmp_path, capsys, monkeypatch):
    written(tmp_path, "a.py", HEAD + RIGHT + CHECK)
    (tmp_path / ".hidden").mkdir()
    written(tmp_path / ".hidden", "c.py", "def (")
    written(tmp_path, "helper.py", "x = 1\n")
    assert [p.name for p in files(tmp_path)] == ["a.py", "helper.py"]
    assert report([tmp_path]) == 0 and "1 of 1 right" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end: cli.main(["check-answers", str(tmp_path / "no.py")])
    assert end.value.code == 2 and "cannot be read" in capsys.readouterr().out
    written(tmp_path, "b.py", HEAD + WRONG + CHECK)
    with pytest.raises(SystemExit) as end: cli.main(["check-answers", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert end.value.code == 1 and [g["state"] for g in found] == ["right", "wrong"]
    assert found[1]["mistake"] == "no root"
