"""`numpygpt data` beside Hugging Face's tokenizers: time, memory of all processes together, and how
both grow with the text. Texts are made first, as many different words as real ones have.

python benchmarks/texts.py [--mb 200 ...] [--text english ...] [--kind bpe ...] [--vocab 4096]
                           [--rounds 3] [--alone] [--folder DIR] [--store]
prints a line of JSON for each side: medians, and the load of the machine before the first run. Of
several sizes, each is measured in each round. --alone leaves the other side out; --store writes the
lines to nbs/stored/texts.json, which chapter "Builder" shows, and keeps those of other runs."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np

STORED = Path(__file__).resolve().parents[1] / "nbs" / "stored" / "texts.json"
THEIRS = """
import json, sys
import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from numpygpt.bpe import PATTERN
path, size = sys.argv[1], int(sys.argv[2])
bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(PATTERN), "isolated"), bytes_])
def lines(size):
    with open(path, encoding="utf-8", newline="") as file:
        while some := file.readlines(size): yield some
trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=bytes_.alphabet(),
                              show_progress=False)
made.train_from_iterator((line for some in lines(1 << 20) for line in some), trainer)
print(sum(len(np.array(e.ids, np.uint16)) for some in lines(1 << 22)
          for e in made.encode_batch_fast(some)))
"""


def english(rng):
    "Words of a Zipf law without end: a dictionary that grows with the text"
    parts = np.array([a + b + c for a in "b c d f g h l m n p r s t st tr sh".split()
                      for b in "a e i o u ea".split() for c in ("", "n", "r", "s", "t")])
    while True:
        rank, place = np.unique(rng.zipf(1.25, 200_000) % 10**12, return_inverse=True)
        digits = (rank[:, None] // len(parts) ** np.arange(4)) % len(parts)
        kinds = np.array(["".join(parts[d[:1 + n]]) for d, n in zip(
            digits, np.minimum(np.log(rank) / np.log(len(parts)), 3).astype(int))], object)
        ends = rng.choice([" ", ". ", ", ", ".\n"], len(place), p=[.85, .08, .05, .02]).tolist()
        yield "".join(w + e for w, e in zip(kinds[place].tolist(), ends))


def chinese(rng):
    "Words of one to four characters, no spaces; a mark after every few words"
    signs = np.array([chr(c) for c in rng.permutation(np.arange(0x4E00, 0x6500))])
    words = np.array(["".join(signs[np.minimum(rng.zipf(1.2, k) - 1, len(signs) - 1)])
                      for k in rng.integers(1, 5, 100_000)])
    while True:
        rank = np.minimum(rng.zipf(1.15, 200_000) - 1, len(words) - 1)
        marks = rng.choice(["", "，", "。", "。\n"], len(rank), p=[.85, .09, .04, .02])
        yield "".join(w + m for w, m in zip(words[rank], marks))


def code(rng):
    "Python files of the standard library and of what is installed, over and over"
    files = [p for place in sys.path if place for p in sorted(Path(place).rglob("*.py"))[:20_000]]
    while True:
        for path in files: yield path.read_text(encoding="utf-8", errors="ignore")


def dna(rng):
    "Four letters in lines of 70, half of them repeats"
    letters = lambda n: rng.choice([*"ACGT"], n, p=[.3, .2, .2, .3])
    old = letters(1_000_000)
    while True:
        at = rng.integers(0, len(old) - 2000, 500)
        row = "".join("".join(old[i:i + 2000]) if i % 2 else "".join(letters(2000)) for i in at)
        yield "".join(row[i:i + 70] + "\n" for i in range(0, len(row), 70))


def make(kind, mb, path):
    "A text of so many megabytes"
    with open(path, "w", encoding="utf-8", newline="") as file:
        for text in globals()[kind](np.random.default_rng(0)):
            file.write(text)
            if file.tell() > mb * 10**6: return


def family(pid):
    "A process and all that it has started"
    try: kids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError: return [pid]
    return [pid, *(k for kid in kids for k in family(int(kid)))]


def megabytes(pid):
    "What all of them have in memory together; what they share is counted once (Linux)"
    total = 0
    for p in family(pid):
        try: rows = Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
        except OSError: continue
        total += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return total / 1000


def run(command):
    "(seconds, peak in MB, seconds of processor time) of a command"
    peak, start, done = [0.0], time.perf_counter(), threading.Event()
    process = subprocess.Popen(command, stdout=-3)

    def watch():
        while not done.wait(0.2): peak[0] = max(peak[0], megabytes(process.pid))
    watcher = threading.Thread(target=watch)
    watcher.start()
    before = processor()
    process.wait()
    done.set()
    watcher.join()
    if process.returncode: raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, peak[0], processor() - before


def processor():
    import resource
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def store(lines):
    "Put lines in the place of those that were measured of the same before"
    what = lambda line: [line[name] for name in ("text", "kind", "MB", "side")]
    old = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else []
    kept = [line for line in old if what(line) not in map(what, lines)]
    rows = ",\n".join(json.dumps(line) for line in sorted(kept + lines, key=what))
    STORED.write_text(f"[{rows}]\n", encoding="utf-8", newline="")


def medians(about, found):
    "A line of what `run` gave in each round"
    seconds, top, used = (median(column) for column in zip(*found))
    return about | {"s": round(seconds, 1), "processor s": round(used, 1), "peak MB": round(top),
                    "rounds": len(found)}


def compare(o, folder, text, kind):
    "Lines for a text of each size, measured in turn"
    rows = {}
    for mb in o.mb:
        if not (path := folder / f"{text}-{mb:g}.txt").exists(): make(text, mb, path)
    for n in range(o.rounds):
        for mb in o.mb:
            path = folder / f"{text}-{mb:g}.txt"
            size = [] if kind == "char" else ["--vocab-size", str(o.vocab)]
            ours = [Path(sys.executable).parent / "numpygpt", "data", path, "--out", folder / "out",
                    "--tokenizer", kind, *size, "--workers", str(o.workers)]
            theirs = [sys.executable, "-c", THEIRS, path, str(o.vocab)]
            sides = {"ours": ours} | ({} if o.alone or kind != "bpe" else {"tokenizers": theirs})
            for side, command in sides.items():
                shutil.rmtree(folder / "out", ignore_errors=True)
                load = round(os.getloadavg()[0], 1)
                about, found = rows.setdefault((mb, side), (
                    {"text": text, "kind": kind, "MB": round(mb), "side": side, "load": load}, []))
                found.append(run([*map(str, command)]))
                print(*about.values(), *found[-1], file=sys.stderr, flush=True)
    return [medians(*row) for row in rows.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[200])
    parser.add_argument("--text", nargs="+", default=["english", "chinese", "code", "dna"])
    parser.add_argument("--kind", nargs="+", default=["bpe"])
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--folder", type=Path)
    o = parser.parse_args()
    folder = o.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    for text in o.text:
        for kind in o.kind:
            lines = compare(o, folder, text, kind)
            for line in lines: print(json.dumps(line), flush=True)
            if o.store: store(lines)
    shutil.rmtree(folder / "out", ignore_errors=True)
    if not o.folder: shutil.rmtree(folder)


if __name__ == "__main__": main()
