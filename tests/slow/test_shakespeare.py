"The main job on real text: preset nano on tinyshakespeare, from the command line"
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpygpt.training import read_log

COMMAND = Path(sys.executable).parent / "numpygpt"


def numpygpt(*args):
    command = [COMMAND, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    if not os.environ.get("NUMPYGPT_DATA"):
        pytest.skip("NUMPYGPT_DATA names no folder with tinyshakespeare.txt: "
                    "the run on real text was not tried")
    out = tmp_path_factory.mktemp("runs") / "nano"
    numpygpt("train", "--data", "shakespeare", "--preset", "nano", "--out", out)
    return out


def test_nano_learns_shakespeare(nano):
    log = read_log(nano / "log.jsonl")
    seconds = sum(12 * 64 / s.tokens_per_s for s in log)
    print(f"validation loss {log[-1].val_loss:.4f} nats per character after {log[-1].index} steps, "
          f"{seconds:.0f} s of training")
    assert len(log) == 2000 and abs(log[0].loss - np.log(65)) < 0.1
    assert log[-1].val_loss <= 1.90


def test_it_samples_the_same_text_for_the_same_seed(nano):
    ask = ["sample", nano, "--prompt", "ROMEO:", "--tokens", 200,
           "--temperature", 0.8, "--top-k", 40, "--top-p", 0.9, "--seed"]
    text = numpygpt(*ask, 7)
    print(text)
    assert text == numpygpt(*ask, 7) != numpygpt(*ask, 8)
    assert text.startswith("ROMEO:") and len(text) == len("ROMEO:") + 201 and "\n" in text[:-1]


def test_it_plots(nano):
    numpygpt("plot", nano)
    assert (nano / "log.png").read_bytes().startswith(b"\x89PNG")
