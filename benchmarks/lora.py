"""A LoRA step of a published model beside PyTorch's: time, and the largest memory of all processes.
The two sides take turns, each in processes of its own. Writes the rows to nbs/stored/lora.json.

python benchmarks/lora.py FOLDER [--rounds 5]"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

THREADS = len(os.sched_getaffinity(0))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, str(THREADS))

import numpy as np                                            # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "nbs" / "stored" / "lora.json"
RANK, ALPHA, LR, TARGETS = 8, 16.0, 1e-4, {"time": 1.0, "memory": 0.7}


def ours(folder, shape):
    "A step of all cores by numpygpt; what it learns, in numbers"
    from numpygpt.hub import read_model
    from numpygpt.lora import lora
    from numpygpt.module import Flat
    from numpygpt.optimizers import AdamW
    from numpygpt.replicas import Replicas
    model = lora(read_model(folder), RANK, ALPHA, rng=0).train()
    flat = Flat(model)
    optimizer, team = AdamW(flat, LR, weight_decay=0.0), Replicas(model, flat, THREADS)

    def step(x, y):
        flat.zero_grad()
        loss = float(team.accumulate(x, y))
        team.step(optimizer)
        return loss
    return step, len(flat), model.config.vocab_size


def theirs(folder, shape):
    "The same by PyTorch and transformers"
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(THREADS)
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


def serve(side, folder, shape):
    "One step for each line that comes in, answered by its seconds and its loss"
    step, n, V = {"ours": ours, "theirs": theirs}[side](folder, shape)
    say = lambda **what: print(json.dumps(what), flush=True)
    rng = np.random.default_rng(0)
    say(learns=n)
    for _ in sys.stdin:
        ids = rng.integers(V, size=(shape[0], shape[1] + 1))
        start = time.perf_counter()
        loss = step(ids[:, :-1], ids[:, 1:])
        say(seconds=time.perf_counter() - start, loss=loss)


class Side:
    "A process that takes steps when asked, and the largest memory of it and its children"
    def __init__(self, side, folder, shape):
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder), "--side", side, "--shape", *map(str, shape)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.learns, self.peak = self.hear()["learns"], 0

    def hear(self):
        line = self.process.stdout.readline()
        if line: return json.loads(line)
        raise SystemExit("a side has ended")

    def memory(self):
        "Bytes of the process and those it has started; what they share counts once"
        total = 0
        tasks = Path(f"/proc/{self.process.pid}/task")
        children = [c for t in tasks.iterdir() for c in (t / "children").read_text().split()]
        for pid in (self.process.pid, *children):
            try: lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError: continue
            total += 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
        return total

    def step(self, watch=False):
        "(seconds, loss) of a step; with `watch` its memory is looked at, which disturbs the clock"
        done = threading.Event()

        def look():
            while not done.wait(0.1): self.peak = max(self.peak, self.memory())
        watcher = threading.Thread(target=look)
        if watch: watcher.start()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.hear()
        done.set()
        if watch: watcher.join()
        return said["seconds"], said["loss"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", type=int, nargs=2, default=(2, 256))
    parser.add_argument("--side", choices=("ours", "theirs"))
    parser.add_argument("--out", type=Path, default=OUT)
    o = parser.parse_args()
    if o.side: return serve(o.side, o.folder, o.shape)
    sides = {name: Side(name, o.folder, o.shape) for name in ("ours", "theirs")}
    times = {name: [] for name in sides}
    for _ in range(2):
        for side in sides.values(): side.step(watch=True)
    for _ in range(o.rounds):
        for name, side in sides.items(): times[name].append(side.step()[0])
    ratios = [a / b for a, b in zip(*times.values())]
    facts = {"shape": o.shape, "rank": RANK, "threads": THREADS, "rounds": o.rounds,
             "learns": sides["ours"].learns,
             **{f"{name} seconds": statistics.median(t) for name, t in times.items()},
             **{f"{name} bytes": side.peak for name, side in sides.items()},
             "ratio time": statistics.median(ratios), "times": times,
             "ratio memory": sides["ours"].peak / sides["theirs"].peak, "targets": TARGETS}
    for side in sides.values(): side.close()
    o.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__": main()
