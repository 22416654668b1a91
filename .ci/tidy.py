"""Makes notebooks fit to keep: without the views of widgets, which live as long as one kernel, and
without what nbdev takes out. Names of notebooks, or none for all."""
import json
import subprocess
import sys
from pathlib import Path

from numpygpt.course import as_text
from numpygpt.explore import without_views

ROOT = Path(__file__).resolve().parents[1]

for path in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "nbs").glob("*.ipynb")):
    old = path.read_text(encoding="utf-8")
    new = as_text(without_views(json.loads(old)))
    if new != old: path.write_text(new, encoding="utf-8")
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", path], check=True)
