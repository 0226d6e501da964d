"""Who waits for whom among the work of a run, without what follows from other waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from parplan.errors import InputError
from parplan.plugins.importers.chakra.events import Event, Run

MOST_WORK = 50_000
"""Pieces of work; a search for a plan of more would not end."""


@frozen
class Dependencies:
    """Waits between events, by position.

    Attributes
    ----------
    direct
        Of each event those that its nodes name, those that filled the storages that it reads, and
        of a receive its send.
    last
        Of each event the work that it waits for, directly or through events that are no work;
        without work that other work among it waits for.
    """

    direct: tuple[tuple[int, ...], ...]
    last: tuple[tuple[int, ...], ...]


def dependencies(run: Run, *, control: bool) -> Dependencies:
    """Return who waits for whom. Nodes that are not in the traces are passed over.

    Parameters
    ----------
    control
        Whether control dependencies count beside those of data.

    Raises
    ------
    InputError
        If events wait for one another in a circle.
    """
    waits: list[list[int]] = [_named(run, event, control=control) for event in run.events]
    for reader, maker in _flows(run):
        waits[reader].append(maker)
    for message in run.messages:
        waits[message.receive].append(message.send)
    direct = tuple(tuple(dict.fromkeys(found)) for found in waits)
    order = _sorted(run.events, direct)
    return Dependencies(direct, tuple(_last(run.events, direct, order)))


def _named(run: Run, event: Event, *, control: bool) -> list[int]:
    return [
        run.position[rank, number]
        for rank, node in event.parts.items()
        for number in (*node.data, *(node.control if control else ()))
        if (rank, number) in run.position
    ]


def _flows(run: Run) -> Iterator[tuple[int, int]]:
    """Yield who reads a storage with who filled it last, among the work of a rank.

    Numbers of nodes follow the order in which the host came to them, so the last before a reader
    has a smaller one.
    """
    filled: dict[tuple[int, int], int] = {}
    for rank, number in sorted(run.position):
        at = run.position[rank, number]
        if not run.events[at].is_work:
            continue
        node = run.events[at].parts[rank]
        for storage in sorted(node.read):
            maker = filled.get((rank, storage), at)
            if maker != at:
                yield at, maker
        filled.update(dict.fromkeys(((rank, storage) for storage in node.made), at))


def _sorted(events: Sequence[Event], direct: Sequence[Sequence[int]]) -> list[int]:
    """Return the events so that each comes after those it waits for."""
    left = [len(before) for before in direct]
    readers = _readers(direct)
    ready = deque(at for at, count in enumerate(left) if count == 0)
    order = []
    while ready:
        at = ready.popleft()
        order.append(at)
        for reader in readers[at]:
            left[reader] -= 1
            if left[reader] == 0:
                ready.append(reader)
    if len(order) < len(direct):
        stuck = next(at for at, count in enumerate(left) if count)
        raise InputError(f"{events[stuck].node} waits for itself, by way of others")
    return order


def _readers(direct: Sequence[Iterable[int]]) -> list[list[int]]:
    readers: list[list[int]] = [[] for _ in direct]
    for at, before in enumerate(direct):
        for other in before:
            readers[other].append(at)
    return readers


def _last(
    events: Sequence[Event], direct: Sequence[Sequence[int]], order: Sequence[int]
) -> list[tuple[int, ...]]:
    """Return the last work before each event."""
    place = {at: number for number, at in enumerate(at for at in order if events[at].is_work)}
    if len(place) > MOST_WORK:
        raise InputError(
            f"has {len(place):,} pieces of work, more than the {MOST_WORK:,} that are accepted; "
            "record a single step"
        )
    before: dict[int, int] = {}  # of work: all work that it waits for, as bits
    last: list[tuple[int, ...]] = [()] * len(direct)
    for at in order:
        candidates: set[int] = set()
        for other in direct[at]:
            candidates.update((other,) if events[other].is_work else last[other])
        older = 0
        for other in candidates:
            older |= before[other]
        kept = [other for other in candidates if not older >> place[other] & 1]
        last[at] = tuple(sorted(kept, key=place.__getitem__))
        if events[at].is_work:
            for other in kept:
                older |= 1 << place[other]
            before[at] = older
    return last
