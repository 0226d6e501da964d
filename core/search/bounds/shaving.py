"""Shaving: where no schedule starts a task in a part of its window, the part is cut off.

Each part is refuted by shrinking all windows under it (Martin and Shmoys, "A new approach to
computing optimal schedules for the job-shop scheduling problem", 1996).
"""

from __future__ import annotations

import numpy as np

from parplan.search.bounds.propagation import Spend, Windows, shrink, within
from parplan.search.bounds.streams import Index, Streams

PARTS = (2, 4)
"""Which part of a window is tried to be cut off: a half, else a quarter."""

PROGRESS = 0.02
"""Part of the sum of all windows that a round must cut off for another round to follow."""


def shave(streams: Streams, windows: Windows, spend: Spend) -> Windows | None:
    """Return windows cut at both ends until little changes; None if none is left.

    Parameters
    ----------
    windows
        Windows that ``shrink`` returned.
    """
    tasks = _shrinking(windows)
    while True:
        before = _width(windows)
        # The widest first: their parts say most.
        widths = (windows.latest - windows.earliest)[tasks]
        for task in tasks[np.argsort(-widths, kind="stable")].tolist():
            cut = _cut(streams, windows, task, spend)
            if cut is None:
                return None
            windows = cut
        if _width(windows) >= (1 - PROGRESS) * before:
            return windows


def _shrinking(windows: Windows) -> Index:
    """Return the tasks whose windows a machine can shrink."""
    own = np.zeros(len(windows.earliest), dtype=np.bool_)
    for states in windows.states:
        own[states.lanes.tasks[np.repeat(states.lanes.alone, states.lanes.counts)]] = True
    return np.flatnonzero(own)


def _width(windows: Windows) -> int:
    return int((windows.latest - windows.earliest).sum())


def _cut(streams: Streams, windows: Windows, task: int, spend: Spend) -> Windows | None:
    """Return the windows with the first part cut off one task's that can be."""
    low, high = int(windows.earliest[task]), int(windows.latest[task])
    for parts in PARTS:
        length = (high - low + 1) // parts
        if length:
            for part, rest in (
                ((low, low + length - 1), (low + length, high)),
                ((high - length + 1, high), (low, high - length)),
            ):
                if shrink(streams, within(windows, task, *part), spend) is None:
                    return shrink(streams, within(windows, task, *rest), spend)
    return windows
