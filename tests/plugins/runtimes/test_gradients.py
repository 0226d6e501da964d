"""Plans train small models with the gradients of a single process, whatever their schedule.

All runs share one launcher, since loading torch takes longer than any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

import parplan
from parplan.contracts import RunRequest
from parplan.errors import InputError
from parplan.measuring.recording import Recording
from parplan.plans import Plan
from parplan.plugins.runtimes.folder import Folder
from parplan.plugins.runtimes.job import TrainingJob
from parplan.plugins.runtimes.torch_processes import recording_of_training
from parplan.plugins.strategies.dualpipe import DualPipeV
from parplan.plugins.strategies.interleaved import Interleaved
from parplan.plugins.strategies.one_forward_one_backward import OneForwardOneBackward
from parplan.plugins.strategies.zero_bubble import ZeroBubbleH1, ZeroBubbleV
from parplan.registry import Registry
from tests.plugins.runtimes.runs import HERE, graph_problem, launch, plan_of, prepare
from tests.plugins.strategies.published import simulate
from tests.search.pipelines import even_pipeline

pytestmark = pytest.mark.slow

STEPS = 2

Runs: TypeAlias = Mapping[str, tuple[Plan, TrainingJob, Path]]
"""By name."""
DIAMOND = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
ASIDE = [("start", "join"), ("text", "join"), ("join", "end"), ("text", "end")]
SKIPS = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("c", "d")]


def planned(problem: parplan.Problem, registry: Registry) -> Plan:
    return parplan.plan(problem, registry=registry, time_limit_s=1, workers=1)


def unequal(registry: Registry) -> Plan:
    """Return a plan of five blocks for a fast and a slow device."""
    problem = even_pipeline(5, 2, 4, (1.0, 1.0, 1.0))
    fast, slow = problem.cluster.devices
    devices = (fast, attrs.evolve(slow, slowdown={"compute": 3.0}))
    return planned(
        attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=devices)), registry
    )


def plans(registry: Registry) -> dict[str, Plan]:
    return {
        "two": plan_of(simulate(OneForwardOneBackward(), 2, 4, registry)),
        "three": plan_of(simulate(ZeroBubbleH1(), 3, 4, registry)),
        "four": plan_of(simulate(Interleaved(), 2, 4, registry, 2)),
        "four v": plan_of(simulate(ZeroBubbleV(), 2, 4, registry, 2)),
        "four dualpipe": plan_of(simulate(DualPipeV(), 2, 8, registry, 2)),
        "five": unequal(registry),
        "diamond": planned(
            graph_problem(DIAMOND, {"a": "g0", "b": "g1", "c": "g2", "d": "g3"}, 2), registry
        ),
        "diamond on two": planned(
            graph_problem(DIAMOND, {"a": "g0", "b": "g1", "c": "g0", "d": "g1"}, 2), registry
        ),
        "aside": planned(
            graph_problem(
                ASIDE, {"start": "g0", "text": "g1", "join": "g1", "end": "g2"}, 2, split=True
            ),
            registry,
        ),
        "skips": planned(
            graph_problem(SKIPS, {"a": "g0", "b": "g1", "c": "g2", "d": "g1"}, 2), registry
        ),
        "towers": planned(
            graph_problem(
                [("image", "join"), ("text", "join")],
                {"image": "g0", "text": "g1", "join": "g1"},
                2,
            ),
            registry,
        ),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Runs:
    """Every plan, with its job and the folder in which it ran."""
    base = tmp_path_factory.mktemp("runs")
    found = {}
    for name, plan in plans(registry).items():
        model = f"small_models:{name.split()[0]}"
        request = RunRequest(model, str(HERE), steps=STEPS, check_gradients=True)
        slack = {"slack": 1.0} if name == "aside" else {}  # so that it has larger stages
        job = prepare(plan, base / name, request, registry, **slack)
        found[name] = (plan, job, base / name)
    codes = launch([folder for _, _, folder in found.values()])
    failed = [name for name, code in zip(found, codes, strict=True) if code]
    told = {name: [p.read_text() for p in found[name][2].glob("*.failure.json")] for name in failed}
    assert told == {}
    return found


def recorded(runs: Runs, name: str) -> tuple[Plan, Recording]:
    plan, job, folder = runs[name]
    return plan, recording_of_training(job, Folder(folder))


NAMES = (
    *("two", "three", "four", "four v", "four dualpipe", "five"),
    *("diamond", "diamond on two", "aside", "skips", "towers"),
)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_a_single_process(runs: Runs, name: str) -> None:
    _, recording = recorded(runs, name)
    forward = {block.split(":")[0] for block in recording.gradient_differences}
    assert len(forward) >= 4  # a weight and a bias of two blocks at least
    assert max(recording.gradient_differences.values()) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_every_task_of_the_plan_is_recorded_once_a_step(runs: Runs, name: str) -> None:
    plan, recording = recorded(runs, name)
    expected = sorted(
        (view.devices[0], view.operator, view.microbatch, step)
        for view in plan.schedule.task_views()
        for step in range(STEPS)
    )
    found = sorted(
        (span.device, operator, span.microbatch, span.step)
        for span in recording.spans
        if span.action != "wait"
        for operator in span.operators
    )
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_spans_of_a_device_do_not_overlap(runs: Runs, name: str) -> None:
    _, recording = recorded(runs, name)
    for device in recording.devices:
        mine = [span for span in recording.spans if span.device == device]
        for before, after in pairwise(mine):
            assert before.end_s <= after.start_s + 1e-9


def test_an_optimizer_changes_the_second_step(
    runs: Runs,
) -> None:
    _, recording = recorded(runs, "three")
    assert recording.losses[1] < recording.losses[0]


def test_messages_without_an_order_that_fits_both_ranks_need_names(
    runs: Runs, registry: Registry, tmp_path: Path
) -> None:
    plan, _, _ = runs["skips"]
    with pytest.raises(InputError, match="tagged=true"):
        parplan.export_plan(plan, "torch-csv", tmp_path, registry=registry)


def test_a_stage_whose_input_is_not_all_that_feeds_it_may_split_its_backward_pass(
    runs: Runs,
) -> None:
    _, recording = recorded(runs, "aside")
    split = {span.operators for span in recording.spans if span.action == "W"}
    assert any({"text:backward-weight", "join:backward-weight"} == set(found) for found in split)
