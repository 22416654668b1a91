"From texts to shards: the same ids in pieces, the same bytes after a stop, bad input in one line"
import errno
import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import builder, checkpoint, files, hub, texts
from numpygpt.bpe import (BPETokenizer, CharTokenizer, Merges, WordTokenizer, pre_tokens,
                          train_merges)
from numpygpt.builder import build, open_texts, summary
from numpygpt.corpus import END, Encode, Recipe, Settings, Table, end_id
from numpygpt.data import Dataset, tinyplays
from numpygpt.prefixes import Neighbours, Prefixes, encode_words, learn_merges
from numpygpt.shards import INDEX, open_dataset
from numpygpt.texts import cuts_of, pieces
from numpygpt.training import Run, TrainConfig, fit
from numpygpt.transformer import GPTConfig

TEXT = tinyplays(30_000)
LETTERS = [*"ab 7\n\r\t'sS—。中\u0301\U0001f642\u200d\x1c", "  ", "\r\n", END, END[:4],
           "ab", "'ll"]
AWKWARD = st.lists(st.sampled_from(LETTERS), max_size=40).map("".join)
KINDS = "char", "word", "bpe"
SAMPLE = "".join(LETTERS) * 3
TOKENIZERS = [CharTokenizer.train(SAMPLE), WordTokenizer.train(SAMPLE),
              BPETokenizer.train(SAMPLE + TEXT, 400, [END]),
              BPETokenizer.train(SAMPLE + TEXT, 400, ["a b", END], r"[^\r\n]+|\s"),
              BPETokenizer.train(SAMPLE + TEXT, 400, [], r"(?<=x)y|.|\n|\r")]


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}


def ids_of(folder):
    made = open_dataset(folder)
    return made.train[:].tolist(), made.val[:].tolist()


