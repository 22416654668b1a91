"A hundred thousand texts, beside the reference; and processes that leave nothing behind"
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.data import tinyplays
from numpygpt.generate import generate
from numpygpt.replicas import Replicas
from numpygpt.training import Run, TrainConfig, train_step
from numpygpt.transformer import GPTConfig
from test_trust import TEXT, small_run

ALPHABETS = ["the rat an'dsx ", "a", "ab \n", "0123456789 ,.", "\n\r\t  \u3000", "éàüßñ",
             "漢字仮名交じり文", "🎈👩‍👩‍👧🇩🇪é", "'s're've'll'd'm't", "<|end|>", "אבגد", "\u200d\ufeff\u0301"]


def some_text(r):
    "From one alphabet or several, or any code points"
    if r.random() < 0.2:
        points = (r.choice([r.randrange(0x300), r.randrange(0xD800), r.randrange(0xE000, 0x110000)])
                  for _ in range(r.randrange(12)))
        return "".join(map(chr, points))
    parts = (r.choices(r.choice(ALPHABETS), k=r.randrange(9)) for _ in range(r.randrange(1, 6)))
    return "".join(c for part in parts for c in part)


def test_a_hundred_thousand_texts_come_back_and_are_as_the_reference_has_them(figures):
    tokenizers = pytest.importorskip("tokenizers")
    text = tinyplays(30_000) + " ".join(ALPHABETS * 30)
    ours = BPETokenizer.train(text, 600, ["<|end|>"])
    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours._to_json()))
    r, n = random.Random(20), 100_000
    texts = [some_text(r) for _ in range(n)]
    for i in range(0, n, 1000):
        some = texts[i:i + 1000]
        ids = [ours.encode(t) for t in some]
        assert [e.ids for e in theirs.encode_batch(some)] == ids
        assert [ours.decode(row) for row in ids] == some
    for _ in range(n):
        data = r.randbytes(r.randrange(12)) if r.random() < 0.5 else \
            some_text(r).encode()[r.randrange(3):][:r.randrange(20)]
        assert ours.decode_bytes(ours.encode_bytes(data)) == data
    chars, words = CharTokenizer.train("".join(texts)), WordTokenizer.train(" ".join(texts))
    for t in texts: assert chars.decode(chars.encode(t)) == t == words.decode(words.encode(t))
    figures["texts"], figures["byte strings"] = n, n


def below(pid):
    "Processes that descend from this one"
    found, parents = [], {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try: state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError): continue
        if state != "Z": parents.setdefault(int(parent), []).append(int(stat.parent.name))
    queue = [pid]
    for p in queue: queue += parents.get(p, [])
    return queue[1:]


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")


@linux
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_two_hundred_starts_and_stops_leave_nothing(kind, figures):
    run = small_run()
    x, y = run.loader.next()
    opened = lambda: len(os.listdir("/proc/self/fd"))
    pages = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    def once():
        with Replicas(run.model, run.flat, 2, kind) as team: team.accumulate(x, y, 1)
    for _ in range(20): once()
    before, size = (below(os.getpid()), opened(), set(os.listdir("/dev/shm"))), pages()
    for _ in range(200): once()
    gc.collect()
    assert (below(os.getpid()), opened(), set(os.listdir("/dev/shm"))) == before
    grown = (pages() - size) / 2**20
    figures[f"MB more after 200 starts and stops by {kind}"] = round(max(grown, 0), 1)
    assert grown < 20


STEPS = """
import os, sys
from test_trust import small_run
from numpygpt.replicas import Replicas
run = small_run()
with Replicas(run.model, run.flat, 2, "process") as team:
    run.accumulate = lambda x, y: team.accumulate(x, y, 1)
    from numpygpt.training import train_step
    for _ in range(10**6):
        train_step(run)
        if _ == 3: print("going", flush=True)
"""


@linux
@pytest.mark.parametrize("who", ["worker", "parent"])
def test_one_that_is_killed_in_the_middle_of_a_step_takes_the_others_along(who):
    shared = set(os.listdir("/dev/shm"))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    p = subprocess.Popen([sys.executable, "-c", STEPS], stdout=subprocess.PIPE, env=env,
                         stderr=subprocess.PIPE, text=True)
    assert p.stdout and p.stdout.readline() == "going\n"
    workers = below(p.pid)
    assert workers
    os.kill(workers[0] if who == "worker" else p.pid, signal.SIGKILL)
    assert p.wait(60) != 0                                   # it does not wait for the dead
    end = time.monotonic() + 20
    while left := [w for w in workers if Path(f"/proc/{w}").exists() and w in every()]:
        assert time.monotonic() < end, left
        time.sleep(0.05)
    assert p.stderr
    if who == "worker": assert "orker" in p.stderr.read()
    assert set(os.listdir("/dev/shm")) <= shared


def every():
    "All processes that live"
    return {int(s.parent.name) for s in Path("/proc").glob("[0-9]*/stat")
            if s.exists() and ") Z " not in s.read_text()}


def test_two_thousand_steps_do_not_grow(figures):
    data = small_run().dataset
    config = GPTConfig(vocab_size=data.vocab_size, context=8, n_layer=1, n_embd=8, n_head=2)
    run = Run(config, TrainConfig(steps=3000, batch_size=2, warmup=0), data, None)
    for _ in range(200): train_step(run)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(100): train_step(run)
        gc.collect()
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(2000): train_step(run)
        generate(run.model, [1], 50, np.random.default_rng(0))
        gc.collect()
        last = tracemalloc.get_traced_memory()[0]
    finally: tracemalloc.stop()
    figures["kB more after 2,000 steps"] = round((last - first) / 1024)
    assert last - first < 100_000
