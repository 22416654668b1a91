"Replicas: the same numbers for any number of workers, and nothing left behind however it ends"
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from numpygpt import backend, optimizers
from numpygpt.backend import core_limit, usable_cores
from numpygpt.gradcheck import wrongs
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.replicas import LANES, Replicas, undisturbed
from numpygpt.transformer import GPT, GPTConfig

KILL = getattr(signal, "SIGKILL", None)                   # Windows has none
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
KINDS = ["thread", pytest.param("process", marks=linux)]
CONFIG = GPTConfig(vocab_size=11, context=6, n_layer=2, n_embd=16, n_head=4, n_kv_head=2,
                   dropout=0.1)


@pytest.fixture(autouse=True)
def short_slices(monkeypatch):
    "So that the update of a small model has some for each thread"
    monkeypatch.setattr(optimizers, "SLICE", 256)


def parts(dropout_seed=3):
    model = GPT(CONFIG, np.random.default_rng(1), np.random.default_rng(dropout_seed))
    return model, Flat(model)


def batch(size=13):
    ids = np.random.default_rng(2).integers(0, CONFIG.vocab_size, (size, CONFIG.context + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def three_steps(workers, kind, micro_batch=2):
    "Losses, gradients and weights of three steps"
    model, flat = parts()
    optimizer, seen = AdamW(flat), []
    with Replicas(model, flat, workers, kind) as replicas:
        for _ in range(3):
            flat.zero_grad()
            seen.append((float(replicas.accumulate(*batch(), micro_batch)), flat.dw.copy()))
            replicas.step(optimizer)
    return seen, flat.w.copy(), model.drop.rng.bit_generator.state, optimizer.t


def children():
    "Processes that this one has started and that still exist"
    listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())],
                            capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if not line.split()[1].startswith("ps")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("micro_batch", [2, 5, 7])           # none, one and two lanes are empty
def test_same_bits_for_any_number_of_workers(workers, kind, micro_batch):
    one, many = three_steps(1, kind, micro_batch), three_steps(workers, kind, micro_batch)
    for (loss, dw), (loss2, dw2) in zip(one[0], many[0]):
        assert loss == loss2 and (dw == dw2).all()
    assert (one[1] == many[1]).all() and one[2:] == many[2:]


def test_the_update_is_divided_among_threads(monkeypatch):
    walked = []
    monkeypatch.setattr(AdamW, "update", lambda self, part, lr: walked.append((id(self), part)))
    model, flat = parts()
    optimizer = AdamW(flat)
    with Replicas(model, flat, 2) as replicas: replicas.step(optimizer, 0.1)
    assert sorted(part.start for _, part in walked) == [part.start for part in optimizer.parts]
    assert len({who for who, _ in walked}) == 2 and optimizer.t == 1


@pytest.mark.parametrize("micro_batch", [2, 5, 7, 13])
def test_gradient_is_that_of_the_whole_batch(micro_batch):
    model, flat = parts()
    for part in (model.drop, *(d for b in model.blocks for d in (b.drop1, b.drop2))): part.p = 0
    x, y = batch()
    y[0, :3] = -1                                            # some targets are not counted
    from numpygpt.losses import cross_entropy
    loss, dlogits = cross_entropy(model(x), y)
    model.backward(dlogits)
    whole = flat.dw.copy()
    flat.zero_grad()
    with Replicas(model, flat, 2) as replicas: parts_loss = replicas.accumulate(x, y, micro_batch)
    assert abs(loss - parts_loss) < 1e-6
    assert np.linalg.norm(whole - flat.dw) < 1e-5 * np.linalg.norm(whole)


def test_gradients_are_added_to_those_that_are_there():
    model, flat = parts()
    flat.dw += 1
    with Replicas(model, flat, 2) as replicas: replicas.accumulate(*batch())
    first = flat.dw.copy()
    model, flat = parts()
    with Replicas(model, flat, 2) as replicas: replicas.accumulate(*batch())
    np.testing.assert_allclose(first, flat.dw + 1, atol=1e-5)


def test_dropout_goes_on_where_a_saved_generator_stopped():
    model, flat = parts()
    with Replicas(model, flat, 2) as replicas:
        replicas.accumulate(*batch())
        state = model.drop.rng.bit_generator.state
        flat.zero_grad()
        wanted = replicas.accumulate(*batch())
    model, flat = parts(dropout_seed=99)
    model.drop.rng.bit_generator.state = state
    with Replicas(model, flat, 1) as replicas: assert replicas.accumulate(*batch()) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_given_back(kind):
    "BLAS threads, processes, and the model's arrays as views of flat"
    before = [(p["filepath"], p["num_threads"]) for p in threadpool_info()]
    model, flat = parts()
    with Replicas(model, flat, 3, kind) as replicas:
        replicas.accumulate(*batch())
        assert all(p["num_threads"] == 1 for p in threadpool_info() if p["user_api"] == "blas")
    assert [(p["filepath"], p["num_threads"]) for p in threadpool_info()] == before
    assert not children()
    assert model.head.W.base is not None
    assert np.shares_memory(model.head.W, flat.w) and np.shares_memory(model.head.dW, flat.dw)
    assert np.isfinite(replicas.accumulate(*batch()))         # starts anew by itself
    replicas.close()
    assert not children()


