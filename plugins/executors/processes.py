"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import ClassVar

from parplan.contracts import ExecutorFactory


class Processes(ExecutorFactory):
    """A pool of processes, forked where the system can; Ctrl-C is the parent's business."""

    name: ClassVar[str] = "processes"

    def create(self, workers: int) -> Executor:
        """Return a pool of that many processes."""
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
