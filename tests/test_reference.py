"""The reference is what the chapters, the modules and the tests say: nothing is missing, no link is
dead, and what the pages show is what their cells would show now"""
import contextlib
import importlib.util
import io
import re
import zlib
from pathlib import Path

import pytest

from numpygpt import reference as R
from numpygpt.course import chapters
from numpygpt.gradcheck import wrongs

AT = {c.path.stem: c for c in chapters()}
PAGES = "formulas", "glossary", "papers", "symptoms", "api", "speed", "questions", "changelog"
STALE = "run `make reference`: the page is older than what it shows"


def shown(stem): return "\n".join(R.texts(AT[stem]))


def ran(stem):
    "(the names, the text) that the code cells of a page leave"
    names, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        for _, source in AT[stem].cells(): exec(compile(source, stem, "exec"), names)
    return names, out.getvalue()


def test_each_backward_pass_has_a_formula_and_each_mark_a_backward_pass():
    marked = {name for d in R.derived() for name in d.names}
    assert not {*R.backwards()} - marked and marked <= R.public().keys()
    assert len(marked) >= 25 and all(d.formulas and d.place.heading for d in R.derived())


def test_no_mark_is_spelt_so_that_it_is_not_seen():
    text = "\n".join(text for c in chapters() if c.path.stem != "reference"
                     for kind, text, _ in R.pieces(c) if kind == "markdown")
    assert len(re.findall(r"<!-- ?backward", text)) == sum(len(d.formulas) for d in R.derived())


def test_the_page_of_formulas_shows_all_of_them():
    text = shown("formulas")
    for d in R.derived():
        assert f"### {', '.join(n.partition('.')[2] for n in d.names)}\n" in text, STALE
        assert all(tex in text for tex in d.formulas), STALE


@pytest.mark.parametrize("stem", AT)
def test_no_link_is_dead(stem):
    assert not R.dead(R.links(AT[stem]))


def test_a_dead_link_is_seen():
    assert not R.dead(["07_layernorm.ipynb#rmsnorm", "07_layernorm.ipynb"])
    bad = ["07_layernorm.ipynb#rms-norm", "7_layernorm.ipynb", "formulas.ipynb#"]
    assert R.dead(bad) == bad[:2]


