"Sources, documents and cuts: what people have, in any size of block, and what is no text"
import gzip
import json
import lzma
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import texts
from numpygpt.bpe import PATTERN, pre_tokens
from numpygpt.texts import Cuts, NotText, documents, pieces, sources

LETTERS = list("ab 7\n\r\t'sS—。中\u0301\U0001f642\u200d\x1c")
AWKWARD = st.text(st.sampled_from(LETTERS), max_size=40)
PATTERNS = [PATTERN, r"\w+|\W", r"[^\n]+|\n", r"\s++$|[^\r\n]+|\s",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]


def whole(parts):
    "Documents from parts"
    made, text = [], ""
    for part, ends in parts:
        text += part
        if ends: made.append(text); text = ""
    assert text == ""
    return made


def test_folders_are_searched_and_sorted(tmp_path):
    for name in ("b.txt", "a/z.md", "a/b.jsonl.gz", "a/skip.py", "c.txt.xz", "d.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [name.removeprefix(f"{tmp_path}/") for name in sources([tmp_path, "tinyplays", "-"])]
    assert found == ["a/b.jsonl.gz", "a/z.md", "b.txt", "c.txt.xz", "d.parquet", "tinyplays", "-"]
    with pytest.raises(FileNotFoundError, match="nowhere.*folder"): sources(["nowhere"])
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none holds no texts.*jsonl"): sources([tmp_path / "none"])


@settings(max_examples=60, deadline=None)
@given(text=AWKWARD.filter(lambda t: "\0" not in t), size=st.integers(1, 9), mark=st.booleans())
def test_blocks_of_any_size_give_the_same_text(tmp_path_factory, text, size, mark):
    path = tmp_path_factory.getbasetemp() / "blocks.txt"
    path.write_bytes(b"\xef\xbb\xbf" * mark + text.encode())
    assert "".join(texts.texts(str(path), size)) == text.replace("\r\n", "\n")


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files_are_unpacked_and_a_cut_is_told(tmp_path, suffix, pack):
    text = "one é two\n" * 3000
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(text.encode()))
    assert "".join(texts.texts(str(path))) == text
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="a.txt.*cut off or damaged.*get it again"):
        list(texts.texts(str(path)))


@pytest.mark.parametrize("data, says", [(b"ab\xffcd", "not UTF-8 text .byte 2 is 0xff"),
                                        (b"abc\0", "binary: byte 3 is zero"),
                                        ("aé".encode()[:2], "byte 1 is 0xc3")])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_is_no_text_is_told_with_its_place(tmp_path, data, says, size):
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(NotText, match=says): list(texts.texts(str(tmp_path / "x.txt"), size))


@pytest.mark.parametrize("how, expected", [
    ("file", ["a\n\nb\nc\n\n\n"]), ("line", ["a", "b", "c"]), ("blank-line", ["a", "b\nc", ]),
    ("b", ["a\n\n", "\nc\n\n\n"])])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_documents_by_separator(tmp_path, monkeypatch, how, expected, size):
    (tmp_path / "x.txt").write_text("a\n\nb\nc\n\n\n")
    plain = texts.texts
    monkeypatch.setattr(texts, "texts", lambda name, seen: plain(name, size, seen))
    assert whole(documents(str(tmp_path / "x.txt"), how)) == expected


def test_json_lines(tmp_path):
    path = str(tmp_path / "x.jsonl")
    rows = [{"text": "a\r\nb"}, {"text": " "}, {"text": "c", "more": 1}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert whole(documents(path)) == ["a\nb", "c"]
    for line, says in (('{"txt": "x"}', "line 3 has no text under 'text' .it has: txt.*text-field"),
                       ("{", "line 3 is no JSON"),
                       ("[1]", "line 3 has no text under 'text' .it has: list"),
                       (r'{"text": "\ud800"}', "line 3 has a lone surrogate")):
        (tmp_path / "x.jsonl").write_text(f'{{"text": "a"}}\n\n{line}\n')
        with pytest.raises(ValueError, match=f"x.jsonl, {says}"): list(documents(path))


def test_what_needs_a_package_says_which(tmp_path, monkeypatch):
    for module in ("zstandard", "compression", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, says in (("a.txt.zst", "zstandard"), ("a.parquet", "pyarrow")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match=f"pip install {says}"):
            list(documents(str(tmp_path / name)))


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=80, deadline=None)
@given(text=AWKWARD)
def test_a_safe_cut_changes_no_pre_token(pattern, text):
    cuts, pre = Cuts(pattern), pre_tokens(text, pattern)
    for p in range(1, len(text)):
        if cuts(text[p - 1], text[p]):
            assert pre_tokens(text[:p], pattern) + pre_tokens(text[p:], pattern) == pre


def test_cuts_that_break_words_are_not_safe():
    ours = Cuts(PATTERN, ["<|end|>"])
    for pair in (" w", "ab", "  ", "|>", "<|", "n\u0301"): assert not ours(*pair), pair
    for pair in ("e ", "e.", "7a", "中。"): assert ours(*pair), pair


@pytest.mark.parametrize("bad", [r"(?<=a)b|a", r"\bx", r"a(?!bc)|.", r"(a", r"*a"])
def test_what_cannot_be_judged_is_not(bad):
    with pytest.raises(ValueError): Cuts(bad)


@settings(max_examples=60, deadline=None)
@given(text=AWKWARD, size=st.integers(1, 12), step=st.integers(1, 12))
def test_pieces_are_the_text(text, size, step):
    cuts = Cuts(PATTERN)
    parts = [(text[i:i + step], False) for i in range(0, len(text), step)] + [("", True)]
    made = [part for part, _ in pieces(parts, cuts, size)]
    assert "".join(made) == text
    assert [w for part in made for w in pre_tokens(part)] == pre_tokens(text)


def test_a_stretch_without_a_cut_is_cut_and_this_is_told(monkeypatch):
    monkeypatch.setattr(texts, "LONGEST", 100)
    told = []
    made = list(pieces([("a" * 30, False)] * 10 + [("", True)], Cuts(PATTERN), 10, told.append))
    assert "".join(t for t, _ in made) == "a" * 300 and "has no place for a safe cut" in told[0]
    assert max(len(t) for t, _ in made) < 300


def test_a_large_document_becomes_pieces_of_the_size(monkeypatch):
    made = [t for t, _ in pieces([("word " * 1000, True)], Cuts(PATTERN), 100)]
    assert max(map(len, made)) <= 100 and "".join(made) == "word " * 1000


@settings(max_examples=60, deadline=None)
@given(text=AWKWARD)
def test_stretches_of_spaces_change_no_pre_token(text):
    assert [w for s in texts.spaces(text) for w in pre_tokens(s)] == pre_tokens(text)
