"Ranks: the gradient of one process from any number of them, played by threads; no MPI needed"
import subprocess
import sys
import types

import numpy as np
import pytest
from fake_device import Device

from numpygpt import ranks
from numpygpt.backend import to_cpu, using, xp
from numpygpt.gradcheck import wrongs
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.ranks import Alone, Ranks, Rehearsal, agree, all_reduce, one_for_all, world
from numpygpt.replicas import Replicas, cut
from numpygpt.transformer import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=11, context=6, n_layer=2, n_embd=16, n_head=4, n_kv_head=2,
                   dropout=0.1)
IDS = np.random.default_rng(2).integers(0, 11, (8, 7))
X, Y = IDS[:, :-1].copy(), IDS[:, 1:].copy()
Y[0, 1:] = Y[3, 2:] = Y[5] = -1  # some targets are not counted, unevenly


def parts(dtype="f8", seed=1):
    model = GPT(CONFIG, np.random.default_rng(seed), np.random.default_rng(3))
    return model, Flat(model, dtype)


def of_one(dtype="f8", micro_batch=1):
    model, flat = parts(dtype)
    with Replicas(model, flat, 1) as replicas:
        return replicas.accumulate(X, Y, micro_batch), flat.dw.copy()


def of_ranks(n, dtype="f8", micro_batch=1, accumulate=Ranks.accumulate, workers=1):
    def work(comm):
        model, flat = parts(dtype)
        with Ranks(model, flat, workers, "thread", comm) as team:
            return accumulate(team, X, Y, micro_batch), flat.dw.copy()
    return Rehearsal(n).run(work)


def off(a, b):
    return max(abs(a[0] - b[0]) / abs(b[0]), np.linalg.norm(a[1] - b[1]) / np.linalg.norm(b[1]))


@pytest.mark.parametrize("n, workers", [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (2, 3), (3, 2)])
def test_the_gradient_is_that_of_one_process(n, workers):
    "With dropout, and with targets that do not count"
    found = of_ranks(n, workers=workers)
    assert max(off(each, of_one()) for each in found) < 1e-12
    assert all(loss == found[0][0] and (dw == found[0][1]).all() for loss, dw in found)


@pytest.mark.parametrize("micro_batch", [None, 1, 2])
def test_two_ranks_give_the_same_bits_as_one(micro_batch):
    (loss, dw), *_ = of_ranks(2, "f4", micro_batch)
    wanted = of_one("f4", micro_batch)
    assert loss == wanted[0] and (dw == wanted[1]).all()


@pytest.mark.parametrize("n", [3, 4])
def test_more_ranks_agree_to_rounding(n): assert off(of_ranks(n, "f4")[0], of_one("f4")) < 1e-6


@pytest.mark.parametrize("mistake", wrongs(Ranks), ids=lambda w: w.name)
def test_every_wrong_version_is_caught(mistake):
    found = of_ranks(2, accumulate=mistake.code)
    assert mistake.thought and max(off(each, of_one()) for each in found) > 1e-6


@pytest.mark.parametrize("size", [3, 8, 13])
def test_every_row_is_read_once(size):
    model, _ = parts()
    x = np.arange(size * 6).reshape(size, 6)
    for ranks in (1, 2, 3):
        jobs = cut(model, x, x, ranks=ranks)
        assert (np.concatenate([j.x for j in jobs]) == x).all()
        assert [j.index for j in jobs] == list(range(len(jobs)))
        assert {j.rank for j in jobs} == set(range(ranks)) and all(j.count == x.size for j in jobs)


def test_a_batch_that_cannot_be_divided_says_what_to_do():
    says = ("8 micro-batches, too few for 9 ranks: "
            "take a larger batch_size, a smaller micro_batch, or fewer ranks")
    with pytest.raises(ValueError, match=says): of_ranks(9)
    with pytest.raises(ValueError, match="a batch of 8 makes 2 micro-batches, too few for 3 ranks"):
        of_ranks(3, micro_batch=4)


def test_ranks_start_with_the_weights_of_the_first():
    def work(comm):
        model, flat = parts("f4", seed=comm.rank)
        with Ranks(model, flat, 1, "thread", comm): return flat.w.copy()
    first, second = Rehearsal(2).run(work)
    assert (first == second).all() and (first == parts("f4", seed=0)[1].w).all()


def test_what_differs_is_named_on_every_rank():
    def work(comm):
        agree(comm, weights=np.zeros(3), state={"step": 4})
        with pytest.raises(RuntimeError, match="rank 1 has not the same weights as rank 0"):
            agree(comm, weights=np.zeros(3) + comm.rank, state="one")
        with pytest.raises(RuntimeError, match="not the same weights and state"):
            agree(comm, weights=np.zeros(3) + comm.rank, state=comm.rank)
        return True
    assert Rehearsal(2).run(work) == [True, True]
    agree(Alone(), weights=np.zeros(3))


def test_all_stop_when_one_is_told_to():
    def work(comm):
        team = Ranks(*parts(), 1, "thread", comm)
        return [team.any(flag) for flag in ([], [comm.rank] if comm.rank == 2 else [])]
    assert Rehearsal(3).run(work) == [[False, True]] * 3


