"Programs that do harm: each is told in a line, and this process goes on as it was"
import contextlib
import ctypes
import os
import re
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from numpygpt import answers, box, learn
from numpygpt.box import MOST, boxed, pack, told, unpack
from numpygpt.diagnosis import judge
from numpygpt.learn import Exercise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no answer")

SCALED = Exercise("scaled", lambda x: 2 * x, 1,
                  lambda r: [(r.normal(size=s),) for s in ((3,), (2, 5), (7, 1))],
                  ("a", "b", "c", "d"))


def verdict(answer, seconds=10.0): return judge(SCALED, answer, seconds)[0]


def endless(x):
    while True: pass


def endless_and_deaf(x):
    for s in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)
    while True:
        try:
            while True: pass
        except BaseException: pass


def waits(x): threading.Event().wait()


def prints(x):
    while True:
        with contextlib.suppress(BaseException): print("and on" * 100)


def deeper(x): return deeper(x)


def hoards(x):
    kept = []
    while True: kept.append(bytearray(2**24))


class Loud:
    def __repr__(self): raise ValueError("no repr of me")


class Leaves(list):
    def __iter__(self): sys.exit(3)


class Pretends:
    "Runs code whoever looks at it"
    def __init__(self): self.seen = []
    def __array__(self, *_, **__): os._exit(7)
    def __len__(self): os._exit(7)
    def __eq__(self, other): os._exit(7)
    def __reduce__(self): return os.system, ("echo a pickle was read",)


class Quiet:
    "A stranger among numbers"
    def __eq__(self, other): os._exit(7)
    def __reduce__(self): return os.system, ("echo a pickle was read",)


class Claims(np.ndarray):
    "Says of every comparison that it holds"
    def __eq__(self, other): return True
    def __sub__(self, other): return np.zeros(self.shape)
    def __abs__(self): return np.zeros(self.shape)


def twice(n):
    "A list of 2 ** n entries that takes a few bytes"
    found = []
    for _ in range(n): found = [found, found]
    return found


def itself():
    found = []
    found.append(found)
    return found


def in_place(x):
    x *= 2
    return x


def objects(x):
    found = np.empty(3, object)
    for i in range(3): found[i] = Quiet()
    return found


def no_memory(x): return np.ones(10**10)


