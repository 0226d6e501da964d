"""Ctrl-C: the first asks for the best plan so far, the second quits at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from parplan.cli.failures import INTERRUPTED
from parplan.errors import LimitError

NOTICE = "\nstopping, to save the best plan so far; Ctrl-C again quits at once\n"


@contextlib.contextmanager
def two_step_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt, and the second end the process.

    If the search answers the first with an error, because it had no plan yet, the error becomes
    KeyboardInterrupt again. Where Ctrl-C is ignored from outside (a script's background job) it
    stays ignored.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, _first)
    try:
        yield
    except LimitError as error:
        if signal.getsignal(signal.SIGINT) is _second:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _first(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _second)
    _tell(NOTICE)
    raise KeyboardInterrupt


def _second(number: int, frame: FrameType | None) -> None:
    # No tidying up: whatever hangs must not be waited for. Solvers in processes of their own
    # would outlive this one.
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing else ():
        child.kill()
    _tell("quit\n")
    os._exit(INTERRUPTED)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
