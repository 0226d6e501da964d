from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
import pyomo.environ as pyo
import pytest
from attrs import frozen

from parplan.checking import check_schedule
from parplan.contracts import Answer, Constraint, SolveOptions, Termination, Violation
from parplan.declarations import Apart, Held, Resource, Running, TimeLag, Together
from parplan.errors import InfeasibleError, InputError, PluginError
from parplan.graph import Graph, Mode, Operator, Repeat, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.model.clock import Rounding
from parplan.model.left_shift import left_shift
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.model.terms import Before, Cumulative, NoOverlap, recorded
from parplan.plugins.solvers import cp_sat
from parplan.problem import Problem, Rule
from parplan.registry import Registered, Registry
from parplan.rules import Declared, Rules, make_rules
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload
from tests.examples import chain


def solve(model: ScheduleModel) -> Answer:
    answer = cp_sat.solve_here(None, model.pyomo, SolveOptions(time_limit_s=30, workers=1))
    assert answer.termination is Termination.OPTIMAL, answer
    return answer


def terms(model: ScheduleModel, rule: str | None = None) -> list[Any]:
    return [term for block, term in recorded(model.pyomo) if rule in (None, block.rule_name)]


def job_shop(jobs: int, machines: int) -> Problem:
    """Each operator is pinned to a machine; tensors carry nothing."""
    rng = random.Random(5)
    operators, tensors = [], []
    for j in range(jobs):
        order = rng.sample(range(machines), machines)
        names = [f"{j}.{k}" for k in range(machines)]
        for name, m in zip(names, order, strict=True):
            mode = Mode(groups=((f"m{m}",),), seconds={"*": float(rng.randint(1, 9))})
            operators.append(Operator(name, modes=(mode,)))
        tensors += [Tensor(f"t{a}", a, (b,)) for a, b in itertools.pairwise(names)]
    devices = tuple(Device(f"m{i}") for i in range(machines))
    spots = itertools.permutations(range(machines), 2)
    links = tuple(Link(f"l{a}.{b}", f"m{a}", f"m{b}", float("inf")) for a, b in spots)
    graph = Graph("shop", tuple(operators), tuple(tensors))
    return Problem("shop", graph, Cluster("shop", devices, links), Workload(), tick_s=1.0)


def declared(problem: Problem, registry: Registry, *what: Any) -> Rules:
    rules = make_rules(problem, registry)
    return attrs.evolve(rules, declared=(*rules.declared, *(Declared("extra", w) for w in what)))


# -- size ------------------------------------------------------------------------------------------


def test_a_job_shop_is_as_small_as_by_hand(registry: Registry) -> None:
    model = ScheduleModel(make_rules(job_shop(6, 5), registry))
    kinds = [type(term) for term in terms(model)]
    # One start per operator and the makespan; a machine each, consecutive pairs, last ends.
    assert sum(1 for _ in model.pyomo.component_data_objects(pyo.Var)) == 6 * 5 + 1
    assert sum(1 for _ in model.pyomo.component_data_objects(pyo.Constraint)) == 0
    assert kinds.count(NoOverlap) == 5
    assert kinds.count(Before) == 6 * 4 + 6
    assert len(kinds) == 5 + 6 * 5


def test_a_given_assignment_leaves_no_literal(registry: Registry) -> None:
    problem = chain(4, devices=2, microbatches=2, size=3)
    rules = make_rules(problem, registry)
    free = ScheduleModel(rules)
    assert any(v.is_binary() for v in free.pyomo.component_data_objects(pyo.Var))
    model = ScheduleModel(rules, None, {(o, 0): o % 2 for o in range(4)})
    assert not any(v.is_binary() for v in model.pyomo.component_data_objects(pyo.Var))
    assert len(model.transport.made) == 3 * 2


def test_what_can_never_run_out_has_no_term(registry: Registry) -> None:
    problem = chain(3, devices=2, size=5)
    roomy = attrs.evolve(
        problem.cluster,
        devices=tuple(attrs.evolve(d, memory_bytes=1000) for d in problem.cluster.devices),
    )
    model = ScheduleModel(make_rules(attrs.evolve(problem, cluster=roomy), registry))
    assert terms(model, "memory") == []
    tight = attrs.evolve(
        roomy, devices=tuple(attrs.evolve(d, memory_bytes=8) for d in roomy.devices)
    )
    model = ScheduleModel(make_rules(attrs.evolve(problem, cluster=tight), registry))
    assert [type(t) for t in terms(model, "memory")].count(Cumulative) == 2


def test_microbatches_share_the_literals_of_a_placement(registry: Registry) -> None:
    counts = []
    for microbatches in (1, 4):
        problem = chain(3, devices=3, microbatches=microbatches, size=1)
        model = ScheduleModel(make_rules(problem, registry))
        variables = model.pyomo.component_data_objects(pyo.Var)
        counts.append(sum(v.is_binary() for v in variables))
    assert counts[0] == counts[1]


# -- meaning ---------------------------------------------------------------------------------------


