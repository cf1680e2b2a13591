#!/usr/bin/env python3
"""Tries a report page by WebDriver: browse.py PORT PAGE BROWSER PROFILE. Says what it found, and fails by name."""
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

PORT, PAGE, BINARY, PROFILE = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
# What a page of 10,000 rows may take to stand, milliseconds, of the browser's own clock; a loaded machine gets more.
STANDS_MS = float(os.environ.get("SQUALL_PAGE_MS", "1000"))


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{PAGE.name}: {method} {path}: {error.read().decode()[:500]}")


def check(holds, what):
    if not holds:
        sys.exit(f"{PAGE.name}: {what}")


class Browser:
    def __init__(self):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900", f"--user-data-dir={PROFILE}"]
        options = {"binary": BINARY, "args": flags}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.path = "/session/" + call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, url):
        call("POST", self.path + "/url", {"url": url})

    def run(self, script, *arguments):
        return call("POST", self.path + "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, what):
        """Asks again until it holds, for ten seconds."""
        wanted = "const done = arguments[arguments.length - 1]; const began = performance.now(); const ask = () => {" \
            f"if ({script}) done(true); else if (performance.now() - began > 10000) done(false); else requestAnimationFrame(ask); }}; ask();"
        check(call("POST", self.path + "/execute/async", {"script": wanted, "args": []}), what)

    def log(self, kind):
        return call("POST", self.path + "/se/log", {"type": kind})

    def point_at(self, x, y):
        move = {"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)}
        call("POST", self.path + "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]}]})

    def close(self):
        call("DELETE", self.path)


def requests(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # The browser's own first page is not ours.
    return [url for url in urls if not url.startswith(("data:", "blob:", "chrome:"))]


def hover(browser):
    """Points at marks of the first figure in sight until the page answers."""
    browser.run("document.querySelector('figure:not([hidden]) .chart').scrollIntoView({block: 'center'})")
    browser.wait("document.querySelector('figure:not([hidden]) .u-over')", "no figure was drawn")
    box = browser.run("const box = document.querySelector('figure:not([hidden]) .u-over').getBoundingClientRect(); return [box.left, box.top, box.width, box.height]")
    for down in range(1, 12):
        for right in range(1, 24):
            browser.point_at(box[0] + box[2] * right / 24, box[1] + box[3] * down / 12)
            text = browser.run("const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent")
            if text:
                return text
    sys.exit(f"{PAGE.name}: no figure answers to the pointer")


def main():
    browser = Browser()
    try:
        browser.open(PAGE.as_uri())
        browser.wait("document.readyState === 'complete' && document.querySelector('#points tbody tr')", "no table of points")
        times = browser.run("const t = performance.getEntriesByType('navigation')[0]; return [t.domComplete, t.transferSize]")
        points = browser.run("return JSON.parse(document.getElementById('data').textContent).points.length")
        size = PAGE.stat().st_size
        check(size < 1_000_000, f"{size} bytes, more than a megabyte")
        check(times[0] < STANDS_MS, f"it stands after {times[0]:.0f} ms, later than {STANDS_MS:.0f}")
        said = hover(browser)
        check(":" in said, f"the answer to the pointer is {said!r}")
        # A filter takes points away, and gives them back.
        counted = "Number(document.querySelector('#points p').textContent.match(/of (\\d+)/)[1])"
        before = browser.run(f"return {counted}")
        check(before == points, f"{before} points in the table, {points} in the data")
        browser.run("document.querySelector('#filters input').click()")
        during = browser.run(f"return {counted}")
        browser.run("document.querySelector('#filters input').click()")
        check(0 < during < before == browser.run(f"return {counted}"), f"a filter left {during} of {before} points")
        # A click on a heading sorts by it, another the other way.
        ends = []
        for _ in range(2):
            browser.run("[...document.querySelectorAll('#points th button')].find((head) => head.textContent.startsWith('size')).click()")
            sort = browser.run("return [...document.querySelectorAll('#points th')].find((head) => head.textContent.startsWith('size')).getAttribute('aria-sort')")
            ends.append((sort, browser.run("return document.querySelector('#points tbody tr').textContent")))
        check([end[0] for end in ends] == ["descending", "ascending"] and ends[0][1] != ends[1][1], f"the table does not sort: {ends}")
        # Every figure can be drawn.
        browser.run("window.scrollTo(0, 0); for (const figure of document.querySelectorAll('figure')) figure.scrollIntoView()")
        figures = browser.run("return document.querySelectorAll('figure').length")
        errors = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        check(not errors, f"on the console: {errors}")
        others = [url for url in requests(browser) if url != PAGE.as_uri()]
        check(not others, f"it asked for {others}")
        print(f"{PAGE.name}: {points} points, {figures} figures, {size} bytes, stands after {times[0]:.0f} ms; pointer: {said[:90]!r}")
    finally:
        browser.close()


main()
