"Killed at random moments by a real signal, with workers: the same bytes in the end"
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numpygpt.builder import build
from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.corpus import END, Encode, Settings
from numpygpt.data import tinyplays
from numpygpt.texts import cuts_of, pieces

COMMAND = [str(Path(sys.executable).parent / "numpygpt"), "data"]


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}


def orphans():
    "Workers whose parent is gone"
    found = subprocess.run(["pgrep", "-P", "1", "-f", "numpygpt.builder import serve"],
                           capture_output=True, text=True)
    return found.stdout.split()


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_killed_at_random_moments(tmp_path, kind):
    (tmp_path / "texts").mkdir()
    for i in range(12): (tmp_path / "texts" / f"{i}.txt").write_text(tinyplays(400_000, seed=i))
    flags = f"--tokenizer {kind} --shard-tokens 50000 --workers 2".split()
    if kind == "bpe": flags += ["--vocab-size", "300"]
    make = [*COMMAND, str(tmp_path / "texts"), *flags, "--out"]
    start = time.monotonic()
    subprocess.run([*make, tmp_path / "whole"], check=True, capture_output=True)
    whole, took = contents(tmp_path / "whole"), time.monotonic() - start
    rng, killed = random.Random(0), 0
    for n in range(25):
        out = tmp_path / f"{n}"
        for _ in range(2):
            p = subprocess.Popen([*make, out], stdout=-3, stderr=-3)         # -3: nowhere
            time.sleep(rng.uniform(0, took))
            killed += p.poll() is None
            p.send_signal(signal.SIGKILL)
            p.wait()
        subprocess.run([*make, out], check=True, capture_output=True)
        assert contents(out) == whole, n
    assert killed > 25
    for _ in range(50):
        if not orphans(): break
        time.sleep(0.2)
    assert not orphans()


def test_ten_thousand_random_texts():
    letters = [*"ab 7\n\r\t'sS—。中\u0301\U0001f642\u200d\x1c", "  ", "\r\n", END, END[:4],
               "ab", "'ll"]
    sample, rng = "".join(letters) * 3 + tinyplays(30_000), random.Random(1)
    for tok in (CharTokenizer.train(sample), WordTokenizer.train(sample),
                BPETokenizer.train(sample, 500, [END]),
                BPETokenizer.train(sample, 500, [END], r"[^\r\n]+|\s")):
        encode, cuts = Encode(tok, None), cuts_of(tok)
        for _ in range(2500):
            text = "".join(rng.choices(letters, k=rng.randint(1, 60)))
            step, size = rng.randint(1, 9), rng.randint(1, 40)
            parts = [(text[i:i + step], False) for i in range(0, len(text), step)] + [("", True)]
            made = b"".join(encode([part]) for part in pieces(parts, cuts, size))
            assert np.frombuffer(made, np.uint16).tolist() == tok.encode(text), text


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_any_number_of_workers(tmp_path, size):
    (tmp_path / "a.txt").write_text(tinyplays(20_000 if size == 1 else 3_000_000))
    for n in (1, 2, 3, 4):
        build([tmp_path / "a.txt"], tmp_path / f"{n}", Settings("bpe", 400), workers=n, size=size)
        assert contents(tmp_path / f"{n}") == contents(tmp_path / "1")
