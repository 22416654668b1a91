"Replicas of one model share a batch between all cores, and the result does not depend on how many there are"
import copy
import ctypes
import math
import mmap
import multiprocessing as mp
import os
import signal
import sys
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait

import numpy as np
from threadpoolctl import threadpool_limits

from numpygpt.backend import get_device, xp
from numpygpt.losses import cross_entropy
from numpygpt.training import micro_batch_size

LANES = 4      # partial sums of the gradient; the result depends on this number, and not on that of the workers


def usable_cores():
    "Cores that this process may run on"
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_kind():
    "'process' where the interpreter has its lock and the system can fork, else 'thread'"
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "process" if locked and sys.platform == "linux" else "thread"


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3      # names and numbers of glibc's malloc.h


def hold_memory(on=True):   # with False, what is free goes back to the system
    "Have glibc keep the memory of arrays that are gone for those to come; each fresh page would cost a fault"
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"): return False
    libc.mallopt(M_MMAP_THRESHOLD, 1 << (30 if on else 25))
    libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1 if on else 1 << 26)
    libc.mallopt(M_TOP_PAD, 1 << (26 if on else 17))
    if not on: libc.malloc_trim(0)
    return True


def shared(n, dtype):   # numbers
    "A vector of zeros in memory that forked processes share; it has no name, so nothing can be left behind"
    return np.frombuffer(mmap.mmap(-1, max(n, 1) * np.dtype(dtype).itemsize), dtype)[:n]


def rehome(flat, w, dw):   # two vectors as long as flat.w
    "Move all weights to `w` and all gradients to `dw`; the model's arrays become views of these"
    w[:], dw[:] = flat.w, flat.dw
    flat.w, flat.dw = w, dw
    ws, dws = flat.views(w), flat.views(dw)
    for path, owner, name in flat.model.slots():
        setattr(owner, name, ws[path])
        setattr(owner, "d" + name, dws[path])


def replica(flat, dw):   # a vector for its gradients
    "A second model on the same weights, with gradients in `dw` and saved tensors of its own"
    model = flat.model
    shared_arrays = {id(a): a for named in (model.named_parameters(), model.named_gradients()) for a in named.values()}
    twin, dws = copy.deepcopy(model, shared_arrays), flat.views(dw)
    for path, owner, name in twin.slots(): setattr(owner, "d" + name, dws[path])
    return twin


def generators(model):
    "Each generator that a layer of `model` draws from, once"
    return list({id(m.rng): m.rng for _, m in model.modules() if hasattr(m, "rng")}.values())


class Job:
    "One micro-batch: its place in the batch, the lane that adds up its gradient, its tokens, its random numbers"
    def __init__(self, index, lane, x, y, count, seeds):
        self.index, self.lane, self.x, self.y, self.count, self.seeds = index, lane, x, y, count, seeds

    def run(self, model):
        "Loss of this part of the batch; its gradient is added into `model`"
        for rng, seed in zip(generators(model), self.seeds):
            rng.bit_generator.state = type(rng.bit_generator)((seed, self.index)).state
        loss, dlogits = cross_entropy(model(xp.asarray(self.x)), xp.asarray(self.y), count=self.count)
        model.backward(dlogits)
        return loss


def work(models, jobs, check=lambda: None):   # one model for each lane
    "{index: loss} of the jobs, done one after the other; `check` is called after each"
    losses = {}
    for job in jobs:
        losses[job.index] = job.run(models[job.lane])
        check()
    return losses


class Threads:
    "Workers in this interpreter: nothing is sent, but they take turns at its lock"
    def __init__(self, models, n): self.models, self.pool, self.futures = models, ThreadPoolExecutor(n), []

    def send(self, parts):                                   # a list of jobs for each worker
        self.stop = threading.Event()
        self.futures = [self.pool.submit(work, self.models, jobs, self.halt) for jobs in parts]

    def halt(self):
        if self.stop.is_set(): raise InterruptedError("another worker failed")

    def check(self):
        "Raise what a worker raised"
        for f in self.futures:
            if f.done(): f.result()

    def collect(self): return {i: loss for f in self.futures for i, loss in f.result().items()}

    def close(self):
        if self.futures: self.stop.set()
        self.pool.shutdown()


