"""What the differential test loads: a capture of a real machine, and series made for corners of PromQL.

No sample stands at a whole second, nor at the milliseconds that queries are asked at: a range is
closed at both ends in Prometheus 2, open at its left end from 3 on, and where no sample stands at an
end the two answer alike. Whole seconds are what subqueries and `@` with a literal time ask at.
"""

import math
import random
import subprocess
from pathlib import Path

from remote_write import STALE, Series

EXCERPT = Path(__file__).resolve().parents[1] / "data" / "node_exporter_excerpt.prom.zst"
# The capture is moved back by 60 weeks: servers refuse what their clock calls the future.
MOVED_MS = 60 * 7 * 86_400_000
# The capture's first scrape, whole seconds; what is made begins and ends with it.
START = 1_759_137_382
SECONDS = 1_798
# Samples of made series stand this much after whole seconds, queries ask at that much after.
SAMPLE_MS = 137
QUERY_MS = 337

INF = math.inf
NAN = math.nan


def capture(path=EXCERPT):
    """The series of an exposition text in zstd, read with the `zstd` command."""
    text = subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout.decode()
    series = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        head, value, milliseconds = line.rsplit(" ", 2)
        if head not in series:
            series[head] = Series(exposition_labels(head))
        series[head].samples.append((int(milliseconds) - MOVED_MS, float(value)))
    return list(series.values())


def exposition_labels(head):
    """`name{a="b"}` as labels; the capture's values hold neither quotes nor escapes."""
    name, _, inner = head.partition("{")
    labels = {"__name__": name}
    for pair in inner.rstrip("}").split('",'):
        if pair:
            label, _, value = pair.partition('="')
            labels[label] = value.rstrip('"')
    return labels


def at(second):
    """The time of a made sample, milliseconds: seconds after the start."""
    return (START + second) * 1000 + SAMPLE_MS


def made(name, values, every=10, begin=0, **labels):
    """A series of one value every so many seconds; None leaves a gap."""
    samples = [(at(begin + i * every), v) for i, v in enumerate(values) if v is not None]
    return Series({"__name__": name, **labels}, samples)


