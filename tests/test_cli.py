"The command line: every command, and a table of bad input with the message that it must get"
import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "numpygpt"
SHORT = "--steps 4 --n-layer 1 --n-embd 16 --n-head 2 --context 16 --batch-size 4 --warmup 2 --eval-batches 1 --sample 0".split()


def numpygpt(*args, cwd=None): return subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a finished run, a text, token files, and files that are broken in every way"
    folder = tmp_path_factory.mktemp("place")
    (folder / "my.txt").write_text("In the beginning was the word, and then came the next word.\n" * 80)
    (folder / "empty.txt").write_text("")
    (folder / "short.txt").write_text("too short")
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    for args in (["train", *SHORT, "--out", "run"], ["data", "my.txt", "--tokenizer", "bpe", "--vocab-size", 300, "--out", "mine"]):
        done = numpygpt(*args, cwd=folder)
        assert done.returncode == 0, done.stderr
    for name, part, keep in (("half", "model.safetensors", 0.5), ("torn", "train.json", 0.5), ("bare", "optimizer.safetensors", 0), ("odd", "tokenizer.json", 0.6)):
        subprocess.run(["cp", "-r", folder / "run", folder / name], check=True)
        path = folder / name / "checkpoint" / part
        path.write_bytes(path.read_bytes()[:int(path.stat().st_size * keep)]) if keep else path.unlink()
    return folder


BAD = [     # arguments; parts of the message
    ("train --n-embd 100 --n-head 8", ["n_embd (100)", "n_head (8)", "96 or 104"]),
    ("train --n-head 4 --n-kv-head 3", ["n_kv_head (3)", "[1, 2, 4]"]),
    ("train --activation swish", ["activation must be one of", "gelu", "'swish'"]),
    ("train --steps 0", ["steps must be", "got 0"]),
    ("train --dropout 1.5", ["dropout", "1.5"]),
    ("train --data nowhere.txt", ["nowhere.txt", "shakespeare"]),
    ("train --data empty.txt", ["empty"]),
    ("train --data short.txt", ["too few", "context"]),
    ("train --data binary.txt", ["binary.txt", "UTF-8"]),
    ("train --out run", ["run already holds a run", "--resume run"]),
    ("train --resume nowhere", ["no checkpoint in nowhere"]),
    ("train --resume run --lr 1", ["keeps its settings", "--lr"]),
    ("train --resume bare", ["optimizer.safetensors is missing"]),
    ("train --optimizer adamx", ["optimizer must be one of", "adamx"]),
    ("data my.txt --tokenizer bpe --vocab-size 100 --out no", ["vocab_size (100)", "256"]),
    ("sample nowhere", ["no checkpoint in nowhere"]),
    ("sample half", ["model.safetensors is damaged or cut off"]),
    ("sample torn", ["train.json is damaged"]),
    ("sample odd", ["tokenizer.json"]),
    ("sample run --temperature -1", ["temperature", "-1"]),
    ("sample run --top-p 0", ["top_p", "temperature=0"]),
    ("sample run --top-k 0", ["top_k", "0"]),
    ("sample run --prompt \u2603", ["\u2603"]),
    ("sample run --tokens -5", ["n_tokens", "-5"]),
    ("plot mine", ["no log.jsonl in mine"]),
    ("info nowhere", ["no checkpoint in nowhere"]),
    ("trian", ["trian", "train"]),
]


@pytest.mark.parametrize("line, parts", BAD, ids=[line for line, _ in BAD])
def test_bad_input_says_what_to_do(place, line, parts):
    before = sorted(p.relative_to(place) for p in place.rglob("*"))
    done = numpygpt(*line.split(), cwd=place)
    message = " ".join(done.stderr.replace("\u2502", " ").split())
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    for part in parts: assert part in message, message
    assert sorted(p.relative_to(place) for p in place.rglob("*")) == before, "nothing may be written or lost"


def test_token_files_train_and_sample(place):
    done = numpygpt("train", *SHORT, "--data", "mine", "--out", "on_mine", cwd=place)
    assert done.returncode == 0, done.stderr
    text = numpygpt("sample", "on_mine", "--prompt", "In the", "--tokens", 20, "--seed", 1, cwd=place)
    assert text.returncode == 0 and text.stdout.startswith("In the")


def test_word_tokenizer_by_flag(place):
    done = numpygpt("train", *SHORT, "--data", "my.txt", "--tokenizer", "word", "--out", "words", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "WordTokenizer" in numpygpt("info", "words", cwd=place).stdout


def test_info_and_plot(place):
    assert "trained for 4 steps on tinyplays" in numpygpt("info", "run", cwd=place).stdout
    assert numpygpt("info").returncode == numpygpt("--help").returncode == numpygpt("train", "--help").returncode == 0
    assert numpygpt("--version").stdout.startswith("numpygpt ")
    pytest.importorskip("matplotlib")
    assert numpygpt("plot", "run", "--out", "curves.png", cwd=place).returncode == 0
    assert (place / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_defaults_of_a_preset_follow_a_changed_part(place):
    done = numpygpt("train", *SHORT, "--n-head", 8, "--n-embd", 32, "--out", "eight", cwd=place)
    assert done.returncode == 0, done.stderr
    model = json.loads((place / "eight" / "checkpoint" / "train.json").read_text())["model"]
    assert model["n_head"] == model["n_kv_head"] == 8 and model["n_hidden"] == 128


def test_without_out_a_free_folder_is_found(tmp_path):
    for name in ("tiny", "tiny-2"):
        assert numpygpt("train", *SHORT, cwd=tmp_path).returncode == 0
        assert (tmp_path / "runs" / name / "checkpoint").is_dir()
