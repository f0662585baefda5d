#!/usr/bin/env python3
"""The built-in page, used as a person would: headless Chromium, the keyboard, pictures taken.

    python3 tests/server/page.py [--icecore target/release/icecore] [--shots DIR]

Starts a server of its own on a free port over a store made for it. Needs `chromium` on the path and
nothing but Python's standard library. Exit code 0 where everything held.
"""

import argparse
import base64
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
        for domain in ["Page", "Runtime", "Log"]:
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
        codes = {"Enter": 13, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "Escape": 27}
        shared = {"key": key, "code": code or key, "modifiers": modifiers,
                  "windowsVirtualKeyCode": codes.get(key, 0)}
        text = text or ("\r" if key == "Enter" else None)
        self.call("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def write(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path):
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)

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


def serve(icecore, scratch):
    """A server over the capture that the repository ships, and some series of the last minutes."""
    store = f"{scratch}/store"
    capture = ROOT / "tests/data/node_exporter_excerpt.prom.zst"
    subprocess.run([icecore, "import", "--db", store, str(capture)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    process = subprocess.Popen([icecore, "serve", "--db", store, "--listen", "127.0.0.1:0", "--json"],
                               stdout=subprocess.PIPE, text=True)
    url = json.loads(process.stdout.readline())["url"]
    now = int(time.time() * 1000)
    lines = [f'hostile{{value="{HOSTILE}"}} 1 {now}']
    for second in range(0, 3000, 15):
        for host in range(40):
            value = 50 + 40 * ((second / 300 + host) % 7) / 7 + host
            lines.append(f'many{{host="h{host}"}} {value} {now - 1000 * second}')
    body = ("\n".join(sorted(lines)) + "\n").encode()
    request = urllib.request.Request(f"{url}/api/v1/import/prometheus", data=body, method="POST")
    urllib.request.urlopen(request).close()
    return process, url


def steps(browser, url, shots):
    """Each step: what is done, and what must be seen."""
    text = lambda id: browser.eval(f"document.getElementById({id!r}).textContent")
    shot = lambda name: browser.picture(shots / f"{name}.png")

    def asked(address):
        browser.call("Page.navigate", url=f"{url}/{address}")
        wait(lambda: browser.eval("document.readyState === 'complete' && document.activeElement?.id") == "expression",
             "the page")

    browser.size(1280, 860)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    asked("")
    yield "the page says whose it is"
    assert "icecore" in wait(lambda: text("version"), "the version")

    yield "typing and Enter draw a graph"
    browser.write("many")
    browser.key("Enter")
    wait(lambda: text("status").startswith("40 series"), f"40 series, not {text('status')!r}")
    assert browser.eval("document.querySelectorAll('#legend li').length") == 40
    coloured = """(() => { const c = document.getElementById('canvas'); const d = c.getContext('2d')
        .getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 0; i < d.length; i += 4) if (Math.max(d[i], d[i+1], d[i+2]) - Math.min(d[i], d[i+1], d[i+2]) > 60 && d[i+3] > 200) n++;
        return n; })()"""
    assert browser.eval(coloured) > 2000, "lines are drawn"
    shot("graph-light")

    yield "the address holds the question, and back goes back"
    assert "q=many" in browser.eval("location.hash")
    browser.eval("document.getElementById('expression').value = 'sum(many)'")
    browser.key("Enter")
    wait(lambda: text("status").startswith("1 series"), "the sum")
    browser.eval("history.back()")
    wait(lambda: text("status").startswith("40 series"), "the question before")

    yield "the crosshair tells values"
    box = browser.eval("(() => { const r = document.getElementById('canvas').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()")
    x, y = box[0] + box[2] * 0.6, box[1] + box[3] / 2
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "host=" in text("tip") and not browser.eval("document.getElementById('tip').hidden")
    shot("crosshair")

    yield "suggestions are taken with the keyboard"
    browser.eval("document.getElementById('expression').focus(); document.getElementById('expression').value = ''")
    browser.write("histogram_q")
    wait(lambda: not browser.eval("document.getElementById('suggest').hidden"), "suggestions")
    shot("suggestions")
    browser.key("ArrowDown")
    browser.key("Enter")
    assert browser.eval("document.getElementById('expression').value") == "histogram_quantile("

    yield "a mistake is told in words"
    browser.key("Enter")
    wait(lambda: "bad_data" in text("messages"), "an error")
    shot("error")

    yield "tabs are reached with arrows, the table has every row"
    browser.eval("document.getElementById('expression').value = 'topk(5, many)'; document.getElementById('tab-graph').focus()")
    browser.key("ArrowRight")
    wait(lambda: browser.eval("document.querySelectorAll('#table tbody tr').length") == 5, "five rows")
    assert browser.eval("document.activeElement.id") == "tab-table"
    shot("table")

    yield "what a label says is never markup"
    asked("#view=table&q=hostile")
    wait(lambda: HOSTILE in text("table"), "the value as text")
    assert browser.eval("document.querySelectorAll('#table img').length") == 0
    assert browser.eval("document.title") == "icecore"

    yield "the series browser drills down"
    asked("#view=series")
    wait(lambda: "metric name" in text("labels"), "labels")
    shot("series")
    browser.eval("[...document.querySelectorAll('#labels button')].find(b => b.textContent.startsWith('host')).click()")
    wait(lambda: "Values of host (40)" in text("values-title"), "the values")
    browser.eval("document.querySelector('#values button').click()")
    wait(lambda: "Series (1)" in text("values-title"), "one series")

    yield "the store tells what it holds"
    asked("#view=store")
    wait(lambda: "Metrics with the most series" in text("panel-store"), "the store")
    assert "raw" in text("panel-store")
    shot("store")

    yield "a range of the past, a step of one's own, stacked"
    asked("#q=rate(node_cpu_seconds_total%5B1m%5D)&until=1795427182&span=1800&step=15&stacked=1")
    wait(lambda: "every 15 s" in text("status"), f"the past, not {text('status')!r}")
    shot("stacked")

    yield "dark, where the system is"
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    asked("#q=many")
    wait(lambda: text("status").startswith("40 series"), "the graph")
    assert browser.eval("document.documentElement.dataset.theme") == "dark"
    shot("graph-dark")

    yield "a phone's width needs no sideways scrolling"
    browser.size(390, 844)
    asked("#q=many")
    wait(lambda: text("status").startswith("40 series"), "the graph")
    assert browser.eval("document.documentElement.scrollWidth") <= 390, "wider than the phone"
    shot("phone")

    yield "nothing complained in the console"
    assert not browser.complaints, browser.complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icecore", default=str(ROOT / "target/release/icecore"))
    parser.add_argument("--shots", type=pathlib.Path, help="where pictures go [default: nowhere that stays]")
    arguments = parser.parse_args()
    if not shutil.which("chromium"):
        sys.exit("this needs chromium on the path")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        shots = arguments.shots or pathlib.Path(scratch)
        shots.mkdir(parents=True, exist_ok=True)
        server, url = serve(arguments.icecore, scratch)
        browser = None
        try:
            browser = Browser(scratch)
            running = steps(browser, url, shots)
            passed, name = 0, next(running)
            while name is not None:
                try:
                    following = next(running, None)
                    print(f"ok    {name}")
                    passed += 1
                    name = following
                except Exception as error:  # whatever it is, it is told and ends the run
                    print(f"FAIL  {name}: {error}")
                    if browser.complaints:
                        print("      the console:", browser.complaints)
                    browser.picture(shots / "failed.png")
                    failed, name = 1, None
        finally:
            if browser:
                browser.close()
            server.terminate()
            server.wait(timeout=20)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
