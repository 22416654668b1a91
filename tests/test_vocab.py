"Published tokenizers: ids as the package tokenizers has them, bad files, and conversations"
import copy
import json
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import vocab
from numpygpt.bpe import BPETokenizer, CharTokenizer, byte_alphabet, hugging_face
from numpygpt.data import tinyplays
from numpygpt.vocab import (Added, Cut, Finder, PublishedBPE, Words, around, merged, read_tokenizer,
                            steps)

PLAIN = BPETokenizer.train(tinyplays(20_000) + " naïve 漢字 🎈 don't 1603" * 9, 500,
                           ["<|start|>", "<|end|>", "<|end|>x"])
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def disguise():
    "(the contents of PLAIN's file with shuffled ids, the new id of each old one)"
    found = copy.deepcopy(hugging_face(PLAIN))
    new = random.Random(0).sample(range(900), PLAIN.vocab_size)
    found["model"]["vocab"] = {c: new[i] for c, i in found["model"]["vocab"].items()}
    found["model"]["merges"] = [m.split(" ") for m in found["model"]["merges"]]
    for t in found["added_tokens"]: t["id"] = new[t["id"]]
    return found, new


FOUND, NEW = disguise()
TOK = PublishedBPE(FOUND)
PARTS = ["<|start|>", "<|end|>", "x", "<|end", "|>", " ", "\r\n", "naïve", "🎈", "\x00", "the", "'t"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PARTS)).map("".join)), st.booleans())
@settings(deadline=None)
def test_a_file_in_disguise_gives_the_disguised_ids(text, special):
    ids = TOK.encode(text, special)
    assert ids == [NEW[i] for i in PLAIN.encode(text, special)] and TOK.decode(ids) == text


@given(st.lists(st.integers(0, 3), max_size=30),
       st.dictionaries(st.tuples(*[st.integers(0, 6)] * 2), st.integers(4, 6), max_size=9))
def test_merges_are_those_of_the_rule_to_the_letter(ids, becomes):
    rules = {pair: (rank, new) for rank, (pair, new) in enumerate(becomes.items())}
    slow = list(ids)
    while ready := [(rules[p][0], i) for i, p in enumerate(zip(slow, slow[1:])) if p in rules]:
        i = min(ready)[1]
        slow[i:i + 2] = [rules[slow[i], slow[i + 1]][1]]
    assert merged(ids, rules) == slow


def test_a_piece_without_spaces_takes_no_time_that_grows_with_its_square():
    assert merged([1] * 100_000, {(1, 1): (0, 2), (2, 2): (1, 3)}) == [3] * 25_000


def test_a_pattern_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(vocab, "PATIENCE", (0.1, 0.0))
    with pytest.raises(ValueError, match="was stopped: take another"):
        list(Cut(r"(?:a|a)+[bc]")("a" * 80))
    with pytest.raises(ValueError, match="no regular expression"): list(Cut("(a")("a"))


def test_steps():
    split = dict(type="Split", pattern={"Regex": r"\d+"}, behavior="Isolated", invert=False)
    run = lambda found, text: [
        p for s in [steps(found)] for p in _through(s, text)]
    sequence = lambda *parts: {"type": "Sequence", "pretokenizers": list(parts)}
    plain = BYTE_LEVEL | {"use_regex": False}
    assert run(sequence(split, plain), "a12b") == ["a", "12", "b"]
    removed = split | {"behavior": "Removed", "invert": True}
    assert run(sequence(removed, plain), "a12b3") == ["12", "3"]
    digits = {"type": "Digits", "individual_digits": True}
    assert run(sequence(digits, BYTE_LEVEL), " 12") == [" ", "1", "2"]
    assert run(BYTE_LEVEL | {"add_prefix_space": True}, "one") == [" one"]
    assert run(sequence(split | {"pattern": {"String": "a."}}, plain), "xa.ab") == ["x", "a.", "ab"]
    for bad in (None, {"type": "Metaspace"}, sequence(split | {"behavior": "Removed"}, plain),
                sequence({"type": "Punctuation"}, plain), sequence(BYTE_LEVEL, split)):
        with pytest.raises(NotImplementedError): steps(bad)


def _through(made, text):
    pieces = [text]
    for step in made: pieces = [p for piece in pieces for p in step(piece)]
    return pieces


