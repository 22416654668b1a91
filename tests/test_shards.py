"Shards as one row, an order without a list, sides that do not leak, documents in a window"
import json
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.bpe import CharTokenizer
from numpygpt.data import Arrays, DataLoader, Dataset, Windows, write_tokens
from numpygpt.module import Flat
from numpygpt.ranks import Ranks, Rehearsal
from numpygpt.shards import (INDEX, Permutation, ShardLoader, Shards, digest, document_mask,
                             held_out, later, new_loader, open_dataset, overlap, positions,
                             segments)
from numpygpt.transformer import GPT, GPTConfig


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), data=st.data())
def test_shards_are_one_row(lengths, data):
    row = np.arange(sum(lengths), dtype="u2")
    shards = Shards(np.split(row, np.cumsum(lengths)[:-1]))
    assert len(shards) == len(row) and (shards[:] == row).all()
    a, b = (data.draw(st.integers(-12, 60)) for _ in "ab")
    step = data.draw(st.sampled_from([1, 2, -1]))
    assert shards[a:b].tolist() == row[a:b].tolist()
    assert shards[a:b:step].tolist() == row[a:b:step].tolist()
    if len(row):
        at = np.array(data.draw(st.lists(st.integers(-len(row), len(row) - 1), max_size=8)), int)
        assert shards[at].tolist() == row[at].tolist()
    with pytest.raises(IndexError): shards[np.array([len(row)])]


@pytest.mark.parametrize("n", [*range(1, 70), 255, 256, 257, 4095, 4097, 10**5, 10**6])
def test_every_window_once_in_full(n):
    found = Permutation(n, [n, 1])(np.arange(n))
    assert (np.bincount(found, minlength=n) == 1).all() and found.max() < n


@pytest.mark.parametrize("n", [10**7 + 1, 10**9, 10**11, 2**40 + 3])
def test_no_window_twice_in_a_sample(n):
    at = np.unique(np.random.default_rng(0).integers(0, n, 200_000))
    found = Permutation(n, [7])(at)
    assert len(np.unique(found)) == len(at) and 0 <= found.min() and found.max() < n
    assert abs(np.corrcoef(at, found)[0, 1]) < 0.02


def test_orders_depend_on_seed_and_epoch_only():
    make = lambda seed: ShardLoader(Windows(np.arange(9999), 9), 4, seed=seed)
    orders = [make(s).order(e)[:50].tolist() for s in (1, 2) for e in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4 and make(1).order(0)[:50].tolist() == orders[0]


def test_the_loader_jumps_and_old_runs_keep_their_order():
    tokens = np.arange(5000, dtype="u2")
    loader = ShardLoader(Windows(tokens, 7), 3, seed=5)
    for _ in range(250): loader.next()
    again = ShardLoader(Windows(tokens, 7), 3, seed=5)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert (again.next()[0] == loader.next()[0]).all()
    old = DataLoader(Windows(tokens, 7), 3, seed=5)
    for _ in range(10): old.next()
    new = ShardLoader(Windows(tokens, 7), 3, seed=5)
    new.load_state_dict(old.state_dict())
    assert (new.next()[0] == old.next()[0]).all() and new.state_dict() == old.state_dict()
    plain = new_loader(Windows(tokens, 7), 3, seed=5)                 # small: the list's order
    plain.load_state_dict(loader.state_dict())
    assert (plain.next()[0] == loader.next()[0]).all()


def test_a_sparse_file_of_any_size(tmp_path):
    with open(tmp_path / "tokens", "wb") as file: file.truncate(2 * 10**11)
    tokens = np.memmap(tmp_path / "tokens", np.uint16, "r")
    start = time.process_time()
    loader = new_loader(Windows(tokens, 256), 12, seed=1)
    loader.next()
    loader.load_state_dict(loader.state_dict() | {"batch": 10**7})
    loader.next()
    assert time.process_time() - start < 5                   # no list is made
    few = np.arange(99)
    small, plain = (make(Windows(few, 8), 2, seed=1) for make in (new_loader, DataLoader))
    assert small.order(0).tolist() == plain.order(0).tolist()
    assert small.state_dict() == plain.state_dict()


def test_folders_old_and_new(tmp_path):
    tok = CharTokenizer("abc")
    Dataset(np.array([0, 1, 2], "u2"), np.array([1], "u2"), tok).save(tmp_path)
    assert open_dataset(tmp_path).train.tolist() == [0, 1, 2]
    write_tokens(tmp_path / "train-00000.npy", [0, 1], 3)
    index = {"complete": True, "type": "uint16", "characters": {"train": 4, "val": 0},
             "shards": [{"file": "train-00000.npy", "part": "train", "tokens": 2}]}
    write = lambda **more: (tmp_path / INDEX).write_text(json.dumps(index | more))
    write()
    made = open_dataset(tmp_path)
    assert made.train[:].tolist() == [0, 1] and len(made.val) == 0
    assert made.chars_per_token("train") == 2
    write(complete=False)
    with pytest.raises(ValueError, match="not finished.*same words"): open_dataset(tmp_path)
    write(shards=[index["shards"][0] | {"tokens": 3}])
    with pytest.raises(ValueError, match="2 tokens, and the index says 3"): open_dataset(tmp_path)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(ValueError, match="damaged"): open_dataset(tmp_path)


def test_what_is_held_out_stays_held_out():
    digests = np.array([digest(f"text {i}") for i in range(2000)], np.uint64)
    held = held_out(digests, 0.1)
    assert 0.07 < held.mean() < 0.13
    assert (held_out(digests[::-1], 0.1)[::-1] == held).all()           # order does not matter
    assert (held_out(digests[:900], 0.1) == held[:900]).all()           # nor what comes later
    for few in (2, 3, 5):
        for start in range(50):
            some = held_out(digests[start:start + few], 0.1)
            assert some.any() and not some.all()
    assert not held_out(digests, 0).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), step=st.integers(13, 300))
