"""Files as an enemy, or a disk, would have them: each kind that is read, changed in many ways, must
be refused in one line, or be read as what it is; fast, small, and nothing beside it is touched"""
import copy
import json
import os
import random
import resource
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from numpygpt import checkpoint, hub, lora, progress, tuning, vocab
from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer, load_tokenizer
from numpygpt.builder import build
from numpygpt.chat import Script
from numpygpt.corpus import Settings
from numpygpt.data import load_text
from numpygpt.files import SEAL
from numpygpt.shards import open_dataset
from numpygpt.texts import documents
from numpygpt.training import fit, outline, read_log, record
from numpygpt.transformer import GPT, GPTConfig
from test_trust import LLAMA, TEXT, small_run

VALUES = [None, True, False, 0, -1, 1, 7, 2**31, 10**30, -10**18, 0.5, -0.0, 1e308, float("inf"),
          float("nan"), "", "x", "x" * 20_000, "\0", "\ud800", "../outside/secret", "0", "(",
          "(a*)*b", "(?:(?:a+)+)+$", "[", [], {}, [[]], [0, 0], ["a"], {"a": 1}, {"type": "BPE"},
          "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
          "{{ 'a' * 10 ** 9 }}", "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
          "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"]


def deep(r):
    n, x = r.choice([50, 900, 60_000]), r.choice(["[", '{"a":'])
    return x * n + r.choice(["", "1" + {"[": "]", '{"a":': "}"}[x] * n])


def nodes(found, path=()):
    "The way to every value in JSON"
    yield path
    if not isinstance(found, (dict, list)): return
    keys = list(found) if isinstance(found, dict) else range(len(found))
    for k in list(keys)[:60]: yield from nodes(found[k], (*path, k))


def json_changed(r, text):
    "JSON with a value, a name, or its form changed"
    found = json.loads(text)
    if isinstance(found, dict): found.pop(SEAL, None)
    found = copy.deepcopy(found)
    for _ in range(r.choice([1, 1, 1, 2, 5])):
        path = r.choice(list(nodes(found))[1:] or [()])
        if not path: return r.choice(["[]", "3", "null", '"a"', deep(r)])
        at = found
        for k in path[:-1]: at = at[k]
        how = r.randrange(6)
        if how == 0: del at[path[-1]]
        elif how == 1 and isinstance(at, dict): at[f"{path[-1]}2"] = at.pop(path[-1])
        elif how == 2 and isinstance(at, list): at.append(r.choice(VALUES))
        else: at[path[-1]] = copy.deepcopy(r.choice(VALUES))
    text = json.dumps(found)
    if r.random() < 0.1: text = text.replace("{", '{"a": 1, "a": 2, ', 1)
    if r.random() < 0.05: text = text.replace(r.choice("0123456789"), deep(r), 1)
    if r.random() < 0.05: text = text.replace("1", "1" + "0" * r.choice([20, 400, 5000]), 1)
    return text


def bytes_changed(r, data):
    "Cut, flipped, filled, doubled, or something else"
    at, n = r.randrange(len(data) + 1), r.choice([1, 4, 100])
    return r.choice([
        lambda: data[:at], lambda: data[at:], lambda: data[:at] + data[at + n:],
        lambda: data[:at] + r.randbytes(n) + data[at:],
        lambda: data[:at] + bytes(n) + data[at + n:],
        lambda: data[:at] + b"\xff" * n + data[at + n:],
        lambda: data[:at] + bytes([data[at % len(data)] ^ 1 << r.randrange(8)]) + data[at + 1:],
        lambda: data * 2, lambda: r.randbytes(n), lambda: b"", lambda: deep(r).encode()])()


def tensors_changed(r, data):
    "A safetensors file whose header lies"
    n = int.from_bytes(data[:8], "little")
    head = json_changed(r, data[8:8 + n].decode()).encode("utf-8", "surrogatepass")
    size = r.choice([len(head)] * 9 + [0, 1, 2**40, 2**63, len(data) + 5])
    return size.to_bytes(8, "little") + head + data[8 + n:]


