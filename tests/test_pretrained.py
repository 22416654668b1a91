"The model that comes with the package: small, whole, and what its recipe makes"
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from numpygpt import checkpoint, files
from numpygpt.cli_train import Train
from numpygpt.generate import generate
from numpygpt.replicas import Replicas
from numpygpt.training import evaluate, fit

FOLDER = checkpoint.find(checkpoint.PRETRAINED)
ABOUT = checkpoint.read_info(FOLDER)
COMMAND = Path(sys.executable).parent / "numpygpt"


@pytest.fixture(scope="module")
def recipe():
    "The run that the preset makes, at its beginning"
    if not os.environ.get("NUMPYGPT_DATA"):
        pytest.skip("NUMPYGPT_DATA names no folder with tinyshakespeare.txt: "
                    "the recipe of the model in the package was not tried")
    return Train.of("pretrained").new_run()


def test_three_files_of_a_megabyte_at_most():
    names = {p.name for p in FOLDER.iterdir()}
    assert names == {"model.safetensors", "tokenizer.json", "train.json"}
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) <= 1_000_000


def test_half_precision_on_disk_and_single_in_memory():
    data = (FOLDER / "model.safetensors").read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F16"}
    model, _ = checkpoint.load()
    assert {w.dtype for w in model.named_parameters().values()} == {np.dtype("f4")}
    assert not model.training


def test_a_flipped_bit_is_noticed(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is not the file that was saved"):
        checkpoint.load(tmp_path / "model")


def test_it_cannot_be_resumed_and_says_so():
    with pytest.raises(ValueError, match="sampled, not resumed"):
        checkpoint.resume(checkpoint.PRETRAINED)


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint.find(checkpoint.PRETRAINED) == FOLDER
    shutil.copytree(FOLDER, "pretrained")
    assert checkpoint.find(checkpoint.PRETRAINED).resolve() == tmp_path.resolve() / "pretrained"


def test_the_recipe_is_the_preset_and_its_first_steps_give_the_stored_losses(recipe):
    _, tokenizer = checkpoint.load()
    assert recipe.config == checkpoint.settings(ABOUT)
    assert recipe.model.config == checkpoint.model_config(ABOUT)
    assert recipe.dataset.tokenizer._to_json() == tokenizer._to_json()
    assert files.is_same(recipe.dataset, ABOUT["data"])
    with Replicas(recipe.model, recipe.flat, 1) as team:
        recipe.accumulate = lambda x, y: team.accumulate(x, y, recipe.config.micro_batch)
        losses = [step.loss for step in islice(fit(recipe), 3)]
    assert np.abs(np.array(losses) - ABOUT["first_losses"]).max() < 1e-3


def test_its_validation_loss_is_the_stored_one(recipe):
    loss = evaluate(checkpoint.load()[0], recipe.dataset.val, recipe.config.batch_size)
    assert abs(loss - ABOUT["val_losses"][-1][1]) < 1e-2
    assert loss / np.log(2) / ABOUT["bytes_per_token"] < 2.4        # bits per byte


def test_it_writes_plays_and_the_same_one_for_the_same_seed():
    model, tokenizer = checkpoint.load()
    prompt = tokenizer.encode("\n")
    write = lambda seed: tokenizer.decode(list(generate(model, prompt, 150, seed, temperature=0.8)))
    assert write(0) == write(0) != write(1)
    speakers = [re.findall(r"\n[A-Z][A-Za-z ]+:\n", write(seed)) for seed in range(4)]
    assert sum(map(len, speakers)) >= 3, "speakers"


def test_a_beginner_needs_no_folder(tmp_path):
    ask = lambda *args: subprocess.run([COMMAND, *args], capture_output=True, text=True,
                                       cwd=tmp_path)
    first, again = (ask("sample", "--tokens", "40", "--seed", "3", "--prompt", "JULIET:\n")
                    for _ in range(2))
    assert first.returncode == 0 and first.stdout == again.stdout
    assert first.stdout.startswith("JULIET:\n")
    assert "pretrained" in ask("info").stdout and "BPETokenizer" in ask("info", "pretrained").stdout
    assert not list(tmp_path.iterdir())
