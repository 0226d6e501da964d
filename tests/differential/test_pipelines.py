"""Pipelines that the search alone claims to have solved: CP-SAT and HiGHS find nothing better.

The search uses list schedules, sequences and its own bounds here; the solvers have the whole model.
"""

from __future__ import annotations

import json

import pytest

from benchmarks.confirming import Ruling, confirm
from benchmarks.pipeline_specs import Layout, Pipeline
from parplan.api import plan
from parplan.registry import Registry
from parplan.spec.sections import parse_spec

UNIT = (1.0, 1.0, 1.0)
UNEVEN = (3.0, 4.0, 2.0)
ONE_WAY, V, MIRRORED, FREE = Layout.ONE_WAY, Layout.V, Layout.MIRRORED, Layout.FREE

CASES = (
    (ONE_WAY, 2, 4, 2, 0.0, UNEVEN),
    (ONE_WAY, 2, 4, 1, 0.3, UNIT),
    (ONE_WAY, 3, 6, 2, 0.0, UNIT),
    (ONE_WAY, 3, 6, 3, 0.3, UNEVEN),
    (ONE_WAY, 4, 6, 2, 0.3, UNIT),
    (ONE_WAY, 4, 6, 3, 0.0, UNEVEN),
    (V, 2, 4, 4, 0.0, UNIT),
    (V, 2, 4, 6, 0.3, UNEVEN),
    (V, 3, 6, 6, 0.0, UNIT),
    (MIRRORED, 2, 4, 2, 0.3, UNIT),
    (MIRRORED, 2, 4, 3, 0.3, UNEVEN),
    (MIRRORED, 3, 6, 2, 0.0, UNIT),
    (MIRRORED, 3, 6, 3, 0.0, UNIT),
    (FREE, 2, 4, 2, 0.0, UNIT),
    (FREE, 2, 4, 3, 0.3, UNIT),
)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "devices", "microbatches", "cap", "delay", "times"), CASES)
def test_two_solvers_confirm_what_the_search_claims(
    layout: Layout,
    devices: int,
    microbatches: int,
    cap: int,
    delay: float,
    times: tuple[float, float, float],
    registry: Registry,
) -> None:
    forward, backward, weight = times
    pipeline = Pipeline(
        name=f"{layout}-p{devices}-m{microbatches}-cap{cap}-delay{delay}",
        devices=devices,
        microbatches=microbatches,
        layout=layout,
        forward_s=forward,
        backward_s=backward,
        weight_s=weight,
        delay_s=delay,
        saved_bytes=2,
        released_at_backward=0.0,
        cap_bytes=2 * cap,
        tick_s=0.1,
    )
    found = plan(
        parse_spec(json.dumps(pipeline.spec())),
        registry=registry,
        solver="list",
        time_limit_s=20.0,
        workers=1,
    )
    assert found.status == "optimal"
    for name in ("cp-sat", "highs"):
        said = confirm(found, registry.solvers[name].value, registry, 60.0)
        assert said.ruling is Ruling.CONFIRMED, said
