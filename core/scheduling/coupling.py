"""Which choices of a producer and a reader go together: modes, layouts, routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parplan.errors import InfeasibleError
from parplan.graph import Graph, Repeat
from parplan.problem import Alternative, Problem
from parplan.rules import Rules


def mode_clash(graph: Graph, tensor: int, made: int, consumer: int, read: int) -> str:
    """Return why a reader's mode cannot take a tensor of its producer's mode; empty if it can."""
    producer = graph.producers[tensor]
    if tensor not in graph.reads(consumer, read):
        return ""
    one, two = graph.operators[producer], graph.operators[consumer]
    writes, reads = one.modes[made], two.modes[read]
    name = graph.tensors[tensor].name
    if tensor not in graph.writes(producer, made):
        return (
            f"'{two.name}' in mode '{reads.name}' reads '{name}', which '{one.name}' in mode "
            f"'{writes.name}' does not write"
        )
    if writes.layout and reads.layout and writes.layout != reads.layout:
        return (
            f"'{name}' is written in layout '{writes.layout}' and read by '{two.name}' in layout "
            f"'{reads.layout}'"
        )
    return ""


def fragile_edges(graph: Graph) -> tuple[tuple[int, int], ...]:
    """Return the (tensor, consumer) pairs in which some modes do not go together."""
    found = []
    for t, producer in enumerate(graph.producers):
        partial = any(m.writes is not None or m.layout for m in graph.operators[producer].modes)
        if partial:
            found += [(t, consumer) for consumer in graph.consumers[t]]
    return tuple(found)


def check_modes(
    problem: Problem,
    assignment: Mapping[tuple[int, int], int],
    edges: Sequence[tuple[int, int]],
) -> None:
    """Raise InfeasibleError for the first of these edges whose modes do not go together."""
    graph = problem.graph
    for tensor, consumer in edges:
        producer = graph.producers[tensor]
        for g, other in meeting_groups(problem, producer, consumer):
            made = problem.alternatives[producer][assignment[producer, g]].mode
            read = problem.alternatives[consumer][assignment[consumer, other]].mode
            clash = mode_clash(graph, tensor, made, consumer, read)
            if clash:
                raise InfeasibleError(clash, conflict=("modes",))


def meeting_groups(problem: Problem, producer: int, consumer: int) -> list[tuple[int, int]]:
    """Return the placement groups of a producer's and of a reader's tasks that meet.

    Work done once per step counts as group 0, and meets every group.
    """
    groups = range(problem.workload.group_count)
    operators = problem.graph.operators
    once = [operators[o].repeat is Repeat.STEP for o in (producer, consumer)]
    if not any(once):
        return [(g, g) for g in groups]
    makers, readers = (range(1) if fixed else groups for fixed in once)
    return [(g, h) for g in makers for h in readers]


def refute_edges(problem: Problem, rules: Rules) -> None:
    """Raise InfeasibleError for a tensor that no choice of its two ends lets through.

    O(tensors x alternatives) where equal devices are allowed, which is nearly everywhere; else
    every pair of alternatives is tried.
    """
    graph = problem.graph
    for tensor, producer in enumerate(graph.producers):
        for consumer in graph.consumers[tensor]:
            made, read = rules.allowed_by_group[producer], rules.allowed_by_group[consumer]
            pairs = {(made[g], read[h]) for g, h in meeting_groups(problem, producer, consumer)}
            if not all(_some_pair_fits(problem, tensor, consumer, *pair) for pair in pairs):
                one, two = graph.operators[producer].name, graph.operators[consumer].name
                raise InfeasibleError(
                    f"'{graph.tensors[tensor].name}' cannot get from operator '{one}' to "
                    f"'{two}': wherever the two may run, there is no route or no mode that "
                    "writes what the other reads",
                    conflict=("routes",),
                    repair=f"add a link, or let '{one}' and '{two}' run on one device, in modes "
                    "that go together",
                )


def _some_pair_fits(
    problem: Problem, tensor: int, consumer: int, made_in: Sequence[int], read_in: Sequence[int]
) -> bool:
    """Return whether some pair of these alternatives, of producer and reader, goes together."""
    producer = problem.graph.producers[tensor]
    makers = [problem.alternatives[producer][row] for row in made_in]
    readers = [problem.alternatives[consumer][row] for row in read_in]
    clash: dict[tuple[int, int], bool] = {}

    def fits(made: Alternative, read: Alternative) -> bool:
        key = (made.mode, read.mode)
        if key not in clash:
            clash[key] = bool(mode_clash(problem.graph, tensor, made.mode, consumer, read.mode))
        return not clash[key] and _reaches(problem, tensor, consumer, made, read)

    own = {made.devices: made for made in reversed(makers)}
    if any(read.devices in own and fits(own[read.devices], read) for read in readers):
        return True
    return any(fits(made, read) for made in makers for read in readers)


def _reaches(
    problem: Problem, tensor: int, consumer: int, made: Alternative, read: Alternative
) -> bool:
    """Return whether every device of the reader can get the tensor from some of the maker's."""
    if tensor not in problem.graph.reads(consumer, read.mode):
        return True
    route = problem.cluster.route
    return all(
        device in made.devices or any(route(source, device) is not None for source in made.devices)
        for device in read.devices
    )
