from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.api import write_report
from parplan.figures.plan import figures_of
from parplan.figures.usage import memory_over_time
from parplan.plans import Plan
from parplan.report.packing import packed, packed_names, unpacked, unpacked_names
from parplan.report.page import report_html
from parplan.report.trace import trace_json
from parplan.schedule import Schedule
from parplan.text import plain
from tests.browser import CHROMIUM, Browser, browser
from tests.pages import Page
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.strategies import schedules


def page_of(plan: Plan) -> Page:
    return Page(report_html(figures_of(plan, "s")))


def test_page_asks_for_nothing_else() -> None:
    html = report_html(figures_of(pipeline_plan(), "s"))
    assert not re.search(r"https?:|[\"'(]//[a-z]|@import|url\(|src=|href=|fetch\(|XMLHttp", html)


def test_policy_lets_only_our_script_and_style_run() -> None:
    page = page_of(pipeline_plan())
    policy = next(m for m in page.named("meta") if "http-equiv" in m)["content"]
    assert policy is not None
    for tag, source in (("style", "style-src"), ("script", "script-src")):
        text = next(t for name, t in reversed(page.raw) if name == tag)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_hostile_names_are_inert() -> None:
    calm, hostile = page_of(pipeline_plan()), page_of(pipeline_plan(suffix=HOSTILE))
    hostile_shape, calm_shape = (
        [(tag, {**found, "data-find": ""}) for tag, found in page.elements if tag != "meta"]
        for page in (hostile, calm)
    )
    assert hostile_shape == calm_shape
    assert hostile.named("img") == []
    assert len(hostile.named("script")) == 2
    assert unpacked_names(hostile.data["operators"])[0] == plain(f"f.0{HOSTILE}")
    assert any(plain(f"gpu0{HOSTILE}") in words for words in hostile.words)


def test_data_holds_the_whole_schedule() -> None:
    plan = pipeline_plan(3, 4)
    data = page_of(plan).data
    assert unpacked(data["tasks"]["operator"]).tolist() == plan.schedule.tasks.operator.tolist()
    assert data["horizon"] == plan.schedule.makespan
    bars = [bar for row in data["devices"] for bar in bars_of(row)]
    starts, ends = plan.schedule.tasks.start.tolist(), plan.schedule.ends.tolist()
    assert sorted(bars) == [(t, starts[t], ends[t]) for t in range(len(plan.schedule.tasks))]
    sent = sorted(-1 - item for row in data["links"] for item, _, _ in bars_of(row))
    assert sent == list(range(len(plan.schedule.transfers)))
    assert [m["limit"] for m in data["memory"]] == [8 * 2**30] * 3
    ticks, used = memory_over_time(plan.schedule, "gpu1")
    assert unpacked(data["memory"][1]["at"]).tolist() == ticks.tolist()
    assert unpacked(data["memory"][1]["bytes"]).tolist() == used.tolist()


