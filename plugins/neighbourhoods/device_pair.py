"""Two devices: what runs on them for a while may go to either, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from parplan.contracts import Freedom, Neighbourhood
from parplan.rules import Rules
from parplan.schedule import Schedule


class DevicePair(Neighbourhood):
    """Frees the tasks of two devices that are near to each other in time."""

    name: ClassVar[str] = "device-pair"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return tasks of two random devices from a random task on; None with one device."""
        schedule, problem = elite[0], rules.problem
        devices = range(len(problem.cluster.devices))
        if len(devices) < 2:
            return None
        pair = set(random.sample(devices, 2))
        tasks = schedule.tasks
        inside = [
            row for row in range(len(tasks)) if set(schedule.alternative(row).devices) <= pair
        ]
        inside.sort(key=lambda row: int(tasks.start[row]))
        first = random.randint(0, max(len(inside) - size, 0))
        choices = {}
        for row in inside[first : first + size]:
            operator = int(tasks.operator[row])
            group = problem.workload.group(int(tasks.microbatch[row]))
            choices[operator, group] = tuple(
                a
                for a in rules.allowed_by_group[operator][group]
                if set(problem.alternatives[operator][a].devices) <= pair
            )
        return Freedom(choices) if choices else None
