"""A recording comes back from its file as it was, and nothing else passes for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.measuring.recording import (
    Recording,
    Span,
    load_recording,
    recording_from_data,
    recording_to_data,
    save_recording,
)

SPANS = (
    Span("gpu0", ("a", "b"), "F", 0, 0.0, 0.5),
    Span("gpu1", ("c",), "wait", 0, 0.0, 0.6),
    Span("gpu1", ("c",), "F", 0, 0.6, 0.4),
    Span("gpu0", ("a", "b"), "F", 0, 2.0, 0.5, 1),
)
SMALL = Recording("tiny", "by hand", SPANS, {"gpu0": 7}, 2.0, {"torch": "2.13"})

amounts = st.floats(0, 1e6, allow_nan=False)
spans = st.builds(
    Span,
    st.sampled_from(["gpu0", "gpu1"]),
    st.tuples(st.sampled_from("abc")),
    st.sampled_from(["F", "B", "I", "W", "wait"]),
    st.integers(-1, 9),
    amounts,
    amounts,
    st.integers(0, 3),
)


@given(st.lists(spans).map(tuple))
def test_every_span_comes_back(found: tuple[Span, ...]) -> None:
    recording = Recording("p", "s", found)
    assert recording_from_data(json.loads(json.dumps(recording_to_data(recording)))) == recording


def test_a_file_holds_the_whole_recording(tmp_path: Path) -> None:
    for name in ("r.json", "r.json.gz"):
        save_recording(SMALL, tmp_path / name)
        assert load_recording(tmp_path / name) == SMALL


def test_a_step_lasts_from_its_first_work_to_its_last() -> None:
    assert SMALL.steps == (0, 1)
    assert SMALL.devices == ("gpu0", "gpu1")
    assert (SMALL.step_seconds(0), SMALL.step_seconds(1)) == (1.0, 0.5)
    with pytest.raises(InputError, match="no work of step 2"):
        SMALL.step_seconds(2)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spans", "seconds", 1), -1.0, r"spans\[1\]: seconds is -1"),
        (("spans", "start_s", 0), "soon", r"spans\.start_s\[0\]: 'soon' is no time"),
        (("spans", "work", 2), 9, r"spans\.work\[2\]: 9 is not one of the 3 rows"),
        (("spans", "step"), [0], "different lengths"),
        (("spans", "microbatch", 0), -2, r"spans\[0\]: row microbatches count from 0"),
        (("seconds_per_planned_second",), 0, "seconds_per_planned_second: is 0"),
        (("sauce",), "x", "unknown key 'sauce'; did you mean 'source'"),
        (("work", 0, "device"), None, r"work\[0\]\.device"),
    ],
)
def test_a_fault_in_a_file_is_named(
    tmp_path: Path, path: tuple[str | int, ...], value: Any, message: str
) -> None:
    save_recording(SMALL, tmp_path / "r.json")
    whole = json.loads((tmp_path / "r.json").read_text())
    place = whole["recording"]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match=rf"r\.json: .*{message}"):
        load_recording(tmp_path / "r.json")
