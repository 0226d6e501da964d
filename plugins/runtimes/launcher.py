"""Starts the processes of a run: ``python -P -m parplan.plugins.runtimes.launcher FOLDER``.

torch is loaded once, and every rank is a fork of this process: eight ranks start as fast as one,
and have the same code. This process ends with all of them as soon as one fails, and as soon as
standard input is closed, which is when the process that watches the run is gone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parplan.plugins.runtimes.job import LAUNCHER, Folder, Job, read_job, write_ends
from parplan.plugins.runtimes.training import find_function
from parplan.plugins.runtimes.worker import compare_gradients, leave_failure, run_rank

GRACE_S = 1.0
"""How long the others may take to say what they were doing once one has failed."""

POLL_S = 0.02


def main(folder: Folder) -> int:
    """Run all ranks, then the comparison of gradients; return 0 if all of it went well."""
    job = read_job(folder)
    try:
        function = find_function(job.model, job.folder) if job.model else None
    except Exception as error:  # noqa: BLE001  # the user's module may raise anything
        leave_failure(folder, LAUNCHER, error)
        return 1
    ranks = dict(_fork(folder, rank, job, function) for rank in job.ranks)
    if not _all_end(folder, ranks):
        return 1
    if function is None or not job.check_gradients:
        return 0
    return 0 if _all_end(folder, dict([_fork(folder, LAUNCHER, job, function)])) else 1


def _fork(
    folder: Folder, rank: int, job: Job, function: Callable[[], Any] | None
) -> tuple[int, int]:
    """Return a new process (its number, its rank) that does the work of a rank and ends."""
    process = os.fork()
    if process:
        return process, rank
    code = 1
    try:
        log = os.open(folder.log(rank), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        if rank == LAUNCHER and function is not None:
            compare_gradients(job, folder, function)
        else:
            run_rank(job, folder, rank, function)
        code = 0
    except SystemExit:
        pass  # it has left its failure
    except BaseException as error:  # noqa: BLE001  # a fork must never return
        traceback.print_exc()
        leave_failure(folder, rank, error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _all_end(folder: Folder, processes: dict[int, int]) -> bool:
    """Wait for processes (ranks by number); once one fails, end the others and return False."""
    running = dict(processes)
    ends: dict[int, int] = {}
    until = float("inf")
    while running and time.monotonic() < until:
        if select.select([sys.stdin], [], [], POLL_S)[0]:
            os.killpg(0, signal.SIGKILL)  # nobody watches any longer
        for process, rank in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del running[process]
                ends[rank] = os.waitstatus_to_exitcode(status)
                if ends[rank] and until == float("inf"):
                    until = time.monotonic() + GRACE_S
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    write_ends(folder, ends)
    return not any(ends.values())


if __name__ == "__main__":
    sys.exit(main(Folder(Path(sys.argv[1]))))
