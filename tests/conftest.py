"Tests run with BLAS on one thread and, where it lies beside the project, on the real data"
import os
import sys
import tempfile
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
OWN = tempfile.TemporaryDirectory()                    # the user's own progress is left alone
os.environ["NUMPYGPT_PROGRESS"] = str(Path(OWN.name) / "progress.json")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))
if (beside := ROOT.parent / "shared" / "data").is_dir():
    os.environ.setdefault("NUMPYGPT_DATA", str(beside))

from evidence import pytest_addoption, pytest_configure  # noqa: E402, F401: the option --evidence


def pytest_terminal_summary(terminalreporter):
    "What could not be tried is said in the last lines"
    skipped = terminalreporter.stats.get("skipped", [])
    words = lambda r: r.longrepr[2] if isinstance(r.longrepr, tuple) else str(r.longrepr)
    for reason in sorted({words(r) for r in skipped}):
        terminalreporter.write_line(f"not tried: {reason.removeprefix('Skipped: ')}")
