"""Family robust: plans for random times beside nominal and hand-made ones, on fresh scenarios."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from benchmarks.pipeline_specs import Layout, Pipeline
from parplan.plans import Plan

FRESH_SEED, FRESH_SAMPLES = 1_000_003, 400
"""Scenarios that plans are judged by; the search plans with others."""

NOMINAL_SHARE = 0.3
"""Part of the time limit for the plan for exact times; the rest is for the robust one."""

LIMIT_S = 60.0

SLOW = "d1"
"""The slow device."""


@frozen
class Shape:
    """A pipeline of measured times in milliseconds; stages are unequal where ``weights`` says so.

    ``cap`` is in activations of one stage. Forward, backward and weight take 29.7, 29.4 and 19.9 ms
    as in the public benchmark cases, transfers 0.6 ms.
    """

    name: str
    layout: Layout
    devices: int
    microbatches: int
    cap: int
    weights: tuple[float, ...] = ()

    def spec(self) -> dict[str, Any]:
        """Return the spec, with the makespan as objective."""
        found = Pipeline(
            name=f"robust/{self.name}",
            devices=self.devices,
            microbatches=self.microbatches,
            layout=self.layout,
            forward_s=0.0297,
            backward_s=0.0294,
            weight_s=0.0199,
            delay_s=0.0006,
            saved_bytes=2,
            released_at_backward=0.0,
            cap_bytes=2 * self.cap,
            tick_s=1e-5,
        ).spec()
        options = found["model"]["options"]
        for key in ("forward_s", "backward_s", "weight_s") if self.weights else ():
            options[key] = [round(options[key] * w, 5) for w in self.weights]
        return found


SHAPES = (
    Shape("one-way-p4-m12", Layout.ONE_WAY, 4, 12, 4),
    Shape("one-way-p8-m24", Layout.ONE_WAY, 8, 24, 8),
    Shape("v-p4-m12", Layout.V, 4, 12, 8),
    Shape("v-p8-m16", Layout.V, 8, 16, 16),
    Shape("unequal-p8-m16", Layout.ONE_WAY, 8, 16, 10, (0.7, 1.0, 1.1, 0.9, 1.0, 1.2, 0.9, 1.3)),
)


def cases() -> tuple[Case, ...]:
    """Return the cases: every shape under 5% and 20% noise, and two with a slow device."""
    found = []
    for shape in SHAPES:
        for percent in (5, 20):
            noise = {"spread": _everything(percent / 100)}
            found.append(_case(f"{shape.name}-noise{percent}", shape, noise))
    for shape in (SHAPES[1], SHAPES[2]):
        slow = {"device": SLOW, "factor": 1.1}
        noise = {"spread": _everything(0.05), "stragglers": [slow]}
        found.append(_case(f"{shape.name}-slow-device", shape, noise))
    return tuple(found)


def _everything(spread: float) -> dict[str, float]:
    kinds = ("forward", "backward", "weight", "transfer")
    return dict.fromkeys(kinds, spread)


def _case(name: str, shape: Shape, noise: Mapping[str, Any]) -> Case:
    short = name == "one-way-p4-m12-noise5"
    run = partial(robust_case, shape, noise)
    return Case(f"robust/{name}", run, time_limit_s=LIMIT_S, short=short)


def robust_case(shape: Shape, noise: Mapping[str, Any], context: Context) -> Outcome:
    """Plan for random times, and judge it beside others on scenarios that nobody planned with.

    The reference is the best hand-made schedule's mean; details hold means and 95th percentiles in
    seconds of the robust plan, the nominal plan, 1F1B and the best hand-made schedule.
    """
    from parplan.api import compare, load_registry, plan
    from parplan.api import simulate as simulated
    from parplan.spec.sections import parse_spec

    registry = load_registry()
    spec = shape.spec()
    robust = {**spec, "objectives": [{"robust-makespan": {"noise": noise}}, "makespan"]}

    def judged(one: Plan) -> Mapping[str, float]:
        found = simulated(
            one, noise=noise, samples=FRESH_SAMPLES, seed=FRESH_SEED, registry=registry
        )
        return {"planned": found.planned_s, "mean": found.mean_s, "p95": found.quantile_s(0.95)}

    limit = context.time_limit_s
    nominal = plan(
        parse_spec(json.dumps(spec)), registry=registry, time_limit_s=NOMINAL_SHARE * limit
    )
    comparison = compare(
        parse_spec(json.dumps(robust)), registry=registry, time_limit_s=(1 - NOMINAL_SHARE) * limit
    )
    hand_made = {
        entry.name: judged(entry.plan)
        for entry in comparison.entries[1:]
        if entry.plan is not None and entry.plan.problem == comparison.problem
    }
    found = judged(comparison.plan)
    best = _best(hand_made)
    details = {
        "robust": found,
        "nominal": judged(nominal),
        "1f1b": hand_made.get("1f1b"),
        "best_hand_made": best,
        "best_hand_made_mean": min((h["mean"] for h in hand_made.values()), default=math.nan),
    }
    return Outcome(
        plan=_on_fresh_scenarios(comparison.plan, noise, found["mean"]),
        registry=registry,
        reference=hand_made[best]["mean"] if best else None,
        reference_source=f"mean of '{best}' on fresh scenarios" if best else None,
        details=details,
    )


def _on_fresh_scenarios(plan: Plan, noise: Mapping[str, Any], mean_s: float) -> Plan:
    """Return the plan with the mean on fresh scenarios as its objective, which a check repeats."""
    from parplan.problem import Rule

    fresh = {"noise": noise, "samples": FRESH_SAMPLES, "seed": FRESH_SEED}
    problem = attrs.evolve(plan.problem, objectives=(Rule("robust-makespan", fresh),))
    schedule = attrs.evolve(plan.schedule, problem=problem)
    values = {"robust-makespan": mean_s}
    return attrs.evolve(plan, problem=problem, schedule=schedule, objectives=values)


def _best(hand_made: Mapping[str, Mapping[str, float]]) -> str:
    """Return the name of the hand-made schedule of the smallest mean; empty without any."""
    return min(hand_made, key=lambda name: hand_made[name]["mean"], default="")
