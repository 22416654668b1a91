"""A LoRA step of a published model beside PyTorch's: time by the clock and of the processors, and
the largest memory of all processes, on one core and on all. The two sides take turns, each in
processes of its own. Writes nbs/stored/lora.json.

python benchmarks/lora.py FOLDER [--rounds 5] [--threads 1 2]"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "nbs" / "stored" / "lora.json"
RANK, ALPHA, LR, TARGETS = 8, 16.0, 1e-4, {"time": 1.0, "memory": 0.7}
TICK = os.sysconf("SC_CLK_TCK")


def ours(folder, threads):
    "A step of all cores by numpygpt; what it learns, in numbers"
    from numpygpt.hub import read_model
    from numpygpt.lora import lora
    from numpygpt.module import Flat
    from numpygpt.optimizers import AdamW
    from numpygpt.replicas import Replicas
    model = lora(read_model(folder), RANK, ALPHA, rng=0).train()
    flat = Flat(model)
    optimizer, team = AdamW(flat, LR, weight_decay=0.0), Replicas(model, flat, threads)

    def step(x, y):
        flat.zero_grad()
        loss = float(team.accumulate(x, y))
        team.step(optimizer)
        return loss
    return step, len(flat), model.config.vocab_size


def theirs(folder, threads):
    "The same by PyTorch and transformers"
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    model.requires_grad_(False)

    class LoRA(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base, n_in, n_out = base, base.in_features, base.out_features
            self.A = torch.nn.Parameter(torch.randn(n_in, RANK) * n_in ** -0.5)
            self.B = torch.nn.Parameter(torch.zeros(RANK, n_out))

        def forward(self, x): return self.base(x) + (x @ self.A) @ self.B * (ALPHA / RANK)

    for layer in model.model.layers:
        layer.self_attn.q_proj = LoRA(layer.self_attn.q_proj)
        layer.self_attn.v_proj = LoRA(layer.self_attn.v_proj)
    learns = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learns, LR, weight_decay=0.0)

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        logits = model(torch.as_tensor(x), use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.as_tensor(y).flatten())
        loss.backward()
        optimizer.step()
        return loss.item()
    return step, sum(p.numel() for p in learns), model.config.vocab_size


def serve(side, folder, shape, threads):
    "One step for each line that comes in, answered by its seconds and its loss"
    step, n, V = {"ours": ours, "theirs": theirs}[side](folder, threads)
    say = lambda **what: print(json.dumps(what), flush=True)
    rng = np.random.default_rng(0)
    say(learns=n)
    for _ in sys.stdin:
        ids = rng.integers(V, size=(shape[0], shape[1] + 1))
        start = time.perf_counter()
        loss = step(ids[:, :-1], ids[:, 1:])
        say(seconds=time.perf_counter() - start, loss=loss)


class Side:
    "A process that takes steps when asked; the time and memory of it and of those it has started"
    def __init__(self, side, o, threads):
        names = ("OPENBLAS", "OMP", "MKL")
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(o.folder), "--side", side, "--threads", str(threads),
             "--shape", *map(str, o.shape)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | {f"{name}_NUM_THREADS": str(threads) for name in names})
        self.learns, self.peak = self.hear()["learns"], 0

    def hear(self):
        line = self.process.stdout.readline()
        if line: return json.loads(line)
        raise SystemExit("a side has ended")

    def pids(self):
        tasks = Path(f"/proc/{self.process.pid}/task")
        children = [c for t in tasks.iterdir() for c in (t / "children").read_text().split()]
        return [str(self.process.pid), *children]

    def memory(self):
        "Bytes; what processes share counts once"
        total = 0
        for pid in self.pids():
            try: lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError: continue
            total += 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
        return total

    def processor(self):
        "Seconds of processor time so far"
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                 for pid in self.pids()]
        return sum(int(s[11]) + int(s[12]) for s in stats) / TICK

    def step(self, watch=False):
        "Seconds by the clock, and of the processors; with `watch` memory is looked at meanwhile"
        done = threading.Event()

        def look():
            while not done.wait(0.1): self.peak = max(self.peak, self.memory())
        watcher, before = threading.Thread(target=look), self.processor()
        if watch: watcher.start()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.hear()
        done.set()
        if watch: watcher.join()
        return said["seconds"], self.processor() - before

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def row(o, threads):
    "What is found on so many cores"
    sides = {name: Side(name, o, threads) for name in ("ours", "theirs")}
    found = {name: [] for name in sides}
    for _ in range(2):
        for side in sides.values(): side.step(watch=True)
    for _ in range(o.rounds):
        for name, side in sides.items(): found[name].append(side.step())
    facts = {"learns": sides["ours"].learns, "rounds": o.rounds, "load": os.getloadavg()[0]}
    for at, kind in enumerate(("clock", "processor")):
        times = {name: [both[at] for both in f] for name, f in found.items()}
        facts[kind] = {name: statistics.median(t) for name, t in times.items()}
        facts[kind]["ratio"] = statistics.median(a / b for a, b in zip(*times.values()))
    facts["bytes"] = {name: side.peak for name, side in sides.items()}
    facts["bytes"]["ratio"] = sides["ours"].peak / sides["theirs"].peak
    for side in sides.values(): side.close()
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--shape", type=int, nargs=2, default=(2, 256))
    parser.add_argument("--side", choices=("ours", "theirs"))
    parser.add_argument("--out", type=Path, default=OUT)
    o = parser.parse_args()
    if o.side: return serve(o.side, o.folder, o.shape, o.threads[0])
    old = json.loads(o.out.read_text()) if o.out.is_file() else {}
    rows = old.get("rows", {}) | {str(n): row(o, n) for n in o.threads}
    facts = {"shape": o.shape, "rank": RANK, "rows": rows, "targets": TARGETS}
    o.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__": main()
