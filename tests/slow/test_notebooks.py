"""Every chapter runs from a clean kernel, alone in an empty folder, with nothing but the wheel.

Two kernels run at a time. What the package is lies beside the checkout, so a chapter that reads a
file of the checkout would be seen: each kernel notes down what it opens there. A chapter with a row
Data in its card runs once more, without the data and without a network."""
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from numpygpt.course import chapters
from numpygpt.data import SOURCES

ROOT = Path(__file__).resolve().parents[2]
STEMS = [c.path.stem for c in chapters()]
READERS = [c.path.stem for c in chapters()
           if any("\n| Data |" in "".join(cell["source"]) for cell in c.nb["cells"][:3])]
LIMIT = 90      # seconds that a chapter is meant to take; said, not asserted: clocks differ

WATCH = """
import os, sys
ROOT, LOG = {root!r} + os.sep, {log!r}
def watch(event, args):
    if event != "open" or not isinstance(args[0], (str, bytes)): return
    path = os.path.abspath(os.fsdecode(args[0]))
    if path.startswith(ROOT) and not path.startswith((ROOT + ".venv", {data!r})):
        with os.fdopen(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a") as file:
            file.write(path + "\\n")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "A folder with the package as a wheel brings it, for PYTHONPATH"
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", folder / "lib",
                    *folder.glob("*.whl")], check=True)
    return folder / "lib"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    "An empty folder for what is fetched"
    return tmp_path_factory.mktemp("cache")


def without_data(cache):
    "The environment of a reader who has neither the data nor a network"
    gone = "NUMPYGPT_DATA", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"
    kept = {name: value for name, value in os.environ.items() if name.upper() not in gone}
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return {**kept, **nobody, "XDG_CACHE_HOME": str(cache)}


def run(wheel, stem, folder, environment):
    "(seconds, errors, what it opened in the checkout)"
    opened = folder / "opened.txt"
    (folder / "site").mkdir()
    data = os.environ.get("NUMPYGPT_DATA", os.devnull)
    (folder / "site" / "sitecustomize.py").write_text(
        WATCH.format(root=str(ROOT), log=str(opened), data=str(Path(data).resolve())))
    (folder / "work").mkdir()
    path = shutil.copy(wheel / "numpygpt" / "chapters" / f"{stem}.ipynb", folder / "work")
    nb, start = nbformat.read(path, 4), time.perf_counter()
    paths = os.pathsep.join([str(folder / "site"), str(wheel)])
    NotebookClient(nb, timeout=900, kernel_name="python3",
                   resources={"metadata": {"path": str(folder / "work")}}).execute(
                       env={**environment, "PYTHONPATH": paths})
    errors = [o for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]
    read = opened.read_text().splitlines() if opened.exists() else []
    return time.perf_counter() - start, errors, read


@pytest.fixture(scope="module")
def running(wheel, cache, request, tmp_path_factory):
    "The chapters that were asked for, under way, by the names of their tests"
    def begin(item):
        stem, alone = item.callspec.params["stem"], item.name.startswith("test_it_runs_without")
        environment = without_data(cache) if alone else os.environ
        return pool.submit(run, wheel, stem, tmp_path_factory.mktemp(stem), environment)

    with ThreadPoolExecutor(2) as pool:
        yield {i.name: begin(i) for i in request.session.items if i.path == Path(__file__)}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def finished(stem, running, request, record_property):
    "What `run` returned for the test that asks"
    seconds, *found = running[request.node.name].result()
    record_property("seconds", round(seconds))
    print(f"{stem}: {seconds:.0f} s" + (f", more than {LIMIT}" if seconds > LIMIT else ""))
    return found


@pytest.mark.parametrize("stem", STEMS)
def test_it_runs_from_a_clean_kernel(stem, finished):
    errors, read = finished
    assert not errors
    assert not read, "a chapter reads nothing outside the package and its own folder"


@pytest.mark.parametrize("stem", READERS)
def test_it_runs_without_its_data(stem, finished, cache):
    errors, _ = finished
    assert not errors
    assert not any((cache / "numpygpt" / name).exists() for name in SOURCES), "it had a network"
