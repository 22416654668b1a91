"Files that lie are refused in one line, or read as what they are"
import warnings

import hostile


def test_files_that_lie(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NUMPYGPT_PROGRESS", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, megabytes = hostile.all_attacks(tmp_path / "all", 40, seed=1)
    faults = [(f.name, fault) for f in found for fault in f.faults]
    assert not faults, faults[:5]
    assert megabytes < 200
    assert all(f.counts["refused"] for f in found if f.name != "p/progress.json")
