"""Servers under comparison: each started on loopback over a fresh directory, asked, and stopped."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import remote_write

START_SECONDS = 30
STOP_SECONDS = 20
LOOPBACK = "127.0.0.1"


class Server:
    """A base URL to ask, and the process behind it where this program started it."""

    def __init__(self, name, url, process=None, extra=None):
        self.name = name
        self.url = url
        self.process = process
        # Parameters that every query of this server carries.
        self.extra = extra or {}
        split = urllib.parse.urlsplit(url)
        if split.hostname not in (LOOPBACK, "localhost", "::1"):
            raise ValueError(f"{url}: only servers on this machine are asked")
        self.prefix = split.path.rstrip("/")
        self.connection = http.client.HTTPConnection(split.hostname, split.port, timeout=120)

    def request(self, method, path, body=None, headers=None):
        """Status and body of the answer, over one connection kept open."""
        for attempt in (1, 2):
            try:
                self.connection.request(method, self.prefix + path, body, headers or {})
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                # A connection kept open may have been closed by the other side in the meantime.
                self.connection.close()
                if attempt == 2:
                    raise

    def get(self, path, parameters=()):
        return self.request("GET", query_path(path, self.merged(parameters)))

    def post(self, path, parameters=()):
        form = urllib.parse.urlencode(self.merged(parameters))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, form, headers)

    def merged(self, parameters):
        pairs = list(parameters.items()) if isinstance(parameters, dict) else list(parameters)
        return pairs + list(self.extra.items())

    def write(self, body):
        """One remote write; raises where it is refused."""
        status, answer = self.request("POST", "/api/v1/write", body, remote_write.HEADERS)
        if status // 100 != 2:
            raise RuntimeError(f"{self.name} refused a write: {status} {answer[:300]!r}")

    def cpu_seconds(self):
        """User and system time that the process has used so far."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def query_path(path, pairs):
    return f"{path}?{urllib.parse.urlencode(pairs)}" if pairs else path


def wait_for(condition, what, seconds=START_SECONDS):
    """Asks until the condition holds; raises when it hasn't in the time given."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def started(name, command, port, directory, ready="/-/ready", extra=None):
    """The server of a command, up and ready; ended when the block ends, however it does."""
    log = Path(directory) / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory)
    server = Server(name, f"http://{LOOPBACK}:{port}", process, extra)

    def answers():
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended at its start:\n{log.read_text()[-2000:]}")
        try:
            return server.get(ready)[0] == 200
        except OSError:
            return False

    try:
        wait_for(answers, f"{name} ready")
        yield server
    finally:
        server.connection.close()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


PROMETHEUS_CONFIG = """\
global: {scrape_interval: 1s}
storage: {tsdb: {out_of_order_time_window: 1d}}
"""


@contextlib.contextmanager
def prometheus(directory, program="prometheus", config=PROMETHEUS_CONFIG, port=None):
    directory = fresh(directory)
    port = port or free_port()
    (directory / "prometheus.yml").write_text(config)
    command = [
        program,
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        "--storage.tsdb.retention.time=90y",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--web.enable-remote-write-receiver",
        "--log.level=warn",
    ]
    with started("prometheus", command, port, directory) as server:
        yield server


@contextlib.contextmanager
def victoria_metrics(directory, program="victoria-metrics"):
    directory = fresh(directory)
    port = free_port()
    command = [
        program,
        f"-storageDataPath={directory}/data",
        f"-httpListenAddr={LOOPBACK}:{port}",
        "-retentionPeriod=90y",
        "-search.latencyOffset=0s",
        "-search.maxPointsPerTimeseries=100000",
        "-loggerLevel=WARN",
    ]
    # Without nocache it moves the times asked for to multiples of the step, and answers from what it
    # answered before.
    extra = {"nocache": "1"}
    with started("victoria-metrics", command, port, directory, "/health", extra) as server:
        yield server


@contextlib.contextmanager
def icecore(directory, program):
    directory = fresh(directory)
    port = free_port()
    command = [
        str(Path(program).resolve()),
        "serve",
        "--db",
        f"{directory}/data",
        "--listen",
        f"{LOOPBACK}:{port}",
        "--any-age",
    ]
    with started("icecore", command, port, directory) as server:
        yield server


def fresh(directory):
    directory = Path(directory)
    directory.mkdir(parents=True)
    return directory


def flush(server):
    """Makes what was written visible where that takes a request of its own."""
    if server.name == "victoria-metrics":
        server.get("/internal/force_flush")


def settle(servers, seconds=60):
    """Waits until none of the processes works on its own account: what was loaded has been put away."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = [server.cpu_seconds() for server in servers]
        time.sleep(2)
        if all(s.cpu_seconds() - b < 0.05 for s, b in zip(servers, before)):
            return
    print(f"still busy after {seconds} s, going on", file=sys.stderr)


def answer(raw):
    """Status and JSON of an answer; a body that isn't JSON is told as an error of type `not json`."""
    status, text = raw
    try:
        return status, json.loads(text)
    except ValueError:
        return status, {"status": "error", "errorType": "not json", "error": text[:200].decode(errors="replace")}


def missing(*programs):
    """The first of the programs that is not to be found, or None."""
    return next((p for p in programs if shutil.which(p) is None), None)


def end_on_signal():
    """SIGTERM unwinds as an exception does, so that the servers started are ended too."""

    def unwind(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
