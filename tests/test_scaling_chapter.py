"""Chapter 34: its stored runs are those of the command that makes them, say what the chapter says,
and its bill for a text is right where the answer is known"""
import ast
import json
import math
import os
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import nbformat
import numpy as np
import pytest

from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.cost import step_flops
from numpygpt.data import ngram_bits
from numpygpt.training import PRESETS, TrainConfig
from numpygpt.transformer import GPT, GPTConfig

ROOT = Path(__file__).resolve().parents[1]
read = lambda name: json.loads((ROOT / "nbs" / "stored" / name).read_text(encoding="utf-8"))
NANO = PRESETS["nano"]


def told(config, stored):
    """A configuration as the file tells it: a field that came after the run is left out
    where it is at its default, which is what the run had"""
    plain = json.loads(json.dumps(asdict(config)))
    default = json.loads(json.dumps({f.name: f.default for f in fields(config)
                                     if f.default is not MISSING}))
    return {k: v for k, v in plain.items() if k in stored or v != default.get(k, MISSING)}


@pytest.fixture(scope="module")
def runs(script): return script("runs")


@pytest.fixture(scope="module")
def chapter():
    "The functions that the chapter defines, as it defines them"
    found = {"math": math, "BPETokenizer": BPETokenizer, "CharTokenizer": CharTokenizer,
             "WordTokenizer": WordTokenizer, "ngram_bits": ngram_bits}
    names = {"bits_per_byte", "unknown", "charge", "ceiling", "covered"}
    for cell in nbformat.read(ROOT / "nbs" / "34_scaling.ipynb", 4).cells:
        if cell.cell_type != "code": continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef) and node.name in names:
                exec(ast.unparse(node), found)
    assert names <= set(found)
    return found


def taken(rates): return min(rates, key=lambda pair: pair[1])[0]


def test_sizes_are_the_nano_preset_in_four_widths(runs):
    stored = read("sizes.json")["sizes"]
    assert [s["model"]["n_embd"] for s in stored] == list(runs.WIDTHS)
    for s in stored:
        config = GPTConfig(**NANO.model | {"n_embd": s["model"]["n_embd"]})
        assert s["model"] == told(config, s["model"])
        assert s["n_params"] == GPT(config, np.random.default_rng(0)).n_params
        assert [rate for rate, _ in s["rates"]] == list(runs.RATES)
        assert s["train"]["lr"] == taken(s["rates"])
        lr, seed = (s["train"][k] for k in ("lr", "seed"))
        train = TrainConfig(**NANO.train | {"steps": 1000, "lr": lr, "eval_every": 100,
                                            "eval_batches": 20, "seed": seed})
        assert s["train"] == told(train, s["train"])
        assert [i for i, _ in s["runs"][0]["curve"]] == list(range(100, 1001, 100))
        assert [r["seed"] for r in s["minute"]["runs"]] == list(runs.SEEDS)
        seconds = np.median([r["seconds_per_step"] for r in s["runs"]])
        assert s["minute"]["steps"] == round(60 / seconds)
        assert len(s["sample"]["text"]) == 200
        second = sorted(s["rates"], key=lambda pair: pair[1])[1]
        assert s["minute"]["other"][0] == second[0]


def test_tokenizers_had_the_same_operations(runs):
    stored = read("tokenizers.json")
    assert stored["flops"] == runs.FLOPS
    for arm in stored["tokenizers"]:
        config, train = GPTConfig(**arm["model"]), arm["train"]
        shape = {"context": config.context, "vocab_size": config.vocab_size}
        assert arm["model"] == told(GPTConfig(**NANO.model | shape), arm["model"])
        assert train["steps"] == round(runs.FLOPS / step_flops(config, train["batch_size"]))
        assert train["lr"] == taken(arm["rates"])
        assert [r["seed"] for r in arm["runs"]] == list(runs.SEEDS)


@pytest.mark.skipif("NUMPYGPT_DATA" not in os.environ,
                    reason="NUMPYGPT_DATA does not name a folder with the text")
