"""From the actions that a profiler saw, rank by rank, to a recording of the plan that ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from attrs import frozen

from parplan.errors import InputError
from parplan.measuring.kineto import Range
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.stages.program import SENDS_GRADIENTS, Action, ActionKind, StageProgram


@frozen
class _Run:
    """One run of an action; steps count from 0."""

    step: int
    range: Range


def recorded(program: StageProgram, traces: Mapping[str, tuple[Range, ...]]) -> Recording:
    """Return the recording of a stage program.

    PyTorch waits for the input of an action within its range. What lies before the end of the
    actions that make this input is recorded as waiting, and the rest as work, in which the transfer
    is: so the clocks of the machines have to agree. An action that runs again begins a new step.

    Parameters
    ----------
    traces
        The actions of each trace, by its name; no two traces of one rank.

    Raises
    ------
    InputError
        Naming the trace: an action that the program does not have, a rank that is in two traces.
    """
    runs = [run for name, ranges in _checked(program, traces).items() for run in _steps(ranges)]
    ends = {(run.step, run.range.action): run.range.end_ns for run in runs}
    begin = min(run.range.start_ns for run in runs)
    spans = [span for run in runs for span in _spans(program, run, ends, begin)]
    return Recording(
        plan=program.name,
        source=f"torch.profiler: {', '.join(traces)}",
        spans=tuple(sorted(spans, key=lambda span: (span.start_s, span.device))),
    )


def _checked(
    program: StageProgram, traces: Mapping[str, tuple[Range, ...]]
) -> Mapping[str, tuple[Range, ...]]:
    """Return the traces, if they are of this program."""
    known = {timed.action for rank in program.ranks for timed in rank.actions}
    seen: dict[int, str] = {}
    for name, ranges in traces.items():
        for found in ranges:
            if found.action not in known:
                raise InputError(
                    f"it has the action 'PP:{found.action}', and the plan '{program.name}' has "
                    "none such; it is of another plan",
                    file=name,
                )
        for stage in {found.action.stage for found in ranges}:
            rank = program.stages[stage].rank
            if seen.setdefault(rank, name) != name:
                raise InputError(
                    f"stage {stage} of rank {rank} is in '{seen[rank]}' too; give one trace of "
                    "each rank",
                    file=name,
                )
    return traces


def _steps(ranges: tuple[Range, ...]) -> Iterator[_Run]:
    """Yield the runs of the actions of one trace."""
    count: Counter[Action] = Counter()
    for found in ranges:
        yield _Run(count[found.action], found)
        count[found.action] += 1


def _spans(
    program: StageProgram, run: _Run, ends: Mapping[tuple[int, Action], int], begin: int
) -> Iterator[Span]:
    """Yield the work of a run, and the wait before it where there is one."""
    action = run.range.action
    stage = program.stages[action.stage]
    made = max((ends.get((run.step, one), 0) for one in _inputs(program, action)), default=0)
    start = min(max(run.range.start_ns, made), run.range.end_ns)
    parts = ((WAIT, run.range.start_ns, start), (action.kind.value, start, run.range.end_ns))
    for what, first, last in parts:
        if what != WAIT or last > first:
            yield Span(
                stage.device,
                stage.operators(action.kind),
                what,
                program.numbers[action.microbatch],
                (first - begin) / 1e9,
                (last - first) / 1e9,
                run.step,
            )


def _inputs(program: StageProgram, action: Action) -> Iterator[Action]:
    """Yield the actions whose results an action takes from other stages."""
    if action.kind is ActionKind.FORWARD:
        for edge in program.edges_into(action.stage):
            yield Action(edge.source, ActionKind.FORWARD, action.microbatch)
    elif action.kind in SENDS_GRADIENTS:
        for edge in program.edges_out_of(action.stage):
            for kind in SENDS_GRADIENTS:
                yield Action(edge.target, kind, action.microbatch)
