from __future__ import annotations

import pytest

from parplan.errors import InputError
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


def test_a_pass_reads_as_in_papers() -> None:
    assert str(Pass(PassKind.B, 2, 5)) == "2B5"


def test_one_way_loops_over_the_devices() -> None:
    assert one_way(3, 4).placement == (0, 1, 2)
    assert one_way(2, 4, chunks=3).placement == (0, 1, 0, 1, 0, 1)
    assert one_way(2, 4, chunks=3).stages == 6


def test_v_shaped_turns_round_at_each_end() -> None:
    assert v_shaped(3, 4).placement == (0, 1, 2, 2, 1, 0)
    assert v_shaped(2, 4, chunks=3).placement == (0, 1, 1, 0, 0, 1)


def test_waves_are_v_after_v() -> None:
    assert waves(2, 4, 2).placement == (0, 1, 1, 0, 0, 1, 1, 0)


def test_mirrored_directions_meet() -> None:
    shape = mirrored(3, (0, 1, 0))
    assert shape.placements == ((0, 1, 2), (2, 1, 0))
    assert shape.microbatches == 3
    assert [shape.device(Pass(PassKind.F, 0, k)) for k in range(3)] == [0, 2, 0]


def test_inputs_of_a_pass_are_what_makes_what_it_reads() -> None:
    shape = one_way(2, 1)
    f0, f1, b0, b1 = (Pass(kind, s, 0) for kind in (PassKind.F, PassKind.B) for s in (0, 1))
    assert shape.inputs(f0) == ()
    assert shape.inputs(f1) == (f0,)
    assert shape.inputs(b1) == (f1,)
    assert shape.inputs(b0) == (f0, b1)
    assert shape.inputs(Pass(PassKind.W, 0, 0)) == (b0,)


def test_a_fused_call_is_its_passes_in_order() -> None:
    f, b = Pass(PassKind.F, 0, 1), Pass(PassKind.B, 0, 0)
    assert list(passes_of([f, Fused([f, b])])) == [f, f, b]
    assert str(Fused([f, b])) == "0F1+0B0"
    with pytest.raises(InputError, match="at least one pass"):
        Fused(())


def test_stage_times_are_looked_up_by_pass() -> None:
    times = StageTimes((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    assert [times.of(Pass(kind, 1, 7)) for kind in PassKind] == [2.0, 4.0, 6.0]
    assert equal_times(2) == StageTimes((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    with pytest.raises(InputError, match="every stage"):
        StageTimes((1.0,), (1.0, 1.0), (1.0,))


@pytest.mark.parametrize(("microbatches", "placements"), [(0, ((0,),)), (1, ((),)), (1, ())])
def test_a_pipeline_needs_stages_and_microbatches(
    microbatches: int, placements: tuple[tuple[int, ...], ...]
) -> None:
    with pytest.raises(InputError, match="at least one stage and one microbatch"):
        PipelineShape(1, microbatches, placements)


@pytest.mark.parametrize("placement", [(0, 0), (0, 2), (0, 1, 2)])
def test_every_device_has_a_stage_and_no_other_is_named(placement: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must use devices 0\.\.1"):
        PipelineShape(2, 1, (placement,))


@pytest.mark.parametrize(
    ("placements", "groups", "message"),
    [
        (((0, 1), (1, 0, 0)), (0, 1), "number of stages"),
        (((0, 1), (1, 0)), (0,), "1 entries for 2 microbatches"),
        (((0, 1), (1, 0)), (0, 0), "each of 2 placements"),
        (((0, 1), (1, 0)), (), "each of 2 placements"),
        (((0, 1),), (0, 1), "each of 1 placements"),
    ],
)
def test_groups_and_placements_belong_together(
    placements: tuple[tuple[int, ...], ...], groups: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PipelineShape(2, 2, placements, groups)
