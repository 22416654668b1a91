"Tokenizers: what comes back, ties, overlaps, files"
import json
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.bpe import (BPETokenizer, CharTokenizer, Merges, WordTokenizer, byte_alphabet,
                          load_tokenizer, merge,
                          naive_merges, pair_counts, pre_tokens, train_merges)

TEXT = ("The rat ran, and that rat ran. 'Tis the rat's theatre: aaaa aaa naïve 漢字 🎈 1603!\n\n"
        "\tExeunt the rats.  ") * 3
BPE = BPETokenizer.train(TEXT, 330, ["<|end|>", "<|endoftext|>"])
corpora = st.dictionaries(st.text("ab", min_size=1, max_size=10).map(str.encode), st.integers(1, 9),
                          max_size=20)


@given(st.text())
@settings(deadline=None)
def test_every_text_comes_back(text):
    assert BPE.decode(BPE.encode(text)) == text
    assert "".join(pre_tokens(text)) == text
    assert BPE.encode(text) == BPE.encode_bytes(text.encode())
    words = WordTokenizer.train(text)
    assert words.decode(words.encode(text)) == text
    chars = CharTokenizer.train(text)
    assert chars.decode(chars.encode(text)) == text


@given(st.lists(st.sampled_from(
    ["<|end|>", "<|endoftext|>", "<|", "|>", "end", " ", "rat", "é"])).map("".join))
@settings(deadline=None)
def test_special_tokens_come_back(text):
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert ids.count(BPE.special["<|end|>"]) == text.count("<|end|>")
    plain = BPE.encode(text, special=False)
    assert BPE.decode(plain) == text and not set(plain) & set(BPE.special.values())


@given(st.binary())
@settings(deadline=None)
def test_every_byte_string_comes_back(data): assert BPE.decode_bytes(BPE.encode_bytes(data)) == data


@given(st.text("the ra", max_size=60))
@settings(deadline=None)
def test_pieces_are_independent(text):
    assert BPE.encode(text) == [i for piece in pre_tokens(text) for i in BPE.encode(piece)]


@given(corpora, st.integers(0, 30))
@settings(deadline=None)
def test_fast_trainer_is_the_naive_one(words, n):
    assert train_merges(words, n) == naive_merges(words, n)


@given(corpora, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_of_the_corpus_is_no_matter(words, rng):
    items = list(words.items())
    rng.shuffle(items)
    assert train_merges(dict(items), 20) == train_merges(words, 20)


@given(corpora, st.text("ab", max_size=40))
@settings(deadline=None)
def test_in_order_is_lowest_rank(words, text):
    rules = Merges(train_merges(words, 30))
    ids = rules.ids(text.encode())
    rules.long = 0
    assert rules.ids(text.encode()) == ids
    by_hand = list(text.encode())
    for r, pair in enumerate(rules.pairs): by_hand = merge(by_hand, pair, 256 + r)
    assert by_hand == ids
    assert len(set(rules.tokens)) == len(rules.tokens)      # no two merges make the same bytes


def test_ties_go_to_the_smallest_ids():
    found = train_merges({b"zy": 2, b"yx": 2, b"ab": 2, b"ac": 2}, 3)
    assert found == [(97, 98), (97, 99), (121, 120)]
    assert train_merges({b"ab": 2, b"zz": 3}, 1) == [(122, 122)]


def test_overlaps_count_once():
    assert [pair_counts("a" * n).get("aa", 0) for n in range(1, 7)] == [0, 1, 1, 2, 2, 3]
    assert merge([7] * 5, (7, 7), 9) == [9, 9, 7]
    # aaa would tie with itself counted twice: 3 (wrongly 4) against 3 for xy,
    # and (97, 97) has the smaller ids
    assert train_merges({b"aaa": 2, b"xy": 3}, 1) == [(120, 121)]


def test_a_pair_that_occurs_once_is_not_merged():
    assert train_merges({b"abcd": 1}, 5) == [] and BPETokenizer.train("abcd", 300).vocab_size == 256


def test_merges_stay_in_their_piece():
    tok = BPETokenizer.train("of the " * 50 + "of the, " * 50, 300)
    assert not any(b"f t" in t or b"e," in t for t in tok.tokens)


def test_ids_are_bytes_then_merges_then_special_tokens():
    assert BPE.tokens[:256] == [bytes([b]) for b in range(256)]
    found = [BPE.encode(s) for s in ("<|end|>", "<|endoftext|>")]
    assert found == [[BPE.vocab_size - 2], [BPE.vocab_size - 1]]


def test_cut_characters_show_as_replacement():
    assert BPE.decode(BPETokenizer(()).encode("é")[:1]) == "\ufffd"


def test_surrogates_after_bytes_are_still_refused():
    data = b"\xff\xfe"
    assert BPE.decode_bytes(BPE.encode_bytes(data)) == data
    for text in ("\udcff\udcfe", "half \ud83c"):
        with pytest.raises(ValueError, match="lone surrogate"): BPE.encode(text)
        with pytest.raises(ValueError, match="lone surrogate"): BPETokenizer.train(text, 300)


def test_long_pieces():
    for text in ("a" * 20_000, " " * 20_000, "🎈" * 5000):
        assert BPE.decode(BPE.encode(text)) == text


@pytest.mark.parametrize("call, says", [
    (lambda: CharTokenizer.train("abc").encode("abz"), "'z'"),
    (lambda: BPE.decode([10**6]), "outside this tokenizer's vocabulary of 3"),
    (lambda: BPE.decode([-1]), "token id -1"),
    (lambda: BPETokenizer.train("abc", 257, ["<a>", "<b>"]), "from 258"),
    (lambda: BPETokenizer((), ["<a>", "<a>"]), "must be different"),
    (lambda: BPETokenizer((), ["a"]), "not tokens already"),
    (lambda: BPETokenizer([(300, 1)]), "only ids below 256"),
    (lambda: BPETokenizer.train("abc", 300, pattern=r"\w+"), None),
    (lambda: BPETokenizer.train("a b", 300, pattern=r"\w+"), "leaves out part"),
    (lambda: BPETokenizer.train("a b", 300, pattern=r"(\w+|())"), "capturing group"),
    (lambda: BPETokenizer.train("a b", 300, pattern=r"\w*|\W"), "empty string"),
    (lambda: BPETokenizer.train("a b", 300, pattern=r"(?:"), "no regular expression"),
    (lambda: WordTokenizer.train("a b", max_size=1), "at least 2")])
def test_errors_say_what_to_do(call, says):
    if says is None: call(); return
    with pytest.raises(ValueError, match=says): call()


def test_words():
    tok = WordTokenizer.train("b a b c c c a!", min_count=2)
    assert tok.words == ["<unk>", " ", "c", "a", "b"]
    assert tok.decode(tok.encode("a d!")) == "a <unk><unk>"
    assert WordTokenizer.train("b a b c", max_size=3).vocab_size == 3


@pytest.mark.parametrize("tok", [CharTokenizer.train(TEXT), WordTokenizer.train(TEXT), BPE],
                         ids=lambda t: t.kind)
def test_files(tok, tmp_path):
    tok.save(tmp_path / "tokenizer.json")
    for again in (load_tokenizer(tmp_path), type(tok).load(tmp_path / "tokenizer.json")):
        assert type(again) is type(tok) and again.vocab_size == tok.vocab_size
        assert again.encode(TEXT) == tok.encode(TEXT)
    other = WordTokenizer if tok.kind == "Char" else CharTokenizer
    with pytest.raises(ValueError, match="use load_tokenizer"): other.load(tmp_path)


@pytest.mark.parametrize("tok", [CharTokenizer.train(TEXT), WordTokenizer.train(TEXT), BPE],
                         ids=lambda t: t.kind)
def test_cut_off_files_are_noticed(tok, tmp_path):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    whole = path.read_bytes()
    for n in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="tokenizer.json.*(cut off|save)"): load_tokenizer(path)


