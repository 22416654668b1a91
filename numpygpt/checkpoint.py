"A model in a folder that any program can read, and a training run that goes on as if it had never stopped"
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .bpe import load_tokenizer
from .data import Dataset, load_text
from .training import Run, TrainConfig
from .transformer import GPT, GPTConfig

MODEL, OPTIMIZER, TOKENIZER, TRAIN = "model.safetensors", "optimizer.safetensors", "tokenizer.json", "train.json"


def save(folder, model, tokenizer=None, run=None):   # run: writes what `resume` needs, too
    "Write beside `folder`, then swap: at every moment a whole checkpoint is there"
    from safetensors.numpy import save_file
    folder = Path(folder)
    new, old = (folder.with_name(f"{folder.name}.{tag}") for tag in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file(model.state_dict(), new / MODEL, metadata={"format": "numpygpt"})
    if tokenizer: tokenizer.save(new / TOKENIZER)
    if run: save_file(run.optimizer.state_dict(), new / OPTIMIZER)
    info = {"model": asdict(model.config), **(run_state(run) if run else {})}
    (new / TRAIN).write_text(json.dumps(info, indent=1), encoding="utf-8")
    sync(new)
    recover(folder)
    if folder.exists(): os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder):
    "Finish a swap that was interrupted between its two renames"
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists(): os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def sync(folder):
    "Have the disk itself hold every file of `folder`"
    for path in [*folder.iterdir()]:
        with open(path, "rb+") as file: os.fsync(file.fileno())


def run_state(run):
    "Everything about a run that is neither weights nor optimizer, as JSON takes it"
    return {"train": asdict(run.config), "index": run.index, "val_losses": run.val_losses, "loader": run.loader.state_dict(),
            "generators": {"dropout": run.dropout_rng.bit_generator.state, "sample": run.sample_rng.bit_generator.state},
            "source": run.source, "data": fingerprint(run.dataset)}


def fingerprint(dataset):
    "A short digest of the tokens: the same data gives the same one"
    digest, end = hashlib.sha256(), 1 << 20
    for tokens in (dataset.train, dataset.val):
        digest.update(str(len(tokens)).encode())
        for part in (tokens[:end], tokens[-end:]): digest.update(np.asarray(part, dtype="<i4").tobytes())
    return digest.hexdigest()[:16]


def find(folder):
    "The checkpoint that `folder` is, or that lies in it under the name `checkpoint`"
    for place in (Path(folder), Path(folder) / "checkpoint"):
        recover(place)
        if (place / TRAIN).is_file(): return place
    raise FileNotFoundError(f"no checkpoint in {folder}: a folder with {TRAIN} and {MODEL} is needed, as `numpygpt train --out` writes it")


def read_info(folder):
    "The settings in train.json"
    try: return json.loads((folder / TRAIN).read_text(encoding="utf-8"))
    except ValueError as e: raise ValueError(f"{folder / TRAIN} is damaged ({e}): the checkpoint cannot be read, use an earlier copy") from None


def read_arrays(path):
    "Arrays by name from a safetensors file"
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    if not path.is_file(): raise FileNotFoundError(f"{path} is missing: the checkpoint is not complete, use an earlier copy")
    try: return load_file(path)
    except SafetensorError as e: raise ValueError(f"{path} is damaged or cut off ({e}): use an earlier copy") from None


def model_config(info): return GPTConfig(**{**info["model"], "dropout_at": tuple(info["model"]["dropout_at"])})


def load(folder):
    "(model in eval mode, tokenizer or None), ready to generate"
    folder = find(folder)
    model = GPT(model_config(read_info(folder)), np.random.default_rng(0))
    model.load_state_dict(read_arrays(folder / MODEL))
    return model.eval(), load_tokenizer(folder / TOKENIZER) if (folder / TOKENIZER).exists() else None


def resume(folder, dataset=None, steps=None):   # dataset: the text's own unless given; steps: a new goal
    "The run as it was when it was saved; what follows is the same, bit for bit, as without the stop"
    folder = find(folder)
    info = read_info(folder)
    if "train" not in info: raise ValueError(f"{folder} holds a model without its training state: it can be sampled, not resumed")
    tokenizer = load_tokenizer(folder / TOKENIZER)
    dataset = dataset or open_data(info["source"], tokenizer)
    if fingerprint(dataset) != info["data"]:
        raise ValueError(f"the text {info['source']!r} is not the one that this run was trained on: restore it, or start a new run")
    run = Run(model_config(info), TrainConfig(**{**info["train"], **({"steps": steps} if steps else {})}), dataset, info["source"])
    run.model.load_state_dict(read_arrays(folder / MODEL))
    run.optimizer.load_state_dict(read_arrays(folder / OPTIMIZER))
    run.loader.load_state_dict(info["loader"])
    run.dropout_rng.bit_generator.state, run.sample_rng.bit_generator.state = (info["generators"][k] for k in ("dropout", "sample"))
    run.index, run.val_losses = info["index"], [tuple(v) for v in info["val_losses"]]
    return run


def open_data(source, tokenizer):   # a corpus, a text file, or a folder of token files
    "The dataset that `source` names, in the tokens of `tokenizer`"
    if Path(source).is_dir(): return Dataset.open(source)
    return Dataset.from_text(load_text(source), tokenizer)
