"""What real pipelines have, each by a case whose optimum is found by hand.

Further ones have tests of their own: caps per stage (constraints/test_in_flight), offloading and
recomputation (plugins/strategies), activations released at B, at W and by halves
(benchmarks/test_pipelines).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import parplan
from parplan.errors import InfeasibleError
from parplan.registry import Registry
from parplan.spec.sections import parse_spec


@pytest.fixture
def optimum(registry: Registry) -> Any:
    """A function from a spec to its proven least makespan in seconds."""

    def solve(**spec: Any) -> float:
        parsed = parse_spec(json.dumps({"name": "by hand", "tick_s": 1.0, **spec}))
        found = parplan.plan(parsed, registry=registry, time_limit_s=20.0, workers=1)
        assert found.status == "optimal"
        assert parplan.check(found, registry=registry) == ()
        return float(found.value)

    return solve


def operator(name: str, seconds: float, device: str, **more: Any) -> dict[str, Any]:
    """An operator that runs on one device."""
    mode = {"seconds": {"*": seconds}, "groups": [[device]]}
    return {"name": name, "modes": [mode], **more}


def two_devices(first: int | None, second: int | None, bandwidth: float) -> dict[str, Any]:
    """Devices g0 and g1 with so many bytes, and a link that carries so many bytes per second."""
    memory = [{} if size is None else {"memory_bytes": size} for size in (first, second)]
    devices = [{"name": f"g{i}", **given} for i, given in enumerate(memory)]
    return {"devices": devices, "links": [{"source": "g0", "target": "g1", "bandwidth": bandwidth}]}


def sender_and_receiver(receiver_s: float, size: int) -> dict[str, Any]:
    """One second on g0, a tensor, some seconds on g1."""
    return {
        "operators": [operator("send", 1, "g0"), operator("receive", receiver_s, "g1")],
        "tensors": [{"name": "t", "producer": "send", "consumers": ["receive"], "bytes": size}],
    }


@pytest.mark.parametrize(("split", "seconds"), [(True, 9.0), (False, 10.0)])
def test_a_first_stage_that_cannot_split_keeps_its_activation(
    split: bool, seconds: float, optimum: Any
) -> None:
    """With room for one microbatch, the next forward waits for all of the backward pass.

    Split: F F B B, and again; the first W beside the second forward, the last one at the end. In
    one piece: each round of the first stage is longer by its W.
    """
    options = {
        "stages": 2,
        "forward_s": 1,
        "backward_s": 1,
        "weight_s": 1,
        "activation_bytes": 1,
        "released_at_backward": 1,
        "split_backward": [split, True],
    }
    devices = [{"name": "g{}", "count": 2, "node": "a", "memory_bytes": 1}]
    pin = {"stages.0": ["g0"], "stages.1": ["g1"]}
    assert seconds == optimum(
        model={"kind": "stages", "options": options},
        cluster={"devices": devices, "intra": {"bandwidth": 1e9}},
        workload={"microbatches": 2},
        constraints=[{"placement": {"pin": pin}}],
    )


@pytest.mark.parametrize(("room", "seconds"), [(8, 8.0), (4, 9.0)])
def test_a_receive_takes_room_from_its_start(room: int, seconds: float, optimum: Any) -> None:
    """Without room for two buffers, the second receive waits until the first one has been read."""
    assert seconds == optimum(
        model=sender_and_receiver(3, size=4),
        cluster=two_devices(None, room, bandwidth=4),
        workload={"microbatches": 2},
    )


@pytest.mark.parametrize(("room", "seconds"), [(8, 4.0), (4, 5.0)])
def test_what_is_sent_takes_room_until_it_is_gone(room: int, seconds: float, optimum: Any) -> None:
    """Without room for two, the sender computes the second only when the first has left."""
    assert seconds == optimum(
        model=sender_and_receiver(1, size=4),
        cluster=two_devices(room, None, bandwidth=4),
        workload={"microbatches": 2},
    )


@pytest.mark.parametrize(("nics", "seconds"), [(2, 4.0), (1, 6.0)])
def test_transfers_take_turns_on_a_shared_nic(nics: int, seconds: float, optimum: Any) -> None:
    """Two stages send two seconds' worth each to the other node, at the same time if they can."""
    nodes = [("x0", "a"), ("x1", "a"), ("y0", "b"), ("y1", "b")]
    operators = [operator(f"{what}{i}", 1, f"{d}{i}") for i in (0, 1)
                 for what, d in (("send", "x"), ("receive", "y"))]  # fmt: skip
    tensors = [
        {"name": f"t{i}", "producer": f"send{i}", "consumers": [f"receive{i}"], "bytes": 8}
        for i in (0, 1)
    ]
    inter = {"bandwidth": 4, "latency_s": 0, "nics_per_node": nics}
    assert seconds == optimum(
        model={"operators": operators, "tensors": tensors},
        cluster={
            "devices": [{"name": name, "node": node} for name, node in nodes],
            "intra": {"bandwidth": 1e9, "latency_s": 0},
            "inter": inter,
        },
    )


@pytest.mark.parametrize(("rings", "seconds"), [(0, 4.0), (1, 5.0)])
def test_data_parallel_traffic_shares_links_with_transfers(
    rings: int, seconds: float, optimum: Any
) -> None:
    """A transfer (2 s) and an all-reduce (2 s) over one link: whichever is second ends at 5."""
    model = sender_and_receiver(1, size=8)
    ring = {"ring_steps": rings, "ring_bytes": 8 * rings}
    gang = {"devices": 2, "groups": [["g0", "g1"]], "engines": ["collective"], "seconds": 2, **ring}
    reduce = {"name": "all-reduce", "kind": "collective", "modes": [gang]}
    cluster = two_devices(None, None, bandwidth=4)
    cluster["links"].append({"source": "g1", "target": "g0", "bandwidth": 4})
    assert seconds == optimum(
        model={**model, "operators": [*model["operators"], reduce]}, cluster=cluster
    )


def test_a_longer_microbatch_has_longer_times_and_more_bytes(optimum: Any) -> None:
    """Short first: 1 + 2 + 1 s; long: 3 s from 1, 6 s on the link from 4, 3 s from 10."""
    model = sender_and_receiver(1, size=2)
    workload = {"microbatches": 2, "scales": [1, 3]}
    fits = two_devices(None, 6, bandwidth=1)
    assert optimum(model=model, cluster=fits, workload=workload) == 13.0
    with pytest.raises(InfeasibleError):
        optimum(model=model, cluster=two_devices(None, 5, bandwidth=1), workload=workload)