@pytest.fixture
def plays(tmp_path):
    "A folder with documents, some of them twice, and files that are none"
    folder = tmp_path / "plays"
    folder.mkdir()
    scenes = [s + "\n" for s in TEXT.split("\n\n")[:30]]
    for i, scene in enumerate(scenes + scenes[:5]): (folder / f"{i:02}.txt").write_text(scene)
    (folder / "binary.txt").write_bytes(b"\x7fELF\0")
    (folder / "empty.md").write_text(" \n")
    (folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
    return folder


# --- all words at once

FEW = st.binary(min_size=1, max_size=9).map(lambda b: bytes(c % 3 for c in b))


@settings(max_examples=40, deadline=None)
@given(words=st.dictionaries(FEW, st.integers(1, 5), max_size=30), n=st.integers(0, 40))
def test_merges_by_places_are_those_by_words(words, n):
    merges = learn_merges([*words], [*words.values()], n)
    assert merges == train_merges(words, n)
    rules = Merges(merges)
    asked = [*words, *(a + b for a in words for b in words)][:200]
    if len(set(rules.tokens)) == len(rules.tokens):
        assert Neighbours(rules).proper
    for word, ids in zip(asked, encode_words(Prefixes(rules), asked)):
        assert list(ids) == rules.ids(word)


def test_a_long_word_goes_in_windows():
    rng = np.random.default_rng(0)
    rules = Merges(train_merges(Counter(w.encode() for w in pre_tokens(TEXT)), 300))
    for letters, n in (("ACGT", 5000), ("the of", 3000), ("a", 2000), ("ab", 1500)):
        word = "".join(rng.choice([*letters], n)).encode()
        (ids,) = encode_words(Prefixes(rules), [word])
        assert list(ids) == rules.ids(word)


def test_merges_of_any_file_are_encoded_as_they_say():
    "Also those of which the theorem does not speak: a token made twice, a part that never is"
    for merges in ([(97, 98), (256, 99), (98, 99), (97, 258)], [(97, 97), (97, 97), (256, 257)],
                   [(98, 99), (97, 98), (257, 99), (97, 256)]):
        rules = Merges(merges)
        some = np.random.default_rng(1).integers(97, 100, (200, 9)).astype("u1")
        words = [bytes(w) for w in some]
        assert [list(i) for i in encode_words(Prefixes(rules), words)] == [*map(rules.ids, words)]


# --- pieces

ENCODERS = [(tokenizer, Encode(tokenizer, None), cuts_of(tokenizer)) for tokenizer in TOKENIZERS]


@pytest.mark.parametrize("tokenizer, encode, cuts", ENCODERS,
                         ids=["char", "word", "bpe", "lines", "odd"])
@settings(max_examples=40, deadline=None)
@given(text=AWKWARD, size=st.integers(1, 30), step=st.integers(1, 7))
def test_ids_in_pieces_are_those_of_the_text(tokenizer, encode, cuts, text, size, step):
    parts = [(text[i:i + step], False) for i in range(0, len(text), step)] + [("", True)]
    made = b"".join(encode([part]) for part in pieces(parts, cuts, size))
    assert np.frombuffer(made, np.uint16).tolist() == tokenizer.encode(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size, workers", [(1000, 1), (10_000, 3)])
def test_one_text_has_the_ids_that_it_always_had(tmp_path, kind, size, workers):
    (tmp_path / "a.txt").write_text(TEXT)
    build([tmp_path / "a.txt"], tmp_path / "out", Settings(kind, 400), workers=workers, size=size)
    old = Dataset.from_text(TEXT, Recipe(kind, 400)(TEXT))
    assert ids_of(tmp_path / "out") == (old.train.tolist(), old.val.tolist())
    made = open_dataset(tmp_path / "out")
    assert made.tokenizer._to_json() == old.tokenizer._to_json() and end_id(made.tokenizer) is None
    assert np.isclose(made.chars_per_token(), old.chars_per_token())


def test_characters_are_looked_up_in_any_number_and_from_any_plane():
    most = CharTokenizer([chr(i + 0x800 * (i >= 0xD800)) for i in range(1 << 16)])
    assert most.encode("\U000107ff") == [(1 << 16) - 1]       # as large as two bytes allow
    for tok, far in ((most, "\U000107ff"), (CharTokenizer.train(SAMPLE), "\U0001f642")):
        for text in ("", "a", "ab", "ab7", far, "a—", "ab" + far):
            for end in (None, 5):
                made = np.frombuffer(Encode(tok, end)([(text, False), (text, True)] * 2), np.uint16)
                assert made.tolist() == (tok.encode(text * 2) + [5] * (end == 5)) * 2
    for text in ("?", "a?", "ab?", "—?", "ab\0"):
        with pytest.raises(ValueError, match="is not among"):
            Encode(CharTokenizer("ab—"), None)([(text, True)])


# --- documents

@pytest.mark.parametrize("kind", KINDS)
def test_documents_end_with_a_token(plays, tmp_path, kind):
    index = build([plays], tmp_path / "out", Settings(kind, 400))
    made = open_dataset(tmp_path / "out")
    end = end_id(made.tokenizer)
    assert end == index["end"] and made.tokenizer.decode([end]) == END
    for row, part in ((made.train, "train"), (made.val, "val")):
        assert (row[:] == end).sum() == index["documents"][part] and row[-1] == end
    texts = {p.read_text() for p in plays.glob("[0-9]*.txt")}
    for row in (made.train, made.val):
        for part in np.split(row[:], np.flatnonzero(row[:] == end) + 1)[:-1]:
            assert kind == "word" or made.tokenizer.decode(part[:-1]) in texts
    told = summary(index)
    for line in ("35 documents", "5 copies of others", "binary.txt is binary: byte 4 is zero",
                 "empty.md is empty", "latin.txt is not UTF-8 text (byte 2 is 0xf6)"):
        assert line in told, told
    with pytest.raises(ValueError, match="binary.txt"):
        build([plays], tmp_path / "strict", Settings(kind, 400), strict=True)
    assert not (tmp_path / "strict").exists()


def test_copies_are_left_out_and_a_file_more_moves_no_other(plays, tmp_path):
    s = Settings(dedup=True, val_fraction=0.3)
    index = build([plays], tmp_path / "a", s)
    assert index["documents"]["all"] == 30 and index["documents"]["left out"] == 5
    sides = lambda folder: [{t for t in open_dataset(folder).tokenizer.decode(row).split(END)}
                            for row in ids_of(folder)]
    (plays / "00a.txt").write_text("Something that is new\n")
    build([plays], tmp_path / "b", s)
    for before, after in zip(sides(tmp_path / "a"), sides(tmp_path / "b")):
        assert before <= after and len(after - before) <= 1


def test_equal_documents_are_one_when_asked_for(tmp_path):
    for name in "abc": (tmp_path / f"{name}.txt").write_text(TEXT)
    build([tmp_path], tmp_path / "out", Settings(dedup=True))
    old = Dataset.from_text(TEXT, CharTokenizer.train(TEXT))
    assert ids_of(tmp_path / "out") == (old.train.tolist(), old.val.tolist())


def test_json_lines_a_pipe_and_separators(tmp_path):
    scenes = TEXT.split("\n\n")[:40]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as f:
        f.writelines(json.dumps({"story": s}) + "\n" for s in scenes)
    index = build([tmp_path / "a.jsonl.gz"], tmp_path / "a", Settings(text_field="story"))
    assert index["documents"]["all"] == 40
    (tmp_path / "b.txt").write_text("\n\n".join(scenes))
    code = ("import sys; from numpygpt.builder import build, Settings\n"
            f"build(['-'], {str(tmp_path / 'b')!r}, Settings(documents='blank-line'))")
    with open(tmp_path / "b.txt") as f:
        subprocess.run([sys.executable, "-c", code], stdin=f, check=True)
    assert ids_of(tmp_path / "b") == ids_of(tmp_path / "a")
    assert not (tmp_path / "b" / "stdin.txt").exists()


def test_two_hundred_files_twice_are_the_same_bytes(tmp_path):
    for i in range(200):
        (tmp_path / f"t{i % 7}").mkdir(exist_ok=True)
        (tmp_path / f"t{i % 7}" / f"{i}.txt").write_text(tinyplays(200, seed=i))
    folders = [tmp_path / f"t{i}" for i in range(7)]
    for name, workers in (("a", 1), ("b", 2)):
        build(folders, tmp_path / name, Settings("bpe", 300, shard_tokens=1000), workers=workers,
              size=2000)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


# --- counts

@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), room=st.integers(500, 5000))
def test_a_full_table_says_how_wrong_it_is(seed, room):
    rng, table, truth = np.random.default_rng(seed), Table(room), Counter()
    for _ in range(20):
        counts = Counter(f"w{i}" for i in rng.zipf(1.4, 100))
        table.add(counts)
        truth.update(counts)
        assert table.size == sum(32 + len(w) for w in table.counts) <= room
    assert all(0 <= n - table.counts.get(w, 0) <= table.lost for w, n in truth.items())


