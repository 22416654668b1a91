"Tests run with BLAS on one thread and, where it lies beside the project, on the real data"
import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
OWN = tempfile.TemporaryDirectory()                    # the user's own progress is left alone
os.environ["NUMPYGPT_PROGRESS"] = str(Path(OWN.name) / "progress.json")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))
if (beside := ROOT.parent / "shared" / "data").is_dir():
    os.environ.setdefault("NUMPYGPT_DATA", str(beside))

import pytest  # noqa: E402

from evidence import pytest_addoption, pytest_configure  # noqa: E402, F401: the option --evidence


def pytest_terminal_summary(terminalreporter):
    "What could not be tried is said in the last lines"
    skipped = terminalreporter.stats.get("skipped", [])
    words = lambda r: r.longrepr[2] if isinstance(r.longrepr, tuple) else str(r.longrepr)
    for reason in sorted({words(r) for r in skipped}):
        terminalreporter.write_line(f"not tried: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="module")
def script():
    """`script(name)` is a file of benchmarks/, which is no package; all of them are gone from the
    interpreter afterwards"""
    before, folder = set(sys.modules), ROOT / "benchmarks"
    sys.path.insert(0, str(folder))
    yield import_module
    sys.path.remove(str(folder))
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
            del sys.modules[name]


@pytest.fixture
def figures(request):
    """Numbers that a test has counted, by name: with --evidence they are kept for the page on
    promises, when the test has passed"""
    path, found = ROOT / "nbs" / "stored" / "promises.json", {}
    yield found
    passed = getattr(request.node, "passed", False)
    if passed and request.config.option.evidence:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(before | found, indent=1, sort_keys=True) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call": item.passed = report.passed
