"The file of progress, the recall that it schedules, and the map that it draws"
import contextlib
import json
import os
import subprocess
import sys
import threading
import types
from datetime import date, timedelta

import pytest

from numpygpt import learn, progress
from numpygpt.files import sealed, unsealed


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "deep" / "progress.json"))
    return progress.place()


def test_nothing_is_written_before_something_is_done(path):
    assert progress.state()["exercises"] == {} and not path.exists()
    assert progress.progress().solved[0] == 0


def test_an_exercise_stays_solved_and_the_first_prediction_counts():
    for ok in (False, True, False): progress.record("check", "LayerNorm.backward", ok=ok)
    for ok in (False, True): progress.record("predict", "07.1", ok=ok, choice="b")
    one = progress.state()["exercises"]["LayerNorm.backward"]
    assert one["tries"] == 3 and one["solved"] == date.today().isoformat()
    assert progress.state()["predictions"]["07.1"]["ok"] is False
    assert progress.progress().solved[0] == 1
    with pytest.raises(ValueError, match="not 'sang'"): progress.record("sang", "x")


def test_the_day_of_the_first_time_counts(monkeypatch):
    for day in (date(2030, 1, 1), date(2030, 1, 2)):
        monkeypatch.setattr(progress, "today", lambda day=day: day)
        progress.record("check", "x", ok=True)
        progress.record("solution", "x")
        progress.record("hint", "x", number=3 - day.day)
    one = progress.state()["exercises"]["x"]
    assert one["solved"] == one["solution"] == "2030-01-01" and one["hint"] == 2


def test_two_processes_at_once_lose_nothing():
    code = ("import sys; from numpygpt.progress import record\n"
            "for i in range(50): record('check', 'shared', ok=False); record('check', sys.argv[1])")
    both = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b")]
    assert [p.wait(60) for p in both] == [0, 0]
    found = progress.state()["exercises"]
    assert {n: e["tries"] for n, e in found.items()} == {"shared": 100, "a": 50, "b": 50}


def test_a_reader_sees_the_old_file_or_the_new_one(path):
    "It is another file, put in the place of the first in one step"
    progress.record("check", "x", ok=False)
    with open(path, encoding="utf-8") as old:
        progress.record("check", "x", ok=True)
        assert "solved" not in old.read() and "solved" in path.read_text()


def test_what_a_later_version_wrote_is_kept(path):
    progress.record("check", "x", ok=True)
    later = unsealed(path.read_text()) | {"version": 7, "more": [1]}
    later["exercises"]["x"]["mood"] = "good"
    path.write_text(sealed(later))
    progress.record("check", "x", ok=True)
    now = json.loads(path.read_text())
    assert now["version"] == 7 and now["more"] == [1] and now["exercises"]["x"]["mood"] == "good"


@pytest.mark.parametrize("text", ["{", "[]", "", '{"exercises": 3}', '{"recall": {"a": 1}}', "\0"])
def test_a_damaged_file_is_set_aside(path, text, capsys):
    path.parent.mkdir()
    path.write_text(text)
    progress.record("check", "x", ok=True)
    assert "kept as progress.damaged.json" in capsys.readouterr().out
    assert path.with_name("progress.damaged.json").read_text() == text
    assert progress.state()["exercises"]["x"]["tries"] == 1


def test_damage_is_looked_at_again_under_the_lock(path, monkeypatch, capsys):
    "Between the look and the lock another notebook may have begun a new file"
    path.parent.mkdir()
    path.write_text("{")
    locked = progress._locked
    @contextlib.contextmanager
    def waits(p):
        with locked(p):
            path.write_text(json.dumps({"version": 1, "exercises": {"theirs": {"tries": 1}}}))
            yield
    monkeypatch.setattr(progress, "_locked", waits)
    assert progress.state()["exercises"] == {"theirs": {"tries": 1}}
    assert not path.with_name("progress.damaged.json").exists() and capsys.readouterr().out == ""


def test_reading_damage_waits_for_the_lock(path):
    "Whoever holds it may be writing"
    path.parent.mkdir()
    path.write_text("{")
    found = []
    with progress._locked(path):
        reader = threading.Thread(target=lambda: found.append(progress.state()))
        reader.start()
        reader.join(0.3)
        assert reader.is_alive() and not found and path.read_text() == "{"
    reader.join(10)
    assert found[0]["exercises"] == {} and path.with_name("progress.damaged.json").exists()


def test_a_second_damaged_file_has_a_name_of_its_own(path):
    path.parent.mkdir()
    for text in "{", "[":
        path.write_text(text)
        progress.record("check", "x", ok=False)
    names = "progress.damaged.json", "progress.damaged1.json"
    assert [path.with_name(n).read_text() for n in names] == ["{", "["]


def test_the_lock_on_windows_is_of_one_byte(path, monkeypatch):
    calls = []
    fake = types.ModuleType("msvcrt")
    fake.LK_LOCK = 1
    fake.locking = lambda fd, mode, n: calls.append((os.lseek(fd, 0, os.SEEK_CUR), mode, n))
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(sys, "platform", "win32")
    progress.record("check", "x", ok=True)
    assert calls == [(0, fake.LK_LOCK, 1)]
    monkeypatch.undo()


def test_no_answer_is_kept(path):
    learn.check("LayerNorm.backward", lambda self, dy: "a secret of mine")
    learn.hint("LayerNorm.backward", 2)
    text = path.read_text()
    assert "secret" not in text and json.loads(text)["exercises"]["LayerNorm.backward"]["hint"] == 2


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "file" / "progress.json"))
    assert learn.check("LayerNorm.backward", lambda self, dy: dy).ok is False
    assert "progress is not kept" in capsys.readouterr().out


def test_questions_come_back_after_1_3_7_16_35_days(monkeypatch):
    day = date(2030, 1, 1)
    monkeypatch.setattr(progress, "today", lambda: day)
    assert len(learn.review()) == 0 and len(learn.review(everything=True)) >= 5
    progress.record("check", "LayerNorm.backward", ok=False)
    assert "07.r1" in progress.due() and "03.r1" not in progress.due()
    for wait in (1, 3, 7, 16, 35, 35):
        assert f"in {wait} day" in repr(learn.review("07.r1", "knew"))
        day += timedelta(wait - 1)
        assert "07.r1" not in progress.due()
        day += timedelta(1)
        assert "07.r1" in progress.due()
    assert "in 1 day." in repr(learn.review("07.r1", "forgot"))
    with pytest.raises(ValueError, match="knew"): learn.review("07.r1", "perhaps")
    with pytest.raises(ValueError, match="no recall question"): learn.review("zz", "knew")


def test_cards_are_a_question_an_answer_and_a_chapter(tmp_path):
    learn.review(everything=True, export=tmp_path / "anki.txt")
    lines = (tmp_path / "anki.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 5 and all(line.count("\t") == 2 for line in lines)


def test_the_map_is_a_table_and_a_text():
    progress.record("check", "LayerNorm.backward", ok=True)
    found = learn.progress()
    assert found._repr_html_().count("<caption") == 1 and "1 of" in repr(found)
    assert "Next: " in repr(found)


def test_reset_keeps_the_old_file(path):
    progress.record("check", "x", ok=True)
    learn.progress(reset=True)
    assert progress.state()["exercises"] == {}
    assert "x" in json.loads(path.with_name("progress.before.json").read_text())["exercises"]
