"""Hand-made schedules have the bubbles and peaks that their papers state (no communication).

Bubble per device and peak in activations of one device's share of the layers, see Narayanan et al.
(SC'21, section 2), Qi et al. (ICLR'24, table 1).
"""

from __future__ import annotations

import pytest

from parplan.checking import check_schedule
from parplan.contracts import Strategy
from parplan.pipeline import PassKind, PipelineShape
from parplan.plugins.strategies.interleaved import Interleaved
from parplan.plugins.strategies.one_forward_one_backward import GPipe, OneForwardOneBackward
from parplan.plugins.strategies.zero_bubble import ZeroBubbleH1
from parplan.registry import Registry
from parplan.reporting import summary
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.blocks import find_blocks
from parplan.search.evaluation import Finisher, prepare, schedule_by_recipe
from parplan.search.placement import Placer
from tests.search.pipelines import even_pipeline

UNEVEN = (3.0, 4.0, 2.0)
RECIPES = (GPipe(), OneForwardOneBackward(), Interleaved(), ZeroBubbleH1())


def simulate(
    recipe: Strategy,
    devices: int,
    microbatches: int,
    registry: Registry,
    chunks: int = 1,
    times: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Schedule:
    """Return the recipe's schedule of an even pipeline, checked."""
    shape = recipe.shape(devices, microbatches, chunks)
    assert shape is not None
    problem = even_pipeline(shape.stages, devices, microbatches, times)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    found = schedule_by_recipe(prepare(placer, (shape.placement,)), recipe, shape)
    assert found is not None
    schedule = Finisher(placer).expand(found)
    assert check_schedule(schedule, rules) == ()
    assert schedule.makespan == found.makespan
    return schedule


def peaks(schedule: Schedule) -> list[int]:
    """Return the most activations on each device."""
    return [device.peak_activation_bytes for device in summary(schedule).devices]


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("times", [(1.0, 1.0, 1.0), UNEVEN])
def test_gpipe(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    m = devices + more
    schedule = simulate(GPipe(), devices, m, registry, times=times)
    assert schedule.makespan == (m + devices - 1) * sum(times)
    assert peaks(schedule) == [m] * devices


def test_gpipe_takes_fewer_microbatches_than_devices(registry: Registry) -> None:
    assert simulate(GPipe(), 4, 2, registry).makespan == (2 + 4 - 1) * 3


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("more", [0, 1, 12])
@pytest.mark.parametrize("times", [(1.0, 1.0, 1.0), UNEVEN])
def test_one_forward_one_backward(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    m = devices + more
    schedule = simulate(OneForwardOneBackward(), devices, m, registry, times=times)
    assert schedule.makespan == (m + devices - 1) * sum(times)
    assert peaks(schedule) == [devices - stage for stage in range(devices)]


@pytest.mark.parametrize(("devices", "chunks"), [(2, 2), (2, 3), (4, 2), (4, 3), (8, 2)])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_interleaved(devices: int, chunks: int, rounds: int, registry: Registry) -> None:
    m = devices * rounds
    schedule = simulate(Interleaved(), devices, m, registry, chunks, UNEVEN)
    # Times are those of a chunk, 1/v of a device's share: (p-1)(F+B+W)/v in times of a device.
    assert schedule.makespan == (m * chunks + devices - 1) * sum(UNEVEN)
    if rounds > 1:
        assert peaks(schedule)[0] == chunks * devices + devices - 1
    assert max(peaks(schedule)) == peaks(schedule)[0] <= chunks * m


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("more", [0, 1, 12])
def test_zb_h1(devices: int, more: int, registry: Registry) -> None:
    m = devices + more
    schedule = simulate(ZeroBubbleH1(), devices, m, registry)
    assert schedule.makespan == 3 * m + (devices - 1)  # (p-1)(F+B-W) with all three 1
    assert max(peaks(schedule)) == devices


def test_zb_h1_is_shorter_than_1f1b_in_the_same_memory(registry: Registry) -> None:
    times = (5.0, 6.0, 4.0)
    ours = simulate(ZeroBubbleH1(), 4, 8, registry, times=times)
    theirs = simulate(OneForwardOneBackward(), 4, 8, registry, times=times)
    assert ours.makespan < theirs.makespan
    assert max(peaks(ours)) == max(peaks(theirs))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
@pytest.mark.parametrize(("devices", "microbatches"), [(1, 1), (2, 4), (3, 6), (4, 4), (4, 12)])
def test_every_pass_of_a_device_comes_once_and_in_order(
    recipe: Strategy, devices: int, microbatches: int
) -> None:
    shape = next(s for c in (1, 2, 3) if (s := recipe.shape(devices, microbatches, c)) is not None)
    orders = recipe.orders(shape)
    assert len(orders) == devices
    for rank, passes in enumerate(orders):
        stages = [s for s in range(shape.stages) if shape.placement[s] == rank]
        wanted = {(k, s, m) for k in PassKind for s in stages for m in range(microbatches)}
        assert {(one.kind, one.stage, one.microbatch) for one in passes} == wanted
        assert len(passes) == len(wanted)
        place = {(one.kind, one.stage, one.microbatch): i for i, one in enumerate(passes)}
        for s in stages:
            for m in range(microbatches):
                forward, back, weight = (place[kind, s, m] for kind in PassKind)
                assert forward < back < weight


@pytest.mark.parametrize(
    ("recipe", "devices", "microbatches", "chunks"),
    [
        (GPipe(), 2, 4, 2),
        (OneForwardOneBackward(), 4, 3, 1),
        (OneForwardOneBackward(), 2, 4, 2),
        (ZeroBubbleH1(), 4, 3, 1),
        (ZeroBubbleH1(), 2, 4, 2),
        (Interleaved(), 2, 3, 2),
        (Interleaved(), 2, 4, 1),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_recipe_says_where_it_does_not_apply(
    recipe: Strategy, devices: int, microbatches: int, chunks: int
) -> None:
    assert recipe.shape(devices, microbatches, chunks) is None


def test_strategy_with_a_shape_but_no_orders_says_so() -> None:
    class Half(Strategy):
        name = "half"

    with pytest.raises(NotImplementedError, match="'half' gives a shape but no orders"):
        Half().orders(PipelineShape(1, 1, (0,)))
