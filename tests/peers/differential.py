#!/usr/bin/env python3
"""The same expressions asked of two servers that hold the same data, and where their answers differ.

By default a Prometheus (the `prometheus` on the path) and an icecore are started on loopback over
fresh directories, loaded by remote write, asked, and stopped:

    cargo build --release --features cli,server
    python3 tests/peers/differential.py --icecore target/release/icecore

Any two servers on this machine can be compared in their place, and what is started can be chosen:

    differential.py --a http://127.0.0.1:9090 --b http://127.0.0.1:9091    (loads both)
    differential.py --start prometheus prometheus                          (must find nothing)
    differential.py --start prometheus victoria-metrics                    (must find what is known)

Every expression of expressions.txt is asked at several instants and over two ranges, every request of
requests.txt once. Answers must have the same label sets, the same times, and values equal within 1e-9
of each other; refusals the same status and the same `errorType`. Exits 0 where all are, 1 else.
"""

import argparse
import contextlib
import json
import re
import sys
import tempfile
from pathlib import Path

import answers
import data
import remote_write
import servers

HERE = Path(__file__).resolve().parent
QUERY_PATH, RANGE_PATH = "/api/v1/query", "/api/v1/query_range"
# What expressions are asked at, seconds after the data's start: where all series have something to
# say, where those that ended are beyond the lookback, and past the last sample.
INSTANTS = (330, 905, 1333, 1795, 2050)
# Start, end and step of ranges: coarse over all the data and beyond, fine over a part.
RANGES = ((-30, 1900, 37), (880, 1000, 7))


class Expression:
    def __init__(self, group, line):
        marks, self.text = re.fullmatch(r"((?:\[[a-z]+\] )*)(.*)", line, re.DOTALL).groups()
        self.group = group
        self.ties = "[ties]" in marks
        self.empty = "[empty]" in marks
        self.refused = group.startswith("errors")
        # A range's series stand in the order of their labels, whatever the expression says.
        self.ordered = not self.ties and is_call(self.text, ("sort", "sort_desc", "topk", "bottomk"))

    def asked_of(self, server):
        """The expression in the words of the Prometheus that the server says it is."""
        old, _, new = self.text.partition(" -> ")
        return new if new and server.is_new else old

    def requests(self):
        for second in INSTANTS:
            yield QUERY_PATH, {"time": moment(second)}
        for start, end, step in RANGES:
            yield RANGE_PATH, {"start": moment(start), "end": moment(end), "step": str(step)}


def is_call(text, names):
    """Whether the text is a call of one of the names from its beginning to its end."""
    name, _, rest = text.partition("(")
    depth = 1
    for i, character in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return name in names and i == len(rest) - 1
    return False


class Request:
    """A request as it stands in requests.txt: a method, a path, and parameters in URL form."""

    def __init__(self, line):
        self.text = line
        self.group = "requests"
        self.method, _, rest = line.partition(" ")
        self.path, _, query = rest.partition("?")
        self.parameters = servers.urllib.parse.parse_qsl(query, keep_blank_values=True)


def moment(second):
    return f"{data.START + second}.{data.QUERY_MS:03}"


def sections(path):
    """(group, line) of a file of lines under `== group`; a line that ends inside `...` goes on."""
    group, pending = "", ""
    for line in path.read_text().splitlines():
        if not pending and line.startswith("== "):
            group = line[3:]
        elif pending or (line and not line.startswith("# ") and (group or line != "#")):
            pending += line
            if pending.count("`") % 2:
                pending += "\n"
                continue
            yield group, pending
            pending = ""


def main():
    arguments = parse_arguments()
    asked = [Expression(*found) for found in sections(HERE / "expressions.txt")]
    asked += [Request(line) for _, line in sections(HERE / "requests.txt")]
    pattern = re.compile(arguments.only)
    asked = [one for one in asked if pattern.search(one.text) or pattern.search(one.group)]
    if arguments.list:
        for one in asked:
            print(f"{one.group}\t{one.text}")
        return 0
    servers.end_on_signal()
    with contextlib.ExitStack() as stack:
        a, b = both(arguments, stack)
        for server in (a, b):
            server.is_new = speaks_prometheus_3(server)
        load(a, b)
        return report(arguments, a, b, list(failures(a, b, asked)), len(asked))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("prometheus", "victoria-metrics", "icecore")
    parser.add_argument("--icecore", default="target/release/icecore", help="the program to start")
    parser.add_argument("--prometheus", default="prometheus", help="the program to start")
    parser.add_argument("--victoria-metrics", default="victoria-metrics", help="the program to start")
    parser.add_argument("--start", nargs=2, choices=kinds, default=["prometheus", "icecore"], metavar=("A", "B"))
    parser.add_argument("--a", metavar="URL", help="a server that runs already, in place of the first")
    parser.add_argument("--b", metavar="URL", help="a server that runs already, in place of the second")
    parser.add_argument("--only", default="", metavar="REGEX", help="expressions or groups that match it")
    parser.add_argument("--list", action="store_true", help="print what would be asked, a line each")
    parser.add_argument("--json", action="store_true", help="failures as JSON")
    return parser.parse_args()


