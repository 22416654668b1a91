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
from functools import cache
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
from nbdev.processors import FilterDefaults, add_show_docs, exec_show_docs, insert_warning
from nbdev.showdoc import show_doc
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

from numpygpt.course import PARTS, as_text, chapters, fetches

CFG = get_config()
ROOT, NBS, OUT = Path(CFG.config_path), Path(CFG.nbs_path), Path(CFG.doc_path)
SITE, BLOB = f"{CFG.doc_host}{CFG.doc_baseurl}/", f"{CFG.git_url}/blob/{CFG.branch}"
CONF = dict(
    project="numpygpt", html_title="numpygpt", html_baseurl=SITE, html_theme="furo", language="en",
    extensions=["myst_nb", "sphinx_copybutton", "build_docs"], nb_execution_mode="off",
    myst_enable_extensions=["dollarmath", "amsmath", "attrs_inline", "attrs_block"],
    myst_heading_anchors=4, myst_heading_slug_func="build_docs.slug",
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


class Processing(FilterDefaults):
    "nbdev's, less what adds cells and what runs them"
    def base_procs(self):
        return [p for p in super().base_procs()
                if p not in (add_show_docs, exec_show_docs, insert_warning)]


def processed(path):
    "(title, description, cells) of a notebook, as nbdev has processed it"
    nb = read_nb(path)
    Processing()(nb)
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


@cache
def first_in_tests():
    "{word: [path#Lline, ...]}: where each file of tests has it first, those of gradients in front"
    found = {}
    paths = sorted((ROOT / "tests").rglob("test_*.py"), key=lambda p: p.stem != "test_certificates")
    for path in paths:
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        here = {w: at for at, line in reversed([*lines]) if "import" not in line
                for w in re.findall(r"\w+", line)}
        for word, at in here.items():
            found.setdefault(word, []).append(f"{path.relative_to(ROOT).as_posix()}#L{at}")
    return found


SYMBOLS = defaultdict(list)            # page: [(full name, kind, anchor)]


def exported(cell, page, module, documented):
    "The line over exported code: where it lies in the package, which test names it, its anchors"
    defined = [n for n in ast.parse(cell["source"]).body if hasattr(n, "name")]
    for n in defined:
        kind = "class" if isinstance(n, ast.ClassDef) else "function"
        SYMBOLS[page].append((f"{module}.{n.name}", kind, n.name.lower()))
        for m in (m for m in n.body if kind == "class" and isinstance(m, ast.FunctionDef)):
            name = f"{n.name}.{m.name}"
            anchor = name if name in documented else n.name
            SYMBOLS[page].append((f"{module}.{name}", "method", anchor.lower()))
    anchors = "".join(f'<span id="{n.name.lower()}"></span>' for n in defined
                      if n.name not in documented)
    code = (ROOT / "numpygpt" / f"{module}.py").read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(code, 2) if line.endswith(f"#{cell['id']}"))
    tests = [t for n in defined for t in first_in_tests().get(n.name, [])]
    tests.sort(key=lambda t: "certificates" not in t and module not in t)
    links = [f'<a href="{BLOB}/numpygpt/{module}.py#L{at}">numpygpt/{module}.py</a>',
             *(f'tested in <a href="{BLOB}/{t}">{Path(t).name.partition("#")[0]}</a>'
               for t in tests[:1])]
    return f'<p class="exported">{anchors}{" · ".join(links)}</p>'


