"""What is certain of every plan, as the upper model takes it: times before and after each task."""

from __future__ import annotations

import math

from parplan.model.surroundings import Surroundings
from parplan.problem import STEP
from parplan.rules import Rules
from parplan.search.bounds.instance import compile_instance
from parplan.search.bounds.paths import find_windows


def find_surroundings(rules: Rules, least: int) -> Surroundings:
    """Return heads and tails of every task in every alternative, in whole ticks.

    Parameters
    ----------
    least
        A makespan in ticks that no plan undercuts.

    Raises
    ------
    InfeasibleError
        If an operator has no alternative whose inputs and outputs can reach it.
    """
    problem = rules.problem
    instance = compile_instance(problem, rules)
    windows = find_windows(instance)
    workload = problem.workload
    column_of = {
        (column.group, workload.scale(column.microbatch), column.release): index
        for index, column in enumerate(instance.columns)
    }
    place = [{row: index for index, row in enumerate(rows)} for rows in rules.allowed]

    def around(operator: int, microbatch: int, alternative: int) -> tuple[int, int]:
        column = 0
        if microbatch != STEP:
            alike = workload.group(microbatch), workload.scale(microbatch)
            column = column_of[(*alike, problem.release(microbatch))]
        at = column, place[operator][alternative]
        return _whole(windows.heads[operator][at]), _whole(windows.tails[operator][at])

    return Surroundings(around, least)


def _whole(ticks: float) -> int:
    """Return ticks rounded up, as starts are whole; 0 of what can never be chosen."""
    return math.ceil(ticks - 1e-6) if math.isfinite(ticks) else 0
