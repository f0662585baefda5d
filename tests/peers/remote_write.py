"""Prometheus remote write v1: series to a request body, with nothing but the standard library.

The body is a protobuf `WriteRequest` in a snappy block. Every message is written field by field, and
the block is one literal: valid snappy that a decoder must take, if not smaller than what it holds.
"""

import struct
from dataclasses import dataclass, field

# Prometheus' staleness marker: the NaN of these very bits says that a series ended.
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


@dataclass
class Series:
    """Labels, the name among them as `__name__`, and samples as (milliseconds, value), oldest first."""

    labels: dict
    samples: list = field(default_factory=list)


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(tag, payload):
    return bytes([tag << 3 | 2]) + varint(len(payload)) + payload


def encode_labels(labels):
    """The `Label` messages of a `TimeSeries`, in the order of their names, as remote write wants."""
    return b"".join(
        delimited(1, delimited(1, name.encode()) + delimited(2, value.encode()))
        for name, value in sorted(labels.items())
    )


def encode_sample(time, value):
    """A `Sample` message; its time is the varint of milliseconds, which many samples share."""
    return bytes((0x12, 10 + len(time), 0x09)) + struct.pack("<d", value) + b"\x10" + time


def snappy(raw):
    """A snappy block of one literal (tag 63: four bytes of length follow)."""
    return varint(len(raw)) + b"\xfc" + struct.pack("<I", len(raw) - 1) + raw


def body(encoded_series):
    """A request body of `TimeSeries` messages, each its labels and samples joined."""
    return snappy(b"".join(delimited(1, series) for series in encoded_series))


def batches(all_series, stride_ms):
    """Request bodies that together hold all the series, in order of time, `stride_ms` of it in each.

    In order over all the series, since Prometheus refuses what is far behind its newest sample.
    """
    heads = [encode_labels(series.labels) for series in all_series]
    places = [0] * len(all_series)
    ends = [series.samples[0][0] for series in all_series if series.samples]
    last = max(series.samples[-1][0] for series in all_series if series.samples)
    end = min(ends)
    while end <= last:
        end += stride_ms
        messages = []
        for i, series in enumerate(all_series):
            start = places[i]
            while places[i] < len(series.samples) and series.samples[places[i]][0] < end:
                places[i] += 1
            if places[i] > start:
                samples = series.samples[start : places[i]]
                messages.append(heads[i] + b"".join(encode_sample(varint(t), v) for t, v in samples))
        if messages:
            yield body(messages)
