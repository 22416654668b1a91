"""The long runs whose logs the chapters show: an hour or two for all of them.

python benchmarks/runs.py [NAME ...] [--out FOLDER] [--workers N]
trains into FOLDER/NAME, which keeps the whole log and the last checkpoint, and writes what the
chapters read into nbs/stored."""
import argparse
import json
import os
import re
import time
from dataclasses import asdict
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402: the line above must come first
from tqdm import tqdm                                        # noqa: E402

from numpygpt import checkpoint                              # noqa: E402
from numpygpt.bpe import BPETokenizer, CharTokenizer, WordTokenizer   # noqa: E402
from numpygpt.cli_train import Train                         # noqa: E402
from numpygpt.cost import hold_memory, step_flops   # noqa: E402
from numpygpt.data import Dataset, Windows, load_text, split_text   # noqa: E402
from numpygpt.generate import generate                       # noqa: E402
from numpygpt.inside import copy_loss, copying               # noqa: E402
from numpygpt.inside import prefix_matching, previous_token, repeated   # noqa: E402
from numpygpt.replicas import Replicas   # noqa: E402
from numpygpt.training import PRESETS, Run, TrainConfig                     # noqa: E402
from numpygpt.training import cut_log, evaluate, fit, read_log, record      # noqa: E402
from numpygpt.transformer import GPTConfig, attention_maps   # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "nbs" / "stored"


def trained(run, folder, at=(), workers=None):
    """Train to the end with log and last checkpoint in `folder`;
    yields the number of updates done at each of `at`, of which 0 is before the first"""
    folder.mkdir(parents=True, exist_ok=True)
    cut_log(folder / "log.jsonl", 0)
    with (Replicas(run.model, run.flat, workers) as team,
          tqdm(total=run.config.steps, unit="step", mininterval=20) as bar):
        run.accumulate = lambda x, y: team.accumulate(x, y, run.config.micro_batch)
        if 0 in at: yield 0
        for step in record(fit(run), folder / "log.jsonl"):
            bar.update()
            if step.val_loss is not None:
                bar.write(f"step {step.index:>6}: "
                          f"validation loss {step.val_loss:.4f} nats per token")
            every = run.config.save_every
            if step.index == run.config.steps or every and step.index % every == 0:
                checkpoint.save(folder / "checkpoint", run.model, run.dataset.tokenizer, run)
            if step.index in at: yield step.index


def rounded(x): return float(f"{x:.6g}") if isinstance(x, float) else x


def store(name, value):   # a file's name; a list of dicts for JSON lines, anything else for JSON
    "Write it into nbs/stored with six digits"
    brief = lambda row: json.dumps({k: rounded(v) for k, v in row.items()})
    text = "\n".join(map(brief, value)) if name.endswith(".jsonl") else json.dumps(value, indent=1)
    (STORED / name).write_text(text + "\n", encoding="utf-8")


def thin(log, every=8, first=3):
    "The first steps, every validation, and every few steps, as dicts"
    return [asdict(s) for s in log if s.index <= first or s.index % every == 0
            or s.val_loss is not None]


def seconds_per_step(run, log):
    "Quartiles over a run; validating and saving not counted"
    n = run.config.batch_size * run.model.config.context
    seconds = [n / s.tokens_per_s for s in log]
    quartiles = np.quantile(seconds, (.25, .5, .75))
    return dict(zip(("lower", "median", "upper"), (rounded(float(q)) for q in quartiles)))


def text(run, prompt, n, seed, **how):
    "What the model writes after the prompt"
    tokenizer = run.dataset.tokenizer
    return tokenizer.decode(list(generate(run.model, tokenizer.encode(prompt), n,
                                          np.random.default_rng(seed), **how)))


