"""From one good schedule towards another: where they differ, each operator may take either side."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from parplan.contracts import Freedom, Neighbourhood
from parplan.rules import Rules
from parplan.schedule import Schedule


class PathRelinking(Neighbourhood):
    """Frees operators that another good schedule has elsewhere, between these two places.

    References
    ----------
    Glover, Laguna, Marti, "Fundamentals of scatter search and path relinking", Control and
    Cybernetics 29, 2000. A step of the path is not taken one by one, but by the solver.
    """

    name: ClassVar[str] = "path-relinking"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return operators in which another schedule differs; None if there is no other."""
        others = [chosen(schedule) for schedule in elite[1:]]
        mine = chosen(elite[0])
        different = [
            {key: (row, other[key]) for key, row in mine.items() if other[key] != row}
            for other in others
        ]
        different = [choices for choices in different if choices]
        if not different:
            return None
        choices = random.choice(different)
        position = {o: i for i, o in enumerate(rules.problem.graph.topological_order)}
        keys = sorted(choices, key=lambda key: position[key[0]])
        first = random.randint(0, max(len(keys) - size, 0))
        return Freedom({key: choices[key] for key in keys[first : first + size]})


def chosen(schedule: Schedule) -> dict[tuple[int, int], int]:
    """Return the alternative of each (operator, placement group)."""
    tasks, group = schedule.tasks, schedule.problem.workload.group
    columns = (tasks.operator.tolist(), tasks.microbatch.tolist(), tasks.alternative.tolist())
    return {(o, group(m)): row for o, m, row in zip(*columns, strict=True)}
