#!/usr/bin/env python3
"""Range queries over HTTP: icecore beside Prometheus and VictoriaMetrics, in one run, answers checked.

    cargo build --release --features cli,server
    apt-get install prometheus victoria-metrics
    python3 benches/http/compare.py --icecore target/release/icecore

Starts each server on loopback over a fresh directory, writes the same data into each by remote write,
waits until they have put it away, warms them up, and asks the same queries of each in turn (A B C,
A B C, ...). Latency is what a client sees: request sent to last byte read. CPU is what the server's
process used for a query, user and system time, all its threads. Peers that aren't installed are left out.

The data: hosts of 8 tags, each of them 10 integer gauges (as in TSBS, cpu-only) and a counter, every
fourth a classic histogram of 12 buckets with its sum and count; a sample every 10 s. Ranges are all of
it but the first hour. They are asked off the samples' times, so that it does not matter which end of
a window is open.

VictoriaMetrics answers MetricsQL, which does not extrapolate `rate`: there answers are compared for
their shape, and the largest relative difference of a value is told. All others must be equal within
1e-9. It is asked with `nocache=1`, as it would answer from its earlier answers otherwise.
Exits 1 where answers differ that must not.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "peers"))

import answers
import remote_write
import servers

START = 1_767_225_600  # 2026-01-01
EVERY = 10
MODES = "user system idle nice iowait irq softirq steal guest guest_nice".split()
BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
SCRAPES_A_WRITE = 6

RATE, INSTANT, TIES = "rate", "instant", "ties"
USER = 'cpu_usage{mode="user"}'
LATENCY = "histogram_quantile(0.95, sum by ({}) (rate(request_seconds_bucket[5m])))"
# Name, expression, marks; and a range's step in seconds where it is not a minute.
QUERIES = [
    ("one series", 'cpu_usage{mode="user", hostname="host_7"}', ()),
    ("every series", "cpu_usage", ()),
    ("last point", USER, (INSTANT,)),
    ("rate by host", "rate(requests_total[5m])", (RATE,)),
    ("sum of rate by region", "sum by (region) (rate(requests_total[5m]))", (RATE,)),
    ("rate over 1 h", "sum(rate(requests_total[1h]))", (RATE,)),
    ("max by region", f"max by (region) ({USER})", ()),
    ("mean over 5 min", f"avg_over_time({USER}[5m])", ()),
    (
        "max of 5 modes of 8 hosts by hour",
        'max by (mode) (max_over_time(cpu_usage{mode=~"user|system|idle|nice|iowait", hostname=~"host_[1-8]"}[1h]))',
        (),
        3600,
    ),
    ("mean of every series by hour", "avg_over_time(cpu_usage[1h])", (), 3600),
    ("above 90 %", f"{USER} > 90", ()),
    ("top 5", f"topk(5, {USER})", (TIES,)),
    ("p95 by region", f"quantile by (region) (0.95, {USER})", ()),
    ("latency p95", LATENCY.format("le"), (RATE,)),
    ("latency p95 by region", LATENCY.format("region, le"), (RATE,)),
    ("share of all modes", f"{USER} / on(hostname) sum by (hostname) (cpu_usage)", ()),
]


def main():
    arguments = parse_arguments()
    servers.end_on_signal()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-"))
        targets = list(start(arguments, Path(directory), stack))
        say(arguments, "servers: " + ", ".join(server.name for server in targets))
        seconds = load(arguments, targets)
        say(arguments, "loaded: " + ", ".join(f"{s.name} {t:.1f} s" for s, t in zip(targets, seconds)))
        servers.settle(targets, arguments.settle)
        rows = [measure(arguments, targets, *query) for query in chosen(arguments)]
    facts = {"hosts": arguments.hosts, "hours": arguments.hours, "cores": os.cpu_count(), "rows": rows}
    facts["load_seconds"] = {s.name: t for s, t in zip(targets, seconds)}
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print_table([server.name for server in targets], rows)
    return 1 if any(wrong for row in rows for wrong in row["wrong"].values()) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icecore", default="target/release/icecore", help="the program; '' leaves it out")
    parser.add_argument("--prometheus", default="prometheus", help="the program; '' leaves it out")
    parser.add_argument("--victoria-metrics", default="victoria-metrics", help="the program; '' leaves it out")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--hours", type=float, default=13, help="of data; ranges are over all but the first")
    parser.add_argument("--rounds", type=int, default=200, help="of every query, at most")
    parser.add_argument("--seconds", type=float, default=10, help="of every query, at most; 5 rounds at least")
    parser.add_argument("--settle", type=float, default=60, help="seconds to wait until servers are idle, at most")
    parser.add_argument("--only", default="", help="queries whose name holds this")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def chosen(arguments):
    return [query for query in QUERIES if arguments.only in query[0]]


def say(arguments, text):
    """Progress, apart from the result where that is for programs."""
    print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)


def start(arguments, directory, stack):
    """Starts each server that there is a program of."""
    kinds = (
        (servers.icecore, arguments.icecore),
        (servers.prometheus, arguments.prometheus),
        (servers.victoria_metrics, arguments.victoria_metrics),
    )
    for starter, program in kinds:
        if not program:
            continue
        if servers.missing(program):
            say(arguments, f"{program}: not there, left out")
            continue
        yield stack.enter_context(starter(directory / starter.__name__, program))


def hosts(count):
    """The tags of every host."""
    for i in range(count):
        yield {
            "hostname": f"host_{i}",
            "region": f"region-{i % 9}",
            "datacenter": f"region-{i % 9}{'abc'[i % 3]}",
            "rack": str(i % 97),
            "os": ("Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10")[i % 3],
            "arch": ("x64", "x86")[i % 2],
            "team": ("SF", "NYC", "LON", "CHI")[i % 4],
            "service": str(i % 20),
        }


class Host:
    """What one host reports, scrape after scrape: values in the order of its series."""

    def __init__(self, tags, dice, histogram):
        self.dice = dice
        self.histogram = histogram
        self.gauges = [dice.random() * 100 for _ in MODES]
        self.buckets = [0] * len(BOUNDS)
        self.requests, self.sum = 0, 0.0
        names = [("cpu_usage", {"mode": mode}) for mode in MODES] + [("requests_total", {})]
        if histogram:
            names += [("request_seconds_bucket", {"le": bound}) for bound in BOUNDS]
            names += [("request_seconds_sum", {}), ("request_seconds_count", {})]
        self.heads = [remote_write.encode_labels({"__name__": n, **tags, **more}) for n, more in names]

    def scrape(self):
        gauss = self.dice.gauss
        self.gauges = [min(100.0, max(0.0, value + gauss(0, 1))) for value in self.gauges]
        self.requests += self.dice.randrange(10)
        # Truncated, as TSBS writes them.
        values = [float(int(value)) for value in self.gauges] + [float(self.requests)]
        return values + self.observed() if self.histogram else values

    def observed(self):
        """The histogram after a few more latencies: its buckets, sum and count."""
        for _ in range(4):
            latency = self.dice.expovariate(4)
            self.sum += latency
            for b in range(len(BOUNDS) - 1, -1, -1):
                if latency > float(BOUNDS[b]):
                    break
                self.buckets[b] += 1
        return [float(b) for b in self.buckets] + [self.sum, float(self.buckets[-1])]


def bodies(arguments):
    """Remote writes that hold the data, in order of time, a minute of all hosts in each."""
    dice = random.Random(1)
    fleet = [Host(tags, dice, i % 4 == 0) for i, tags in enumerate(hosts(arguments.hosts))]
    scrapes = int(arguments.hours * 3600 / EVERY)
    for first in range(0, scrapes, SCRAPES_A_WRITE):
        messages = [[head] for host in fleet for head in host.heads]
        for scrape in range(first, min(first + SCRAPES_A_WRITE, scrapes)):
            stamp = remote_write.varint((START + scrape * EVERY) * 1000)
            values = (value for host in fleet for value in host.scrape())
            for message, value in zip(messages, values):
                message.append(remote_write.encode_sample(stamp, value))
        yield remote_write.body(b"".join(message) for message in messages)


def load(arguments, targets):
    """Writes the data into every server, and waits until all have it; seconds of writing of each."""
    seconds = [0.0] * len(targets)
    for body in bodies(arguments):
        for i, server in enumerate(targets):
            began = time.perf_counter()
            server.write(body)
            seconds[i] += time.perf_counter() - began
    scrapes = int(arguments.hours * 3600 / EVERY)
    ask = {
        "query": f"sum(count_over_time(requests_total[{int(arguments.hours * 3600) + 60}s]))",
        "time": str(START + scrapes * EVERY),
    }
    for server in targets:
        servers.flush(server)

        def loaded():
            _, answer = servers.answer(server.get("/api/v1/query", ask))
            if answer.get("status") != "success":
                raise RuntimeError(f"{server.name}: {answer}")
            found = answer["data"]["result"]
            return bool(found) and float(found[0]["value"][1]) == scrapes * arguments.hosts

        servers.wait_for(loaded, f"{server.name} holds the data", 60)
    return seconds


def request_of(arguments, expression, marks, step=60):
    """Path and parameters: all of the data but its first hour, at times that no sample has."""
    end = START + int(arguments.hours * 3600) - EVERY
    if INSTANT in marks:
        return "/api/v1/query", {"query": expression, "time": f"{end}.337"}
    # Whole steps, so that the range's end is asked at too.
    begin = end - int((arguments.hours - 1) * 3600) // step * step
    ends = {"start": f"{begin}.337", "end": f"{end}.337", "step": str(step)}
    return "/api/v1/query_range", {"query": expression, **ends}


def measure(arguments, targets, name, expression, marks, *step):
    """Asks one query of every server in turn, round after round."""
    path, parameters = request_of(arguments, expression, marks, *step)
    # Twice before anything is measured: the answers compared, and caches warm.
    warm = [[servers.answer(s.get(path, parameters)) for s in targets] for _ in range(2)][-1]
    latencies, cpu = [[] for _ in targets], [0.0] * len(targets)
    began = time.monotonic()
    rounds = 0
    while rounds < arguments.rounds and (rounds < 5 or time.monotonic() - began < arguments.seconds):
        for i, server in enumerate(targets):
            used, sent = server.cpu_seconds(), time.perf_counter()
            status, _ = server.get(path, parameters)
            latencies[i].append(time.perf_counter() - sent)
            cpu[i] += server.cpu_seconds() - used
            if status != 200:
                raise RuntimeError(f"{server.name} answered {status} to {expression}")
        rounds += 1
    row = {"name": name, "query": expression, "rounds": rounds, "servers": {}, "wrong": {}, "notes": {}}
    row["series"], row["samples"] = answers.size(warm[0][1])
    for i, server in enumerate(targets):
        row["servers"][server.name] = {
            "median_ms": 1000 * statistics.median(latencies[i]),
            "p95_ms": 1000 * sorted(latencies[i])[int(0.95 * (rounds - 1) + 0.5)],
            "cpu_ms": 1000 * cpu[i] / rounds,
        }
        row["notes"][server.name], row["wrong"][server.name] = judged(warm[0], warm[i], server, marks)
    return row


def judged(reference, found, server, marks):
    """A word on an answer beside the first server's, and what is wrong with it if anything is."""
    difference = answers.difference(reference, found, ties=TIES in marks)
    if difference is None:
        return "equal", None
    if server.name != "victoria-metrics":
        return "DIFFERS", difference
    # Functions that don't change what values mean keep the metric's name in MetricsQL.
    reference, found = answers.nameless(reference), answers.nameless(found)
    difference = answers.difference(reference, found, ties=TIES in marks)
    if difference is None:
        return "equal but for names, which it keeps", None
    if RATE in marks:
        worst = answers.worst_error(reference[1], found[1])
        if worst is not None:
            return f"own rate, {worst:.1%} apart at most", None
        return "own rate, other steps answered", None
    return "DIFFERS", difference


