"""What is certain of every plan of a problem, for models that are relaxations."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen
class Surroundings:
    """What is certain of every plan of a problem, in ticks.

    Attributes
    ----------
    around
        (ticks before, ticks after) that no plan undercuts, of a task (operator, microbatch) in an
        alternative.
    least
        A makespan that no plan undercuts.
    """

    around: Callable[[int, int, int], tuple[int, int]]
    least: int
