from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import attrs
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.contracts import Constraint, Violation
from parplan.errors import InputError
from parplan.explaining.activities import Activities
from parplan.explaining.causes import Cause, Reason
from parplan.explaining.critical_path import Step, critical_path
from parplan.explaining.shares import Use, kinds, shares
from parplan.hardware import Link
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.schedule import Schedule, Tasks, Transfers
from tests.differential.generators import declarations, small_problems
from tests.differential.solving import with_declared
from tests.examples import chain
from tests.exhaustive import TooLargeError, shortest_schedule
from tests.plan_samples import pipeline_plan

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
ENDS = (Reason.START, Reason.RELEASE)


def _moved(schedule: Schedule, activity: int, ticks: int) -> Schedule:
    """The schedule with one activity later or earlier, and nothing else changed."""
    t, x = schedule.tasks, schedule.transfers
    starts, moved = t.start.copy(), x.start.copy()
    column, row = (starts, activity) if activity < len(t) else (moved, activity - len(t))
    column[row] += ticks
    return Schedule(
        schedule.problem,
        Tasks(t.operator, t.microbatch, t.alternative, starts),
        Transfers(x.tensor, x.microbatch, x.source, x.target, moved),
    )


def _judge(schedule: Schedule, rules: Rules, steps: tuple[Step, ...]) -> None:
    """The chain covers the makespan; the checker agrees that each of its steps is held up."""
    assert sum(step.ticks for step in steps) == schedule.makespan
    assert (steps[0].start, steps[-1].until) == (0, schedule.makespan)
    starts, ends = Activities(schedule).starts, Activities(schedule).ends
    for step, after in pairwise(steps):
        assert step.until == after.start
    for before, step in pairwise((None, *steps)):
        if step.activity < 0:
            continue
        assert step.start == starts[step.activity]
        refused = check_schedule(_moved(schedule, step.activity, -1), rules)
        assert bool(refused) == (step.cause.reason is not Reason.CHOICE)
        if step.cause.activity >= 0:
            assert before is not None
            assert before.activity == step.cause.activity
        if step.cause.reason is Reason.DATA:
            assert ends[step.cause.activity] == step.start


@settings(max_examples=25, suppress_health_check=QUIET)
@given(data=st.data(), problem=small_problems(max_operators=4, max_devices=2, max_tasks=6))
def test_the_chain_has_no_gap_and_the_checker_refuses_to_shorten_it(
    data: st.DataObject, problem: Problem, registry: Registry
) -> None:
    rules = with_declared(problem, registry, data.draw(st.just(()) | declarations(problem)))
    try:
        best = shortest_schedule(
            problem, 20_000, lambda schedule: not check_schedule(schedule, rules), pause=2
        )
    except TooLargeError:
        reject()
    if best is None:
        reject()
    _judge(best, rules, critical_path(best, rules))


def _steps(problem: Problem, registry: Registry, starts: list[int]) -> tuple[Step, ...]:
    """The critical path of tasks that all run on g0, at these starts."""
    rules = make_rules(problem, registry)
    rows = list(problem.tasks())
    tasks = Tasks([o for o, _ in rows], [m for _, m in rows], [0] * len(rows), starts)
    schedule = Schedule(problem, tasks, Transfers([], [], [], [], []))
    steps = critical_path(schedule, rules)
    _judge(schedule, rules, steps)
    return steps


