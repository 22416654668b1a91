"Every flag of every command with every absurd value, run: an answer, a line, or a frame"
import signal
from pathlib import Path

import pytest

from numpygpt import cli
from test_cli_absurd import ABSURD, ALONE, flags_of, outcome

SHORT = {"train": ("--data a.txt --steps 1 --n-layer 1 --n-embd 16 --n-head 2 --context 16 "
                   "--batch-size 2 --eval-batches 1 --sample 0 --workers 1").split(),
         "sample": ["--tokens", "2"], "check": ["--entries", "1", "--n-layer", "1"]}


def hurried(words):
    "The command, with Ctrl-C after four seconds: 10^30 steps are no mistake, and take their time"
    signal.setitimer(signal.ITIMER_REAL, 4)
    try: cli.main(words)
    except KeyboardInterrupt: pass
    except SystemExit as end:
        if end.code != 130: raise
    finally: signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_flag_gets_an_answer_or_a_line(name, tmp_path, monkeypatch, capsys, alarm):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("In the beginning was the word, and the next.\n" * 30)
    for flag in (f for f in flags_of(name, capsys) if f != "--open"):    # starts a program
        for value in ABSURD:
            given = [*SHORT.get(name, []), *ALONE.get(name, [])]
            if flag in given: given[given.index(flag):given.index(flag) + 2] = []
            outcome(hurried, [name, *given, flag, value])
