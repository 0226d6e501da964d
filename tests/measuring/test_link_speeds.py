"""Speeds of links come back from messages made of them, and from the waits of a run."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.measuring.calibrating import calibrate
from parplan.measuring.link_speeds import Message, link_speeds
from parplan.measuring.measured_costs import MeasuredLink
from parplan.measuring.recording import WAIT, Recording, Span
from tests.plan_samples import pipeline_plan


@given(
    st.floats(1e-6, 1e-1),
    st.floats(1e6, 1e10),
    st.lists(st.integers(1, 1000), min_size=2, max_size=6, unique=True),
)
def test_latency_and_bandwidth_come_back(
    latency_s: float, bandwidth: float, megabytes: list[int]
) -> None:
    sizes = [size * 1_000_000 for size in megabytes]
    found = link_speeds([Message("a", "b", n, latency_s + n / bandwidth) for n in sizes])
    assert [(link.source, link.target, link.samples) for link in found] == [("a", "b", len(sizes))]
    slowest = latency_s + max(sizes) / bandwidth
    for size in sizes:  # as good as what it was made from, where latency is lost in rounding
        rate = found[0].bandwidth
        assert rate is not None or slowest * 1e-9 > latency_s
        if rate is not None:
            told = found[0].latency_s + size / rate
            assert told == pytest.approx(latency_s + size / bandwidth, rel=1e-6)


def test_messages_of_one_size_tell_no_bandwidth() -> None:
    found = link_speeds([Message("a", "b", 8, s) for s in (1.0, 2.0, 9.0)])
    assert found == (MeasuredLink("a", "b", None, 2.0, 3),)


def test_waits_that_began_before_the_message_was_sent_tell_its_time() -> None:
    def forward(stage: int, microbatch: int, start_s: float, seconds: float) -> Span:
        return Span(f"gpu{stage}", (f"f.{stage}",), "F", microbatch, start_s, seconds)

    def wait(microbatch: int, start_s: float, end_s: float) -> Span:
        return Span("gpu1", ("f.1",), WAIT, microbatch, start_s, end_s - start_s)

    spans = (
        forward(0, 0, 0.0, 2.0),
        wait(0, 0.0, 2.5),  # waited before it was sent: 0.5 s
        forward(1, 0, 2.5, 1.0),
        forward(0, 1, 2.0, 1.0),
        wait(1, 3.5, 3.6),  # was sent at 3.0, before anybody waited
        forward(1, 1, 3.6, 1.0),
    )
    run = Recording("pipeline", "by hand", spans)
    plan = pipeline_plan()
    assert calibrate([run], plan).links == (MeasuredLink("gpu0", "gpu1", None, 0.5, 1),)
    slower = attrs.evolve(run, seconds_per_planned_second=10.0)
    assert calibrate([slower], plan).links[0].latency_s == pytest.approx(0.05)
    assert calibrate([run]).links == ()
