"""Workloads: what is known of each microbatch."""

from __future__ import annotations

from typing import Any

import pytest

from parplan.errors import InputError
from parplan.problem import STEP
from parplan.workload import Workload, WorkloadKind


def test_all_microbatches_are_alike_unless_said() -> None:
    workload = Workload(microbatches=3)
    assert workload.group_count == 1
    assert [workload.group(m) for m in range(3)] == [0, 0, 0]
    assert [workload.scale(m) for m in range(3)] == [1.0, 1.0, 1.0]


def test_groups_and_scales_by_microbatch() -> None:
    workload = Workload(microbatches=2, groups=(0, 1), scales=(1.0, 2.5))
    assert workload.group_count == 2
    assert (workload.group(1), workload.scale(1)) == (1, 2.5)
    assert (workload.group(STEP), workload.scale(STEP)) == (0, 1.0)


def test_requests_have_releases() -> None:
    workload = Workload(WorkloadKind.REQUESTS, 2, releases_s=(0.0, 0.5))
    assert workload.releases_s == (0.0, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"microbatches": 0}, "microbatches is 0"),
        ({"microbatches": 2, "groups": (0,)}, "groups has 1 entries for 2 microbatches"),
        ({"microbatches": 2, "scales": (1.0, 0.0)}, "scales must be above zero"),
        ({"microbatches": 2, "groups": (0, 2)}, "numbered 0, 1, ... without a hole"),
        ({"microbatches": 1, "releases_s": (-1.0,)}, "releases_s must be finite and not negative"),
        ({"microbatches": 1, "scales": (float("inf"),)}, "scales must be finite"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Workload(**options)
