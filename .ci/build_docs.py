"""Builds the site into _docs from nbs/, with the outputs that are stored there: no cell runs.

nbdev processes the notebooks, Sphinx makes the pages, pandoc the formulas, as MathML: no page
needs a script to be read, nor another host. `nbdev_docs` makes the same pages, at the same
addresses, where Quarto is installed."""
import ast
import gc
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.modules["rfc3987_syntax"] = None    # jsonschema can do without it, and is imported in no time

import pypandoc
from docutils import nodes
from sphinx.application import Sphinx

from build_readme import CFG, NBS, ROOT, SITE, options, processed
from numpygpt.course import by_part
from numpygpt.reference import anchors, test_index, tests_of

OUT, WORK, BLOB = Path(CFG.doc_path), ROOT / "_proc", f"{CFG.git_url}/blob/{CFG.branch}"
CONF = dict(
    project="numpygpt", html_title="numpygpt", html_baseurl=SITE, html_theme="furo", language="en",
    extensions=["myst_nb", "sphinx_copybutton", __name__], nb_execution_mode="off",
    myst_enable_extensions=["dollarmath", "amsmath", "attrs_inline", "attrs_block"],
    myst_heading_anchors=4, myst_heading_slug_func="numpygpt.reference.slug",
    myst_url_schemes={"http": None, "https": None, "site": "{{path}}#{{fragment}}"},
    nb_render_markdown_format="myst", nb_merge_streams=True, html_math_renderer="mathml",
    html_static_path=[f"{NBS}/styles.css", f"{NBS}/math.woff"], html_css_files=["styles.css"],
    html_copy_source=False, html_show_sphinx=False, pygments_style="github-light-high-contrast",
    copybutton_selector=".cell_input pre, .highlight-sh pre",
    suppress_warnings=["config.cache", "mystnb.unknown_mime_type"])
PAGES = {re.sub(r"^\d\d_", "", c.path.stem): (p, c) for p, cs in by_part().items() for c in cs}
MATHML = {}                             # TeX between its dollars: MathML


def linked(text):
    "Markdown with the links and headings that Sphinx takes"
    text = re.sub(r"---\n+(\[source\]\(.*?\))?(\{.*\})?\n*(#+ .*)\n", r"\3\n\n\1{.source}\n", text)
    text = re.sub(rf"\]\((?:{re.escape(SITE)})?([\w.]+\.html[#)])", r"](site:\1", text)
    return re.sub(r"\]\((\d\d_)?([\w.]+\.ipynb)", r"](\2", text)


def exported(app, cell, chapter):
    "The line over code that the package has: its anchors, where it lies, what proves it"
    path = f"numpygpt/{chapter.module or '__init__'}.py"
    above, mark, _ = (ROOT / path).read_text(encoding="utf-8").partition(f"#{cell['id']}\n")
    if not mark: return ""
    names = [n.name for n in ast.parse(cell["source"]).body if hasattr(n, "name")]
    for name in names:
        app.env.domains.python_domain.note_object(f"numpygpt.{chapter.module}.{name}", (
            "class" if name[0].isupper() else "function"), name.lower())
    new = {name.lower(): 0 for name in names}.keys() - anchors()[chapter.path.name]
    proofs = [f'proved by <a href="{BLOB}/tests/{test.partition("::")[0]}">{test}</a>'
              for name in names for test in tests_of(f"{chapter.module}.{name}", 1)]
    links = [f'<a href="{BLOB}/{path}#L{above.count(chr(10)) + 2}">{path}</a>', *proofs[:1]]
    spans = "".join(f'<span id="{anchor}"></span>' for anchor in sorted(new))
    return f'<p class="exported">{spans}{" · ".join(links)}</p>'


