#!/usr/bin/env python3
"""The built-in page, used as a person would: headless Chromium, the keyboard, pictures taken.

    python3 tests/server/page.py [--icecore target/release/icecore] [--shots DIR]
    python3 tests/server/page.py --url http://127.0.0.1:9090 [--shots DIR]

Starts servers of its own on free ports over a store made for it; with `--url` it asks one that serves
the page and holds the series of `lines` below up to now. Needs `chromium` on the path and nothing but
Python's standard library. Exit code 0 where everything held.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTILE = '<img src=x onerror=document.title=1>'


class Socket:
    """As much of RFC 6455 as a debugger needs: text frames, ours masked."""

    def __init__(self, url):
        host, path = url.removeprefix("ws://").split("/", 1)
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        while self.file.readline() not in (b"\r\n", b""):
            pass

    def send(self, text):
        body, mask = text.encode(), os.urandom(4)
        size = len(body)
        if size < 126:
            head = struct.pack("!BB", 0x81, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))
        self.socket.sendall(head + mask + masked)

    def receive(self):
        whole = b""
        while True:
            first, size = struct.unpack("!BB", self.file.read(2))
            if size == 126:
                (size,) = struct.unpack("!H", self.file.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.file.read(8))
            whole += self.file.read(size)
            if first & 0x80:
                return whole.decode()


class Browser:
    def __init__(self, scratch):
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--remote-debugging-port=0", f"--user-data-dir={scratch}/profile", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(scratch, "profile", "DevToolsActivePort")
        wait(lambda: port_file.exists() and port_file.read_text(), "Chromium to start", 60)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as found:
            page = next(one for one in json.load(found) if one["type"] == "page")
        self.socket = Socket(page["webSocketDebuggerUrl"])
        self.number = 0
        self.complaints = []
        self.asked = set()
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.receive())
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", str(details)))
            elif message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                # A refused query is a failed request too, and asked for.
                if entry["level"] == "error" and entry["source"] != "network":
                    self.complaints.append(entry["text"])
            elif message.get("method") == "Runtime.consoleAPICalled":
                if message["params"]["type"] in ("error", "warning", "assert"):
                    self.complaints.append(str(message["params"]["args"]))
            elif message.get("method") == "Network.requestWillBeSent":
                self.asked.add(message["params"]["request"]["url"])
            elif message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def eval(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def key(self, key, code=None, text=None, modifiers=0):
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
                 "ArrowRight": 39, "ArrowDown": 40}
        shared = {"key": key, "code": code or key, "modifiers": modifiers,
                  "windowsVirtualKeyCode": codes.get(key, 0)}
        text = text or ("\r" if key == "Enter" else None)
        self.call("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def mouse(self, kind, x, y, button="none", clicks=0):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=clicks)

    def write(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path):
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def size(self, width, height, ratio=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=ratio, mobile=width < 600)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)


def wait(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def lines(now):
    """What the steps ask about, as text to import: forty sawtooths of the last hour, a label's value that would
    be markup, and what is no number."""
    # A graph's last step may lie before what was written a moment ago: a minute earlier it is seen.
    rows = [f'hostile{{value="{HOSTILE}"}} 1 {now - 60_000}', f'hostile{{value="{HOSTILE}"}} 1 {now}', f'odd{{kind="nan"}} NaN {now}', f'odd{{kind="inf"}} +Inf {now}']
    for second in range(0, 3600, 15):
        for host in range(40):
            value = 50 + 40 * ((second / 300 + host) % 7) / 7 + host
            rows.append(f'many{{host="h{host}"}} {value} {now - 1000 * second}')
    return ("\n".join(sorted(rows)) + "\n").encode()


class Server:
    """A store of its own over the capture that the repository ships, and `lines`; `token` guards it."""

    def __init__(self, icecore, scratch, token=None):
        store = f"{scratch}/{'guarded' if token else 'open'}"
        capture = ROOT / "tests/data/node_exporter_excerpt.prom.zst"
        subprocess.run([icecore, "import", "--db", store, str(capture)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        command = [icecore, "serve", "--db", store, "--listen", "127.0.0.1:0", "--json"]
        headers = {}
        if token:
            tokens = pathlib.Path(scratch, "tokens.toml")
            tokens.touch(mode=0o600)
            tokens.write_text(f'[[token]]\nname = "reader"\nsecret = "{token}"\nscopes = ["read", "write"]\n')
            command += ["--tokens", str(tokens)]
            headers = {"Authorization": f"Bearer {token}"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]
        body = lines(int(time.time() * 1000))
        request = urllib.request.Request(f"{self.url}/api/v1/import/prometheus", data=body, headers=headers)
        urllib.request.urlopen(request).close()

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)


class Page:
    """The page in the browser: what it shows, and what is done to it."""

    def __init__(self, browser, url, shots):
        self.browser, self.url, self.shots = browser, url, shots

    def open(self, address="", url=None):
        # Another document, also where only the address' end differs.
        self.browser.call("Page.navigate", url="about:blank")
        self.browser.call("Page.navigate", url=f"{url or self.url}/{address}")
        wait(lambda: self.browser.eval("document.readyState === 'complete' && !!document.getElementById('run')"), "the page")

    def text(self, place):
        return self.browser.eval(f"document.querySelector({place!r})?.textContent ?? ''")

    def count(self, place):
        return self.browser.eval(f"document.querySelectorAll({place!r}).length")

    def value(self, place):
        return self.browser.eval(f"document.querySelector({place!r}).value")

    def focus(self, place):
        self.browser.eval(f"document.querySelector({place!r}).focus()")

    def clear(self):
        """The expression, emptied as a person would."""
        self.focus("#expression")
        self.browser.eval("document.getElementById('expression').select()")

    def ask(self, expression):
        self.clear()
        self.browser.write(expression)
        self.browser.key("Enter")

    def shows(self, place, words):
        return wait(lambda: words in self.text(place) and self.text(place), f"{words!r} in {place}, which says {self.text(place)!r}")

    def visible(self, place):
        return self.browser.eval(f"!!document.querySelector({place!r})?.offsetParent")

    def box(self, place):
        return self.browser.eval(f"(r => [r.left, r.top, r.width, r.height])(document.querySelector({place!r}).getBoundingClientRect())")

    def hash(self):
        return self.browser.eval("location.hash")

    def scheme(self, name):
        self.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, name):
        self.browser.picture(self.shots / f"{name}.png")


# How many pixels of the graph are neither ground, nor grid, nor letters.
COLOURED = """(() => { const c = document.getElementById('plot'); const d = c.getContext('2d')
    .getImageData(0, 0, c.width, c.height).data; let n = 0;
    for (let i = 0; i < d.length; i += 4) if (Math.max(d[i], d[i+1], d[i+2]) - Math.min(d[i], d[i+1], d[i+2]) > 60 && d[i+3] > 200) n++;
    return n; })()"""


def asking(page):
    """Expressions, with the keyboard. Here and below, each step is what is done and what must be seen."""
    browser = page.browser
    yield "the page says whose it is and takes the keyboard"
    page.open()
    wait(lambda: page.text("#version"), "the version")
    page.shows("#graph-empty", "Type an expression")
    assert browser.eval("document.activeElement.id") == "expression"
    page.shot("empty")

    yield "typing and Enter draw a graph"
    browser.write("many")
    browser.key("Enter")
    page.shows("#graph-status", "40 series")
    assert page.count("#legend tbody tr") == 40
    assert browser.eval(COLOURED) > 2000, "lines are drawn"
    page.shot("graph-light")

    yield "the address holds the question, and back goes back"
    assert "expr=many" in page.hash()
    page.ask("sum(many)")
    page.shows("#graph-status", "1 series")
    browser.eval("history.back()")
    page.shows("#graph-status", "40 series")
    assert page.value("#expression") == "many"

    yield "metrics, labels and values are suggested and taken with Tab, functions with the arrows"
    page.clear()
    browser.write("man")
    page.shows("#offers", "many")
    browser.key("Tab")
    browser.write('{ho')
    page.shows("#offers", "host")
    browser.key("Tab")
    browser.write('="h3')
    page.shows("#offers", "h39")
    page.shot("suggestions")
    browser.key("Tab")
    browser.write("}")
    assert page.value("#expression") == 'many{host="h3"}', page.value("#expression")
    browser.key("Enter")
    page.shows("#graph-status", "1 series")
    page.clear()
    browser.write("histogram_q")
    page.shows("#offers", "histogram_quantile")
    browser.key("ArrowDown")
    assert browser.eval("document.getElementById('expression').getAttribute('aria-activedescendant')") == "offer-0"
    browser.key("Enter")
    assert page.value("#expression") == "histogram_quantile("

    yield "a mistake is told in words, and nothing of before stands under it"
    browser.key("Enter")
    page.shows("#notes [role=alert]", "bad_data")
    assert not page.visible("#chart")
    page.shot("error")

    yield "what was asked before comes back with the arrow up"
    page.clear()
    browser.write("sum(many)")
    browser.key("Escape")
    browser.key("ArrowUp")
    browser.key("ArrowUp")
    assert page.value("#expression") == 'many{host="h3"}', page.value("#expression")
    browser.key("ArrowDown")
    browser.key("ArrowDown")
    assert page.value("#expression") == "sum(many)", "the draft is there again"

    yield "Shift+Enter breaks the line, Format lays it out"
    page.clear()
    browser.write("sum(many)")
    browser.key("Enter", text="\r", modifiers=8)
    browser.write("+1")
    assert page.value("#expression") == "sum(many)\n+1"
    browser.eval("document.getElementById('format').click()")
    wait(lambda: page.value("#expression") == "sum(many) + 1", "the expression laid out")


def graph(page):
    """The graph, with the keyboard and the mouse."""
    browser = page.browser
    span = "(() => { const p = new URLSearchParams(location.hash.slice(1)); return (p.get('from') ?? '') + '|' + (p.get('to') ?? ''); })()"
    moved = lambda before: wait(lambda: browser.eval(span) != before and browser.eval(span), "another range")
    drawn = lambda: wait(lambda: "series" in page.text("#graph-status") and browser.eval("document.getElementById('progress').hidden"), "the graph")

    yield "arrows move the crosshair, which tells values, largest first"
    page.open("#expr=many")
    page.shows("#graph-status", "40 series")
    page.focus("#chart")
    for _ in range(3):
        browser.key("ArrowLeft")
    values = wait(lambda: browser.eval("[...document.querySelectorAll('#tip b')].map(b => Number(b.textContent))"), "values")
    assert len(values) > 5 and values == sorted(values, reverse=True), values
    wait(lambda: "host=" in page.text("#spoken"), "the values spoken")

    yield "Enter, arrows and Enter zoom into a range; minus zooms out; brackets move"
    before = browser.eval(span)
    browser.key("Enter", text="\r")
    for _ in range(4):
        browser.key("ArrowLeft", modifiers=8)
    page.shows("#tip", "a range of")
    browser.key("Enter", text="\r")
    zoomed = moved(before)
    drawn()
    browser.key("-", text="-")
    wider = moved(zoomed)
    drawn()
    browser.key("[", text="[")
    moved(wider)
    drawn()

    yield "the mouse drags a range, the crosshair follows it, a double click zooms out"
    page.open("#expr=many")
    page.shows("#graph-status", "40 series")
    left, top, width, height = page.box("#chart")
    browser.mouse("mouseMoved", left + width * .6, top + height / 2)
    page.shows("#tip", "host=")
    page.shot("crosshair")
    before = browser.eval(span)
    browser.mouse("mousePressed", left + width * .4, top + height / 2, "left", 1)
    browser.mouse("mouseMoved", left + width * .5, top + height / 2, "left")
    browser.mouse("mouseMoved", left + width * .7, top + height / 2, "left")
    page.shot("drag")
    browser.mouse("mouseReleased", left + width * .7, top + height / 2, "left", 1)
    zoomed = moved(before)
    drawn()
    for clicks in (1, 2):
        browser.mouse("mousePressed", left + width / 2, top + height / 2, "left", clicks)
        browser.mouse("mouseReleased", left + width / 2, top + height / 2, "left", clicks)
    moved(zoomed)
    drawn()

    yield "a series chosen in the legend is seen alone, and all again"
    page.open("#expr=many")
    page.shows("#graph-status", "40 series")
    many = browser.eval(COLOURED)
    browser.eval("document.querySelector('#legend tbody button').click()")
    assert page.count("#legend tr.off") == 39
    assert 0 < browser.eval(COLOURED) < many / 5
    browser.eval("document.querySelector('#legend tbody button').click()")
    assert page.count("#legend tr.off") == 0 and browser.eval(COLOURED) == many

    yield "a range of its own, a step of its own, stacked"
    page.open("#expr=topk(6,many)&from=now-30m&to=now-5m&step=30s&stacked=1")
    page.shows("#graph-status", "step 30s")
    assert browser.eval("document.getElementById('stacked').checked")
    page.shot("stacked")

    yield "what is no time is refused in words"
    page.open("#expr=many&from=yesteryear")
    page.shows("#notes [role=alert]", "is no time")
    assert browser.eval("document.getElementById('from').getAttribute('aria-invalid')") == "true"

    yield "the canvas has the pixels of the screen"
    browser.size(1280, 860, ratio=2)
    page.open("#expr=many")
    page.shows("#graph-status", "40 series")
    assert browser.eval("(c => c.width === Math.round(c.getBoundingClientRect().width * 2))(document.getElementById('plot'))")
    browser.size(1280, 860)


def tables(page):
    browser = page.browser
    yield "tabs are reached with arrows, the table has every row, its heads sort"
    page.open("#expr=topk(5,many)")
    page.shows("#graph-status", "series")
    page.focus("#tab-graph")
    browser.key("ArrowRight")
    wait(lambda: page.count("#table tbody tr") == 5, "five rows")
    assert browser.eval("document.activeElement.id") == "tab-table"
    browser.eval("[...document.querySelectorAll('#table th button')].find(b => b.textContent === 'Value').click()")
    column = "[...document.querySelectorAll('#table tbody td:last-child')].map(td => Number(td.textContent))"
    down = browser.eval(column)
    assert down == sorted(down, reverse=True)
    browser.eval("[...document.querySelectorAll('#table th button')].find(b => b.textContent === 'Value').click()")
    assert browser.eval(column) == sorted(down)
    page.shot("table")

    yield "scalars, strings, ranges, and what is no number"
    for expression, words in [("6 * 7", "42"), ("'hello'", "hello"), ("many{host='h1'}[1m]", " @ "), ("odd", "NaN"), ("odd", "+Inf")]:
        page.ask(expression)
        page.shows("#table", words)

    yield "what a label says is never markup"
    for tab, place in [("table", "#table"), ("graph", "#legend"), ("series", "#found")]:
        page.open(f"#tab={tab}&expr=hostile&match=hostile")
        page.shows(place, HOSTILE)
        assert page.count("main img") == 0 and "icecore" in browser.eval("document.title")
    page.shot("hostile")


def browsing(page):
    browser = page.browser
    yield "the series browser drills down by clicks and asks"
    page.open("#tab=series")
    page.shows("#found-title", "metric")
    wait(lambda: "…" not in page.text("#facets"), "every label's count")
    page.shot("metrics")
    browser.eval("[...document.querySelectorAll('#found button')].find(b => b.textContent === 'many').click()")
    page.shows("#found-title", "40 series")
    wait(lambda: browser.eval("[...document.querySelectorAll('#facets .facet')].some(b => b.textContent === 'host40')"), "the label's count")
    browser.eval("[...document.querySelectorAll('#facets .facet')].find(b => b.textContent === 'host40').click()")
    wait(lambda: page.visible("#facets .values input"), "the values")
    page.shot("series")
    browser.eval("[...document.querySelectorAll('#facets .values .facet')].find(b => b.textContent.startsWith('h7')).click()")
    page.shows("#found-title", "1 series")
    assert page.value("#match") == 'many{host="h7"}'
    browser.eval("document.getElementById('query-these').click()")
    page.shows("#graph-status", "1 series")

    yield "the store tells what it holds"
    page.open("#tab=store")
    page.shows("#panel-store", "Metrics with the most series")
    if page.owned:
        assert "raw" in page.text("#panel-store") and page.count("#panel-store .layer") >= 1
    page.shot("store")


def looks(page):
    browser = page.browser
    ground = "getComputedStyle(document.body).backgroundColor"
    yield "dark where the system is, and as the reader chooses"
    page.open("#expr=many")
    light = browser.eval(ground)
    page.scheme("dark")
    page.open("#expr=many")
    page.shows("#graph-status", "40 series")
    dark = browser.eval(ground)
    assert dark != light
    page.shot("graph-dark")
    browser.eval("document.getElementById('theme').click()")
    assert page.text("#theme") == "Light" and browser.eval(ground) == light
    browser.eval("document.getElementById('theme').click()")
    page.scheme("light")
    assert page.text("#theme") == "Dark" and browser.eval(ground) == dark
    browser.eval("document.getElementById('theme').click()")
    for tab in ["table", "series", "store"]:
        page.scheme("dark")
        page.open(f"#tab={tab}&expr=many&match=many")
        wait(lambda: browser.eval("document.getElementById('progress').hidden"), "the answer")
        page.shot(f"{tab}-dark")
    page.scheme("light")

    yield "a phone's width needs no sideways scrolling"
    browser.size(390, 844)
    for tab in ["graph", "table", "series", "store"]:
        page.open(f"#tab={tab}&expr=many&match=many")
        wait(lambda: browser.eval("document.getElementById('progress').hidden"), "the answer")
        assert browser.eval("document.documentElement.scrollWidth") <= 390, f"{tab} is wider than the phone"
        page.shot(f"phone-{tab}")
    browser.size(1280, 860)


def guarded(page, url, token):
    browser = page.browser
    yield "a server with tokens is asked with one, which stays in the tab"
    page.open("#expr=many", url)
    wait(lambda: browser.eval("document.getElementById('login').open"), "the question for a token")
    page.shot("token")
    browser.write("a-wrong-one-of-sixteen-and-more")
    browser.key("Enter")
    page.shows("#login-title", "does not take")
    wait(lambda: browser.eval("document.getElementById('login').open"), "the question again")
    browser.write(token)
    browser.key("Enter")
    page.shows("#graph-status", "40 series")
    assert browser.eval("sessionStorage.length") == 1
    assert token not in browser.eval("JSON.stringify(localStorage) + location.href")
    browser.eval("document.getElementById('forget').click()")
    wait(lambda: browser.eval("document.getElementById('login').open && sessionStorage.length === 0"), "the question once more")


def steps(page, guard):
    page.browser.size(1280, 860)
    page.scheme("light")
    for part in [asking, graph, tables, browsing, looks]:
        yield from part(page)
    if guard:
        yield from guarded(page, *guard)

    yield "nothing complained in the console, nobody else was asked"
    assert not page.browser.complaints, page.browser.complaints
    own = (page.url + "/", "about:", "data:") + ((guard[0] + "/",) if guard else ())
    elsewhere = {url for url in page.browser.asked if not url.startswith(own)}
    assert not elsewhere, elsewhere


def walk(running, page):
    """Takes the steps until one fails; how many held, and whether all did."""
    passed, name = 0, next(running)
    while name is not None:
        try:
            following = next(running, None)
        except Exception as error:  # whatever it is, it is told and ends the run
            print(f"FAIL  {name}: {error}")
            if page.browser.complaints:
                print("      the console:", page.browser.complaints)
            page.shot("failed")
            return passed, False
        print(f"ok    {name}", flush=True)
        passed, name = passed + 1, following
    return passed, True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icecore", default=str(ROOT / "target/release/icecore"))
    parser.add_argument("--url", help="ask this server, and start none")
    parser.add_argument("--shots", type=pathlib.Path, help="where pictures go [default: nowhere that stays]")
    arguments = parser.parse_args()
    if not shutil.which("chromium"):
        sys.exit("this needs chromium on the path")
    token = "sixteen-characters-and-more"
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        shots = arguments.shots or pathlib.Path(scratch)
        shots.mkdir(parents=True, exist_ok=True)
        url, guard = arguments.url, None
        if not url:
            server = stack.enter_context(contextlib.closing(Server(arguments.icecore, scratch)))
            second = stack.enter_context(contextlib.closing(Server(arguments.icecore, scratch, token)))
            url, guard = server.url, (second.url, token)
        browser = stack.enter_context(contextlib.closing(Browser(scratch)))
        page = Page(browser, url.rstrip("/"), shots)
        page.owned = guard is not None
        passed, held = walk(steps(page, guard), page)
    print(f"{passed} passed, {0 if held else 1} failed")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