def lines_changed(r, data):
    lines = data.splitlines(True)
    at = r.randrange(len(lines))
    lines[at] = json_changed(r, lines[at].decode()).encode("utf-8", "surrogatepass") + b"\n"
    return b"".join(lines)


@dataclass
class Kind:
    "A file of a folder that is read; `read` gives what it holds, as text that can be compared"
    folder: Path
    name: str
    read: Callable[[], Any]
    change: Callable[[random.Random, bytes], bytes] | None = None     # beside that of bytes
    exact: bool = False         # it has a digest: what is not refused is right


def as_json(r, data): return json_changed(r, data.decode()).encode("utf-8", "surrogatepass")


def weights_of(model): return {p: w.tobytes() for p, w in model.named_parameters().items()}


def kinds(place):
    "One of each, made anew"
    (place / "outside").mkdir(parents=True)
    np.save(place / "outside" / "secret.npy", np.arange(9))
    shutil.copy(place / "outside" / "secret.npy", place / "outside" / "secret")
    run = small_run()
    saved, log = place / "run", place / "log.jsonl"
    list(record(fit(run), log))
    checkpoint.save(saved, run.model, run.dataset.tokenizer, run)
    resumed = lambda: [checkpoint.run_state(again := checkpoint.resume(saved, run.dataset)),
                       weights_of(again.model)]
    loaded = lambda: [weights_of((got := checkpoint.open_model(saved))[0]),
                      got[1].encode(TEXT[:50])]
    for name, change in (("model.safetensors", tensors_changed), ("train.json", as_json),
                         ("optimizer.safetensors", tensors_changed)):
        yield Kind(saved, name, resumed, change, name != "train.json")
    yield Kind(saved, "tokenizer.json", loaded, as_json, True)
    yield Kind(place, log.name, lambda: len(read_log(log)) + len(outline(log)[0]), lines_changed)
    learned = BPETokenizer.train(TEXT, 290, ["<|end|>"])
    for i, tokenizer in enumerate((CharTokenizer.train(TEXT), WordTokenizer.train(TEXT), learned)):
        (place / f"t{i}").mkdir()
        tokenizer.save(path := place / f"t{i}" / "tokenizer.json")
        used = lambda path=path: (t := load_tokenizer(path)).decode(t.encode(TEXT[:300]))
        yield Kind(path.parent, path.name, used, as_json)
    (place / "my.txt").write_text(TEXT)
    build([place / "my.txt"], made := place / "data", Settings("bpe", 280, shard_tokens=1500))
    opened = lambda folder: lambda: [(d := open_dataset(folder)).train[:].tolist(),
                                     d.val[:].tolist(), round(d.chars_per_token(), 6)]
    for name in ("train-00000.npy", "index.json", "tokenizer.json"):
        change = None if name.endswith("npy") else as_json
        yield Kind(made, name, opened(made), change, name != "index.json")
    run.dataset.save(plain := place / "plain")
    for name in ("train.npy", "dataset.json"):
        yield Kind(plain, name, opened(plain), as_json if "json" in name else None, "npy" in name)
    new = lambda: GPT(GPTConfig(vocab_size=5, **LLAMA), np.random.default_rng(0))
    lora.save_adapter(lora.lora(new(), 2, 4., ["q"], rng=0), adapter := place / "adapter")
    read = lambda: weights_of(lora.load_adapter(new(), adapter))
    for name, change in ((lora.ADAPTER, tensors_changed), (lora.ADAPTER_CONFIG, as_json),
                         ("digests.json", as_json)):
        yield Kind(adapter, name, read, change, name != "digests.json")
    yield from published(place, learned)
    os.environ[progress.VARIABLE] = str(place / "p" / "progress.json")
    progress.record("check", "x", ok=True)
    yield Kind(place / "p", "progress.json", lambda: repr(progress.progress()), as_json)
    yield Kind(place, "my.txt", lambda: load_text(place / "my.txt"))
    (place / "my.jsonl").write_text('{"text": "one"}\n{"text": "two", "more": [1]}\n')
    yield Kind(place, "my.jsonl", lambda: list(documents(str(place / "my.jsonl"))), lines_changed)


