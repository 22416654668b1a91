"""What chapter 27 shows of a real model: attention maps, a continuation, and the distance of its
logits from those of `transformers`, where that is installed. Writes nbs/stored/smollm2.npz.

python benchmarks/hub.py FOLDER      a folder of SmolLM2-135M-Instruct, as published"""
import argparse
import os
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np                                            # noqa: E402

from numpygpt import hub                                      # noqa: E402
from numpygpt.generate import generate                        # noqa: E402
from numpygpt.transformer import attention_maps               # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
OUT, LIMIT = ROOT / "nbs" / "stored" / "smollm2.npz", 100_000
TEXT = "The king spoke to Ophelia Brown, and the queen spoke to Ophelia"
LONG = 512                     # tokens of prose whose logits are compared


def reference(folder, ids, start, n):
    "Logits (T, V) and `n` greedy tokens by `transformers`; None where it is not installed"
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError: return None
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.as_tensor(ids[None])).logits[0].numpy()
        made = model.generate(torch.as_tensor(start[None]), max_new_tokens=n, do_sample=False,
                              eos_token_id=None, pad_token_id=0)
    return logits, made[0, len(start):].numpy()


def memory():
    "Bytes of this process that belong to no file"
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Anonymous")))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    before, start = memory(), time.perf_counter()
    model = hub.read_model(folder)
    seconds = time.perf_counter() - start
    size = sum(w.nbytes for w in model.named_parameters().values())
    grown = (memory() - before) / size
    tokenizer = hub.read_tokenizer(folder, model.config.vocab_size)
    ids = np.array(tokenizer.encode(TEXT))
    maps = attention_maps(model, ids[None])[:, 0]                       # (L, H, T, T)
    lower = maps[:, :, *np.tril_indices(len(ids))]
    text = np.array(tokenizer.encode((ROOT / "README.md").read_text(encoding="utf-8"))[:LONG])
    made = np.array(list(generate(model, ids, 30, 0, temperature=0)))
    facts = {"parameters": model.n_params, "seconds": seconds, "memory": grown}
    if theirs := reference(folder, text, ids, 30):
        logits = model(text[None])[0]
        facts |= {"difference": np.abs(logits - theirs[0]).max(),
                  "largest": np.abs(theirs[0]).max(), "equal": int((made == theirs[1]).sum())}
    np.savez_compressed(OUT, maps=np.round(255 * lower).astype(np.uint8),
                        tokens=[tokenizer.decode([i]) for i in ids],
                        continuation=tokenizer.decode(made), **facts)
    print(facts, tokenizer.decode(made), f"{OUT.stat().st_size:,} bytes in {OUT}", sep="\n")
    if OUT.stat().st_size > LIMIT: raise SystemExit(f"more than {LIMIT:,}: take a shorter text")


if __name__ == "__main__": main()