def test_two_demands_of_one_gang_add_up(registry: Registry) -> None:
    gang = Mode("both", devices=2, groups=(("g0", "g1"),), seconds={"*": 2.0})
    problem = Problem(
        "gang",
        Graph(
            "gang", (Operator("a", modes=(gang,)), Operator("b", modes=(Mode(seconds={"*": 2.0}),)))
        ),
        Cluster("two", (Device("g0"), Device("g1"))),
        Workload(),
        tick_s=1.0,
    )
    rack = Resource("rack", 2, (Running("g0"), Running("g1")))
    assert solve(ScheduleModel(declared(problem, registry, rack))).objective == 4
    narrow = attrs.evolve(rack, capacity=1)
    answer = cp_sat.solve_here(
        None, ScheduleModel(declared(problem, registry, narrow)).pyomo, SolveOptions(workers=1)
    )
    assert answer.termination is Termination.INFEASIBLE


def test_together_and_apart_bind_the_placement(registry: Registry) -> None:
    problem = chain(3, devices=2, size=0)
    rules = declared(problem, registry, Together(("o0", "o2")), Apart(("o0", "o1")))
    model = ScheduleModel(rules)
    schedule = model.extract(solve(model).values)
    spots = [view.devices for view in schedule.task_views()]
    assert spots[0] == spots[2] != spots[1]
    assert check_schedule(schedule, rules) == ()


def test_rules_that_leave_nothing_together_are_infeasible_at_once(registry: Registry) -> None:
    rules = declared(chain(2, devices=1), registry, Apart(("o0", "o1")))
    with pytest.raises(InfeasibleError, match="'extra' cannot hold for o0, o1") as caught:
        ScheduleModel(rules)
    assert caught.value.conflict == ("extra",)


def test_a_hold_that_would_end_before_it_starts_holds_nothing(registry: Registry) -> None:
    # o1 runs before o2: from the end of o2 to the start of o1 there is no time.
    held = Resource("nothing", 0, (Held("o2", "o1"),))
    model = ScheduleModel(declared(chain(3), registry, held))
    assert solve(model).objective == 3


def test_a_lag_ties_a_microbatch_to_a_later_one(registry: Registry) -> None:
    lag = TimeLag("o0", "o1", seconds=4.0, offset=1)
    model = ScheduleModel(declared(chain(2, devices=2, microbatches=2, size=0), registry, lag))
    assert solve(model).objective == 6


def test_an_assignment_that_cannot_be_names_tensor_and_operators(registry: Registry) -> None:
    problem = chain(2, devices=2, size=1)
    cut = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=()))
    with pytest.raises(InfeasibleError, match=r"'t0': 'o1' cannot have it from 'o0'"):
        ScheduleModel(make_rules(cut, registry), None, {(0, 0): 0, (1, 0): 1})


def test_an_assignment_outside_the_alternatives_is_refused(registry: Registry) -> None:
    with pytest.raises(InputError, match="'o0': assigned alternative 7"):
        ScheduleModel(make_rules(chain(1), registry), None, {(0, 0): 7})


# -- ticks -----------------------------------------------------------------------------------------


def test_coarse_ticks_bracket_the_optimum_and_extract_fine_schedules(registry: Registry) -> None:
    problem = attrs.evolve(chain(3, devices=2, microbatches=3, seconds=5.0, size=2))
    rules = make_rules(problem, registry)
    best = solve(ScheduleModel(rules)).objective or 0
    up = ScheduleModel(rules, ModelOptions(tick=3))
    answer = solve(up)
    schedule = up.extract(answer.values)
    down = ScheduleModel(rules, ModelOptions(tick=3, rounding=Rounding.DOWN))
    assert check_schedule(schedule, rules) == ()
    assert (solve(down).objective or 0) * 3 <= best <= schedule.makespan
    assert schedule.makespan <= (answer.objective or 0) * 3
    with pytest.raises(InputError, match="gives bounds, no schedules"):
        down.extract(answer.values)


def test_times_are_kept_where_ticks_are_exact(registry: Registry) -> None:
    model = ScheduleModel(make_rules(chain(2), registry), ModelOptions(horizon=9))
    start = model.task("o1", 0).start
    start.fix(7)
    schedule = model.extract(solve(model).values)
    assert schedule.tasks.start.tolist()[1] == 7


