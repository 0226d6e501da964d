"""What a search for schedules makes small."""

from __future__ import annotations

from enum import IntEnum


class Criterion(IntEnum):
    """A figure of an order in ticks; compiled code sees the number.

    Attributes
    ----------
    MAKESPAN
        End of the last task, everything as early as the order allows.
    LONGEST_SPAN
        The longest time from the first start to the last end on one machine, everything as late
        as the last ends allow: what an iteration costs where no barrier holds the stages together
        (Zero Bubble Pipeline Parallelism, ICLR 2024, post-validation).
    """

    MAKESPAN = 0
    LONGEST_SPAN = 1
