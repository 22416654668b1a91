"""numpygpt beside PyTorch: same machine, same threads, float32, same shapes, in turn.

python benchmarks/run.py [--quick] [--only NAME ...] [--threads N] [--seconds S] [--no-compile]
writes benchmarks/results.json, which chapter 19 shows, and prints it as a table."""
import argparse
import json
import os
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path
from statistics import median

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1")
HERE = Path(__file__).parent
RESULTS = HERE / "results.json"

import cases                                                 # noqa: E402: the line above must come first
import machine                                               # noqa: E402

from numpygpt.parallel import step_flops, step_passes, usable_cores   # noqa: E402

GOALS = {"step shakespeare": 1.15, "step nano": 1.15, "step 10.7M": 1.25, "generation": 1.0, "mnist": 0.8,
         "memory shakespeare": 1.0, "memory nano": 1.0, "memory 10.7M": 1.0}


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def make(side, case, o):
    "The work of one side of a case, as a function that does it once"
    if side == "ours": import ours as library
    else: import theirs as library
    kind, _, name = case.partition(" ")
    if kind == "step": return library.step(*cases.STEPS[name], o.threads, **({"compiled": True} if side == "compiled" else {}))
    if kind == "generation": return library.tokens(cases.STEPS["shakespeare"][0])
    if kind == "mnist": return library.epoch(images(o))
    return library.bpe(corpus()[0], int(name))


def serve(side, case, o):
    "In a process of its own: do the work once for each line that comes in, and answer with its time"
    say = lambda **what: print(json.dumps(what), flush=True)
    try:
        once = make(side, case, o)
        once()
    except Exception as e: return say(error=f"{side} does not work here: {type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}")
    say(pieces=getattr(once, "pieces", None))
    for _ in sys.stdin: say(seconds=clock(once))


class Side:
    "One of those who are compared, in a process of its own: neither disturbs the other's memory or threads"
    def __init__(self, side, case, o):
        command = [sys.executable, __file__, "--serve", side, case, "--threads", str(o.threads), *(["--quick"] if o.quick else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.first = self.hear()

    def hear(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"ended with exit code {self.process.wait()}"}

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.hear()["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def alternate(case, o, names=("ours", "theirs"), least=3):
    "Times of each side, called in turn until o.seconds are over; and why a side is missing"
    sides = {name: Side(name, case, o) for name in names}
    notes = [s.first["error"] for s in sides.values() if "error" in s.first]
    going = {name: s for name, s in sides.items() if "error" not in s.first}
    times, end = {name: [] for name in going}, time.perf_counter() + o.seconds
    try:
        while len(times["ours"]) < least or time.perf_counter() < end:
            for name, s in going.items():
                time.sleep(0.02)                             # OpenMP's threads spin for a while after their work
                times[name].append(s.seconds())
    finally:
        for s in sides.values(): s.close()
    return times, sides["ours"].first.get("pieces"), "; ".join(notes)


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


def step(case, o):
    config, size = cases.STEPS[case.partition(" ")[2]]
    times, pieces, note = alternate(case, o, ("ours", "theirs", "compiled") if o.compile else ("ours", "theirs"))
    row, flops = compared(times), step_flops(config, size)
    return {**row, "unit": "s", "note": note, "flops": flops, "passes": step_passes(config, size, pieces), "gflops": flops / row["ours"] / 1e9}


def shares(row, m, threads):
    "Of the matmul peak; and of the roof, under which the element-wise passes have their time, too"
    row["share of peak"] = row["gflops"] / m["gflops"][threads]
    roof = row["flops"] / m["gflops"][threads] / 1e9 + 4 * row["passes"] / m["cache gbytes"][threads] / 1e9
    row["share of roof"] = roof / row["ours"]


def images(o): return 6_400 if o.quick else cases.MNIST["images"]


def other(case, o):
    "Generation, MNIST, BPE"
    times, _, note = alternate(case, o)
    unit = {"generation": f"s for {cases.TOKENS} tokens", "mnist": f"s for {images(o):,} images"}.get(case, "s")
    if case.startswith("bpe"): note = "; ".join(filter(None, [corpus()[1], "theirs: Hugging Face tokenizers", note]))
    return {**compared(times), "unit": unit, "note": note}


@lru_cache
def corpus():
    "Tinyshakespeare, or without it and without a network as much text of our own"
    from numpygpt.data import load_text, tinyplays
    try: return load_text("shakespeare"), "tinyshakespeare"
    except Exception: return tinyplays(1_115_394), "tinyplays, for want of tinyshakespeare"


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


def peak(side, case, o):
    "Largest memory in bytes of a process and its workers in four steps"
    runner, top, stop = Side(side, case, o), [0], threading.Event()
    def watch():
        while not stop.wait(0.01): top[0] = max(top[0], sum(map(proportional, tree(runner.process.pid))))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3): runner.seconds()
    finally:
        stop.set()
        watcher.join()
        runner.close()
    return top[0]


def memory(case, o):
    row = {side: peak(side, case.replace("memory", "step"), o) / 1e6 for side in ("ours", "theirs")}
    return {**row, "ratio theirs": row["ours"] / row["theirs"], "unit": "MB, the whole process"}


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
    parser.add_argument("--seconds", type=float, default=30, help="of each comparison in turn")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.serve: return serve(*o.serve, o)
    if o.quick: o.seconds, o.compile = 3, False
    todo = {**{f"step {n}": step for n in cases.STEPS}, "generation": other, **{f"bpe {n}": other for n in (512, 1000, 8000)}, "mnist": other,
            **{f"memory {n}": memory for n in cases.STEPS}}
    results = json.loads(RESULTS.read_text()) if o.only and RESULTS.exists() else {"rows": {}}
    results["machine"] = machine.measure(o.threads, 0.5 if o.quick else 2)
    for name, run in todo.items():
        if o.only and not any(part in name for part in o.only): continue
        print(f"{name} …", file=sys.stderr, flush=True)
        row = results["rows"][name] = run(name, o)
        if "gflops" in row: shares(row, results["machine"], str(o.threads))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    m = results["machine"]
    print(f"{m['processor']}, {o.threads} threads, load before {m['load']}: {m['gflops'][str(o.threads)]:.0f} GFLOP/s, {m['gbytes'][str(o.threads)]:.0f} GB/s")
    print(*lines(results), *(f"{n}: {r['note']}" for n, r in results["rows"].items() if r.get("note")), sep="\n")
    for n, r in results["rows"].items():
        if "share of roof" in r: print(f"{n}: {r['gflops']:.0f} GFLOP/s, {r['share of peak']:.0%} of this machine's matmul peak, {r['share of roof']:.0%} of its roof")
    if m["load"] and m["load"] > 0.5: print(f"The machine was busy before this began (load {m['load']:.1f}): the ratios are not to be relied on.")


if __name__ == "__main__": main()
