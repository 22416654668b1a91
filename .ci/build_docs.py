"""Builds the site into _docs, and README.md, from nbs/.

nbdev processes the notebooks first; no cell runs, and `show_doc` is asked anew. Sphinx makes the
pages, pandoc the formulas, as MathML: no page needs a script to be read, nor another host.
`nbdev_docs` makes the same pages, at the same addresses, where Quarto is installed."""
import ast
import base64
import json
import logging
import re
import shutil
import subprocess
import sys
import warnings
from collections import defaultdict
from html import unescape
from importlib import import_module
from pathlib import Path

import pypandoc
import yaml
import ziamath
from docutils import nodes
from execnb.nbio import nb2dict, read_nb
from nbdev.config import get_config
from nbdev.doclinks import _build_modidx
from nbdev.process import NBProcessor
from nbdev.processors import FilterDefaults, add_show_docs, exec_show_docs, insert_warning
from nbdev.showdoc import show_doc
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

from numpygpt.course import PARTS, as_text, chapters, fetches
from numpygpt.reference import slug, tests_of

CFG = get_config()
ROOT, NBS, OUT = Path(CFG.config_path), Path(CFG.nbs_path), Path(CFG.doc_path)
SITE, BLOB = f"{CFG.doc_host}{CFG.doc_baseurl}/", f"{CFG.git_url}/blob/{CFG.branch}"
KERNEL = dict(name="python3", display_name="python3", language="python")
CONF = dict(
    project="numpygpt", html_title="numpygpt", html_baseurl=SITE, html_theme="furo", language="en",
    extensions=["myst_nb", "sphinx_copybutton", "build_docs"], nb_execution_mode="off",
    myst_enable_extensions=["dollarmath", "amsmath", "attrs_inline", "attrs_block"],
    myst_heading_anchors=4, myst_heading_slug_func="numpygpt.reference.slug",
    myst_url_schemes={"http": None, "https": None, "site": "{{path}}#{{fragment}}"},
    nb_render_markdown_format="myst", html_math_renderer="mathml",
    html_static_path=["static"], html_css_files=["styles.css", "math.css"], html_copy_source=False,
    pygments_style="github-light-high-contrast", pygments_dark_style="github-dark-high-contrast",
    copybutton_selector=".cell_input pre, .highlight-sh pre", html_show_sphinx=False,
    suppress_warnings=["mystnb.unknown_mime_type", "config.cache"],
    html_theme_options=dict(top_of_page_buttons=[]))


def short(stem): return re.sub(r"^\d\d_", "", stem)


def entries():
    "(part, [(name of the notebook, label)]) for each part, in the order of reading"
    at = {c.path.stem: c.title.split(":")[0] for c in chapters()}
    label = lambda stem: f"{stem[:2]} {at[stem]}" if stem[:2].isdigit() else at[stem]
    return [(part, [(s, label(s)) for s in stems if s in at]) for part, stems in PARTS.items()]


def processed(path):
    "(title, description, cells) of a notebook as nbdev processes it, less what adds or runs cells"
    nb, left_out = read_nb(path), (add_show_docs, exec_show_docs, insert_warning)
    NBProcessor(nb=nb, procs=[p for p in FilterDefaults().procs() if p not in left_out]).process()
    front, *cells = nb2dict(nb)["cells"]
    front = yaml.safe_load("".join(front["source"]).strip().strip("-"))
    for cell in cells: cell["source"] = "".join(cell.get("source", ""))
    return front["title"], front["description"], [c for c in cells if c["source"]]


def options(source):
    "The `#| name: value` lines of a code cell, and its source without them"
    lines = source.splitlines()
    marked = [re.fullmatch(r"#\|\s*([\w-]+):?\s*(.*)", line) for line in lines]
    source = "\n".join(line for line, m in zip(lines, marked) if not m)
    return {m[1]: m[2].strip().strip('"') for m in marked if m}, source


def said(cell, names):
    "The Markdown that a cell puts out; what `show_doc` says of names of a module is asked anew"
    if things := re.findall(r"show_doc\((.+)\)", cell["source"]):
        return "\n\n".join(show_doc(eval(t, names))._repr_markdown_() for t in things)
    return "\n\n".join("".join(o["data"]["text/markdown"]) for o in cell["outputs"]
                       if "text/markdown" in o.get("data", {}))


def linked(text):
    "Markdown with the links and headings that Sphinx takes"
    text = re.sub(r"---\n+(\[source\]\(.*?\))\{.*\}\n+(#+ .*)\n", r"\2\n\n\1{.source}\n", text)
    text = re.sub(r"---\n+(#+ )", r"\1", text)
    text = re.sub(rf"\]\((?:{re.escape(SITE)})?([\w.]+\.html[#)])", r"](site:\1", text)
    return re.sub(r"\]\((\d\d_)?([\w.]+\.ipynb)", r"](\2", text)


