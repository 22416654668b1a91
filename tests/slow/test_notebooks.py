"Every notebook runs on its own from a clean kernel"
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NBS = Path(__file__).resolve().parents[2] / "nbs"
NOTEBOOKS = sorted(NBS.glob("*.ipynb"), key=lambda p: (p.name == "index.ipynb", p.name))
LIMIT = 90      # seconds in which a chapter is meant to run; said, not asserted: the clock is the machine's


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_from_a_clean_kernel(path, record_property):
    nb = nbformat.read(path, 4)
    start = time.perf_counter()
    NotebookClient(nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(NBS)}}).execute()
    took = time.perf_counter() - start
    record_property("seconds", round(took))
    print(f"{path.stem}: {took:.0f} s" + (f", more than {LIMIT}" if took > LIMIT else ""))
    assert not [o for c in nb.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]
