"""What chapter 29 shows of a real model: tokens a second in each precision and in PyTorch's
float32, the memory's bandwidth, memory, and what rounding costs. Writes nbs/stored/packed.json.

python benchmarks/packed.py FOLDER      a folder of SmolLM2-135M-Instruct in bfloat16, as published

Each side is a process of its own; they are asked in turn, so that what else the machine does falls
on all of them alike. With --threads 1 only the time counts in which a thread has a core."""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

import machine

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "nbs" / "stored" / "packed.json"
SIDES = "float32", "bfloat16", "int8", "pytorch"
PROMPT, STEPS, LONG = 256, 8, 512         # tokens read at once, written in a round, compared


def anonymous():
    "Bytes of this process that belong to no file"
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def ours(folder, precision):
    "({work: seconds}, facts) of our model; what it costs is counted before anything is computed"
    from numpygpt import hub, packed
    from numpygpt.losses import cross_entropy
    before, start = anonymous(), time.perf_counter()
    if precision == "float32": model = hub.read_model(folder)
    else: model = packed.read_packed(folder, precision)
    facts = {"load": time.perf_counter() - start, "memory": anonymous() - before,
             "parameters": model.n_params}
    tokenizer = hub.read_tokenizer(folder, model.config.vocab_size)
    text = np.array(tokenizer.encode((ROOT / "README.md").read_text(encoding="utf-8"))[:LONG + 1])
    scores = model(text[None, :-1])
    facts["nats"] = float(cross_entropy(scores, text[None, 1:])[0])
    np.save(Path(os.environ["SCORES"]) / f"{precision}.npy", scores[0])
    prompt, cache = text[None, :PROMPT], []
    def prefill():
        cache[:] = model.new_cache(1, PROMPT + STEPS)
        model(prompt, cache, last=True)
    def decode():
        for c in cache: c.length = PROMPT
        for _ in range(STEPS): model(prompt[:, :1], cache)
    w, x = np.ones((1 << 15, 1 << 10), np.float32), np.ones(1 << 10, np.float32)
    return {"prefill": prefill, "decode": decode, "read": lambda: w @ x}, facts


def pytorch(folder, threads):
    "The same of PyTorch, eager and in float32, by `transformers`"
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache
    torch.set_grad_enabled(False)
    torch.set_num_threads(threads)
    before, start = anonymous(), time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    facts = {"load": time.perf_counter() - start, "memory": anonymous() - before,
             "version": torch.__version__}
    prompt, state = torch.arange(PROMPT)[None], {}
    def prefill():
        state["cache"] = DynamicCache(config=model.config)
        model(prompt, past_key_values=state["cache"], logits_to_keep=1)
    def decode():
        if (more := state["cache"].get_seq_length() - PROMPT): state["cache"].crop(-more)
        for _ in range(STEPS): model(prompt[:, :1], past_key_values=state["cache"])
    return {"prefill": prefill, "decode": decode}, facts


def serve(side, folder, threads):
    "Do the work that each line names, and answer with its seconds"
    say = lambda what: print("ANSWER", json.dumps(what), flush=True)
    clock = time.thread_time if threads == 1 else time.perf_counter
    try: works, facts = pytorch(folder, threads) if side == "pytorch" else ours(folder, side)
    except ImportError as e: return say({"error": str(e)})
    for name in ("prefill", "decode"): works[name]()
    say(facts)
    for line in sys.stdin:
        start = clock()
        works[line.strip()]()
        say({"seconds": clock() - start})


class Side:
    "A process that does the work when it is asked to"
    def __init__(self, side, o, scores):
        told = "--side", side, "--threads", str(o.threads)
        limit = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(o.threads))
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(o.folder), *told], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **limit, "SCORES": str(scores)})
        self.facts = self.hear()

    def hear(self):
        for line in self.process.stdout:
            if line.startswith("ANSWER "): return json.loads(line[7:])
        return {"error": f"ended with exit code {self.process.wait()}"}

    def seconds(self, work):
        self.process.stdin.write(work + "\n")
        self.process.stdin.flush()
        return self.hear()["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compared(scores):
    "Differences of scores from those of float32, and how often the likeliest token is another"
    full = np.load(scores / "float32.npy")
    made = {p: np.load(scores / f"{p}.npy") for p in ("bfloat16", "int8")}
    return {p: {"largest": float(np.abs(s - full).max()), "spread": float(full.std()),
                "root mean square": float(np.sqrt(np.mean((s - full)**2))),
                "same token": float((s.argmax(-1) == full.argmax(-1)).mean()),
                "equal": bool(np.array_equal(s, full))} for p, s in made.items()}


def main():
    import tempfile
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=SIDES)
    o = parser.parse_args()
    if o.side: return serve(o.side, o.folder, o.threads)
    with tempfile.TemporaryDirectory() as scores:
        sides = {name: Side(name, o, scores) for name in SIDES}
        going = {name: s for name, s in sides.items() if "error" not in s.facts}
        times = {name: {"prefill": [], "decode": []} for name in going}
        speeds = []
        end = time.perf_counter() + o.seconds
        while len(speeds) < 15 or time.perf_counter() < end:
            for _ in range(5): speeds.append((1 << 27) / sides["float32"].seconds("read") / 1e9)
            for name, s in going.items():
                times[name]["prefill"].append(s.seconds("prefill"))
                for _ in range(4): times[name]["decode"].append(s.seconds("decode") / STEPS)
        for s in sides.values(): s.close()
        facts = {"machine": {"processor": machine.processor(), "threads": o.threads,
                             **machine.versions(), "gbytes": [median(speeds), max(speeds)]},
                 "prompt": PROMPT, "rounds": len(speeds) // 5,
                 "differences": compared(Path(scores)),
                 "sides": {name: s.facts | {work: [median(t), min(t)]
                                            for work, t in times[name].items()}
                           for name, s in going.items()}}
    OUT.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__": main()
