"""What it costs to run a graph of stages as a chain, for targets that know chains alone."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs import frozen

from parplan.plans import Plan
from parplan.stages.program import StageProgram
from parplan.text import bytes_text, percent_text, seconds_text


@frozen
class Passed:
    """What a stage and the next one exchange for others, for each microbatch.

    Attributes
    ----------
    bytes, gradient_bytes
        Forwards and back.
    seconds
        That this holds the links between their devices, both ways together.
    """

    source: int
    target: int
    bytes: int
    gradient_bytes: int
    seconds: float


def passed(plan: Plan, program: StageProgram) -> tuple[Passed, ...]:
    """Return what neighbours exchange for others in a chain that was made of a graph."""
    return tuple(_passed(plan, program)) if program.graph_edges else ()


def _passed(plan: Plan, program: StageProgram) -> Iterator[Passed]:
    own = {(edge.source, edge.target): edge for edge in program.graph_edges}
    index = plan.problem.cluster.device_index
    device = [index[stage.device] for stage in program.stages]
    for edge in program.edges:
        direct = own.get((edge.source, edge.target))
        sizes = (direct.bytes, direct.gradient_bytes) if direct is not None else (0, 0)
        if (edge.bytes, edge.gradient_bytes) == sizes:
            continue
        ends = device[edge.source], device[edge.target]
        seconds = sum(
            held_s(plan, all_bytes, *way) - held_s(plan, own_bytes, *way)
            for all_bytes, own_bytes, way in (
                (edge.bytes, sizes[0], ends),
                (edge.gradient_bytes, sizes[1], ends[::-1]),
            )
        )
        more = (edge.bytes - sizes[0], edge.gradient_bytes - sizes[1])
        yield Passed(edge.source, edge.target, *more, seconds)


def held_s(plan: Plan, size: int, source: int, target: int) -> float:
    """Return the seconds that a message holds the way between two devices; none for no bytes."""
    if size == 0 or source == target:
        return 0.0
    timing = plan.problem.transfer_timing(size, source, target)
    return 0.0 if timing is None else timing.occupied * plan.problem.tick_s


def passing_notes(plan: Plan, program: StageProgram, graph_s: float | None) -> tuple[str, ...]:
    """Return what the chain costs, in words; nothing if the stages are one by themselves.

    Parameters
    ----------
    graph_s
        The makespan of the same stages as a graph, if it is known.
    """
    found = passed(plan, program)
    if not found:
        return ()
    ways = ", ".join(
        f"{bytes_text(one.bytes + one.gradient_bytes)} between stages {one.source} and "
        f"{one.target} ({seconds_text(one.seconds)} of their links)"
        for one in found
    )
    notes = [
        "the graph of its stages was made a chain: what skips stages passes through those between, "
        f"so modules hand on what they do not use; for each microbatch {ways}"
    ]
    if graph_s is not None:
        notes.append(
            f"as a chain it takes {seconds_text(program.makespan_s)}, as a graph "
            f"{seconds_text(graph_s)} ({percent_text(program.makespan_s / graph_s - 1)} more)"
        )
    return tuple(notes)


def passing_figures(plan: Plan, program: StageProgram, graph_s: float | None) -> dict[str, object]:
    """Return the same as numbers."""
    found = passed(plan, program)
    if not found:
        return {}
    figures: dict[str, object] = {"passed": [attrs.asdict(one) for one in found]}
    return figures if graph_s is None else {**figures, "graph_makespan_s": graph_s}
