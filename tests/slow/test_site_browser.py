"Every page of the site in a real browser: three widths, light and dark"
import functools
import http.server
import re
import subprocess
import sys
import threading
from html import unescape

import pytest
from fontTools.ttLib import TTFont

pytest.importorskip("playwright", reason="no Playwright: pages were not tried in a browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: not tried")
from test_browser import ROOT, browser, shot  # noqa: F401  the first is a fixture

DOCS = ROOT / "_docs"
WIDTHS, SCHEMES = (390, 768, 1280), ("light", "dark")
MOST = 2_000_000                       # bytes of a page and of all that it loads
SEEN = r"""() => {
  const main = document.querySelector("[role=main]")
  const all = selector => [...main.querySelectorAll(selector)]
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id)
  const named = images => images.map(i => (i.alt || i.src).slice(0, 60))
  return {ids, links: [...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href")),
    levels: all("h1, h2, h3, h4, h5, h6").map(h => +h.tagName[1]),
    bytes: performance.getEntries().reduce((n, e) => n + (e.decodedBodySize || 0), 0),
    paint: performance.getEntriesByName("first-contentful-paint").map(e => e.startTime)[0],
    faults: {"without a text": named([...document.images].filter(i => !i.alt)),
      "not loaded": named([...document.images].filter(i => !i.naturalWidth)),
      "the same id twice": ids.filter((x, i) => ids.indexOf(x) != i),
      "a formula as text": all("p, li, td").map(e => e.innerText).filter(
        text => /\$[^$]*\\[a-z]+[^$]*\$/.test(text))}}}"""
FAINT = r"""() => {
  const rgb = text => text.match(/[\d.]+/g).map(Number)
  const light = c => c.slice(0, 3).map(v => v / 255).map(
    v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce(
    (sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
  const known = new Map(), ground = e => {
    if (!e) return [255, 255, 255]
    if (!known.has(e)) {
      const c = rgb(getComputedStyle(e).backgroundColor), a = c.length < 4 ? 1 : c[3]
      const below = a < 1 ? ground(e.parentElement) : c
      known.set(e, [0, 1, 2].map(i => a * c[i] + (1 - a) * below[i])) }
    return known.get(e) }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pairs = new Map()
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim()
    if (!text || !e.checkVisibility({visibilityProperty: true})) continue
    const color = getComputedStyle(e).color, pair = color + ground(e)
    if (pairs.has(pair)) continue
    const [a, b] = [light(rgb(color)), light(ground(e))].sort((x, y) => y - x)
    const where = `${pair} ${e.tagName} ${e.className}: ${text.slice(0, 30)}`
    pairs.set(pair, [(a + .05) / (b + .05), where]) }
  return [...pairs.values()].filter(pair => pair[0] < 4.5) }"""
RULES = ("aria-allowed-attr aria-roles aria-valid-attr-value button-name bypass document-title "
         "html-has-lang image-alt label link-name list listitem skip-link tabindex valid-lang "
         "summary-name").split()


@pytest.fixture(scope="module")
def site():
    "The site, served on loopback"
    built = subprocess.run([sys.executable, ROOT / ".ci" / "build_docs.py"], cwd=ROOT,
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=DOCS)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def look(browser, site, name):
    "What is on a page, with its faults"
    page, faults = browser.new_page(), []
    page.on("pageerror", lambda e: faults.append(f"error: {e}"))
    page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
    page.on("request", lambda r: r.url.startswith((site, "data:")) or faults.append(r.url))
    page.goto(f"{site}/{name}")
    seen = page.evaluate(SEEN)
    faults += [f"{what}: {found}" for what, found in seen["faults"].items() if found]
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        faults += [f"{scheme}, contrast {c:.2f}: {what}" for c, what in page.evaluate(FAINT)]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wider > 0: faults.append(f"{wider} px wider than {width}")
            shot(page, f"{name[:-5]}_{width}_{scheme}")
    found = axe.Axe().run(page, options={"runOnly": {"type": "rule", "values": RULES}}).response
    faults += [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found["violations"]]
    levels = seen["levels"]
    if levels[:1] != [1] or any(b > a + 1 or b == 1 for a, b in zip(levels, levels[1:])):
        faults.append(f"headings {levels}")
    if seen["bytes"] > MOST: faults.append(f"{seen['bytes']:,} bytes")
    page.close()
    return seen, faults


