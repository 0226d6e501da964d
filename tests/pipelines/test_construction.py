"""Orders that come out of times: every pass once, in an order that works, within the memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.pipelines.construction import (
    fill_with_weights,
    most_urgent_first,
    play,
    whole_backward,
)
from parplan.pipelines.pipeline import (
    Fused,
    Pass,
    PassKind,
    PipelineShape,
    StageTimes,
    equal_times,
    mirrored,
    one_way,
    passes_of,
    v_shaped,
    waves,
)

SHAPES = st.one_of(
    st.builds(one_way, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    st.builds(v_shaped, st.integers(1, 4), st.integers(1, 5)),
    st.builds(waves, st.integers(1, 3), st.integers(1, 4), st.integers(1, 2)),
    st.builds(
        lambda p, m: mirrored(p, [k % 2 for k in range(m)]), st.integers(2, 4), st.integers(2, 6)
    ),
)


@st.composite
def timed_shapes(draw: st.DrawFn) -> tuple[PipelineShape, StageTimes]:
    shape = draw(SHAPES)
    row = st.tuples(*(st.integers(0, 5).map(float) for _ in range(shape.stages)))
    return shape, StageTimes(draw(row), draw(row), draw(row))


def all_passes(shape: PipelineShape) -> set[Pass]:
    return {
        Pass(kind, stage, k)
        for kind in PassKind
        for stage in range(shape.stages)
        for k in range(shape.microbatches)
    }


@given(timed_shapes())
def test_the_most_urgent_first_runs_every_pass_once(
    given_: tuple[PipelineShape, StageTimes],
) -> None:
    shape, times = given_
    orders = most_urgent_first(shape, times, lambda one: (one.kind is PassKind.F, -one.stage))
    found = [one for order in orders for one in passes_of(order)]
    assert len(found) == len(set(found))
    assert set(found) == all_passes(shape)
    for device, order in enumerate(orders):
        assert {shape.device(one) for one in passes_of(order)} <= {device}


@given(timed_shapes(), st.integers(0, 3))
def test_weights_fill_in_and_keep_within_the_memory(
    given_: tuple[PipelineShape, StageTimes], more: int
) -> None:
    shape, times = given_
    halves = [
        [one for one in passes_of(order) if one.kind is not PassKind.W]
        for order in most_urgent_first(shape, times, lambda one: (one.microbatch, -one.stage))
    ]
    most = shape.microbatches * shape.stages + more
    orders = fill_with_weights(shape, halves, times, most)
    assert {one for order in orders for one in passes_of(order)} == all_passes(shape)
    for order, row in zip(orders, halves, strict=True):
        assert [one for one in passes_of(order) if one.kind is not PassKind.W] == row
        done: set[Pass] = set()
        for one in passes_of(order):
            assert one.kind is not PassKind.W or Pass(PassKind.B, one.stage, one.microbatch) in done
            done.add(one)


def test_a_full_device_runs_a_weight_pass_before_the_next_forward() -> None:
    shape = one_way(1, 2)
    f, b, w = ([Pass(kind, 0, k) for k in range(2)] for kind in PassKind)
    passes = [[f[0], b[0], f[1], b[1]]]
    assert fill_with_weights(shape, passes, equal_times(1), 1) == (
        (f[0], b[0], w[0], f[1], b[1], w[1]),
    )
    assert fill_with_weights(shape, passes, equal_times(1), 2) == (
        (f[0], b[0], f[1], b[1], w[0], w[1]),
    )


def test_a_weight_pass_waits_where_the_gap_is_shorter() -> None:
    shape = one_way(2, 2)
    first = [
        Pass(PassKind.F, 0, 0),
        Pass(PassKind.F, 0, 1),
        Pass(PassKind.B, 0, 0),
        Pass(PassKind.B, 0, 1),
    ]
    second = [Pass(kind, 1, k) for k in range(2) for kind in (PassKind.F, PassKind.B)]
    short = StageTimes((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    long = StageTimes((1.0, 1.0), (1.0, 1.0), (2.0, 1.0))
    weight = Pass(PassKind.W, 0, 0)
    assert fill_with_weights(shape, [first, second], short, 4)[0].index(weight) == 3
    assert fill_with_weights(shape, [first, second], long, 4)[0].index(weight) == 4


def test_orders_that_deadlock_are_told() -> None:
    shape = one_way(1, 2)
    with pytest.raises(InputError, match="0F1 never comes: the orders deadlock with 1 activations"):
        fill_with_weights(
            shape, [[Pass(PassKind.F, 0, 0), Pass(PassKind.F, 0, 1)]], equal_times(1), 1
        )


def test_a_fused_call_ends_when_its_passes_have_run_one_after_the_other() -> None:
    shape = one_way(1, 1)
    seen: list[float] = []
    queue: list[Pass | Fused] = [Pass(PassKind.F, 0, 0), whole_backward(0, 0)]

    def choose(device: int, now: float, ends: object) -> Pass | Fused | None:
        seen.append(now)
        return queue.pop(0) if queue else None

    times = StageTimes((1.0,), (2.0,), (3.0,))
    assert play(shape, times, choose) == ((Pass(PassKind.F, 0, 0), whole_backward(0, 0)),)
    assert sorted(set(seen)) == [0.0, 1.0, 6.0]