def kinds(dataset):
    """What each validation token is: 0 part of a speaker's name, 1 the start of a word,
    2 more of a word, 3 a mark, a space or a line break"""
    pieces = [dataset.tokenizer.decode([i]) for i in dataset.val]
    whole, starts = "".join(pieces), np.cumsum([0, *map(len, pieces[:-1])])
    names = np.zeros(len(whole), bool)
    for found in re.finditer(r"(?<=\n\n)[^\n:]+(?=:\n)", whole): names[slice(*found.span())] = True
    letter = lambda c: c.isalpha() or c == "'"
    goes_on = [letter(piece[0]) and letter(before)
               for piece, before in zip(pieces, ["\n", *(p[-1] for p in pieces)])]
    words = [letter(piece[-1]) and piece.strip() != "'" for piece in pieces]
    return np.where(names[starts], 0, np.where(words, np.where(goes_on, 2, 1), 3))


def surprise(run):
    """Nats of each validation token that a window predicts, (windows, T),
    and where in the text it stands"""
    windows, model = Windows(run.dataset.val, run.model.config.context), run.model
    starts, rows = np.arange(0, len(windows), windows.context), []
    model.eval()
    for i in range(0, len(starts), 8):
        x, y = windows[starts[i:i + 8]]
        z = model(x).astype(np.float64)
        z -= z.max(-1, keepdims=True)
        rows.append(np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, y[..., None], -1)[..., 0])
    model.train()
    return np.concatenate(rows), starts[:, None] + 1 + np.arange(windows.context)


def late_bits(run):
    "Bits per byte on the second half of the validation text"
    nats, at = surprise(run)
    sizes = np.array([len(run.dataset.tokenizer.decode_bytes([i])) for i in run.dataset.val])
    late = np.cumsum(sizes)[at] > sizes.sum() / 2
    return rounded(float(nats[late].sum() / np.log(2) / sizes[at[late]].sum()))


PROMPT = "ROMEO:\n"
SETTINGS = {"temperature 1": dict(temperature=1.0),
            "temperature 0.8, top-k 40": dict(temperature=0.8, top_k=40),
            "temperature 0.9, top-p 0.9": dict(temperature=0.9, top_p=0.9)}


def look(run, kind):   # kind: of each validation token
    """Validation loss of a run as it stands: over all, by kind of token,
    by place in the window; and a text"""
    nats, at = surprise(run)
    edges = [0, *(2 ** i for i in range(nats.shape[1].bit_length()))]
    return {"step": run.index, "val_loss": rounded(float(nats.mean())), "load": os.getloadavg()[0],
            "by_kind": [rounded(float(nats[kind[at] == k].mean())) for k in range(4)],
            "by_place": [rounded(float(nats[:, a:b].mean())) for a, b in zip(edges, edges[1:])],
            "text": text(run, PROMPT, 160, 0)}


def shakespeare(folder, workers):
    """Chapter 33: the preset as the command line runs it, looked at six times,
    and the three usual samplers at its end"""
    run = Train.of("shakespeare").new_run()
    kind, val = kinds(run.dataset), run.dataset.val
    looks = [look(run, kind)
             for _ in trained(run, folder, (0, 25, 100, 400, 800, run.config.steps), workers)]
    log = read_log(folder / "log.jsonl")
    store("shakespeare_12_log.jsonl", thin(log))
    store("shakespeare_12.json", {
        "model": asdict(run.model.config), "train": asdict(run.config),
        "source": run.source, "tokenizer": "bpe", "n_params": run.model.n_params,
        "bytes_per_token": rounded(len(run.dataset.tokenizer.decode(val).encode()) / len(val)),
        "steps_per_epoch": len(run.loader), "seconds_per_step": seconds_per_step(run, log),
        "kinds": np.bincount(kind, minlength=4).tolist(), "looks": looks,
        "last_twentieth": late_bits(run)})
    samples = [{"setting": name, "seed": seed, **how, "text": text(run, PROMPT, 256, seed, **how)}
               for name, how in SETTINGS.items() for seed in range(16)]
    store("shakespeare_12_samples.json", {"prompt": PROMPT, "tokens": 256, "samples": samples})


WIDTHS, SEEDS, RATES = (32, 64, 128, 256), (0, 1, 2), (1e-3, 3e-3, 1e-2, 3e-2)


