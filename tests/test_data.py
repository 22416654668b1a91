"Corpora, token files, batches, baselines"
import gzip
import hashlib
import json
import os
import shutil
from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numpygpt.data as data
from numpygpt.bpe import BPETokenizer, CharTokenizer
from numpygpt.data import (TINYPLAYS_BITS, Arrays, DataLoader, Dataset, Windows, bigram_bits,
                           load_text, mnist, ngram_bits, read_tokens, split_text, tinyplays,
                           tinyplays_surprisal, unigram_bits, uniform_bits, write_tokens)

needs_files = pytest.mark.skipif(
    "NUMPYGPT_DATA" not in os.environ,
    reason="NUMPYGPT_DATA does not name a folder with the real corpora")


# tinyplays

def test_tinyplays_is_the_same_everywhere():
    text = tinyplays(10_000)
    assert text == tinyplays(20_000)[:len(text)] != tinyplays(10_000, seed=1)[:len(text)]
    assert 10_000 <= len(text) < 12_000 and len(set(tinyplays(100_000))) <= 60
    assert text.endswith("]\n\n")
    digest = "f1f371c9ec98e0e2339d1397564af53c7ecae8ac36bf905b27d2a940791445a8"
    assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("seed", range(3))
def test_measured_entropy_is_the_computed_one(seed):
    scenes = [s + "\n\n" for s in tinyplays(200_000, seed + 100).split("\n\n")[:-1]]
    bits = np.array([tinyplays_surprisal(s) for s in scenes])
    chars = np.array([len(s) for s in scenes])
    error = (bits - TINYPLAYS_BITS * chars).std() / chars.mean() / np.sqrt(len(scenes))
    assert abs(bits.sum() / chars.sum() - TINYPLAYS_BITS) < 4 * error < 0.02
    assert np.isclose(tinyplays_surprisal("".join(scenes)), bits.sum())


def test_other_texts_have_no_derivation():
    text = tinyplays(1000)
    assert tinyplays_surprisal("") == 0
    for wrong in (text[:-1], text + "x", text.replace("[Exit", "[exit"), "\n" + text):
        says = "no scene of tinyplays reads like this, from character"
        with pytest.raises(ValueError, match=says): tinyplays_surprisal(wrong)


# named corpora and files

@needs_files
def test_shakespeare():
    text = load_text("shakespeare")
    assert len(text) == 1_115_394 and text.startswith("First Citizen:") and len(set(text)) == 65


@needs_files
def test_mnist():
    train_x, train_y, test_x, test_y = mnist()
    assert train_x.shape == (60000, 28, 28) and train_y.shape == (60000,)
    assert test_x.shape == (10000, 28, 28) and test_y.shape == (10000,)
    assert all(a.dtype == np.uint8 for a in (train_x, train_y, test_x, test_y))
    assert train_y[:5].tolist() == [5, 0, 4, 1, 9]


@needs_files
def test_files_cut_in_the_middle(tmp_path, monkeypatch):
    for name in data.SOURCES: shutil.copy(Path(os.environ["NUMPYGPT_DATA"]) / name, tmp_path / name)
    monkeypatch.setenv("NUMPYGPT_DATA", str(tmp_path))
    for name, read in (("tinyshakespeare.txt", lambda: load_text("shakespeare")),
                       ("t10k-images-idx3-ubyte.gz", mnist)):
        whole = (tmp_path / name).read_bytes()
        os.chmod(tmp_path / name, 0o644)
        for n in (0, 1, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:n])
            with pytest.raises(ValueError, match=f"{name}.*(cut off|changed).*delete it"): read()
        (tmp_path / name).write_bytes(whole)
    changed = bytearray((tmp_path / "tinyshakespeare.txt").read_bytes())
    changed[1000] ^= 1
    (tmp_path / "tinyshakespeare.txt").write_bytes(changed)
    with pytest.raises(ValueError, match="SHA-256"): load_text("shakespeare")


