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
from functools import partial
from pathlib import Path

from parplan.plugins.runtimes.emulation.script import Emulation
from parplan.plugins.runtimes.emulation.stand_in import StandIn
from parplan.plugins.runtimes.folder import LAUNCHER, Folder, write_ends
from parplan.plugins.runtimes.job import Job, read_job
from parplan.plugins.runtimes.training import find_function
from parplan.plugins.runtimes.worker import Part, leave_failure, run_rank

GRACE_S = 1.0
"""How long the others may take to say what they were doing once one has failed."""

POLL_S = 0.02


def main(folder: Folder) -> int:
    """Run all ranks, then what follows them; return 0 if all of it went well."""
    job = read_job(folder)
    try:
        prepare, afterwards = _parts(job, folder)
    except Exception as error:  # noqa: BLE001  # the user's module may raise anything
        leave_failure(folder, LAUNCHER, error)
        return 1
    count = len(job.devices)
    ranks = dict(
        _fork(folder, rank, partial(run_rank, folder, rank, count, prepare))
        for rank in range(count)
    )
    if not _all_end(folder, ranks):
        return 1
    if afterwards is None:
        return 0
    return 0 if _all_end(folder, dict([_fork(folder, LAUNCHER, afterwards)])) else 1


def _parts(job: Job, folder: Folder) -> tuple[Callable[[int], Part], Callable[[], None] | None]:
    """Return what prepares the part of a rank, and what is done once all have ended."""
    if isinstance(job, Emulation):
        return (lambda rank: StandIn(job, rank).run), None
    from parplan.plugins.runtimes.trainer import Trainer  # takes two seconds, which others save

    trainer = Trainer(job, folder, find_function(job.model, job.folder))
    return trainer.prepare, trainer.compare_gradients if job.check_gradients else None


def _fork(folder: Folder, rank: int, work: Callable[[], None]) -> tuple[int, int]:
    """Return a new process (its number, its rank) that does some work and ends."""
    process = os.fork()
    if process:
        return process, rank
    code = 1
    try:
        log = os.open(folder.log(rank), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        work()
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
