"Chapters in JupyterLab, in a real browser"
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: chapters and pages were not tried in a browser")
NAMES = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
if not CHROMIUM:
    pytest.skip("no Chromium: chapters and pages were not tried in a browser",
                allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--no-sandbox --disable-gpu --disable-quic --no-first-run "
         "--disable-background-networking --disable-component-update --disable-sync").split()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as p:
        context = p.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, headless=True,
            args=FLAGS, viewport={"width": 1400, "height": 1000})
        local = ("http://127.0.0.1", "data:", "blob:")
        ours = lambda r: r.request.url.startswith(local)
        context.route("**/*", lambda r: r.continue_() if ours(r) else r.abort())
        yield context
        context.close()


class Lab(str):
    "The address of a JupyterLab; `lab / name` is a path in the folder that it shows"
    def __new__(cls, address, folder):
        self = super().__new__(cls, address)
        self.folder = folder
        return self
    def __truediv__(self, name): return self.folder / name


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab on a copy of the chapters; its address"
    port, folder = free_port(), tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", folder / "nbs", symlinks=True)
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
               "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR")
    env = {**os.environ, **{name: str(tmp_path_factory.mktemp("jupyter")) for name in folders}}
    quiet = '{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}'
    whole = '{"windowingMode": "none"}'       # cells that are not in sight are on the page, too
    for name, text in {"apputils-extension/notification": quiet,
                       "notebook-extension/tracker": whole}.items():
        path = Path(env["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", f"{name}.jupyterlab-settings")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
               "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
               "--IdentityProvider.token=t", f"--ServerApp.root_dir={folder / 'nbs'}",
               "--LabApp.extension_manager=readonly"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=env)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try: urllib.request.urlopen(f"{address}/api/status?token=t", timeout=2); break
        except OSError: time.sleep(0.3)
    yield Lab(address, folder)
    process.terminate()
    process.wait(20)


def run_all(page, status):
    page.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    quiet_since = time.time()
    while time.time() - quiet_since < 3:      # between two cells the kernel is idle for a moment
        page.wait_for_timeout(200)
        if not status.get_by_text("| Idle").count(): quiet_since = time.time()


def shot(page, name):
    if shots := os.environ.get("NUMPYGPT_SCREENSHOTS"): page.screenshot(path=f"{shots}/{name}.png")


@pytest.mark.parametrize("chapter", ["index", "03_linear", "07_layernorm"])
def test_a_chapter_runs_in_jupyterlab(browser, lab, chapter):
    page = browser.new_page()
    page.goto(f"{lab}/lab/tree/{chapter}.ipynb?token=t&reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90_000)
    status = page.locator("#jp-main-statusbar")
    status.get_by_text("| Idle").wait_for(timeout=90_000)
    run_all(page, status)
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    nb = json.loads((lab / "nbs" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    cells = [c for c in nb["cells"] if c["cell_type"] == "code"]
    assert all(c["execution_count"] for c in cells), "every cell must have run"
    assert not [o for c in cells for o in c["outputs"] if o["output_type"] == "error"]
    page.locator(".jp-Notebook .jp-Cell").first.scroll_into_view_if_needed()
    shot(page, f"lab_{chapter}")
    page.close()


def test_a_picture_moves_in_jupyterlab_and_stands_still_where_it_is_not_trusted(browser, lab):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(f"{lab}/lab/tree/explore.ipynb?token=t&reset")
    stored = page.locator("figure.explore").first
    stored.wait_for(timeout=90_000, state="attached")
    stored.scroll_into_view_if_needed()
    assert stored.locator("img").evaluate("image => image.naturalWidth") > 300
    assert stored.locator("figcaption").text_content().startswith("Learning rate 0.7")
    assert not stored.locator("input, script").count()
    shot(page, "explore_stored")
    status = page.locator("#jp-main-statusbar")
    status.get_by_text("| Idle").wait_for(timeout=90_000)
    run_all(page, status)
    panel = page.locator(".widget-vbox").first
    panel.scroll_into_view_if_needed()
    says, knob = panel.locator("figcaption"), panel.locator(".noUi-handle")
    assert says.text_content().startswith("Learning rate 0.7")
    knob.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Learning rate 0.8:").wait_for(timeout=20_000)
    place = panel.locator(".noUi-base").bounding_box()
    page.mouse.click(place["x"] + place["width"] - 2, place["y"] + place["height"] / 2)
    page.get_by_text("It climbs out").wait_for(timeout=20_000)
    shot(page, "explore_live")
    assert not errors
    page.close()
