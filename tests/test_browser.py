"""The report in a real browser: no errors, links that lead somewhere, nothing wider than the screen."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nephrospot.report.page import write_report
from report_inputs import make_inputs

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; apt-get install chromium")
# Another page to look at, such as the demonstration's results/report.html.
PAGE = os.environ.get("NEPHROSPOT_REPORT")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--allow-file-access-from-files"]  # fmt: skip
WATCH = """<script>
window.errors = [];
addEventListener("error", (event) => errors.push(String(event.message || event.target.src || event.target.href)), true);
for (const kind of ["error", "warn"]) console[kind] = (...told) => errors.push(told.join(" "));
</script>"""
# A frame has the width of a telephone; a window of a headless browser can't be that narrow.
TELL = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
  const wide = [...document.querySelectorAll("body *")].filter((part) =>
    part.getBoundingClientRect().right > innerWidth + 1 && !part.closest(".wide, nav, pre, svg"));
  const first = document.querySelector("table.sortable th");
  first.click();
  const saved = [];
  HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
  document.querySelector("button.save").click();
  parent.postMessage({
    errors, saved, width: innerWidth, page: document.documentElement.scrollWidth,
    sorted: first.getAttribute("aria-sort"),
    wide: wide.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)),
    lost: [...document.querySelectorAll('a[href^="#"]')].map((link) => link.getAttribute("href").slice(1))
      .filter((id) => !document.getElementById(id)),
    blank: [...document.images].filter((image) => !image.naturalWidth).length,
  }, "*");
});
</script>"""
FRAME = """<!doctype html><iframe src="page.html" width="{width}" height="900"></iframe><pre id="told"></pre><script>
addEventListener("message", (event) => {{ document.getElementById("told").textContent = JSON.stringify(event.data); }});
</script>"""


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    if PAGE:
        return Path(PAGE)
    folder = tmp_path_factory.mktemp("browser")
    write_report(folder / "report.html", **make_inputs(root, folder))
    return folder / "report.html"


def ask_browser(page, width, folder):
    """What the page says of itself in a frame of a width."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{TELL}</body>")
    (folder / "page.html").write_text(text, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1500,1000",
               "--virtual-time-budget=8000", "--dump-dom", (folder / "frame.html").as_uri()]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    told = re.search(r'<pre id="told">(.*?)</pre>', shown, re.DOTALL)[1]
    assert told, "the page never finished loading"
    return json.loads(html.unescape(told))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_loads_whole_and_fits(page, width, tmp_path):
    told = ask_browser(page, width, tmp_path)
    assert told["width"] in range(width - 20, width + 1), "the frame has the width that was asked for"
    assert told["errors"] == [] and told["lost"] == [] and told["blank"] == 0
    assert told["page"] <= told["width"] and told["wide"] == [], "only tables and charts scroll, in boxes of their own"
    assert told["sorted"] == "ascending", "a click on a heading sorts"
    assert told["saved"] and told["saved"][0].endswith(".tsv"), "a table can be saved"


def test_a_broken_page_is_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8")
    text = text.replace(
        "</main>", '<p style="width:3000px">far</p><a href="#nowhere">x</a><script>boom()</script></main>'
    )
    broken.write_text(text, encoding="utf-8")
    told = ask_browser(broken, 390, tmp_path)
    assert any("boom" in sentence for sentence in told["errors"])
    assert told["lost"] == ["nowhere"] and told["wide"] and told["page"] > 390
