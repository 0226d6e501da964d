"""Mixtures of experts: the case that is proven, and the shape of the large ones."""

from __future__ import annotations

from benchmarks.cases import Context
from benchmarks.mixture import SETUPS, Setup, cases, mixture_case


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
    assert "dualpipe" in {row["schedule"] for row in made if row.get("peak_bytes", 0) <= memory}
    assert plan["makespan_s"] <= outcome.reference


def test_the_large_cases_are_the_published_shape() -> None:
    assert {case.name.partition("/")[0] for case in cases()} == {"moe"}
    whole = SETUPS["deepseek-v3-m64"]
    assert (whole.layers, whole.dense, whole.devices, whole.degree) == (61, 3, 16, 64)
    assert whole.config()["n_routed_experts"] == 256
