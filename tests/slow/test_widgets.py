"""What moves in the chapters, each live in JupyterLab, and stored where it is not trusted

A chapter takes up to ninety seconds, its widget a few cells of it. So one notebook is made of all
widgets: for each, the cells that it needs, run in names of their own, with the output that the
chapter has stored."""
import ast
import builtins
import json
import re
import symtable
import time

import nbformat
import pytest

pytest.importorskip("playwright", reason="no Playwright: widgets were not tried in a browser")
from test_browser import ROOT, browser, lab, run_all, shot  # noqa: F401  two are fixtures

BEGIN = '''
import json, warnings
from pathlib import Path
from IPython.display import display
import matplotlib.pyplot as plt
from numpygpt.explore import Placed, Typed, panel, point_at, watch
plt.switch_backend("agg")
warnings.simplefilter("ignore")

def visits(shown):
    "What is to be seen: [name, what a hand does, what the plain function then gives]"
    choice, found, frames = dict(shown.choice), [], {}
    def see(name, act, value):
        choice[name] = value
        key = str(choice)
        if key not in frames: frames[key] = shown.frame(**choice)
        found.append([name, act, *frames[key]])
    for name, options in shown.values.items():
        see(name, "looks", options[len(options) // 2])
        if isinstance(options, Typed):
            for text in (options[0], "to be"): see(name, "types " + text, text)
            continue
        for act, value in ("Home", options[0]), ("End", options[-1]), ("clicks", options[0]):
            see(name, act, value)
        if isinstance(options, Placed):
            width, height = shown.axes.figure.bbox.size
            see(name, "points", point_at(shown.axes, 200 / width, 90 / height))
    return found

def live(i):
    "The widget that the last of its cells ends with"
    names = {"__name__": "__main__"}
    for j, cell in enumerate(json.loads(Path(f"cells_{i}.json").read_text())):
        exec(compile(cell, f"{i}.{j}", "exec"), names)
    display(panel(names["shown_here"]))
    Path(f"visits_{i}.json").write_text(json.dumps(visits(names["shown_here"])))

def steps():
    for i in range(3):
        figure, ax = plt.subplots(figsize=(4, 1))
        ax.plot([0, i])
        yield figure, f"This is step {i} of a run."
'''


def in_module(statement):
    "Names that a statement binds or changes in the module, and those that it needs there"
    binds, needs = set(), set()
    tables = [symtable.symtable(ast.unparse(statement), "", "exec")]
    for table in tables:                           # grows
        tables += table.get_children()
        top = table.get_type() == "module"
        for s in table.get_symbols():
            if top and (s.is_assigned() or s.is_imported()): binds.add(s.get_name())
            if s.is_referenced() and (top or s.is_global()): needs.add(s.get_name())
    for node in ast.walk(statement):
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            while isinstance(node, (ast.Subscript, ast.Attribute)): node = node.value
            if isinstance(node, ast.Name): binds.add(node.id), needs.add(node.id)
    return binds, needs if isinstance(statement, (ast.Assign, ast.AugAssign)) else needs - binds


def in_cell(source):
    "The same of a cell"
    binds, needs = set(), set()
    for statement in ast.parse(source).body:
        new, used = in_module(statement)
        needs |= used - binds
        binds |= new
    return binds, needs - {*dir(builtins)}


def needed(sources, last):
    """Those of the cells that the one at `last` needs, in order: for a name the last cell before
    that binds it, or else the first one behind, since a function may call what comes later"""
    names = [in_cell(source) for source in sources[:last + 1]]
    todo = [i for i, source in enumerate(sources) if source.startswith("plt.style.use")] + [last]
    for i in todo:                                 # grows
        for name in names[i][1]:
            at = [j for j, (binds, _) in enumerate(names) if name in binds and j != i]
            best = [j for j in at if j < i][-1:] or at[:1]
            todo += [j for j in best if j not in todo]
    return [sources[i] for i in sorted(todo)]


def widgets():
    "(chapter, cells that make it, what is stored of it) of every widget"
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        sources = [c.source for c in cells]
        for i, cell in enumerate(cells):
            html = [o for o in cell.outputs if "figure class=\"explore\"" in
                    o.get("data", {}).get("text/html", "")]
            tree = ast.parse(cell.source)
            last = tree.body[-1] if tree.body else None
            if not (html and isinstance(last, ast.Expr)
                    and getattr(getattr(last.value, "func", 0), "id", "") == "explore"): continue
            tree.body[-1] = ast.Assign([ast.Name("shown_here", ast.Store())], last.value, lineno=0)
            before = needed(sources, i)[:-1]
            yield path.stem, [*before, ast.unparse(tree)], html


