"JupyterLab as `make lab` opens it: a chapter's contents beside it, its imports collapsed"
import os
import re
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("playwright", reason="no Playwright: JupyterLab was not tried in a browser")
from test_browser import ROOT, browser, free_port, shot  # noqa: F401  the second is a fixture


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "A JupyterLab on the chapters with the workspace of `make lab`; its address"
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
               "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR")
    env = {**os.environ, **{name: str(tmp_path_factory.mktemp("jupyter")) for name in folders}}
    jupyter = [sys.executable, "-m", "jupyter", "lab"]
    subprocess.run([*jupyter, "workspaces", "import", ROOT / ".ci" / "lab.json"], env=env,
                   check=True, capture_output=True)
    port = free_port()
    process = subprocess.Popen(
        [*jupyter, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
         f"--ServerApp.port={port}", "--IdentityProvider.token=t", f"--ServerApp.root_dir={ROOT}",
         "--LabApp.extension_manager=readonly"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try: urllib.request.urlopen(f"{address}/api/status?token=t", timeout=2); break
        except OSError: time.sleep(0.3)
    yield address
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("stem, heading", [("index", "The tour"), ("07_layernorm", "API")])
def test_contents_stand_beside_a_chapter(browser, lab, stem, heading):
    page = browser.new_page()
    page.goto(f"{lab}/lab/tree/nbs/{stem}.ipynb?token=t")
    contents = page.locator("#table-of-contents")
    contents.get_by_text(heading, exact=True).wait_for(timeout=90_000)
    assert contents.is_visible() and contents.bounding_box()["width"] > 150
    page.locator(".jp-Notebook .jp-InputPlaceholder:visible").first.wait_for(timeout=90_000)
    shot(page, f"lab_contents_{stem}")
    page.close()


def test_make_opens_it_so():
    "The target uses this workspace, in a folder of the environment, and opens the index"
    said = subprocess.run(["make", "--no-print-directory", "-n", "lab"], cwd=ROOT,
                          capture_output=True, text=True).stdout
    place = re.search(r"JUPYTERLAB_WORKSPACES_DIR=(\S+)", said)[1]
    assert place.startswith(str(ROOT / ".venv")) and said.rstrip().endswith("lab nbs/index.ipynb")