def print_table(names, rows):
    first = names[0]
    wide = max(len(row["name"]) for row in rows)
    print("\nmilliseconds: median, p95, CPU a query" + (f"; ratios to {first}" if names[1:] else ""))
    head = f"{'':{wide}} {'series':>6} {'samples':>8}"
    for name in names:
        head += f" | {name:^22}" + (f" {'ratio':>6} {'CPU':>6}" if name != first else "")
    print(head)
    won = {name: [0, 0] for name in names[1:]}
    for row in rows:
        line = f"{row['name']:{wide}} {row['series']:>6} {row['samples']:>8}"
        own = row["servers"][first]
        for name in names:
            this = row["servers"][name]
            line += f" | {this['median_ms']:>7.2f} {this['p95_ms']:>7.2f} {this['cpu_ms']:>6.1f}"
            if name != first:
                line += f" {ratio(this, own, 'median_ms')} {ratio(this, own, 'cpu_ms')}"
                won[name][0] += this["median_ms"] > own["median_ms"]
                won[name][1] += this["cpu_ms"] > own["cpu_ms"]
        notes = [f"{name}: {row['notes'][name]}" for name in names[1:] if row["notes"][name] != "equal"]
        print(line + ("  " + "; ".join(notes) if notes else ""))
    for name, (latency, cpu) in won.items():
        print(f"{first} is ahead of {name} in median latency in {latency}, in CPU time in {cpu} of {len(rows)} queries")
    for row in rows:
        for name, difference in row["wrong"].items():
            if difference:
                print(f"{row['name']}: {first}  |  {name}: {difference}")


def ratio(this, own, what):
    return f"{this[what] / own[what]:>5.1f}x" if own[what] else f"{'-':>6}"


if __name__ == "__main__":
    sys.exit(main())
