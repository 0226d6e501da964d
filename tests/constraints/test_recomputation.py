"""What couples the modes of recomputation, and budgets for it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.errors import InfeasibleError, InputError
from parplan.model.schedule_model import ScheduleModel
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.examples import block, placed, recomputing, ruled
from tests.strategies import serial

LIGHT = ("recompute", "g0")


def messages(problem: Problem, registry: Registry, **places: Any) -> list[str]:
    found = check_schedule(placed(problem, **places), make_rules(problem, registry))
    assert {v.rule for v in found} <= {"recomputation", "recomputation-budget"}
    return [v.message for v in found]


def layer(index: int) -> dict[str, tuple[str, str]]:
    """Layer ``index`` recomputes."""
    return {f"layers.{index}:forward": LIGHT, f"layers.{index}:backward": LIGHT}


def test_the_operators_of_a_block_decide_together(registry: Registry) -> None:
    problem = ruled(recomputing(block(2)), "recomputation")
    assert messages(problem, registry, **layer(0)) == []
    (message,) = messages(problem, registry, **{"layers.0:backward": LIGHT})
    assert "must share the name of their mode" in message


def test_blocks_that_must_and_that_never_do(registry: Registry) -> None:
    problem = recomputing(block(2))
    must = ruled(problem, "recomputation", must=["layers.0"])
    assert messages(must, registry, **layer(0)) == []
    assert len(messages(must, registry)) == 2
    never = ruled(problem, "recomputation", never=["layers.*"])
    assert messages(never, registry) == []
    assert len(messages(never, registry, **layer(1))) == 2


def test_uniform_blocks_decide_alike(registry: Registry) -> None:
    problem = ruled(recomputing(block(2)), "recomputation", uniform=[["layers.*"]])
    assert messages(problem, registry, **layer(0), **layer(1)) == []
    assert messages(problem, registry, **layer(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"must": ["layers.7"]}, "no operator or module matches 'layers.7'; did you mean"),
        ({"uniform": [["layer"]]}, r"uniform\[0\]: no operator or module matches 'layer'"),
    ],
)
def test_bad_options_are_named(
    options: dict[str, object], message: str, registry: Registry
) -> None:
    with pytest.raises(InputError, match=message):
        make_rules(ruled(recomputing(block(2)), "recomputation", **options), registry)


def test_without_the_strategy_there_is_nothing_to_decide(registry: Registry) -> None:
    with pytest.raises(InputError, match="add the strategy 'recompute'"):
        make_rules(ruled(block(2), "recomputation"), registry)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"seconds": {"g0": 2.0}}, []),
        ({"seconds": {"*": 1.5}}, ["g0 recomputes 2 seconds, 1 too much"]),
        ({"operators": {"g0": 1}}, []),
        ({"operators": {"g0": 0}}, ["g0 recomputes 1 operators, 1 too much"]),
    ],
)
def test_a_budget_counts_per_device(
    budget: dict[str, object], expected: list[str], registry: Registry
) -> None:
    problem = recomputing(block(2, microbatches=2))
    problem = ruled(problem, "recomputation-budget", **budget)
    assert messages(problem, registry, **layer(0)) == expected


def test_the_model_of_a_budget_agrees_with_its_check(registry: Registry) -> None:
    """Every assignment of modes is feasible in the rows exactly if the check accepts it."""
    import pyomo.environ as pyo

    problem = ruled(recomputing(block(2)), "recomputation-budget", seconds={"g0": 1.0})
    rules = make_rules(problem, registry)
    model = ScheduleModel(rules)
    rows = list(
        model.block("recomputation-budget").component_data_objects(pyo.Constraint, active=True)
    )
    assert len(rows) == 1
    checked = 0
    for choices in range(16):
        chosen = {(o, 0): choices >> i & 1 for i, o in enumerate((0, 1, 3, 4))} | {(2, 0): 0}
        if any(chosen[b, 0] < chosen[b - 3, 0] for b in (3, 4)):
            continue  # the backward pass would lack what the forward pass did not write
        schedule = serial(problem, chosen)
        for (o, group), value in chosen.items():
            for a in range(2) if o != 2 else ():
                model.choices.literal(o, group, a).set_value(int(a == value))
        (row,) = rows
        fits = pyo.value(row.body) <= pyo.value(row.upper) + 1e-9
        assert fits == (check_schedule(schedule, rules) == ())
        checked += 1
    assert checked == 9


def test_a_budget_that_nothing_can_keep_is_infeasible(registry: Registry) -> None:
    problem = ruled(recomputing(block(1)), "recomputation", must=["layers.0"])
    problem = ruled(problem, "recomputation-budget", seconds={"g0": 0.5})
    assert len(problem.cluster.devices) == 1
    with pytest.raises(InfeasibleError, match="'g0' recomputes more than its budget"):
        ScheduleModel(make_rules(problem, registry))


def test_memory_is_what_recomputation_saves(registry: Registry) -> None:
    problem = recomputing(block(2))
    cluster = problem.cluster
    small = attrs.evolve(cluster.devices[0], memory_bytes=8)
    problem = attrs.evolve(problem, cluster=attrs.evolve(cluster, devices=(small,)))
    rules = make_rules(problem, registry)
    # Two saved tensors of 4 bytes and what passes between the layers do not fit into 8.
    assert {v.rule for v in check_schedule(placed(problem), rules)} == {"memory"}
    assert check_schedule(placed(problem, **layer(0)), rules) == ()
