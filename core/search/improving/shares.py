"""Constructions that memory cannot stop: every chain has a share of its device's memory of its own.

A chain is what one chunk runs for one placement group. It keeps something of every microbatch that
is under way; where chains of several groups share a device, whichever runs ahead can leave the
others no room, and all of them wait. With a share for each chain no chain waits for another's
memory, so no list schedule under such windows runs into a deadlock as long as one microbatch of
every chain fits at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from parplan.scheduling.list_scheduler import Arcs, arcs_of
from parplan.scheduling.tables import Rows
from parplan.search.placing.evaluation import Prepared

POWERS = (0.0, 0.5, 1.0, 2.0)
"""Shares in proportion to how long a chain keeps a microbatch, to these powers."""

Chain = tuple[int, int]
"""(chunk, placement group)."""


@frozen
class _Keeping:
    """What a chain keeps of one microbatch: by resource; and who takes it and gives it back."""

    amounts: Mapping[int, float]
    takers: frozenset[int]
    givers: frozenset[int]


def share_windows(prepared: Prepared) -> Iterator[Arcs]:
    """Yield arcs that keep every chain within a share; nothing where not one fits of each."""
    keeping = _keeping(prepared)
    stays = {chain: _stay(prepared, chain, kept) for chain, kept in keeping.items()}
    seen: list[Mapping[Chain, int]] = []
    for power in POWERS:
        windows = _shares(prepared, keeping, {c: max(s, 1) ** power for c, s in stays.items()})
        if windows is not None and windows not in seen:
            seen.append(windows)
            yield _arcs(prepared, keeping, windows)


def _keeping(prepared: Prepared) -> dict[Chain, _Keeping]:
    """Return what each chain keeps of the first microbatch of its group."""
    network = prepared.network
    workload = network.problem.workload
    firsts = {workload.group(k): k for k in reversed(range(workload.microbatches))}
    binding = _binding(prepared)
    found: dict[Chain, tuple[dict[int, float], set[int], set[int]]] = {}
    for buffer in network.buffers:
        # What is received belongs to the chain that reads it.
        users = (buffer.allocator, *buffer.through, *buffer.releasers)
        owner = next((a for a in users if a < len(network.tasks)), None)
        if owner is None:
            continue
        operator, microbatch = network.tasks[owner]
        group = workload.group(microbatch)
        amounts = [(r, x) for r, x in buffer.amounts if r in binding]
        if microbatch != firsts.get(group) or not amounts:
            continue
        if set(buffer.releasers) <= {buffer.allocator}:
            continue  # gone as its task ends
        row, takers, givers = found.setdefault(
            (prepared.chunk_of[operator], group), ({}, set(), set())
        )
        for r, x in amounts:
            row[r] = row.get(r, 0.0) + x
        takers.add(owner)
        givers.update(a for a in (*buffer.through, *buffer.releasers) if a < len(network.tasks))
    operators = network.tasks
    return {
        chain: _Keeping(
            row,
            frozenset(operators[a][0] for a in takers),
            frozenset(operators[a][0] for a in givers),
        )
        for chain, (row, takers, givers) in found.items()
    }


def _binding(prepared: Prepared) -> set[int]:
    rows: Rows = prepared.scheduler.tables.buffers
    return set(rows.index.tolist())


def _stay(prepared: Prepared, chain: Chain, kept: _Keeping) -> int:
    """Return how long the chain keeps a microbatch that is alone."""
    network, heads = prepared.network, prepared.profile.heads
    workload = network.problem.workload
    first = next(k for k in range(workload.microbatches) if workload.group(k) == chain[1])

    def tasks(operators: frozenset[int]) -> list[int]:
        return [a for o in operators if (a := network.task_index.get((o, first))) is not None]

    begin = min((int(heads[a]) for a in tasks(kept.takers)), default=0)
    ends = [int(heads[a]) + network.durations[a] for a in tasks(kept.givers)]
    return max(ends, default=begin) - begin


def _shares(
    prepared: Prepared, keeping: Mapping[Chain, _Keeping], weights: Mapping[Chain, float]
) -> dict[Chain, int] | None:
    """Return microbatches of each chain that fit together; None where one of each does not."""
    tables = prepared.scheduler.tables
    workload = prepared.network.problem.workload
    room = (tables.limits - tables.levels).tolist()
    transient = [0.0] * len(room)
    for a, row in enumerate(prepared.network.amounts):
        if a < len(prepared.network.tasks):
            for r, x in row:
                transient[r] = max(transient[r], x)
    for kept in keeping.values():
        for r, x in kept.amounts.items():
            room[r] -= x
    if any(room[r] < transient[r] for kept in keeping.values() for r in kept.amounts):
        return None
    sizes = dict.fromkeys(range(workload.group_count), 0)
    for k in range(workload.microbatches):
        sizes[workload.group(k)] += 1
    windows = dict.fromkeys(keeping, 1)
    growing = set(keeping)
    while growing:
        chain = max(growing, key=lambda c: (weights[c] / windows[c], c))
        amounts = keeping[chain].amounts
        if windows[chain] >= sizes[chain[1]] or any(
            room[r] - x < transient[r] for r, x in amounts.items()
        ):
            growing.discard(chain)
            continue
        windows[chain] += 1
        for r, x in amounts.items():
            room[r] -= x
    return windows


def _arcs(
    prepared: Prepared, keeping: Mapping[Chain, _Keeping], windows: Mapping[Chain, int]
) -> Arcs:
    """Return arcs: who takes for microbatch k waits for who gives back k - window."""
    network = prepared.network
    workload = network.problem.workload
    rows: dict[int, list[int]] = {}
    for k in range(workload.microbatches):
        rows.setdefault(workload.group(k), []).append(k)
    pairs = []
    for (chunk, group), window in windows.items():
        kept = keeping[chunk, group]
        for early, late in zip(rows[group], rows[group][window:], strict=False):
            for giver in kept.givers:
                for taker in kept.takers:
                    one = network.task_index.get((giver, early))
                    two = network.task_index.get((taker, late))
                    if one is not None and two is not None:
                        pairs.append((one, two))
    return arcs_of(sorted(pairs))
