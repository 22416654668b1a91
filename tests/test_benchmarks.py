"""The benchmark code runs: every case at the size of a toy, and the command from end to end.
No clock is asserted"""
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fake_device import Device
from numpygpt.backend import using
from numpygpt.transformer import GPT

OPTIONS = SimpleNamespace(threads=1, side="ours", backend="numpy")


@pytest.fixture(scope="module")
def modules(script):
    "The files of benchmarks/, with toy shapes"
    names = "cases", "machine", "ours", "run", "sides"
    found = SimpleNamespace(**{name: script(name) for name in names})
    found.cases.shrink()
    return found


@pytest.fixture
def command(modules, tmp_path, monkeypatch):
    """The command with toy shapes on one thread, where importing PyTorch fails;
    returns what it wrote"""
    (tmp_path / "torch.py").write_text("raise ImportError('not in this test')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    def run(*only):
        modules.run.main(["--tiny", "--threads", "1", "--out", str(tmp_path / "out.json"),
                          "--only", *only])
        return json.loads((tmp_path / "out.json").read_text())
    return run


def cases_of(m):
    "Every case that a full run would ask `ours` for"
    for section, name, _ in m.run.comparisons(OPTIONS):
        if section == "rows": yield name.replace("memory", "step")
        elif section == "score": yield f"attend {m.cases.SCORES[name]}"
        else: yield m.cases.SETTINGS[name].case if section == "settings" else f"step {name}"


def test_every_case_does_its_work(modules, monkeypatch):
    "Once each, in this process"
    monkeypatch.setattr(modules.cases, "SQUARE", 16)
    for case in [*dict.fromkeys(cases_of(modules)), "square"]:
        kind, _, name = case.partition(" ")
        once = getattr(modules.ours, kind)(name, OPTIONS)
        once.ready()
        once()
        assert once.facts, case


def test_training_loses(modules):
    "The step that is timed is a real one: on one batch its loss falls"
    once = modules.ours.step("nano", OPTIONS)
    first, *_, last = [once() for _ in range(30)]
    assert first == pytest.approx(math.log(65), rel=0.1) and last < first - 0.2


def test_settings_are_those_that_are_cited(modules):
    """Every cited system has an address, every setting a bound that its cited figures miss,
    and the Shakespeare shape is the preset's"""
    fresh = dict.fromkeys(system for s in modules.cases.SETTINGS.values() for system in s.cited)
    assert set(fresh) == set(modules.cases.SYSTEMS)
    for name, s in modules.cases.SETTINGS.items():
        for low, high in s.cited.values():
            missed = high < s.bound if s.unit == modules.cases.RATE else low > s.bound
            assert low <= high and (missed or name == "BPE to 512"), name
    rows = {name for section, name, _ in modules.run.comparisons(OPTIONS) if section == "rows"}
    assert set(modules.cases.RATIOS) | set(modules.cases.SECONDS) <= rows


def test_from_end_to_end(command, capsys):
    """Rows, a setting and the scaling are measured, kept in the file, and printed;
    a side that is missing says why"""
    found = command("bpe 512", "memory nano", "numpygrad", "scaling", "score")
    printed = capsys.readouterr().out
    assert set(found["rows"]) == {"bpe 512", "memory nano"}
    assert set(found["settings"]) == {"training, as numpygrad"}
    assert "met" in found["settings"]["training, as numpygrad"] and found["machine"]["threads"] == 1
    for name in (*found["rows"], *found["settings"], *found["scaling"]):
        assert name in printed, name
    for row in found["scaling"].values():
        assert "predicted" in row and "not in this test" in row["note"]
    assert "residual" in found["linear in batch"]
    again = command("mnist")
    assert set(again["rows"]) == {"bpe 512", "memory nano", "mnist"}
    assert again["settings"] == found["settings"]


def test_bounds_and_ratios(modules):
    "Medians and ratios of each round, and whether the bound is met"
    row = modules.run.compared({"ours": [1.0, 3.0, 2.0], "theirs": [2.0, 3.0, 1.0],
                                "ours tf32": [1.0, 1.0, 1.0], "theirs tf32": [2.0, 4.0, 5.0]})
    assert (row["ours"], row["theirs"]) == (2.0, 2.0)
    assert (row["ratio theirs"], row["ratio theirs tf32"]) == (1.0, 0.25)
    missed = {"ratio theirs": 1.01, "bound": 0.7, "of": "ratio theirs", "met": False}
    assert modules.run.bounded("generation", {"ratio theirs": 1.01}) == missed
    assert modules.run.bounded("bpe 1000", {"ours": 1.2})["met"]
    assert "met" not in modules.run.bounded("bpe 512", {"ours": 1.2})
    row = {"ours": 2.0, "ours tf32": 1.0, "flops": 4e12}
    modules.run.rates(row, {"gflops": {"float32": 4e3, "tf32": 16e3}}, "2")
    assert (row["share ours"], row["share ours tf32"]) == (0.5, 0.25) and "roof" not in row


def test_prediction(modules):
    "What is linear is predicted exactly, and what is not is said to be off"
    names = dict.fromkeys(sum(modules.cases.SCALING.values(), []))
    points = {name: {"ours": 0.1 + 0.5 * int(name.split("x")[1]), "shared": 4.0, "tokens": 0.5,
                     "shared scores": 10, "scores": 40, "lanes": 1} for name in names}
    points["512x3"], points["1536x3"] = ({**points[next(iter(points))]} for _ in range(2))
    fit = modules.run.predict(points, {"whole": 0.1, "blocks": 0.2, "twice": 0.3}, 2)
    assert points[next(iter(names))]["predicted"] == pytest.approx(0.5 * (4 - 0.5) + 4)
    assert points["512x3"]["predicted"] == pytest.approx(0.5 * (4 - 0.5) + 8)
    assert points["1536x3"]["predicted"] == pytest.approx(0.5 * (4 - 0.5) + 12)
    assert (fit["fixed"], fit["each"], fit["residual"]) == pytest.approx((0.1, 0.5, 0))


def test_what_cannot_be_measured(modules, tmp_path, monkeypatch):
    """Without CuPy, and with toy shapes but no file of their own, a clear end,
    and nothing is written"""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match="needs CuPy"):
        modules.run.main(["--backend", "cupy", "--tiny", "--out", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit): modules.run.main(["--tiny"])
    assert not any(tmp_path.iterdir())


def test_our_side_of_a_gpu(modules, monkeypatch):
    """On a device that refuses to mix with the host, every case that is compared there runs;
    and the card's peak is the faster library's"""
    monkeypatch.setattr(modules.cases, "SQUARE", 16)
    gpu = SimpleNamespace(backend="cupy", threads=2)
    for case in [*(name for _, name, _ in modules.run.comparisons(gpu)), "square"]:
        kind, _, name = case.partition(" ")
        with using(Device()): getattr(modules.ours, kind)(name, gpu)()
    runtime = SimpleNamespace(getDeviceProperties=lambda i: {"name": b"a card"})
    cupy = SimpleNamespace(__version__="0", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    times = {"ours": [4.0, 2.0], "theirs": [1.0], "ours tf32": [0.5], "theirs tf32": [0.25]}
    card = modules.machine.card(times, {"flops": 4e9})
    assert card["processor"] == "a card" and card["gflops"] == {"float32": 4.0, "tf32": 16.0}


def test_both_sides_have_the_same_model(modules, script):
    "PyTorch's GPT has as many weights as ours, and its functions run"
    pytest.importorskip("torch")
    theirs = script("theirs")
    for name in modules.cases.STEPS:
        config, _ = modules.cases.shape(name)
        n_params = sum(p.numel() for p in theirs.GPT(config).parameters())
        assert n_params == GPT(config, np.random.default_rng(0)).n_params
    for case in ("step nano", "generation", "generation 8", "mnist"):
        kind, _, name = case.partition(" ")
        getattr(theirs, kind)(name, OPTIONS)()