def both(arguments, stack):
    """The two servers, started where no URL was given."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-")))
    start = {
        "prometheus": lambda d: servers.prometheus(d, arguments.prometheus),
        "victoria-metrics": lambda d: servers.victoria_metrics(d, arguments.victoria_metrics),
        "icecore": lambda d: servers.icecore(d, arguments.icecore),
    }
    for side, url, kind in zip("ab", (arguments.a, arguments.b), arguments.start):
        if url:
            yield servers.Server(side, url)
        else:
            yield stack.enter_context(start[kind](directory / side))


def speaks_prometheus_3(server):
    """Whether the server reads a name within the braces, in quotes, as Prometheus 2 does not."""
    _, answer = servers.answer(server.get(QUERY_PATH, {"query": '{"a name"}'}))
    return answer.get("status") == "success"


def load(*targets):
    """Writes all the data into every server, and waits until each says it has it."""
    for body in remote_write.batches(data.all_series(), stride_ms=60_000):
        for server in targets:
            server.write(body)
    for server in targets:
        servers.flush(server)
        query = {"query": "count_over_time(node_load1[1h])", "time": moment(data.SECONDS + 2)}

        def loaded():
            _, answer = servers.answer(server.get(QUERY_PATH, query))
            if answer.get("status") != "success":
                raise RuntimeError(f"{server.name}: {answer}")
            result = answer["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) == 1800

        servers.wait_for(loaded, f"{server.name} holds the data")


def failures(a, b, asked):
    """What differs: (group, expression, how it was asked, what), one at most for each expression."""
    for one in asked:
        if isinstance(one, Request):
            found = request_failure(a, b, one)
        else:
            found = expression_failure(a, b, one)
        if found:
            yield {"group": one.group, "expression": one.text, "asked": found[0], "difference": found[1]}


def expression_failure(a, b, one):
    something, ever_refused = False, False
    for path, parameters in one.requests():
        first, second = (
            servers.answer(s.get(path, {"query": one.asked_of(s), **parameters})) for s in (a, b)
        )
        asked = " ".join(f"{k}={v}" for k, v in parameters.items())
        refused = first[1].get("status") != "success"
        if refused and not one.refused:
            return asked, f"{a.name} refused it: {answers.verdict(*first)}"
        ever_refused |= refused
        something |= not answers.is_empty(first[1])
        found = answers.difference(first, second, one.ordered, one.ties)
        if found:
            return asked, found
    if one.refused:
        return None if ever_refused else ("all", f"{a.name} answered it: the test is not what it says")
    if something is one.empty:
        return "all", f"{a.name}'s answers were {'not ' if something else ''}empty: the test is not what it says"
    return None


def request_failure(a, b, one):
    if one.method == "POST":
        first, second = (servers.answer(s.post(one.path, one.parameters)) for s in (a, b))
    else:
        first, second = (servers.answer(s.get(one.path, one.parameters)) for s in (a, b))
    found = answers.difference(first, second)
    return ("as is", found) if found else None


def report(arguments, a, b, found, count):
    """Prints what differs; the exit code."""
    if arguments.json:
        print(json.dumps({"a": a.name, "b": b.name, "asked": count, "failures": found}, indent=1))
        return 1 if found else 0
    group = None
    for failure in found:
        if failure["group"] != group:
            group = failure["group"]
            print(f"\n== {group}")
        print(f"{failure['expression']}\n    {failure['asked']}\n    {failure['difference']}")
    if found:
        print(f"\nleft of | is {a.name} ({a.url}), right of it {b.name} ({b.url})")
    print(f"{count - len(found)} passed, {len(found)} failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
