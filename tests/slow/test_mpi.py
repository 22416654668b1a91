"Real ranks under a real mpiexec: the losses of one process, one checkpoint, and one end for all"
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from numpygpt.training import read_log

BIN = Path(sys.executable).parent
MPIEXEC = BIN / "mpiexec" if (BIN / "mpiexec").exists() else shutil.which("mpiexec")
pytestmark = pytest.mark.skipif(
    not (MPIEXEC and find_spec("mpi4py")),
    reason='no mpiexec or no mpi4py (pip install "numpygpt[mpi]"): ranks were not tried')
SHORT = ("--n-layer 1 --n-embd 16 --n-head 2 --context 16 --batch-size 8 --warmup 2 "
         "--eval-batches 1 --eval-every 4 --sample 0 --dropout 0.1 --workers 1").split()


def start(ranks, *command, **options):
    "A command on so many ranks, without mpiexec for None"
    words = [*([MPIEXEC, "-n", str(ranks)] if ranks else []), *map(str, command)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, **options)


def finish(process, seconds=120):
    "Its exit code, output and errors"
    try: out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def train(ranks, *args, cwd): return finish(start(ranks, BIN / "numpygpt", "train", *args, cwd=cwd))


def facts(folder):
    return [(s.index, s.loss, s.lr, s.grad_norm, s.val_loss)
            for s in read_log(folder / "log.jsonl")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "Eight steps with one process, and with one to three ranks"
    folder = tmp_path_factory.mktemp("ranks")
    for ranks in (None, 1, 2, 3):
        code, out, err = train(ranks, *SHORT, "--steps", 8, "--out", f"of-{ranks}", cwd=folder)
        assert code == 0, err
        assert out.count("parameters") == out.count("saved in") == 1, out
        assert out.count("validation loss") == 2, out
        assert err.count("8/8") >= 1
    return folder


def test_two_ranks_train_to_the_bits_of_one_process(place):
    for ranks in (1, 2):
        assert facts(place / f"of-{ranks}") == facts(place / "of-None")
        mine, one = ((place / f"of-{name}" / "checkpoint" / "model.safetensors").read_bytes()
                     for name in (ranks, None))
        assert mine == one


def test_three_ranks_have_the_same_losses_to_rounding(place):
    for (i, *a), (j, *b) in zip(facts(place / "of-3"), facts(place / "of-None"), strict=True):
        assert i == j and all(x == y or abs(x - y) < 1e-5 * abs(y) for x, y in zip(a, b))


def test_one_log_and_one_checkpoint(place):
    names = lambda folder: sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
    assert names(place / "of-2") == names(place / "of-None")
    assert sorted(p.name for p in place.iterdir()) == ["of-1", "of-2", "of-3", "of-None"]


@pytest.mark.parametrize("before, after", [(2, None), (None, 2), (2, 3)])
def test_a_run_goes_on_with_another_number_of_ranks(place, tmp_path, before, after):
    "Twelve steps in one go, and eight and four"
    shutil.copytree(place / f"of-{before}", tmp_path / "run")
    shutil.copytree(place / "of-None", tmp_path / "alone")
    for ranks, name in ((after, "run"), (None, "alone")):
        code, _, err = train(ranks, "--resume", name, "--steps", 12, "--sample", 0, "--workers", 1,
                             cwd=tmp_path)
        assert code == 0, err
    mine, alone = facts(tmp_path / "run"), facts(tmp_path / "alone")
    assert len(mine) == len(alone) == 12
    if after == 3: assert max(abs(a[1] - b[1]) / b[1] for a, b in zip(mine, alone)) < 1e-5
    else: assert mine == alone


def test_workers_on_each_rank(place, tmp_path):
    "Two processes on each of two ranks, the same bits"
    code, _, err = train(2, *SHORT[:-1], 2, "--steps", 8, "--out", "run", cwd=tmp_path)
    assert code == 0, err
    assert facts(tmp_path / "run") == facts(place / "of-None")


SCRIPT = """
import os, sys, time
from numpygpt import cli, training
from numpygpt.ranks import world
done = training.train_step
def step(run):
    made = done(run)
    if run.index == 3 and world().rank == {rank}: {fault}
    return made
training.train_step = step
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("fault, said", [
    ("1 / 0", "ZeroDivisionError"),
    ("raise ValueError('not this one')", "numpygpt: not this one"),
    ("run.flat.w[0] += 1", "has not the same weights")])
def test_one_that_fails_ends_all(tmp_path, rank, fault, said):
    "Within seconds, with its words and not with those of others, and a code that is not zero"
    begin = time.monotonic()
    args = [*SHORT[:-1], 2, "--steps", 100_000, "--save-every", 5, "--out", "run"]
    script = SCRIPT.format(rank=rank, fault=fault)
    code, _, err = finish(start(2, sys.executable, "-c", script, "train", *args, cwd=tmp_path), 60)
    assert code != 0 and said in err and err.count("has failed and ends all") == 1, err
    if said == "ZeroDivisionError": assert "Traceback" in err and f"rank {rank} of 2" in err
    else: assert "Traceback" not in err
    print(f"{said}: {time.monotonic() - begin:.1f} s")
    assert gone("100000")


def running(word):
    """Pids of the Python processes of this user with this word among their arguments,
    mpiexec itself left out"""
    for p in Path("/proc").glob("[0-9]*"):
        try: words = (p / "cmdline").read_text().split("\0")
        except OSError: continue
        if word in words and "python" in words[0]: yield int(p.name)


def gone(word, seconds=10):
    end = time.monotonic() + seconds
    while [*running(word)] and time.monotonic() < end: time.sleep(0.1)
    return not [*running(word)]


def ranks_of(word):
    return [p for p in running(word) if b"PMI_RANK" in Path(f"/proc/{p}/environ").read_bytes()]


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@linux
@pytest.mark.parametrize("send, to", [
    (signal.SIGINT, "mpiexec"), (signal.SIGTERM, "mpiexec"), (signal.SIGINT, "the terminal"),
    (signal.SIGTERM, "one rank"), (signal.SIGINT, "one rank")])
def test_a_signal_saves_and_stops_all(tmp_path, send, to):
    "And the run goes on where it stopped, to the losses of one that did not"
    steps = str(200_000 + 1000 * send + len(to))             # tells these processes from all others
    process = start(2, BIN / "numpygpt", "train", *SHORT, "--steps", steps, "--out", "run",
                    cwd=tmp_path)
    log = tmp_path / "run" / "log.jsonl"
    end = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) > 3) and time.monotonic() < end:
        time.sleep(0.05)
    if to == "the terminal": os.killpg(process.pid, send)
    else: os.kill(process.pid if to == "mpiexec" else max(ranks_of(steps)), send)
    code, out, err = finish(process)
    assert code == 0 and "everything is saved" in out, out + err
    stopped = read_log(log)[-1].index
    assert f"stopped after step {stopped};" in out and gone(steps)
    code, _, err = train(None, "--resume", "run", "--steps", stopped + 2, "--sample", 0,
                         "--workers", 1, cwd=tmp_path)
    assert code == 0 and read_log(log)[-1].index == stopped + 2, err


@linux
def test_a_rank_that_is_killed_ends_all(tmp_path):
    process = start(2, BIN / "numpygpt", "train", *SHORT[:-1], 2, "--steps", 300_000, "--out",
                    "run", cwd=tmp_path)
    log = tmp_path / "run" / "log.jsonl"
    end = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) > 3) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(max(ranks_of("300000")), signal.SIGKILL)
    code, _, err = finish(process, 60)
    assert code != 0 and gone("300000")


def test_bad_input_is_told_once(tmp_path):
    for args, said in (
            (["--batch-size", 1], "a batch of 1 makes 1 micro-batches, too few for 2 ranks"),
            (["--n-embd", 100, "--n-head", 8], "n_embd (100)"),
            (["--resume", "nowhere"], "no checkpoint in nowhere")):
        code, _, err = train(2, *(SHORT if args[0] == "--batch-size" else []), *args, cwd=tmp_path)
        assert code != 0 and err.count(said) == 1 and "Traceback" not in err, err


def test_without_mpi4py_it_says_what_to_install(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('No module named mpi4py')")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    process = start(2, BIN / "numpygpt", "info", env={**os.environ, "PYTHONPATH": path})
    code, _, err = finish(process)
    assert code != 0 and 'pip install "numpygpt[mpi]"' in err and "Traceback" not in err


def test_cores_are_divided_among_the_ranks_of_a_machine():
    script = ("from numpygpt.ranks import *; from numpygpt.replicas import usable_cores; "
              "print(f'{world().size} {cores_each(world())} {usable_cores()}\\n', "
              "end='', flush=True)")
    code, out, err = finish(start(2, sys.executable, "-c", script))
    assert code == 0, err
    lines = out.split("\n")[:-1]
    assert len(lines) == 2
    for line in lines:
        size, each, cores = map(int, line.split())
        assert size == 2 and each == max(1, cores // 2)
