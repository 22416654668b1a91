"""Writes README.md, which is the index notebook as text, the order of the chapters for Quarto, and
nbdev's index of names."""
import base64
import re
from html import unescape
from pathlib import Path

import yaml
from execnb.nbio import nb2dict, read_nb
from nbdev.config import get_config
from nbdev.doclinks import _build_modidx
from nbdev.processors import FilterDefaults

from numpygpt.course import by_part

CFG = get_config()
CFG["skip_procs"] = "FrontmatterProc,add_show_docs,exec_show_docs,insert_warning"
ROOT, NBS, SITE = Path(CFG.config_path), Path(CFG.nbs_path), f"{CFG.doc_host}{CFG.doc_baseurl}/"


def processed(path):
    "The cells of a notebook as nbdev processes it, less what adds or runs cells"
    nb = read_nb(path)
    FilterDefaults()(nb)
    return [c | {"source": "".join(c["source"])} for c in nb2dict(nb)["cells"] if c.get("source")]


def options(source):
    "The `#| name: value` lines of a code cell, and its source without them"
    found = yaml.safe_load("\n".join(re.findall(r"(?m)^#\|\s*(.+)", source)))
    return found or {}, re.sub(r"(?m)^#\|.*\n?", "", source)


def shown(cell):
    "A code cell and what it puts out; a picture that moves stands still as a file"
    opts, source = options(cell["source"])
    if opts.get("echo") is not False: yield f"```python\n{source}\n```"
    for o in cell["outputs"]:
        data = {kind: "".join(value) for kind, value in o.get("data", {}).items()}
        page = data.get("text/html", "")
        if found := re.search('(?s)alt="(.*?)" src="data:image/webp;base64,(.*?)"', page):
            (NBS / "index.webp").write_bytes(base64.b64decode(found[2]))
            says = unescape(found[1]).split("\n")
            yield f"![{says[0]}]({NBS.name}/index.webp)\n\n> " + "  \n> ".join(says)
        else: yield data.get("text/markdown") or f"```\n{''.join(o.get('text', ''))}```"


def write_readme():
    cells = processed(NBS / "index.ipynb")
    texts = [[cell["source"]] if cell["cell_type"] == "markdown" else shown(cell) for cell in cells]
    text = "\n\n".join(t for parts in texts for t in parts)
    text = re.sub(r"\]\(((?!http)[\w./#-]+\.html)", rf"]({SITE}\1", text)
    text = re.sub(r"\]\(((?!http)[\w./-]+\.ipynb)", rf"]({NBS.name}/\1", text)
    note = "<!-- made from nbs/index.ipynb: edit that notebook -->"
    (ROOT / "README.md").write_text(f"{note}\n\n{text.strip()}\n", encoding="utf-8")


def write_sidebar():
    found = [{"section": part, "contents": [{"href": c.path.name, "text": c.label} for c in cs]}
             for part, cs in by_part().items()]
    text = yaml.safe_dump({"website": {"sidebar": {"contents": found}}}, sort_keys=False,
                          allow_unicode=True)
    (NBS / "sidebar.yml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _build_modidx()
    write_sidebar()
    write_readme()
