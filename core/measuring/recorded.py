"""From the actions that a profiler saw, rank by rank, to a recording of the plan that ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from parplan.errors import InputError
from parplan.measuring.kineto import Range
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.stages.program import SENDS_GRADIENTS, Action, ActionKind, StageProgram


@frozen
class _Run:
    """One run of an action; steps count from 0."""

    step: int
    action: Action
    start_ns: int
    end_ns: int


def recorded(program: StageProgram, traces: Mapping[str, tuple[Range, ...]]) -> Recording:
    """Return the recording of a stage program.

    PyTorch waits for the input of an action within its range. What lies before the end of the
    actions that make this input is recorded as waiting, and the rest as work, in which the transfer
    is: so the clocks of the machines have to agree. An action that runs again begins a new step.
    Actions of one range run one after another, and share its work in proportion to the plan.

    Parameters
    ----------
    traces
        The actions of each trace, by its name; no two traces of one rank.

    Raises
    ------
    InputError
        Naming the trace: an action that the program does not have, a rank that is in two traces.
    """
    checked = _checked(program, traces)
    rough = [run for ranges in checked.values() for run in _runs(program, ranges, {})]
    ends = _ends(rough)  # of what shares a range only nearly: its wait counts as work
    runs = [run for ranges in checked.values() for run in _runs(program, ranges, ends)]
    ends = _ends(runs)
    begin = min(run.start_ns for run in runs)
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
            for action in found.actions:
                if action not in known:
                    raise InputError(
                        f"it has the action 'PP:{action}', and the plan '{program.name}' has "
                        "none such; it is of another plan",
                        file=name,
                    )
        for stage in {action.stage for found in ranges for action in found.actions}:
            rank = program.stages[stage].rank
            if seen.setdefault(rank, name) != name:
                raise InputError(
                    f"stage {stage} of rank {rank} is in '{seen[rank]}' too; give one trace of "
                    "each rank",
                    file=name,
                )
    return traces


Ends = Mapping[tuple[int, Action], int]
"""When each action ended in each step."""


def _ends(runs: Iterable[_Run]) -> Ends:
    return {(run.step, run.action): run.end_ns for run in runs}


def _runs(program: StageProgram, ranges: Iterable[Range], ends: Ends) -> Iterator[_Run]:
    """Yield the runs of the actions of one trace."""
    planned = {timed.action: timed.seconds for rank in program.ranks for timed in rank.actions}
    count: Counter[Action] = Counter()
    for found in ranges:
        first = found.actions[0]
        made = _made(program, count[first], first, ends)
        begin = min(max(found.start_ns, made), found.end_ns)
        shares = [planned[action] for action in found.actions]
        whole = sum(shares)
        start, done = found.start_ns, 0.0
        for action, share in zip(found.actions, shares, strict=True):
            done += share / whole if whole else 1 / len(shares)
            end = begin + round((found.end_ns - begin) * min(done, 1.0))
            yield _Run(count[action], action, start, end)
            count[action] += 1
            start = end


def _spans(program: StageProgram, run: _Run, ends: Ends, begin: int) -> Iterator[Span]:
    """Yield the work of a run, and the wait before it where there is one."""
    stage = program.stages[run.action.stage]
    made = _made(program, run.step, run.action, ends)
    start = min(max(run.start_ns, made), run.end_ns)
    kind = run.action.kind
    for what, first, last in ((WAIT, run.start_ns, start), (kind.value, start, run.end_ns)):
        if what != WAIT or last > first:
            yield Span(
                stage.device,
                stage.operators(kind),
                what,
                program.numbers[run.action.microbatch],
                (first - begin) / 1e9,
                (last - first) / 1e9,
                run.step,
            )


def _made(program: StageProgram, step: int, action: Action, ends: Ends) -> int:
    """Return when the last input of an action was made; 0 if it has none that was recorded."""
    return max((ends.get((step, one), 0) for one in _inputs(program, action)), default=0)


def _inputs(program: StageProgram, action: Action) -> Iterator[Action]:
    """Yield the actions whose results an action takes from other stages."""
    if action.kind is ActionKind.FORWARD:
        for edge in program.edges_into(action.stage):
            yield Action(edge.source, ActionKind.FORWARD, action.microbatch)
    elif action.kind in SENDS_GRADIENTS:
        for edge in program.edges_out_of(action.stage):
            for kind in SENDS_GRADIENTS:
                yield Action(edge.target, kind, action.microbatch)