def page(chapter):
    "A notebook as Sphinx takes it"
    title, description, found = processed(chapter.path)
    name, cells = short(chapter.path.stem), []
    names = vars(import_module(f"numpygpt.{chapter.module}")) if chapter.module else {}
    documented = re.findall(r"show_doc\(([\w.]+)\)", "\n".join(c["source"] for c in found))
    add = lambda kind, source, **more: cells.append(
        dict(cell_type=kind, id=f"{len(cells):08x}", source=source, metadata={}) | more)
    add("markdown", f"# {title}\n\n{{.lead}}\n{description}")
    for cell in found:
        if cell["cell_type"] == "markdown": add("markdown", linked(cell["source"]))
        if cell["cell_type"] != "code": continue
        opts, source = options(cell["source"])
        text = opts.get("echo") == "false" and said(cell, names)
        if text:
            add("markdown", linked(text))
            continue
        for o in cell["outputs"]:
            if "text/markdown" in o.get("data", {}):
                o["data"]["text/markdown"] = linked("".join(o["data"]["text/markdown"]))
        only, tags = fetches(source), list(cell["metadata"].get("tags", []))
        if only and cells[-1]["metadata"].get("fetches"):
            cells[-1]["source"] += "\n" + source
            continue
        if opts.get("code-summary") == "Exported source" and not only:
            add("markdown", exported(cell | {"source": source}, name, chapter.module, documented))
        fold = "Imports" if only else opts.get("code-fold") == "true" and opts["code-summary"]
        look = {"image": {"alt": opts.get("fig-alt", "")}, "merge_streams": True}
        if fold: look |= dict(code_prompt_show=fold, code_prompt_hide=fold)
        tags += ["hide-input"] * bool(fold) + ["remove-input"] * (opts.get("echo") == "false")
        add("code", source, outputs=cell["outputs"], execution_count=None,
            metadata=dict(tags=tags, mystnb=look, fetches=only))
    return dict(cells=cells, nbformat=4, nbformat_minor=5, metadata={"kernelspec": {
        "name": "python3", "display_name": "python3", "language": "python"}})


def slug(title):
    "The anchor that pandoc gives a heading, and so Quarto"
    return re.sub(r"^[^a-z]+", "", re.sub(r"[^\w\-. ]", "", title.lower()).replace(" ", "-"))


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
    for symbol, kind, anchor in SYMBOLS[name]:
        app.env.domains.python_domain.note_object(f"numpygpt.{symbol}", kind, anchor)


def visit_math(self, node):
    self.body.append(node["mathml"])
    raise nodes.SkipNode


def crumbs(app, name, template, context, tree):
    "The way to a page, and what it takes, over its title"
    at = {short(c.path.stem): c for c in chapters()}
    for part, pages in entries():
        if name != "index" and name in (found := {short(stem): label for stem, label in pages}):
            number = found[name][:2] if found[name][:2].isdigit() else ""
            way = [part, *filter(None, [number, at[name].takes.partition(";")[0]])]
            context["body"] = ('<nav class="crumbs" aria-label="breadcrumb"><a href="index.html">numpygpt</a> › '
                               f'{" › ".join(way[:2])}{"".join(f" · {w}" for w in way[2:])}</nav>{context["body"]}')


def setup(app):
    "What Sphinx calls"
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("doctree-read", read, priority=100)
    app.connect("html-page-context", crumbs)
    return dict(parallel_read_safe=True, parallel_write_safe=True)


def write_font():
    "STIX Two Math with what the formulas of all pages use: not every system has such a font"
    pages = (path.read_text(encoding="utf-8") for path in OUT.glob("*.html"))
    font = TTFont(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    subset = Subsetter()
    subset.populate(text="".join({*"".join(m for p in pages for m in re.findall(r"(?s)<math.*?</math>", p))}))
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
    app = Sphinx(work, work, OUT, work / "doctrees", "html", parallel=2, status=None,
                 warningiserror=True, keep_going=True)
    app.build()
    if app.statuscode: sys.exit(app.statuscode)
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
        if found := re.search('(?s)alt="(.*?)" src="data:image/webp;base64,(.*?)"', data.get("text/html", "")):
            (NBS / "index.webp").write_bytes(base64.b64decode(found[2]))
            yield f"![]({NBS.name}/index.webp)\n\n> " + unescape(found[1]).replace("\n", "  \n> ")
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
