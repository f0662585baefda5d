#!/usr/bin/env python3
"""Programs that speak with Prometheus, used on icecore: each must see there what it sees in Prometheus.

    cargo build --release --features cli,server
    python3 tests/peers/clients.py --icecore target/release/icecore

`promtool query`, the Python package `prometheus-api-client` (installed into a directory of its own for
the run), a Prometheus that scrapes and writes remotely to icecore, and a Prometheus that reads remotely
from it. Everything runs on loopback and is stopped at the end. Exits 0 where all agree.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import answers
import data
import differential
import servers

START, END = data.START, data.START + data.SECONDS
MOMENT = differential.moment(905)
PROMTOOL = [
    ["query", "instant", f"--time={MOMENT}", "{url}", 'walk{shard="3"}'],
    ["query", "instant", f"--time={MOMENT}", "{url}", "max by (zone) (walk)"],
    ["query", "instant", f"--time={MOMENT}", "{url}", "odd"],
    ["query", "instant", f"--time={MOMENT}", "{url}", "1 + 1"],
    ["query", "instant", f"--time={MOMENT}", "{url}", "constant[1m]"],
    ["query", "instant", f"--time={MOMENT}", "{url}", "sum("],
    ["query", "range", f"--start={MOMENT}", f"--end={END}", "--step=60s", "{url}", "flip"],
    ["query", "range", f"--start={MOMENT}", f"--end={END}", "--step=60s", "{url}", "max(node_load1)"],
    ["query", "series", f"--start={START}", f"--end={END}", "--match=cores", "--match=limits", "{url}"],
    ["query", "labels", f"--start={START}", f"--end={END}", "{url}", "zone"],
    ["query", "labels", f"--start={START}", f"--end={END}", "{url}", "mode"],
    ["check", "healthy", "--url={url}"],
    ["check", "ready", "--url={url}"],
]
# Run with the client's Python; prints what it sees of a server as JSON.
PYTHON_CLIENT = f"""
import datetime, json, sys
from prometheus_api_client import PrometheusConnect
client = PrometheusConnect(url=sys.argv[1], disable_ssl=True)
moment = {{"time": "{MOMENT}"}}
begin, end = (datetime.datetime.fromtimestamp(t) for t in ({START}, {END}))
by_text = lambda results: sorted(results, key=lambda r: json.dumps(r["metric"], sort_keys=True))
print(json.dumps([
    client.check_prometheus_connection(),
    # Those of the data: a server may tell of itself beside them.
    [m for m in client.all_metrics() if m.startswith(("node_", "walk"))],
    client.get_label_values("zone"),
    "zone" in client.get_label_names(),
    by_text(client.get_current_metric_value("walk", {{"tier": "1"}}, params=moment)),
    by_text(client.custom_query("max by (zone) (walk)", params=moment)),
    by_text(client.custom_query_range("flip", begin, end, "60s")),
    by_text(client.get_metric_range_data("line", {{"slope": "up"}}, begin, end, datetime.timedelta(minutes=10))),
], indent=1))
"""
SENDER = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: self
    static_configs: [{{targets: ["{own}"]}}]
  - job_name: icecore
    static_configs: [{{targets: ["{icecore}"]}}]
remote_write:
  - url: http://{icecore}/api/v1/write
    queue_config: {{batch_send_deadline: 500ms}}
    metadata_config: {{send_interval: 1s}}
"""
READER = """\
remote_read:
  - url: http://{icecore}/api/v1/read
    read_recent: true
"""
READ = (
    "walk",
    'sum by (mode) (node_cpu_seconds_total{cpu!="1"})',
    "rate(reset_total[5m])",
    'count_over_time({__name__=~"flip|line",kind!~"f.*"}[3m])',
    "early offset 10m",
    "odd",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icecore", default="target/release/icecore", help="the program to start")
    parser.add_argument("--prometheus", default="prometheus", help="the program to start")
    parser.add_argument("--promtool", default="promtool")
    arguments = parser.parse_args()
    servers.end_on_signal()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clients-")))
        prometheus = stack.enter_context(servers.prometheus(directory / "prometheus", arguments.prometheus))
        icecore = stack.enter_context(servers.icecore(directory / "icecore", arguments.icecore))
        differential.load(prometheus, icecore)
        found = []
        found += promtool(arguments.promtool, prometheus, icecore)
        found += python_client(directory / "python", prometheus, icecore)
        found += remote_read(directory / "reader", arguments.prometheus, prometheus, icecore)
        found += remote_write(directory / "sender", arguments.prometheus, icecore)
    failed = [(what, why) for what, why in found if why]
    for what, why in found:
        print(f"{'FAILED' if why else 'ok':6} {what}" + (f"\n    {why}" if why else ""))
    print(f"{len(found) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def first_difference(a, b):
    """The first lines that differ of two texts; None where none do."""
    a, b = a.splitlines(), b.splitlines()
    for line_a, line_b in zip(a + [""] * len(b), b + [""] * len(a)):
        if line_a != line_b:
            return f"{line_a}  |  {line_b}"
    return None


def promtool(program, prometheus, icecore):
    """Every command's exit code and lines, which come in no order of series."""
    for command in PROMTOOL:
        texts = []
        for server in (prometheus, icecore):
            words = [word.replace("{url}", server.url) for word in command]
            done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
            lines = [f"exit {done.returncode}", *sorted(done.stdout.splitlines())]
            # What is said of an error names the server, and is worded by it.
            lines += [done.stderr.split(":")[0]] if done.returncode else []
            texts.append("\n".join(lines).replace(server.url, "{url}"))
        yield "promtool " + " ".join(command), first_difference(*texts)


def python_client(directory, prometheus, icecore):
    """All that prometheus-api-client tells of the two, as one text each."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    python = directory / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "prometheus-api-client"]
    subprocess.run(install, check=True, stdout=sys.stderr)
    texts = []
    for server in (prometheus, icecore):
        done = subprocess.run([python, "-c", PYTHON_CLIENT, server.url], capture_output=True, text=True, timeout=120)
        texts.append(done.stdout if done.returncode == 0 else done.stderr[-500:])
    # Two failures alike are none the better.
    broken = None if texts[0].startswith("[") else f"with Prometheus: {texts[0]}"
    yield "prometheus-api-client", broken or first_difference(*texts)


def remote_read(directory, program, prometheus, icecore):
    """A Prometheus that has nothing itself and reads from icecore, beside the one that has it all."""
    config = READER.format(icecore=host(icecore))
    with servers.prometheus(directory, program, config) as reader:
        for query in READ:
            parameters = {"query": query, "time": MOMENT}
            pair = [servers.answer(s.get("/api/v1/query", parameters)) for s in (prometheus, reader)]
            yield f"remote read: {query}", answers.difference(*pair)


def remote_write(directory, program, icecore, seconds=12):
    """What a Prometheus scrapes is in icecore, sample by sample, and its metadata too."""
    port = servers.free_port()
    config = SENDER.format(own=f"{servers.LOOPBACK}:{port}", icecore=host(icecore))
    with servers.prometheus(directory, program, config, port) as sender:
        began = time.time()
        time.sleep(seconds)
        # Two seconds are left for what is under way.
        moment = time.time() - 2
        for job in ("self", "icecore"):
            window = int(moment - began)
            query = {"query": f'{{job="{job}"}}[{window}s]', "time": f"{moment:.3f}"}
            pair = [servers.answer(s.get("/api/v1/query", query)) for s in (sender, icecore)]
            empty = answers.size(pair[0][1])[1] < 100
            yield (
                f"remote write: {answers.size(pair[0][1])[1]} samples of job {job}",
                "nothing was scraped" if empty else answers.difference(*pair),
            )
        metadata = "/api/v1/metadata", {"metric": "prometheus_tsdb_head_series"}
        pair = [servers.answer(s.get(*metadata)) for s in (sender, icecore)]
        yield "remote write: metadata", answers.difference(*pair)


def host(server):
    return server.url.removeprefix("http://")


if __name__ == "__main__":
    sys.exit(main())
