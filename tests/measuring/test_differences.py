"""Differences name what was made late by hand, and nothing where a run kept its plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.cli import main
from parplan.errors import InputError
from parplan.figures.differences import link_table
from parplan.measuring.differences import Cause, LinkDifference, find_differences
from parplan.measuring.recording import WAIT, Recording, Span, save_recording
from parplan.plan_files.plan_file import save_plan
from parplan.report.difference_page import difference_drawing
from parplan.report.packing import unpacked
from tests.plan_samples import pipeline_plan

PLAN = pipeline_plan()
MAKESPAN = PLAN.schedule.makespan * PLAN.problem.tick_s


def kept(scale: float = 1.0, steps: int = 2) -> Recording:
    """A run that keeps to the plan, one step after the other."""
    tick_s = PLAN.problem.tick_s
    spans = tuple(
        Span(
            view.devices[0],
            (view.operator,),
            view.operator[0].upper(),
            view.microbatch,
            (view.start * tick_s + step * (MAKESPAN + 7.0)) * scale,
            (view.end - view.start) * tick_s * scale,
            step,
        )
        for step in range(steps)
        for view in PLAN.schedule.task_views()
    )
    return Recording("pipeline", "by hand", spans, seconds_per_planned_second=scale)


def changed(change: Callable[[Span], Span]) -> Recording:
    """A run in which spans are changed."""
    run = kept()
    return attrs.evolve(run, spans=tuple(map(change, run.spans)))


def later(span: Span, first: float, seconds: float) -> Span:
    """A span that starts later, if it starts at ``first`` of its step or after."""
    at = span.start_s - span.step * (MAKESPAN + 7.0)
    return attrs.evolve(span, start_s=span.start_s + seconds) if at >= first else span


@given(st.floats(0.01, 100.0))
def test_a_run_that_keeps_to_its_plan_has_no_differences(scale: float) -> None:
    found = find_differences(PLAN, kept(scale))
    assert found.makespan_s == pytest.approx(found.planned_makespan_s) == pytest.approx(MAKESPAN)
    for device in found.devices:
        assert device.compute_s == pytest.approx(device.planned_compute_s)
        assert device.waiting_s == pytest.approx(device.planned_waiting_s)
    assert [work.total_s for work in found.work] == pytest.approx([0.0] * 6, abs=1e-6)
    assert (found.orders, found.late, found.unrecorded) == ((), None, 0)


def test_a_slow_action_is_named_by_the_first_that_waits_for_it() -> None:
    # The forward of microbatch 1 on gpu0 takes 5 s instead of 2; all that follows comes 3 s later.
    def slow(span: Span) -> Span:
        if (span.operators, span.microbatch) == (("f.0",), 1):
            return attrs.evolve(span, seconds=5.0)
        return later(span, 4.0, 3.0)

    found = find_differences(PLAN, changed(slow))
    assert found.makespan_s == pytest.approx(MAKESPAN + 3.0)
    assert found.late is not None
    assert (found.late.run.span.operators, found.late.run.span.microbatch) == (("f.0",), 2)
    assert found.late.run.late_s == pytest.approx(3.0)
    assert found.late.cause is Cause.DEVICE
    assert found.late.reason == (
        "its device was busy with F microbatch 1 of 'f.0' on gpu0, which took 5 s instead of 2 s"
    )
    assert (found.work[0].operators, found.work[0].total_s) == (("f.0",), pytest.approx(3.0))
    assert found.work[0].samples == 3
    gpu0, gpu1 = found.devices
    assert gpu0.compute_s - gpu0.planned_compute_s == pytest.approx(3.0)
    assert gpu1.waiting_s - gpu1.planned_waiting_s == pytest.approx(3.0)


def test_a_slow_input_and_a_slow_message_are_told_apart() -> None:
    def slow_last(span: Span) -> Span:  # the last forward of gpu0: only gpu1 waits for it
        if (span.operators, span.microbatch) == (("f.0",), 2):
            return attrs.evolve(span, seconds=4.5)
        return later(span, 6.0, 2.5) if span.device == "gpu1" else span

    found = find_differences(PLAN, changed(slow_last)).late
    assert found is not None
    assert found.run.span.device == "gpu1"
    assert (found.cause, found.blocker and found.blocker.span.device) == (Cause.INPUT, "gpu0")
    assert "it waited for F microbatch 2 of 'f.0' on gpu0, which took 4.5 s" in found.reason

    def slow_message(span: Span) -> Span:
        return later(span, 0.0, 1.5) if span.device == "gpu1" else span

    found = find_differences(PLAN, changed(slow_message)).late
    assert found is not None
    assert (found.cause, found.run.span.operators) == (Cause.MESSAGE, ("f.1",))
    assert found.reason == (
        "the result of F microbatch 0 of 'f.0' on gpu0 was there 2.5 s later instead of 1 s"
    )


def test_a_left_order_is_named_and_the_tolerance_counts() -> None:
    def swapped(span: Span) -> Span:
        if span.operators == ("f.0",) and span.microbatch in (0, 1):
            return attrs.evolve(span, microbatch=1 - span.microbatch)
        return span

    found = find_differences(PLAN, changed(swapped))
    assert [(order.device, str(order.ran)) for order in found.orders] == [
        ("gpu0", "F microbatch 1 of 'f.0' on gpu0")
    ]
    assert find_differences(PLAN, changed(swapped), tolerance=1.0).late is None


def test_the_warm_up_and_what_was_not_recorded_are_left_out() -> None:
    run = kept(steps=3)
    spans = tuple(
        attrs.evolve(span, seconds=9 * span.seconds) if span.step == 0 else span
        for span in run.spans
        if span.operators != ("o.1",)
    )
    found = find_differences(PLAN, attrs.evolve(run, spans=spans))
    assert (found.work[0].total_s, found.unrecorded) == (pytest.approx(0.0), 1)
    assert find_differences(PLAN, attrs.evolve(run, spans=spans), warm_up=0).work[0].total_s > 1


def test_a_recording_of_another_plan_is_refused() -> None:
    with pytest.raises(InputError, match=r"operator 'f\.1' for microbatch 9.*the plan that ran"):
        find_differences(PLAN, Recording("p", "s", (Span("gpu1", ("f.1",), "F", 9, 0.0, 1.0),)))
    with pytest.raises(InputError, match="no work"):
        find_differences(PLAN, Recording("p", "s", ()))


def test_each_device_has_its_first_late_start_and_each_link_its_messages() -> None:
    def slow_message(span: Span) -> Span:
        return later(span, 0.0, 1.5) if span.device == "gpu1" else span

    run = changed(slow_message)
    waits = tuple(
        attrs.evolve(s, action=WAIT, start_s=s.start_s - 4.0, seconds=4.0)
        for s in run.spans
        if (s.operators, s.microbatch) == (("f.1",), 0)
    )
    found = find_differences(PLAN, attrs.evolve(run, spans=(*run.spans, *waits)))
    assert [d.late and str(d.late) for d in found.devices] == [
        None,
        "F microbatch 0 of 'f.1' on gpu1",
    ]
    # The message was planned to take 1 s, and came after 2.5 s.
    assert found.links == (
        LinkDifference("gpu0", "gpu1", 1.0, pytest.approx(2.5), 1, pytest.approx(1.5)),
    )
    assert list(link_table(found).rows) == [
        ("gpu0", "gpu1", "2.5 s", "1 s", "+150.0%", "+1.5 s", "1"),
    ]  # fmt: skip
    assert find_differences(PLAN, run).links == ()


def test_the_command_tells_it_in_words_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow_message(span: Span) -> Span:
        return later(span, 0.0, 1.5) if span.device == "gpu1" else span

    plan, run = str(tmp_path / "plan.json"), str(tmp_path / "run.json")
    save_plan(PLAN, plan)
    save_recording(changed(slow_message), run)
    assert main(["diff", plan, run]) == 0
    told = capsys.readouterr().out
    assert f"makespan: {MAKESPAN:g} s measured, {MAKESPAN:g} s planned (+0.0%)" in told
    assert "order: as planned on every device" in told
    assert "first late: F microbatch 0 of 'f.1' on gpu1, by 1.5 s: the result of" in told
    assert main(["diff", plan, run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["late"]["cause"], found["late"]["late_s"]) == ("message", 1.5)
    assert found["order_kept"] is True
    assert [device["late"] and device["late"]["late_s"] for device in found["devices"]] == [
        None,
        1.5,
    ]


def test_plan_and_run_are_drawn_one_above_the_other(tmp_path: Path) -> None:
    def slow_message(span: Span) -> Span:
        return later(span, 0.0, 1.5) if span.device == "gpu1" else span

    found = find_differences(PLAN, changed(slow_message))
    planned, measured = difference_drawing(found)["entries"]
    for entry, moved in ((planned, 0.0), (measured, 1.5)):
        first, second = (row["lanes"][0] for row in entry["devices"])
        starts = [int(unpacked(lane["wait"])[0]) * entry["tick_s"] for lane in (first, second)]
        assert starts == pytest.approx([0.0, 3.0 + moved], abs=1e-3)
        lengths = unpacked(first["length"]) * entry["tick_s"]
        assert lengths.tolist() == pytest.approx([2.0] * 3 + [4.0] * 3 + [1.0], abs=1e-3)
    plan, run = str(tmp_path / "plan.json"), str(tmp_path / "run.json")
    save_plan(PLAN, plan)
    save_recording(changed(slow_message), run)
    assert main(["diff", plan, run, "--html", str(tmp_path / "diff.html")]) == 0
    assert "First late: F microbatch 0" in (tmp_path / "diff.html").read_text(encoding="utf-8")
