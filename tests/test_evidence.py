"""Chapter 41 says what the tests say: every row leads to a chapter, names that exist,
and tests that have passed"""
import ast
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import nbformat
import pytest

import evidence
from evidence import ROOT, ROWS, merged, row, stored, verdict

each = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.system}: {row.has}")
AGAIN = "run `make evidence`"


@pytest.fixture(scope="module")
def page(): return nbformat.read(ROOT / "nbs" / "41_evidence.ipynb", 4)


def shown(page):
    outputs = [o for c in page.cells if c.cell_type == "code" for o in c.outputs]
    return "\n".join("".join(o.data["text/markdown"]) for o in outputs
                     if "text/markdown" in o.get("data", {}))


@cache
def functions(file):
    found = [n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
             if isinstance(n, ast.FunctionDef)]
    return [node.name for node in found if node.name.startswith("test_")]


@each
def test_chapters_and_names_exist(row):
    for chapter in row.chapters: assert (ROOT / "nbs" / f"{chapter}.ipynb").exists(), chapter
    for name in row.names:
        module, _, attribute = name.partition(".")
        assert hasattr(importlib.import_module(f"numpygpt.{module}"), attribute), name


@each
def test_every_pattern_matches_a_test(row, request):
    """By the names in the source; where the file is among those that run now,
    by the ids of its cases, too"""
    collected = {item.nodeid for item in request.session.items}
    for pattern in row.patterns:
        file, _, rest = ("tests/" + pattern).partition("::")
        assert (ROOT / file).is_file(), file
        head = re.compile(".*".join(map(re.escape, rest.partition("[")[0].split("*"))))
        assert any(head.match(name) for name in functions(ROOT / file)), pattern
        whole = re.compile(".*".join(map(re.escape, ("tests/" + pattern).split("*"))))
        of_file = [i for i in collected if i.startswith(file + "::")]
        if len({i.partition("[")[0] for i in of_file}) == len(functions(ROOT / file)):
            assert any(map(whole.match, of_file)), pattern


def test_what_is_stored_are_these_rows():
    found = [tuple(r[k] for k in ("system", "has", "chapters", "names")) for r in stored()["rows"]]
    assert found == [(r.system, r.has, [*r.chapters], [*r.names]) for r in ROWS], AGAIN


@pytest.mark.parametrize("n", range(len(ROWS)), ids=[f"{r.system}: {r.has}" for r in ROWS])
def test_every_stored_outcome_is_a_good_one(n):
    r = stored()["rows"][n]
    assert r["tests"] and r["outcome"] == verdict(r["tests"]) != "failed", AGAIN
    for test, counts in r["tests"].items():
        assert evidence.still_there(test), f"{test} is gone: {AGAIN}"
        assert set(counts) <= {"passed", "skipped"} and min(counts.values()) > 0, test


def test_what_was_skipped_needs_a_gpu():
    for reason, file in stored()["reasons"]:
        assert re.search("CuPy|GPU", reason), f"{file}: {reason}"


def test_no_time_and_no_place_is_stored():
    text = evidence.STORED.read_text(encoding="utf-8")
    assert not re.search(r"\d\d:\d\d|20\d\d-|\d\.\d+ ?s\b|/(work|tmp|home|root)/", text)


def test_the_page_shows_the_stored_rows(page):
    lines = shown(page).splitlines()
    for r in stored()["rows"]:
        parts = [f"({c}.ipynb)" for c in r["chapters"]] + [f"`{n}`" for n in r["names"]]
        (line,) = [l for l in lines if l.startswith(f"| {r['has']} |") and l.count("|") == 6
                   and all(part in l for part in parts)]
        total = sum(map(Counter, r["tests"].values()), Counter())
        counts = [f"{n} {outcome}" for outcome, n in total.items()]
        assert f"**{r['outcome']}**" in line and all(c in line for c in counts), AGAIN