def test_a_tokenizer_of_a_part_is_told(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    s = Settings("bpe", 300, train_on="5KB")
    index = build([tmp_path / "a.txt"], tmp_path / "o", s, size=2000)
    assert "merges were learned from 16.6% of the training part" in summary(index)
    for bad in ("much", "5", "0GB"):
        with pytest.raises(ValueError, match="train_on must be a size.*500MB"):
            Settings(train_on=bad)


# --- stops

class Killed(BaseException): pass


SMALL = Settings("bpe", 300, shard_tokens=900)


@pytest.mark.parametrize("operation", ["replace", "open"])
def test_killed_at_every_file_operation(plays, tmp_path, monkeypatch, operation):
    build([plays], tmp_path / "whole", SMALL, size=1000)
    module = os if operation == "replace" else files
    plain, stops = {"replace": os.replace, "open": open}[operation], 0
    while True:
        folder, left = tmp_path / f"{stops}", [stops]

        def once(*args, **kwargs):
            writes = operation == "replace" or "w" in str(args[1:])
            left[0] -= writes
            if left[0] == -1 and writes: raise Killed
            return plain(*args, **kwargs)
        monkeypatch.setattr(module, operation, once, raising=False)
        try: build([plays], folder, SMALL, size=1000)
        except Killed: pass
        else: break
        finally: monkeypatch.undo()
        build([plays], folder, SMALL, size=1000, workers=1)
        assert contents(folder) == contents(tmp_path / "whole"), stops
        stops += 1
    assert stops > 10


def test_what_was_begun_otherwise_is_refused(plays, tmp_path):
    build([plays], tmp_path / "o", SMALL)
    before = contents(tmp_path / "o")
    assert build([plays], tmp_path / "o", SMALL)["complete"]
    (tmp_path / "more.txt").write_text("more")
    for names, s, says in (
            ([plays], replace(SMALL, vocab_size=301), "vocab_size was 300 and is 301"),
            ([plays], replace(SMALL, dedup=True), "dedup was False and is True"),
            ([plays, tmp_path / "more.txt"], SMALL, "35 texts, and 36 came"),
            ([tmp_path / "more.txt"], SMALL, "35 texts, and 1 came")):
        with pytest.raises(ValueError, match=f"begun otherwise .*{says}.*another --out"):
            build(names, tmp_path / "o", s)
    with pytest.raises(ValueError, match="another tokenizer"):
        build([plays], tmp_path / "o", SMALL, BPETokenizer([], [END]))
    (plays / "00.txt").write_text("changed")
    with pytest.raises(ValueError, match="00.txt is not the text that .*00.txt was"):
        build([plays], tmp_path / "o", SMALL)
    assert contents(tmp_path / "o") == before
    (tmp_path / "o" / "train-00000.npy").write_bytes(b"")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "train.npy").touch()
    with pytest.raises(ValueError, match="holds a dataset already"):
        build([plays], tmp_path / "old")