def test_links_that_nbdev_makes_have_an_anchor_whoever_builds_the_site():
    "A heading, a class or a function: what nbdev gives an anchor, with Quarto and with Sphinx"
    root, seen = Path(__file__).resolve().parents[1], 0
    spec = importlib.util.spec_from_file_location("readme", root / ".ci" / "build_readme.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    page = lambda chapter: re.sub(r"^\d\d_", "", chapter.path.stem) + ".html"
    there = {page(c): R.anchors()[c.path.name] for c in R.course()}
    for c in (c for c in R.course() if c.module):
        code = (root / "numpygpt" / f"{c.module}.py").read_text(encoding="utf-8")
        names = re.findall(r"^(?:class|def) ([^\W_]\w*)", code, re.M)
        there[page(c)] = there[page(c)] | {name.lower() for name in names}
    for c in R.course():
        for cell in build.processed(c.path):
            data = [output.get("data", {}) for output in cell.get("outputs", ())]
            text = cell["source"] if cell["cell_type"] == "markdown" else "\n".join(
                "".join(d.get("text/markdown", "")) for d in data)
            links = re.findall(r"\]\((?:http[^)]*/)?(\w+\.html)#([^)\s]+)\)", text)
            assert all(anchor in there.get(name, [anchor]) for name, anchor in links), c.path.name
            seen += len(links)
    assert seen > 1000


@pytest.mark.parametrize("stem", ("formulas", "papers"))
def test_each_test_that_is_named_is_there(stem):
    known = {test for test, _ in R.test_index()}
    named = set(re.findall(r"`([\w/]+\.py::[^`]+)`", shown(stem)))
    assert len(named) >= 20 and named <= known, STALE


def test_what_stands_for_a_name_uses_it():
    assert R.tests_of("layernorm.RMSNorm")[0] == "test_certificates.py::test_layers[RMSNorm]"
    assert R.tests_of("transformer.GPT")[0] == "test_certificates.py::test_the_whole_gpt"
    assert R.tests_of("layernorm.NoSuchNorm") == []


def test_each_source_is_among_the_references_and_on_its_page():
    known, text = " ".join(entry for entry, _ in R.papers()), shown("papers")
    assert len(R.sources()) >= 25
    for paper, where, name in R.sources():
        assert all(who in known for who in re.findall(r"[A-Z]\w+", paper)), paper
        assert f"| {paper}, {where} | [`{name}`]" in text, STALE


@pytest.mark.parametrize("text, found", [
    ("As in Hu et al. 2021, equation 3.", ("Hu et al. 2021", "equation 3")),
    ("Zhang & Sennrich 2019, equation 4", ("Zhang & Sennrich 2019", "equation 4")),
    ("(Dao et al. 2022, appendix B.2)", ("Dao et al. 2022", "appendix B.2")),
    ("Shazeer 2020, section 2.", ("Shazeer 2020", "section 2")), ("section 2 of 2020", None)])
def test_a_source_is_read(text, found):
    assert R.SOURCE.findall(text) == [found] * bool(found)


def test_symptoms_have_causes_and_mistakes_that_are_kept():
    lines = [line.strip("| ").split(" | ") for line in shown("symptoms").splitlines()
             if re.match(r"\| (?!what one sees)", line)]
    assert len(lines) >= 20 and all("](" in line[2] for line in lines)
    named = re.findall(r"\| `(\w+)`: (.+?) \|$", shown("symptoms"), re.M)
    assert len(named) >= 25 and {*named} <= {(w.what.__name__, w.name) for w in wrongs()}


def test_ten_questions_are_answered_within_three_clicks():
    names, said = ran("questions")
    assert len(names["asked"]) == 10 and said.count(" clicks: ") == 10
    way = ["formulas.ipynb", "07_layernorm.ipynb#rmsnorm"]
    assert names["followed"](way) and not names["followed"](["speed.ipynb", way[1]])
    assert not names["says"](way[1], ["no such word anywhere"])


def test_words_are_found_where_they_are_said_to_be():
    text = shown("glossary")
    names, _ = ran("glossary")
    for word, stem, meaning in names["words"]:
        assert f"| {word} | {meaning} | {names['where'](word, AT[stem]).link} |" in text, STALE
    assert all(f"| ${letter}$ |" in text for letter in "BTCHKGDFV")
    assert text.count("ipynb#shapes") >= 100


def test_all_names_are_on_their_page():
    tables = re.split(r"^### numpygpt\.", shown("api"), flags=re.M)[1:]
    listed = {f"{table.split()[0]}.{name}" for table in tables
              for name in re.findall(r"^\| `(\w+)` \|", table, re.M)}
    assert listed == R.public().keys(), STALE


def test_errors_are_those_that_are_raised():
    assert R.errors(R.public()["transformer.check_ids"]) == ["ValueError"]
    assert R.errors(R.public()["losses.mse"]) == R.errors(3) == []


def test_other_projects_can_read_the_inventory():
    made = R.inventory("1.2", lambda chapter: f"{chapter.module}.html")
    head, body = made.split(b"zlib.\n", 1)
    assert head.startswith(b"# Sphinx inventory version 2\n# Project: numpygpt\n# Version: 1.2\n")
    lines = zlib.decompress(body).decode().splitlines()
    assert len(lines) == len(R.public())
    assert "numpygpt.layernorm.RMSNorm py:class 1 layernorm.html#api -" in lines
    assert all(re.fullmatch(r"numpygpt\.\w+\.\w+ py:(class|function|data) 1 \w+\.html#api -", line)
               for line in lines)


def test_the_speed_page_is_of_the_last_benchmark():
    assert ran("speed")[1] in "".join("".join(o.get("text", "")) for c in AT["speed"].nb["cells"]
                                      for o in c.get("outputs", ())), STALE