def _causes(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    return [(step.cause.reason.value, step.cause.what) for step in steps]


def test_what_keeps_a_device_busy_is_followed_and_data_is_told_beside_it(
    registry: Registry,
) -> None:
    steps = _steps(chain(2), registry, [0, 1])
    assert _causes(steps) == [("start", "start"), ("device", "g0.compute")]
    assert steps[1].ties == (Cause(Reason.DATA, "t0", 0),)


def test_a_release_and_a_needless_wait_are_pauses(registry: Registry) -> None:
    problem = chain(2)
    problem = attrs.evolve(problem, workload=attrs.evolve(problem.workload, releases_s=(3.0,)))
    steps = _steps(problem, registry, [3, 7])
    assert [(s.kind, s.start, s.until) for s in steps] == [
        ("pause", 0, 3),
        ("forward", 3, 4),
        ("pause", 4, 7),
        ("forward", 7, 8),
    ]
    assert steps[-1].cause.reason is Reason.CHOICE
    assert [(s.use, s.ticks) for s in shares(steps)] == [(Use.PAUSE, 6), (Use.WORK, 2)]
    assert [(s.what, s.part) for s in kinds(steps)] == [("pause", 0.75), ("forward", 0.25)]


def test_memory_that_is_full_is_named_with_who_gives_it_back(registry: Registry) -> None:
    # Two microbatches on one device with two engines: there is memory for one of them alone.
    problem = chain(2, microbatches=2, size=5)
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=5, engines={"compute": 2})
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=(device,)))
    steps = _steps(problem, registry, [0, 2, 1, 3])
    assert _causes(steps)[2] == ("memory", "g0.memory")
    assert [(s.use, s.what, s.ticks) for s in shares(steps)] == [
        (Use.WORK, "g0", 3),
        (Use.MEMORY, "g0.memory", 1),
    ]


def test_a_transfer_waits_for_its_link(registry: Registry) -> None:
    problem = chain(2, devices=2, microbatches=2, seconds=1.0, size=4)
    links = (Link("a", "g0", "g1", 1.0, latency_s=1.0),)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=links))
    place = [[a.devices[0] for a in rows] for rows in problem.alternatives]
    tasks = Tasks(
        [0, 0, 1, 1], [0, 1, 0, 1], [place[0].index(0)] * 2 + [place[1].index(1)] * 2, [0, 1, 6, 10]
    )
    schedule = Schedule(problem, tasks, Transfers([0, 0], [0, 1], [0, 0], [1, 1], [1, 5]))
    rules = make_rules(problem, registry)
    steps = critical_path(schedule, rules)
    _judge(schedule, rules, steps)
    assert _causes(steps) == [("start", "start"), ("data", "t0"), ("link", "a"), ("data", "t0")]
    assert [(s.use, s.what, s.ticks) for s in shares(steps)] == [
        (Use.TRANSFER, "a", 5),
        (Use.LINK, "a", 4),
        (Use.WORK, "g0", 1),
        (Use.WORK, "g1", 1),
    ]


class Sleepy(Constraint):
    """No task starts before tick 2, said in code of its own."""

    name = "sleepy"

    def constrain(self, model: object) -> None:
        raise NotImplementedError

    def violations(self, schedule: Schedule) -> Iterator[Violation]:
        for row in range(len(schedule.tasks)):
            if schedule.tasks.start[row] < 2:
                yield Violation(self.name, "task", "too early")


def test_a_constraint_with_code_of_its_own_is_named(registry: Registry) -> None:
    problem = chain(1)
    rules = attrs.evolve(
        make_rules(problem, registry),
        constraints=(*make_rules(problem, registry).constraints, Sleepy()),
    )
    schedule = Schedule(problem, Tasks([0], [0], [0], [2]), Transfers([], [], [], [], []))
    steps = critical_path(schedule, rules)
    assert _causes(steps) == [("start", "start"), ("rule", "sleepy")]


def test_a_broken_plan_is_refused(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"breaks its rules: .* plan again"):
        _steps(chain(2), registry, [0, 0])


def test_a_pipeline_of_two_stages_is_told_apart(registry: Registry) -> None:
    plan = pipeline_plan(2, 3)
    rules = make_rules(plan.problem, registry)
    steps = critical_path(plan.schedule, rules)
    _judge(plan.schedule, rules, steps)
    assert sum(share.part for share in shares(steps)) == pytest.approx(1.0)
    assert {share.what for share in kinds(steps)} >= {"forward", "backward"}
