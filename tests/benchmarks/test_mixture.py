"""Mixtures of experts: the case that is proven, and the shape of the large ones."""

from __future__ import annotations

from benchmarks.cases import Context
from benchmarks.mixture import SETUPS, cases, mixture_case


def test_one_layer_hides_every_exchange_that_1f1b_exposes() -> None:
    outcome = mixture_case("one-layer", Context(None, 8.0))
    plan, *made = outcome.details["schedules"]
    assert outcome.plan is not None
    assert outcome.plan.status == "optimal"
    assert plan["exposed_communication_s"] == 0.0
    assert plan["bubble"] == 0.0
    (slowest,) = {row["exposed_communication_s"] for row in made if row["schedule"] == "1f1b"}
    assert outcome.reference is not None
    assert plan["makespan_s"] + slowest == outcome.reference


def test_the_large_cases_are_the_published_shape() -> None:
    assert {case.name.partition("/")[0] for case in cases()} == {"moe"}
    whole = SETUPS["deepseek-v3-m64"]
    assert (whole.layers, whole.dense, whole.devices, whole.degree) == (61, 3, 16, 64)
    assert whole.config()["n_routed_experts"] == 256
