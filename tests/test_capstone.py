"The race: what a recipe is given, how it is judged, and the three kinds of claim that are refused"
import importlib.util
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from numpygpt import race as module
from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer, pre_tokens
from numpygpt.data import split_text, tinyplays
from numpygpt.learn import check
from numpygpt.race import (CLAIM, FAILED, LEAST, LOG, LONGEST, RECIPE, Race, Refused, Result,
                           bits_per_byte, claim, claimed, falling, judged, leaderboard,
                           margin, race, secret, stopwatch)
from numpygpt.transformer import GPT, GPTConfig

TEXT = tinyplays(20_000)
SEEN, HELD = split_text(TEXT)
HONEST = '''
import numpy as np
from numpygpt.bpe import CharTokenizer
from numpygpt.data import Dataset
from numpygpt.training import Run, TrainConfig, train_step
from numpygpt.transformer import GPTConfig

def trained(race, steps, texts):
    tokenizer = CharTokenizer.train(race.text)
    text = "".join(c for text in texts for c in text if c in tokenizer.index)
    ids = np.array(tokenizer.encode(text), np.uint16)
    model = GPTConfig(vocab_size=tokenizer.vocab_size, context=32, n_layer=1, n_embd=32, n_head=2)
    train = TrainConfig(lr=1e-2, schedule="constant", warmup=0, batch_size=8, seed=race.seed)
    run = Run(model, train, Dataset(ids, ids, tokenizer))
    for _ in range(steps): train_step(run)
    return run.model, tokenizer

def recipe(race): return trained(race, 30, [race.text])
'''


def entry(folder, recipe=HONEST, log=f"{FAILED}\n\nNothing else was tried.\n"):
    folder.mkdir(exist_ok=True)
    (folder / RECIPE).write_text(recipe, encoding="utf-8")
    (folder / LOG).write_text(log, encoding="utf-8")
    return folder


def result(seed=0, bits=2.0, seconds=50.0, wall=50.0, processor=90.0, cores=2):
    return Result(seed, bits, seconds, wall, processor, cores)


def around(bits, by=0.01, **more):
    return [result(i, bits + d, **more) for i, d in enumerate((-by, 0, by))]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    "An entry whose three races took place"
    folder = entry(tmp_path_factory.mktemp("race") / "honest")
    runs = [race(folder, seed, TEXT, 30, "processor", 1) for seed in range(3)]
    claim(folder, TEXT, runs, 30, "processor")
    return folder


def copied(folder, to, **changes):
    "The same entry with another claim"
    made = json.loads((folder / CLAIM).read_text())
    (entry(to) / CLAIM).write_text(json.dumps(made | changes))
    return to


def test_an_honest_claim_holds(honest):
    verdict = judged(honest, TEXT)
    assert verdict.ok is True, verdict.text
    assert "secret alphabet" in verdict.text
    runs = json.loads((honest / CLAIM).read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1, 2] and len({run["bits"] for run in runs}) == 3
    assert all(0 < run["seconds"] < 30 and 0 < run["processor"] for run in runs)


def test_a_claim_that_does_not_reproduce_is_refused(honest, tmp_path):
    runs = json.loads((honest / CLAIM).read_text())["runs"]
    verdict = judged(copied(honest, tmp_path / "x", runs=[r | {"bits": r["bits"] - 0.5}
                                                          for r in runs]), TEXT)
    assert verdict.ok is False and "the claim does not hold" in verdict.text


def test_a_claimed_race_that_took_longer_is_refused_at_once(honest, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "race", None)
    runs = json.loads((honest / CLAIM).read_text())["runs"]
    late = copied(honest, tmp_path / "x", runs=[*runs[:2], runs[2] | {"seconds": 30.01}])
    assert "seed 2 took 30.01 seconds of 30" in judged(late, TEXT).text
    more = copied(honest, tmp_path / "y", seconds=61)
    assert "60 are given" in judged(more, TEXT).text


def test_a_race_that_takes_longer_is_refused_whatever_it_claims(tmp_path):
    slow = "import time\n" + HONEST.replace("return run", "time.sleep(1.5)\n    return run")
    claim(entry(tmp_path / "x", slow), TEXT, around(9.0, seconds=0.5), 1)
    verdict = judged(tmp_path / "x", TEXT)
    assert verdict.ok is False and "seconds of 1" in verdict.text


LEAKS = {"by a path": 'recipe = lambda race: trained(race, 200, [open(PATH).read()[-2000:]])',
         "by a global": 'recipe = lambda race: trained(race, 200, [HELD])',
         "beside the rest": 'recipe = lambda race: trained(race, 200, [race.text[:1000], HELD])'}


@pytest.mark.parametrize("leak", LEAKS)
def test_training_on_the_validation_text_is_refused(leak, tmp_path):
    (path := tmp_path / "all.txt").write_text(TEXT)
    cheat = f"{HONEST}\nPATH, HELD = {str(path)!r}, {HELD!r}\n{LEAKS[leak]}"
    folder = entry(tmp_path / "cheat", cheat)
    found = race(folder, 7, TEXT, 30, "processor", 1)
    claim(folder, TEXT, around(found.bits, 0.05, cores=1, seconds=20), 30, "processor")
    verdict = judged(folder, TEXT)
    assert verdict.ok is False and "knows more of this text" in verdict.text, verdict.text