def page(app, name, text):
    "A notebook as nbdev processes it, made what Sphinx takes"
    (part, chapter), cells = PAGES[name], []
    stored = {c["id"]: c.get("outputs") for c in chapter.nb["cells"]}
    add = lambda kind, **cell: cells.append({"cell_type": kind, "metadata": {}} | cell)
    for cell in processed(chapter.path):
        opts, source = options(cell["source"]) if cell["cell_type"] == "code" else ({}, "")
        fold = opts["code-summary"] if opts.get("code-fold") is True else ""
        hidden = opts.get("echo") is False
        # nbdev links the word `size` in a docstring to the first function of that name
        outputs = stored[cell["id"]] if "show_doc(" in source else cell.get("outputs", ())
        said = [o["data"] for o in outputs if "text/markdown" in o.get("data", {})]
        for data in said: data["text/markdown"] = linked("".join(data["text/markdown"]))
        if cell["cell_type"] == "markdown": add("markdown", source=linked(cell["source"]))
        elif hidden and said: add("markdown", source="\n\n".join(d["text/markdown"] for d in said))
        elif fold == "Imports" == cells[-1]["metadata"].get("fold"):
            cells[-1]["source"] += "\n" + source
        else:
            above = fold != "Imports" and exported(app, cell, chapter)
            if above: add("markdown", source=above)
            tag = "remove-input" if hidden else "hide-input" if fold else "shown"
            look = dict(image={"alt": opts.get("fig-alt", "")},
                        code_prompt_show=fold, code_prompt_hide=fold)
            add("code", source=source, outputs=outputs, execution_count=None, metadata=dict(
                tags=[*cell["metadata"].get("tags", ()), tag], mystnb=look, fold=fold))
    way = [part, *re.findall(r"^\d\d", chapter.path.stem), *chapter.takes.split("; ")[:1]]
    top = "\n\n{.crumbs}\n" + " · ".join(filter(None, way)) + "\n\n> "
    if name != "index": cells[0]["source"] = cells[0]["source"].replace("\n\n> ", top, 1)
    else: add("markdown", source="".join(map(tree, by_part())))
    text[0] = json.dumps(chapter.nb | dict(cells=cells, nbformat_minor=4))


def tree(part):
    "A part of the sidebar"
    entries = [f"{c.label} <{name}>" for name, (at, c) in PAGES.items() if at == part]
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {part}", "",
                      *(e for e in entries if "<index>" not in e), "```\n\n"])


def formula(node):
    "The TeX of a node, between its dollars"
    mark = "$" if isinstance(node, nodes.math) else "$$"
    return f"{mark}{node.astext().strip()}{mark}"


def collect(app, tree):
    "Notes down the formulas of a page"
    found = tree.findall(lambda node: isinstance(node, (nodes.math, nodes.math_block)))
    app.env.metadata[app.env.docname]["formulas"] = [*map(formula, found)]


def convert(app, env):
    "All formulas as MathML, by one call of pandoc"
    found = [*dict.fromkeys(f for page in env.metadata.values() for f in page.pop("formulas"))]
    made = subprocess.run([pypandoc.get_pandoc_path(), "-f", "markdown", "-t", "html", "--mathml"],
                          input="\n\n".join(found), capture_output=True, text=True, check=True)
    if made.stderr: raise ValueError(made.stderr)
    MATHML.update(zip(found, re.findall(r"(?s)<math.*?</math>", made.stdout), strict=True))


def visit_math(self, node):
    self.body.append(MATHML[formula(node)])
    raise nodes.SkipNode


def setup(app):
    "What Sphinx calls"
    app.config.pygments_dark_style = "github-dark-high-contrast"     # Furo's, which comes later
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    for event, act in (("source-read", page), ("doctree-read", collect), ("env-updated", convert)):
        app.connect(event, act)
    return dict(parallel_read_safe=True, parallel_write_safe=True)


if __name__ == "__main__":
    for path in (OUT, WORK): shutil.rmtree(path, ignore_errors=True)
    WORK.mkdir()
    for name, (_, chapter) in PAGES.items(): shutil.copy(chapter.path, WORK / f"{name}.ipynb")
    anchors(), test_index()             # once, for all processes
    gc.disable()                        # nothing here lives long
    app = Sphinx(WORK, None, WORK / "html", WORK / "doctrees", "html", CONF, status=None,
                 warningiserror=True, keep_going=True, parallel=2)
    app.build()
    if app.statuscode: sys.exit(app.statuscode)
    (WORK / "html").rename(OUT)         # pictures came to lie beside html
    print(f"{len(PAGES)} pages in {OUT}")