SYMBOLS = defaultdict(list)            # page: [module.name]


def exported(id, source, page, module, taken):
    "The line over code that the package has, else None: where it lies, what proves it, anchors"
    lines = (ROOT / "numpygpt" / f"{module}.py").read_text(encoding="utf-8").splitlines()
    at = next((i for i, line in enumerate(lines, 2) if line.endswith(f"#{id}")), 0)
    if not at: return None
    defined = [n for n in ast.parse(source).body if hasattr(n, "name")]
    names = [n.name for n in defined]
    methods = [f"{n.name}.{m.name}" for n in defined for m in n.body if hasattr(m, "name")]
    SYMBOLS[page] += [f"{module}.{name}" for name in names]
    anchors = [f'<span id="{a}"></span>' for a in {n.lower(): 0 for n in names + methods}
               if a not in taken]
    proofs = [f'proved by <a href="{BLOB}/tests/{test.partition("::")[0]}">{test}</a>'
              for name in names for test in tests_of(f"{module}.{name}", 1)]
    links = [f'<a href="{BLOB}/numpygpt/{module}.py#L{at}">numpygpt/{module}.py</a>', *proofs[:1]]
    return f'<p class="exported">{"".join(anchors)}{" · ".join(links)}</p>'


def page(chapter):
    "A notebook as Sphinx takes it"
    title, description, found = processed(chapter.path)
    name, cells = short(chapter.path.stem), []
    names = vars(import_module(f"numpygpt.{chapter.module}")) if chapter.module else {}
    text = "\n".join(c["source"] for c in found)
    taken = {name.lower() for name in re.findall(r"show_doc\(([\w.]+)\)", text)}
    taken |= {slug(heading) for heading in re.findall(r"(?m)^#+ (.+)", text)}
    add = lambda kind, source, **more: cells.append(
        dict(cell_type=kind, id=f"{len(cells):08x}", source=source, metadata={}) | more)
    add("markdown", f"# {title}\n\n{{.lead}}\n{description}")
    for cell in found:
        opts, source = options(cell["source"]) if cell["cell_type"] == "code" else ({}, "")
        text = said(cell, names) if opts.get("echo") == "false" else ""
        only = fetches(source)
        if cell["cell_type"] == "markdown" or text: add("markdown", linked(text or cell["source"]))
        elif only and cells[-1]["metadata"].get("fetches"): cells[-1]["source"] += "\n" + source
        elif cell["cell_type"] == "code":
            if chapter.module and not only and (line := exported(
                    cell["id"], source, name, chapter.module, taken)): add("markdown", line)
            fold = "Imports" if only else opts.get("code-fold") == "true" and opts["code-summary"]
            tag = "hide-input" if fold else "shown"
            if opts.get("echo") == "false": tag = "remove-input"
            look = {"image": {"alt": opts.get("fig-alt", "")}, "merge_streams": True,
                    "code_prompt_show": fold or "", "code_prompt_hide": fold or ""}
            for data in (o.get("data", {}) for o in cell["outputs"]):
                if text := data.get("text/markdown"): data["text/markdown"] = linked("".join(text))
            add("code", source, outputs=cell["outputs"], execution_count=None, metadata=dict(
                tags=[*cell["metadata"].get("tags", []), tag], mystnb=look, fetches=only))
    return dict(cells=cells, nbformat=4, nbformat_minor=5, metadata={"kernelspec": KERNEL})


def read(app, tree):
    "Each formula of a page as MathML, and its symbols for the inventory"
    name = app.env.docname
    found = list(tree.findall(lambda n: isinstance(n, (nodes.math, nodes.math_block))))
    kind = lambda n: {"t": "InlineMath" if isinstance(n, nodes.math) else "DisplayMath"}
    blocks = [{"t": "Para", "c": [{"t": "Math", "c": [kind(n), n.astext()]}]} for n in found]
    document = json.dumps({"pandoc-api-version": [1, 23], "meta": {}, "blocks": blocks})
    made = subprocess.run([pypandoc.get_pandoc_path(), "-f", "json", "-t", "html", "--mathml"],
                          input=document, capture_output=True, text=True, check=True)
    if made.stderr: raise ValueError(f"{name}: {made.stderr}")
    for node, math in zip(found, re.findall(r"(?s)<math.*?</math>", made.stdout), strict=True):
        node["mathml"] = math
    for symbol in SYMBOLS[name]:
        last = symbol.rpartition(".")[2]
        kind = "class" if last[0].isupper() else "function"
        app.env.domains.python_domain.note_object(f"numpygpt.{symbol}", kind, last.lower())


def visit_math(self, node):
    self.body.append(node["mathml"])
    raise nodes.SkipNode


