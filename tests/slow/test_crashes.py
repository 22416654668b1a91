"""A process that dies at each of its file operations, a disk that is full and one that fails:
what is found then is the old state or the new one, never neither, and the work can be done again"""
import errno
import os
import resource
import shutil
import sys
from contextlib import suppress
from itertools import count

import numpy as np
import pytest

from numpygpt import checkpoint, hub, lora, progress
from numpygpt.builder import build
from numpygpt.bpe import BPETokenizer
from numpygpt.corpus import Settings
from numpygpt.shards import open_dataset
from numpygpt.training import Step, cut_log, fit, read_log, record
from numpygpt.transformer import GPT, GPTConfig
from test_trust import LLAMA, TEXT, small_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.link",
           "os.symlink", "os.chmod", "os.utime"}


def is_change(event, args):
    "Whether an event of the interpreter is about to change a file"
    if event == "open": return bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES


# How it goes wrong: each is called in the process that does the work, with the number of the try

def dies(n):
    "At its n-th file operation, or flush, at once: no cleaning up"
    left = [n]

    def step():
        left[0] -= 1
        if left[0] < 0: os._exit(9)
    sys.addaudithook(lambda event, args: is_change(event, args) and step())
    plain = os.fsync
    os.fsync = lambda handle: (step(), plain(handle))


def is_full(n):
    "No file may become longer than this"
    sizes = [0, 1, 40, 150, 400, 900, 2000, 5000, 10_000, 20_000, 1 << 30]
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[n], sizes[n]))


def fails_to_flush(n):
    left, plain = [n], os.fsync

    def fsync(handle):
        left[0] -= 1
        if left[0] == -1: raise OSError(errno.EIO, "Input/output error")
        plain(handle)
    os.fsync = fsync


# What is done: how it is set up, done, and looked at. `look` gives the state as one value.

class Save:
    def __init__(self, folder):
        self.place, self.run = folder / "run", small_run(save_every=0)
        self.steps = fit(self.run)
        next(self.steps)
        self.work()
        next(self.steps)

    def work(self):
        checkpoint.save(self.place, self.run.model, self.run.dataset.tokenizer, self.run)
    def look(self): return checkpoint.resume(self.place, self.run.dataset).index


class CutLog:
    def __init__(self, folder):
        self.path = folder / "log.jsonl"
        list(record([Step(i, 1 / i, 0.1, 1.0, 5.0) for i in range(1, 9)], self.path))

    def work(self): cut_log(self.path, 3)
    def look(self): return len(read_log(self.path))


class Log(CutLog):
    "Of a step that is written there is the whole line or nothing"
    def work(self): list(record([Step(9, 0.5, 0.1, 1.0, 5.0)], self.path))


class Data:
    "Half of it is no dataset, and says so; the same words go on, to the same files"
    def __init__(self, folder):
        self.text, self.place = folder / "my.txt", folder / "data"
        self.text.write_text(TEXT[:2500])

    def work(self): build([self.text], self.place, Settings(shard_tokens=1200), size=900)
    def look(self):
        if not (self.place / "index.json").is_file(): return None
        with suppress(ValueError): return open_dataset(self.place).train[:].tolist()
        return None


class Progress:
    def __init__(self, folder):
        os.environ[progress.VARIABLE] = str(folder / "progress.json")
        self.work()

    def work(self): progress.record("check", "x", ok=False)
    def look(self): return progress.state()["exercises"]["x"]["tries"]


class Export:
    def __init__(self, folder):
        self.place, self.model = folder / "out", GPT(GPTConfig(vocab_size=280, **LLAMA),
                                                     np.random.default_rng(0))
        self.tokenizer = BPETokenizer.train(TEXT, 280)
        self.work()
        self.model.norm.g += 1

    def work(self): hub.export(self.model, self.place, tokenizer=self.tokenizer)
    def look(self):
        model, tokenizer = hub.load(self.place)
        assert tokenizer.encode(TEXT) == self.tokenizer.encode(TEXT)
        return float(model.norm.g[0])


class Adapter:
    def __init__(self, folder):
        self.place, self.new = folder / "adapter", lambda: GPT(
            GPTConfig(vocab_size=5, **LLAMA), np.random.default_rng(0))
        self.model = lora.lora(self.new(), 2, 4., ["q"], rng=0)
        self.work()
        for a in lora.adapters(self.model).values(): a.B += 1

    def work(self): lora.save_adapter(self.model, self.place)
    def look(self):
        found = lora.adapters(lora.load_adapter(self.new(), self.place))
        return float(next(iter(found.values())).B[0, 0])


def tried(way, n, work):
    "The exit code of a process that does the work while this goes wrong: 9 died, 5 told, 0 done"
    if (pid := os.fork()) == 0:
        code = 7
        try:
            way(n)
            work()
            code = 0
        except (OSError, ValueError): code = 5
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("way", [dies, is_full, fails_to_flush])
@pytest.mark.parametrize("kind", [Save, CutLog, Log, Data, Progress, Export, Adapter])
def test_the_old_state_or_the_new_one(tmp_path, monkeypatch, kind, way, figures):
    monkeypatch.setenv(progress.VARIABLE, "")
    (tmp_path / "a").mkdir()
    it = kind(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "kept")
    old = it.look()
    it.work()
    new, codes = it.look(), []
    assert old != new
    for n in count():
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(tmp_path / "kept", tmp_path / "a")
        codes.append(tried(way, n, it.work))
        assert it.look() in (old, new), (n, codes)
        assert codes[-1] in (0, 5, 9) and (codes[-1] or it.look() == new), (n, codes)
        if kind is not Log:                                  # which goes on behind what is there
            it.work()
            assert it.look() == (new if kind is not Progress else it.look()), n
        if codes[-1] == 0 and way is not fails_to_flush or n > 200: break
        if way is fails_to_flush and codes[-3:] == [0, 0, 0]: break
    assert codes[-1] == 0 and (kind is Log or len(codes) > 1)
    figures[f"points of {kind.__name__}, {way.__name__}"] = len(codes)