class Faulty(GPT):
    "Fails on a batch that begins with 7"
    def forward(self, ids, *args, **more):
        if ids[0, 0] == 7: raise ZeroDivisionError("seven came first")
        return super().forward(ids, *args, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_in_a_worker_comes_with_its_traceback(kind):
    model = Faulty(CONFIG, np.random.default_rng(1))
    flat, (x, y) = Flat(model), batch(8)
    x = np.where(x == 7, 6, x)
    bad = x.copy()
    bad[2, 0] = 7                                            # in the other worker's job
    with Replicas(model, flat, 2, kind) as replicas:
        with pytest.raises(ZeroDivisionError, match="seven came first") as error:
            replicas.accumulate(bad, y, 2)
        cause, passed = error.value.__cause__, error.traceback
        told = str(cause) if kind == "process" else "".join(map(str, passed))
        assert "test_replicas.py" in told and "forward" in told
        assert not children()
        flat.zero_grad()
        after = replicas.accumulate(x, y, 2), flat.dw.copy() # usable, without the failed step
    model = Faulty(CONFIG, np.random.default_rng(1))
    flat = Flat(model)
    rng = model.drop.rng
    rng.integers(1 << 62)                                    # the failed step has drawn its seed
    with Replicas(model, flat, 1) as replicas:
        assert replicas.accumulate(x, y, 2) == after[0] and (flat.dw == after[1]).all()


@linux
def test_a_worker_that_is_killed_is_reported():
    model, flat = parts()
    with Replicas(model, flat, 2, "process") as replicas:
        replicas.accumulate(*batch())
        replicas.crew.team.workers[0].kill()
        replicas.crew.team.workers[0].join()
        with pytest.raises((RuntimeError, BrokenPipeError)): replicas.accumulate(*batch())
    assert not children()


SCRIPT = """
import os, signal, sys, numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)       # some shells ignore it
from numpygpt.module import Flat
from numpygpt.replicas import Replicas
from numpygpt.transformer import GPT, GPTConfig
config = GPTConfig(vocab_size=11, context=6, n_layer=1, n_embd=8, n_head=2)
model = GPT(config, np.random.default_rng(0))
ids = np.zeros((8, 6), int)
replicas = Replicas(model, Flat(model), 3, "process")
replicas.start()
print(*[w.pid for w in replicas.crew.team.workers], flush=True)
{end}
"""
FOREVER = "while True: replicas.accumulate(ids, ids, 1)"


def alive(pid):
    try: return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError: return False


def gone(pids, seconds=10):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end: time.sleep(0.02)
    return not any(map(alive, pids))


@linux
@pytest.mark.parametrize("end, send", [
    ("replicas.accumulate(ids, ids)", None), ("1 / 0", None), ("os._exit(3)", None),
    (FOREVER, signal.SIGINT), (FOREVER, signal.SIGTERM), (FOREVER, KILL),
    ("import time; time.sleep(60)", KILL)])
def test_no_process_and_no_shared_memory_outlives_a_script(end, send):
    "Normal end without close, exception, hard exit, Ctrl-C, kill; no __main__ guard"
    before = set(os.listdir("/dev/shm"))
    script = subprocess.Popen([sys.executable, "-c", SCRIPT.format(end=end)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              start_new_session=True)
    pids = [int(p) for p in script.stdout.readline().split()]
    assert len(pids) == 2
    if send:
        time.sleep(0.2)
        if send == signal.SIGINT: os.killpg(script.pid, send)      # Ctrl-C goes to the whole group
        else: script.send_signal(send)
    errors = script.communicate(timeout=60)[1]
    assert gone(pids)
    assert set(os.listdir("/dev/shm")) <= before
    if send == signal.SIGINT:                                # the script's word, and no worker's
        assert errors.endswith("KeyboardInterrupt\n") and "Process-" not in errors
    if end.startswith("replicas"): assert script.returncode == 0 and not errors


@linux
def test_workers_end_when_their_replicas_are_forgotten():
    model, flat = parts()
    replicas = Replicas(model, flat, 2, "process")
    replicas.accumulate(*batch())
    pids, limits = [w.pid for w in replicas.crew.team.workers], replicas.crew.limits
    del replicas
    assert gone(pids)
    limits.restore_original_limits()


def test_settings_are_checked():
    model, flat = parts()
    with pytest.raises(ValueError, match="kind must be"): Replicas(model, flat, kind="fiber")
    with pytest.raises(ValueError, match="workers must be"): Replicas(model, flat, 0)
    assert 1 <= Replicas(model, flat).workers <= min(LANES, usable_cores())


def shares(version, workers, holes=False):
    "(loss, gradient) in double precision, by this version of `accumulate`"
    model = GPT(CONFIG, np.random.default_rng(1), np.random.default_rng(3))
    flat, (x, y) = Flat(model, "f8"), batch()
    flat.w[:] = np.random.default_rng(4).normal(0, 0.5, len(flat))
    if holes: y[0, 1:] = y[3, 2:] = y[5] = -1
    with Replicas(model, flat, workers, "thread") as replicas:
        return float(version(replicas, x, y, 2)), flat.dw.copy()


@pytest.mark.parametrize("mistake", wrongs(Replicas), ids=lambda w: w.name)
def test_every_wrong_version_is_caught(mistake):
    "By other bits for another number of workers, or by a gradient that is not the batch's"
    right, one = shares(Replicas.accumulate, 1, True), shares(mistake.code, 1, True)
    several = [shares(mistake.code, n, True) for n in (2, 4)]
    other_bits = any((dw != one[1]).any() for _, dw in several)
    assert mistake.thought and (other_bits or np.abs(one[1] - right[1]).max() > 1e-6)


def test_what_is_drawn_inside_is_not_missed_outside():
    model, _ = parts()
    before = model.drop.rng.bit_generator.state
    with pytest.raises(KeyError):
        with undisturbed(model):
            model.drop.rng.random(3)
            raise KeyError
    assert model.drop.rng.bit_generator.state == before


V1 = "7:cpuset:/\n5:cpu,cpuacct:/a/b\n4:memory:/other\n0::/\n"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
CASES = {        # what /proc/self/cgroup says, files below /sys/fs/cgroup, cores of 64
    "v2": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    "v2, rounded up": ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
    "v2, half a core": ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    "v2, max": ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
    "v2, its own": ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 50000"}, 1),
    "v2, that above": ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100"}, 3),
    "v2, a path of the host": ("0::/docker/c0ffee\n", {"cpu.max": "200000 100000\n"}, 2),
    "v2, more than there are": ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64),
    "v1": (V1, {f"cpu/a/b/{QUOTA}": "400000\n", f"cpu/a/b/{PERIOD}": "100000"}, 4),
    "v1, that above": (V1, {f"cpu/a/{QUOTA}": "150000\n", f"cpu/a/{PERIOD}": "100000\n"}, 2),
    "v1, a path of the host": (V1, {f"cpu/{QUOTA}": "20000\n", f"cpu/{PERIOD}": "100000\n"}, 1),
    "v1, no quota": (V1, {f"cpu/a/b/{QUOTA}": "-1", f"cpu/a/b/{PERIOD}": "100000"}, 64),
    "v1, another's": (V1, {f"cpu/other/{QUOTA}": "9\n", f"cpu/other/{PERIOD}": "10\n"}, 64),
    "v1, without a period": (V1, {f"cpu/a/b/{QUOTA}": "100000\n"}, 64),
    "absent": ("0::/\n", {}, 64), "no /proc": (None, {"cpu.max": "200000 100000\n"}, 64),
    "broken groups": ("0::\n1:\nx\n\n:::/\n", {}, 64), "no text": (b"\xff\xfe0::/", {}, 64),
    **{f"broken: {text!r}": ("0::/\n", {"cpu.max": text}, 64)
       for text in ("", "x y", "1 2 3", "100000", "100000 0", "100000 -5", "0 9", b"\xff\xfe")}}


@pytest.mark.parametrize("case", CASES)
def test_a_quota_counts_like_missing_cores(case, tmp_path, monkeypatch):
    "64 cores, of which control groups allow a part"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    groups, files, cores = CASES[case]
    below = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    texts = {"proc/self/cgroup": groups, **below}
    for name, text in texts.items():
        if text is None: continue
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert core_limit(tmp_path) == (cores, "affinity" if cores == 64 else "quota")


def test_without_affinity_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert core_limit(tmp_path) == (1, "affinity")


def test_workers_are_as_many_as_the_limit_allows(monkeypatch):
    assert usable_cores() == core_limit()[0] >= 1
    monkeypatch.setattr(backend, "core_limit", lambda: (3, "quota"))
    assert Replicas(*parts()).workers == 3


AVERAGES = """
import os
from pathlib import Path
import numpy as np
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.replicas import Replicas
from numpygpt.transformer import GPT, GPTConfig

def resident(pid, array):
    "Bytes that a process holds of the mapping in which the middle of an array of this one lies"
    place, inside = array.ctypes.data + array.nbytes // 2, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first:
            start, stop = (int(x, 16) for x in first.split("-"))
            inside = start <= place < stop
        elif inside and first == "Rss:": return 1024 * int(line.split()[1])

model = GPT(GPTConfig(vocab_size=400_000, context=4, n_layer=1, n_embd=16, n_head=4),
            np.random.default_rng(1))
flat = Flat(model)
optimizer, ids = AdamW(flat), np.zeros((2, 4), int)
with Replicas(model, flat, 2, "process") as replicas:
    replicas.accumulate(ids, ids)
    replicas.step(optimizer)
    for pid in os.getpid(), replicas.crew.team.workers[0].pid:
        print(sum(resident(pid, v) for v in optimizer.state.values()) / (2 * flat.w.nbytes))
"""


@linux
def test_a_worker_holds_nothing_of_the_averages():     # in a process whose heap nothing has used
    said = subprocess.run([sys.executable, "-c", AVERAGES], capture_output=True, text=True)
    own, worker = map(float, said.stdout.split())
    assert own > 0.9 and worker < 0.1