# what is left of the outcomes of a row, given those of its tests
@pytest.mark.parametrize("tests, says", [
    ({"a": {"passed": 2}}, "proved"), ({"a": {"passed": 2}, "b": {"skipped": 1}}, "proved"),
    ({"a": {"skipped": 2}}, "not tried here"), ({}, "not tried here"),
    ({"a": {"passed": 9}, "b": {"failed": 1}}, "failed")])
def test_verdicts(tests, says): assert verdict(tests) == says


def test_runs_are_merged_by_file(monkeypatch):
    "A second run replaces what it ran and leaves the rest; what no longer exists goes"
    patterns = "test_evidence.py::test_v", "test_evidence.py::test_r", "test_data.py::test_mnist"
    rows = [row("A", "b", "index", "", *patterns), row("A", "c", "index")]
    monkeypatch.setattr(evidence, "ROWS", rows)
    here, there = "tests/test_evidence.py", "tests/test_data.py"
    first = merged({"rows": [], "reasons": []},
                   {f"{here}::test_verdicts[1]": ("passed", ""),
                    f"{here}::test_verdicts[2]": ("failed", ""),
                    f"{there}::test_mnist": ("skipped", "no GPU"),
                    "tests/other.py::test_verdicts": ("passed", "")}, {here, there})
    skipped = {f"{there}::test_mnist": {"skipped": 1}}
    verdicts = {f"{here}::test_verdicts": {"passed": 1, "failed": 1}}
    assert first["rows"][0]["tests"] == skipped | verdicts
    assert [r["outcome"] for r in first["rows"]] == ["failed", "not tried here"]
    assert first["reasons"] == [("no GPU", there)]
    this = f"{here}::test_runs_are_merged_by_file"
    again = merged(json.loads(json.dumps(first)), {this: ("passed", "")}, {here})
    assert again["rows"][0]["tests"] == skipped | {this: {"passed": 1}}
    assert again["rows"][0]["outcome"] == "proved" and again["reasons"] == [("no GPU", there)]
    gone = f"{there}::test_of_yesterday"
    first["rows"][0]["tests"][gone] = {"passed": 1}
    assert gone not in merged(first, {}, set())["rows"][0]["tests"]

SESSION = """
import sys; sys.path.insert(0, {tests!r})
import evidence
from pathlib import Path
evidence.STORED = Path(__file__).parent / "out.json"
evidence.ROWS = [evidence.row("A", "b", "index", "", "test_x.py", "test_broken.py")]
from evidence import pytest_addoption, pytest_configure
"""
CASES = """
import pytest
@pytest.mark.parametrize("n", [1, 2])
def test_a(n): assert n == 1
@pytest.mark.skip(reason="no GPU")
def test_b(): pass
@pytest.fixture
def bad():
    yield
    1 / 0
def test_c(bad): pass
"""


def test_the_option_stores_the_outcomes_of_whole_files(tmp_path):
    (tmp_path / "tests").mkdir()
    write = lambda name, text: (tmp_path / name).write_text(text, encoding="utf-8")
    write("conftest.py", SESSION.format(tests=str(ROOT / "tests")))
    write("tests/test_x.py", CASES)
    write("tests/test_broken.py", "1 / 0\ndef test_d(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", ".", "-p", "no:cacheprovider"]
    run = lambda *args: subprocess.run([*command, "--evidence", *args], cwd=tmp_path,
                                       capture_output=True, text=True)
    assert "run whole files" in run("-k", "a", "tests").stderr
    assert "run whole files" in run("tests/test_x.py::test_b").stderr
    assert not (tmp_path / "out.json").exists()
    run("--continue-on-collection-errors", "tests")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert found["rows"][0]["tests"] == {"tests/test_x.py::test_a": {"passed": 1, "failed": 1},
                                         "tests/test_x.py::test_b": {"skipped": 1},
                                         "tests/test_x.py::test_c": {"failed": 1}}
    assert found["rows"][0]["outcome"] == "failed"
    assert found["reasons"] == [["no GPU", "tests/test_x.py"]]