def test_other_files(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError, match="there is no tokenizer file"): load_tokenizer(path)
    for found, says in [
            ([], "no tokenizer"), ({"model": {"type": "Unigram"}}, "only Char, Word, BPE"),
            ({"model": {"type": "BPE"}}, "lacks a part"),
            ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "number the bytes")]:
        path.write_text(json.dumps(found))
        with pytest.raises(ValueError, match=says): load_tokenizer(path)


def test_byte_alphabet():
    letters = byte_alphabet()
    assert len(set(letters)) == 256 and letters[ord(" ")] == "Ġ"
    assert all(unicodedata.category(c)[0] not in "ZC" for c in letters)


def test_import_is_light():
    code = ("import sys, numpygpt.bpe, numpygpt.data; "
            "print([m for m in ('regex', 'pooch', 'matplotlib', 'requests') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_random_corpora_of_some_size():
    rng = random.Random(5)
    words = {"".join(rng.choices("abcde", k=rng.randint(1, 15))).encode(): rng.randint(1, 50)
             for _ in range(300)}
    assert train_merges(words, 100) == naive_merges(words, 100)


def steps(f, *args):
    "How many lines of Python run while f(*args) does"
    count, before = 0, sys.gettrace()

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace
    sys.settrace(trace)
    try: f(*args)
    finally: sys.settrace(before)
    return count


@given(st.text("ab", min_size=1, max_size=400), st.integers(0, 60))
@settings(deadline=None)
def test_a_long_word_is_learned_as_by_the_book(word, n):
    assert train_merges({word.encode(): 1}, n) == naive_merges({word.encode(): 1}, n)


@pytest.mark.parametrize("make", [
    lambda n: "".join(random.Random(1).choices([chr(0x4e00 + i) for i in range(500)], k=n)),
    lambda n: "a" * n, lambda n: "ab" * (n // 2)])
def test_the_work_for_a_word_grows_as_its_length(make):
    "Beside the merges, of which there are as many: half of the work is done for half of the word"
    half, whole = (steps(train_merges, {make(n).encode(): 1}, 100) for n in (4000, 8000))
    assert whole < 2.5 * half, (half, whole)


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train("abc"), WordTokenizer.train("a b"), BPE])
def test_ids_are_one_row_of_integers(tokenizer):
    "A batch, halves and nothing are refused in one line; NumPy's own integers are taken"
    for wrong in (np.zeros((2, 3), int), [[1], [2]], [1.0], np.ones(2), [None], np.array(1), 5):
        with pytest.raises(ValueError, match="one row of integers"): tokenizer.decode(wrong)
    for right in (np.ones(2, np.uint8), [np.int64(1)] * 2, (1, 1), iter([1, 1]), map(int, "11")):
        assert tokenizer.decode(right) == tokenizer.decode([1, 1])
    assert tokenizer.decode([]) == tokenizer.decode(np.zeros(0, np.uint16)) == ""