HOSTILE = [
    (endless, "error", "gave no answer within"),
    (endless_and_deaf, "error", "gave no answer within"),
    (waits, "error", "gave no answer within"),
    (prints, "error", "printed more than 20,000 characters"),
    (no_memory, "error", "asked for more than 512 MB"),
    (hoards, "error", "asked for more than 512 MB"),
    (lambda x: np.zeros(MOST // 24 + 1), "error", "more than 64 MB"),
    (lambda x: sys.exit(0), "error", "called sys.exit"),
    (lambda x: os._exit(0), "error", "ended its process without an answer"),
    (lambda x: os.kill(os.getpid(), signal.SIGKILL), "error", "crashed .SIGKILL"),
    (lambda x: ctypes.string_at(0), "error", "crashed .SIGSEGV"),
    (deeper, "error", "calls itself without end"),
    (lambda x: input("your name?"), "error", "nobody answers"),
    (lambda x: np.array([Loud()]), "error", "no repr of me"),
    (lambda x: Loud(), "differs", "a Loud came"),
    (lambda x: Leaves([1]), "error", "called sys.exit"),
    (lambda x: Pretends(), "error", "without an answer"),
    (lambda x: np.array([Pretends()]), "error", "without an answer"),
    (objects, "differs", "came, where the right one is an array"),
    (lambda x: iter(int, 1), "differs", "should have shape"),
    (lambda x: twice(99), "error", "gave no answer within"),
    (lambda x: itself(), "error", "without end"),
    (lambda x: Exception("as a value"), "differs", "a Exception came"),
    (in_place, "differs", "x is changed, and it belongs to the caller"),
    (lambda x: (2 * x).astype("f4"), "differs", "single precision"),
    (lambda x: x * np.float64(2) + np.zeros(x.shape), "differs", "float32 came in.*float64"),
    (lambda x: np.where(x > 0, np.nan, 2 * x), "differs", "is nan"),
    (lambda x: 2 * x / 0, "differs", "is -?inf"),
    (lambda x: "2 x", "differs", "'2 x' came"),
    (lambda x: None, "differs", "returns nothing"),
    (lambda x: (2 * x).astype(object), "differs", "came, where the right one is an array"),
    (lambda x: x.view(Claims), "terms", "1/2 times"),
    (lambda x: type("T", (), {"dtype": "f8", "shape": x.shape})(), "differs", "came")]


@pytest.mark.parametrize("answer, how, says", HOSTILE,
                         ids=lambda x: getattr(x, "__name__", "")[:20] or None)
def test_each_is_a_line(answer, how, says, capfd):
    before, threads = len(os.listdir("/dev/fd")), threading.active_count()
    found = verdict(answer, 1.0 if "no answer within" in says else 10.0)
    assert found.ok is False and found.how == how and re.search(says, found.text), found.text
    assert "a pickle was read" not in capfd.readouterr().out
    assert len(os.listdir("/dev/fd")) <= before and threading.active_count() <= threads
    with pytest.raises(ChildProcessError): os.waitpid(-1, os.WNOHANG)      # nothing is left behind


@pytest.mark.parametrize("answer", [
    lambda x: 2 * x, lambda x: np.broadcast_to(2 * x, x.shape), lambda x: (4 * x)[...] / 2,
    lambda x: (2 * x)[::-1][::-1], lambda x: (2 * x).view(Claims)])
def test_a_view_is_as_good_as_its_numbers(answer):
    assert verdict(answer).ok is True


def patches(x):
    np.allclose, np.array_equal = lambda *_, **__: True, lambda *_, **__: True
    np.abs = lambda a: np.zeros(np.shape(a))
    answers.differing = answers.agree = lambda *_: []
    learn.check = box.boxed = None
    os.environ["NUMPYGPT_PATCHED"] = "1"
    sys.modules["numpygpt.diagnosis"].passed = None
    return 3 * x


def test_what_a_program_patches_it_patches_in_the_box():
    found = verdict(patches)
    assert found.ok is False and "3/2 times" in found.text
    assert "NUMPYGPT_PATCHED" not in os.environ and callable(learn.check) and callable(box.boxed)
    assert not np.allclose(1, 2) and np.abs(-1) == 1 and verdict(lambda x: 2 * x).ok


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children():
    "Three: one stays, one moves to a session of its own, one is a grandchild left behind"
    pids = []
    for k in range(3):
        r, w = os.pipe()
        if os.fork() == 0:
            if k == 1: os.setsid()
            if k == 2 and os.fork(): os._exit(0)
            os.write(w, str(os.getpid()).encode())
            time.sleep(600)
        pids.append(int(os.read(r, 20)))
    return pids


@pytest.mark.skipif(sys.platform != "linux", reason="descendants are listed by Linux")
def test_children_are_ended():
    outcome, pids, _ = boxed(children, 30.0)
    assert outcome == "value" and len(pids) == 3
    assert not any(map(alive, pids))


def test_a_file_may_be_written_and_no_large_one(tmp_path):
    "The box promises a limit of size, and nothing else about files"
    def work():
        (tmp_path / "small").write_bytes(b"0" * 2**20)
        with open(tmp_path / "large", "wb") as f:
            for _ in range(40): f.write(b"0" * 2**20)
    outcome, what, _ = boxed(work, 30.0)
    assert outcome == "error" and "OSError" in what
    assert (tmp_path / "small").stat().st_size == 2**20
    assert (tmp_path / "large").stat().st_size <= 2**24


def test_interrupting_leaves_nothing(tmp_path):
    "The reader presses Interrupt while the box runs"
    def work():
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    def interrupt():
        while not (tmp_path / "pid").exists(): time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt): boxed(work, 60.0)
    finally: signal.signal(signal.SIGINT, old)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_what_this_process_has_open_is_closed_in_there(tmp_path):
    "A socket of the kernel, say: rubbish that is written everywhere does not arrive"
    r, w = os.pipe()
    def scribbles():
        for fd in range(3, 300):
            with contextlib.suppress(OSError): os.write(fd, b"rubbish")
    boxed(scribbles, 30.0)
    os.set_blocking(r, False)
    with pytest.raises(BlockingIOError): os.read(r, 1)
    os.close(r)
    os.close(w)


@pytest.mark.parametrize("bad", [
    b"", b"rubbish", b"[", b'{"array": ["<f8", [3]]}\n1234', b'{"array": ["|O", [1]]}\n' + b"0" * 8,
    b'{"array": ["<f8", [-1]]}\n', b'{"bytes": 10}\nabc', b'{"bytes": -1}\nabc', b"1\nmore",
    b'{"list": [{"bytes": -1}, {"bytes": 4}]}\nabc',
    b'{"array": ["V0", [9]]}\n', b'{"int": "zz"}\n', b'{"a": 1, "b": 2}\n',
    b'{"set": [[]]}\n',
    b'{"array": ["<f8", [4000000000, 4000000000]]}\n', b'{"bytes": 1e3}\n', b"[" * 100_000])
def test_bytes_that_were_not_packed(bad):
    with pytest.raises(ValueError): unpack(bad)


@pytest.mark.parametrize("value", [
    None, True, -1, 2**63, -10**400, 0.1, 1j, "ä\ud800", b"\n\0", (), [], {}, set(),
    frozenset({1}),
    {(1, "a"): [None, {2: b""}]}, float("inf"), [[(1,)], {"x": {3}}]])
def test_what_is_packed_comes_back(value):
    found = unpack(pack(value))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("a", [
    np.arange(6).reshape(2, 3), np.float32(0.5), np.zeros((0, 3), "f4"), np.array("text"),
    np.array(["a", "bc"]), np.ones((2, 2), bool).T, np.array(3 + 1j), np.arange(3, dtype=">i2"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.datetime64("2030-01-01")])
def test_arrays_come_back(a):
    found = unpack(pack(a))
    assert np.array_equal(found, a) and found.dtype == a.dtype and found.shape == a.shape
    assert isinstance(found, np.ndarray) == isinstance(a, np.ndarray)


def test_nan_comes_back(): assert np.isnan(unpack(pack([float("nan")]))[0])


@pytest.mark.parametrize("value", [print, Loud(), np.array([None]), [object()], {1: lambda: 0}, np])
def test_what_is_no_data_is_not_packed(value):
    with pytest.raises(TypeError): pack(value)


@pytest.mark.skipif(sys.platform != "linux", reason="a fresh interpreter inherits no pipe")
def test_a_message_of_somebody_else_is_none():
    mine, data = {*os.listdir("/dev/fd")}, pack(("value", 1, ""))
    message = bytes(16) + len(data).to_bytes(8, "big") + data         # all right but for the key
    def forges():
        for fd in {*os.listdir("/dev/fd")} - mine:
            with contextlib.suppress(OSError):
                if stat.S_ISFIFO(os.fstat(int(fd)).st_mode): os.write(int(fd), message)
        return 2
    outcome, what, _ = boxed(forges, 30.0)
    assert outcome == "died" and "wrote into the pipe" in what


def test_an_error_shows_the_lines_of_its_author():
    def mine(): return 1 / 0
    try: mine()
    except ZeroDivisionError as error: text = told(error)
    assert "ZeroDivisionError: division by zero" in text and "of mine: def mine(): return 1" in text
    assert "numpygpt" not in text
    class Mute(Exception):
        def __str__(self): raise ValueError
    assert "its message could not be made" in told(Mute())


def test_printing_comes_back_and_errors_too():
    def work():
        print("to", "one")
        print("the other", file=sys.stderr)
        os.write(1, b"past Python")
        return 1
    assert boxed(work, 30.0) == ("value", 1, "to one\nthe other\n")
    assert boxed(lambda: print("a") or 1 / 0)[::2] == ("error", "a\n")


@pytest.mark.parametrize("answer", [endless_and_deaf, deeper, lambda x: os._exit(0),
                                    lambda x: 2 * x])
def test_the_same_in_a_fresh_interpreter(answer):
    here, there = (boxed(lambda: answer(np.ones(2)), 3.0, method=m) for m in ("fork", "fresh"))
    assert here[0] == there[0] and (here[0] != "value" or np.array_equal(here[1], there[1]))
    assert here[0] == "value" or here[1].split("\n")[0] == there[1].split("\n")[0]


def test_what_protects_nothing_says_so(monkeypatch):
    with open(os.devnull) as file:
        outcome, what, printed = boxed(lambda: file.closed, method="fresh")
    assert (outcome, what) == ("value", False) and "without limits of time, memory" in printed
    with pytest.raises(ValueError, match="fork or fresh"): boxed(lambda: 1, method="spoon")
