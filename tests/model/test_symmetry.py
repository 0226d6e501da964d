"""Devices that can be exchanged: plans stay plans when they are, and differences are seen."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.contracts import SolveOptions
from parplan.declarations import Declaration, Forbidden, Resource, Running
from parplan.errors import InfeasibleError
from parplan.model.schedule_model import ScheduleModel
from parplan.model.symmetry import exchangeable_devices
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule, Tasks, Transfers
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import by_cp_sat, with_declared
from tests.examples import chain


@pytest.mark.parametrize(
    ("extra", "classes"),
    [
        ((), ((0, 1, 2),)),
        ((Forbidden("o0", "g1"),), ((0, 2),)),
        ((Resource("power", 1.0, [Running("g2")]),), ((0, 1),)),
        ((Resource("power", 1.0, [Running(f"g{d}") for d in range(3)]),), ((0, 1, 2),)),
    ],
)
def test_rules_tell_devices_apart(
    registry: Registry, extra: tuple[Declaration, ...], classes: tuple[tuple[int, ...], ...]
) -> None:
    assert exchangeable_devices(with_declared(chain(2, devices=3), registry, extra)) == classes


def test_devices_and_links_tell_devices_apart(registry: Registry) -> None:
    problem = chain(2, devices=3)
    cluster = problem.cluster
    slow = tuple(attrs.evolve(k, bandwidth=0.5) if "g2" in k.name else k for k in cluster.links)
    full = (attrs.evolve(cluster.devices[0], memory_bytes=9), *cluster.devices[1:])
    for change, classes in (({"links": slow}, ((0, 1),)), ({"devices": full}, ((1, 2),))):
        other = attrs.evolve(problem, cluster=attrs.evolve(cluster, **change))
        assert exchangeable_devices(make_rules(other, registry)) == classes


@settings(max_examples=examples(60))
@given(data=st.data(), problem=small_problems(3, 3, 4))
def test_a_plan_with_devices_exchanged_is_a_plan(data: st.DataObject, problem: Problem) -> None:
    registry = load_registry(installed=False)
    drawn = data.draw(declarations(problem)) if data.draw(st.booleans()) else ()
    rules = with_declared(problem, registry, drawn)
    classes = exchangeable_devices(rules)
    if not classes:
        return
    try:
        model = ScheduleModel(rules)
    except InfeasibleError:
        return
    answer = by_cp_sat(model, SolveOptions(time_limit_s=5.0, gap=1.0, workers=1))
    if answer.values:
        schedule = model.extract(answer.values)
        for one, other in pairwise(classes[0]):
            assert check_schedule(_exchanged(schedule, one, other), rules) == ()


def _exchanged(schedule: Schedule, one: int, other: int) -> Schedule:
    swap = {one: other, other: one}
    alternatives, tasks, moves = schedule.problem.alternatives, schedule.tasks, schedule.transfers
    rows = []
    for o, row in zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True):
        devices = {swap.get(d, d) for d in alternatives[o][row].devices}
        rows.append(
            next(
                r
                for r, a in enumerate(alternatives[o])
                if a.mode == alternatives[o][row].mode and set(a.devices) == devices
            )
        )
    ends = [[swap.get(d, d) for d in column.tolist()] for column in (moves.source, moves.target)]
    return Schedule(
        schedule.problem,
        Tasks(tasks.operator, tasks.microbatch, rows, tasks.start),
        Transfers(moves.tensor, moves.microbatch, *ends, moves.start),
    )
