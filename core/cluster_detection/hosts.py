"""Host lists: of Slurm (``node[01-04,07]``), and host files with or without slots."""

from __future__ import annotations

import itertools
import re

from attrs import frozen

from parplan.errors import InputError

_GROUPS = re.compile(r"\[([^\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_LIMIT = 4096


@frozen
class Host:
    """A node, with the number of its devices where the list says it."""

    name: str
    slots: int | None = None


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Return the hosts of a list in the form of Slurm, or of a host file, one a line.

    A host file has ``name``, ``name slots=8`` (Open MPI, DeepSpeed) or ``name:8`` (MPICH) on each
    line, and comments behind ``#``.

    Raises
    ------
    InputError
        With the line of what is no host, or of one that is named twice.
    """
    found: list[Host] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            names, slots = _line(words)
        except InputError as error:
            raise error.located(line=number) from None
        for name in names:
            if any(host.name == name for host in found):
                raise InputError(f"host '{name}' is named twice", line=number)
            found.append(Host(name, slots))
        if len(found) > _LIMIT:
            raise InputError(f"has more than {_LIMIT} hosts", line=number)
    if not found:
        raise InputError("names no host")
    return tuple(found)


def _line(words: list[str]) -> tuple[list[str], int | None]:
    first, slots = words[0], None
    if match := re.fullmatch(r"([^:\[\],]+):(\d+)", first):
        first, slots = match[1], int(match[2])
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name == "slots" and value.isdecimal():
            slots = int(value)
        elif name != "max_slots" and name != "max-slots":
            raise InputError(f"'{word}' is neither a host nor slots=N")
    if slots == 0:
        raise InputError(f"host '{first}' has no slots")
    return [name for part in _parts(first) for name in _expanded(part)], slots


def _parts(text: str) -> list[str]:
    """Return what stands between commas that are not in brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part]


def _expanded(text: str) -> list[str]:
    """Return the names that a pattern stands for; leading zeros are kept."""
    pieces = _GROUPS.split(text)
    choices = [[piece] if i % 2 == 0 else _numbers(piece, text) for i, piece in enumerate(pieces)]
    names = ["".join(one) for one in itertools.islice(itertools.product(*choices), _LIMIT + 1)]
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        raise InputError(f"'{wrong}' is no name of a host")
    return names


def _numbers(text: str, whole: str) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InputError(f"'{part}' in '{whole}' is no number and no range such as 01-04")
        first, last = match[1], match[2] or match[1]
        if not int(first) <= int(last) <= int(first) + _LIMIT:
            raise InputError(f"'{part}' in '{whole}' is no range of up to {_LIMIT} hosts")
        found += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return found