def steps(every=10):
    return range(SECONDS // every)


def counters(dice):
    """Counters that reset, begin late, pause, end and come back."""

    # They begin well above zero: where a counter begins inside of a range and near zero, Prometheus 3
    # extrapolates less than Prometheus 2. `near_zero_total` and `steady_total` are where both agree.
    def counter(rate, reset_every=None, begin=0):
        total, out = 100.0 * rate, []
        for i in steps():
            if i < begin:
                out.append(None)
                continue
            total = 0.0 if reset_every and i and i % reset_every == 0 else total + dice.random() * rate
            out.append(total)
        return out

    yield made("reset_total", counter(10), job="a", instance="0")
    yield made("reset_total", counter(200, 17), job="a", instance="1")
    yield made("reset_total", counter(3000, 61), job="b", instance="0")
    yield made("reset_total", counter(1e9, 5), job="b", instance="1")
    yield made("reset_total", counter(50, begin=70), job="c", instance="late")
    paused = [v if i < 50 or i > 95 else None for i, v in enumerate(counter(20))]
    yield made("reset_total", paused, job="c", instance="paused")
    ended = [v if i < 60 else STALE if i == 60 else None for i, v in enumerate(counter(20))]
    yield made("reset_total", ended, job="d", instance="ended")
    back = [STALE if i == 60 else None if 60 < i < 75 else v for i, v in enumerate(counter(20))]
    yield made("reset_total", back, job="d", instance="back")
    yield made("near_zero_total", [0.5 + i * 2 for i in steps()][60:], begin=600, job="a")
    yield made("steady_total", [i * 5 for i in steps()], job="a")


def gauges(dice):
    """Walks of distinct values, and values that arithmetic is odd about."""
    for shard in range(10):
        value, values = 50.0 + shard, []
        for _ in steps():
            value += dice.gauss(0, 1)
            values.append(value)
        yield made("walk", values, shard=str(shard), zone="east" if shard % 2 else "west", tier=str(shard % 3))
    odd = {
        "nan": [NAN],
        "inf": [INF],
        "neginf": [-INF],
        "zero": [0.0],
        "negzero": [-0.0],
        "negative": [-3.75],
        "huge": [1.5e300, 1.6e300],
        "tiny": [5e-308, 1e-306],
        "integer": [9007199254740993.0],
        "half": [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.25],
        "mixed": [1.0, NAN, 2.0, INF, 3.0, -INF, 4.0],
        "nan_then_number": [NAN] * 60 + [7.0] * 120,
    }
    for kind, cycle in odd.items():
        values = [cycle[i % len(cycle)] for i in steps()]
        yield made("odd", values, kind=kind, sign="-" if kind.startswith("neg") else "+")
    yield made("flip", [float(i // 4 % 2) for i in steps()], kind="slow")
    yield made("flip", [float(i % 2) for i in steps()], kind="fast")
    yield made("flip", [1.0 for _ in steps()], kind="never")
    yield made("line", [3.0 + 0.25 * i for i in steps()], slope="up")
    yield made("line", [1000.0 - 2 * i for i in steps()], slope="down")
    yield made("constant", [42.0 for _ in steps()])
    yield made("season", [100 + 10 * math.sin(i / 9) + dice.random() for i in steps()])
    # Three builds say 1, two 2, one 3.5: what count_values counts.
    for build, value in enumerate([1.0, 1.0, 1.0, 2.0, 2.0, 3.5]):
        yield made("build_version", [value for _ in steps()], build=str(build), os="linux" if build % 2 else "bsd")


def presence(dice):
    """Series that are there now and then."""
    yield made("sparse", range(8), every=240, every_seconds="240")
    yield made("sparse", range(5), every=400, every_seconds="400")
    yield made("single", [11.0], begin=900)
    yield made("pair", [11.0, 13.0], every=30, begin=900)
    yield made("early", [float(i) for i in range(30)], state="silent")
    yield made("early", [float(i) for i in range(30)] + [STALE], state="stale")
    flapping = [STALE if i % 12 == 6 else None if i % 12 > 6 else float(i) for i in steps()]
    yield made("flapping", flapping, kind="stale")
    yield made("flapping", [None if i % 12 > 6 else float(i) for i in steps()], kind="gap")
    second, samples, sums = 0, [], []
    while second < SECONDS - 1:
        samples.append((at(second) + dice.randrange(-30, 50), dice.random() * 100))
        sums.append((samples[-1][0], 1e6 + sum(value for _, value in samples)))
        second += dice.choice([1, 2, 5, 9, 15, 31, 64])
    yield Series({"__name__": "irregular"}, samples)
    yield Series({"__name__": "irregular_total"}, sums)


def histograms(dice):
    """Classic histograms, good ones and broken ones."""
    bounds = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "+Inf"]
    for handler, scale in {"/": 0.02, "/api": 0.2, "/slow": 3.0}.items():
        counts, total, rows, sums = [0] * len(bounds), 0.0, [], []
        for step in steps():
            for _ in range(20 if step else 2000):
                seen = dice.expovariate(1 / scale)
                total += seen
                for b, bound in enumerate(bounds):
                    counts[b] += seen <= float(bound)
            rows.append(list(counts))
            sums.append(total)
        for b, bound in enumerate(bounds):
            yield made("latency_seconds_bucket", [float(r[b]) for r in rows], handler=handler, le=bound, job="api")
        yield made("latency_seconds_count", [float(r[-1]) for r in rows], handler=handler, job="api")
        yield made("latency_seconds_sum", sums, handler=handler, job="api")
    broken = {
        "no_inf": {"0.1": 5, "1": 9},
        "only_inf": {"+Inf": 10},
        "empty": {"0.1": 0, "1": 0, "+Inf": 0},
        "not_monotonic": {"0.1": 10, "1": 7, "10": 12, "+Inf": 12},
        "all_above": {"0.1": 0, "1": 0, "+Inf": 8},
        "negative_bounds": {"-10": 2, "-1": 4, "0": 6, "+Inf": 9},
        "below_zero": {"-1": 3, "+Inf": 3},
        "not_a_number": {"0.1": 1, "wide": 2, "+Inf": 4},
        "nan_count": {"0.1": NAN, "1": 3, "+Inf": 4},
        "duplicate_bound": {"0.1": 1, "1": 2, "1.0": 3, "+Inf": 4},
    }
    for kind, buckets in broken.items():
        for bound, value in buckets.items():
            yield made("broken_bucket", [float(value) for _ in steps()], kind=kind, le=bound)


def joins():
    """Prometheus' own example of vector matching, and labels to rewrite."""
    errors = {("get", "500"): 24, ("get", "404"): 30, ("put", "501"): 3, ("post", "500"): 6, ("post", "404"): 21}
    for (method, code), value in errors.items():
        values = [value + 0.01 * i for i in steps()]
        yield made("method_code:http_errors:rate5m", values, method=method, code=code)
    for method, value in {"get": 600, "del": 34, "post": 120}.items():
        yield made("method:http_requests:rate5m", [value + 0.02 * i for i in steps()], method=method)
    for method, team in {"get": "edge", "post": "core", "put": "core"}.items():
        yield made("method_info", [1.0 for _ in steps()], method=method, team=team, version="v1")
    for cpu in ("0", "1"):
        for host in ("a", "b"):
            yield made("cores", [float(cpu) + 1 + (host == "b") * 10 for _ in steps()], cpu=cpu, host=host)
            yield made("limits", [float(cpu) + 2 for _ in steps()], cpu=cpu, host=host, zone="z" + host)
    yield made("target", [1.0 for _ in steps()], address="10.0.0.1:9100", path="/a/b/c", unicode="héllo wörld")
    yield made("target", [2.0 for _ in steps()], address="db-7.example:5432", path="", note='say "hi"\\now')
    yield made("target", [3.0 for _ in steps()], address="two\nlines", path="/")


def dates():
    """Seconds since 1970 for the date functions: leap days, year ends, before 1970."""
    moments = {
        "epoch": 0,
        "leap_day": 951_782_400,
        "year_end": 1_609_459_199,
        "year_start": 1_609_459_200,
        "before": -86_401,
        "april": 1_775_600_000.75,
        "common_february": 1_676_000_000,
        "century": 4_107_542_400,
    }
    for kind, moment in moments.items():
        yield made("moment", [float(moment) for _ in steps()], kind=kind)


def all_series():
    """All that is loaded, the same at every run."""
    dice = random.Random(20_260)
    out = capture()
    for part in (counters(dice), gauges(dice), presence(dice), histograms(dice), joins(), dates()):
        out += part
    for series in out:
        # An empty label is none at all.
        series.labels = {k: v for k, v in series.labels.items() if v}
        assert all(t % 1000 not in (0, QUERY_MS) for t, _ in series.samples), series.labels
    return out
