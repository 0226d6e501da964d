"""A schedule that is there before a search begins: taken as it is, and as a start for others."""

from __future__ import annotations

import numpy as np

from parplan.schedule import Schedule
from parplan.search.placing.evaluation import Candidate, as_candidate, prepare_assignment, tightened
from parplan.search.placing.placement import Placer


def given_candidate(placer: Placer, schedule: Schedule) -> Candidate:
    """Return a schedule of the placer's problem as a candidate, as early as its orders allow.

    Its starts need not keep any rule: only its placement and its order count.

    Raises
    ------
    InfeasibleError
        If its placement cannot be: modes do not go together, or parameters do not fit.
    """
    t, x, group = schedule.tasks, schedule.transfers, schedule.problem.workload.group
    columns = (t.operator, t.microbatch, t.alternative, t.start)
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    prepared = prepare_assignment(placer, {(o, group(m)): a for o, m, a, _ in rows})
    tasks = {(o, m): start for o, m, _, start in rows}
    moved = (x.tensor, x.microbatch, x.target, x.start)
    moves = {(k, m, d): start for k, m, d, start in zip(*(c.tolist() for c in moved), strict=True)}
    network = prepared.network
    starts = [tasks[key] for key in network.tasks]
    starts += [moves[k, m, d] for k, m, _, d in network.transfers]
    early = tightened(prepared.scheduler, starts)
    return as_candidate(prepared, np.array(early, dtype=np.int64))
