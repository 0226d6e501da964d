"""The checker accepts what is valid, and names what is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from attrs import frozen
from hypothesis import assume, given
from hypothesis import strategies as st

from parplan.checking import check_plan, check_schedule
from parplan.checking.facts import Facts
from parplan.checking.usage import Usage
from parplan.contracts import Constraint, Objective, Violation
from parplan.declarations import Declaration, Resident, ResidentParameters, Resource, Running
from parplan.errors import PluginError
from parplan.hardware import Cluster
from parplan.plans import Bound, Plan
from parplan.problem import Problem, Rule
from parplan.registry import Registered, Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule, Tasks, Transfers
from tests import naive
from tests.examples import chain, line
from tests.strategies import schedules, serial


def breaches(schedule: Schedule, registry: Registry) -> set[str]:
    """Names of the rules that a schedule breaks."""
    return {v.rule for v in check_schedule(schedule, make_rules(schedule.problem, registry))}


def with_tasks(schedule: Schedule, **columns: Any) -> Schedule:
    tasks = attrs.evolve(schedule.tasks, **columns)
    return Schedule(schedule.problem, tasks, schedule.transfers)


def with_transfers(schedule: Schedule, **columns: Any) -> Schedule:
    transfers = attrs.evolve(schedule.transfers, **columns)
    return Schedule(schedule.problem, schedule.tasks, transfers)


def changed(column: np.ndarray, row: int, value: int) -> np.ndarray:
    result = column.copy()
    result[row] = value
    return result


def rows_of(columns: Tasks | Transfers, rows: Iterable[int]) -> Any:
    """The same columns with the given rows only."""
    picked = {a.name: getattr(columns, a.name)[list(rows)] for a in attrs.fields(type(columns))}
    return type(columns)(**picked)


def tight(schedule: Schedule, device: int, spare: int = 0) -> Schedule:
    """The same schedule where a device has just the memory it needs, and ``spare`` more."""
    cluster = schedule.problem.cluster
    need = naive.peak_memory(schedule, cluster.devices[device].name) + spare
    assume(need > 0)
    devices = list(cluster.devices)
    devices[device] = attrs.evolve(devices[device], memory_bytes=need)
    problem = attrs.evolve(schedule.problem, cluster=attrs.evolve(cluster, devices=tuple(devices)))
    return Schedule(problem, schedule.tasks, schedule.transfers)


class TestValid:
    @given(schedule=schedules())
    def test_valid_schedules_pass(self, schedule: Schedule, registry: Registry) -> None:
        assert check_schedule(schedule, make_rules(schedule.problem, registry)) == ()

    @given(schedule=schedules(), data=st.data())
    def test_the_order_of_rows_does_not_matter(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        tasks = data.draw(st.permutations(range(len(schedule.tasks))))
        transfers = data.draw(st.permutations(range(len(schedule.transfers))))
        shuffled = Schedule(
            schedule.problem,
            rows_of(schedule.tasks, tasks),
            rows_of(schedule.transfers, transfers),
        )
        assert breaches(shuffled, registry) == set()

    @given(schedule=schedules())
    def test_times_derived_anew_equal_those_of_the_problem(self, schedule: Schedule) -> None:
        facts = Facts(schedule)
        assert facts.ends.tolist() == schedule.ends.tolist()
        assert facts.makespan == schedule.makespan
        for row in range(len(schedule.transfers)):
            timing = schedule.transfer_timing(row)
            assert facts.moves.occupied[row] == timing.occupied
            assert facts.moves.arrival[row] == timing.arrival
            held = [
                (link, start - schedule.transfers.start[row], end - start)
                for of, link, start, end in zip(
                    facts.holds.transfer,
                    facts.holds.link,
                    facts.holds.start,
                    facts.holds.end,
                    strict=True,
                )
                if of == row
            ]
            assert held == [(h.link, h.offset, h.ticks) for h in timing.holds]

    @given(
        seconds=st.floats(0, 1e3),
        scale=st.floats(0.1, 10),
        size=st.integers(0, 10**12),
        bandwidth=st.floats(1e3, 1e12),
        tick_s=st.sampled_from([1.0, 1e-3, 1e-6, 1e-9]),
    )
    def test_times_of_any_size_equal_those_of_the_problem(
        self, seconds: float, scale: float, size: int, bandwidth: float, tick_s: float
    ) -> None:
        problem = chain(2, devices=2, microbatches=1, seconds=seconds, size=size)
        links = tuple(attrs.evolve(k, bandwidth=bandwidth) for k in problem.cluster.links)
        problem = attrs.evolve(
            problem,
            cluster=attrs.evolve(problem.cluster, links=links),
            workload=attrs.evolve(problem.workload, scales=(scale,)),
            tick_s=tick_s,
        )
        schedule = serial(problem, {(0, 0): 0, (1, 0): 1})
        facts = Facts(schedule)
        assert facts.ends.tolist() == schedule.ends.tolist()
        assert facts.moves.arrival[0] == schedule.transfer_timing(0).arrival


class TestLevels:
    @given(schedule=schedules(max_operators=4, max_microbatches=2))
    def test_memory_equals_the_naive_sum_at_every_instant(self, schedule: Schedule) -> None:
        usage = Usage(Facts(schedule))
        for device in schedule.problem.cluster.devices:
            name = device.name
            resource = Resource(
                "all",
                0,
                (
                    Resident(name),
                    ResidentParameters(name),
                    Running(name, per_workspace_byte=True),
                ),
            )
            assert usage.profile(resource).peak == naive.peak_memory(schedule, name)

    @given(schedule=schedules(max_operators=4), data=st.data())
    def test_engines_overlap_exactly_where_the_naive_count_says(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        shift = st.lists(st.integers(-3, 3), min_size=len(schedule.tasks))
        moved = schedule.tasks.start + np.array(data.draw(shift)[: len(schedule.tasks)])
        shifted = with_tasks(schedule, start=np.maximum(moved, 0))
        cluster = schedule.problem.cluster
        over = any(
            naive.engine_level(shifted, d.name, engine, tick) > capacity
            for d in cluster.devices
            for engine, capacity in d.engines.items()
            for tick in naive.horizon(shifted)
        )
        assert ("devices" in breaches(shifted, registry)) == over

    @given(schedule=schedules(), data=st.data())
    def test_one_byte_less_than_the_peak_is_too_little(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        device = data.draw(st.integers(0, len(schedule.problem.cluster.devices) - 1))
        assert "memory" not in breaches(tight(schedule, device), registry)
        small = tight(schedule, device, spare=-1)
        found = check_schedule(small, make_rules(small.problem, registry))
        assert found
        assert {v.rule for v in found} == {"memory"}
        assert max(v.amount or 0 for v in found) == 1
        assert {v.where for v in found} == {f"g{device}.memory"}

    def test_fractions_that_add_up_to_the_capacity_fit(self, registry: Registry) -> None:
        powers = {f"o{i}": power for i, power in enumerate([0.1, 0.2, 0.7])}
        found = check_parallel(powers, 1.0, registry)
        assert found == ()
        (violation,) = check_parallel(powers, 0.9, registry)
        assert violation.amount == pytest.approx(0.1)
        assert "'o2' (microbatch 0) on g0" in violation.message

    def test_what_ends_makes_room_for_what_starts(self, registry: Registry) -> None:
        problem = chain(2, devices=1, microbatches=1, seconds=1.0)
        schedule = serial(problem, {(0, 0): 0, (1, 0): 0})
        assert schedule.tasks.start.tolist() == [0, 1]
        assert breaches(schedule, registry) == set()


@frozen
class Power(Constraint):
    """A cap on what runs at once on device g0, for these tests."""

    name: ClassVar[str] = "power"
    cap: float
    powers: dict[str, float]

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        yield Resource("power", self.cap, (Running("g0", amount=self.powers),), "W")


def with_rules(registry: Registry, *classes: type[Constraint] | type[Objective]) -> Registry:
    """The registry with further constraints or objectives."""
    constraints, objectives = dict(registry.constraints), dict(registry.objectives)
    for cls in classes:
        into = constraints if issubclass(cls, Constraint) else objectives
        into[cls.name] = Registered(cls.name, cls, "tests")
    return attrs.evolve(registry, constraints=constraints, objectives=objectives)


def check_parallel(
    powers: dict[str, float], cap: float, registry: Registry
) -> tuple[Violation, ...]:
    """Check operators of no relation that all run at once on g0."""
    problem = chain(len(powers), devices=1, microbatches=1, seconds=1.0)
    problem = attrs.evolve(
        problem,
        graph=attrs.evolve(problem.graph, tensors=()),
        constraints=(Rule("power", {"cap": cap, "powers": powers}),),
    )
    schedule = serial(problem, {(o, 0): 0 for o in range(len(powers))})
    together = with_tasks(schedule, start=np.zeros(len(powers), dtype=int))
    return check_schedule(together, make_rules(problem, with_rules(registry, Power)))


class TestDamage:
    @given(schedule=schedules(), data=st.data())
    def test_a_task_left_out(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        gone = data.draw(st.integers(0, len(schedule.tasks) - 1))
        kept = [row for row in range(len(schedule.tasks)) if row != gone]
        damaged = Schedule(schedule.problem, rows_of(schedule.tasks, kept), schedule.transfers)
        assert breaches(damaged, registry) == {"tasks"}

    @given(schedule=schedules(), data=st.data())
    def test_a_task_there_twice(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        again = data.draw(st.integers(0, len(schedule.tasks) - 1))
        rows = [*range(len(schedule.tasks)), again]
        damaged = Schedule(schedule.problem, rows_of(schedule.tasks, rows), schedule.transfers)
        assert breaches(damaged, registry) == {"tasks"}

    @given(schedule=schedules(), data=st.data())
    def test_a_task_that_names_nothing(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        row = data.draw(st.integers(0, len(schedule.tasks) - 1))
        column = data.draw(st.sampled_from(["operator", "microbatch", "alternative", "start"]))
        value = data.draw(st.sampled_from([-2, 99, 2**62]))
        if column == "start":
            value = 2**62
        damaged = with_tasks(
            schedule, **{column: changed(getattr(schedule.tasks, column), row, value)}
        )
        assert "tasks" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_transfer_left_out_or_there_twice(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        count = len(schedule.transfers)
        assume(count > 0)
        row = data.draw(st.integers(0, count - 1))
        for rows in ([r for r in range(count) if r != row], [*range(count), row]):
            damaged = Schedule(schedule.problem, schedule.tasks, rows_of(schedule.transfers, rows))
            assert "transfers" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_transfer_changed_in_any_column(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        assume(len(schedule.transfers) > 0)
        row = data.draw(st.integers(0, len(schedule.transfers) - 1))
        column = data.draw(st.sampled_from(["tensor", "microbatch", "source", "target"]))
        old = getattr(schedule.transfers, column)
        value = data.draw(st.integers(-2, 3))
        assume(value != old[row])
        if column == "source":  # each device of the producer's group may send
            maker = int(Facts(schedule).moves.producer[row])
            assume(value not in schedule.alternative(maker).devices)
        damaged = with_transfers(schedule, **{column: changed(old, row, value)})
        assert "transfers" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_task_before_what_it_reads_is_there(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        facts = Facts(schedule)
        reads, needs = facts.reads, facts.needs
        assume(len(needs.read) > 0)
        need = data.draw(st.integers(0, len(needs.read) - 1))
        edge = int(needs.read[need])
        moved = int(needs.transfer[need])
        there = facts.ends[reads.producer[edge]]
        if moved >= 0:
            there = schedule.transfers.start[moved] + facts.moves.arrival[moved]
        row = int(reads.reader[edge])
        damaged = with_tasks(schedule, start=changed(schedule.tasks.start, row, int(there) - 1))
        assert "precedence" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_transfer_before_its_producer_has_ended(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        assume(len(schedule.transfers) > 0)
        row = data.draw(st.integers(0, len(schedule.transfers) - 1))
        facts = Facts(schedule)
        early = int(facts.ends[facts.moves.producer[row]]) - 1
        damaged = with_transfers(schedule, start=changed(schedule.transfers.start, row, early))
        assert "precedence" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_two_tasks_swapped(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        facts = Facts(schedule)
        long = np.flatnonzero(facts.durations[facts.reads.producer] > 0)
        assume(len(long) > 0)
        edge = int(data.draw(st.sampled_from(long.tolist())))
        a, b = int(facts.reads.producer[edge]), int(facts.reads.reader[edge])
        start = changed(changed(schedule.tasks.start, a, facts.starts[b]), b, facts.starts[a])
        assert "precedence" in breaches(with_tasks(schedule, start=start), registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_task_before_time_0_or_its_release(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        row = data.draw(st.integers(0, len(schedule.tasks) - 1))
        early = with_tasks(schedule, start=changed(schedule.tasks.start, row, -1))
        assert "start" in breaches(early, registry)
        release = schedule.problem.release(int(schedule.tasks.microbatch[row]))
        if release > 0:
            early = with_tasks(schedule, start=changed(schedule.tasks.start, row, release - 1))
            assert "release" in breaches(early, registry)

    @given(schedule=schedules(max_microbatches=3), data=st.data())
    def test_one_microbatch_moved_from_its_group(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        problem, t = schedule.problem, schedule.tasks
        group = [problem.workload.group(m) for m in t.microbatch.tolist()]
        mates = [list(zip(t.operator, group, strict=True)).count(key)
                 for key in zip(t.operator, group, strict=True)]  # fmt: skip
        row = data.draw(st.integers(0, len(t) - 1))
        other = (int(t.alternative[row]) + 1) % len(problem.alternatives[int(t.operator[row])])
        assume(mates[row] > 1 and other != t.alternative[row])
        damaged = with_tasks(schedule, alternative=changed(t.alternative, row, other))
        assert "group" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_an_operator_moved_to_devices_that_lack_its_inputs(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        facts, t = Facts(schedule), schedule.tasks
        assume(len(facts.reads.reader) > 0)
        edge = data.draw(st.integers(0, len(facts.reads.reader) - 1))
        row, maker = int(facts.reads.reader[edge]), int(facts.reads.producer[edge])
        operator = int(t.operator[row])
        here = schedule.alternative(row)
        moves = schedule.transfers
        brought = moves.target[moves.tensor == facts.reads.tensor[edge]].tolist()
        near = {*schedule.alternative(maker).devices, *here.devices, *brought}
        away = [
            i
            for i, a in enumerate(schedule.problem.alternatives[operator])
            if a.mode == here.mode and not set(a.devices) <= near
        ]
        assume(away)
        moved = np.where(t.operator == operator, data.draw(st.sampled_from(away)), t.alternative)
        damaged = with_tasks(schedule, alternative=moved)
        assert "transfers" in breaches(damaged, registry)

    @given(schedule=schedules(), data=st.data())
    def test_a_longer_duration_than_the_schedule_allows_for(
        self, schedule: Schedule, data: st.DataObject, registry: Registry
    ) -> None:
        facts = Facts(schedule)
        assume(len(facts.reads.reader) > 0)
        edge = data.draw(st.integers(0, len(facts.reads.reader) - 1))
        name = schedule.problem.graph.operators[
            int(schedule.tasks.operator[facts.reads.producer[edge]])
        ].name
        slower = attrs.evolve(
            schedule.problem.graph,
            operators=tuple(
                attrs.evolve(o, modes=tuple(attrs.evolve(m, seconds={"*": 1e3}) for m in o.modes))
                if o.name == name
                else o
                for o in schedule.problem.graph.operators
            ),
        )
        problem = attrs.evolve(schedule.problem, graph=slower)
        damaged = Schedule(problem, schedule.tasks, schedule.transfers)
        assert "precedence" in breaches(damaged, registry)


class TestMessages:
    def test_they_name_task_device_time_and_amount(self, registry: Registry) -> None:
        problem = chain(2, devices=2, microbatches=1, seconds=2.0, size=4)
        schedule = serial(problem, {(0, 0): 0, (1, 0): 1})
        damaged = with_tasks(schedule, start=[0, 3])
        (violation,) = check_schedule(damaged, make_rules(problem, registry))
        assert violation.message == (
            "'o1' (microbatch 0) on g1 starts at 3 s, 3 s before the arrival of the transfer of "
            "'t0' (microbatch 0) from g0 to g1"
        )
        assert (violation.amount, violation.tick) == (3.0, 3)

    def test_links_and_engines(self, registry: Registry) -> None:
        problem = chain(2, devices=2, microbatches=2, seconds=2.0, size=4)
        schedule = serial(problem, {(0, 0): 0, (1, 0): 1})
        damaged = with_transfers(schedule, start=[8, 8])
        links = [v for v in check_schedule(damaged, make_rules(problem, registry))
                 if v.rule == "links"]  # fmt: skip
        assert [v.message for v in links] == [
            "g0>g1 carries 2 transfers, 1 more than its 1 transfers, from 8 s: "
            "transfer of 't0' (microbatch 0) from g0 to g1, "
            "transfer of 't0' (microbatch 1) from g0 to g1"
        ]

    def test_first_in_first_out(self, registry: Registry) -> None:
        problem = chain(2, devices=2, microbatches=2, seconds=1.0, size=0)
        ordered = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, fifo=True))
        for spec, expected in ((problem, set()), (ordered, {"fifo"})):
            schedule = serial(spec, {(0, 0): 0, (1, 0): 1})
            t = with_tasks(schedule, start=[0, 1, 9, 12])
            assert t.tasks.microbatch.tolist() == [0, 1, 0, 1]
            assert breaches(with_transfers(t, start=[5, 4]), registry) == expected
            assert breaches(with_transfers(t, start=[4, 5]), registry) == set()

    def test_no_route(self, registry: Registry) -> None:
        problem = chain(2, devices=2, microbatches=1, seconds=1.0)
        schedule = serial(problem, {(0, 0): 0, (1, 0): 1})
        cut = Cluster("cut", problem.cluster.devices)
        damaged = Schedule(attrs.evolve(problem, cluster=cut), schedule.tasks, schedule.transfers)
        assert "route" in breaches(damaged, registry)


@frozen
class Raises(Constraint):
    name: ClassVar[str] = "raises"

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        raise KeyError("power")


@frozen
class Rubbish(Constraint):
    name: ClassVar[str] = "rubbish"

    def violations(self, schedule: Schedule) -> Any:
        return ["too hot"]


@frozen
class Own(Constraint):
    name: ClassVar[str] = "own"

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        yield Violation("own", "everything", "I do not like it")


@frozen
class Failing(Objective):
    name: ClassVar[str] = "failing"

    def value(self, schedule: Schedule) -> float:
        raise ZeroDivisionError("no work")


class TestPlugins:
    def check(self, registry: Registry, name: str) -> tuple[Violation, ...]:
        problem = attrs.evolve(chain(1, devices=1), constraints=(Rule(name),))
        rules = make_rules(problem, with_rules(registry, Raises, Rubbish, Own))
        return check_schedule(serial(problem, {(0, 0): 0}), rules)

    def test_violations_of_a_constraint_count(self, registry: Registry) -> None:
        assert [v.message for v in self.check(registry, "own")] == ["I do not like it"]

    def test_a_constraint_that_raises_is_named(self, registry: Registry) -> None:
        with pytest.raises(PluginError, match=r"'raises', in violations: raised KeyError: 'power'"):
            self.check(registry, "raises")

    def test_a_constraint_that_gives_rubbish_is_named(self, registry: Registry) -> None:
        with pytest.raises(PluginError, match=r"'rubbish', in violations: gave 'too hot'"):
            self.check(registry, "rubbish")


class TestPlans:
    def plan(self, **changes: Any) -> Plan:
        problem = chain(3, devices=1, microbatches=2, seconds=1.0)
        schedule = serial(problem, {(o, 0): 0 for o in range(3)})
        plan = Plan(problem, schedule, {"makespan": 6.0}, Bound(6.0, source="device load"))
        return attrs.evolve(plan, **changes)

    def rules(self, registry: Registry, **changes: Any) -> list[str]:
        return [v.rule for v in check_plan(self.plan(**changes), registry)]

    def test_a_good_plan_passes(self, registry: Registry) -> None:
        assert self.rules(registry, status="optimal") == []
        assert self.rules(registry, bound=None) == []

    def test_a_value_that_is_not_the_schedules(self, registry: Registry) -> None:
        assert "objective" in self.rules(registry, objectives={"makespan": 5.5}, bound=None)
        assert "objective" in self.rules(registry, objectives={"speed": 6.0}, bound=None)

    def test_a_bound_beyond_the_value(self, registry: Registry) -> None:
        assert self.rules(registry, bound=Bound(6.5, source="x", claimed=True)) == ["bound"]
        assert "bound" in self.rules(registry, bound=Bound(6.5, source="x"))

    def test_a_bound_that_nobody_can_compute_again(self, registry: Registry) -> None:
        problem = chain(3, devices=2, microbatches=2, seconds=1.0)
        schedule = serial(problem, {(o, 0): 0 for o in range(3)})
        made = Plan(problem, schedule, {"makespan": 6.0}, Bound(5.9, source="device load"))
        (violation,) = check_plan(made, registry)
        assert violation.rule == "bound"
        assert "'device load' cannot be computed again" in violation.message
        claimed = attrs.evolve(made, bound=Bound(5.9, source="cp-sat 9.15", claimed=True))
        assert check_plan(claimed, registry) == ()

    def test_optimal_without_a_bound_that_says_so(self, registry: Registry) -> None:
        claimed = Bound(5.0, source="x", claimed=True)
        assert self.rules(registry, status="optimal", bound=claimed) == ["bound"]
        assert self.rules(registry, status="optimal", bound=None) == ["bound"]

    def test_a_bound_of_a_restriction_is_none(self, registry: Registry) -> None:
        assert self.rules(registry, bound=Bound(6.0, "this placement")) == ["bound"]
        assert self.rules(registry, bound=Bound(float("nan"))) == ["bound"]

    def test_the_schedule_of_another_problem(self, registry: Registry) -> None:
        other = chain(2, devices=1)
        assert self.rules(registry, problem=other) == ["plan"]

    def test_a_schedule_that_is_not_whole(self, registry: Registry) -> None:
        plan = self.plan()
        cut = Schedule(plan.problem, rows_of(plan.schedule.tasks, [0, 1]), plan.schedule.transfers)
        assert set(self.rules(registry, schedule=cut)) == {"tasks"}

    def test_an_objective_that_raises_is_named(self, registry: Registry) -> None:
        problem = attrs.evolve(self.plan().problem, objectives=(Rule("failing"),))
        plan = self.plan(problem=problem, objectives={"failing": 1.0}, bound=None)
        plan = attrs.evolve(
            plan, schedule=Schedule(problem, plan.schedule.tasks, plan.schedule.transfers)
        )
        with pytest.raises(PluginError, match="'failing', in value: raised ZeroDivisionError"):
            check_plan(plan, with_rules(registry, Failing))


@pytest.mark.slow
def test_many_tasks_are_checked_in_seconds(registry: Registry) -> None:
    problem = line(stages=8, operators=50, microbatches=1000)
    schedule = serial(problem, {(o, 0): o // 50 for o in range(400)})
    assert len(schedule.tasks) == 400_000
    assert check_schedule(schedule, make_rules(problem, registry)) == ()
