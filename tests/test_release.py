"Workflows, citation and changelog agree with the settings and with each other"
import importlib.util
import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FLOWS = {p.stem: yaml.safe_load(p.read_text(encoding="utf-8"))
         for p in (ROOT / ".github" / "workflows").glob("*.yml")}
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def steps(): return [(name, job, step) for name, flow in FLOWS.items()
                     for job, body in flow["jobs"].items() for step in body["steps"]]


def checker():
    spec = importlib.util.spec_from_file_location("check_dist", ROOT / ".ci" / "check_dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_three_systems_and_five_pythons():
    matrix = FLOWS["test"]["jobs"]["systems"]["strategy"]["matrix"]
    assert matrix["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert matrix["python"][0] == settings()["min_python"]


def test_actions_are_pinned_and_rights_are_given_one_by_one():
    for _, _, step in steps():
        if "uses" in step: assert re.search(r"@(v\d+|release/v\d+)$", step["uses"]), step
    for name, flow in FLOWS.items():
        assert flow["permissions"] == {"contents": "read"}, name
    signing = [job for job, body in FLOWS["release"]["jobs"].items()
               if "id-token" in body.get("permissions", {})]
    assert signing == ["publish"]
    assert not any(step.get("with", {}).keys() & {"password", "user"} for _, _, step in steps())


def test_nothing_is_published_before_it_was_checked():
    jobs = FLOWS["release"]["jobs"]
    assert [jobs[j].get("needs") for j in ("build", "check", "publish", "announce")] == [
        None, "build", "check", "publish"]


def test_what_workflows_run_is_there():
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in (line for _, _, s in steps() for line in s.get("run", "").splitlines()):
        if target := re.search(r"\bmake (\w+)$", line): assert f"\n{target[1]}: " in made
        for path in re.findall(r"(?:bash|python) (\.ci/[\w./]+)", line):
            assert (ROOT / path).is_file(), path


def test_the_citation_is_of_this_version():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cff["version"]) == settings()["version"] and cff["license"] == "MIT"
    assert cff["repository-code"] == settings()["git_url"] and cff["authors"] and cff["message"]


def test_a_release_has_notes_and_a_tag_that_is_its_version():
    check, version = checker(), settings()["version"]
    notes = check.notes(f"v{version}")
    assert notes.startswith("### ") and "## " not in notes.replace("### ", "")
    with pytest.raises(SystemExit, match="the tag is v9.9.9, and settings.ini has"):
        check.notes("v9.9.9")


def test_a_release_without_notes_is_refused(monkeypatch):
    check = checker()
    monkeypatch.setattr(check, "version", lambda: "9.9.9")
    with pytest.raises(SystemExit, match="CHANGELOG.md has no section 9.9.9"): check.notes("v9.9.9")


def test_a_folder_without_both_archives_is_refused(tmp_path):
    (tmp_path / "one.whl").touch()
    with pytest.raises(AssertionError, match="a wheel and a source archive"):
        checker().main([str(tmp_path)])


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.stem)
def test_forms_ask_something_and_link_to_pages(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert all({"name", "url", "about"} == link.keys() for link in form["contact_links"])
    else:
        assert {"name", "description", "body"} <= form.keys()
        assert {e["type"] for e in form["body"]} <= {"textarea", "input", "dropdown", "checkboxes"}
        ids = [e["id"] for e in form["body"]]
        assert len(ids) == len(set(ids)) and all(e["attributes"]["label"] for e in form["body"])
    site = settings()["doc_host"] + settings()["doc_baseurl"]
    for page in re.findall(re.escape(site) + r"/(\w+)\.html", path.read_text(encoding="utf-8")):
        assert (ROOT / "nbs" / f"{page}.ipynb").is_file()
