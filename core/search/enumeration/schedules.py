"""From a sequence of tasks and devices to the schedule in which all start as early as they can."""

from __future__ import annotations

from collections.abc import Sequence

from parplan.problem import Problem
from parplan.schedule import Schedule, Tasks, Transfers


def schedule_of(
    problem: Problem, allowed: Sequence[Sequence[int]], sequence: Sequence[tuple[int, int]]
) -> Schedule:
    """Return the schedule of a problem that ``as_delay_graph`` takes.

    Parameters
    ----------
    allowed
        Indices of the alternatives of each operator (``Rules.allowed``).
    sequence
        (task, device), parents before children; a task starts when its device has ended those
        before it and all that it reads has arrived.
    """
    graph, order = problem.graph, problem.graph.topological_order
    free = dict.fromkeys(range(len(problem.cluster.devices)), 0)
    tasks: list[tuple[int, int, int, int]] = []
    sent: dict[tuple[int, int], tuple[int, int, int, int, int]] = {}
    device_of: dict[int, int] = {}
    end_of: dict[int, int] = {}
    mode_of: dict[int, int] = {}
    for task, device in sequence:
        operator = order[task]
        row = next(
            r for r in allowed[operator] if problem.alternatives[operator][r].devices == (device,)
        )
        alternative = problem.alternatives[operator][row]
        start = free[device]
        for tensor in graph.reads(operator, alternative.mode):
            writer = graph.producers[tensor]
            start = max(start, end_of[writer])
            source = device_of[writer]
            if source != device:
                microbatch = problem.microbatches_of(writer)[0]
                size = problem.tensor_bytes(tensor, mode_of[writer], microbatch)
                timing = None
                if size is not None:
                    timing = problem.transfer_timing(size, source, device)
                assert timing is not None  # the sequence has a finite makespan
                sent[tensor, device] = (tensor, microbatch, source, device, end_of[writer])
                start = max(start, end_of[writer] + timing.arrival)
        microbatch = problem.microbatches_of(operator)[0]
        tasks.append((operator, microbatch, row, start))
        free[device] = start + problem.ticks(operator, alternative, microbatch)
        device_of[operator], end_of[operator], mode_of[operator] = (
            device,
            free[device],
            alternative.mode,
        )
    columns = zip(*tasks, strict=True)
    moved = zip(*sent.values(), strict=True) if sent else ((), (), (), (), ())
    return Schedule(problem, Tasks(*columns), Transfers(*moved))
