"""The committed package is exactly what the notebooks export.

Catches hand edits, orphaned modules, and a module exported twice."""
import json
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[1]
lib = root / "numpygpt"
faults, exports = [], {}
for path in sorted((root / "nbs").glob("*.ipynb")):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if line.startswith("#| default_exp"):
                exports.setdefault(line.split()[-1], []).append(path.name)
            if line.startswith(("#| export ", "#| exporti ", "#| exports ")):
                faults.append(f"{path.name} appends to another module: {line}")
faults += [f"{module} is exported by {names}: the last would silently win"
           for module, names in exports.items() if len(names) > 1]
by_hand = {"__init__", "__main__", "_modidx"}
faults += [f"numpygpt/{p.name} belongs to no notebook"
           for p in lib.glob("*.py") if p.stem not in {*exports, *by_hand}]
before = {p.name: p.read_bytes() for p in lib.glob("*.py")}
subprocess.run([Path(sys.executable).parent / "nbdev_export"], cwd=root, check=True)
faults += [f"numpygpt/{p.name} differs from what its notebook exports: run nbdev_export"
           for p in lib.glob("*.py") if p.read_bytes() != before.get(p.name)]
print("\n".join(faults) or "the package is what the notebooks export")
sys.exit(bool(faults))
