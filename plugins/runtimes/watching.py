"""Starts the processes of a run, waits for them, and says in one message what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

from parplan.errors import InputError, RunError
from parplan.plugins.runtimes.folder import LAUNCHER, Cause, Failure, Folder, read_ends
from parplan.plugins.runtimes.job import Job
from parplan.plugins.runtimes.recorder import read_state
from parplan.spec.structuring import structure

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Processes share the machine's cores; more threads in each would fight for them."""

LAST_LINES = 5
"""Lines of a process's output that a message repeats."""


def watch(job: Job, folder: Folder, timeout_s: float) -> None:
    """Run a job to its end; whatever happens, nothing that was started goes on.

    Raises
    ------
    InputError
        If the model or the job cannot be run.
    RunError
        If a process crashed or was killed, or the run takes longer than ``timeout_s``; naming the
        device and what it did.
    """
    with folder.log(LAUNCHER).open("wb") as log:
        launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "parplan.plugins.runtimes.launcher", str(folder.path)],
            stdin=subprocess.PIPE,  # open as long as this process lives
            stdout=log,
            stderr=log,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for this process, and a group to end them all
        )
    try:
        code = launcher.wait(timeout_s)
    except subprocess.TimeoutExpired:
        states = "; ".join(_states(job, folder))
        raise RunError(f"the run has not ended after {timeout_s:g} s: {states}") from None
    finally:
        _end(launcher)
    if code:
        raise failure_of(job, folder, code)


def _end(launcher: subprocess.Popen[bytes]) -> None:
    """End a launcher and all that it started."""
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    if launcher.stdin is not None:
        launcher.stdin.close()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {**loopback, **given, **dict.fromkeys(ONE_THREAD, "1")}


def _states(job: Job, folder: Folder) -> Iterator[str]:
    for rank in range(len(job.devices)):
        state = read_state(folder.state(rank)) or "has not started"
        yield f"{_who(job, rank)} {state}"


def _who(job: Job, rank: int) -> str:
    if rank == LAUNCHER:
        return "the process without a pipeline"
    return f"rank {rank} ('{job.devices[rank]}')"


def failure_of(job: Job, folder: Folder, code: int) -> InputError | RunError:
    """Return the error of a run that failed: what failed first, not what that led to."""
    failures = dict(_failures(job, folder))
    for failure in failures.values():
        if failure.cause is Cause.INPUT:
            return InputError(failure.message, key=failure.key or None)
    for rank, end in read_ends(folder).items():
        if end < 0 and rank not in failures:
            did = read_state(folder.state(rank)) or "started"
            name = signal.Signals(-end).name
            return _told(job, rank, f"was ended by signal {name}; at that time it {did}")
    for cause in (Cause.OWN, Cause.OTHERS):
        for rank, failure in failures.items():
            if failure.cause is cause:
                did = f" while it {failure.doing}" if failure.doing else ""
                return _told(job, rank, f"failed{did}: {failure.message}", details=failure.details)
    for rank, end in read_ends(folder).items():
        if end:
            return _told(job, rank, f"ended with code {end}: {_last_lines(folder, rank)}")
    return RunError(f"the processes did not start (code {code}): {_last_lines(folder, LAUNCHER)}")


def _failures(job: Job, folder: Folder) -> Iterator[tuple[int, Failure]]:
    for rank in (LAUNCHER, *range(len(job.devices))):
        if folder.failure(rank).exists():
            text = folder.failure(rank).read_text(encoding="utf-8")
            yield rank, structure(json.loads(text), Failure)


def _told(job: Job, rank: int, what: str, details: str = "") -> RunError:
    device = None if rank == LAUNCHER else job.devices[rank]
    return RunError(f"{_who(job, rank)} {what}", device=device, details=details)


def _last_lines(folder: Folder, rank: int) -> str:
    log = folder.log(rank)
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return " | ".join(text.strip().splitlines()[-LAST_LINES:]) or "no output"
