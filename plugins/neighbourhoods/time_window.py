"""A while: what starts within it may be ordered in any way, where it is or anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from parplan.contracts import Freedom, Neighbourhood
from parplan.rules import Rules
from parplan.schedule import Schedule

ORDER_SHARE = 0.3
"""How often alternatives stay as they are: then more tasks are as easy."""

ORDER_FACTOR = 3
"""How many times as many tasks these are."""


class TimeWindow(Neighbourhood):
    """Frees tasks that follow one another on all devices."""

    name: ClassVar[str] = "time-window"

    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return tasks from a random one on, by their starts."""
        tasks, group = elite[0].tasks, rules.problem.workload.group
        order_only = random.random() < ORDER_SHARE
        size *= ORDER_FACTOR if order_only else 1
        rows = sorted(range(len(tasks)), key=lambda row: int(tasks.start[row]))
        first = random.randint(0, max(len(rows) - size, 0))
        inside = [
            (int(tasks.operator[r]), int(tasks.microbatch[r])) for r in rows[first : first + size]
        ]
        if order_only:
            return Freedom(tasks=frozenset(inside))
        keys = dict.fromkeys((o, group(m)) for o, m in inside)
        return Freedom({(o, h): rules.allowed_by_group[o][h] for o, h in keys})
