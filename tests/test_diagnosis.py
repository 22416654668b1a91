"What a verdict is made of: names, terms, changes, places; what is told, and what is not"
import re
from functools import partial
from types import FunctionType

import numpy as np
import pytest

from numpygpt import answers, diagnosis
from numpygpt.answers import agree, differing, facts, flat, leaf, right, unchanged
from numpygpt.box import boxed
from numpygpt.diagnosis import explain, first, judge, telling
from numpygpt.gradcheck import Wrong
from numpygpt.layernorm import RMSNorm
from numpygpt.learn import Exercise, Term, exercises
from numpygpt.linear import Linear
from numpygpt.module import rows
from numpygpt.terms import by_terms, factor, fewest

rng = np.random.default_rng(0)
KNOWN = {ex.name: ex for ex in exercises()}


@pytest.fixture(autouse=True)
def patience(monkeypatch): monkeypatch.setattr(diagnosis, "CLOCK", 60.0)


def made(f, cases, recorded=(), **options):
    return Exercise(getattr(f, "__name__", "f"), f, 1, cases, ("a",) * 4, recorded=list(recorded),
                    **options)


def verdict(ex, answer): return explain(ex, facts(ex, answer), right(ex))


def share(x, least=0.0):
    s = x.sum(-1, keepdims=True)
    return np.maximum(x / s, least)

def shares(r): return [(r.uniform(1, 2, s), least) for s, least in
                       (((3,), 0.0), ((2, 5), 0.0), ((4, 3), 0.0), ((6,), 0.9))]


SHARE = made(share, shares)


def test_a_wrong_shape_is_said_and_what_was_changed():
    found = verdict(SHARE, lambda x, least: share(x, least)[..., :-1])
    assert "should have shape (3,), and has (2,)" in found.text
    total = verdict(SHARE, lambda x, least: np.maximum(x.sum(-1, keepdims=True), least))
    assert total.how == "edit" and total.text.endswith("and has (1,). something else is returned.")


def test_what_is_not_finite_is_said_and_what_was_changed():
    def logs(x): return np.log(np.maximum(x, 1e-3))
    ex = made(logs, lambda r: [(r.normal(size=9),), (r.normal(size=(2, 6)),)])
    found = verdict(ex, lambda x: np.log(x))
    assert found.how == "edit" and "`maximum` is missing" in found.text
    assert "is nan" in found.text and "should be finite" in found.text


def test_an_error_is_said_and_no_change_is_looked_for(monkeypatch):
    monkeypatch.setattr(diagnosis, "by_edit", None)
    found = verdict(SHARE, lambda x, least: x.reshape(1, 2, 3, 4))
    assert found.how == "error" and "cannot reshape" in found.text and "an array (3,)" in found.text


def test_most_cases_are_told_and_the_place_of_the_others():
    "No floor in the last case, and the mean in all: two mistakes that meet in one case"
    def mine(x, least): return 2 * x / x.sum(-1, keepdims=True) if least == 0 else x + 17
    recorded = [Wrong(share, "twice", "both halves count", lambda x, least: 2 * share(x, least),
                      "function")]
    found = verdict(made(share, shares, recorded), mine)
    assert (found.how, found.mistake) == ("named", "twice") and "in 3 of 4 cases" in found.text
    assert "Else: result differs first at (0,), in 6 of 6 places" in found.text


def test_a_change_that_gives_most_cases():
    def mine(x, least): return x / x.sum(keepdims=True) if least == 0 else x + 17
    found = verdict(SHARE, mine)                           # right where there is one row
    assert found.how == "edit" and "in 2 of 3 cases" in found.text and "axis" in found.text


def test_what_spoils_a_right_case_is_no_explanation():
    def mine(x, least): return 2 * x / x.sum(-1, keepdims=True) if least == 0 else share(x, least)
    recorded = [Wrong(share, "twice", "both halves count", lambda x, least: 2 * share(x, 0),
                      "function")]
    assert verdict(made(share, shares, recorded), mine).mistake is None


def test_numbers_must_hold_enough():
    tell = lambda *values: telling([{"a": leaf(v)} for v in values], ["a"])
    assert tell(np.array([0.5])) and tell(1, 2, 3) and tell("a", "b", "c")
    assert tell(np.ones(12, bool))
    assert not tell(True, False, True) and not tell(1.0, 0.0) and not tell(1, 2) and not tell("a")
    assert not telling([{"a": leaf(0.5)}], ["b"]) and not tell(np.full(99, np.nan), np.inf)


