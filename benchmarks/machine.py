"What this machine can do: the fastest matrix product and the fastest walk through memory, measured"
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits


def best(function, seconds=1.0):
    "The shortest time of one call, of as many as fit into `seconds`"
    end, times = time.perf_counter() + seconds, []
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def together(make, threads, seconds):
    "Shortest time of one call on each of `threads` threads at once"
    calls = [make() for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return best(lambda: list(pool.map(lambda f: f(), calls)), seconds)


def matmul(n=1024):
    a, b, c = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    return lambda: np.matmul(a, b, out=c)


def adding(n):
    "a += b for vectors of n numbers, 2^24 in all"
    a, b = np.ones(n, np.float32), np.ones(n, np.float32)
    def walk():
        for _ in range((1 << 24) // n): np.add(a, b, out=a)
    return walk


def versions():
    return {"python": platform.python_version(), "numpy": np.__version__,
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}


def measure(threads, seconds=1.0):
    "GFLOP/s and GB/s on one thread and on all"
    counts = sorted({1, threads})
    with threadpool_limits(1):
        return {"processor": processor(), "cores": os.cpu_count(), "threads": threads, **versions(),
                "gflops": {str(t): t * 2 * 1024**3 / together(matmul, t, seconds) / 1e9
                           for t in counts},
                **{name: {str(t): t * 12 * (1 << 24) / together(lambda: adding(n), t, seconds) / 1e9
                          for t in counts}
                   for name, n in (("gbytes", 1 << 24), ("cache gbytes", 1 << 16))}}


def card(times, facts):   # {side: times} of one large matrix product; its operations
    "A GPU's name, and the fastest product that either library gets out of it"
    import cupy
    fastest = lambda sides: min(min(t) for side, t in times.items() if side in sides)
    peak = lambda sides: facts["flops"] / fastest(sides) / 1e9
    return {"processor": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
            "cupy": cupy.__version__, **versions(),
            "gflops": {"float32": peak(("ours", "theirs")),
                       "tf32": peak(("ours tf32", "theirs tf32"))}}


def processor():
    try:
        return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                    if line.startswith("model name"))
    except (OSError, StopIteration): return platform.processor() or platform.machine()