def bars_of(row: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Return (item, start, end) of a row of bars, as the script reads it."""
    found = []
    for lane in row["lanes"]:
        at = 0
        columns = (unpacked(lane[name]).tolist() for name in ("item", "wait", "length"))
        for item, wait, length in zip(*columns, strict=True):
            found.append((item, at + wait, at := at + wait + length))
    return found


@given(st.lists(st.integers(-(2**52), 2**52), max_size=40))
def test_packed_columns_are_read_as_they_were(values: list[int]) -> None:
    assert unpacked(packed(values)).tolist() == values


@given(st.lists(st.text(), max_size=12))
def test_packed_names_are_read_as_they_were(given_names: list[str]) -> None:
    assert unpacked_names(packed_names(given_names)) == given_names


def test_names_that_differ_in_little_take_little() -> None:
    names = [f"model.layers.{i}.self_attn.q_proj:forward" for i in range(1000)]
    assert len(json.dumps(packed_names(names))) < 10 * len(names)


def test_tables_show_value_bound_gap_baselines_and_provenance() -> None:
    row = {"name": "1f1b", "split": "best", "makespan_s": 30.0, "peak_memory_bytes": 2**30}
    plan = attrs.evolve(pipeline_plan(), provenance={"baselines": [row], "seed": "0xfeed"})
    text = " ".join(page_of(plan).words)
    for wanted in ("26.5 s", "13.25 s", "50.0%", "1f1b", "30 s", "0xfeed", "gpu1", "0to1"):
        assert wanted in text


def test_a_large_plan_stays_small() -> None:
    plan = pipeline_plan(8, 600)
    bars = len(plan.schedule.tasks) + len(plan.schedule.transfers)
    small, large = (len(report_html(figures_of(p, "s"))) for p in (pipeline_plan(8, 1), plan))
    assert large - small < 25 * bars


@settings(max_examples=20)
@given(schedules())
def test_every_valid_schedule_has_report_and_trace(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    plan = Plan(schedule.problem, schedule, {"makespan": value})
    assert len(page_of(plan).data["devices"]) == len(schedule.problem.cluster.devices)
    assert json.loads(trace_json(plan))["traceEvents"]


def test_trace_has_every_bar_once_and_threads_without_overlap() -> None:
    plan = pipeline_plan(3, 4)
    events = json.loads(trace_json(plan))["traceEvents"]
    bars = [e for e in events if e["ph"] == "X"]
    assert len(bars) == len(plan.schedule.tasks) + len(plan.schedule.transfers)
    makespan_us = plan.value * 1e6
    assert max(e["ts"] + e["dur"] for e in bars) == pytest.approx(makespan_us)
    threads = {(e["pid"], e["tid"]) for e in bars}
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert threads == named
    for thread in threads:
        mine = sorted((e["ts"], e["dur"]) for e in bars if (e["pid"], e["tid"]) == thread)
        assert all(a + d <= b for (a, d), (b, _) in pairwise(mine))
    peak = max(e["args"]["bytes"] for e in events if e["name"] == "memory of gpu1")
    assert peak == memory_over_time(plan.schedule, "gpu1")[1].max()


# -- in a browser --------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")

DRAWN = "document.documentElement.dataset.drawn"
RANGE = (
    "[...'ft'].map((_, i) => Number(document.getElementById('view').dataset[i ? 'to' : 'from']))"
)
FOUND = "document.getElementById('found').textContent"
DETAILS = "document.getElementById('details').textContent"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def report(chromium: Browser, tmp_path: Path) -> Browser:
    """Show the report of a plan with hostile names and its critical path."""
    plan = pipeline_plan(3, 4, HOSTILE)
    write_report(plan, tmp_path / "report.html")
    chromium.said.clear()
    chromium.open(tmp_path / "report.html")
    chromium.wait_for(DRAWN)
    return chromium


def middle_of_a_bar(page: Browser) -> tuple[float, float]:
    """Return a point of the first bar of the first device, in the window."""
    box = "document.querySelector('#view canvas').getBoundingClientRect()"
    left, top = page.tell(f"[{box}.left, {box}.top]")
    return left + 160 + 12, top + 26 + 22 + 1 + 8


@needs_browser
def test_report_runs_in_a_browser_without_a_word_on_the_console(report: Browser) -> None:
    assert report.said == []
    assert report.tell("document.querySelectorAll('img, iframe, object').length") == 0
    assert report.tell("document.getElementById('legend').innerText").split() == [
        "forward", "backward", "optimizer", "transfer",
    ]  # fmt: skip
    colours = report.tell(
        """(canvas => new Set(new Uint32Array(canvas.getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size)
        (document.querySelector('#view canvas'))"""
    )
    assert colours > 5
    report.tell("console.error('seen')")
    assert report.said  # or silence would prove nothing


@needs_browser
def test_the_script_reads_columns_as_python_does(report: Browser) -> None:
    for values in ([], [0], [5, -3, 2**51, -(2**51), 2**40 + 1], list(range(1000))):
        assert report.tell(f"[...column('{packed(values)}')]") == values


@needs_browser
def test_the_script_reads_names_as_python_does(report: Browser) -> None:
    given_names = ["", "a.b", "a.c.b", "\U0001f600x", "\U0001f601x", "aa", "a", "aaa"]
    packed_so = json.dumps(packed_names(given_names))
    assert report.tell(f"names({packed_so})") == given_names


@needs_browser
def test_keys_zoom_move_and_fit(report: Browser) -> None:
    whole = report.tell(RANGE)
    report.press("+")
    closer = report.wait_for(f"(r => r[1] - r[0] < {whole[1] - whole[0]} && r)({RANGE})")
    report.press("ArrowRight")
    report.wait_for(f"{RANGE}[0] > {closer[0]}")
    report.press("f")
    assert report.wait_for(f"(r => r[0] === {whole[0]} && r)({RANGE})") == whole
    x, y = middle_of_a_bar(report)
    report.wheel(x, y, -300)
    report.wait_for(f"{RANGE}[1] < {whole[1]}")


@needs_browser
def test_search_finds_and_goes_from_match_to_match(report: Browser) -> None:
    report.press("/")
    report.wait_for("document.activeElement.id === 'search'")
    assert report.tell("document.activeElement.matches(':focus-visible')")
    report.write_text("f.1")
    assert report.wait_for(FOUND) == "4 found"
    report.press("Enter")
    report.wait_for(f"{FOUND} === '1 of 4'")
    assert plain(f"f.1{HOSTILE}") in report.tell(DETAILS)
    report.press("Escape")
    report.wait_for(f"{FOUND} === '' && document.activeElement.id === 'view'")


@needs_browser
def test_bars_tell_of_themselves_under_pointer_and_keys(report: Browser) -> None:
    x, y = middle_of_a_bar(report)
    report.move(x, y)
    tip = report.wait_for("document.getElementById('tip').textContent")
    assert tip.startswith(plain(f"f.0{HOSTILE}"))
    assert "microbatch 0" in tip
    report.click(x, y)
    assert "microbatch 0" in report.wait_for(DETAILS)
    report.press("ArrowRight", shift=True)
    report.wait_for(f"{DETAILS}.includes('microbatch 1')")
    report.press("ArrowDown", shift=True)
    report.wait_for(f"{DETAILS}.includes({json.dumps(plain('gpu1' + HOSTILE))})")


@needs_browser
def test_critical_path_is_shown_and_told(report: Browser) -> None:
    report.press("c")
    told = report.wait_for(FOUND)
    assert re.fullmatch(r"\d+ steps", told)
    assert "What bounds the makespan" in report.tell("document.body.innerText")
    report.press("n")
    assert "on the critical path; waits for" in report.wait_for(DETAILS)


@needs_browser
def test_boxes_of_the_model_and_the_search_find_each_other(report: Browser) -> None:
    boxes = "document.querySelectorAll('.box')"
    assert report.tell(f"{boxes}.length") == 3
    report.tell(f"{boxes}[1].focus()")
    report.press("Enter")
    assert report.wait_for(FOUND) == "4 found"
    found = f"[...{boxes}].map(box => box.classList.contains('found'))"
    assert report.tell(found) == [False, True, False]
    report.tell("document.getElementById('view').focus()")
    report.press("Escape")
    report.wait_for(f"!{found}.includes(true)")


@needs_browser
def test_theme_follows_the_system_until_it_is_switched(report: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = report.tell(paper)
    report.call("Emulation.setEmulatedMedia", features=[
        {"name": "prefers-color-scheme", "value": "dark"}])  # fmt: skip
    dark = report.wait_for(f"{paper} !== '{light}' && {paper}")
    report.tell("document.getElementById('theme').click()")
    report.wait_for(f"{paper} === '{light}'")
    report.call("Emulation.setEmulatedMedia", features=[])
    report.wait_for(f"{paper} === '{light}'")  # what was chosen stays
    report.tell("document.getElementById('theme').click()")
    report.wait_for(f"{paper} === '{dark}'")