def test_a_recipe_is_given_the_training_part_alone(tmp_path):
    look = ('import gc, os\ndef recipe(race):\n    texts = [s for s in gc.get_objects()'
            ' if isinstance(s, dict)]\n    raise ValueError(f"{len(race.text)} {race.seed} '
            '{race.cores} {race.seconds} {os.environ.get(\'NUMPYGPT_DATA\')}")')
    with pytest.raises(Refused, match=f"{len(SEEN)} 5 3 9 None"):
        race(entry(tmp_path / "x", look), 5, TEXT, 9, cores=3)


@pytest.mark.parametrize("recipe, why", [
    ("def recipe(race): 1 / 0", "ZeroDivisionError"), ("x = 1", "recipe"),
    ("import os; os._exit(3)", "no answer|stopped"), ("def", "never began")])
def test_a_recipe_that_fails_says_why(recipe, why, tmp_path):
    with pytest.raises(Refused, match=why): race(entry(tmp_path / "x", recipe), 0, TEXT, 9, cores=1)


def test_a_recipe_that_never_ends_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(Refused, match="no answer"):
        race(entry(tmp_path / "x", "while True: pass"), 0, TEXT, 0.5, cores=1)


def test_a_busy_machine_is_no_verdict(tmp_path, monkeypatch):
    folder = entry(tmp_path / "x")
    claim(folder, TEXT, around(2.0), 60)
    monkeypatch.setattr(module, "race", lambda *a: result(9, 3.0, processor=40.0))
    verdict = judged(folder, TEXT)
    assert verdict.ok is None and "try again" in verdict.text
    claim(folder, TEXT, around(2.0), 60, "processor")
    assert judged(folder, TEXT).ok is False


@pytest.mark.parametrize("break_it, why", [
    (lambda f: (f / RECIPE).unlink(), RECIPE), (lambda f: (f / LOG).unlink(), LOG),
    (lambda f: (f / CLAIM).unlink(), CLAIM), (lambda f: (f / CLAIM).write_text("{"), "no JSON"),
    (lambda f: (f / CLAIM).write_text("{}"), "incomplete"),
    (lambda f: (f / LOG).write_text(FAILED + "\n\n"), "in vain"),
    (lambda f: (f / RECIPE).write_text("#" * (LONGEST + 1)), "longer"),
    (lambda f: claim(f, TEXT, around(2)[:2], 59), "three seeds"),
    (lambda f: claim(f, TEXT + "x", around(2), 60), "another text")])
def test_what_breaks_a_rule_by_itself_is_refused(break_it, why, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "race", None)
    claim(entry(tmp_path / "x"), TEXT, around(2.0))
    claimed(tmp_path / "x", TEXT)
    break_it(tmp_path / "x")
    verdict = judged(tmp_path / "x", TEXT)
    assert verdict.ok is False and why in verdict.text


def test_check_finds_the_race():
    assert check("capstone", None).ok is None and check("capstone", ...).ok is None


def test_a_claim_keeps_other_seeds_under_the_same_rules_alone(tmp_path):
    folder = entry(tmp_path / "x")
    claim(folder, TEXT, [result(0), result(1)])
    runs = claim(folder, TEXT, [result(1, 1.5), result(2)])["runs"]
    assert [r["seed"] for r in runs] == [0, 1, 2] and runs[1]["bits"] == 1.5
    assert json.loads((folder / CLAIM).read_text())["runs"] == runs
    assert len(claim(folder, TEXT, [result(3)], clock="processor")["runs"]) == 1


def test_bits_per_byte_is_the_sum_over_all_tokens():
    "Of a model in double precision, by hand: each token from those before it in its window"
    tokenizer = BPETokenizer.train(SEEN, 300)
    model = GPT(GPTConfig(vocab_size=300, context=7, n_layer=1, n_embd=16, n_head=2),
                np.random.default_rng(0))
    held = HELD[:301]
    ids = [tokenizer.encode(SEEN)[-1], *tokenizer.encode(held)]
    bits = 0.0
    for i in range(0, len(ids) - 1, 7):
        z = model(np.array([ids[i:i + 7]]))[0].astype(float)
        for row, token in zip(z, ids[i + 1:i + 8]):
            bits += (math.log(np.exp(row - row.max()).sum()) + row.max() - row[token]) / math.log(2)
    assert bits_per_byte(model, tokenizer, SEEN, held) == pytest.approx(bits / 301, rel=1e-5)


@pytest.mark.parametrize("tokenizer", [CharTokenizer("abc"), WordTokenizer.train(SEEN, max_size=9)])
def test_a_tokenizer_that_loses_text_is_refused(tokenizer):
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, n_embd=8, n_layer=1, n_head=1),
                np.random.default_rng(0))
    with pytest.raises((ValueError, KeyError)): bits_per_byte(model, tokenizer, SEEN, HELD)


