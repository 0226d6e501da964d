"""Stage programs say what a plan says: every task once, in an order that runs, as fast."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.plans import Plan
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.hand_made.baselines import recipes_of
from parplan.stages.building import stage_program
from parplan.stages.program import Action, ActionKind, StageProgram
from tests.examples import chain, placed
from tests.plugins.strategies.published import simulate
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem

ONE_WAY = {"gpipe": 1, "1f1b": 1, "interleaved-1f1b": 2, "zb-h1": 1, "zb-v": 2, "dualpipe-v": 2,
           "hanayo": 2}  # fmt: skip
"""Recipes of one direction, with their stages per device."""


def recipe_plan(name: str, registry: Registry, devices: int = 4, microbatches: int = 8) -> Plan:
    recipe = recipes_of(registry, (name,))[0]
    chunks = ONE_WAY.get(name, 1)
    made = simulate(recipe, devices, microbatches, registry, chunks)
    return Plan(made.problem, made, {"makespan": float(made.makespan)})


def operators_of(program: StageProgram) -> list[str]:
    return [
        name
        for stage in program.stages
        for name in (*stage.forward, *stage.backward, *stage.weight)
    ]


@pytest.mark.parametrize("name", ONE_WAY)
def test_a_recipe_is_a_chain_that_takes_no_longer(name: str, registry: Registry) -> None:
    plan = recipe_plan(name, registry)
    program = stage_program(plan, slack=0.0)
    assert program.is_chain
    assert program.makespan_s <= program.planned_makespan_s == plan.value
    assert len(program.ranks) == 4
    # Where a V turns round, two stages in a row are on one device, and may be one.
    assert 4 * ONE_WAY[name] - 3 <= len(program.stages) <= 4 * ONE_WAY[name]
    kinds = {timed.action.kind for rank in program.ranks for timed in rank.actions}
    assert (ActionKind.WEIGHT_GRADIENT in kinds) == (name in ("zb-h1", "zb-v", "dualpipe-v"))


@pytest.mark.parametrize("name", ["dualpipe", "chimera"])
def test_two_directions_are_refused_by_the_operator(name: str, registry: Registry) -> None:
    with pytest.raises(InputError, match=r"'f0' runs on 'g0' for some microbatches and on 'g3'"):
        stage_program(recipe_plan(name, registry))


def test_a_diamond_has_edges_for_what_flows_forwards_and_back(registry: Registry) -> None:
    problem = layered_problem(layered(DIAMOND), devices=4, microbatches=3)
    plan = dispatched(problem, {name: i for i, name in enumerate(DIAMOND)})
    assert check_schedule(plan.schedule, make_rules(problem, registry)) == ()
    program = stage_program(plan)
    assert [stage.modules for stage in program.stages] == [(name,) for name in DIAMOND]
    assert [(e.source, e.target) for e in program.edges] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert all(edge.bytes == edge.gradient_bytes == 4 for edge in program.edges)
    assert not program.is_chain
    assert [stage.once for stage in program.stages] == [(f"{name}:optimizer",) for name in DIAMOND]
    assert {stage.parameter_bytes for stage in program.stages} == {8}
    assert [stage.saved_bytes for stage in program.stages] == [0, 4, 4, 8]


@pytest.mark.parametrize("training", [True, False])
def test_parts_on_a_cycle_of_devices_are_stages_of_their_own(training: bool) -> None:
    reads = {"a": (), "b": ("a",), "c": ("b",)}
    problem = layered_problem(layered(reads, training=training), devices=2, microbatches=1)
    program = stage_program(dispatched(problem, {"a": 0, "b": 1, "c": 0}))
    assert [(stage.modules, stage.rank) for stage in program.stages] == [
        (("a",), 0),
        (("b",), 1),
        (("c",), 0),
    ]
    assert program.is_training == training


def test_a_stage_has_one_device_with_an_engine_for_it(registry: Registry) -> None:
    problem = layered_problem(layered({"a": ()}), devices=2, microbatches=1)
    graph = problem.graph
    apart = [attrs.evolve(o, module="") for o in graph.operators]
    loose = attrs.evolve(problem, graph=attrs.evolve(graph, operators=tuple(apart)))
    plan = Plan(loose, placed(loose, **{"a:backward-weight": "g1"}), {"makespan": 0.0})
    with pytest.raises(InputError, match=r"'a:backward-weight' runs on 'g1', the forward pass"):
        stage_program(plan)
    gang = chain(1, devices=2)
    wide = attrs.evolve(gang.graph.operators[0].modes[0], devices=2, groups=(("g0", "g1"),))
    operator = attrs.evolve(gang.graph.operators[0], modes=(wide,))
    both = attrs.evolve(gang, graph=attrs.evolve(gang.graph, operators=(operator,)))
    with pytest.raises(InputError, match=r"'o0' runs on 'g0', 'g1' together"):
        stage_program(Plan(both, placed(both), {"makespan": 1.0}))


def test_gradients_of_weights_come_behind_those_of_inputs() -> None:
    problem = layered_problem(layered({"a": (), "b": ("a",)}), devices=2, microbatches=1)
    plan = dispatched(problem, {"a": 0, "b": 1})
    tasks, index = plan.schedule.tasks, problem.graph.operator_index
    row = {
        name: plan.schedule.row_of[index[f"b:backward-{name}"], 0] for name in ("input", "weight")
    }
    start = tasks.start.copy()
    first = start[row["input"]]
    start[row["weight"]] = first
    start[row["input"]] = first + 20  # the weight pass and a pause come first
    turned = attrs.evolve(plan.schedule, tasks=attrs.evolve(tasks, start=start))
    program = stage_program(attrs.evolve(plan, schedule=turned))
    assert [str(timed.action) for timed in program.ranks[1].actions] == ["1F0", "1I0", "1W0"]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any graph of layers on any devices, dispatched in any order."""
    names = [f"n{i}" for i in range(draw(st.integers(1, 6)))]
    reads = {
        name: tuple(names[j] for j in draw(st.sets(st.integers(0, i - 1), min_size=1, max_size=2)))
        if i
        else ()
        for i, name in enumerate(names)
    }
    graph = layered(reads, training=draw(st.booleans()), split=draw(st.booleans()))
    problem = layered_problem(graph, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    spots = st.integers(0, len(problem.cluster.devices) - 1)
    return dispatched(problem, {name: draw(spots) for name in names}, draw(st.integers(0, 99)))


@settings(max_examples=40, deadline=None)
@given(plans())
def test_any_plan_of_layers_is_a_program_that_does_all_of_its_work(plan: Plan) -> None:
    program = stage_program(plan, slack=0.0)
    per_microbatch = {o.name for o in plan.problem.graph.operators if o.repeat == "microbatch"}
    assert sorted(operators_of(program)) == sorted(per_microbatch)
    actions = [timed for rank in program.ranks for timed in rank.actions]
    assert len({timed.action for timed in actions}) == len(actions)
    microbatches = plan.problem.workload.microbatches
    assert sum(timed.seconds for timed in actions) == pytest.approx(
        sum(
            plan.problem.seconds(o, plan.problem.alternatives[o][0], k)
            for o, k in plan.problem.tasks()
            if k >= 0
        )
    )
    # Layer by layer nothing is grouped, so the best program is never later than the plan.
    assert program.makespan_s <= plan.value
    ends = {timed.action: timed.end_s for timed in actions}
    starts = {timed.action: timed.start_s for timed in actions}
    for edge in program.edges:
        assert edge.source < edge.target
        apart = program.stages[edge.source].rank != program.stages[edge.target].rank
        for k in range(microbatches):
            sent = ends[Action(edge.source, ActionKind.FORWARD, k)] + apart
            assert sent <= starts[Action(edge.target, ActionKind.FORWARD, k)]
