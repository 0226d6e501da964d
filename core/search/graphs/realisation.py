"""From a schedule of the task graph to one of the problem: its exact network, in the same order."""

from __future__ import annotations

import attrs
import numpy as np

from parplan.scheduling.list_scheduler import NO_ARCS, Arcs, Deadlock
from parplan.scheduling.tables import Whole
from parplan.search.graphs.from_problem import placement_of
from parplan.search.graphs.list_schedule import Placed
from parplan.search.graphs.task_graph import TaskGraph
from parplan.search.placing.evaluation import Candidate, Prepared, as_candidate, prepare_assignment
from parplan.search.placing.placement import Placer
from parplan.system.collector import collector_paused


@collector_paused()
def realised(placer: Placer, graph: TaskGraph, placed: Placed) -> Candidate | None:
    """Return the exact schedule with the same devices and the same order on engines and links.

    Where memory does not allow that order, whatever is ready and fits starts, the earliest first;
    None if that does not end either. Linear in activities, apart from sorting.

    Raises
    ------
    InfeasibleError
        If parameters or one task alone do not fit, or modes do not couple.
    """
    placement = placement_of(placer, placed.device)
    exact = prepare_assignment(placer, placer.assignment(placement))
    prepared = attrs.evolve(exact, placement=placement)
    wanted = _wanted_starts(prepared, graph, placed)
    for arcs in (_orders_kept(prepared, wanted), NO_ARCS):
        starts = prepared.scheduler.run(wanted.astype(float), arcs)
        if not isinstance(starts, Deadlock):
            return as_candidate(prepared, starts)
    return None


def _wanted_starts(prepared: Prepared, graph: TaskGraph, placed: Placed) -> Whole:
    """Return when each activity of the exact network starts in a schedule of the task graph.

    A transfer that the task graph does not have is wanted when its first reader starts.
    """
    network, arcs = prepared.network, prepared.scheduler.tables.arcs
    sends, first, index = graph.sends, arcs.first, network.task_index
    producers = network.problem.graph.producers
    number = {key: s for s, key in enumerate(zip(sends.producer, sends.tensor, strict=True))}
    starts = placed.starts.tolist()
    arrivals = placed.arrivals
    for t, (tensor, microbatch, _, target) in enumerate(network.transfers, start=len(starts)):
        send = number.get((index[producers[tensor], microbatch], tensor))
        arrival = -1 if send is None else int(arrivals[send, target])
        if arrival < 0:
            starts.append(min(starts[reader] for reader in arcs.index[first[t] : first[t + 1]]))
        else:
            starts.append(arrival - int(arcs.amount[first[t]]))
    return np.array(starts, dtype=np.int64)


def _orders_kept(prepared: Prepared, starts: Whole) -> Arcs:
    """Return arcs between activities that follow one another on what carries one at a time."""
    held = prepared.scheduler.tables.ends
    activity = np.repeat(np.arange(len(starts), dtype=np.int64), np.diff(held.first))
    alone = np.asarray(prepared.network.capacities)[held.index] == 1
    activity, resource = activity[alone], held.index[alone]
    order = np.lexsort((activity, starts[activity], resource))
    activity, resource = activity[order], resource[order]
    next_to = resource[1:] == resource[:-1]
    return activity[:-1][next_to], activity[1:][next_to]