def test_truth_values_are_not_explained_by_luck():
    def even(n): return n % 2 == 0
    found = verdict(made(even, lambda r: [(n,) for n in range(4)]), lambda n: n in (1, 3))
    assert found.how == "differs" and found.where["tensor"] == "result"


def two_parts(x): return x.sum(-1), x.mean(-1) * 3

TWO = made(two_parts, lambda r: [(r.normal(size=(2, 5)),), (r.normal(size=(7, 3)),)])


def test_each_tensor_is_explained_by_itself():
    found = verdict(TWO, lambda x: (-x.sum(-1), x.sum(-1) * 3))
    assert found.ok is False and found.how in ("terms", "edit")
    mixed = verdict(TWO, lambda x: (np.sin(x.sum(-1)), x.sum(-1) * 3))
    assert mixed.how == "differs" and "result[1]" in mixed.text and mixed.where["index"] == (0,)
    assert verdict(TWO, lambda x: (x.sum(-1), np.sin(x.mean(-1)))).text.endswith(
        "Right already: result[0].")


def test_a_hint_of_the_place_is_the_first_that_differs():
    where, says = first(SHARE, facts(SHARE, lambda x, least: share(x, least) + (x.ndim == 2)),
                        right(SHARE))
    assert where["index"] == (0, 0) and where["inputs"].startswith("an array (2, 5)")
    assert "in 10 of 10 places" in says and where["yours"] == pytest.approx(where["right"] + 1)


def test_a_value_that_is_asked_for_is_not_given_away():
    found = judge(KNOWN["count_norms"], 123456)[0]
    assert found.how == "differs" and str(KNOWN["count_norms"].reference()) not in found.text


def test_the_same_where_nothing_can_be_forked(monkeypatch):
    "In a fresh interpreter, as on a Mac: answer, solution and cases are sent"
    monkeypatch.setattr(diagnosis, "boxed", partial(boxed, method="fresh"))
    def mine(x, least): return np.maximum(x / x.mean(-1, keepdims=True), least)
    found, printed = judge(SHARE, mine, 100.0)
    assert found.how == "edit", found.text
    assert "`mean` stands where `sum` belongs" in found.text and not printed


def test_the_reference_refuses_for_a_while():
    "Where there is no other process the answer is looked at in this one"
    handed = answers.offered(SHARE, lambda x, least: share(x, least))
    assert handed["handed"] and share(np.ones(4)).tolist() == [0.25] * 4
    own = answers.offered(SHARE, lambda x, least: np.maximum(x / x.sum(-1, keepdims=True), least))
    assert not own["handed"] and not differing(SHARE, own["facts"][1], right(SHARE)[1])


def test_right_in_single_precision_only():
    def narrow(x, least):
        x = x.astype("f4")
        return np.maximum(x / x.sum(-1, keepdims=True), least)
    assert "right to single precision only" in judge(SHARE, narrow)[0].text
    assert judge(SHARE, lambda x, least: narrow(x, least) + 1e-3)[0].text.count("single") == 0


@pytest.mark.parametrize("c, said", [
    ([2, 2, 2], "2"), ([-1, -1, -1], "-1"), ([0, 0, 0], "0"), ([1 / 3] * 3, "1/3"),
    ([-2.5] * 3, "-5/2"),
    ([5, 7, 3], "C"), ([1 / 5, 1 / 7, 1 / 3], "1/C"), ([-5, -7, -3], "-C"), ([25, 49, 9], "C^2"),
    ([5 / 4, 7 / 6, 3 / 2], "C/(C - 1)"), ([4 / 5, 6 / 7, 2 / 3], "(C - 1)/C"),
    ([5**0.5, 7**0.5, 3**0.5], "sqrt(C)"), ([6, 10, 4], "N"), ([1, 2, 7], None), ([], None),
    ([0.1234567] * 3, "0.123457"), ([7.0] * 3, "7")])
def test_factors(c, said):
    assert factor(c, {"C": [5, 7, 3], "N": [6, 10, 4]}) == said


