"""How many wrong answers, as people write them, are told what they are: at least four in five

The answers in tests/answers were written before the chapters' named mistakes were looked at, and
no mistake was named for their sake. That each is refused, and each right one accepted, is tested in
tests/test_learn.py."""
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from numpygpt.diagnosis import judge
from numpygpt.learn import exercises

ANSWERS = Path(__file__).parents[1] / "answers"
FOUND = {ex.name: ex for ex in exercises()}
EXPLAINED = "named", "terms", "edit"


def stored(kind):
    "(exercise, name, function) of each stored answer of a kind"
    for path in sorted(ANSWERS.glob(f"{kind}_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, function in list(vars(module).items()):
            key, _, rest = name.partition("__")
            if rest and key in module.ANSWERS: yield module.ANSWERS[key], name, function


def test_answers_are_many():
    counts = Counter(exercise for exercise, *_ in stored("wrong"))
    assert min(counts.values()) >= 5 and sum(counts.values()) >= 150, counts
    assert sum(1 for _ in stored("right")) >= 70


def test_four_wrong_answers_in_five_are_explained():
    table: dict[str, Counter] = {}
    for exercise, name, function in stored("wrong"):
        if exercise not in FOUND: continue
        verdict, _ = judge(FOUND[exercise], function)
        assert verdict.ok is False, f"{name}: {verdict.text}"
        table.setdefault(exercise, Counter())[verdict.how] += 1
        if verdict.how not in EXPLAINED: print(f"not explained: {name}: {verdict.text}")
    if not table: pytest.skip("no exercise is there yet")
    total = sum(table.values(), Counter())
    kinds = *EXPLAINED, "differs", "error"
    print(f"{'':24}" + "".join(f"{kind:>10}" for kind in kinds))
    for exercise, counts in [*table.items(), ("all", total)]:
        print(f"{exercise:24}" + "".join(f"{counts[kind]:10}" for kind in kinds))
    assert sum(total[kind] for kind in EXPLAINED) >= 0.8 * sum(total.values())
