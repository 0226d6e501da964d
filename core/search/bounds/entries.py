"""How long a device is idle before its first task, and after its last one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from parplan.search.bounds.instance import Arc, Array, Instance
from parplan.search.bounds.paths import Windows, arrival, remainder

Move = Callable[[Instance, list[Array], tuple[Array, ...], Arc], Array]


def entry_heads(windows: Windows, machines: dict[int, int], members: set[int]) -> list[Array]:
    """Return heads of tasks where they are the first of ``members`` on their device.

    What such a task waits for has run on other devices: had it run here, it would have come first.

    Parameters
    ----------
    machines
        The resource that stands for a device: whatever runs there and counts uses it.
    members
        Operators that count.

    Returns
    -------
    list
        ``(columns, A)`` per operator; infinite where a task cannot be the first.
    """
    found = [heads.copy() for heads in windows.heads]
    for o in members:
        _tighten(windows, machines, members, found, o, backward=False)
    return found


def exit_tails(windows: Windows, machines: dict[int, int], members: set[int]) -> list[Array]:
    """Return tails of tasks where they are the last of ``members`` on their device."""
    found = [tails.copy() for tails in windows.tails]
    for o in members:
        _tighten(windows, machines, members, found, o, backward=True)
    return found


def _tighten(
    windows: Windows,
    machines: dict[int, int],
    members: set[int],
    found: list[Array],
    operator: int,
    *,
    backward: bool,
) -> None:
    """Raise the times of one operator by what cannot have run on its own device."""
    instance = windows.instance
    times = list(windows.tails if backward else windows.heads)
    move: Move = remainder if backward else arrival
    for arc in instance.outgoing[operator] if backward else instance.incoming[operator]:
        other = arc.after if backward else arc.before
        if arc.tensor < 0 or other not in members:
            continue
        kept = times[other]
        table, ticks = instance.amounts[instance.use[other]], instance.ticks[other]
        for device, machine in machines.items():
            here = [a for a, c in enumerate(instance.choices[operator]) if device in c.devices]
            busy = (table[:, machine] > 0) & (ticks.min(axis=0) > 0)
            if here and busy.any():
                times[other] = np.where(busy, np.inf, kept)
                with np.errstate(invalid="ignore"):
                    moved = move(instance, times, windows.series, arc)
                found[operator][:, here] = np.maximum(found[operator], moved)[:, here]
        times[other] = kept
