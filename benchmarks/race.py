"""The race of chapter 40: what sixty seconds of training on this machine's cores are worth, in bits
per byte of the last tenth of tinyshakespeare.

python benchmarks/race.py [FOLDER ...] [--seeds 0 1 2 3 4] [--clock wall|processor]
                          [--seconds 60] [--cores N]
races entries in turn, a round for each seed, and writes the claim.json of each and its line in
nbs/stored/leaderboard.jsonl; without folders those in benchmarks/race. Seeds that a claim has under
the same rules already stay, so that the rounds can be made in several calls."""
import argparse
import json
from pathlib import Path

import machine

from numpygpt.data import load_text
from numpygpt.race import BUSY, CLOCKS, SECONDS, Refused, claim, race

ENTRIES = Path(__file__).parent / "race"
BOARD = Path(__file__).resolve().parents[1] / "nbs" / "stored" / "leaderboard.jsonl"
OURS = [ENTRIES / name for name in ("baseline", "best", "pytorch")]


def post(name, row, board=BOARD):
    "The line of this entry in the leaderboard, in the place of an older one"
    lines = board.read_text(encoding="utf-8").splitlines() if board.exists() else []
    rows = {r["entry"]: r for r in map(json.loads, lines)} | {name: {"entry": name, **row}}
    board.write_text("".join(json.dumps(rows[n]) + "\n" for n in sorted(rows)), encoding="utf-8")


def main(args=None, board=BOARD):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="N")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--cores", type=int, help="all that are usable, unless told")
    parser.add_argument("--text", default="shakespeare", help="a text that load_text knows")
    o = parser.parse_args(args)
    text = load_text(o.text)
    for seed in o.seeds:
        for folder in o.folders or OURS:
            try: r = race(folder, seed, text, o.seconds, o.clock, o.cores)
            except Refused as e:
                print(f"{folder.name}, seed {seed}: {e}", flush=True)
                continue
            post(folder.name, claim(folder, text, [r], o.seconds, o.clock, machine.processor()),
                 board)
            idle = o.clock == "wall" and r.share < BUSY
            print(f"{folder.name}, seed {seed}: {r.bits:.4f} bits per byte after {r.seconds:.2f} s "
                  f"({r.share:.0%} of the cores' time{': busy, or idle' * idle})", flush=True)


if __name__ == "__main__": main()
