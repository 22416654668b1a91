"tokenizer.json as Hugging Face `tokenizers` reads it"
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.bpe import BPETokenizer, load_tokenizer
from numpygpt.data import tinyplays

hf = pytest.importorskip("tokenizers")
ODD = " naïve façade 'tis don't we'll  1603 漢字かな हिन्दी 🎈👩‍🚀 — «»\r\n\t\u00a0"
TEXT = tinyplays(40_000) + ODD * 9


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    ours = BPETokenizer.train(TEXT, 700, ["<|end|>", "<|endoftext|>", "[MASK]"])
    path = tmp_path_factory.mktemp("hf") / "tokenizer.json"
    ours.save(path)
    return ours, hf.Tokenizer.from_file(str(path))


def same(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids, skip_special_tokens=False) == text


def test_vocabulary(both):
    ours, theirs = both
    assert theirs.get_vocab_size() == ours.vocab_size
    assert [theirs.token_to_id(s) for s in ours.special] == list(ours.special.values())


def test_corpus(both): same(both, TEXT)


@pytest.mark.parametrize("text", [
    "", " ", "  ", "\n\n a", "a\u0301\u200d b", "\x00\x1c\x1d\x1e\x1f\x7f\x85\u2028\u2029",
    "<|end|><|endoftext|>", "x<|end|> <|endoftext|>[MASK]y", "<|end|", "<|endoftext",
    "'TIS 'tis don't we'll're", "½ Ⅷ ٣ ๓", "a" * 3000, "🎈" * 500])
def test_odd_texts(both, text): same(both, text)


# Both ask their own Unicode tables what a letter is.
# Characters that were there in Unicode 3.2 are the same in all.
was_there = lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn"
old = st.characters(exclude_categories=["Cs", "Cn"]).filter(was_there)
parts = ["<|end|>", "<|endoftext|>", "[MASK]", "<|", "|>", "end", " ", "\n", "Fool", "'t", "7"]


@given(st.text(old))
@settings(deadline=None, max_examples=300)
def test_any_text(both, text): same(both, text)


@given(st.lists(st.sampled_from(parts)).map("".join))
@settings(deadline=None)
def test_special_tokens(both, text): same(both, text)


def test_shuffled_corpus(both):
    letters = list(TEXT)
    random.Random(0).shuffle(letters)
    same(both, "".join(letters))


def test_file_written_by_them_is_read_by_us(both, tmp_path):
    ours, theirs = both
    theirs.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path)
    assert again.merges == ours.merges and again.special == ours.special
    assert again.encode(TEXT) == ours.encode(TEXT)
