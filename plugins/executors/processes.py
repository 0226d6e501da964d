"""Worker processes on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import ClassVar

from parplan.contracts import ExecutorFactory

POLL_S = 1.0


class Processes(ExecutorFactory):
    """A pool of processes, forked where the system can; Ctrl-C is the parent's business."""

    name: ClassVar[str] = "processes"

    def create(self, workers: int) -> Executor:
        """Return a pool of that many processes."""
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
        return _Pool(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))


class _Pool(ProcessPoolExecutor):
    """A pool that, shut down without waiting, ends what still runs: nobody wants the results."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        processes = list((self._processes or {}).values())
        queue = getattr(self, "_call_queue", None)  # private, and unknown to type checkers
        super().shutdown(wait, cancel_futures=cancel_futures)
        if cancel_futures and not wait:
            if queue is not None:  # nobody will read what is on its way to a worker
                queue.cancel_join_thread()
            for process in processes:
                with contextlib.suppress(ValueError):  # closed already
                    process.kill()


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: the pool's pipes would keep it waiting."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
