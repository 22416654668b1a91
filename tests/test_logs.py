"A log of any length: what is read of it, what is cut off, and what a picture of it keeps"
import json
import subprocess
import sys
from dataclasses import asdict

import matplotlib
import numpy as np
import pytest

from numpygpt.files import sealed_line
from numpygpt.training import (PIECES, Step, cut_log, moving_mean, outline, plot_log, read_log,
                               record)

matplotlib.use("agg")


def steps(n, every=0, seed=0):
    "Steps with noise, one spike of loss and one of the norm, and a validation each `every`"
    rng = np.random.default_rng(seed)
    loss, norm = rng.uniform(1, 3, n), rng.uniform(0.1, 1, n)
    loss[n // 3], norm[n // 2], loss[n // 5] = 12.5, 100.25, 1e-7
    return [Step(i + 1, float(loss[i]), 1e-3 / (i + 1), float(norm[i]), 1e4 + i,
                 0.5 + i if every and (i + 1) % every == 0 else None) for i in range(n)]


def write(path, log):
    "As `record` does it, at once"
    path.write_bytes(b"".join(sealed_line(vars(s)) for s in log))


def test_lines_are_those_of_record(tmp_path):
    write(tmp_path / "a", log := steps(20, every=3))
    assert list(record(log, tmp_path / "b")) == log == read_log(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("n", [1, 7, 499, 500, 501, 20_000])
def test_a_picture_keeps_spikes_and_validations(tmp_path, n):
    log, path = steps(n, every=37), tmp_path / "log.jsonl"
    write(path, log)
    kept, ends, means = outline(path)
    assert [s.index for s in kept] == sorted({s.index for s in kept}) and set(kept) <= set(log)
    assert {log[0], log[-1]} | {s for s in log if s.val_loss is not None} <= set(kept)
    for f in (min, max):
        assert f(log, key=lambda s: s.loss) in kept and f(log, key=lambda s: s.grad_norm) in kept
    assert len(kept) <= 6 * (PIECES + 1) + n // 37 and len(ends) == len(means) <= PIECES + 1
    assert ends[-1] == n and ends == sorted(set(ends))
    for end, start, mean in zip(ends, [0, *ends], means):
        assert abs(mean - np.mean([s.loss for s in log[start:end]])) < 1e-12
    if n <= 40: assert kept == log


def test_only_what_is_kept_is_parsed(tmp_path, monkeypatch):
    write(tmp_path / "log", steps(5000))
    parsed, loads = [], json.loads
    note = lambda line, **how: parsed.append(line) or loads(line, **how)
    monkeypatch.setattr(json, "loads", note)
    assert len(outline(tmp_path / "log")[0]) == len(parsed) < 3500


def test_a_log_by_other_hands_and_one_that_grows(tmp_path):
    path, log = tmp_path / "log.jsonl", steps(900)
    lines = [json.dumps(asdict(s), sort_keys=True) for s in log]        # another order of the names
    path.write_text("\n".join(lines) + '\n{"index": 901, "lo')
    kept, ends, _ = outline(path)
    assert set(kept) <= set(log) and ends[-1] == 900 and len(read_log(path)) == 900
    path.write_text(lines[0][:30])
    assert outline(path)[0] == read_log(path) == []
    with pytest.raises(ValueError, match="no steps yet"): plot_log(path)
    with pytest.raises(ValueError, match="no steps yet"): plot_log([])


def curves(figure):
    figure.canvas.draw()
    drawn = [line.get_xydata() for ax in figure.axes for line in ax.lines]
    matplotlib.pyplot.close(figure)
    return drawn


def test_a_short_log_is_drawn_whole_from_a_file_and_from_a_list(tmp_path):
    path, log = tmp_path / "log.jsonl", steps(100, every=9)
    write(path, log)
    of_file, of_list = curves(plot_log(path, floor=0.5)), curves(plot_log(log, floor=0.5))
    assert len(of_file) == len(of_list) == 7                 # four, smoothed, validation, floor
    for a, b in zip(of_file, of_list): assert np.array_equal(a, b)
    for name in ("loss", "lr", "grad_norm", "tokens_per_s"):
        values = [getattr(s, name) for s in log]
        assert any(len(c) == 100 and (c[:, 1] == values).all() for c in of_list), name


@pytest.mark.parametrize("width", [1, 2, 7])
def test_the_moving_mean_is_a_mean(width):
    values = np.random.default_rng(1).normal(size=40)
    padded = [values[0]] * (width - 1) + list(values)
    expected = [np.mean(padded[i:i + width]) for i in range(40)]
    np.testing.assert_allclose(moving_mean(values, width), expected, rtol=0, atol=1e-12)


def test_a_long_log_needs_little_memory(tmp_path):
    "Of a hundred thousand lines nothing is kept; at most a fifth of the file's own 14 MB"
    path = tmp_path / "log.jsonl"
    write(path, steps(100_000, every=1000))
    code = ("import sys, tracemalloc; from numpygpt.training import outline\n"
            "tracemalloc.start(); outline(sys.argv[1]); print(tracemalloc.get_traced_memory()[1])")
    command = sys.executable, "-c", code, path
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < path.stat().st_size / 5


def test_cutting_keeps_lines_as_they_are(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, steps(30, every=7))
    before = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join(before) + b'{"index": 31, "lo')
    cut_log(path, 30)
    assert path.read_bytes().splitlines(True) == before
    cut_log(path, 12)
    assert path.read_bytes().splitlines(True) == before[:12]
    cut_log(path, 0)
    assert path.read_bytes() == b"" and list(tmp_path.iterdir()) == [path]