class RemoteTraceback(Exception):
    "The traceback of a worker process, as text"
    def __str__(self): return f"in a worker process:\n{self.args[0]}"


def serve(pipe, others, models):
    "What a worker process does: jobs come in, losses go out, until the other end is gone"
    signal.signal(signal.SIGINT, signal.SIG_IGN)             # Ctrl-C is the parent's affair
    parent = os.getppid()
    for other in others: other.close()                       # else no worker would ever see the end of its pipe
    try:
        with threadpool_limits(1):
            while True:
                while not pipe.poll(1):
                    if os.getppid() != parent: return
                pipe.send(answer(models, pipe.recv()))
    except (EOFError, OSError): pass                         # the parent is gone
    finally: os._exit(0)


def answer(models, jobs):
    "Losses, or the exception with its traceback"
    try: return work(models, jobs), None
    except BaseException as e:
        text = "".join(traceback.format_exception(e))
        try: mp.reduction.ForkingPickler.dumps(e)
        except Exception: e = RuntimeError(f"{type(e).__name__}: {e}")
        return e, text


class Processes:
    "Workers in forked processes: weights and gradients are shared, all else is a copy"
    def __init__(self, models, n):
        context, self.workers, self.pipes, self.due = mp.get_context("fork"), [], [], []
        for _ in range(n):
            mine, theirs = context.Pipe()
            self.pipes.append(mine)
            self.workers.append(context.Process(target=serve, args=(theirs, [*self.pipes], models), daemon=True))
            with warnings.catch_warnings():                  # the child runs `serve` and nothing of other threads
                warnings.simplefilter("ignore", DeprecationWarning)
                self.workers[-1].start()
            theirs.close()

    def send(self, parts):
        self.due, self.losses = self.pipes[:len(parts)], {}
        for pipe, jobs in zip(self.due, parts): pipe.send(jobs)

    def check(self, timeout=0):
        "Take in what has come, raise what a worker raised"
        for pipe in wait(self.due, timeout):
            try: result, text = pipe.recv()
            except (EOFError, OSError): raise self.died(pipe) from None
            if text: raise result from RemoteTraceback(text)
            self.losses.update(result)
            self.due = [p for p in self.due if p is not pipe]

    def died(self, pipe):
        worker = self.workers[self.pipes.index(pipe)]
        worker.join(1)
        return RuntimeError(f"worker process {worker.pid} ended with exit code {worker.exitcode} (-9 is mostly too little memory): "
                            "try fewer workers or a smaller micro_batch")

    def collect(self):
        while self.due: self.check(None)
        return self.losses

    def close(self):
        for worker in self.workers: worker.kill()            # they own nothing that could be left half done
        for worker in self.workers: worker.join()
        for pipe in self.pipes: pipe.close()


TEAMS = {"thread": Threads, "process": Processes}