def test_a_left_shift_keeps_sequences_and_drops_idle_time(registry: Registry) -> None:
    problem = chain(2, microbatches=2)
    tasks = Tasks([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [9, 2, 30, 5])
    late = Schedule(problem, tasks, Transfers([], [], [], [], []))
    shifted = left_shift(make_rules(problem, registry), late)
    assert shifted.tasks.start.tolist() == [2, 0, 3, 1]


def test_a_left_shift_lengthens_no_hold_that_took_nothing(registry: Registry) -> None:
    # The result of o1, too large for the device, fits only because it lasts nothing: o1 takes no
    # time and ends last.
    problem = chain(2, size=0)
    instant = Operator("o1", modes=(Mode(seconds={"*": 0.0}),))
    graph = Graph(
        "late",
        (problem.graph.operators[0], instant),
        (Tensor("result", "o1", bytes=9, output=True),),
    )
    devices = (attrs.evolve(problem.cluster.devices[0], memory_bytes=5),)
    cluster = attrs.evolve(problem.cluster, devices=devices)
    rules = make_rules(attrs.evolve(problem, graph=graph, cluster=cluster), registry)
    tasks = Tasks([0, 1], [0, 0], [0, 0], [3, 4])
    shifted = left_shift(rules, Schedule(rules.problem, tasks, Transfers([], [], [], [], [])))
    assert check_schedule(shifted, rules) == ()
    assert shifted.tasks.start.tolist() == [0, 1]


def test_a_warm_start_is_complete_and_obeys_every_row(registry: Registry) -> None:
    problem = chain(3, devices=2, microbatches=2, size=2)
    rules = make_rules(problem, registry)
    model = ScheduleModel(rules)
    best = solve(model)
    values = model.warm_start(model.extract(best.values))
    for variable in model.pyomo.component_data_objects(pyo.Var):
        variable.fix(round(values[variable.name]))
    assert solve(model).objective == best.objective


# -- escape hatches --------------------------------------------------------------------------------


@frozen
class Quiet(Constraint):
    """No two operators of different microbatches run at once, and o0 waits for tick 3."""

    name: ClassVar[str] = "quiet"
    fault: str = ""

    def constrain(self, model: ScheduleModel) -> None:
        block = model.block(self.name)
        if self.fault == "raises":
            raise ZeroDivisionError("watts per nothing")
        one, two = model.task("o0", 0), model.task("o0", 1)
        block.late = pyo.Constraint(expr=one.start >= 3)
        block.no_overlap("turns", [one.interval, two.interval])
        if self.fault == "unguarded":
            transfer = model.transfer("t0", 0, "g1")
            assert transfer is not None
            block.row(transfer.start >= 20)

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        starts = {(v.operator, v.microbatch): v.start for v in schedule.task_views()}
        if starts["o0", 0] < 3:
            yield Violation("quiet", "o0", "starts before tick 3")


def quiet(registry: Registry, **options: str) -> Rules:
    problem = chain(2, devices=2, microbatches=2, size=1)
    problem = attrs.evolve(problem, constraints=(*problem.constraints, Rule("quiet", options)))
    found = {**registry.constraints, "quiet": Registered("quiet", Quiet, "test")}
    return make_rules(problem, attrs.evolve(registry, constraints=found))


def test_an_escape_hatch_adds_pyomo_rows_and_terms_on_its_own_block(registry: Registry) -> None:
    rules = quiet(registry)
    model = ScheduleModel(rules)
    assert model.block("quiet").late.parent_block() is model.block("quiet")
    schedule = model.extract(solve(model).values)
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == 5


def test_an_escape_hatch_that_raises_is_named(registry: Registry) -> None:
    with pytest.raises(PluginError, match="ZeroDivisionError: watts per nothing") as caught:
        ScheduleModel(quiet(registry, fault="raises"))
    assert (caught.value.plugin, caught.value.hook) == ("quiet", "constrain")


def test_a_row_on_the_time_of_what_may_be_absent_is_refused(registry: Registry) -> None:
    with pytest.raises(PluginError, match="even where that is absent"):
        ScheduleModel(quiet(registry, fault="unguarded"))


def test_handles_say_what_is_unknown(registry: Registry) -> None:
    model = ScheduleModel(make_rules(chain(2, devices=2), registry))
    with pytest.raises(InputError, match="no task of operator 'o9'"):
        model.task("o9", 0)
    assert model.transfer("t0", 0, "g1") is not None
    first = model.on("o0", "g0")
    assert first is model.task("o0", 0).presence[0]


def test_a_transfer_that_is_asked_for_late_is_still_waited_for(registry: Registry) -> None:
    problem = chain(2, devices=2, size=0)
    slow = attrs.evolve(
        problem.cluster,
        links=tuple(attrs.evolve(k, latency_s=4.0) for k in problem.cluster.links),
    )
    rules = declared(attrs.evolve(problem, cluster=slow), registry, Apart(("o0", "o1")))
    model = ScheduleModel(rules)
    assert not model.transport.made
    transfer = model.transfer("t0", 0, "g1")
    assert transfer is not None
    model.block("extra").before(transfer.interval, transfer.interval, -99)
    schedule = model.extract(solve(model).values)
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == 6


def test_work_once_per_step_follows_all_microbatches(registry: Registry) -> None:
    problem = chain(2, microbatches=3)
    once = attrs.evolve(problem.graph.operators[1], repeat=Repeat.STEP)
    graph = attrs.evolve(problem.graph, operators=(problem.graph.operators[0], once))
    model = ScheduleModel(make_rules(attrs.evolve(problem, graph=graph), registry))
    assert solve(model).objective == 4
    assert model.task("o1").microbatch == -1
