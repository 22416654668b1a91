"""Makes notebooks fit to keep: without the views of widgets, which live as long as one kernel, and
without what nbdev takes out; what was printed in pieces is in one. Imports are collapsed in
JupyterLab. What `show_doc` says is asked anew of the module that was exported: a kernel knows
neither its lines nor whose a name is. Names of notebooks or folders, or none for all."""
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from nbdev.doclinks import _get_exps
from nbdev.showdoc import show_doc

from numpygpt.course import Chapter, as_text, fetches
from numpygpt.explore import without_views

NBS = Path(__file__).resolve().parents[1] / "nbs"


def documented(source, module):
    "The outputs of a cell of `show_doc`, each with the line in its module"
    names, lines = vars(import_module(f"numpygpt.{module}")), _get_exps(f"numpygpt/{module}.py")
    for name in re.findall(r"(?m)^show_doc\((.+)\)", source):
        doc = show_doc(eval(name, names))
        texts = {"text/markdown": doc._repr_markdown_(), "text/plain": repr(doc)}
        found = {k: v.replace("#LNone", f"#L{lines.get(name, 1)}") for k, v in texts.items()}
        yield dict(data={k: v.splitlines(True) for k, v in found.items()}, metadata={},
                   output_type="display_data")


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


def tidied(path):
    "The text of a notebook that is fit to keep"
    nb, module = without_views(json.loads(path.read_text(encoding="utf-8"))), Chapter(path).module
    for cell in (c for c in nb["cells"] if c["cell_type"] == "code"):
        source, cell["outputs"] = "".join(cell["source"]), joined(cell["outputs"])
        if fetches(source): cell["metadata"]["jupyter"] = {"source_hidden": True}
        if outputs := module and [*documented(source, module)]: cell["outputs"] = outputs
    return as_text(nb)


if __name__ == "__main__":
    for place in [Path(name) for name in sys.argv[1:]] or [NBS]:
        for path in place.glob("*.ipynb") if place.is_dir() else [place]:
            new = tidied(path)
            if new != path.read_text(encoding="utf-8"): path.write_text(new, encoding="utf-8")
        subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", place], check=True)