class Replicas:
    "A model and its copies, which share the weights and divide each batch among them"
    def __init__(self, model, flat,          # the model, Flat(model)
                 workers=None,               # how many work at the same time, this process included; as many as usable cores unless told
                 kind="auto",                # 'thread', 'process', or what is faster here
                 lanes=LANES):               # partial sums of the gradient: the most workers that can be busy
        if kind not in (*TEAMS, "auto"): raise ValueError(f"kind must be auto, {' or '.join(TEAMS)}; got {kind!r}")
        if workers is not None and workers < 1: raise ValueError(f"workers must be 1 or more, or None for all usable cores; got {workers}")
        self.model, self.flat, self.kind = model, flat, best_kind() if kind == "auto" else kind
        self.lanes = 1 if get_device() == "gpu" else lanes
        self.workers = min(workers or usable_cores(), self.lanes)
        self.models = None

    def start(self):
        "Make the replicas and their workers, unless they are there"
        if self.models: return
        self.limits = threadpool_limits(1)
        hold_memory()
        apart = self.workers > 1 and self.kind == "process"
        vector = (lambda: shared(len(self.flat), self.flat.w.dtype)) if apart else (lambda: xp.zeros_like(self.flat.w))
        if apart: rehome(self.flat, vector(), vector())
        self.sums = [self.flat.dw, *(vector() for _ in range(self.lanes - 1))]
        self.models = [self.model, *(replica(self.flat, dw) for dw in self.sums[1:])]
        self.team = TEAMS[self.kind](self.models, self.workers - 1) if self.workers > 1 else None
        self.pool = ThreadPoolExecutor(self.workers)         # no thread starts before it is used, so after the fork

    def close(self):
        "End the workers, give back the BLAS threads and private memory; `accumulate` would start anew"
        if not self.models: return
        try:
            if self.team: self.team.close()
            self.pool.shutdown()
            if self.team and self.kind == "process": rehome(self.flat, np.empty_like(self.flat.w), np.empty_like(self.flat.w))
        finally:
            self.limits.restore_original_limits()
            hold_memory(False)
            self.models = self.sums = self.team = None

    def __enter__(self): self.start(); return self
    def __exit__(self, *error): self.close()

    def jobs(self, x, y, micro_batch):
        "The micro-batches of a batch, in order; whose they are depends on the batch alone"
        n = micro_batch or min(micro_batch_size(self.model.config), -(-len(x) // self.lanes))
        count, seeds = int((y != -1).sum()), [int(rng.integers(1 << 62)) for rng in generators(self.model)]
        return [Job(i, i % self.lanes, x[at:at + n], y[at:at + n], count, seeds) for i, at in enumerate(range(0, len(x), n))]

    def accumulate(self, x, y, micro_batch=None):   # (B, T) token ids, (B, T) targets, sequences at a time
        "The loss of the whole batch; its gradient is added into flat.dw"
        self.start()
        jobs = self.jobs(x, y, micro_batch)
        parts = [[j for j in jobs if j.lane % self.workers == w] for w in range(self.workers)]
        states = [rng.bit_generator.state for rng in generators(self.model)]
        try:
            if self.team: self.team.send(parts[1:])
            losses = work(self.models, parts[0], self.team.check if self.team else lambda: None)
            if self.team: losses.update(self.team.collect())
            self.add_up()
        except BaseException: self.close(); raise
        finally:
            for rng, state in zip(generators(self.model), states): rng.bit_generator.state = state
        return sum(losses[j.index] for j in jobs)

    def share(self, n, function, size=1 << 16):   # numbers in a vector, of a slice
        "function(slice) for slices of a vector, on as many threads as there are workers"
        cuts = [n * w // self.workers for w in range(self.workers + 1)]
        def walk(start, stop):
            for i in range(start, stop, size): function(slice(i, min(i + size, stop)))
        list(self.pool.map(walk, cuts, cuts[1:]))

    def add_up(self):
        "Add the lanes into flat.dw in their order, and set them to zero for the next batch"
        def add(at):
            for dw in self.sums[1:]:
                self.sums[0][at] += dw[at]
                dw[at] = 0
        if self.lanes > 1: self.share(len(self.flat), add)

    def step(self, optimizer, lr=None):   # as in Optimizer.step
        "One update, its slices divided among as many threads as there are workers"
        parts, n = optimizer.parts, self.workers
        if n == 1: return optimizer.step(lr)
        lr, twins = optimizer.lr if lr is None else lr, [copy.copy(optimizer) for _ in range(n)]
        for w, twin in enumerate(twins):
            twin.parts, twin.scratch = parts[len(parts) * w // n:len(parts) * (w + 1) // n], np.empty_like(optimizer.scratch)
        list(self.pool.map(lambda twin: twin.step(lr), twins))
        optimizer.t += 1
