from __future__ import annotations

import pytest

from parplan.errors import InputError
from parplan.pipeline import Pass, PassKind, PipelineShape, one_way, v_shaped


def test_a_pass_reads_as_in_papers() -> None:
    assert str(Pass(PassKind.B, 2, 5)) == "2B5"


def test_one_way_loops_over_the_devices() -> None:
    assert one_way(3, 4).placement == (0, 1, 2)
    assert one_way(2, 4, chunks=3).placement == (0, 1, 0, 1, 0, 1)
    assert one_way(2, 4, chunks=3).stages == 6


def test_v_shaped_turns_round_at_each_end() -> None:
    assert v_shaped(3, 4).placement == (0, 1, 2, 2, 1, 0)
    assert v_shaped(2, 4, chunks=3).placement == (0, 1, 1, 0, 0, 1)


@pytest.mark.parametrize(("microbatches", "placement"), [(0, (0,)), (1, ())])
def test_a_pipeline_needs_stages_and_microbatches(
    microbatches: int, placement: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="at least one stage and one microbatch"):
        PipelineShape(1, microbatches, placement)


@pytest.mark.parametrize("placement", [(0, 0), (0, 2), (0, 1, 2)])
def test_every_device_has_a_stage_and_no_other_is_named(placement: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must use devices 0\.\.1"):
        PipelineShape(2, 1, placement)