TEMPLATE = ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")
TALK = [dict(role="user", content="hello"), dict(role="assistant", content="yes")]


def published(place, tokenizer):
    "The files of a folder as model hubs have them, without digests"
    folder = place / "hub"
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **LLAMA), np.random.default_rng(0))
    hub.export(model, folder, tokenizer=tokenizer)
    (folder / "digests.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (place / "talk.jsonl").write_text(json.dumps({"messages": TALK}) + "\n")
    loaded = lambda: weights_of(hub.load(folder)[0])
    read = lambda: Script.read(folder).text(TALK)
    yield Kind(folder, "config.json", loaded, as_json)
    yield Kind(folder, "model.safetensors", loaded, tensors_changed)
    words = lambda: vocab.read_tokenizer(folder).encode(TEXT[:200])
    yield Kind(folder, "tokenizer.json", words, as_json)
    yield Kind(folder, "tokenizer_config.json", read, as_json)
    talked = lambda: [(a.tolist(), b.tolist()) for a, b in
                      tuning.pairs(place / "talk.jsonl", Script.read(folder))]
    yield Kind(place, "talk.jsonl", talked, lines_changed)


OPENED: list[str] = []
ONLY = os.environ.get("NUMPYGPT_HOSTILE", "").split()       # names of files, to look at these alone


@dataclass
class Found:
    "What came of many changes to one kind of file"
    name: str
    counts: Counter
    slowest: float
    faults: list


def attack(kind, n, seed, place):
    "Change the file n times, and read it; what is not as it should be is in `faults`"
    r, path = random.Random(f"{kind.folder.name}/{kind.name}/{seed}"), kind.folder / kind.name
    before, right = path.read_bytes(), kind.read()
    found = Found(f"{kind.folder.name}/{kind.name}", Counter(), 0.0, [])
    for i in range(n):
        data = damaged(path, before, r, kind)
        start = time.process_time()
        OPENED.clear()
        try: outcome = "right" if (got := kind.read()) == right else "other"
        except (ValueError, OSError) as e:
            outcome, said = "refused", str(e)
            if "\n" in said.strip() or len(said) > 30_000:
                found.faults.append((i, "long", said[:200]))
        except BaseException as e:
            outcome = type(e).__name__
            found.faults.append((i, outcome, str(e)[:200], repr(data)[:300]))
        spent = time.process_time() - start
        if spent > 1: found.faults.append((i, "slow", round(spent, 1), repr(data)[:300]))
        if any("outside" in p for p in OPENED) and not path.is_symlink():
            found.faults.append((i, "opened what lies outside", repr(data)[:300]))
        if outcome == "other" and kind.exact and not isinstance(data, str):
            found.faults.append((i, "accepted", repr(data)[:300]))
        found.slowest = max(found.slowest, spent)
        found.counts[outcome] += 1
        restore(path, before)
    assert kind.read() == right
    return found


def damaged(path, before, r, kind):
    "Change the file; returns what lies there now"
    how = r.random()
    if how < 0.02:
        path.unlink()
        what = r.choice(["folder", "link", "nowhere", "itself", "gone"])
        if what == "folder": path.mkdir()
        elif what != "gone": path.symlink_to({"link": "../outside/secret", "itself": path.name,
                                              "nowhere": "../outside/none"}[what])
        return what
    data = kind.change(r, before) if kind.change and how < 0.7 else bytes_changed(r, before)
    path.write_bytes(data)
    return data


def restore(path, before):
    if path.is_dir() and not path.is_symlink(): path.rmdir()
    else: path.unlink(missing_ok=True)
    path.write_bytes(before)
    for other in path.parent.glob("*.damaged*"): other.unlink()


def all_attacks(place, n, seed):
    "Each kind, n times; and by how many megabytes the process grew"
    if not getattr(sys, "watched", False):
        setattr(sys, "watched", True)
        sys.addaudithook(lambda event, args: event == "open" and OPENED.append(str(args[0])))
    every = list(kinds(place))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = [attack(kind, n, seed, place) for kind in every if not ONLY or kind.name in ONLY]
    return found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