def test_flags_of_added_tokens():
    find = Finder([Added("<m>", 1, True, lstrip=True), Added("ward", 2, single_word=True),
                   Added("<r>", 3, rstrip=True)])
    ids = lambda text, special=True: [(p, i) for p, i in find(text, special)]
    assert ids("a \t<m>") == [("a", None), (" \t<m>", 1)]
    assert ids("a \t<m>", False) == [("a \t<m>", None)]
    assert ids("a\x1f<m>") == [("a\x1f", None), ("<m>", 1)]
    assert ids("forward ward wards") == [("forward ", None), ("ward", 2), (" wards", None)]
    assert ids("<r> \n<m>") == [("<r> \n", 3), ("<m>", 1)]
    assert list(Finder([])("abc")) == [("abc", None)] and not list(find(""))


def test_added_tokens_after_normalisation():
    added = dict(single_word=False, lstrip=False, rstrip=False, special=False)
    found = FOUND | {"normalizer": {"type": "NFC"}, "added_tokens": [
        {"id": 950, "content": "\u00c5x", "normalized": True, **added},
        {"id": 951, "content": "e\u0301", "normalized": False, **added}]}
    tok = PublishedBPE(found)
    assert tok.encode("A\u030axe\u0301") == [950, 951]
    assert tok.encode("\u00e9") == tok.words("\u00e9")


def test_ignore_merges_and_bytes_without_an_id():
    vocab = {c: i for i, c in enumerate(byte_alphabet()) if c != "q"} | {"th": 300, "sea": 301}
    for whole in (True, False):
        words = Words({"vocab": vocab, "merges": ["t h"], "ignore_merges": whole})
        assert words("sea") == ([301] if whole else [*b"sea"]) and words("thq") == [300]
        assert words("tqh") == [300]        # its neighbours meet, as in the library


def test_what_stands_before_and_after():
    bos = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]}}}
    assert around({"type": "Sequence", "processors": [{"type": "ByteLevel"}, bos]}) == ([7], [])
    assert around({"type": "RobertaProcessing", "cls": ["a", 1], "sep": ["b", 2]}) == ([1], [2])
    assert around(None) == ([], [])
    with pytest.raises(NotImplementedError): around({"type": "Other"})
    tok = PublishedBPE(FOUND | {"post_processor": bos})
    assert tok.encode("a") == [7, *tok.encode("a", ends=False)]


def test_the_veil_hides_a_token_and_is_not_seen():
    hidden = "a <\ufdd0|end|> b"
    assert TOK.encode(hidden, veil="\ufdd0") == TOK.encode("a <|end|> b", special=False)
    assert TOK.encode(hidden + "<|end|>", veil="\ufdd0")[-1] == TOK.special["<|end|>"]


def test_the_door(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="download it"): read_tokenizer(tmp_path)
    TOK.save(tmp_path)
    back = read_tokenizer(tmp_path)
    assert isinstance(back, PublishedBPE) and back.encode("The sea") == TOK.encode("The sea")
    path = tmp_path / "tokenizer.json"
    def refused(found, match):
        path.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
        with pytest.raises(ValueError, match=match): read_tokenizer(path)
    refused(path.read_text(encoding="utf-8")[:2000], "is not JSON")
    refused([], "no JSON object"); refused({"a": 1}, "entry 'model'")
    model = FOUND["model"]
    refused(FOUND | {"model": model | {"merges": [["t", "q~"]]}}, "has no id")
    refused(FOUND | {"model": model | {"vocab": [1]}}, "lacks a part")
    refused(FOUND | {"model": model | {"vocab": model["vocab"] | {"zzz": 1 << 40}}}, "2\\^24")
    for gone in ("tokenizers",): monkeypatch.setitem(sys.modules, gone, None)
    refused(FOUND | {"pre_tokenizer": {"type": "Metaspace"}}, r'pip install "numpygpt\[hub\]"')
    CharTokenizer.train("abc").save(path)
    assert isinstance(read_tokenizer(path), CharTokenizer)
    with pytest.raises(ValueError, match="lone surrogate '.ud800' at 1"): TOK.encode("a\ud800")
    with pytest.raises(ValueError, match="outside"): TOK.decode([5000])
