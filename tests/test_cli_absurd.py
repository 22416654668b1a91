"""Values that make no sense, for flags of every command: a line or a frame, and no traceback

Some flags here, by parsing alone; all of them, with each value, run in slow/test_absurd.py."""
import re
from itertools import cycle
from pathlib import Path

import pytest

from numpygpt import cli

ABSURD = "-1", "nan", "word", "", "9" * 30, "0", "-inf", "1.5", "no/such", "1e400", "a.txt", "inf"
ALONE = {"data": ["a.txt", "--out", "made"], "export": ["pretrained", "exported"],
         "notebooks": ["chapters"], "check-answers": ["a.txt"]}


def flags_of(name, capsys):
    "The flags of a command, from its own help"
    with pytest.raises(SystemExit): cli.parse([name, "--help"])
    return sorted({*re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)} - {"--help"})


def outcome(call, words):
    "What `call(words)` ends with: 0, an exit code, or a line; an error that is no SystemExit fails"
    try: call(words)
    except SystemExit as end: code = end.code
    except Exception as e: raise AssertionError(f"{words}: {e!r}") from e
    else: code = 0
    assert code in (None, 0, 1, 2) or isinstance(code, str) and code.count("\n") == 0, (words, code)
    return code


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_an_absurd_value_of_some_flags_is_parsed_or_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("text")
    flags = flags_of(name, capsys)
    for flag, value in zip(flags[::len(flags) // 8 + 1], cycle(ABSURD)):
        outcome(lambda words: cli.parse(words), [name, *ALONE.get(name, []), flag, value])
