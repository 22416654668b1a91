"Thousands of files that lie: each is refused in one line, or read as what it is"
import warnings

import hostile


def test_thousands_of_files_that_lie(tmp_path, monkeypatch, capsys, figures):
    monkeypatch.setenv("NUMPYGPT_PROGRESS", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, megabytes = hostile.all_attacks(tmp_path / "all", 250, seed=2)
    faults = [(f.name, fault) for f in found for fault in f.faults]
    n = sum(f.counts.total() for f in found)
    figures |= {"files that lie": n, "kinds of them": len(found), "faults": len(faults),
                "MB more after all of them": round(megabytes)}
    assert not faults, faults[:5]
    assert n > 5000 and megabytes < 200
