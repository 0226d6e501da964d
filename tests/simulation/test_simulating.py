"""Statistics and blame of simulations, on cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

import parplan
from parplan.cli import root
from parplan.errors import InputError
from parplan.registry import Registry
from parplan.simulation.noise import Noise, Straggler
from tests.plan_samples import pipeline_plan


def test_without_noise_every_step_takes_its_planned_time(registry: Registry) -> None:
    plan = pipeline_plan(3, 4)
    found = parplan.simulate(plan, noise=0.0, samples=5, registry=registry)
    assert found.makespans_s.tolist() == [plan.value] * 5
    assert found.replayed_s == found.planned_s == plan.value
    assert found.deviation_s == 0
    assert found.interval_s == (plan.value, plan.value)
    assert [p.relief_s for p in found.places][:3] == [0.0, 0.0, 0.0]


def test_a_slow_device_is_blamed_and_its_relief_is_the_whole_delay(registry: Registry) -> None:
    noise = Noise(stragglers=(Straggler("gpu1", 1.4),))
    found = parplan.simulate(pipeline_plan(3, 8), noise=noise, samples=3, registry=registry)
    first = found.places[0]
    assert (first.name, first.kind, first.leads) == ("gpu1", "device", 1.0)
    assert first.relief_s == pytest.approx(found.delay_s)
    assert all(p.relief_s in (None, 0.0) for p in found.places[1:])


def test_the_longest_path_is_shared_out_without_rest(registry: Registry) -> None:
    found = parplan.simulate(pipeline_plan(3, 5), noise=0.3, samples=20, registry=registry)
    assert sum(p.critical for p in found.places) == pytest.approx(1.0)
    assert sum(p.leads for p in found.places) == pytest.approx(1.0)


def test_by_jensen_the_mean_is_above_the_replay_at_mean_times(registry: Registry) -> None:
    found = parplan.simulate(pipeline_plan(4, 8), noise=0.2, samples=2000, registry=registry)
    assert found.interval_s[0] > found.replayed_s
    assert np.quantile(found.makespans_s, 0.95) == found.quantile_s(0.95) > found.mean_s


def test_a_broken_plan_is_refused(registry: Registry) -> None:
    plan = pipeline_plan(2, 3)
    moves = plan.schedule.transfers
    fewer = {f.name: getattr(moves, f.name)[1:] for f in attrs.fields(type(moves))}
    schedule = attrs.evolve(plan.schedule, transfers=type(moves)(**fewer))
    with pytest.raises(InputError, match="does not move"):
        parplan.simulate(attrs.evolve(plan, schedule=schedule), registry=registry)


def test_the_command_prints_what_the_function_returns(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    parplan.save_plan(pipeline_plan(2, 3), path)
    options = [
        "--noise",
        "forward=0.1",
        "--straggler",
        "gpu1=1.2@0.5",
        "--samples",
        "9",
        "--seed",
        "4",
    ]
    said = CliRunner().invoke(root, ["simulate", str(path), *options, "--json"])
    noise = Noise({"forward": 0.1}, stragglers=(Straggler("gpu1", 1.2, 0.5),))
    found = parplan.simulate(path, noise=noise, samples=9, seed=4)
    assert json.loads(said.stdout) == json.loads(json.dumps(found.to_dict()))
    text = CliRunner().invoke(root, ["simulate", str(path), *options]).stdout
    assert "9, seed 4" in text
    assert "What decides it" in text
    assert "gpu1" in text
