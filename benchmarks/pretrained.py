"""The model that comes with the package: trains the preset `pretrained` (ten minutes on a quiet
core), or goes on where it was stopped, and writes numpygpt/pretrained: half-precision weights,
tokenizer, and a train.json that says how to make them again.

python benchmarks/pretrained.py [--out FOLDER] [--workers N]"""
import argparse
import os
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from numpygpt import checkpoint, cli  # noqa: E402: the line above must come first
from numpygpt.training import read_log                       # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FOLDER, LIMIT = ROOT / "numpygpt" / checkpoint.PRETRAINED, 1_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / checkpoint.PRETRAINED,
                        help="folder for the run")
    parser.add_argument("--workers", default="0", help="processes that share each batch; "
                                                       "one for each usable core unless told")
    o = parser.parse_args()
    begin = ["--resume"] if checkpoint.holds_run(o.out) else ["--preset", "pretrained", "--out"]
    cli.main(["train", *begin, str(o.out), "--sample", "0", "--workers", o.workers])
    info = checkpoint.read_info(checkpoint.find(o.out))
    if info["index"] < info["train"]["steps"]: return
    model, tokenizer = checkpoint.load(o.out)
    val = checkpoint.open_data(info["source"], tokenizer).val
    about = {name: info[name] for name in ("train", "index", "val_losses", "source", "data")}
    checkpoint.save(FOLDER, model, tokenizer, dtype="f2", **about,
                    first_losses=[step.loss for step in read_log(o.out / "log.jsonl")[:3]],
                    bytes_per_token=len(tokenizer.decode(val).encode()) / len(val))
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{size:,} bytes in {FOLDER}")
    if size > LIMIT: raise SystemExit(f"more than {LIMIT:,}: make the model smaller")


if __name__ == "__main__": main()