def test_the_fewest_terms():
    A = rng.normal(size=(30, 4))
    M = np.column_stack([A, A[:, 0] + A[:, 1], 0 * A[:, 0]])      # they depend on each other
    assert np.flatnonzero(fewest(M, 2 * M[:, 4] - M[:, 2])).tolist() == [2, 4]
    assert fewest(A, A @ [1, 0, -2, 0]) == pytest.approx([1, 0, -2, 0])
    assert fewest(M, rng.normal(size=30)) is None
    five = rng.normal(size=(30, 6))
    dependent = np.column_stack([five, five.sum(1)])
    assert fewest(dependent, five[:, :5] @ [1, 2, 4, 8, 16]) is None   # five are no thought
    assert fewest(dependent, five[:, :4] @ [1, 2, 4, 8]) == pytest.approx([1, 2, 4, 8, 0, 0, 0])


LAYER = KNOWN["LayerNorm.backward"]

def norm_bwd(dg=lambda dy, n, y: dy * n, db=lambda dy, n, y: dy):
    def backward(self, dy):
        n, r = self.saved()
        y = self.g * n + self.b
        self.dg += rows(dg(dy, n, y)).sum(0)
        self.db += rows(db(dy, n, y)).sum(0)
        dn = dy * self.g
        return r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))
    return backward


@pytest.mark.parametrize("tensor, answer, says", [
    ("dg", norm_bwd(dg=lambda dy, n, y: dy * y), "dg is the sum over all rows of dy * y"),
    ("db", norm_bwd(db=lambda dy, n, y: y), "db is the sum over all rows of y"),
    ("dg", norm_bwd(dg=lambda dy, n, y: 2 * dy * n), "dg is 2 times"),
    ("dg", norm_bwd(dg=lambda dy, n, y: -dy * n), "dg has the wrong sign"),
    ("db", norm_bwd(db=lambda dy, n, y: 0 * dy), "db is zero everywhere"),
    ("db", norm_bwd(db=lambda dy, n, y: dy / len(rows(dy))), "N times what it should be: a mean"),
    ("dg", norm_bwd(dg=lambda dy, n, y: np.sin(dy)), None)])
def test_terms_of_a_vector(tensor, answer, says):
    found = by_terms(LAYER, tensor, facts(LAYER, answer), right(LAYER))
    assert found is says if says is None else says in found, found


def test_a_term_has_its_sentence():
    def f(dy, y): return y * (dy - (dy * y).sum(-1, keepdims=True))
    knows = lambda dy, y: {"dy": dy, "y": y}
    sizes = (3, 5), (4, 7), (2, 3)
    ex = made(f, lambda r: [tuple(r.uniform(size=(2, *s))) for s in sizes], terms={
        "result": (knows, (Term(1, "y * dy"), Term(-1, "y * sum(dy * y)"),
                           Term(0, "dy", "the gradient goes through")))})
    say = lambda g: by_terms(ex, "result", facts(ex, g), right(ex))
    total = lambda dy, y: (dy * y).sum(-1, keepdims=True)
    assert say(lambda dy, y: y * dy) == "result: y * sum(dy * y) is missing"
    assert "y * sum(dy * y) has the wrong sign" in say(lambda dy, y: y * (dy + total(dy, y)))
    assert "1/C times" in say(lambda dy, y: y * (dy - total(dy, y) / y.shape[-1]))
    assert "dy has no place in it (somebody may think: the gradient goes through)" in say(
        lambda dy, y: f(dy, y) + dy)
    assert "minus dy has no place" in say(lambda dy, y: f(dy, y) - dy)
    assert say(lambda dy, y: np.sin(y)) is None


def test_facts_are_arrays_and_texts():
    found = flat("r", {"a": [1, 2], "b": (None, "x"), "c": {3, 1}, "d": iter(range(3))})
    assert found["r"] == "a dict with 'a', 'b', 'c', 'd'" and found["r['a']"].tolist() == [1, 2]
    assert found["r['b']"] == "[None, 'x']" and found["r['c']"] == "[1, 3]"
    assert found["r['d']"].tolist() == [0, 1, 2]
    assert leaf(np.array([None])) == "[None]" and leaf(int) == "the class int"
    assert flat("r", {"b": 1, "a": 2}) == flat("r", {"a": 2, "b": 1})


@pytest.mark.parametrize("a, b, same", [
    (1.0, 1.0 + 1e-12, True), (1.0, 1.0 + 1e-6, False), (np.nan, np.nan, True),
    (np.inf, np.inf, True),
    (np.inf, -np.inf, False), (1, 1, True), (1, 2, False), (True, 1, True), ("a", "a", True),
    ("1", 1, False), ([1, 2], [1, 3], False), (np.ones(3), np.ones((3, 1)), False),
    (np.ones(3), np.ones(3, int), False), (np.ones(3, bool), np.ones(3, int), False),
    (np.array([1e-10, 1]), np.array([0.0, 1]), True), (np.zeros(2), np.zeros(2), True)])
