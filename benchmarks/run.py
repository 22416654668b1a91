"""numpygpt beside PyTorch: same machine, same threads, float32, same shapes, in turn; and beside
what other NumPy systems need.

python benchmarks/run.py [--quick] [--only NAME ...] [--threads N] [--seconds S] [--no-compile]
                         [--backend cupy] [--out FILE]
writes benchmarks/results.json, which chapter 23 shows (results_cupy.json for a GPU), and prints it
as tables."""
import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402: the line above must come first

import cases                                                 # noqa: E402
import machine                                               # noqa: E402
from sides import alternate, peak                            # noqa: E402

from numpygpt.attention import KEPT, LONG                    # noqa: E402
from numpygpt.backend import use                             # noqa: E402
from numpygpt.replicas import usable_cores                   # noqa: E402

HERE = Path(__file__).parent
COLUMNS = {"ours": "ours", "theirs": "PyTorch", "compiled": "compiled", "ours tf32": "ours TF32",
           "theirs tf32": "PyTorch TF32"}
FOUR = "ours", "theirs", "ours tf32", "theirs tf32"          # on a GPU


def quartiles(values):
    values = sorted(values)
    return [values[len(values) // 4], values[(3 * len(values)) // 4]]


def compared(times):
    "Medians in seconds; the ratio ours/theirs of each round, its median and quartiles"
    row = {"rounds": len(times["ours"]), **{side: median(t) for side, t in times.items()}}
    for side in [s for s in times if not s.startswith("ours")]:
        ours = times["ours tf32" if side.endswith("tf32") else "ours"]
        ratios = [a / b for a, b in zip(ours, times[side])]
        row[f"ratio {side}"], row[f"quartiles {side}"] = median(ratios), quartiles(ratios)
    return row


def rates(row, m, threads):
    """Of a case whose operations are known: each side's share of the matmul peak;
    and the seconds of the roof, under which passes have their time, too"""
    peaks = m["gflops"]
    for side in [s for s in COLUMNS if s in row]:
        kind = "tf32" if side.endswith("tf32") else "float32"
        top = peaks[kind] if "float32" in peaks else peaks[threads]
        row[f"share {side}"] = row["flops"] / row[side] / 1e9 / top
    if "passes" in row and "cache gbytes" in m:
        # seconds for a number
        cache = 4e-9 / m["cache gbytes"][threads]
        row["roof"] = row["products"] / peaks[threads] / 1e9 + row["passes"] * cache


def in_turn(case, o, m, sides, seconds):
    "A row of the table: these sides, in turn"
    times, facts, note = alternate(case, o, sides, seconds)
    row = {**compared(times), "unit": "s", **facts, "note": note}
    if "flops" in row: rates(row, m, str(o.threads))
    return bounded(case, row)


def compare(case, o, m):
    sides = FOUR if o.backend == "cupy" else ("ours", "theirs")
    if o.backend != "cupy" and o.compile and case.startswith("step"): sides += "compiled",
    return in_turn(case, o, m, sides, o.seconds)


def scaling(name, o, m):
    "A point of the scaling; and beside it, since the machine changes, the one that foretells it"
    times, shared, _ = alternate(f"step {cases.SHARED}", o, ("ours",), o.seconds / 12)
    row = in_turn(f"step {name}", o, m, ("ours", "theirs"), o.seconds / 6)
    return row | {"shared": median(times["ours"]),
                  "tokens": row["amount"] / shared["amount"], "shared scores": shared["scores"],
                  "lanes": min(o.threads, cases.shape(name)[1])}


def score(name, o, m):
    "Seconds that attention takes for one score, forward and backward, on one core"
    times, facts, _ = alternate(f"attend {cases.SCORES[name]}", o, ("ours",), o.seconds / 6)
    return median(times["ours"]) / facts["scores"]


def memory(case, o, m):
    tops = {side: peak(side, case.replace("memory", "step"), o) for side in ("ours", "theirs")}
    row = {**{side: top / 1e6 for side, top in tops.items() if top},
           "unit": "MB, the whole process"}
    if "theirs" in row: row["ratio theirs"] = row["ours"] / row["theirs"]
    return bounded(case, row)


def bounded(case, row):
    "With the bound that holds for it, and whether it is met"
    for bounds, key in ((cases.RATIOS, "ratio theirs"), (cases.SECONDS, "ours")):
        if case in bounds and key in row:
            row |= {"bound": bounds[case], "of": key, "met": row[key] <= bounds[case]}
    return row


def setting(name, o, m):
    "Ours, in the setting of another system, beside the cited figures"
    s = cases.SETTINGS[name]
    times, facts, _ = alternate(s.case, o, ("ours",), o.seconds / 3)
    ours, more = s.value(median(times["ours"])), s.unit == cases.RATE
    if "products" in facts:
        facts["floor"] = s.value(facts["products"] / m["gflops"][str(o.threads)] / 1e9)
    return {"ours": ours, "unit": s.unit, "rounds": len(times["ours"]), "cited": s.cited,
            "sources": {name: cases.SYSTEMS[name] for name in s.cited},
            "at least" if more else "at most": s.bound,
            "met": ours >= s.bound if more else ours <= s.bound, **facts}


def predict(points, score, lanes):      # {kind: seconds} for a score; lanes of the shared step
    """To each point of the scaling what one shared step and the time of a score foretell;
    and the straight line through the batches"""
    for name, p in points.items():
        T = int(name.split("x")[0])
        each = score["whole" if T <= LONG else "blocks" if T <= KEPT else "twice"]
        rest = p["shared"] - p["shared scores"] * score["whole"] / lanes
        p["predicted"] = p["tokens"] * rest + p["scores"] * each / p["lanes"]
    size = np.array([int(name.split("x")[1]) for name in cases.SCALING["batch"]])
    ours = np.array([points[name]["ours"] for name in cases.SCALING["batch"]])
    each, fixed = np.polyfit(size, ours, 1, w=1 / ours)      # the relative error counts
    return {"fixed": fixed, "each": each,
            "residual": float(np.abs((fixed + each * size) / ours - 1).max())}


def comparisons(o):
    "(section of the results, case, what measures it)"
    for name in (*(f"step {n}" for n in cases.STEPS), *cases.GENERATIONS, "mnist"):
        yield "rows", name, compare
    if o.backend == "cupy": return
    for name in cases.TOKENIZERS: yield "rows", name, compare
    for name in cases.STEPS: yield "rows", f"memory {name}", memory
    for name in cases.SETTINGS: yield "settings", name, setting
    for name in dict.fromkeys(sum(cases.SCALING.values(), [])): yield "scaling", name, scaling
    for name in cases.SCORES: yield "score", name, score


def measure(results, o, save):
    "Fill in what is asked for, and save after each comparison"
    if o.backend == "cupy": m = machine.card(*alternate("square", o, FOUR, 2)[:2])
    else: m = machine.measure(o.threads, o.seconds / 15)
    results["machine"] = m
    for section, name, how in comparisons(o):
        if o.only and not any(part in f"{section} {name}" for part in o.only): continue
        print(f"{section} {name} …", file=sys.stderr, flush=True)
        results.setdefault(section, {})[name] = how(name, o, m)
        save()
    points = results.get("scaling", {})
    if {*sum(cases.SCALING.values(), []), *cases.SCORES} <= {*points, *results.get("score", {})}:
        results["linear in batch"] = predict(points, results["score"], o.threads)
    save()


def number(row, key): return f"{row[key]:>13.4g}" if key in row else f"{'–':>13}"


def rough(x): return f"{float(f'{x:.3g}'):,g}"


def table(rows):
    "One line for each comparison with PyTorch"
    shown = [c for c in COLUMNS if any(c in row for row in rows.values())]
    heads = "".join(f"{COLUMNS[c]:>13}" for c in shown)
    yield f"{'':18}{heads}  {'ratio (quartiles)':22} {'at most':>7}"
    for name, row in rows.items():
        ratio = f"{row['ratio theirs']:.2f}" if "ratio theirs" in row else "–"
        if "quartiles theirs" in row:
            ratio += " ({:.2f} to {:.2f})".format(*row["quartiles theirs"])
        bound = " " * 12
        if "bound" in row: bound = f"{row['bound']:7} {'met' if row['met'] else 'not':4}"
        figures = "".join(number(row, c) for c in shown)
        yield f"{name:18}{figures}  {ratio:22} {bound} {'; '.join([row['unit'], *told(row)])}"


def told(row):
    """What else is known of it: how much in a second,
    and how near that is to what the machine can do"""
    if "amount" in row: yield f"{rough(row['amount'] / row['ours'])} {row['what']}/s"
    shares = [f"{COLUMNS[side]} {row[f'share {side}']:.0%}"
              for side in COLUMNS if f"share {side}" in row]
    if shares: yield f"of the matmul peak {', '.join(shares)}"
    if "roof" in row: yield f"of the roof {row['roof'] / row['ours']:.0%}"


def beside_others(rows):
    yield f"{'':32}{'ours':>10}{'products alone':>16} {'bound':>16}       cited"
    for name, row in rows.items():
        bound = "at least" if "at least" in row else "at most"
        cited = "; ".join(f"{system} {low:g}" + (f" to {high:g}" if high > low else "")
                          for system, (low, high) in row["cited"].items())
        met = "met" if row["met"] else "not"
        yield (f"{name:32}{row['ours']:10.4g}{number(row, 'floor'):>16} {bound:>9} {row[bound]:6g}"
               f"  {met:4} {cited} {row['unit']}")


def growth(rows, fit):
    yield (f"{'context x batch':18}{'ours':>13}{'PyTorch':>13}"
           f"{'predicted':>13}")
    for name, row in rows.items():
        yield f"{name:18}" + "".join(number(row, key) for key in ("ours", "theirs", "predicted"))
    if fit:
        yield (f"in the batch: {fit['fixed']:.3f} s and {fit['each']:.4f} s for each sequence, "
               f"at most {fit['residual']:.0%} off")


def lines(results):
    m = results["machine"]
    yield ", ".join(f"{key} {m[key]}" for key in ("processor", "threads", "load") if key in m)
    yield ", ".join(f"{r:.0f} {name} on {n}" for name in ("gflops", "gbytes", "cache gbytes")
                    for n, r in m.get(name, {}).items())
    if results.get("rows"): yield from table(results["rows"])
    if results.get("settings"): yield from beside_others(results["settings"])
    if results.get("scaling"): yield from growth(results["scaling"], results.get("linear in batch"))
    rows = results.get("rows", {})
    texts = {r["text"] for r in rows.values() if "text" in r}
    if texts: yield f"bpe and encode: {', '.join(texts)}; beside Hugging Face's tokenizers"
    yield from (f"{name}: {r['note']}" for name, r in rows.items() if r.get("note"))
    if (m.get("load") or 0) > 0.5:
        yield (f"The machine was busy before this began (load {m['load']:.1f}): "
               "the ratios are not to be relied on.")


def options(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="a few minutes, wider quartiles, no torch.compile")
    parser.add_argument("--tiny", action="store_true", help="toy shapes: everything runs, and the "
                                                            "figures mean nothing; needs --out")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="comparisons whose name contains one of these "
                             "(rows, settings, scaling: a whole table)")
    parser.add_argument("--threads", type=int, default=usable_cores(),
                        help="for both sides; all usable cores unless told")
    parser.add_argument("--seconds", type=float, default=30, help="of each comparison in turn")
    parser.add_argument("--no-compile", dest="compile", action="store_false",
                        help="leave torch.compile out")
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy",
                        help="cupy: ours with CuPy, theirs with CUDA, with and without TF32")
    parser.add_argument("--out", type=Path, help="the file to write instead")
    o = parser.parse_args(argv)
    if o.tiny and not o.out:
        parser.error("--tiny would spoil the stored results: give another file by --out")
    if o.quick or o.tiny: o.seconds, o.compile = 3 * o.quick, False
    return o


def main(argv=None):
    o = options(argv)
    try: use(o.backend)
    except RuntimeError as e: sys.exit(f"--backend {o.backend}: {e}")
    if o.tiny: cases.shrink()
    out = o.out or HERE / ("results.json" if o.backend == "numpy" else f"results_{o.backend}.json")
    results = json.loads(out.read_text()) if o.only and out.exists() else {}
    measure(results, o, lambda: out.write_text(json.dumps(results, indent=1) + "\n"))
    print(*lines(results), sep="\n")


if __name__ == "__main__": main()