def test_overlap_is_that_of_sets(seed, step):
    rng = np.random.default_rng(seed)
    train, val = rng.integers(0, 4, 700), rng.integers(0, 4, 120)
    if seed % 2: val[20:60] = train[300:340]
    runs = {tuple(train[i:i + 13]) for i in range(len(train) - 12)}
    truth = sum(tuple(val[i:i + 13]) in runs for i in range(len(val) - 12))
    assert overlap(train, val, step=step) == (truth, len(val) - 12)
    assert overlap(train, val[:5]) == (0, 0)


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=15))
def test_documents_see_themselves_and_what_came_before(ids):
    mask = document_mask(segments(np.array([ids]), end=0))[0]
    place = positions(segments(np.array([ids]), end=0))[0]
    for t in range(len(ids)):
        start = max((j + 1 for j in range(t) if ids[j] == 0), default=0)
        assert mask[t].tolist() == [start <= j <= t for j in range(len(ids))]
        assert place[t] == t - start


class Counted(Windows):
    "Windows that note where the rows begin that are read"
    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def __getitem__(self, starts):
        self.seen += np.ravel(starts).tolist()
        return super().__getitem__(starts)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_rank_reads_its_own_rows_and_trains_to_the_same_bits(ranks):
    "A row is read twice, for the tokens and for the targets"
    tokens = Shards(np.split(np.random.default_rng(0).integers(0, 11, 900).astype("u2"), [333]))

    def train(comm, reading):
        model = GPT(GPTConfig(vocab_size=11, context=6, n_layer=1, n_embd=8, n_head=2, dropout=0.1),
                    np.random.default_rng(1), np.random.default_rng(2))
        flat, losses, batches = Flat(model), [], []
        loader = new_loader(Counted(tokens, 6), 8, seed=3)
        if reading: loader.read = reading(loader.data)
        with Ranks(model, flat, 1, "thread", comm) as team:
            for _ in range(3):
                batches += loader.order(0)[loader.batch * 8:][:8].tolist()
                flat.zero_grad()
                losses.append(float(team.accumulate(*loader.next())))
                flat.w -= flat.dw
        return losses, flat.w.tobytes(), loader.data.seen, batches
    at_once = Rehearsal(ranks).run(lambda comm: train(comm, None))
    as_needed = Rehearsal(ranks).run(lambda comm: train(comm, later))
    assert [each[:2] for each in as_needed] == [each[:2] for each in at_once]
    batches = as_needed[0][3]
    assert all(seen == batches for _, _, seen, _ in at_once)
    assert sorted(sum((seen for _, _, seen, _ in as_needed), [])) == sorted(2 * batches)
    assert len(batches) == 24 and all(len(each[2]) < 48 for each in as_needed) == (ranks > 1)


def test_rows_that_are_read_later_are_those_of_the_batch():
    make = lambda: new_loader(Counted(np.arange(999, dtype="u2"), 5), 6, seed=1)
    loader, plain = make(), make()
    loader.read = later(loader.data)
    (x, y), (whole, targets) = loader.next(), plain.next()
    assert not loader.data.seen and (len(x), x.size) == (6, whole.size)
    sent = pickle.dumps([x[2:4], y[2:4]])
    assert len(loader.data.seen) == 4 and len(sent) < 999
    assert all((a == b[2:4]).all() for a, b in zip(pickle.loads(sent), (whole, targets)))
    assert (np.asarray(y) == targets).all() and loader.state_dict() == plain.state_dict()
    pairs = Arrays(np.eye(3), np.arange(3))
    assert later(pairs)(np.array([1]))[1].tolist() == [1]