def test_a_damaged_shard_is_told(plays, tmp_path):
    build([plays], tmp_path / "o", SMALL)
    (tmp_path / "o" / "train-00001.npy").write_bytes(b"half")
    with pytest.raises(ValueError, match="train-00001.npy is not what was written"):
        build([plays], tmp_path / "o", SMALL)
    (tmp_path / "o" / INDEX).write_text("{")
    with pytest.raises(ValueError, match="damaged.*delete"): build([plays], tmp_path / "o", SMALL)


# --- bad input

@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no limit to a file")
def test_a_disk_that_fills_leaves_what_is_finished(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT * 20)
    build([tmp_path / "a.txt"], tmp_path / "whole", Settings(shard_tokens=40_000))
    code = textwrap.dedent(f"""
        import resource; from numpygpt.builder import build, Settings
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        s = Settings(shard_tokens=40_000)
        try: build([{str(tmp_path / 'a.txt')!r}], {str(tmp_path / 'o')!r}, s)
        except ValueError as e: print(e)""")
    run = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cannot grow" in run().stdout and "finished shards stay" in run().stdout
    assert not list((tmp_path / "o").glob("*.part"))
    build([tmp_path / "a.txt"], tmp_path / "o", Settings(shard_tokens=40_000))
    assert contents(tmp_path / "o") == contents(tmp_path / "whole")


def test_a_file_that_grows_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT)
    plain = builder.encode

    def encode(*args):
        with open(tmp_path / "a.txt", "a") as f: f.write("more")
        plain(*args)
    monkeypatch.setattr(builder, "encode", encode)
    with pytest.raises(ValueError, match="a.txt is not what it was a moment ago"):
        build([tmp_path / "a.txt"], tmp_path / "o", Settings(shard_tokens=5000))
    assert (tmp_path / "o" / INDEX).is_file()


