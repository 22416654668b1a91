"Files that are what was written, units of the text itself, and tokens that are the same: all parts"
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from numpygpt import activations, checkpoint, files, hub, lora, progress
from numpygpt.attention import KVCache
from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.builder import build
from numpygpt.corpus import Settings
from numpygpt.data import Dataset, load_text, tinyplays
from numpygpt.engine import Tensor, einsum
from numpygpt.shards import INDEX, open_dataset
from numpygpt.texts import texts
from numpygpt.training import Run, TrainConfig, cut_log, fit, outline, read_log, record
from numpygpt.transformer import GPT, GPTConfig
from test_lora import SHAPES

TEXT = tinyplays(6000)
CONFIG = dict(context=8, n_layer=1, n_embd=8, n_head=2)
LLAMA = CONFIG | SHAPES["llama"]                             # one that has a published kind


def small_run(text=TEXT, val_fraction=0.1, source=None, **more):
    data = Dataset.from_text(text, CharTokenizer.train(text), val_fraction)
    config = TrainConfig(steps=4, batch_size=2, warmup=0, eval_batches=1, **more)
    return Run(GPTConfig(vocab_size=data.vocab_size, **CONFIG), config, data, source)


# ---- units, and what a type or a cache holds

@pytest.mark.parametrize("size", [2, 20, 1000])
def test_bits_per_character_are_of_the_characters_of_the_text(tmp_path, size):
    "Unknown words become <unk>, of five characters, whatever they were; in memory and from disk"
    text = "a remarkable antidisestablishmentarianism of xyz, no? " * 40 + TEXT
    made = Dataset.from_text(text, WordTokenizer.train(text, max_size=size), 0.25)
    cut = round(len(text) * 0.75)
    made.save(tmp_path / "a")
    (tmp_path / "my.txt").write_text(text)
    settings = Settings("word", size, val_fraction=0.25)
    build([tmp_path / "my.txt"], tmp_path / "b", settings)
    for data in (made, Dataset.open(tmp_path / "a"), open_dataset(tmp_path / "b")):
        for part, n in (("train", cut), ("val", len(text) - cut)):
            assert data.chars_per_token(part) == n / len(getattr(data, part))
    (tmp_path / "a" / "dataset.json").unlink()               # as older ones have it
    assert Dataset.open(tmp_path / "a").chars_per_token() > 0


def test_a_cache_for_another_number_of_texts_is_refused():
    model = GPT(GPTConfig(vocab_size=5, **CONFIG), np.random.default_rng(0))
    for made, came in ((1, 3), (3, 1), (2, 3)):
        cache = model.new_cache(made)
        with pytest.raises(ValueError, match=f"made for {made} sequences, and {came} came"):
            model(np.zeros((came, 2), int), cache)
        assert all(c.length == 0 for c in cache)
    cache, k = KVCache(2, 1, 4, 3, "f4"), np.ones((2, 1, 2, 3), "f4")
    assert cache.append(k, k)[0].shape == (2, 1, 2, 3)


def test_lists_beside_a_tensor_and_sums_in_half_precision():
    a = Tensor(np.ones((2, 3)))
    for y, right in ((a @ [[1.], [2.], [3.]], [[6], [6]]), ([[1., 2.]] @ a, [[3, 3, 3]]),
                     (a @ [1., 2., 3.], [6, 6]), ([1., 2.] @ a, [3, 3, 3])):
        assert y.data.tolist() == right
        y.sum().backward()
    n = 5000
    x = Tensor(np.full(n, 1 / 64, np.float16))
    y = einsum("i,i->", x, x)
    assert y.data.dtype == np.float16 and abs(float(y.data) - n / 4096) < 2e-3
    y.backward()
    assert x.grad.dtype == np.float16


def test_the_slope_of_relu_stops_what_is_infinite():
    dy, x = np.float32([np.inf, np.inf, np.nan, 1]), np.float32([-1, 2, 0, -0.0])
    with np.errstate(all="raise"):
        assert activations.relu_bwd(dy, x).tolist() == [0, np.inf, 0, 0]
    assert activations.relu_bwd(dy, x).dtype == np.float32


# ---- the same text

def test_one_token_of_millions_is_seen(tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, 5_000_000).astype(np.uint16)
    data = Dataset(tokens, tokens[:100], CharTokenizer("abcde"))
    run = Run(GPTConfig(vocab_size=5, **CONFIG), TrainConfig(steps=2, batch_size=2), data, None)
    checkpoint.save(tmp_path / "run", run.model, data.tokenizer, run)
    assert checkpoint.resume(tmp_path / "run", data).index == 0
    for part, at in ((tokens, 2_500_000), (tokens, 0), (tokens, len(tokens) - 1)):
        part[at] ^= 1
        with pytest.raises(ValueError, match="not the one that this run was trained on"):
            checkpoint.resume(tmp_path / "run", data)
        part[at] ^= 1
    assert checkpoint.resume(tmp_path / "run", data).index == 0


