"""Makes notebooks fit to keep: without the views of widgets, which live as long as one kernel, and
without what nbdev takes out. Imports are collapsed in JupyterLab. Names of notebooks or folders,
or none for all."""
import json
import subprocess
import sys
from pathlib import Path

from numpygpt.course import as_text, fetches
from numpygpt.explore import without_views

NBS = Path(__file__).resolve().parents[1] / "nbs"

for place in [Path(name) for name in sys.argv[1:]] or [NBS]:
    for path in place.glob("*.ipynb") if place.is_dir() else [place]:
        old = path.read_text(encoding="utf-8")
        nb = without_views(json.loads(old))
        for cell in nb["cells"]:
            if cell["cell_type"] == "code" and fetches("".join(cell["source"])):
                cell["metadata"]["jupyter"] = {"source_hidden": True}
        new = as_text(nb)
        if new != old: path.write_text(new, encoding="utf-8")
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", place], check=True)