@pytest.mark.parametrize("way", ["permissions", "opening", "reading"])
def test_an_unreadable_file_is_told(tmp_path, monkeypatch, way):
    "In one line, at the first look and later; root may read everything, so it is pretended, too"
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text(TEXT[::-1])
    no, opened = PermissionError(errno.EACCES, "Permission denied"), texts.opened

    class Broken(io.BytesIO):
        def read(self, size=-1): raise OSError(errno.EIO, "Input/output error")

    def refused(name):
        if not name.endswith("b.txt"): return opened(name)
        if way == "opening": raise no
        return Broken()

    def refuse():
        if way == "permissions": (tmp_path / "b.txt").chmod(0)
        else: monkeypatch.setattr(texts, "opened", refused)
    if way == "permissions" and (sys.platform == "win32" or os.geteuid() == 0):
        pytest.skip("root, and whoever owns a file on Windows, may read everything")
    says = r"b\.txt cannot be read \((Permission denied|Input/output error)\): .*leave it out$"
    encode = builder.encode
    with monkeypatch.context() as m:
        m.setattr(builder, "encode", lambda *args: (refuse(), encode(*args)))
        with pytest.raises(ValueError, match=says):
            build([tmp_path], tmp_path / "later", Settings(shard_tokens=5000), size=5000)
    assert list((tmp_path / "later").glob("*-00001.npy"))     # finished shards stay
    with pytest.raises(ValueError, match=says): build([tmp_path], tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_what_cannot_be_read_leaves_nothing(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode())[:-30])
    (tmp_path / "b.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    (tmp_path / "c.txt").write_text("\n \n")
    for name, says in (("a.txt.gz", "cut off or damaged"), ("b.jsonl", "b.jsonl, line 2"),
                       ("c.txt", "c.txt is empty")):
        with pytest.raises(ValueError, match=says): build([tmp_path / name], tmp_path / "o")
        assert not (tmp_path / "o").exists()
    for bad in (dict(tokenizer="bpe", vocab_size=100), dict(tokenizer="word", vocab_size=1),
                dict(val_fraction=1.0), dict(documents=""), dict(shard_tokens=0)):
        with pytest.raises(ValueError): Settings(**bad)


def test_a_worker_that_is_ended_is_told():
    with builder.Crew(2, "count", "word") as crew:
        crew.all[1].kill()
        with pytest.raises(RuntimeError, match="ended from outside.*fewer --workers"):
            list(crew.map([[("a b", True)]] * 6))
    with builder.Crew(2, "encode", CharTokenizer("a"), None) as crew:
        with pytest.raises(ValueError, match="'b' is not among"):
            list(crew.map([[("b", True)]] * 3))


def test_texts_open_as_a_dataset(plays):
    made = open_texts(str(plays), Recipe("bpe", 300))
    again = open_texts(str(plays), made.tokenizer)
    assert made.train[:].tolist() == again.train[:].tolist() and made.vocab_size == 300
    with pytest.raises(ValueError, match="Recipe"): open_texts(str(plays), CharTokenizer.train)


def test_a_run_on_a_folder_goes_on_and_knows_its_end(plays, tmp_path):
    data = checkpoint.open_data(str(plays), Recipe("char"))
    shape = GPTConfig(data.vocab_size, context=16, n_layer=1, n_embd=16, n_head=2)
    how = TrainConfig(steps=6, batch_size=4, warmup=2, eval_batches=1, eval_every=0)
    run = Run(shape, how, data, str(plays))
    steps = fit(run)
    for _ in range(3): next(steps)
    checkpoint.save(tmp_path / "run", run.model, data.tokenizer, run)
    again = checkpoint.resume(tmp_path / "run")
    assert again.loader.state_dict() == run.loader.state_dict()
    assert again.loader.state_dict()["order"] == "cipher"
    assert [s.loss for s in fit(again)] == [s.loss for s in steps]
    assert hub.end_ids(tmp_path / "run") == (data.vocab_size - 1,)
    assert hub.end_ids(checkpoint.PRETRAINED) == ()
