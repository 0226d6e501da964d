"""Calibrating gives back the costs that a recording was made from, and says how sure they are."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.cli import main
from parplan.errors import InputError
from parplan.measuring.calibrating import calibrate, measured, shares
from parplan.measuring.measured_costs import (
    EVERY_KIND,
    MeasuredCosts,
    MeasuredSeconds,
    load_costs,
    save_costs,
)
from parplan.measuring.recording import WAIT, Recording, Span, save_recording
from parplan.plan_files.plan_file import save_plan
from parplan.plans import Plan
from parplan.workload import Workload
from tests.examples import chain
from tests.plan_samples import pipeline_plan
from tests.strategies import serial

amounts = st.floats(1e-3, 1e3)


def plan_of(operators: int, microbatches: int = 4, scales: tuple[float, ...] = ()) -> Plan:
    """A plan of a chain o0 -> o1 -> ... of one second each, on devices g0 and g1."""
    problem = chain(operators, devices=2, microbatches=microbatches)
    problem = attrs.evolve(problem, workload=Workload(microbatches=microbatches, scales=scales))
    schedule = serial(problem, {(o, 0): 0 for o in range(operators)})
    return Plan(problem, schedule, {})


def recorded(
    groups: Sequence[Sequence[int]],
    costs: Sequence[float],
    *,
    noise: float = 0.0,
    steps: int = 3,
    first_step: float = 1.0,
    scales: Sequence[float] = (1.0,) * 4,
    seconds_per_planned_second: float = 1.0,
) -> Recording:
    """A run in which the operators of each group take the sum of their costs together."""
    chance = random.Random(7)
    spans, now = [], 0.0
    for step in range(steps):
        for microbatch, scale in enumerate(scales):
            for group in groups:
                seconds = sum(costs[o] for o in group) * scale * seconds_per_planned_second
                seconds *= (first_step if step == 0 else 1.0) * max(0.0, chance.gauss(1.0, noise))
                names = tuple(f"o{o}" for o in group)
                spans.append(Span("g0", names, WAIT, microbatch, now, 0.5, step))
                spans.append(Span("g0", names, "F", microbatch, now + 0.5, seconds, step))
                now += seconds + 0.5
    source = Recording("chain", "simulated", tuple(spans), versions={"torch": "2.13"})
    return attrs.evolve(
        source, seconds_per_planned_second=seconds_per_planned_second, date="2026-01-02"
    )


def seconds_of(costs: MeasuredCosts) -> list[float]:
    return [one.seconds for one in sorted(costs.operators, key=lambda one: int(one.operator[1:]))]


@given(st.lists(amounts, min_size=1, max_size=5), st.floats(0.1, 10.0))
def test_operators_recorded_alone_get_back_their_costs(costs: list[float], scale: float) -> None:
    plan = plan_of(len(costs), scales=(1.0, 0.5, 2.0, 1.0))
    alone = [(o,) for o in range(len(costs))]
    recording = recorded(
        alone, costs, first_step=9.0, scales=(1.0, 0.5, 2.0, 1.0), seconds_per_planned_second=scale
    )
    found = calibrate([recording], plan)
    assert seconds_of(found) == pytest.approx(costs)
    assert all((one.samples, one.companions) == (8, 0) for one in found.operators)
    assert [one.spread for one in found.operators] == pytest.approx([0.0] * len(costs), abs=1e-9)


@given(st.lists(amounts, min_size=2, max_size=5))
def test_what_ran_together_is_shared_as_planned(costs: list[float]) -> None:
    found = calibrate([recorded([range(len(costs))], costs)], plan_of(len(costs)))
    assert seconds_of(found) == pytest.approx([sum(costs) / len(costs)] * len(costs))
    assert {one.companions for one in found.operators} == {len(costs) - 1}


@given(amounts, amounts, amounts)
def test_several_runs_tell_apart_what_one_leaves_to_the_plan(a: float, b: float, c: float) -> None:
    runs = [recorded([(0, 1), (2,)], (a, b, c)), recorded([(0,), (1, 2)], (a, b, c))]
    found = calibrate(runs, plan_of(3))
    assert seconds_of(found) == pytest.approx([a, b, c], rel=1e-3)
    assert [one.companions for one in found.operators if one.operator == "o1"] == [1]


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, unique=True), min_size=1, max_size=5),
    st.lists(amounts, min_size=5, max_size=5),
)
def test_shares_add_up_to_sums_that_agree(groups: list[list[int]], costs: list[float]) -> None:
    groups = [*groups, [0, 1, 2, 3, 4]]  # every amount is in one
    sums = [sum(costs[i] for i in group) for group in groups]
    found = shares(groups, sums, [1.0] * 5)
    assert (found >= 0).all()
    assert [found[group].sum() for group in groups] == pytest.approx(sums, rel=0.02)


def test_noise_becomes_spread_and_a_hiccup_does_not() -> None:
    costs = calibrate([recorded([(0,)], (0.1,), noise=0.1, steps=60)], plan_of(1))
    assert costs.operators[0].seconds == pytest.approx(0.1, rel=0.05)
    assert costs.operators[0].spread == pytest.approx(0.1, rel=0.25)
    assert measured([1.0] * 9 + [100.0]) == measured([1.0] * 10)


def test_steps_that_warm_up_are_left_out_as_long_as_one_remains() -> None:
    slow_start = recorded([(0,)], (1.0,), first_step=5.0, steps=2)
    plan = plan_of(1)
    assert seconds_of(calibrate([slow_start], plan)) == [1.0]
    assert seconds_of(calibrate([slow_start], plan, warm_up=0)) == [3.0]
    only = recorded([(0,)], (1.0,), first_step=5.0, steps=1)
    assert seconds_of(calibrate([only], plan, warm_up=3)) == [5.0]


def test_without_a_plan_operators_must_have_run_alone() -> None:
    found = calibrate([recorded([(0,)], (2.0,))])
    assert found.operators[0] == MeasuredSeconds("o0", "", EVERY_KIND, 2.0, 0.0, 8)
    with pytest.raises(InputError, match=r"'o0' and 'o1' were recorded in one action.*--plan"):
        calibrate([recorded([(0, 1)], (1.0, 1.0))])


def test_recordings_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="an operator 'o3' that plan 'chain' does not have"):
        calibrate([recorded([(3,)], (1.0,) * 4)], plan_of(2))
    other = attrs.evolve(recorded([(0,)], (1.0,)), spans=(Span("tpu", ("o0",), "F", 0, 0.0, 1.0),))
    with pytest.raises(InputError, match="a device 'tpu' that plan 'chain' does not have"):
        calibrate([other], plan_of(1))
    with pytest.raises(InputError, match="no work with operators"):
        calibrate([attrs.evolve(other, spans=())], plan_of(1))


def test_costs_come_back_from_their_file_and_name_their_source(tmp_path: Path) -> None:
    runs = [recorded([(0,), (1,)], (1.0, 2.0))] * 2
    costs = calibrate(runs, plan_of(2))
    save_costs(costs, tmp_path / "costs.json")
    assert load_costs(tmp_path / "costs.json") == costs
    assert costs.source == "simulated on 2026-01-02 (2 runs)"
    assert costs.versions == {"torch": "2.13"}
    (tmp_path / "bad.json").write_text(
        (tmp_path / "costs.json").read_text().replace('"spread":0.0', '"spread":-1', 1)
    )
    with pytest.raises(InputError, match=r"bad\.json: spread: is -1"):
        load_costs(tmp_path / "bad.json")


def test_the_command_shows_and_keeps_costs_and_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, run, costs = (str(tmp_path / name) for name in ("plan.json", "run.json", "costs.json"))
    save_plan(pipeline_plan(), plan)
    spans = (
        Span("gpu0", ("f.0",), "F", 0, 0.0, 2.0),
        Span("gpu1", ("f.1",), WAIT, 0, 1.0, 1.5),
        Span("gpu1", ("f.1",), "F", 0, 2.5, 3.0),
    )
    save_recording(Recording("pipeline", "by hand", spans), run)
    assert main(["calibrate", run, "--plan", plan, "-o", costs]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["f.1", "fast", "3", "s", "0.0%", "1", "-"] in told
    assert ["gpu0", "gpu1", "500", "ms", "-", "1"] in told
    assert main(["calibrate", run, "--plan", plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"] == [
        attrs.asdict(one) for one in load_costs(costs).operators
    ]