def test_one_that_fails_ends_the_rehearsal():
    def work(comm):
        if comm.rank == 1: raise ZeroDivisionError("on rank 1")
        comm.allgather(0)
    with pytest.raises(ZeroDivisionError, match="on rank 1"): Rehearsal(3).run(work)


def test_ranks_train_like_one_process():
    "Weights after three steps, each with the gradient of the step before zeroed"
    def steps(team, flat):
        optimizer, losses = AdamW(flat), []
        for _ in range(3):
            flat.zero_grad()
            losses.append(float(team.accumulate(X, Y, 1)))
            optimizer.step()
        return losses, flat.w.copy()

    def work(comm):
        model, flat = parts("f4")
        with Ranks(model, flat, 1, "thread", comm) as team: return steps(team, flat)
    model, flat = parts("f4")
    with Replicas(model, flat, 1) as replicas: losses, w = steps(replicas, flat)
    for each_losses, each_w in Rehearsal(2).run(work):
        assert each_losses == losses and (each_w == w).all()


@pytest.mark.parametrize("aware", [False, True])
def test_a_gpu_gradient_goes_through_the_host_or_straight(monkeypatch, aware):
    "The fake device refuses what a device refuses; its queue is asked to be empty first"
    seen = []

    class Comm:
        size = 2
        def Allreduce(self, _, a):
            seen.append(type(a).__name__)
            a[...] = a * 2
    monkeypatch.setattr(ranks, "cuda_aware", lambda: aware)
    monkeypatch.setattr("fake_device.Array.device",
                        types.SimpleNamespace(synchronize=lambda: seen.append("waited")),
                        raising=False)
    with using(Device()):
        a = xp.asarray(np.arange(4.0))
        all_reduce(Comm(), a)
        assert to_cpu(a).tolist() == [0, 2, 4, 6]
    assert seen == ["waited", "Array" if aware else "ndarray"]


def launched(monkeypatch, size=None, sees=None):
    "As if mpiexec had started `size` ranks, and mpi4py saw `sees` of them; None: it is not there"
    for name in ranks.SIZES: monkeypatch.delenv(name, raising=False)
    if size: monkeypatch.setenv("PMI_SIZE", str(size))
    mpi = types.SimpleNamespace(COMM_WORLD=types.SimpleNamespace(size=sees),
                                Get_library_version=lambda: "Some MPI 1.0, built\nsomewhere")
    monkeypatch.setitem(sys.modules, "mpi4py", sees and types.SimpleNamespace(MPI=mpi))
    return mpi


def test_without_mpiexec_there_is_one_rank(monkeypatch):
    launched(monkeypatch)
    assert isinstance(world(), Alone) and ranks.cores_each(world()) == ranks.usable_cores()
    launched(monkeypatch, 1)
    assert world().size == 1


def test_with_mpiexec_mpi4py_is_asked(monkeypatch):
    mpi = launched(monkeypatch, 2, 2)
    assert world() is mpi.COMM_WORLD


def test_what_is_missing_is_named(monkeypatch):
    launched(monkeypatch, 2)
    with pytest.raises(RuntimeError,
                       match=r'mpiexec has started 2 ranks.*pip install "numpygpt\[mpi\]"'):
        world()
    launched(monkeypatch, 2, 1)
    with pytest.raises(RuntimeError,
                       match="started 2 ranks, and mpi4py sees 1: use the mpiexec.*Some MPI 1.0"):
        world()


def test_importing_does_not_load_mpi():
    code = "import sys, numpygpt.cli; print('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "False"


class Aborts:
    "A communicator that notes with which code it was ended"
    def __init__(self, rank, size=2): self.rank, self.size, self.code = rank, size, None
    def Abort(self, code): self.code = code


@pytest.mark.parametrize("rank, error, code, said", [
    (0, ValueError("too small"), 1, "ValueError: too small"),
    (1, ZeroDivisionError("x"), 1, "Traceback"),
    (1, SystemExit("numpygpt: no such file"), 1, "no such file"),
    (0, SystemExit(2), 2, "rank 0 of 2"),
    (1, KeyboardInterrupt(), 1, "KeyboardInterrupt")])
def test_an_exception_on_one_rank_ends_all(monkeypatch, capsys, rank, error, code, said):
    comm, slept = Aborts(rank), []
    monkeypatch.setattr(ranks.time, "sleep", slept.append)
    with one_for_all(comm):
        print("a word")
        raise error
    out, err = capsys.readouterr()
    assert comm.code == code and said in err and f"rank {rank} of 2 has failed and ends all" in err
    # each before Abort, and the others behind rank 0
    assert out == ("" if rank else "a word\n") and len(slept) == 1 + rank


@pytest.mark.parametrize("comm, error", [(Alone(), ValueError), (Aborts(0), SystemExit(0)),
                                         (Aborts(1), SystemExit)])
def test_one_process_and_a_regular_end_are_left_alone(comm, error):
    with pytest.raises(type(error) if isinstance(error, BaseException) else error):
        with one_for_all(comm): raise error
    assert getattr(comm, "code", None) is None
