"""A run that fails says in one message who failed, in which action, and leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

import parplan
from parplan.contracts import RunRequest
from parplan.errors import InputError, ParplanError, RunError
from parplan.plans import Plan
from parplan.plugins.runtimes.folder import Folder
from parplan.plugins.runtimes.watching import failure_of, watch
from parplan.plugins.strategies.one_forward_one_backward import OneForwardOneBackward
from parplan.registry import Registry
from tests.plugins.runtimes.runs import HERE, LIMIT_S, launch, plan_of, prepare
from tests.plugins.strategies.published import simulate

pytestmark = pytest.mark.slow

FAULTS: Mapping[str, tuple[type[ParplanError], str]] = {
    "small_models:broken": (
        RunError,
        r"rank 1 \('g1'\) failed while it runs action 1F1 \(stage 1\) of step 0: "
        "ZeroDivisionError: the weights are tired",
    ),
    "small_models:killed": (
        RunError,
        r"rank 1 \('g1'\) was ended by signal SIGKILL; at that time it runs action 1F1 "
        r"\(stage 1\) of step 0",
    ),
    "small_models:tied": (InputError, "is also in block 'stages.0' .stage 0.*shared weights"),
    "small_models:five": (InputError, "no operator of the model's block 'stages.2'"),
    "small_models:untrained": (InputError, "^--model: returned NoneType"),
    "small_models:odd_batch": (InputError, "block 'stages' is on stages 0 and 1"),
    "small_models:missing": (InputError, "has no function 'missing'"),
    "no_such_module:two": (InputError, "cannot import 'no_such_module'"),
}


@pytest.fixture(scope="module")
def plan(registry: Registry) -> Plan:
    return plan_of(simulate(OneForwardOneBackward(), 2, 4, registry))


@pytest.fixture(scope="module")
def errors(
    plan: Plan, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ParplanError]:
    """The error of each fault; all of them come from one launcher."""
    base = tmp_path_factory.mktemp("faults")
    folders = [base / model.replace(":", ".") for model in FAULTS]
    jobs = [
        prepare(plan, folder, RunRequest(model, str(HERE)), registry)
        for model, folder in zip(FAULTS, folders, strict=True)
    ]
    codes = launch(folders)
    assert 0 not in codes
    return {
        model: failure_of(job, Folder(folder), code)
        for model, job, folder, code in zip(FAULTS, jobs, folders, codes, strict=True)
    }


@pytest.mark.parametrize("model", FAULTS)
def test_a_fault_is_told_with_its_place(errors: dict[str, ParplanError], model: str) -> None:
    kind, message = FAULTS[model]
    assert type(errors[model]) is kind
    with pytest.raises(kind, match=message):
        raise errors[model]


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_that_does_not_end_is_ended_with_all_its_processes(
    plan: Plan, registry: Registry, tmp_path: Path, interrupted: bool
) -> None:
    folder = tmp_path / "hung"
    job = prepare(plan, folder, RunRequest("small_models:hung", str(HERE)), registry)
    if interrupted:
        threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            watch(job, Folder(folder), LIMIT_S)
    else:
        with pytest.raises(RunError, match=r"not ended after 3 s: rank 0 \('g0'\) .*; rank 1 "):
            watch(job, Folder(folder), 3)
    assert processes_of(folder) == []


def test_a_plan_that_cannot_be_run_is_refused_before_anything_starts(
    plan: Plan, registry: Registry
) -> None:
    with pytest.raises(InputError, match="no runtime is named 'torche'; did you mean 'torch'"):
        parplan.run_plan(plan, RunRequest(), "torche", registry=registry)
    for wrong in ({"steps": 0}, {"timeout_s": -1.0}, {"check_gradients": True}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            RunRequest(**wrong)  # type: ignore[arg-type]