def test_the_secret_alphabet_changes_letters_alone():
    text = "I'll say it's 3 o'clock; they've gone. We're LATE, don't WAIT.\n" + TEXT
    new = secret(text, 3)
    assert new != secret(text, 4) and len(new) == len(text) and secret(text, 3) == new
    assert [*map(len, pre_tokens(new))] == [*map(len, pre_tokens(text))]
    moved = {(a, b) for a, b in zip(text, new)}
    assert len(moved) == len({a for a, _ in moved}) == len({b for _, b in moved})
    same = {a for a, b in moved if a == b and a.isalpha()}
    assert {c.lower() for c in same} == set("lrve")
    assert all(a.isupper() == b.isupper() for a, b in moved)


def test_one_honest_claim_in_a_hundred_is_refused():
    rng = np.random.default_rng(0)
    for n in (3, 5):
        x = rng.normal(2, 0.01, (8000, n + 1))
        out = np.mean([row[-1] > row[:-1].mean() + margin(row[:-1]) for row in x])
        assert 0.006 < out < 0.015
    assert margin([2.0, 2.0, 2.0]) == pytest.approx(6.965 * LEAST * math.sqrt(4 / 3))


def test_clocks():
    for clock in ("wall", "processor"):
        spent = stopwatch(clock, 2)
        sum(range(2_000_000))
        assert 0 < spent() < 60
    with pytest.raises(ValueError, match="sundial"): stopwatch("sundial", 1)
    spent = iter([15.0, 15.0, 70.0]).__next__
    at = Race("", 0, 2, 60.0, spent)
    assert (at.left(), at.past(), at.past()) == (45.0, 0.25, 1.0)


def test_the_rate_rises_and_falls_in_lines():
    shape = falling(0.1, 0.2)
    assert 0 < shape(0.0) < 0.02 and shape(0.1) == 1.0 and shape(1.0) == pytest.approx(0.2)
    assert shape(0.55) == pytest.approx(0.6)
    assert falling(0.0)(0.0) == 1.0


BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
ENTRIES = sorted((BENCHMARKS / "race").glob("*/claim.json"))


def test_the_leaderboard_holds_the_claims_of_the_entries():
    board = {row["entry"]: {k: v for k, v in row.items() if k != "entry"} for row in leaderboard()}
    assert {"baseline", "best", "pytorch"} <= {p.parent.name for p in ENTRIES}
    for path in ENTRIES: assert board[path.parent.name] == json.loads(path.read_text())
    means = [statistics.mean(r["bits"] for r in row["runs"]) for row in leaderboard()]
    assert means == sorted(means)


@pytest.mark.parametrize("path", ENTRIES, ids=lambda p: p.parent.name)
def test_an_entry_keeps_the_rules(path, monkeypatch):
    monkeypatch.setattr(module, "digest", lambda text: json.loads(path.read_text())["text"])
    assert len(claimed(path.parent, "")["runs"]) >= 3


def test_the_command_races_in_turn_and_posts_each_claim(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("race_command", BENCHMARKS / "race.py")
    spec.loader.exec_module(command := importlib.util.module_from_spec(spec))
    monkeypatch.setattr(command, "race", lambda folder, seed, *rules: result(seed) if folder.name
                        == "good" else module._need(False, "it stopped"))
    (tmp_path / "text").write_text(TEXT)
    (board := tmp_path / "board.jsonl").write_text('{"entry": "other"}\n{"entry": "good"}\n')
    folders = [entry(tmp_path / "good"), entry(tmp_path / "bad")]
    command.main([*map(str, folders), "--text", str(tmp_path / "text"), "--seeds", "4", "2"], board)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == [f"{n}, seed {s}" for s in (4, 2)
                                                         for n in ("good", "bad")]
    good, other = map(json.loads, board.read_text().splitlines())
    assert good == {"entry": "good", **json.loads((folders[0] / CLAIM).read_text())}
    assert [r["seed"] for r in good["runs"]] == [2, 4] and other == {"entry": "other"}


def test_pytorch_gets_the_weights_where_they_belong(monkeypatch):
    "Its model with our weights gives our logits; and the weights come back as they were"
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import theirs
    path = BENCHMARKS / "race" / "pytorch" / RECIPE
    spec = importlib.util.spec_from_file_location("race_pytorch", path)
    spec.loader.exec_module(recipe := importlib.util.module_from_spec(spec))
    config = GPTConfig(vocab_size=11, context=8, n_layer=2, n_embd=16, n_head=4)
    model, net = GPT(config, np.random.default_rng(0)), theirs.GPT(config)
    mine = model.named_parameters()
    assert set(recipe.weights(net)) == set(mine)
    with torch.no_grad():
        for name, w in recipe.weights(net).items(): w.copy_(torch.as_tensor(mine[name]).t())
        x = np.arange(8)[None]
        assert np.abs(net(torch.as_tensor(x)).numpy() - model(x)).max() < 1e-5