def test_a_fingerprint_does_not_ask_how_the_tokens_lie(tmp_path):
    (tmp_path / "my.txt").write_text(TEXT)
    for n in (500, 1 << 20):
        build([tmp_path / "my.txt"], tmp_path / f"{n}", Settings(shard_tokens=n))
    many, few = (open_dataset(tmp_path / n) for n in ("500", f"{1 << 20}"))
    wide = Dataset(np.asarray(few.train).astype(np.int64), few.val[:], few.tokenizer)
    assert len({files.fingerprint(d) for d in (many, few, wide)}) == 1
    shifted = Dataset(few.train[:-1], np.append(few.train[-1:], few.val[:]), few.tokenizer)
    assert files.fingerprint(shifted) != files.fingerprint(few)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.37])
def test_what_builds_the_data_again_is_stored(tmp_path, fraction):
    (tmp_path / "my.txt").write_text(TEXT)
    run = small_run(val_fraction=fraction, source=str(tmp_path / "my.txt"))
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    back = checkpoint.resume(tmp_path / "run")
    assert np.array_equal(back.dataset.val, run.dataset.val)
    assert checkpoint.run_state(back) == checkpoint.run_state(run)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_the_same_for_a_folder_of_texts(tmp_path, fraction):
    (tmp_path / "in").mkdir()
    for i in range(9): (tmp_path / "in" / f"{i}.txt").write_text(TEXT[600 * i:600 * i + 600])
    tokenizer = CharTokenizer.train(TEXT)
    data = checkpoint.open_data(str(tmp_path / "in"), tokenizer, fraction)
    run = Run(GPTConfig(vocab_size=data.vocab_size, **CONFIG), TrainConfig(steps=2, batch_size=2),
              data, str(tmp_path / "in"))
    checkpoint.save(tmp_path / "run", run.model, data.tokenizer, run)
    back = checkpoint.resume(tmp_path / "run")
    assert np.array_equal(back.dataset.val[:], data.val[:])
    assert back.dataset.val_fraction == fraction


# ---- characters

@pytest.mark.parametrize("kind", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le marked",
                                  "utf-16-be marked"])
def test_a_text_is_read_by_its_mark(tmp_path, kind):
    text, path = "naïve 漢字 🎈\r\nline two\r\n" * 50, tmp_path / "my.txt"
    data = text.encode(kind.split()[0]) if "marked" not in kind else \
        ("\ufeff" + text).encode(kind.split()[0])
    path.write_bytes(data)
    right = text.replace("\r\n", "\n")
    assert load_text(path) == right
    for size in (64, 101, 1 << 20): assert "".join(texts(str(path), size)) == right
    index = build([path], tmp_path / "made", Settings())
    assert sum(index["characters"].values()) == len(right)


@pytest.mark.parametrize("data, says", [
    ("a short text".encode("utf-16-le"), "UTF-16 without a mark"),
    ("a short text".encode("utf-16-be"), "UTF-16 without a mark"),
    (b"\x89PNG\r\n\0\0\0\rIHDR\0\1", "binary: byte 6"), (b"caf\xe9", "not UTF-8.*byte 3 is 0xe9"),
    (b"\xff\xfea\0b", "not UTF-16"), (b"\xff\xfe\0\xd8\0\xd8", "not UTF-16")])
def test_what_is_no_text_says_what_it_looks_like(tmp_path, data, says):
    (tmp_path / "my.txt").write_bytes(data)
    with pytest.raises(ValueError, match=says): load_text(tmp_path / "my.txt")
    with pytest.raises(ValueError, match=says): list(texts(str(tmp_path / "my.txt")))


# ---- digests

def flipped(path, at):
    "The file with one bit changed; returns what it was"
    data = path.read_bytes()
    at = round(at * (len(data) - 1))
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
    return data


def saved_run(tmp_path):
    run = small_run()
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    read = lambda: (checkpoint.load(tmp_path / "run"),
                    checkpoint.resume(tmp_path / "run", run.dataset))[1]
    return tmp_path / "run", read


def saved_data(tmp_path):
    small_run().dataset.save(tmp_path / "data")
    return tmp_path / "data", lambda: open_dataset(tmp_path / "data")


def saved_shards(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "my.txt").write_text(TEXT)
    build([tmp_path / "my.txt"], tmp_path / "data", Settings("bpe", 280, shard_tokens=2000))
    return tmp_path / "data", lambda: open_dataset(tmp_path / "data")


def saved_adapter(tmp_path):
    new = lambda: GPT(GPTConfig(vocab_size=5, **LLAMA), np.random.default_rng(0))
    lora.save_adapter(lora.lora(new(), 2, 4., ["q"], rng=0), tmp_path / "adapter")
    return tmp_path / "adapter", lambda: lora.load_adapter(new(), tmp_path / "adapter")


