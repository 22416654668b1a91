"""What sixteen wrong backward passes of a block cost on real text: chapter 38.

python benchmarks/clinic.py
trains the healthy model and sixteen ill ones from the same weights on the same batches, and writes
what became of them into nbs/stored/clinic.json: on one core, in twenty minutes."""
import argparse
import os
from dataclasses import asdict, replace

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402: the line above must come first
from tqdm import tqdm                                        # noqa: E402

from runs import rounded, store                              # noqa: E402

from numpygpt.attention import Attention                     # noqa: E402
from numpygpt.bpe import CharTokenizer                       # noqa: E402
from numpygpt.data import Dataset, load_text                 # noqa: E402
from numpygpt.gradcheck import wrongs                        # noqa: E402
from numpygpt.layernorm import LayerNorm                     # noqa: E402
from numpygpt.training import Run, TrainConfig, evaluate, train_step   # noqa: E402
from numpygpt.transformer import GPT, Block, GPTConfig       # noqa: E402

BUGS = {
    Attention: ("RoPE not un-rotated", "RoPE rotated the same way",
                "GQA tiled instead of repeated", "GQA averaged", "GQA first head only",
                "softmax without its dot term", "softmax: only the diagonal",
                "1/sqrt(D) forgotten", "dV with A instead of A^T", "dK with dS instead of dS^T",
                "= instead of +=: only q's path"),
    LayerNorm: ("variance held constant", "mean held constant", "mean and variance held constant",
                "dg without n"),
    Block: ("residual path forgotten",)}
MODEL = GPTConfig(vocab_size=65, context=64, n_layer=4, n_embd=32, n_head=4, n_kv_head=2)
TRAIN = TrainConfig(steps=500, batch_size=12, lr=1e-2, warmup=50)
SEEDS = 0, 1, 2


def bugs():
    "The sixteen, as the chapters record them"
    return [next(w for w in wrongs(kind) if w.name == name)
            for kind, names in BUGS.items() for name in names]


def ended(bug, seed, dataset):   # None for the healthy model
    """(loss on all of the validation text, training loss of each step) of a run whose weights and
    batches depend on the seed alone; where a number is not finite, (None, losses until then)"""
    model, losses = GPT(MODEL, np.random.default_rng(seed)), []
    run = Run(MODEL, replace(TRAIN, seed=seed), dataset, model=bug.apply(model) if bug else model)
    try:
        for _ in range(run.config.steps): losses.append(train_step(run).loss)
    except FloatingPointError: return None, losses
    return rounded(evaluate(run.model, run.dataset.val)), losses


def row(bug, dataset):
    "What the file says of one bug: losses by seed, and the first and every hundredth in training"
    runs = [ended(bug, seed, dataset) for seed in SEEDS]
    return {"kind": bug.what.__name__ if bug else "", "name": bug.name if bug else "",
            "val_loss": [val for val, _ in runs],
            "loss": [[rounded(x) for x in losses[::100]] for _, losses in runs]}


def main():
    argparse.ArgumentParser(description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    corpus = load_text("shakespeare")
    dataset = Dataset.from_text(corpus, CharTokenizer.train(corpus))
    store("clinic.json", {
        "model": asdict(MODEL), "train": asdict(TRAIN), "seeds": SEEDS,
        "arms": [row(bug, dataset) for bug in tqdm([None, *bugs()], mininterval=20)]})


if __name__ == "__main__": main()
