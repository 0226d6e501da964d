"""Mixtures of experts: the case that is proven, and the shape of the large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mixture
from benchmarks.cases import Context
from benchmarks.mixture import SETUPS, Setup, cases, mixture_case
from parplan.plugins.manager import load_registry
from parplan.registry import Registry


def test_one_layer_hides_every_exchange_that_1f1b_exposes() -> None:
    outcome = mixture_case("one-layer", SETUPS["one-layer"], Context(None, 40.0))
    plan, *made = outcome.details["schedules"]
    assert outcome.plan is not None
    assert outcome.plan.status == "optimal"
    assert plan["exposed_communication_s"] == 0.0
    assert plan["bubble"] == 0.0
    (slowest,) = {row["exposed_communication_s"] for row in made if row["schedule"] == "1f1b"}
    assert outcome.reference is not None
    assert plan["makespan_s"] + slowest == outcome.reference


def test_a_plan_in_the_memory_of_dualpipe_is_no_longer() -> None:
    setup = Setup(4, 0, 2, 8, 4, equal_memory=True)
    outcome = mixture_case("small", setup, Context(None, 12.0))
    plan, *made = outcome.details["schedules"]
    assert outcome.plan is not None
    assert outcome.reference is not None
    memory = outcome.details["memory_bytes"]
    assert {d.memory_bytes for d in outcome.plan.problem.cluster.devices} == {memory}
    assert plan["peak_bytes"] <= memory
    assert memory in {row.get("peak_bytes") for row in made if row["schedule"] == "dualpipe"}
    assert plan["makespan_s"] <= outcome.reference


def test_no_better_dualpipe_is_made_in_the_memory_of_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = [(9.0, 50), (8.0, 40), (8.0, 30), (7.0, 20)]
    memories = []

    def made(source: str, registry: Registry, time_limit_s: float) -> list[dict[str, Any]]:
        memories.append(json.loads(source)["cluster"]["devices"][0]["memory_bytes"])
        makespan_s, peak = rounds[len(memories) - 1]
        return [{"makespan_s": makespan_s + 1, "peak_bytes": peak - 1},
                {"makespan_s": makespan_s, "peak_bytes": peak}]  # fmt: skip

    monkeypatch.setattr(mixture, "dualpipes", made)
    setup, registry = SETUPS["one-layer"], load_registry(installed=False)
    assert mixture.best_dualpipe(setup, Path("model.json"), registry, 3.0)["peak_bytes"] == 30
    assert memories == [mixture.PLENTY, 50, 40]

    memories.clear()
    rounds[:] = [(9.0, 50), (9.5, 40)]
    assert mixture.best_dualpipe(setup, Path("model.json"), registry, 3.0)["peak_bytes"] == 50


def test_the_large_cases_are_the_published_shape() -> None:
    assert {case.name.partition("/")[0] for case in cases()} == {"moe"}
    whole = SETUPS["deepseek-v3-m64"]
    assert (whole.layers, whole.dense, whole.devices, whole.degree) == (61, 3, 16, 64)
    assert whole.config()["n_routed_experts"] == 256
