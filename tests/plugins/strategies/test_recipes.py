"""Hand-made schedules have the bubbles and peaks that their papers state (no communication).

Bubble per device; peaks in activations of one device's share of the layers, for one microbatch.
docs/explanation/schedules.md tells where each figure is from, and where a formula is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest

from parplan.contracts import Strategy
from parplan.errors import InputError
from parplan.figures.pipeline import pipeline_figures
from parplan.pipelines.pipeline import Fused, Order, Pass, PassKind, PipelineShape, passes_of
from parplan.plugins.strategies.chimera import Chimera
from parplan.plugins.strategies.controllable_memory import VHalf, VMin
from parplan.plugins.strategies.dualpipe import DualPipe, DualPipeV
from parplan.plugins.strategies.hanayo import Hanayo
from parplan.plugins.strategies.interleaved import Interleaved
from parplan.plugins.strategies.one_forward_one_backward import GPipe, OneForwardOneBackward
from parplan.plugins.strategies.pipedream import PipeDream, PipeDream2BW
from parplan.plugins.strategies.zero_bubble import ZeroBubbleH1, ZeroBubbleH2, ZeroBubbleV
from parplan.registry import Registry
from parplan.schedule import Schedule
from tests.plugins.strategies.published import simulate

UNIT = (1.0, 1.0, 1.0)
UNEVEN = (3.0, 4.0, 2.0)
DEVICES = (2, 4, 8, 16)
RECIPES = (
    *(GPipe(), OneForwardOneBackward(), Interleaved(), PipeDream(), PipeDream2BW(), Hanayo()),
    *(ZeroBubbleH1(), ZeroBubbleH2(), ZeroBubbleV(), VHalf(), VMin()),
    *(Chimera(), DualPipe(), DualPipeV()),
)


def peaks(schedule: Schedule) -> list[float]:
    """Return the most activations on each device, in shares of a device."""
    return list(pipeline_figures(schedule).peak_activations.values())


@pytest.mark.parametrize("devices", [1, *DEVICES])
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("times", [UNIT, UNEVEN])
def test_gpipe(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    m = devices + more
    schedule = simulate(GPipe(), devices, m, registry, times=times)
    figures = pipeline_figures(schedule)
    bubble = (devices - 1) * sum(times)
    assert (figures.makespan_bubble_s, figures.span_bubble_s) == (bubble, bubble)
    assert peaks(schedule) == [m] * devices


def test_gpipe_takes_fewer_microbatches_than_devices(registry: Registry) -> None:
    assert simulate(GPipe(), 4, 2, registry).makespan == (2 + 4 - 1) * 3


@pytest.mark.parametrize("devices", [1, *DEVICES])
@pytest.mark.parametrize("more", [0, 1, 12])
@pytest.mark.parametrize("times", [UNIT, UNEVEN])
def test_one_forward_one_backward(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    m = devices + more
    schedule = simulate(OneForwardOneBackward(), devices, m, registry, times=times)
    figures = pipeline_figures(schedule)
    bubble = (devices - 1) * sum(times)
    assert (figures.makespan_bubble_s, figures.span_bubble_s) == (bubble, bubble)
    assert peaks(schedule) == [devices - stage for stage in range(devices)]


@pytest.mark.parametrize(("devices", "chunks"), [(2, 2), (2, 3), (4, 2), (4, 3), (8, 2), (16, 2)])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_interleaved(devices: int, chunks: int, rounds: int, registry: Registry) -> None:
    m = devices * rounds
    schedule = simulate(Interleaved(), devices, m, registry, chunks, UNEVEN)
    # Times are those of a chunk, 1/v of a device's share: (p-1)(F+B+W)/v in times of a device.
    figures = pipeline_figures(schedule)
    bubble = (devices - 1) * sum(UNEVEN)
    assert (figures.makespan_bubble_s, figures.span_bubble_s) == (bubble, bubble)
    peak = devices * (1 + (devices - 1) / (devices * chunks))
    assert max(peaks(schedule)) == pytest.approx(peak if rounds > 1 else min(peak, m))


@pytest.mark.parametrize("devices", [1, *DEVICES])
@pytest.mark.parametrize("more", [0, 1, 12])
@pytest.mark.parametrize("times", [UNIT, UNEVEN, (10.0, 11.0, 9.0), (10.0, 10.0, 11.0)])
def test_zb_h1(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    schedule = simulate(ZeroBubbleH1(), devices, devices + more, registry, times=times)
    figures = pipeline_figures(schedule)
    forward, backward, weight = times
    # (p-1)(F+B-W), but a W longer than an F fills no more than the time of an F.
    bubble = (devices - 1) * (backward + max(forward - weight, 0))
    assert (figures.makespan_bubble_s, figures.span_bubble_s) == (bubble, bubble)
    assert max(peaks(schedule)) == devices


def test_zb_h1_is_shorter_than_1f1b_in_the_same_memory(registry: Registry) -> None:
    times = (5.0, 6.0, 4.0)
    ours = simulate(ZeroBubbleH1(), 4, 8, registry, times=times)
    theirs = simulate(OneForwardOneBackward(), 4, 8, registry, times=times)
    assert ours.makespan < theirs.makespan
    assert max(peaks(ours)) == max(peaks(theirs))


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("more", [0, 1, 6])
@pytest.mark.parametrize("times", [UNIT, UNEVEN, (4.0, 4.0, 3.0)])
def test_zb_h2(
    devices: int, more: int, times: tuple[float, float, float], registry: Registry
) -> None:
    schedule = simulate(ZeroBubbleH2(), devices, 2 * devices - 1 + more, registry, times=times)
    figures = pipeline_figures(schedule)
    forward, backward, weight = times
    assert figures.span_bubble_s == (devices - 1) * (forward + backward - 2 * weight)
    assert figures.makespan_bubble_s == max(figures.span_bubble_s, (devices - 1) * forward)
    assert max(peaks(schedule)) == 2 * devices - 1


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("microbatches", ["p", "p+1", "2p-1", "2p", "3p"])
def test_zb_v(devices: int, microbatches: str, registry: Registry) -> None:
    p = devices
    m = {"p": p, "p+1": p + 1, "2p-1": 2 * p - 1, "2p": 2 * p, "3p": 3 * p}[microbatches]
    schedule = simulate(ZeroBubbleV(), p, m, registry, 2)
    # Times are those of a chunk. The first device has m forwards for the 2p - 1 slots before the
    # first microbatch is back: below 2p - 1 microbatches no V is without a bubble.
    assert pipeline_figures(schedule).span_bubble_s == max(0, 2 * p - 1 - m)
    assert max(peaks(schedule)) == p


@pytest.mark.parametrize(
    ("recipe", "rate", "peak"),
    [
        (VHalf(), lambda p: p / 2, lambda p: (p + 2) / 2),
        (VMin(), lambda p: 2 * p / 3, lambda p: (p + 4) / 3),
    ],
    ids=["v-half", "v-min"],
)
@pytest.mark.parametrize("devices", [*DEVICES, 3, 5, 6, 7])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_controllable_memory(
    recipe: Strategy,
    rate: Callable[[int], float],
    peak: Callable[[int], float],
    devices: int,
    rounds: int,
    registry: Registry,
) -> None:
    m = devices * rounds
    schedule = simulate(recipe, devices, m, registry, 2)
    whole = 6.0  # F, B and W of both chunks
    measured = pipeline_figures(schedule).span_bubble_s / (m * whole)
    assert abs(measured - rate(devices) / m) <= 1 / m
    assert max(peaks(schedule)) <= peak(devices)
    if rounds > 1:
        assert max(peaks(schedule)) > peak(devices) - 0.5  # chunks are half a share


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_chimera(devices: int, rounds: int, registry: Registry) -> None:
    p, m = devices, devices * rounds
    even = pipeline_figures(simulate(Chimera(), p, m, registry, times=(2.0, 1.0, 1.0)))
    assert even.makespan_bubble_s == 2 * (p - 2)  # T_B = T_F = 2: of 2m + p - 2, in units of T_F
    schedule = simulate(Chimera(), p, m, registry)
    if rounds == 1:
        figures = pipeline_figures(schedule)
        rate = figures.makespan_bubble_s / schedule.makespan
        assert rate == pytest.approx((p - 2) / (1.5 * m + p - 2))  # T_B = 2 T_F
    assert (min(peaks(schedule)), max(peaks(schedule))) == (p / 2 + 1, p)


def test_chimera_is_optimal_at_four_devices_and_four_microbatches(registry: Registry) -> None:
    assert simulate(Chimera(), 4, 4, registry).makespan == 16


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("more", [0, 2, 8])
def test_dualpipe(devices: int, more: int, registry: Registry) -> None:
    p, m = devices, 2 * devices + more
    fused = simulate(DualPipe(), p, m, registry)
    assert pipeline_figures(fused).makespan_bubble_s == 2 * (p // 2 - 1)  # F&B + B - 3W
    apart = simulate(DualPipe(fused=False), p, m, registry)
    assert pipeline_figures(apart).makespan_bubble_s == p // 2 - 1
    assert set(peaks(fused)) == set(peaks(apart)) == {p + 1}


def test_dualpipe_of_the_paper_on_planning(registry: Registry) -> None:
    assert simulate(DualPipe(), 8, 20, registry).makespan == 66
    assert simulate(DualPipe(fused=False), 8, 20, registry).makespan == 63


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("microbatches", ["2p", "2p+1", "4p"])
def test_dualpipe_v(devices: int, microbatches: str, registry: Registry) -> None:
    p = devices
    m = {"2p": 2 * p, "2p+1": 2 * p + 1, "4p": 4 * p}[microbatches]
    fused = simulate(DualPipeV(), p, m, registry, 2)
    assert pipeline_figures(fused).makespan_bubble_s == 2 * (p - 1)  # F&B + B - 3W
    assert max(peaks(fused)) == (2 * p + 1) / 2
    apart = simulate(DualPipeV(fused=False), p, m, registry, 2)
    assert pipeline_figures(apart).makespan_bubble_s == p - 1


@pytest.mark.parametrize(
    ("recipe", "devices", "microbatches", "chunks", "times", "makespan", "span"),
    [
        (ZeroBubbleV(), 4, 12, 2, UNEVEN, None, 10),
        (ZeroBubbleV(), 8, 24, 2, UNEVEN, None, 26),
        (Hanayo(), 4, 4, 2, UNIT, 12, None),
        (Hanayo(), 4, 8, 2, UNIT, 17, None),
        (Hanayo(), 4, 16, 2, UNIT, 29, None),
        (Chimera(), 4, 4, 1, UNIT, 4, None),
        (Chimera(), 4, 8, 1, UNIT, 6, None),
        (Chimera(), 4, 16, 1, UNIT, 10, None),
        (DualPipe(), 4, 12, 1, (2.0, 3.0, 1.0), 6, None),
        (DualPipe(), 8, 24, 1, (2.0, 3.0, 1.0), 19, None),
        (DualPipe(), 16, 48, 1, (2.0, 3.0, 1.0), 47, None),
        (VMin(), 8, 24, 2, UNIT, None, 6 * (2 * 8 / 3 - 5 / 6)),
        (VHalf(), 8, 24, 2, UNIT, None, 6 * (8 / 2 - 5 / 6)),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_what_is_measured_where_formulas_end(  # as docs/explanation/schedules.md says
    recipe: Strategy,
    devices: int,
    microbatches: int,
    chunks: int,
    times: tuple[float, float, float],
    makespan: float | None,
    span: float | None,
    registry: Registry,
) -> None:
    figures = pipeline_figures(simulate(recipe, devices, microbatches, registry, chunks, times))
    if makespan is not None:
        assert figures.makespan_bubble_s == makespan
    if span is not None:
        assert figures.span_bubble_s == pytest.approx(span)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("recipe", [PipeDream(), PipeDream2BW()], ids=lambda r: r.name)
def test_pipedream_has_no_bubble_in_the_steady_state(
    recipe: Strategy, devices: int, registry: Registry
) -> None:
    schedule = simulate(recipe, devices, 4 * devices, registry, times=UNEVEN)
    figures = pipeline_figures(schedule)
    assert figures.period_s == sum(UNEVEN)
    assert figures.period_bubble_s == 0
    assert peaks(schedule) == [devices - stage for stage in range(devices)]


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_parameters_in_shares_of_a_device(
    recipe: Strategy, devices: int, registry: Registry
) -> None:
    m = 2 * devices
    chunks = next(c for c in (1, 2) if recipe.shape(devices, m, c) is not None)
    copies = pipeline_figures(simulate(recipe, devices, m, registry, chunks)).parameter_copies
    wanted = {"chimera": 2, "dualpipe": 2, "pipedream-2bw": 2}
    if recipe.name == "pipedream":
        assert list(copies.values()) == [devices - stage for stage in range(devices)]
    else:
        assert set(copies.values()) == {wanted.get(recipe.name, 1)}


def test_versions_of_the_weights() -> None:
    shape = PipeDream().shape(4, 8, 1)
    assert shape is not None
    assert PipeDream().weight_versions(shape) == (4, 3, 2, 1)
    assert PipeDream2BW().weight_versions(shape) == (2, 2, 2, 2)
    assert GPipe().weight_versions(shape) == (1, 1, 1, 1)


def drawn(schedule: Schedule) -> list[str]:
    """Return a line per device: number of the microbatch of F in digits, of B and W in letters."""
    problem = schedule.problem
    lines = [["."] * schedule.makespan for _ in problem.cluster.devices]
    for row, view in enumerate(schedule.task_views()):
        device = problem.cluster.device_index[view.devices[0]]
        letter = str(view.microbatch) if view.operator[0] == "f" else "abcdefgh"[view.microbatch]
        for tick in range(view.start, int(schedule.ends[row])):
            lines[device][tick] = letter
    return ["".join(line) for line in lines]


@pytest.mark.parametrize("recipe", [PipeDream(), PipeDream2BW()], ids=lambda r: r.name)
def test_pipedream_as_drawn(recipe: Strategy, registry: Registry) -> None:
    # Narayanan et al., SOSP'19, figure 4; ICML'21, section 3.1 (2BW runs the same passes, of
    # fewer versions): four workers, a backward as long as two forwards. After the start-up every
    # worker goes on without a gap; here the run ends after eight microbatches.
    assert drawn(simulate(recipe, 4, 8, registry, times=UNIT)) == [
        "0123......aa4bb5cc6dd7ee.ff.gg.hh",
        ".012....aa3bb4cc5dd6ee7ff.gg.hh..",
        "..01..aa2bb3cc4dd5ee6ff7gg.hh....",
        "...0aa1bb2cc3dd4ee5ff6gg7hh......",
    ]


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("count", [1, 2])
def test_hanayo(devices: int, count: int, registry: Registry) -> None:
    # A whole backward is two forwards; at m = p a wave waits 2(p-1) forwards of a device's share.
    schedule = simulate(Hanayo(), devices, devices, registry, 2 * count)
    chunk = 1 / (2 * count)  # a forward pass, in those of a device's share
    bubble = pipeline_figures(schedule).makespan_bubble_s * chunk
    assert bubble == 2 * (devices - 1) / count
    assert max(peaks(schedule)) == devices


def test_hanayo_as_drawn(registry: Registry) -> None:
    # Liu et al., SC'23, section 3: one wave, 2p stages that turn round at the last device. A
    # microbatch comes back at once and goes ahead of those that follow, backwards before forwards;
    # the forwards of the next four microbatches fill the wait of the first devices.
    assert drawn(simulate(Hanayo(), 4, 8, registry, 2)) == [
        "01234560aa1bb2cc3dd...aa7.bb..cc..dd4ee5ff6gg7hh...ee..ff..gg..hh",
        ".01234051.aa2bb3cc..aaddbb6.cc7.dd4.5..ee6ff7gg..eehhff..gg..hh..",
        "..01203142..aa3bb.aaccbbddcc5.dd64756....ee7ff.eeggffhhgg..hh....",
        "...00112233...aaaabbbbccccdddd44556677.....eeeeffffgggghhhh......",
    ]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
@pytest.mark.parametrize(("devices", "microbatches"), [(2, 4), (4, 8), (4, 12), (6, 12)])
def test_every_pass_of_a_device_comes_once_and_in_order(
    recipe: Strategy, devices: int, microbatches: int
) -> None:
    shape = next(s for c in (1, 2) if (s := recipe.shape(devices, microbatches, c)) is not None)
    orders = [tuple(passes_of(order)) for order in recipe.orders(shape)]
    wanted = {
        Pass(kind, s, k)
        for kind in PassKind
        for s in range(shape.stages)
        for k in range(microbatches)
    }
    assert len(orders) == devices
    assert sorted(map(str, itertools.chain(*orders))) == sorted(map(str, wanted))
    for device, passes in enumerate(orders):
        place = {one: i for i, one in enumerate(passes)}
        for one in passes:
            assert shape.device(one) == device
            assert all(place[i] < place[one] for i in shape.inputs(one) if i in place)


@pytest.mark.parametrize(
    ("recipe", "devices", "microbatches", "chunks", "reason"),
    [
        (OneForwardOneBackward(), 4, 3, 1, "as many microbatches as devices, 4"),
        (ZeroBubbleH1(), 4, 3, 1, "as many microbatches as devices, 4"),
        (ZeroBubbleH2(), 4, 6, 1, "at least 7 microbatches on 4 devices"),
        (ZeroBubbleV(), 4, 3, 2, "as many microbatches as devices, 4"),
        (VHalf(), 1, 3, 2, "at least two devices"),
        (Interleaved(), 2, 3, 2, "a multiple of 2 microbatches"),
        (Chimera(), 3, 6, 1, "even number of devices, not 3"),
        (Chimera(), 4, 6, 1, "a multiple of 4 microbatches"),
        (DualPipe(), 3, 12, 1, "even numbers of devices and microbatches, not 3 and 12"),
        (DualPipe(), 4, 6, 1, "at least 8 microbatches on 4 devices"),
        (DualPipeV(), 4, 7, 2, "at least 8 microbatches on 4 devices"),
        (Hanayo(), 4, 3, 2, "as many microbatches as devices, 4"),
        (PipeDream(), 4, 3, 1, "as many microbatches as devices, 4"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_recipe_says_where_it_does_not_apply(
    recipe: Strategy, devices: int, microbatches: int, chunks: int, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        recipe.shape(devices, microbatches, chunks)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_a_recipe_has_its_own_number_of_chunks(recipe: Strategy) -> None:
    found = [chunks for chunks in range(1, 5) if recipe.shape(4, 8, chunks) is not None]
    own = {"interleaved-1f1b": [2, 3, 4], "hanayo": [2, 4]}
    two = {"zb-v", "v-half", "v-min", "dualpipe-v"}
    assert found == own.get(recipe.name, [2] if recipe.name in two else [1])


def test_strategy_with_a_shape_but_no_orders_says_so() -> None:
    class Half(Strategy):
        name = "half"

    with pytest.raises(NotImplementedError, match="'half' gives a shape but no orders"):
        Half().orders(PipelineShape(1, 1, ((0,),)))


def test_a_fused_call_hands_on_when_it_has_ended(registry: Registry) -> None:
    class Late(GPipe):
        """Both F's of the first device in one call."""

        name = "late"

        def orders(self, shape: PipelineShape) -> Sequence[Order]:
            first, second = super().orders(shape)
            return [(Fused(first[:2]), *first[2:]), second]

    assert (
        simulate(Late(), 2, 2, registry).makespan == simulate(GPipe(), 2, 2, registry).makespan + 1
    )
