"""Answers of the Prometheus HTTP API as values, and where two of them differ first."""

import math

TOLERANCE = 1e-9


def matches(a, b, tolerance=TOLERANCE):
    """Equal within a relative tolerance; NaN equals NaN, and an infinity itself only."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return a == b
    # Below 1e-300 there is no relative precision left to ask for.
    return abs(a - b) <= max(tolerance * max(abs(a), abs(b)), 1e-300)


def labels_text(metric):
    name = metric.get("__name__", "")
    inner = ",".join(f'{k}="{v}"' for k, v in sorted(metric.items()) if k != "__name__")
    return f"{name}{{{inner}}}"


def points(result):
    """A result's samples as (milliseconds, value)."""
    pairs = result["values"] if "values" in result else [result["value"]]
    return [(round(float(t) * 1000), float(v)) for t, v in pairs]


def series_of(data):
    """A vector or matrix as {labels: points}; raises where one label set stands twice."""
    out = {}
    for result in data["result"]:
        key = labels_text(result["metric"])
        if key in out:
            raise ValueError(f"{key} stands twice in one answer")
        out[key] = points(result)
    return out


def is_empty(answer):
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else data
    return answer.get("status") == "success" and result in ([], {}, None)


def size(answer):
    """Series and samples of an answer."""
    data = answer.get("data")
    if not isinstance(data, dict) or data.get("resultType") not in ("vector", "matrix"):
        return 1, 1
    return len(data["result"]), sum(len(r.get("values", [0])) for r in data["result"])


def difference(a, b, ordered=False, ties=False, tolerance=TOLERANCE):
    """What differs first between two answers `(HTTP status, JSON)`, as text; None where nothing does.

    `ordered` compares a vector's values in the order given too. `ties` compares, time by time, the
    values alone: which of equal series was chosen is the server's own affair.
    """
    (status_a, a), (status_b, b) = a, b
    told = [(answer.get("status"), answer.get("errorType")) for answer in (a, b)]
    if told[0] != told[1]:
        return f"{verdict(status_a, a)}  |  {verdict(status_b, b)}"
    if status_a != status_b:
        return f"HTTP {status_a}  |  HTTP {status_b}"
    if told[0][0] == "error":
        return None
    a, b = a.get("data"), b.get("data")
    if not (isinstance(a, dict) and "resultType" in a and isinstance(b, dict)):
        a, b = unordered(a), unordered(b)
        return None if a == b else f"{shortened(a)}  |  {shortened(b)}"
    if a["resultType"] != b.get("resultType"):
        return f"{a['resultType']}  |  {b.get('resultType')}"
    if a["resultType"] in ("scalar", "string"):
        return single_difference(a, b, tolerance)
    if ties:
        return sequence_difference("values", by_time(a), by_time(b), tolerance)
    found = series_difference(series_of(a), series_of(b), tolerance)
    if found is None and ordered and a["resultType"] == "vector":
        a, b = ([points(result)[0] for result in data["result"]] for data in (a, b))
        return sequence_difference("order", a, b, tolerance)
    return found


def unordered(data):
    """A list of label sets in one order of all: the API promises none."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return sorted(data, key=labels_text)
    return data


def verdict(status, answer):
    if answer.get("status") == "error":
        return f"HTTP {status} {answer.get('errorType')}: {shortened(answer.get('error'))}"
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else data
    return f"HTTP {status} {answer.get('status')} {shortened(result)}"


def shortened(thing, length=160):
    text = str(thing)
    return text if len(text) <= length else text[: length - 1] + "…"


def single_difference(a, b, tolerance):
    (time_a, value_a), (time_b, value_b) = a["result"], b["result"]
    if round(float(time_a) * 1000) != round(float(time_b) * 1000):
        return f"at {time_a}  |  at {time_b}"
    same = value_a == value_b
    if a["resultType"] == "scalar":
        same = matches(float(value_a), float(value_b), tolerance)
    return None if same else f"{value_a}  |  {value_b}"


def series_difference(a, b, tolerance):
    only_a = sorted(a.keys() - b.keys())
    only_b = sorted(b.keys() - a.keys())
    if only_a or only_b:
        count = f"{len(a)} series, {len(b)} series; "
        told_a = f"only {only_a[0]} {a[only_a[0]][:1]}" if only_a else "-"
        told_b = f"only {only_b[0]} {b[only_b[0]][:1]}" if only_b else "-"
        return f"{count}{told_a}  |  {told_b}"
    for key in sorted(a):
        found = sequence_difference(key, a[key], b[key], tolerance)
        if found:
            return found
    return None


def sequence_difference(key, a, b, tolerance):
    for (time_a, value_a), (time_b, value_b) in zip(a, b):
        if time_a != time_b or not matches(value_a, value_b, tolerance):
            return f"{key} {value_a!r} at {time_a}  |  {value_b!r} at {time_b}"
    if len(a) != len(b):
        return f"{key} {len(a)} samples  |  {len(b)} samples"
    return None


def by_time(data):
    """Every sample of an answer as (milliseconds, value), ordered by time and then by value."""
    order = lambda point: (point[0], math.isnan(point[1]), point[1] if point[1] == point[1] else 0.0)
    return sorted((p for result in data["result"] for p in points(result)), key=order)


def nameless(answer):
    """An answer without the names of its metrics."""
    status, told = answer
    results = [dict(r, metric={k: v for k, v in r["metric"].items() if k != "__name__"}) for r in told["data"]["result"]]
    return status, dict(told, data=dict(told["data"], result=results))


def worst_error(a, b):
    """The largest relative difference of two answers of the same shape; None where shapes differ."""
    a, b = series_of(a["data"]), series_of(b["data"])
    if a.keys() != b.keys() or any([t for t, _ in a[k]] != [t for t, _ in b[k]] for k in a):
        return None
    worst = 0.0
    for key in a:
        for (_, x), (_, y) in zip(a[key], b[key]):
            if not matches(x, y):
                worst = max(worst, abs(x - y) / max(abs(x), abs(y), 1e-300))
    return worst