def test_what_agrees(a, b, same):
    assert agree(leaf(np.array(a) if isinstance(a, list) else a),
                 leaf(np.array(b) if isinstance(b, list) else b), 1e-9) is same


def test_differing_has_a_floor():
    ex = made(share, shares)
    one = {"big": np.array([1e3, 1.0]), "lost": np.array([1e-10])}
    assert differing(ex, {**one, "lost": np.array([0.0])}, one) == []
    assert differing(ex, {**one, "lost": np.array([1e-8])}, one) == ["lost"]
    assert differing(ex, {"big": one["big"]}, one) == ["lost"]


def test_arguments_are_compared_inside():
    x = np.ones(3)
    for value in (x, [x, 1], {"a": x}, (np.array([np.nan]), "t"), 2, None):
        assert unchanged(value, value)
    assert not unchanged([x, 1], [x + 1, 1]) and not unchanged({"a": x}, {"a": x, "b": 1})
    assert not unchanged([1, 2], [1]) and not unchanged(2, 3) and not unchanged("a", "b")


@pytest.mark.parametrize("answer, says", [
    (lambda self, dy: self.dW.fill(0), "dx is missing: it returns nothing"),
    (lambda self, dy: (dy @ self.W.T, 1, 2), "backward returns 3 results"),
    (lambda self, dy: self.W.T, "dx .* should have shape"),
    (lambda self, dy: "dx", "'dx' came, where the right one is an array")])
def test_what_backward_must_return(answer, says):
    found = judge(KNOWN["Linear.backward"], answer)[0]
    assert found.ok is False and re.search(says, found.text), found.text


def linear_bwd(change=lambda self, dW: None, dy=lambda dy: dy):
    def backward(self, g):
        x, = self.saved()
        dW = rows(x).T @ rows(g)
        if change(self, dW) is None: self.dW += dW
        if self.bias: self.db += rows(g).sum(0)
        dy(g)
        return g @ self.W.T
    return backward


def replaces(self, dW):
    self.dW = dW
    return True

def overwrites(self, dW):
    self.dW[:] = dW
    return True

def zeroes(self, dW):
    self.dW[:] = 0

def spoils(g): g *= 2

def moves(self, dW): self.W += 1e-3


@pytest.mark.parametrize("answer, says", [
    (linear_bwd(replaces), "dW is a new array after backward"),
    (linear_bwd(overwrites), "dW: a second backward sets it anew"),
    (linear_bwd(zeroes), "dW: a second backward sets it anew"),
    (linear_bwd(dy=spoils), "dy is changed, and it belongs to the caller"),
    (linear_bwd(moves), "W is changed, and it belongs to the caller")])
def test_rules_of_a_module(answer, says):
    found = judge(KNOWN["Linear.backward"], answer)[0]
    assert found.ok is False and (says in found.text or found.how == "named"), found.text


def test_a_change_is_told_before_what_comes_of_it():
    found = judge(KNOWN["Linear.backward"], linear_bwd(dy=spoils))[0]
    assert found.text == f"Linear.backward: dy {answers.TOUCHED}."


def test_a_right_module_is_told_what_was_proved():
    found = judge(KNOWN["Linear.backward"], linear_bwd())[0]
    assert found.ok and "its gradients add up" in found.text
    assert "float32 stays float32" in found.text
    assert "5 results on 4 cases agree to 1e-09" in found.text


def test_a_class_takes_the_place_of_the_right_one():
    ex = Exercise("RMSNorm", RMSNorm, 1, lambda r: [((5,), r.normal(size=(2, 5)))], ("a",) * 4)
    methods = {n: f for n, f in vars(RMSNorm).items() if isinstance(f, FunctionType)}
    again = lambda f: FunctionType(f.__code__, f.__globals__, "own", f.__defaults__, f.__closure__)
    rms = type("Own", (RMSNorm,), {n: again(f) for n, f in methods.items()})
    assert judge(ex, rms)[0].ok
    assert "it must be a Module" in judge(ex, lambda n: 3)[0].text
    assert "its parameters must be g (5,)" in judge(ex, lambda n: Linear(n, n, rng))[0].text
    assert "it must be a class" in judge(ex, 3)[0].text
