"""Scenarios are unbiased, repeatable, and the same for every plan of a problem."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import parplan
from parplan.errors import InputError
from parplan.measuring.measured_costs import MeasuredCosts, MeasuredSeconds, save_costs
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.scheduling.network import Network
from parplan.simulation.noise import KINDS, Noise, Straggler, read_noise
from parplan.simulation.orders import orders_of
from parplan.simulation.scenarios import Scenarios
from tests.plan_samples import pipeline_plan, pipeline_problem


def factors(
    plan: parplan.Plan, noise: Noise, count: int, seed: int, registry: Registry
) -> tuple[Network, NDArray[np.float64]]:
    network = orders_of(plan.schedule, make_rules(plan.problem, registry)).network
    scenarios = Scenarios(plan.problem, noise, count, seed)
    return network, np.concatenate(list(scenarios.factors(network, 7)), axis=1)


@pytest.mark.parametrize("spread", [0.05, 0.5])
def test_factors_have_mean_one_and_the_stated_spread(spread: float, registry: Registry) -> None:
    _, found = factors(pipeline_plan(4, 6), read_noise(spread), 2000, 3, registry)
    assert found.mean() == pytest.approx(1.0, abs=4 * spread / np.sqrt(found.size))
    assert found.std() == pytest.approx(spread, rel=0.05)


def test_kinds_without_noise_take_exactly_their_time(registry: Registry) -> None:
    network, found = factors(pipeline_plan(2, 3), Noise({"transfer": 0.2}), 5, 0, registry)
    count = len(network.tasks)
    assert (found[:count] == 1.0).all()
    assert (found[count:] != 1.0).all()


def test_a_longer_run_begins_with_the_same_scenarios(registry: Registry) -> None:
    plan, noise = pipeline_plan(2, 3), Noise({"forward": 0.1}, 0.1)
    _, short = factors(plan, noise, 5, 1, registry)
    _, long = factors(plan, noise, 20, 1, registry)
    assert np.array_equal(short, long[:, :5])
    assert not np.array_equal(short, factors(plan, noise, 5, 2, registry)[1])


def test_plans_of_one_problem_meet_the_same_factors(registry: Registry) -> None:
    """On one device there are no transfers, and every task keeps its factor."""
    problem = pipeline_problem(2, 3)
    free = tuple(
        attrs.evolve(o, modes=tuple(attrs.evolve(m, groups=()) for m in o.modes))
        for o in problem.graph.operators
    )
    problem = attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=free))
    spread = parplan.plan(problem, time_limit_s=1, solver="list", registry=registry)
    apart = attrs.evolve(spread, problem=problem)
    split = attrs.evolve(pipeline_plan(2, 3).schedule, problem=problem)
    tasks = attrs.evolve(split.tasks, alternative=split.tasks.operator // 3)
    split = attrs.evolve(split, tasks=tasks)
    noise = read_noise(0.3)
    one, first = factors(apart, noise, 4, 0, registry)
    two, second = factors(attrs.evolve(apart, schedule=split), noise, 4, 0, registry)
    assert one.tasks == two.tasks
    count = len(one.tasks)
    assert np.array_equal(first[:count], second[:count])
    for i, (tensor, microbatch, _, target) in enumerate(one.transfers):
        for k, other in enumerate(two.transfers):
            if other[:2] == (tensor, microbatch) and other[3] == target:
                assert np.array_equal(first[count + i], second[count + k])


def test_a_straggler_slows_its_own_tasks_in_its_share_of_the_steps(registry: Registry) -> None:
    noise = Noise(stragglers=(Straggler("gpu1", 1.5, 0.25),))
    network, found = factors(pipeline_plan(2, 3), noise, 400, 0, registry)
    on = np.array([1 in network.alternative(t).devices for t in range(len(network.tasks))])
    rows = found[: len(on)]
    assert (rows[~on] == 1.0).all()
    assert set(np.unique(rows[on])) == {1.0, 1.5}
    assert (rows[on] == rows[on][0]).all()
    assert (rows[on][0] == 1.5).mean() == pytest.approx(0.25, abs=0.07)


@given(st.dictionaries(st.sampled_from(KINDS), st.floats(0, 2)), st.floats(0, 1))
def test_a_noise_file_says_what_a_noise_is(
    tmp_path_factory: pytest.TempPathFactory, spread: dict[str, float], device: float
) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.yaml"
    path.write_text(f"spread: {spread}\ndevice_spread: {device}\n", encoding="utf-8")
    assert read_noise(path) == Noise(spread, device)
    assert read_noise(spread) == Noise(spread)


def test_measured_costs_are_noise_of_their_operators(tmp_path: Path, registry: Registry) -> None:
    plan = pipeline_plan(2, 3)
    first, second = (o.name for o in plan.problem.graph.operators[:2])
    measured = [(first, "a", 0.3), (first, "b", 0.1), (second, "a", 0.0)]
    rows = tuple(MeasuredSeconds(name, "", kind, 1.0, spread, 4) for name, kind, spread in measured)
    save_costs(MeasuredCosts("a run", rows), tmp_path / "costs.json.gz")
    noise = read_noise(tmp_path / "costs.json.gz")
    assert noise == Noise(operators={first: 0.3, second: 0.0})
    assert str(noise) == "2 operators by name 0% to 30%"
    network, found = factors(plan, noise, 400, 0, registry)
    own = [task for task, (o, _) in enumerate(network.tasks) if o == 0]
    assert found[own].std(axis=1) == pytest.approx([0.3] * len(own), rel=0.2)
    others = [row for row in range(len(found)) if row not in own]
    assert (found[others] == 1.0).all()
    with pytest.raises(InputError, match=r"operator 'x' and all others .* not in problem"):
        Scenarios(plan.problem, Noise(operators={"x": 0.1}), 1, 0)


def test_noise_is_read_from_a_line() -> None:
    found = read_noise("forward=0.05, transfer=0.2", ["a=b=1.1@0.5"])
    assert found == Noise(
        {"forward": 0.05, "transfer": 0.2}, stragglers=[Straggler("a=b", 1.1, 0.5)]
    )
    assert str(found) == "forward 5%; transfer 20%; a=b x1.1 in 50% of the steps"
    assert str(read_noise("0")) == "none"


@pytest.mark.parametrize(
    ("given_", "stragglers", "message"),
    [
        ("lots", (), "'lots' is no noise"),
        ("forwards=0.1", (), "no kind of work 'forwards'"),
        ("forward=much", (), "'forward=much' is no spread"),
        ("-0.1", (), "no coefficient of variation"),
        ("nan", (), "no coefficient of variation"),
        ("0.1", ("gpu0",), "'gpu0' is no straggler"),
        ("0.1", ("gpu0=1.1@2",), "no probability"),
        ("0.1", ("gpu0=0",), "no factor above zero"),
    ],
)
def test_what_is_no_noise_is_refused(
    given_: str, stragglers: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_noise(given_, stragglers)


def test_unknown_devices_and_no_samples_are_refused() -> None:
    problem = pipeline_problem()
    with pytest.raises(InputError, match="'gpu9' is no device of cluster"):
        Scenarios(problem, Noise(stragglers=[Straggler("gpu9", 2.0)]), 1, 0)
    with pytest.raises(InputError, match="at least 1"):
        Scenarios(problem, Noise(), 0, 0)
