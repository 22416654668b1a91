"""The all-reduce of a gradient between ranks on this machine, and the training steps that it
belongs to.

python benchmarks/allreduce.py [--seconds S]
starts mpiexec itself, writes nbs/stored/allreduce.json, which chapter 26 shows, and prints it.
Needs pip install "numpygpt[mpi]"."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402: the line above must come first

import cases                                                 # noqa: E402
import machine                                               # noqa: E402
from numpygpt.module import Flat                             # noqa: E402
from numpygpt.optimizers import AdamW, clip_grad_norm        # noqa: E402
from numpygpt.ranks import Ranks       # noqa: E402
from numpygpt.replicas import cut, usable_cores       # noqa: E402
from numpygpt.transformer import GPT                         # noqa: E402

OUT = Path(__file__).resolve().parents[1] / "nbs" / "stored" / "allreduce.json"
# of MPICH with UCX, as pip installs it
PATHS = {"shared memory": {}, "TCP on loopback": {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self"}}
SIZES = [1, *(4 ** i for i in range(3, 13))]                 # numbers in a vector


def seconds_of(once, comm, seconds):
    "Quartiles of the time of `once()`, of the slowest rank in each round"
    def clock():
        comm.Barrier()
        start = time.perf_counter()
        once()
        return time.perf_counter() - start
    trial = max(comm.allgather(min(clock() for _ in range(3))))
    mine = [clock() for _ in range(max(5, min(2000, int(seconds / trial))))]
    return [float(q) for q in np.quantile(np.max(comm.allgather(mine), 0), (.25, .5, .75))]


def reductions(comm, o):
    "{numbers: quartiles of seconds} of one all-reduce, its sum checked"
    def one(n):
        a = np.full(n, comm.rank + 1, np.float32)
        comm.Allreduce(None, a)
        assert (a == sum(range(1, comm.size + 1))).all()
        a[:] = 0
        return seconds_of(lambda: comm.Allreduce(None, a), comm, o.seconds / len(SIZES))
    return {n: one(n) for n in SIZES}


def steps(comm, o):
    """Quartiles of seconds of a whole training step of each model,
    its batch divided among all workers of all ranks"""
    def one(config, size):
        model = GPT(config, np.random.default_rng(1)).train()
        flat, (x, y) = Flat(model), cases.batch(config, size)
        optimizer = AdamW(flat, 1e-3)

        def step():
            flat.zero_grad()
            float(team.accumulate(x, y))
            clip_grad_norm(flat.dw, 1.0)
            optimizer.step()
        with Ranks(model, flat, o.workers, comm=comm) as team:
            quartiles, lanes = seconds_of(step, comm, o.seconds), team.replicas.lanes
        return {"seconds": quartiles, "n_params": len(flat), "tokens": x.size,
                "micro_batches": len(cut(model, x, y, None, lanes, comm.size))}
    return {name: one(*shape) for name, shape in cases.STEPS.items()}


def rank(o):
    "What one rank does"
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    found = {"reductions": reductions, "steps": steps}[o.rank](comm, o)
    library = " ".join(MPI.Get_library_version().split("\n")[0].split())
    if comm.rank == 0: print(json.dumps({"found": found, "library": library}))


def ask(ranks, what, o, workers=1, **environment):
    "Start so many ranks, and take what rank 0 prints"
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = beside if beside.exists() else shutil.which("mpiexec") or "mpiexec"
    command = [mpiexec, "-n", str(ranks), sys.executable, __file__, "--rank", what,
               "--seconds", str(o.seconds), "--workers", str(workers)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                                     env={**os.environ, **environment}).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--rank", choices=["reductions", "steps"], help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.rank: return rank(o)
    about = {"processor": machine.processor(), "cores": usable_cores(), "load": os.getloadavg()[0]}
    results = {"machine": about, "reductions": {}, "steps": {}}
    for path, environment in PATHS.items():
        for ranks in (2, 4):
            print(f"{path}, {ranks} ranks …", file=sys.stderr, flush=True)
            answer = ask(ranks, "reductions", o, **environment)
            results["reductions"].setdefault(path, {})[ranks] = answer["found"]
            about["library"] = answer["library"]
    for ranks, workers in ((1, 1), (1, 2), (2, 1)):
        print(f"steps, {ranks} ranks of {workers} workers …", file=sys.stderr, flush=True)
        results["steps"][f"{ranks} x {workers}"] = ask(ranks, "steps", o, workers)["found"]
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    for path, by_ranks in results["reductions"].items():
        for n in SIZES:
            times = {ranks: row[n if n in row else str(n)][1] for ranks, row in by_ranks.items()}
            print(f"{path:<16} {4 * n:>10} bytes",
                  *(f"{ranks} ranks {1e6 * t:>10.1f} us" for ranks, t in times.items()))
    for how, rows in results["steps"].items():
        print(how, {name: f"{row['seconds'][1]:.3f} s" for name, row in rows.items()})


if __name__ == "__main__": main()
