"The wheel alone, in a fresh environment: what a user of pip gets"
import functools
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RIGHT_LINEAR = r"""self.dW += rows(x).T @ rows(dy)\n",
    "    if self.bias: self.db += rows(dy).sum(0)\n",
    "    return dy @ self.W.T"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run = lambda *words: subprocess.run(words, check=True, capture_output=True, text=True)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    run(sys.executable, "-m", "venv", folder / "env")
    run(folder / "env" / "bin" / "python", "-m", "pip", "install", "--quiet", *folder.glob("*.whl"))
    return folder / "env" / "bin" / "python"


def ask(python, code):
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True,
                          cwd=python.parent).stdout


def test_no_notebook_no_torch_no_plots(python):
    pip = [python, "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.lower()
    assert "numpygpt==" in listed
    for heavy in ("torch", "matplotlib", "jupyter", "ipython", "nbdev", "fastcore"):
        assert f"{heavy}==" not in listed


def test_import_is_light(python):
    code = "import time; t = time.perf_counter(); import numpygpt; print(time.perf_counter() - t)"
    print("import numpygpt:", sorted(float(ask(python, code)) for _ in range(5))[2], "s")
    code = code.replace("import numpygpt;", "from numpygpt import GPT;")
    print("from numpygpt import GPT:", sorted(float(ask(python, code)) for _ in range(5))[2], "s")
    code = "import sys, numpygpt; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    assert ask(python, code).split() == ["False", "False"]


def test_the_same_mistakes_are_found_and_caught(python):
    "Where there is no checkout, they are read from the chapters in the package"
    code = ("from numpygpt import LayerNorm, kill_table, wrongs; import numpy as np; "
            "print(len(wrongs())); print(kill_table(LayerNorm(7), np.random.rand(2, 3, 7)))")
    count, head, right, *rows = ask(python, code).splitlines()
    from numpygpt.gradcheck import wrongs
    from numpygpt.layernorm import LayerNorm
    assert int(count) == len(wrongs()) >= 155
    assert "caught" not in right and len(rows) == len(wrongs(LayerNorm))
    assert all("caught" in row for row in rows if not row.startswith("eps outside"))


def test_the_chapters_come_along(python, tmp_path):
    command = [python.parent / "numpygpt", "notebooks", tmp_path / "mine"]
    subprocess.run(command, check=True, capture_output=True)
    here = {p.name for p in (ROOT / "nbs").glob("*.ipynb")}
    assert {p.name for p in (tmp_path / "mine").glob("*.ipynb")} == here
    code = "from numpygpt.course import stored; print(stored('softmax.npz').stat().st_size > 0)"
    assert ask(python, code).strip() == "True"


CHECK_ALL = """
import importlib.util, sys
from pathlib import Path
from types import FunctionType
import numpygpt
from numpygpt.learn import check, exercises
assert "site-packages" in numpygpt.__file__, numpygpt.__file__

stored = {}
for path in sorted(Path(sys.argv[1]).glob("right_*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    for name, thing in vars(module).items():
        key, _, rest = name.partition("__")
        if rest and key in module.ANSWERS: stored.setdefault(module.ANSWERS[key], thing)

def again(f):                                    # the solution, written once more
    names = dict(f.__globals__)
    return names.setdefault("mine", FunctionType(f.__code__, names, "mine", f.__defaults__,
                                                 f.__closure__))

def right(ex):
    if ex.name in stored: return stored[ex.name]
    return ex.reference() if ex.cases is None and not ex.see else again(ex.reference)

verdicts = [check(ex.name, right(ex)) for ex in exercises()]
assert all(verdicts), [v.text for v in verdicts if not v]
print(len(verdicts), len({ex.chapter for ex in exercises()}))
"""


def test_every_chapters_checks_work_where_there_is_no_checkout(python, tmp_path):
    "In a copy of the chapters: untouched, nothing is attempted; then right answers to each chapter"
    env = {**os.environ, "NUMPYGPT_PROGRESS": str(tmp_path / "progress.json")}
    ask = functools.partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, env=env)
    command = python.parent / "numpygpt"
    ask([command, "notebooks", "mine"], check=True)
    untouched = ask([command, "check-answers", "mine"])
    assert untouched.returncode == 0, untouched.stdout[-3000:]
    assert "\n0 of " in untouched.stdout and "nothing attempted yet" in untouched.stdout
    shutil.copytree(ROOT / "tests" / "answers", tmp_path / "answers")
    done = ask([python, "-c", CHECK_ALL, tmp_path / "answers"])
    assert done.returncode == 0, done.stderr[-3000:]
    many, chapters = map(int, done.stdout.split()[-2:])
    assert many >= 110 and chapters >= 30


def test_an_answer_in_a_copied_notebook_is_judged(python, tmp_path):
    command, page = python.parent / "numpygpt", tmp_path / "mine" / "03_linear.ipynb"
    subprocess.run([command, "notebooks", page.parent], check=True, capture_output=True)
    text = page.read_text(encoding="utf-8")
    for line, code, says in (("self.dW += dy.T @ x", 1, "wrong"), ("return 1 / 0", 1, "wrong"),
                             (RIGHT_LINEAR, 0, "right")):
        page.write_text(text.replace("raise NotImplementedError", line, 1), encoding="utf-8")
        done = subprocess.run([command, "check-answers", page], capture_output=True, text=True)
        assert done.returncode == code, done.stdout
        assert done.stdout.splitlines()[0].split()[:2] == [says, "Linear.backward"]


def test_it_writes_straight_after_installation(python, tmp_path):
    command = [python.parent / "numpygpt", "sample", "--tokens", "20"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert len(text.strip("\n")) > 20 // 2


def test_the_source_archive_has_model_and_chapters(tmp_path):
    copy = tmp_path / "copy"                        # a build leaves things beside its source
    left_out = shutil.ignore_patterns(".*", "_docs", "_proc", "runs", "*.egg-info", "build",
                                      "__pycache__")
    shutil.copytree(ROOT, copy, ignore=left_out)
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                          text=True, cwd=copy)
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("model.safetensors", "tokenizer.json", "train.json"):
        assert f"numpygpt/pretrained/{name}" in names
    for path in (ROOT / "nbs").glob("*.ipynb"): assert f"numpygpt/chapters/{path.name}" in names
    assert "numpygpt/chapters/stored/results.json" in names
    assert not any(name.startswith("nbs/") for name in names)


def test_it_trains_and_writes(python, tmp_path):
    command = python.parent / "numpygpt"
    subprocess.run([command, "train", "--steps", "5", "--eval-batches", "1", "--sample", "20",
                    "--out", tmp_path / "run"], check=True, capture_output=True)
    command = [command, "sample", tmp_path / "run", "--tokens", "10"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert len(text.strip("\n")) > 0
