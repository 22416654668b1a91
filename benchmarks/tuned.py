"""What chapter 35 shows of a published model that learns to talk like the keeper of a lighthouse:
its answers before and after, and how far the exported model is from `transformers`, where that is
installed. Writes nbs/stored/keeper.json.

python benchmarks/tuned.py FOLDER RUN     a folder of SmolLM2-135M-Instruct; where to put the run,
                                          which goes on where it lies there already"""
import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from numpygpt import checkpoint, hub
from numpygpt.chat import Script
from numpygpt.generate import generate
from numpygpt.replicas import Replicas
from numpygpt.training import TrainConfig, fit
from numpygpt.tuning import resume, tuning_run

STORED = Path(__file__).resolve().parents[1] / "nbs" / "stored"
DATA, OUT = STORED / "keeper.jsonl", STORED / "keeper.json"
CONFIG = TrainConfig(steps=24, batch_size=6, lr=1e-3, warmup=3, weight_decay=0.0, eval_every=8,
                     floor=0.1, seed=1)
ALL = "q", "k", "v", "o", "gate", "up", "down"
ASKED = ("Who are you?", "Do you have a dog?", "What is the capital of Italy?",
         "Write one sentence about the sea.")          # of these the first alone was learned


def answers(model, script):
    "What the model says, the likeliest token each time"
    found = {}
    for question in ASKED:
        ids = script.ids([{"role": "user", "content": question}])
        made = list(generate(model, ids, 48, 0, temperature=0, stop=tuple(script.ends())))
        if made and made[-1] in script.ends(): del made[-1]
        found[question] = script.tokenizer.decode(made)
    return found


def trained(o, script):
    "The run, at its end"
    if checkpoint.holds_run(o.run): run = resume(o.run, script=script)
    else: run = tuning_run(o.folder, DATA, CONFIG, rank=8, on=ALL, script=script)
    with Replicas(run.model, run.flat) as team:
        run.accumulate, run.update = team.accumulate, lambda lr: team.step(run.optimizer, lr)
        for step in fit(run):
            print(step.index, step.loss, step.val_loss, flush=True)
            if step.index % 8 == 0 or step.index == CONFIG.steps:
                checkpoint.save(o.run / "checkpoint", run.model, run.dataset.tokenizer, run)
    return run


def exported(model, tokenizer, like):
    "The largest difference of logits from `transformers` on the exported folder, and of the sizes"
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError: return {}
    with tempfile.TemporaryDirectory() as place:
        hub.export(model, f"{place}/out", like=like)
        theirs = AutoModelForCausalLM.from_pretrained(f"{place}/out", dtype=torch.float32).eval()
        ids = np.array([tokenizer.encode("The light was lit at dusk, and the log was kept. " * 6)])
        with torch.no_grad(): want = theirs(torch.as_tensor(ids)).logits.numpy()
        same = hub.read_model(f"{place}/out")(ids)
    got = model(ids)
    return {"difference": float(np.abs(got - want).max()), "largest": float(np.abs(want).max()),
            "reopened": bool(np.array_equal(same, got))}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path)
    o = parser.parse_args()
    script, start = Script.read(o.folder), time.perf_counter()
    before = answers(hub.load(o.folder)[0], script)
    run = trained(o, script)
    model, tokenizer = hub.load(o.run)
    size = sum(p.stat().st_size for p in checkpoint.find(o.run).iterdir())
    facts = {"learns": len(run.flat), "of": model.n_params, "pairs": len(run.dataset.train),
             "steps": run.index, "val": run.val_losses, "bytes": size, "before": before,
             "after": answers(model, script), **exported(model, tokenizer, o.folder)}
    OUT.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1), f"{time.perf_counter() - start:.0f} s", sep="\n")


if __name__ == "__main__": main()