def saved_export(tmp_path):
    model = GPT(GPTConfig(vocab_size=300, **LLAMA), np.random.default_rng(0))
    hub.export(model, tmp_path / "out", tokenizer=BPETokenizer.train(TEXT, 300))
    return tmp_path / "out", lambda: numpygpt.load(tmp_path / "out")


@pytest.mark.parametrize("make", [saved_run, saved_data, saved_shards, saved_adapter, saved_export])
def test_a_bit_that_flips_is_told_with_the_name_of_the_file(tmp_path, make):
    folder, read = make(tmp_path)
    read()
    for path in sorted(folder.iterdir()):
        for at in (0, 0.3, 0.62, 1):
            before = flipped(path, at)
            with pytest.raises((ValueError, OSError)) as told: read()
            assert path.name in str(told.value) and "\n" not in str(told.value), path.name
            path.write_bytes(before)
    read()


def saved_run_with_text(tmp_path):
    (tmp_path / "my.txt").write_text(TEXT)
    run = small_run(source=str(tmp_path / "my.txt"))
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    return tmp_path / "run"


def test_a_tokenizer_that_changed_is_told_wherever_a_run_is_opened(tmp_path):
    folder = saved_run_with_text(tmp_path)
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"a"', '"\\u0061"'))       # the same JSON, other bytes
    for read in (checkpoint.resume, checkpoint.load, numpygpt.load):
        with pytest.raises(ValueError, match="tokenizer.json is not the file that was saved.*copy"):
            read(folder)


def test_folders_without_digests_are_read(tmp_path):
    "As they were written before there were any"
    folder, read = saved_run(tmp_path / "a")
    info = checkpoint.read_info(folder)
    for name in ("sha256", "machine", "val_fraction"): del info[name]
    (folder / "train.json").write_text(json.dumps(info))
    assert read().index == 0 and checkpoint.load(folder)[1]
    for make, name in ((saved_data, "dataset.json"), (saved_adapter, "digests.json")):
        folder, read = make(tmp_path / name)
        (folder / name).unlink()
        assert read()
    folder, read = saved_shards(tmp_path / "b")
    index = files.unsealed((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index))
    assert read()


def test_a_line_of_a_log_that_changed_is_told(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = list(record(fit(small_run()), path))
    assert read_log(path) == steps and outline(path)[0] == steps
    lines = path.read_bytes().splitlines(True)
    for n, line in enumerate(lines, 1):
        for at in range(0, len(line) - 1, 5):
            new = line[:at] + bytes([line[at] ^ 1]) + line[at + 1:]
            path.write_bytes(b"".join([*lines[:n - 1], new, *lines[n:]]))
            for read in (read_log, outline, lambda p: cut_log(p, 9)):
                with pytest.raises(ValueError, match=f"log.jsonl, line {n}, is damaged.*delete"):
                    read(path)
    path.write_bytes(b"".join(json.dumps(vars(s)).encode() + b"\n" for s in steps))      # older
    assert read_log(path) == steps == outline(path)[0]


def test_progress_that_changed_is_set_aside(tmp_path, monkeypatch, capsys):
    path = tmp_path / "progress.json"
    monkeypatch.setenv(progress.VARIABLE, str(path))
    progress.record("check", "x", ok=True)
    path.write_text(path.read_text().replace('"tries": 1', '"tries": 7'))
    assert progress.state()["exercises"] == {} and "damaged" in capsys.readouterr().out
    path.write_text('{"version": 1, "exercises": {"x": {"tries": 7}}}')          # older
    assert progress.state()["exercises"]["x"]["tries"] == 7


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b'{"a": 1, "a": 2}', b"[" * 100_000,
                                  b'{"a":' * 100_000, b'{"a": 1' + b"0" * 5000 + b"}",
                                  b"\xff\xfe{"])
def test_json_that_is_none_is_refused(text):
    with pytest.raises(ValueError): files.unsealed(text)


# ---- elsewhere

def test_a_run_that_goes_on_elsewhere_says_so_once(tmp_path, capsys):
    folder, read = saved_run(tmp_path)
    info = checkpoint.read_info(folder)
    assert info["machine"] == files.machine() and info["machine"]["numpy"] == np.__version__
    read()
    assert capsys.readouterr().out == ""
    for name, value in (("numpy", "1.26.0"), ("blas", "other"), ("processor", "arm64")):
        changed = info | {"machine": info["machine"] | {name: value}}
        (folder / "train.json").write_text(json.dumps(changed))
        read()
        said = capsys.readouterr().out
        assert said.count("\n") == 1 and value in said and "last bits" in said


def test_two_processes_on_one_machine_note_the_same():
    code = "from numpygpt.files import machine; print(machine())"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(files.machine()) and Path(sys.executable).exists()


def test_the_page_on_promises_names_tests_that_are_there():
    tests = Path(__file__).parent
    text = (tests.parent / "nbs" / "promises.ipynb").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:slow/)?test_\w+\.py", text))
    assert len(named) > 8 and all((tests / name).is_file() for name in named)
