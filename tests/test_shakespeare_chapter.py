"""The stored run of the Shakespeare GPT: it is the preset's, it meets the published losses,
and its first steps come out again"""
import json
import math
import os
from itertools import islice
from pathlib import Path

import pytest

from numpygpt import checkpoint
from numpygpt.cli_train import Train
from numpygpt.replicas import Replicas
from numpygpt.training import PRESETS, TrainConfig, fit, read_log
from numpygpt.transformer import GPTConfig

STORED = Path(__file__).resolve().parents[1] / "nbs" / "stored"
# NumPy-AI's log; the last is the lowest value in it
PUBLISHED = {100: 4.11, 400: 3.43, 1596: 3.06}


@pytest.fixture(scope="module")
def log(): return read_log(STORED / "shakespeare_12_log.jsonl")


@pytest.fixture(scope="module")
def about(): return json.loads((STORED / "shakespeare_12.json").read_text(encoding="utf-8"))


def test_it_is_the_preset(about):
    preset = PRESETS["shakespeare"]
    assert checkpoint.model_config(about) == GPTConfig(**preset.model)
    assert TrainConfig(**about["train"]) == TrainConfig(**preset.train)
    assert (about["source"], about["tokenizer"]) == (preset.data, preset.tokenizer)
    assert about["n_params"] == 3_155_456


def test_it_begins_with_knowing_nothing(log, about):
    assert log[0].index == 1 and abs(log[0].loss - math.log(512)) < 0.1
    assert about["looks"][0]["step"] == 0
    assert abs(about["looks"][0]["val_loss"] - math.log(512)) < 0.1


def test_it_meets_the_published_losses(log, about):
    val = {s.index: s.val_loss for s in log if s.val_loss is not None}
    assert max(val) == log[-1].index == about["train"]["steps"] == 1596
    for step, loss in PUBLISHED.items():
        assert val[step] <= loss, f"step {step}: {val[step]:.3f} is above {loss}"


def test_what_was_seen_on_the_way_agrees_with_the_log(log, about):
    val = {s.index: s.val_loss for s in log if s.val_loss is not None}
    for look in about["looks"]:
        if look["step"] in val:
            assert look["val_loss"] == pytest.approx(val[look["step"]], abs=1e-4)


def test_the_first_steps_come_out_again(log):
    if not os.environ.get("NUMPYGPT_DATA"):
        pytest.skip("NUMPYGPT_DATA names no folder with tinyshakespeare.txt: "
                    "the stored run was not begun again")
    run = Train.of("shakespeare").new_run()
    with Replicas(run.model, run.flat) as team:
        run.accumulate = lambda x, y: team.accumulate(x, y, run.config.micro_batch)
        for step, stored in zip(islice(fit(run), 3), log[:3], strict=True):
            assert step.index == stored.index
            assert step.loss == pytest.approx(stored.loss, abs=1e-3)
            assert step.grad_norm == pytest.approx(stored.grad_norm, rel=1e-3)