def crumbs(app, name, template, context, tree):
    "The way to a page, and what it takes, over its title"
    takes = {short(c.path.stem): c.takes.partition(";")[0] for c in chapters()}
    found = [(p, t) for p, pages in entries() for s, t in pages if short(s) == name != "index"]
    for part, label in found:
        way = ['<a href="index.html">numpygpt</a>', part, *re.findall(r"^\d\d", label)]
        way = " › ".join(way) + f" · {takes[name]}" * bool(takes[name])
        context["body"] = f'<nav class="crumbs" aria-label="way">{way}</nav>{context["body"]}'


def setup(app):
    "What Sphinx calls"
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("doctree-read", read, priority=100)
    app.connect("html-page-context", crumbs)
    return dict(parallel_read_safe=True, parallel_write_safe=True)


def write_font():
    "STIX Two Math with what the formulas of all pages use: not every system has such a font"
    pages = [path.read_text(encoding="utf-8") for path in OUT.glob("*.html")]
    formulas = [m for text in pages for m in re.findall(r"(?s)<math.*?</math>", text)]
    font = TTFont(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    subset = Subsetter()
    subset.populate(text="".join({*"".join(formulas)}))
    subset.subset(font)
    font.flavor = "woff"
    font.save(OUT / "_static" / "math.woff")


def write_site():
    "All pages, by Sphinx"
    work, trees = ROOT / "_proc", []
    shutil.rmtree(work, ignore_errors=True)
    (work / "static").mkdir(parents=True)
    shutil.copy(NBS / "styles.css", work / "static")
    for part, pages in entries():
        lines = [f"{label} <{short(stem)}>" for stem, label in pages if stem != "index"]
        trees += ["```{toctree}", ":hidden:", f":caption: {part}", "", *lines, "```", ""]
    for chapter in chapters():
        nb = page(chapter)
        if chapter.path.stem == "index": nb["cells"][-1]["source"] += "\n\n" + "\n".join(trees)
        (work / f"{short(chapter.path.stem)}.ipynb").write_text(as_text(nb), encoding="utf-8")
    shutil.rmtree(OUT, ignore_errors=True)
    (work / "static" / "math.css").write_text(
        '@font-face { font-family: "STIX Two Math"; src: url(math.woff); font-display: swap }')
    (work / "conf.py").write_text("import build_docs; globals().update(build_docs.CONF)")
    app = Sphinx(work, work, work / "html", work / "doctrees", "html", parallel=2, status=None,
                 warningiserror=True, keep_going=True)       # pictures come to lie beside html
    app.build()
    if app.statuscode: sys.exit(app.statuscode)
    (work / "html").rename(OUT)
    write_font()
    print(f"{len(chapters())} pages in {OUT}")


def write_sidebar():
    "The order of the chapters, for Quarto"
    parts = [{"section": part, "contents": [{"href": f"{s}.ipynb", "text": t} for s, t in pages]}
             for part, pages in entries()]
    text = yaml.safe_dump({"website": {"sidebar": {"contents": parts}}}, sort_keys=False,
                          allow_unicode=True)
    (NBS / "sidebar.yml").write_text(text, encoding="utf-8")


def shown(cell):
    "A code cell and what it puts out, for README.md; a picture that moves stands still as a file"
    opts, source = options(cell["source"])
    if opts.get("echo") != "false": yield f"```python\n{source}\n```"
    for o in cell["outputs"]:
        data = {kind: "".join(value) for kind, value in o.get("data", {}).items()}
        page = data.get("text/html", "")
        if found := re.search('(?s)alt="(.*?)" src="data:image/webp;base64,(.*?)"', page):
            (NBS / "index.webp").write_bytes(base64.b64decode(found[2]))
            says = unescape(found[1]).split("\n")
            yield f"![{says[0]}]({NBS.name}/index.webp)\n\n> " + "  \n> ".join(says)
        else: yield data.get("text/markdown") or f"```\n{''.join(o.get('text', ''))}```"


def write_readme():
    "README.md is the index notebook, as text"
    title, description, cells = processed(NBS / "index.ipynb")
    texts = [[cell["source"]] if cell["cell_type"] == "markdown" else shown(cell) for cell in cells]
    text = "\n\n".join(t for parts in texts for t in parts)
    text = re.sub(r"\]\(((?!http)[\w./#-]+\.html)", rf"]({SITE}\1", text)
    text = re.sub(r"\]\(((?!http)[\w./-]+\.ipynb)", rf"]({NBS.name}/\1", text)
    note = "<!-- made from nbs/index.ipynb: edit that notebook -->"
    readme = f"{note}\n\n# {title}\n\n> {description}\n\n{text.strip()}\n"
    (ROOT / "README.md").write_text(readme, encoding="utf-8")


def main():
    warnings.simplefilter("ignore")
    logging.getLogger("fontTools").setLevel("WARNING")
    write_sidebar()
    _build_modidx()
    write_site()
    write_readme()


if __name__ == "__main__":
    sys.modules["build_docs"] = sys.modules["__main__"]           # Sphinx imports it by its name
    main()