def alone(dataset, model, path, **train):
    """Train to the end in this process on one core: the run, and a short account of it. `model` is
    a GPTConfig, `path` a file for the log, `train` what differs from the nano preset's training;
    a step's seconds are the core's own, validating not counted"""
    run = Run(model, TrainConfig(**{**PRESETS["nano"].train, "eval_batches": 20, **train}), dataset,
              "shakespeare")
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_log(path, 0)
    hold_memory()
    seconds, start = [], time.process_time()
    for step in record(fit(run), path):
        if step.val_loss is None: seconds.append(time.process_time() - start)
        start = time.process_time()
    account = {"seed": run.config.seed, "curve": [[i, rounded(loss)] for i, loss in run.val_losses],
               "seconds_per_step": rounded(float(np.median(seconds)))}
    print(path, account, flush=True)
    return run, account


def scored(*args, **train):   # as `alone`
    "The same with the loss over all of the validation text"
    run, account = alone(*args, **train)
    return run, account | {"val_loss": rounded(evaluate(run.model, run.dataset.val))}


def tried(dataset, model, folder, steps, **train):
    "[learning rate, validation loss] of one short run for each of RATES"
    plan = dict(steps=steps, warmup=steps // 10, eval_every=0, seed=0, **train)
    runs = [alone(dataset, model, folder / f"rate {lr}.jsonl", lr=lr, **plan)[1] for lr in RATES]
    return [[lr, *run["curve"][-1][1:]] for lr, run in zip(RATES, runs)]


def best(rates): return min(rates, key=lambda pair: pair[1])[0]


def sizes(folder, workers):   # one core, whatever `workers` says
    """Chapter 34: the nano preset in four widths, 1,000 steps each,
    and once more with as many steps as a minute holds"""
    corpus, rows = load_text("shakespeare"), []
    dataset = Dataset.from_text(corpus, CharTokenizer.train(corpus))
    for width in WIDTHS:
        model = GPTConfig(**{**PRESETS["nano"].model, "n_embd": width})
        there = folder / f"width {width}"
        rates, runs = tried(dataset, model, there, 100), []
        seeds = SEEDS[:1] if width >= 128 else SEEDS
        for seed in seeds:
            run, account = scored(dataset, model, there / f"seed {seed}.jsonl",
                                  steps=1000, lr=best(rates), eval_every=100, seed=seed)
            if seed == 0: sample = text(run, PROMPT, 200, 0)
            runs.append(account)
        steps = round(60 / np.median([run["seconds_per_step"] for run in runs]))
        plan = dict(steps=steps, warmup=steps // 10, eval_every=0)
        minute = [scored(dataset, model, there / f"minute {seed}.jsonl",
                         lr=best(rates), seed=seed, **plan)[1] for seed in SEEDS]
        other = sorted(rates, key=lambda pair: pair[1])[1][0]
        instead = alone(dataset, model, there / "minute at another rate.jsonl",
                        lr=other, seed=0, **plan)[1]
        rows.append({"model": asdict(model), "n_params": run.model.n_params,
                     "train": asdict(run.config), "rates": rates, "runs": runs,
                     "minute": {"steps": steps, "runs": minute,
                                "other": [other, instead["curve"][-1][1]]},
                     "sample": {"prompt": PROMPT, "seed": 0, "text": sample}})
    store("sizes.json", {"source": "shakespeare", "tokenizer": "char", "sizes": rows})


FLOPS = 1.6e12      # of training, for each tokenizer


def arms(corpus):
    """Name, tokenizer, context in tokens, sequences in a step;
    every tokenizer learns from the training text alone"""
    seen = split_text(corpus)[0]
    characters, bpe = CharTokenizer.train(seen), BPETokenizer.train(seen, 2000)
    return [("characters", characters, 64, 12), ("characters, 160 at a time", characters, 160, 5),
            ("words 2000", WordTokenizer.train(seen, max_size=2000), 64, 12),
            ("BPE 512", BPETokenizer(bpe.merges[:256]), 64, 12), ("BPE 2000", bpe, 64, 12)]


def tokenizers(folder, workers):   # one core, whatever `workers` says
    """Chapter 34: the nano body behind four tokenizers,
    with as many training steps as the same operations allow"""
    corpus, rows = load_text("shakespeare"), []
    for name, tokenizer, context, batch_size in arms(corpus):
        dataset, there = Dataset.from_text(corpus, tokenizer), folder / name
        model = GPTConfig(**{**PRESETS["nano"].model, "context": context,
                             "vocab_size": tokenizer.vocab_size})
        steps = round(FLOPS / step_flops(model, batch_size))
        rates, runs = tried(dataset, model, there, steps // 4, batch_size=batch_size), []
        for seed in SEEDS:
            run, account = scored(dataset, model, there / f"seed {seed}.jsonl", steps=steps,
                                  warmup=steps // 10, lr=best(rates), eval_every=steps // 8,
                                  batch_size=batch_size, seed=seed)
            runs.append(account)
        rows.append({"name": name, "model": asdict(model), "n_params": run.model.n_params,
                     "train": asdict(run.config), "rates": rates, "runs": runs})
    store("tokenizers.json", {"source": "shakespeare", "flops": FLOPS, "tokenizers": rows})


COPIER = dict(vocab_size=64, context=64, n_embd=64, n_head=2, position="learned")
LOOKS = np.arange(0, 601, 20)       # updates done


def watched(config, seed, ids, period, shown):   # as from `repeated`; (1, T), whose maps are kept
    """At each of LOOKS both losses, (2, S), both scores of every head, (S, L, H) each, and the
    maps of every head, (S, L, H, T, T); then the model"""
    losses, scores, maps = [], [], []
    for step, model in copying(config, seed, LOOKS[-1]):
        if step not in LOOKS: continue
        losses.append(copy_loss(model, ids, period))
        every = attention_maps(model, ids)
        scores.append((prefix_matching(every, ids), previous_token(every)))
        maps.append(attention_maps(model, shown)[:, 0])
        print(config.n_layer, seed, step, losses[-1], flush=True)
    return np.array(losses).T, *np.array(scores).swapaxes(0, 1), np.array(maps), model


def inside(folder, workers):   # one core, whatever `workers` says
    """Chapter 39: attention alone on repeated sequences, one layer and two, three seeds each; of
    the first seed also the maps and the weights, in 8 and in 16 bits"""
    ids, period = repeated(np.random.default_rng(99), 64, 64, 64)
    shown, _ = repeated(np.random.default_rng(0), 1, 24, 64, 8, 8)
    found = {"steps": LOOKS, "seeds": np.array(SEEDS), "ids": shown[0]}
    for name, n_layer in (("one", 1), ("two", 2)):
        config = GPTConfig(n_layer=n_layer, **COPIER)
        runs = [watched(config, seed, ids, period, shown) for seed in SEEDS]
        losses, prefix, previous = (np.stack([run[k] for run in runs]) for k in range(3))
        found |= {f"{name} losses": losses.astype("f4"), f"{name} prefix": prefix.astype("f4"),
                  f"{name} previous": previous.astype("f4"),
                  f"{name} config": np.array(json.dumps(asdict(config)))}
    *_, maps, model = runs[0]                                            # of two layers
    found["maps"] = np.round(255 * maps).astype("u1")
    found |= {f"model {k}": w.astype("f2") for k, w in model.state_dict(frozen=False).items()}
    np.savez_compressed(STORED / "inside.npz", **found)


# A new one: a function of (folder for the run, workers or None) that writes into nbs/stored,
# and its name here.
RUNS = {"shakespeare": shakespeare, "sizes": sizes, "tokenizers": tokenizers,
        "inside": inside}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"of {', '.join(RUNS)}; all of them unless told")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder for the runs")
    parser.add_argument("--workers", type=int, help="processes that share each batch; "
                                                    "one for each usable core unless told")
    o = parser.parse_args()
    if unknown := set(o.names) - set(RUNS):
        parser.error(f"there is no run {', '.join(sorted(unknown))}: choose from {', '.join(RUNS)}")
    for name in o.names or RUNS: RUNS[name](o.out / name, o.workers)


if __name__ == "__main__": main()
