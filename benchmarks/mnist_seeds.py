"""Five seeds of thirty epochs on MNIST, by each of two optimizers, with the code of the chapter
itself: a few minutes on all cores.

python benchmarks/mnist_seeds.py
writes nbs/stored/mnist.json, which the chapter reads; NUMPYGPT_DATA may name the folder that has
the data."""
import json
import os
from pathlib import Path

import matplotlib
import nbformat

NBS = Path(__file__).resolve().parents[1] / "nbs"
SEEDS = range(5)


def chapter():
    "What the chapter on MNIST has defined by the time it has its function `train`, by name"
    matplotlib.use("agg")
    names = {}
    for cell in nbformat.read(NBS / "32_mnist.ipynb", 4).cells:
        if cell.cell_type == "code": exec(cell.source, names)
        if "def train(" in cell.source: return names


def run(names, seed, optimizer):
    """Test accuracy and training loss by epoch, the seconds of all epochs,
    and how many programs wanted to run when they began"""
    load = os.getloadavg()[0]
    accuracy, loss, seconds, cpu = names["train"](seed, names["EPOCHS"], optimizer=optimizer)[1].T
    return {"seed": seed, "seconds": round(seconds.sum(), 1), "cpu seconds": round(cpu.sum(), 1),
            "load": round(load, 1),
            "accuracy": accuracy.round(4).tolist(), "loss": loss.round(5).tolist()}


def main():
    names, lines = chapter(), []
    if not names["real"]: raise SystemExit("nothing is written: these runs are of MNIST itself")
    for kind, optimizer in names["OPTIMIZERS"].items():
        rows = [json.dumps(run(names, seed, optimizer)) for seed in SEEDS]
        lines.append(f'"{kind}": [\n  ' + ",\n  ".join(rows) + "]")
        print(lines[-1], flush=True)
    (NBS / "stored" / "mnist.json").write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__": main()
