"""Checks what is to be released.

    check_dist.py FOLDER                     each archive in it, alone in a clean environment
    check_dist.py --tag v1.2.3 --notes FILE  tag, version and changelog agree; writes the notes"""
import os
import re
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import sys, numpygpt
from pathlib import Path
from numpygpt.course import chapters, stored
assert Path(sys.prefix) in Path(numpygpt.__file__).parents, numpygpt.__file__
assert numpygpt.__version__ == sys.argv[1], numpygpt.__version__
assert len(chapters()) > 40 and stored("gpt.npz").is_file()
assert "torch" not in sys.modules and "nbdev" not in sys.modules
"""
COMMANDS = ("info", "train --preset tiny --steps 20 --out run", "sample run --tokens 20",
            "check", "notebooks chapters")


def version():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]["version"]


def check(archive):
    "Install one archive with nothing else, and use it from another folder"
    with tempfile.TemporaryDirectory() as folder:
        run = lambda *command: subprocess.run(command, cwd=folder, check=True)
        run(sys.executable, "-m", "venv", "clean")
        python = Path(folder, "clean", "Scripts" if os.name == "nt" else "bin", "python")
        run(python, "-m", "pip", "install", "--quiet", archive.resolve())
        run(python, "-c", CODE, version())
        for command in COMMANDS: run(python, "-m", "numpygpt", *command.split())
    print(f"{archive.name} works alone")


def notes(tag):
    "What the changelog says of the version of this tag"
    if tag != f"v{version()}": sys.exit(f"the tag is {tag}, and settings.ini has {version()}")
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version())}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if not found: sys.exit(f"CHANGELOG.md has no section {version()}: write what is new there")
    return found[1].strip() + "\n"


def main(args):
    if args[:1] == ["--tag"]: Path(args[3]).write_text(notes(args[1]), encoding="utf-8")
    else:
        archives = [p for p in sorted(Path(args[0]).iterdir()) if p.name.endswith((".whl", ".gz"))]
        assert len(archives) == 2, f"a wheel and a source archive are needed, got {archives}"
        for archive in archives: check(archive)


if __name__ == "__main__": main(sys.argv[1:])