def test_tokenizers_are_those_of_the_command(runs):
    "Name, size of the vocabulary, context and batch of each"
    stored = read("tokenizers.json")["tokenizers"]
    found = runs.arms(runs.load_text("shakespeare"))
    for (name, tokenizer, context, n), arm in zip(found, stored, strict=True):
        model, train = arm["model"], arm["train"]
        assert (name, tokenizer.vocab_size) == (arm["name"], model["vocab_size"])
        assert (context, n) == (model["context"], train["batch_size"])


def test_a_wider_model_is_better_step_by_step_and_slower():
    stored = read("sizes.json")["sizes"]
    end = [np.mean([r["val_loss"] for r in s["runs"]]) for s in stored]
    seconds = [np.median([r["seconds_per_step"] for r in s["runs"]]) for s in stored]
    flops = [step_flops(GPTConfig(**s["model"]), s["train"]["batch_size"]) for s in stored]
    speed = np.array(flops) / seconds
    assert (np.diff(end) < 0).all() and (np.diff(seconds) > 0).all() and (np.diff(speed) > 0).all()


def test_a_minute_belongs_to_the_small():
    """The two larger are behind by more than seeds and clocks explain, for every seed;
    and no size had the worse of its two best rates"""
    stored = read("sizes.json")["sizes"]
    minute = np.array([[r["val_loss"] for r in s["minute"]["runs"]] for s in stored]) / math.log(2)
    assert (minute[2] - minute[:2] > 0.1).all() and (minute[3] - minute[2] > 0.1).all()
    assert abs(minute[0].mean() - minute[1].mean()) < 0.05
    assert all(s["minute"]["runs"][0]["curve"][-1][1] < s["minute"]["other"][1] for s in stored)


def test_byte_pairs_beat_characters_and_a_longer_context_does_not_help_these():
    stored = read("tokenizers.json")["tokenizers"]
    loss = {a["name"]: np.array([r["val_loss"] for r in a["runs"]]) for a in stored}
    assert loss["characters"].max() < loss["characters, 160 at a time"].min()
    bytes_per_token = read("shakespeare_12.json")["bytes_per_token"]
    assert (loss["BPE 512"] / bytes_per_token).max() < loss["characters"].min()


def test_bits_per_byte_where_the_answer_is_known(chapter):
    "Fair coins: four tokens of one bit each, over eight bytes; and sixteen bits beside them"
    bits_per_byte = chapter["bits_per_byte"]
    assert math.isclose(bits_per_byte(math.log(2), [1, 3, 2, 2]), 0.5)
    assert math.isclose(bits_per_byte(math.log(2), [1, 3, 2, 2], extra=16), 2.5)


def test_every_tokenizer_pays_for_the_same_bytes(chapter):
    text = "Ay, the naïve Zoë: to be, 2 be — or not to be"
    for tokenizer in (CharTokenizer.train(text), BPETokenizer.train(text, 260),
                      WordTokenizer(["to", " ", "be"])):
        sizes = chapter["covered"](tokenizer, text)
        assert sum(sizes) == len(text.encode()) and len(sizes) == len(tokenizer.encode(text))


def test_unknown_words_are_charged(chapter):
    seen, charge = "to be Hamlet to be Horatio to be Falstaff", chapter["charge"]
    ceiling = chapter["ceiling"]
    tokenizer = WordTokenizer(["to", " ", "be"])
    assert charge(tokenizer, seen, ["to", " ", "be"]) == ceiling(tokenizer, ["to", " ", "be"]) == 0
    one, two = (charge(tokenizer, seen, ["to", *names])
                for names in (["Horatio"], ["Horatio", "Fabio"]))
    assert 0 < one < two < ceiling(tokenizer, ["Horatio", "Fabio"]) == 8 * (7 + 1 + 5 + 1)


def test_the_charge_is_what_the_speller_would_need(chapter):
    """One letter counted at a time: the only unknown word seen is aab,
    so with its end mark a has half of the places"""
    tokenizer = WordTokenizer([" "])
    letters = sorted(set("aab \n"))
    N, D, V = 4, 3, len(letters)
    # Witten and Bell by hand
    p = {c: (n + D / V) / (N + D) for c, n in {"a": 2, "b": 1, "\n": 1}.items()}
    charged = chapter["charge"](tokenizer, "aab ", ["ab", " "], n=1)
    assert math.isclose(charged, -sum(math.log2(p[c]) for c in "ab\n"))