@needs_files
def test_any_packing_of_the_same_bytes_will_do(tmp_path, monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    unpacked = data.fetch(name)
    (tmp_path / name).write_bytes(gzip.compress(unpacked, 1))
    monkeypatch.setenv("NUMPYGPT_DATA", str(tmp_path))
    assert data.fetch(name) == unpacked


def test_missing_folder_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMPYGPT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="NUMPYGPT_DATA.*tinyshakespeare.txt"):
        load_text("shakespeare")
    monkeypatch.delenv("NUMPYGPT_DATA")
    pooch = pytest.importorskip("pooch")
    def broken(*args, **kwargs): raise ConnectionError("no network")
    monkeypatch.setattr(pooch, "retrieve", broken)
    with pytest.raises(OSError, match="could not download.*NUMPYGPT_DATA"): load_text("shakespeare")


def test_downloads_are_checked(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("NUMPYGPT_DATA", raising=False)
    def half(url, known_hash, fname, path, **kwargs):
        assert url.startswith("https://")
        (tmp_path / fname).write_text("First Citi")
        return str(tmp_path / fname)
    monkeypatch.setattr(pooch, "retrieve", half)
    with pytest.raises(ValueError, match="wrong contents"): load_text("shakespeare")


@pytest.mark.parametrize("contents, says", [
    (b"", "empty"), (b" \n\n", "empty"), (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
    ("é".encode()[:1], "not UTF-8"), ("é".encode("latin-1") * 3, "not UTF-8")])
def test_unusable_text_files(tmp_path, contents, says):
    (tmp_path / "x.txt").write_bytes(contents)
    with pytest.raises(ValueError, match=says): load_text(tmp_path / "x.txt")


def test_text_files(tmp_path):
    (tmp_path / "x.txt").write_bytes("\ufeffnaïve\r\nline".encode())
    assert load_text(str(tmp_path / "x.txt")) == "naïve\nline"
    with pytest.raises(FileNotFoundError, match="tinyplays"): load_text("shakspeare")


# token files

@pytest.mark.parametrize("vocab_size, dtype", [(2, np.uint16), (65_536, np.uint16),
                                               (65_537, np.uint32)])
def test_token_files(tmp_path, vocab_size, dtype):
    ids = [0, 1, vocab_size - 1] * 7
    write_tokens(tmp_path / "t.npy", ids, vocab_size)
    tokens = read_tokens(tmp_path / "t.npy")
    assert isinstance(tokens, np.memmap) and tokens.dtype == dtype and tokens.tolist() == ids
    assert [p.name for p in tmp_path.iterdir()] == ["t.npy"]


def test_empty_token_file(tmp_path):
    write_tokens(tmp_path / "t.npy", [], 10)
    assert len(read_tokens(tmp_path / "t.npy")) == 0


def test_cut_off_token_files(tmp_path):
    path = tmp_path / "t.npy"
    write_tokens(path, range(100), 100)
    whole = path.read_bytes()
    for n in (0, 3, 40, 128, 200, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="cut off"): read_tokens(path)
    with pytest.raises(FileNotFoundError, match="no token file"): read_tokens(tmp_path / "none.npy")
    np.save(path, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="does not hold"): read_tokens(path)
    np.savez(tmp_path / "z.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="token"): read_tokens(tmp_path / "z.npz")


def test_impossible_tokens(tmp_path):
    for ids in ([0, 10], [-1, 0]):
        with pytest.raises(ValueError, match="must lie in 0 to 9"):
            write_tokens(tmp_path / "t.npy", ids, 10)
    with pytest.raises(ValueError, match="row of integers"):
        write_tokens(tmp_path / "t.npy", [0.5], 10)


# datasets

@given(st.text(min_size=1, max_size=200), st.floats(0, 0.9))
@settings(deadline=None)
def test_no_validation_text_in_training(text, fraction):
    train, val = split_text(text, fraction)
    assert train + val == text
    ds = None
    if "\ud800" not in text: ds = Dataset.from_text(text, BPETokenizer([(97, 97)]), fraction)
    assert ds.tokenizer.decode(ds.train) == train and ds.tokenizer.decode(ds.val) == val


def test_save_and_open(tmp_path):
    text = tinyplays(3000)
    for tok in (CharTokenizer.train(text), BPETokenizer.train(text, 400)):
        ds = Dataset.from_text(text, tok)
        ds.save(tmp_path / "d" / "e")
        again = Dataset.open(tmp_path / "d" / "e")
        assert np.array_equal(again.train, ds.train) and np.array_equal(again.val, ds.val)
        assert again.vocab_size == tok.vocab_size
        assert again.tokenizer.encode("Who") == tok.encode("Who")
        assert np.isclose(again.chars_per_token("train") * len(ds.train), len(split_text(text)[0]))
    Dataset.from_text(text, tok, val_fraction=0).save(tmp_path / "f")
    assert len(Dataset.open(tmp_path / "f").val) == 0
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        Dataset.open(tmp_path / "none")
    with pytest.raises(ValueError, match="val_fraction"): split_text(text, 1)
    with pytest.raises(ValueError, match="empty"): Dataset.from_text("", tok)


# windows and batches

@given(st.integers(1, 20), st.integers(1, 60))
@settings(deadline=None)
def test_targets_are_one_later(context, more):
    tokens = np.arange(context + more, dtype=np.uint16)
    windows = Windows(tokens, context)
    assert len(windows) == more
    x, y = windows[np.arange(len(windows))]
    assert x.shape == y.shape == (more, context) and x.dtype == y.dtype == np.int64
    assert isinstance(x, np.ndarray)
    assert (y == x + 1).all() and y.max() == len(tokens) - 1
    y[:] = -1
    assert (x >= 0).all()


def test_short_texts_and_wrong_indices():
    for n in (0, 5, 8):
        says = f"{n} tokens are too few for a context of 8, which needs 9"
        with pytest.raises(ValueError, match=says): Windows(np.arange(n), 8)
    windows = Windows(np.arange(20), 8)
    for bad in ([-1], [12], [0, 99]):
        with pytest.raises(IndexError, match="0 to 11"): windows[bad]
    assert windows[:2][0].tolist() == [list(range(8)), list(range(1, 9))]
    assert windows[3][0].shape == (8,)
    with pytest.raises(ValueError, match="equally long"): Arrays(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="fewer than one batch of 5"):
        DataLoader(Windows(np.arange(20), 8), 5)
    with pytest.raises(ValueError, match="at least 1"): DataLoader(windows, 0)
    with pytest.raises(ValueError, match="at least 1"): Windows(np.arange(20), 0)


@given(st.integers(1, 9), st.integers(1, 80), st.integers(1, 5), st.booleans(), st.booleans())
@settings(deadline=None)
def test_epochs(context, more, batch_size, shuffle, drop_last):
    tokens = np.arange(context + more)
    try:
        loader = DataLoader(Windows(tokens, context), batch_size, seed=3, shuffle=shuffle,
                            drop_last=drop_last)
    except ValueError: return
    for epoch in range(4):
        batches = list(loader)
        assert len(batches) == len(loader) and loader.epoch == epoch + 1
        seen = np.concatenate([x.ravel() for x, _ in batches])
        assert len(set(seen)) == len(seen)                              # no token twice in an epoch
        assert all(len(x) == batch_size for x, _ in batches[:-1])
        assert len(batches[-1][0]) == batch_size or not drop_last
        if not shuffle: assert seen.tolist() == list(range(len(seen)))
        if not shuffle and not drop_last: assert len(seen) == (len(tokens) - 1) // context * context


def test_phases_change_and_cover():
    loader = DataLoader(Windows(np.arange(1000), 10), 4)
    phases = [min(x.min() for x, _ in loader) % 10 for _ in range(100)]
    assert set(phases) == set(range(10))
    rows = DataLoader(Arrays(np.arange(12), np.arange(12)), 5, drop_last=False)
    first, second = ([x.tolist() for x, _ in rows] for _ in range(2))
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(12)) and first != second
    assert len(rows) == 3


@pytest.mark.parametrize("make", [lambda: Windows(np.arange(500), 7),
                                  lambda: Arrays(np.arange(100), np.arange(100))])
@pytest.mark.parametrize("taken", [0, 1, 5, 11, 12, 30])
def test_resume_in_the_middle(make, taken):
    for options in ({}, {"shuffle": False}, {"drop_last": False}):
        first, second = (DataLoader(make(), 6, seed=5, **options) for _ in range(2))
        for _ in range(taken): first.next()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for _ in range(40):
            assert all(np.array_equal(a, b) for a, b in zip(first.next(), second.next()))


def test_iter_gives_the_rest():
    loader = DataLoader(Arrays(np.arange(12), np.arange(12)), 3)
    taken = [loader.next(), loader.next()]
    for batch in loader:
        taken.append(batch)
        break
    taken += list(loader)
    assert sorted(np.concatenate([x for x, _ in taken]).tolist()) == list(range(12))
    assert (loader.epoch, loader.batch) == (1, 0)


def test_state_of_another_loader():
    state = DataLoader(Arrays(np.arange(12), np.arange(12)), 3).state_dict()
    for other in (DataLoader(Arrays(np.arange(12), np.arange(12)), 4),
                  DataLoader(Arrays(np.arange(13), np.arange(13)), 3),
                  DataLoader(Arrays(np.arange(12), np.arange(12)), 3, seed=1)):
        with pytest.raises(ValueError, match="make it as it was"): other.load_state_dict(state)


def test_seeds_differ():
    orders = [DataLoader(Windows(np.arange(999), 9), 4, seed=s).order(e).tolist()
              for s in range(5) for e in range(5)]
    assert len({tuple(o) for o in orders}) == 25


# baselines

def test_baselines():
    assert uniform_bits(64) == 6
    train, val = [0, 1, 0, 1, 2], [0, 1]
    p0, p1 = (2 + 3 / 3) / 8, (2 + 3 / 3) / 8
    assert np.isclose(unigram_bits(train, val, 3), -(log2(p0) + log2(p1)) / 2)
    assert np.isclose(bigram_bits(train, val, 3), -(log2(p0) + log2((2 + p1) / 3)) / 2)
    rng = np.random.default_rng(0)
    noise = rng.integers(8, size=(2, 50_000))
    assert all(abs(ngram_bits(*noise, 8, n) - 3) < 0.02 for n in (1, 2, 3))
    text = np.tile([0, 1, 2, 3], 1000)
    assert bigram_bits(text, text, 4) < 0.01 < 1.99 < unigram_bits(text, text, 4) < 2.01
    for bad in ((train, [], 3, 1), ([], val, 3, 1), (train, val, 65536, 4)):
        with pytest.raises(ValueError): ngram_bits(*bad)


def test_no_baseline_beats_the_floor():
    text = tinyplays(60_000)
    ds = Dataset.from_text(text, CharTokenizer.train(text))
    assert all(ngram_bits(ds.train, ds.val, ds.vocab_size, n) > TINYPLAYS_BITS for n in range(1, 9))


@needs_files
def test_bigram_of_shakespeare_to_three_decimals():
    text = load_text("shakespeare")
    ds = Dataset.from_text(text, CharTokenizer.train(text))
    assert (len(ds.train), len(ds.val)) == (1_003_855, 111_539)
    found = [round(f(ds.train, ds.val, 65), 3) for f in (unigram_bits, bigram_bits)]
    assert found == [4.829, 3.586]