def holds(figure, says, src=None):
    "Waits until a picture and its text are these"
    shown, end = None, time.time() + 30
    while time.time() < end:
        shown = figure.evaluate("""f => { const i = f.querySelector("img")
            return [f.querySelector("figcaption").textContent, i.alt, i.src, i.naturalWidth] }""")
        if shown[:2] == [says, says] and src in (None, shown[2]) and shown[3] > 300: return
        time.sleep(0.05)
    raise AssertionError(f"{says!r} was to be seen, with its picture, and not {shown[:2]}")


def move(page, panel, name, act):
    "Does with a control what `visits` foresees"
    control = panel.locator(".widget-inline-hbox").filter(
        has=page.locator(f'label:text-is("{name}")')).first
    if act.startswith("types "):
        field = control.locator("input")
        field.fill(act[6:])
        field.press("Enter")
    elif act in ("Home", "End"): control.locator(".noUi-handle").press(act)
    elif act == "clicks":
        place = control.locator(".noUi-base").bounding_box()
        page.mouse.click(place["x"] + 1, place["y"] + place["height"] / 2)
    elif act == "points": panel.locator("img").click(position={"x": 200, "y": 90})


def test_every_widget_stands_still_untrusted_and_moves_live(browser, lab):
    "By key and by mouse; each settled picture is that of the plain function, byte for byte"
    found = list(widgets())
    made = [nbformat.v4.new_code_cell(BEGIN)]
    for i, (_, cells, html) in enumerate(found):
        (lab / "nbs" / f"cells_{i}.json").write_text(json.dumps(cells))
        made.append(nbformat.v4.new_code_cell(f"live({i})", outputs=html, execution_count=1))
    made.append(nbformat.v4.new_code_cell("watch(steps())"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    whole = nbformat.v4.new_notebook(cells=made, metadata=kernel)
    nbformat.write(whole, lab / "nbs" / "widgets.ipynb")
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.goto(f"{lab}/lab/tree/widgets.ipynb?token=t&reset")
    status = page.locator("#jp-main-statusbar")
    status.get_by_text("| Idle").wait_for(timeout=90_000)
    figures = page.locator("figure.explore")
    assert figures.count() == len(found) >= 18
    for i, (stem, _, html) in enumerate(found):
        says = figures.nth(i).locator("figcaption").text_content()
        assert len(says) > 20
        holds(figures.nth(i), says)
        assert not figures.nth(i).locator("input, button, script").count(), stem
    run_all(page, status)
    panels = page.locator(".jp-OutputArea-output > .widget-vbox")
    assert panels.count() == len(found)
    seen = 0
    for i, (stem, *_) in enumerate(found):
        panel = panels.nth(i)
        panel.scroll_into_view_if_needed()
        visits = json.loads((lab / "nbs" / f"visits_{i}.json").read_text())
        for name, act, src, says in visits:
            move(page, panel, name, act)
            try: holds(panel.locator("figure"), says, src)
            except AssertionError as e: raise AssertionError(f"{stem}, {name}, {act}: {e}") from e
            shot(page, f"live_{i}_{stem}_{name}_{act}")
            seen += 1
    holds(page.locator("figure.explore").last, "This is step 2 of a run.")
    assert not page.get_by_text("This is step 1 of a run.").count(), "it takes no place of its own"
    assert not errors
    print(f"{len(found)} widgets, {seen} pictures, by key and by mouse as by the plain function")
    page.close()


def test_a_click_on_a_page_takes_the_nearest_point(browser):
    html, = next(html for stem, _, html in widgets() if stem == "10_optimizers")
    html = html["data"]["text/html"]
    page = browser.new_page()
    page.set_content(html)
    figure, data = page.locator("figure"), html.partition("const [image, says]")[2]
    points = json.loads(re.search(r'"options": \[.*?\], (\[.*?\])\]', data)[1])
    spots = json.loads(re.search(r'"spots": (\[\[.*?\]\])', data)[1])
    size = figure.locator("img").evaluate("i => [i.width, i.height]")
    assert len(points) == len(spots) > 3 and figure.locator("input").count() == 2
    for point, spot in [*zip(points, spots)] * 2:
        x, y = (part * length for part, length in zip(spot, size))
        figure.locator("img").click(position={"x": x + 4, "y": y + 3})
        assert f"the circle at {point}: " in figure.locator("figcaption").inner_text()
        assert figure.locator("input").nth(1).get_attribute("aria-valuetext") == point
    page.close()
