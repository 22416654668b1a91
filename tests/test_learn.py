"Every exercise of every chapter: its stub, its solution, its mistakes, its small edits"
import ast
import importlib
import importlib.util
import itertools
import math
from collections import Counter
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from numpygpt import learn
from numpygpt.answers import (agree, differing, facts, of_reference, parameters, right, route,
                              versions)
from numpygpt.backend import xp
from numpygpt.box import boxed
from numpygpt.course import PARTS, Chapter, folder
from numpygpt.diagnosis import explain, judge, wrong_facts
from numpygpt.edits import Late, edits, within
from numpygpt.gradcheck import Wrong
from numpygpt.layernorm import LayerNorm
from numpygpt.learn import (Exercise, check, exercise, exercises, hint, predict, question,
                            solution)
from numpygpt.progress import asked

EXERCISES = exercises()
each = pytest.mark.parametrize("ex", EXERCISES, ids=lambda ex: f"{ex.chapter}-{ex.name}")
ANSWERS = Path(__file__).parent / "answers"


def again(function):
    "A function of the same code under another name"
    names = dict(function.__globals__)
    copy = FunctionType(function.__code__, names, "mine", function.__defaults__,
                        function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    names[function.__name__] = copy
    return copy


def offered(ex):
    "The reference as somebody's answer"
    if route(ex) == "value": return ex.reference()
    if ex.see and ex.cases is None and not isinstance(ex.reference, type) \
            and not parameters(ex.reference): return ex.reference()
    if not isinstance(ex.reference, type): return again(versions(ex)[-1])
    own = {n: again(f) for n, f in vars(ex.reference).items() if isinstance(f, FunctionType)}
    return type("Mine", (ex.reference,), own)


def is_wrong(ex, found, seed=0):
    "Would this version be refused?"
    needed = right(ex, seed)
    return any("error" in f or "stub" in f or differing(ex, f, r) for f, r in zip(found, needed))


@each
def test_its_stub_is_not_attempted(ex):
    assert ex.stub, "there is no cell that makes the answer of its check"
    chapter = Chapter(folder() / f"{ex.chapter}.ipynb")
    names = {"np": np, "xp": xp, "math": math}
    if chapter.module: names |= vars(importlib.import_module(f"numpygpt.{chapter.module}"))
    exec(ex.stub, names)
    made = [n for n in ast.parse(ex.stub).body if not isinstance(n, ast.Expr)][-1]
    name = made.targets[0].id if isinstance(made, ast.Assign) else made.name
    verdict, _ = judge(ex, names[name])
    assert verdict.ok is None and "\n" not in verdict.text


@each
def test_its_solution_passes_under_another_name(ex):
    verdict, _ = judge(ex, offered(ex))
    assert verdict.ok is True, verdict.text


@each
def test_each_of_its_mistakes_is_named(ex):
    needed = right(ex)
    for w in ex.mistakes:
        try: found = wrong_facts(ex, w)
        except TypeError: continue                        # of another kind: called otherwise
        if all("error" in f and "argument" in f["error"] for f in found): continue
        verdict = explain(ex, found, needed)
        assert is_wrong(ex, found), w.name
        assert verdict.how == "named" and verdict.mistake == w.name, verdict.text


def missed(ex):
    "Of the likeliest twenty edits those that nobody would notice, though they change a number"
    found = []
    for words, version in itertools.islice(edits(ex.reference), 20):
        try:
            with within(1.0): both = [facts(ex, of_reference(ex, version), seed) for seed in (0, 1)]
        except (Late, Exception): continue                # it fails, and whoever sees it refuses it
        if not is_wrong(ex, both[0]) and is_wrong(ex, both[1], 1): found.append(words)
    return found


@each
def test_its_small_edits_are_refused(ex):
    "Each is refused, or is the same function on other numbers as well; in the box, with a limit"
    outcome, found, _ = boxed(lambda: missed(ex), 300.0)
    assert (outcome, found) == ("value", [])


@each
def test_it_is_complete(ex):
    assert ex.minutes > 0 and all(h.strip() for h in ex.hints) and len(set(ex.hints)) == 4
    assert len(ex.mistakes) >= 1 and "def " in repr(solution(ex.name, really=True))
    for _, terms in ex.terms.values():
        assert all(t.coefficient or t.thought for t in terms)
    if ex.kind == "A": assert len(ex.cases(np.random.default_rng(0))) >= 2


def test_names_are_unique():
    names = [ex.name for ex in EXERCISES]
    assert len(set(names)) == len(names) >= 110
    mistakes = [(ex.name, w.name) for ex in EXERCISES for w in ex.mistakes]
    assert len(set(mistakes)) == len(mistakes) >= 250


def test_there_are_five_in_each_chapter_from_backend_to_training():
    counts = Counter(ex.chapter for ex in EXERCISES)
    stems = [s for part in ("Ground", "Layers", "Learning", "The model") for s in PARTS[part]]
    core = [s for s in stems if s[:2].isdigit() and s[:2] not in ("14", "15", "18", "19")]
    assert len(core) == 16 and not [s for s in core if counts[s] < 5]


def test_untouched_nothing_is_solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMPYGPT_PROGRESS", str(tmp_path / "progress.json"))
    assert learn.progress().solved == (0, len(EXERCISES))


@pytest.mark.parametrize("stem", sorted({ex.chapter for ex in EXERCISES}))
def test_a_chapter_that_has_exercises_asks_more(stem):
    "Two predictions, five recall questions, three slower explanations"
    chapter = Chapter(folder() / f"{stem}.ipynb")
    _, predictions, cards = asked(chapter)
    cells = [c for c in chapter.nb["cells"] if c["cell_type"] == "markdown"]
    text = "".join("".join(c["source"]) for c in cells)
    found = len(predictions), len(cards), text.count("<summary>Stuck?")
    assert all(n >= m for n, m in zip(found, (2, 5, 3))), found


def stored(kind):
    "(file, name of the answer, name of its exercise, function) of the stored answers of a kind"
    for path in sorted(ANSWERS.glob(f"{kind}_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, thing in vars(module).items():
            key, _, rest = name.partition("__")
            if rest and key in module.ANSWERS: yield path.stem, name, module.ANSWERS[key], thing


def answers(kind):
    "The stored answers of a kind, as people write them, each with its exercise"
    found = {ex.name: ex for ex in EXERCISES}
    return [pytest.param(found[ex], thing, id=f"{stem}-{name}")
            for stem, name, ex, thing in stored(kind) if ex in found]


def test_every_stored_answer_has_its_exercise():
    names = {ex.name for ex in EXERCISES}
    for kind in ("right", "wrong"):
        assert not {(stem, ex) for stem, _, ex, _ in stored(kind) if ex not in names}


def test_a_derivation_has_three_right_answers_written_otherwise():
    written = Counter(ex for _, _, ex, _ in stored("right"))
    assert not [ex.name for ex in EXERCISES if ex.kind == "A" and written[ex.name] < 3]


@pytest.mark.parametrize("ex, answer", answers("right"))
def test_right_answers_written_otherwise_pass(ex, answer):
    verdict, _ = judge(ex, answer)
    assert verdict.ok is True, verdict.text


@pytest.mark.parametrize("ex, answer", answers("wrong"))
def test_wrong_answers_are_refused(ex, answer):
    found = facts(ex, answer)
    assert is_wrong(ex, found)


@pytest.fixture
def made():
    "Exercises of this test alone"
    before = learn.OWN[:]
    yield lambda f, **k: exercise(f, **dict(minutes=1, cases=None, hints=tuple("abcd")) | k)
    learn.OWN[:] = before


def double(x): return 2 * x

def numbers(r): return [(r.normal(size=3),), (r.normal(size=(2, 5)),)]


def test_a_name_that_does_not_exist_is_met_with_one_that_does():
    with pytest.raises(ValueError, match="did you mean 'LayerNorm.backward'"):
        check("LayerNorm.bakward", None)


def test_hints_come_one_after_the_other(made):
    made(double, name="hinted", cases=numbers)
    learn._hinted.pop("hinted", None)
    assert [repr(hint("hinted")) for _ in range(5)] == [
        f"Hint {n} of 4: {h}" for n, h in ((1, "a"), (2, "b"), (3, "c"), (4, "d"), (4, "d"))]
    with pytest.raises(ValueError, match="1, 2, 3 and 4"): hint("hinted", 5)
    check("hinted", lambda x: 3 * x)
    assert "result differs first at (0,)" in repr(hint("hinted", 2))
    assert "differs" not in repr(hint("hinted", 1))       # a question, not the place
    assert repr(hint("hinted")).startswith("Hint 4")      # a hint once seen stays seen


def test_a_solution_is_shown_after_an_attempt(made):
    made(double, name="tried", cases=numbers)
    assert "def double" not in repr(solution("tried"))
    assert "def double" in repr(solution("tried", really=True))
    assert check("tried", None).ok is None and "def double" not in repr(solution("tried"))
    check("tried", lambda x: x)
    assert "def double" in repr(solution("tried"))


def test_a_prediction_is_answered_once_it_is_made(made):
    question("99.1", right="b", because={"a": "the first thought", "b": "the second"})
    assert "thought" not in repr(predict("99.1", ...))
    assert repr(predict("99.1", "a")).endswith("the first thought\n(b) is: the second")
    assert "is right" in repr(predict("99.1", "b"))
    with pytest.raises(ValueError, match='choose one of "a", "b"'): predict("99.1", "z")
    with pytest.raises(ValueError, match="none of the choices"):
        question("99.2", right="c", because={"a": "x"})


def test_a_declaration_must_be_complete(made):
    with pytest.raises(ValueError, match="needs four hints"): made(double, hints=("a",))
    with pytest.raises(ValueError, match="kind A or B"): made(double, kind="C")


def test_cases_are_tuples(made):
    with pytest.raises(ValueError, match="each case is a tuple of arguments.*is a list"):
        made(double, name="listed", cases=lambda r: [(1,), [2]])
    for ex in EXERCISES:
        if ex.cases: assert all(type(case) is tuple for case in ex.cases(np.random.default_rng(0)))


def test_scalars_of_numpy_do_not_widen_an_answer(made):
    "np.int64(3) times float32 is float64, which is no fault of the answer's"
    made(lambda x, n: x * n, name="times", cases=lambda r: [
        (r.normal(size=3), np.int64(3)), (r.normal(size=4), [np.float64(2)][0])])
    verdict = check("times", lambda x, n: n * x)
    assert verdict.ok and "float32 stays float32" in verdict.text
    assert "result is float64" in check("times", lambda x, n: np.float64(n) * x).text


def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)

mine = FunctionType(fib.__code__, globals(), "fib")       # a reader's, whose `fib` is the reference

def fib_of_mine(n): return n if n < 2 else fib_of_mine(n - 1) + fib_of_mine(n - 2)


def test_who_calls_himself_hands_nothing_in(made):
    made(fib, name="fib", cases=lambda r: [(n,) for n in range(9)])
    assert check("fib", mine).ok and check("fib", fib_of_mine).ok
    for handed in (fib, lambda n: fib(n), lambda n: fib_of_mine(n) if n < 5 else fib(n)):
        verdict = check("fib", handed)
        assert verdict.ok is False and "the library's own version" in verdict.text
    assert fib(7) == 13                                   # it refuses in the box alone


@pytest.mark.parametrize("name, function", [
    ("turn_pairs", "rotate"), ("merge", "merge"), ("train_merges", "train_merges")])
def test_the_library_is_not_an_answer(name, function):
    ex = next(ex for ex in EXERCISES if ex.name == name)
    library = ex.reference.__globals__[function]
    for handed in (library, lambda *args: library(*args)):
        assert "the library's own version" in judge(ex, handed)[0].text
    if name == "turn_pairs": assert judge(next(e for e in EXERCISES if e.name == "turn_back"),
                                          lambda dy, c, s: library(dy, c, -s))[0].ok


def test_a_dict_is_its_entries(made):
    made(lambda x: {"a": x, "b": {"c": 2 * x, "d": 1}}, name="entries", cases=numbers)
    assert check("entries", lambda x: {"b": {"d": 1, "c": x + x}, "a": x}).ok
    assert not check("entries", lambda x: {"a": x}).ok
    found = check("entries", lambda x: {"a": x, "b": {"c": 3 * x, "d": 1}})
    assert found.where["tensor"] == "result['b']['c']"


def turned(x, s): return s * x

def turned_bwd(dy, s): return s * dy


def test_wrong_versions_go_to_the_pass_whose_arguments_they_take():
    recorded = [Wrong(turned, "forward", "", lambda x, s: x, "function"),
                Wrong(turned, "handed on", "", lambda dy, s: dy, "backward"),
                Wrong(turned_bwd, "its own", "", lambda d, s: d, "function"),
                Wrong(turned, "as a loss", "", lambda x, s: 2 * x, "backward")]
    named = lambda f: [w.name for w in Exercise("t", f, 1, numbers, ("a",) * 4,
                                                recorded=recorded).mistakes]
    assert named(turned) == ["forward", "as a loss"]
    assert named(turned_bwd) == ["handed on", "its own"]


def test_what_the_chapters_know_is_left_as_it_is(made):
    made(double, name="LayerNorm.backward", cases=numbers)
    assert learn._find("LayerNorm.backward", learn.Exercise).reference is LayerNorm.backward


def test_a_verdict_is_a_table_and_a_text(made):
    made(double, name="shown", cases=numbers)
    verdict = check("shown", lambda x: x < 0)
    page = verdict._repr_html_()
    assert page.count("<caption") == 1 and '<th scope="row"' in page and "not right yet" in page
    assert "<b>" not in check("shown", lambda x: "<b>")._repr_html_().replace("<body", "")
    assert repr(verdict) == verdict.text and not verdict and check("shown", double_too)


def double_too(x): return x + x


def test_chapters_are_read_in_the_order_of_the_course():
    stems = [stem for part in PARTS.values() for stem in part]
    at = [stems.index(ex.chapter) for ex in EXERCISES]
    assert at == sorted(at)
    assert agree(np.array(at), np.array(sorted(at)), 0)
