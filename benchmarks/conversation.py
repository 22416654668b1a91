"""The conversation that the chapter on talking shows: python benchmarks/conversation.py FOLDER

FOLDER is that of SmolLM2-135M-Instruct. Writes nbs/stored/conversation.json, in half a minute.
Times are those of one processor core, whatever else it was given to do meanwhile."""
import json
import os
import sys
from pathlib import Path
from time import process_time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np                                  # noqa: E402: the lines above come first

from numpygpt.chat import Chat, Script, shared      # noqa: E402
from numpygpt.hub import open_model                 # noqa: E402

LINES = ["Write one sentence about the sea.", "Now make it shorter.",
         "What is the capital of France?", "And of Italy?", "What is 7 times 8?",
         "What did I ask you first?"]
HOW, SEED, TOKENS = dict(temperature=0.5, top_p=0.9), 0, 80

if __name__ == "__main__":
    model, tokenizer = open_model(sys.argv[1])
    chat, turns = Chat(model, Script.read(sys.argv[1], tokenizer)), []
    rng = np.random.default_rng(SEED)
    for line in LINES:
        prompt = chat.script.ids([*chat.messages, {"role": "user", "content": line}])
        known, start, times = shared(chat.memory.read, prompt), process_time(), []
        for _ in chat.ask(line, TOKENS, rng, **HOW): times.append(process_time())
        answer = chat.messages[-1]["content"]
        turns.append({"asked": line, "answer": answer, "cut": chat.cut, "reused": known,
                      "new": len(prompt) - known, "tokens": len(tokenizer.encode(answer)),
                      "first": round(times[0] - start, 2),
                      "rate": round((len(times) - 1) / (times[-1] - times[0]), 1)})
        print(f"> {line}\n{turns[-1]['answer']}")
    flags = f"--chat --temperature {HOW['temperature']} --top-p {HOW['top_p']} --seed {SEED} "
    found = {"model": "SmolLM2-135M-Instruct", "flags": flags + f"--tokens {TOKENS}",
             "turns": turns}
    path = Path(__file__).parents[1] / "nbs" / "stored" / "conversation.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
