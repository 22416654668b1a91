"""Makes notebooks fit to keep: without the views of widgets, which live as long as one kernel, and
without what nbdev takes out; what was printed in pieces is in one. Imports are collapsed in
JupyterLab. Names of notebooks or folders, or none for all."""
import json
import subprocess
import sys
from pathlib import Path

from numpygpt.course import as_text, fetches
from numpygpt.explore import without_views

NBS = Path(__file__).resolve().parents[1] / "nbs"


def joined(outputs):
    "Outputs in which what a cell printed is one piece: how it was cut differs from run to run"
    found = [{}]
    for output in outputs:
        kind = [(o.get("output_type"), o.get("name")) for o in (found[-1], output)]
        if kind[0] == kind[1] and kind[0][0] == "stream":
            text = "".join([*found[-1]["text"], *output["text"]])
            found[-1] = found[-1] | {"text": text.splitlines(True)}
        else: found.append(output)
    return found[1:]


for place in [Path(name) for name in sys.argv[1:]] or [NBS]:
    for path in place.glob("*.ipynb") if place.is_dir() else [place]:
        old = path.read_text(encoding="utf-8")
        nb = without_views(json.loads(old))
        for cell in nb["cells"]:
            if cell["cell_type"] != "code": continue
            cell["outputs"] = joined(cell["outputs"])
            if fetches("".join(cell["source"])):
                cell["metadata"]["jupyter"] = {"source_hidden": True}
        new = as_text(nb)
        if new != old: path.write_text(new, encoding="utf-8")
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", place], check=True)
