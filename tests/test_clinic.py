"""The bug clinic: what `bisect` says of the five patients and of sixteen bugs, and that the stored
runs are those of the command"""
import copy
import json
from dataclasses import asdict
from types import MethodType, SimpleNamespace

import numpy as np
import pytest

from numpygpt import attention, embedding, gradcheck, layernorm, linear, training, transformer
from numpygpt.course import Chapter, folder, stored
from numpygpt.gradcheck import dot_test, wrongs
from numpygpt.learn import bisect, exercises
from numpygpt.transformer import GPT, GPTConfig

CHAPTER = Chapter(folder() / "38_clinic.ipynb")
REFERENCES = {ex.name: ex.reference for ex in exercises() if ex.chapter == "38_clinic"}
RECORDS = json.loads(stored("clinic.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ward():
    "`admitted`, `twin` and a batch, from the cells of the chapter, on ids instead of a text"
    text = np.random.default_rng(0).integers(65, size=1000)
    modules = attention, embedding, gradcheck, layernorm, linear, training, transformer
    names = {"np": np, "copy": copy, "MethodType": MethodType, "V": 65, "bisect": lambda *_: None,
             "bugs": [None], "number": {"1/sqrt(D) forgotten": 0},
             "dataset": SimpleNamespace(train=text)}
    for module in modules: names |= vars(module)
    for start in ("SMALL = ", "WARD = ", "HAS = "):
        exec(next(s for _, s in CHAPTER.cells() if s.startswith(start)), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def command(script):
    "The file of the command that makes the stored runs"
    return script("clinic")


@pytest.mark.parametrize("n", range(1, 6))
def test_bisect_finds_what_each_patient_has(ward, n):
    "The part and the tensor that the exercise wants, and no other"
    part, tensor = REFERENCES[f"patient_{n}"]()
    said = bisect(ward.admitted(n), ward.twin, ward.batch)
    method = "forward" if tensor.startswith(("input", "output")) else "backward"
    assert said.ok is False and f"The {tensor} is the first tensor that differs" in said.text
    assert f"look at {method} of {part}, a" in said.text
    if n in ward.HAS:
        path, _, name = ward.HAS[n]
        assert path == part and said.how == "named" and f'this is "{name}"' in said.text


def test_the_twin_is_healthy_and_two_patients_hide(ward):
    "One from a text without repeats, one from every gradient check"
    assert bisect(copy.deepcopy(ward.twin), ward.twin, ward.batch).ok
    assert bisect(ward.admitted(4), ward.twin, np.arange(60).reshape(3, 20)).ok
    for n in range(1, 6):
        assert (dot_test(ward.admitted(n), ward.batch) < 1e-12) == (n == 5)


def bug(arm):
    return next(w for w in wrongs() if (w.what.__name__, w.name) == (arm["kind"], arm["name"]))


@pytest.mark.parametrize("arm", RECORDS["arms"][1:], ids=lambda arm: arm["name"])
def test_bisect_names_the_part_that_made_the_first_wrong_tensor(arm):
    "For a bug in one block of three it is the part of the bug's own kind, and the bug"
    config = GPTConfig(vocab_size=17, context=8, n_layer=3, n_embd=16, n_head=4, n_kv_head=2)
    model, wrong = GPT(config, np.random.default_rng(0)), bug(arm)
    mine = copy.deepcopy(model)
    mine.blocks[1] = wrong.apply(mine.blocks[1])
    said = bisect(mine, model, np.random.default_rng(1).integers(17, size=(3, 7))).text
    last = {"Attention": "blocks.1.attn", "LayerNorm": "blocks.1.norm2", "Block": "blocks.1"}
    assert f"look at backward of {last[arm['kind']]}, a" in said and f'"{wrong.name}"' in said


def test_the_stored_runs_are_those_of_the_command(command):
    told = [(kind.__name__, name) for kind, names in command.BUGS.items() for name in names]
    healthy, *ill = RECORDS["arms"]
    assert healthy["name"] == "" and [(arm["kind"], arm["name"]) for arm in ill] == told
    assert len(ill) == 16 and RECORDS["seeds"] == list(command.SEEDS) == [0, 1, 2]
    assert RECORDS["model"] == json.loads(json.dumps(asdict(command.MODEL)))
    assert RECORDS["train"] == json.loads(json.dumps(asdict(command.TRAIN)))
    for arm in RECORDS["arms"]:
        assert len(arm["val_loss"]) == 3 and [len(row) for row in arm["loss"]] == [5, 5, 5]
        first = [row[0] for row in arm["loss"]]
        assert np.allclose(first, [row[0] for row in healthy["loss"]], atol=1e-3)
