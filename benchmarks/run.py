"""numpygpt beside PyTorch: same machine, same threads, float32, same shapes, in turn.

python benchmarks/run.py [--quick] [--only NAME ...] [--threads N] [--no-compile]
writes benchmarks/results.json, which chapter 19 shows, and prints it as a table."""
import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1")
HERE = Path(__file__).parent
RESULTS = HERE / "results.json"

import cases                                                 # noqa: E402: the line above must come first
import machine                                               # noqa: E402
import ours                                                  # noqa: E402

from numpygpt.parallel import step_flops, usable_cores       # noqa: E402

GOALS = {"step shakespeare": 1.15, "step nano": 1.15, "step 10.7M": 1.25, "generation": 1.0, "mnist": 0.8,
         "memory shakespeare": 1.0, "memory nano": 1.0, "memory 10.7M": 1.0}


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(functions, seconds, least=3):
    "Times of each function, called in turn until `seconds` are over; the first round warms up"
    for f in functions.values(): f()
    times, end = {name: [] for name in functions}, time.perf_counter() + seconds
    while len(next(iter(times.values()))) < least or time.perf_counter() < end:
        for name, f in functions.items(): times[name].append(clock(f))
    return times


def quartiles(values):
    values = sorted(values)
    return [values[len(values) // 4], values[(3 * len(values)) // 4]]


def compared(times):
    "Medians in seconds; the ratio ours/theirs of each round, its median and quartiles"
    row = {"ours": median(times["ours"]), "rounds": len(times["ours"])}
    for name in set(times) - {"ours"}:
        ratios = [a / b for a, b in zip(times["ours"], times[name])]
        row[name], row[f"ratio {name}"], row[f"quartiles {name}"] = median(times[name]), median(ratios), quartiles(ratios)
    return row


def compiled_step(config, size, threads):
    "A compiled PyTorch step, or why there is none"
    import theirs
    try:
        once = theirs.step(config, size, threads, compiled=True)
        once()
        return once, None
    except Exception as e: return None, f"torch.compile does not work here: {type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}"


def step(name, o):
    import theirs
    config, size = cases.STEPS[name]
    functions = {"ours": ours.step(config, size, o.threads), "theirs": theirs.step(config, size, o.threads)}
    once, why = compiled_step(config, size, o.threads) if o.compile else (None, "torch.compile was not asked for")
    if once: functions["compiled"] = once
    try: row = compared(alternate(functions, o.seconds))
    finally: functions["ours"].close()
    flops = step_flops(config, size)
    return {**row, "unit": "s", "note": why, "flops": flops, "gflops": flops / row["ours"] / 1e9}


def generation(o):
    import theirs
    import torch
    torch.set_num_threads(1)                                 # one token at a time: a second thread only waits, for both
    config = cases.STEPS["shakespeare"][0]
    return {**compared(alternate({"ours": ours.tokens(config), "theirs": theirs.tokens(config)}, o.seconds)), "unit": f"s for {cases.TOKENS} tokens"}


def mnist(o):
    import theirs
    import torch
    torch.set_num_threads(1)
    images = 6_400 if o.quick else cases.MNIST["images"]
    return {**compared(alternate({"ours": ours.epoch(images), "theirs": theirs.epoch(images)}, o.seconds)), "unit": f"s for {images:,} images"}


def bpe(size, o):
    from numpygpt.data import load_text, tinyplays
    try: text, what = load_text("shakespeare"), "tinyshakespeare"
    except Exception: text, what = tinyplays(1_000_000), "tinyplays"
    functions = {"ours": ours.bpe(text, size)}
    try:
        import theirs
        functions["theirs"] = theirs.bpe(text, size)
        functions["theirs"]()
    except ImportError: functions.pop("theirs", None)
    return {**compared(alternate(functions, 0 if o.quick else o.seconds / 2, least=1 if o.quick else 3)), "unit": "s", "note": f"{what}; theirs: Hugging Face tokenizers"}


def tree(pid):
    "A process and all below it"
    yield pid
    try: children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError: return
    for child in children: yield from tree(int(child))


def proportional(pid):
    "Bytes that a process holds, a page that n processes share counted 1/n"
    try: lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError: return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def peak(side, name, threads):
    "Largest memory in bytes of a process of its own, with its workers, that does three steps"
    child = subprocess.Popen([sys.executable, __file__, "--work", side, name, "--threads", str(threads)], stdout=subprocess.DEVNULL)
    top, stop = [0], threading.Event()
    def watch():
        while not stop.wait(0.01): top[0] = max(top[0], sum(map(proportional, tree(child.pid))))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try: code = child.wait()
    finally:
        stop.set()
        watcher.join()
    if code: raise RuntimeError(f"the memory run of {side}, {name} ended with exit code {code}")
    return top[0]


def memory(name, o):
    row = {side: peak(side, name, o.threads) / 1e6 for side in ("ours", "theirs")}
    return {**row, "ratio theirs": row["ours"] / row["theirs"], "unit": "MB, the whole process"}


def three_steps(side, name, threads):
    config, size = cases.STEPS[name]
    if side == "theirs": import theirs as library
    else: library = ours
    once = library.step(config, size, threads)
    for _ in range(3): once()


def lines(results):
    "The table, one line for each comparison"
    yield f"{'':20} {'ours':>10} {'PyTorch':>10} {'compiled':>10}  {'ratio (quartiles)':22} {'at most':>7}"
    for name, row in results["rows"].items():
        number = lambda key: f"{row[key]:10.4g}" if key in row else f"{'–':>10}"
        ratio = f"{row['ratio theirs']:.2f}" if "ratio theirs" in row else "–"
        if "quartiles theirs" in row: ratio += " ({:.2f} to {:.2f})".format(*row["quartiles theirs"])
        yield f"{name:20} {number('ours')} {number('theirs')} {number('compiled')}  {ratio:22} {GOALS.get(name, ''):>7}  {row['unit']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute, wider quartiles")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="comparisons whose name contains one of these")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="for both sides; all usable cores unless told")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.work: return three_steps(*o.work, o.threads)
    o.seconds, o.compile = (3, False) if o.quick else (30, o.compile)
    todo = {**{f"step {n}": lambda n=n: step(n, o) for n in cases.STEPS}, "generation": lambda: generation(o),
            **{f"bpe {n}": lambda n=n: bpe(n, o) for n in (512, 1000, 8000)}, "mnist": lambda: mnist(o),
            **{f"memory {n}": lambda n=n: memory(n, o) for n in cases.STEPS}}
    results = json.loads(RESULTS.read_text()) if o.only and RESULTS.exists() else {"rows": {}}
    results["machine"] = machine.measure(o.threads, 0.5 if o.quick else 2)
    for name, run in todo.items():
        if o.only and not any(part in name for part in o.only): continue
        print(f"{name} …", file=sys.stderr, flush=True)
        row = results["rows"][name] = run()
        if "gflops" in row: row["share of peak"] = row["gflops"] / results["machine"]["gflops"][str(o.threads)]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    m = results["machine"]
    print(f"{m['processor']}, {o.threads} threads, load before {m['load']}: {m['gflops'][str(o.threads)]:.0f} GFLOP/s, {m['gbytes'][str(o.threads)]:.0f} GB/s")
    print(*lines(results), *(f"{n}: {r['note']}" for n, r in results["rows"].items() if r.get("note")), sep="\n")
    for n, r in results["rows"].items():
        if "share of peak" in r: print(f"{n}: {r['gflops']:.0f} GFLOP/s, {r['share of peak']:.0%} of this machine's matmul peak")


if __name__ == "__main__": main()
