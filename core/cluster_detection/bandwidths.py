"""Measured bandwidths: tables of nccl-tests, and CSV of pairs."""

from __future__ import annotations

import csv
import io
import math
import re

from attrs import frozen

from parplan.errors import InputError

_RANK = re.compile(
    r"#\s+Rank\s+(\d+).*?\bPid\s+\d+\s+on\s+(?P<host>\S+)\s+device\s+(?P<device>\d+)"
    r"\s+\[[^\]]*\]\s+(?P<gpu>.*\S)"
)
_GIGABYTE = 1e9


@frozen
class PairBandwidth:
    """What was measured from one device to another, in bytes per second.

    Attributes
    ----------
    bandwidth, latency_s
        None where it was not measured.
    """

    source: str
    target: str
    bandwidth: float | None
    latency_s: float | None = None


@frozen
class GroupBandwidth:
    """What nccl-tests measured among ranks.

    Attributes
    ----------
    ranks
        Host, number on it, and reported name of the device of each rank.
    bandwidth
        The bus bandwidth of the largest message, in bytes per second: what each device sends, and
        receives, at the same time (nccl-tests, doc/PERFORMANCE.md).
    message_bytes
        Size of that message.
    """

    ranks: tuple[tuple[str, int, str], ...]
    bandwidth: float
    message_bytes: int

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts, each once."""
        return tuple(dict.fromkeys(host for host, _, _ in self.ranks))


def parse_bandwidths(text: str) -> tuple[PairBandwidth, ...] | GroupBandwidth:
    """Return what a file holds: a table of nccl-tests, or CSV ``source,target,GB/s[,us]``.

    Raises
    ------
    InputError
        With the line of what is neither.
    """
    return _nccl(text) if "busbw" in text else _pairs(text)


def _nccl(text: str) -> GroupBandwidth:
    ranks = [
        (match["host"], int(match["device"]), match["gpu"])
        for line in text.splitlines()
        if (match := _RANK.match(line))
    ]
    if not ranks:
        raise InputError("has no lines '# Rank ...': which devices were measured is not known")
    best: tuple[int, float] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or not words[0].isdecimal():
            continue
        # size, count, type, redop, root, then time, algbw, busbw, #wrong out of place and in place
        if len(words) < 8:
            raise InputError("is no row of nccl-tests", line=number)
        row = (int(words[0]), _figure(words[-6], number))
        best = max(best, row) if best else row
    if best is None:
        raise InputError("has no row with a measured message")
    return GroupBandwidth(tuple(ranks), best[1] * _GIGABYTE, best[0])


def _pairs(text: str) -> tuple[PairBandwidth, ...]:
    found: dict[tuple[str, str], PairBandwidth] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), start=1):
        cells = [cell.strip() for cell in row]
        is_head = cells[:2] in (["src", "dst"], ["source", "target"])
        if not any(cells) or cells[0].startswith("#") or is_head:
            continue
        if len(cells) not in (3, 4) or not cells[0] or not cells[1] or cells[0] == cells[1]:
            raise InputError(
                "is no pair: write source,target,GB/s or add microseconds", line=number
            )
        if (cells[0], cells[1]) in found:
            raise InputError(f"{cells[0]} to {cells[1]} stands there twice", line=number)
        latency = _figure(cells[3], number) * 1e-6 if len(cells) == 4 else None
        found[cells[0], cells[1]] = PairBandwidth(
            cells[0], cells[1], _figure(cells[2], number) * _GIGABYTE, latency
        )
    if not found:
        raise InputError("has no pair of devices")
    return tuple(found.values())


def _figure(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"'{text}' is no figure above zero", line=line)
    return value