def test_no_page_has_a_fault(browser, site):
    """No sideways scroll, error, request elsewhere, faint text, picture without a text or heading
    out of order; each link and its anchor arrive"""
    chapters = sorted((ROOT / "nbs").glob("*.ipynb"))
    pages = [re.sub(r"^\d\d_", "", path.stem) + ".html" for path in chapters]
    assert {*pages} <= {p.name for p in DOCS.glob("*.html")}
    looks = {name: look(browser, site, name) for name in pages}
    for name, (seen, faults) in looks.items():
        for link in {x for x in seen["links"] if not x.startswith(("http", "mailto"))}:
            target, _, anchor = link.partition("#")
            there = looks.get(target or name)
            if not (DOCS / target).exists(): faults.append(f"no {target}")
            elif there and anchor and anchor not in there[0]["ids"]: faults.append(f"no {link}")
    found = [f"{name}: {fault}" for name, (_, faults) in looks.items() for fault in faults]
    assert not found, "\n".join(found)
    largest, slowest = (max(seen[k] or 0 for seen, _ in looks.values()) for k in ("bytes", "paint"))
    print(f"{len(pages)} pages, {len(WIDTHS)} widths, {len(SCHEMES)} themes; the largest takes "
          f"{largest / 1e6:.2f} MB, the slowest painted after {slowest:.0f} ms")


def test_the_font_has_every_sign_of_the_formulas(site):
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.html"))
    seen = re.sub(r"(?s)<annotation.*?</annotation>", "", "".join(
        re.findall(r"(?s)<math.*?</math>", pages)))
    signs = set(unescape(re.sub(r"<[^>]*>", "", seen)))
    missing = {s for s in signs if not s.isspace()}.difference(
        map(chr, TTFont(ROOT / "nbs" / "math.woff").getBestCmap()))
    assert len(signs) > 100 and not missing


def test_the_first_tab_stop_leads_past_the_sidebar(browser, site):
    page = browser.new_page()
    page.goto(f"{site}/attention.html")
    page.keyboard.press("Tab")
    assert "skip-to-content" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Enter")
    assert page.url.endswith("#furo-main-content")
    page.close()


@pytest.mark.parametrize("question, answer", [
    ("RoPE backward", "rope"), ("RMSNorm", "layernorm"), ("grouped query", "attention"),
    ("Flat", "module"), ("resume", "checkpoint")])
def test_search_finds_it(browser, site, question, answer):
    page = browser.new_page()
    page.goto(f"{site}/search.html?q={question.replace(' ', '+')}")
    page.locator("#search-results ul.search li").first.wait_for(timeout=20_000)
    page.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    found = page.locator("#search-results ul.search a").evaluate_all(
        "links => links.map(a => a.getAttribute('href').split(/[?#]/)[0])")
    assert f"{answer}.html" in [*dict.fromkeys(found)][:10], found[:20]
    page.close()


def test_a_page_can_be_read_where_no_script_runs(browser, site):
    page = browser.new_page()
    page.route("**/*.js*", lambda route: route.abort())
    page.goto(f"{site}/layernorm.html")
    formula = page.locator("math[display=block]").first
    assert formula.bounding_box()["height"] > 20 and not page.locator("merror").count()
    page.locator("summary", has_text="Answer").first.click()
    assert page.get_by_text("A shift of the whole row changes nothing").is_visible()
    page.close()


def test_a_picture_moves_on_the_site(browser, site):
    "By key, by mouse and by itself; each slider says its value"
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(f"{site}/explore.html")
    figure = page.locator("figure.explore").first
    says, slider = figure.locator("figcaption"), figure.locator("input")
    assert says.inner_text().startswith("Learning rate 0.7")
    slider.focus()
    page.keyboard.press("End")
    assert "It climbs out" in says.inner_text() and slider.get_attribute("aria-valuetext") == "1.05"
    slider.click(position={"x": 2, "y": slider.bounding_box()["height"] / 2})
    assert "It creeps down" in says.inner_text()
    assert figure.locator("img").get_attribute("alt") == says.inner_text()
    figure.locator("button").click()
    page.get_by_text("Learning rate 0.2:").wait_for(timeout=10_000)
    assert not errors
    page.close()


def test_every_picture_moves_by_key_and_by_mouse(browser, site):
    "On every page: each slider goes to its ends, and with it the picture, its text, the sentence"
    page, errors, moved = browser.new_page(), [], 0
    page.on("pageerror", lambda e: errors.append(str(e)))
    for path in sorted(DOCS.glob("*.html")):
        if 'class="explore"' not in path.read_text(encoding="utf-8"): continue
        page.goto(f"{site}/{path.name}")
        for figure in page.locator("figure.explore").all():
            image, says = figure.locator("img"), figure.locator("figcaption")
            for slider in figure.locator("input").all():
                seen = []
                for act in (lambda: slider.press("Home"), lambda: slider.press("End"),
                            lambda: slider.click(position={"x": 2, "y": 8})):
                    act()
                    seen.append((image.get_attribute("src"), says.inner_text()))
                    assert image.get_attribute("alt").split() == says.inner_text().split()
                assert seen[0] == seen[2] != seen[1], f"{path.name}: {seen[0][1]}"
                moved += 1
    assert moved >= 18 and not errors
    print(f"{moved} sliders moved by key and by mouse")
    page.close()
