"""Runs a function in a process of its own, so that whatever it does, the caller goes on.

Solvers crash, hang, run out of memory, print, and cannot always share a process (highspy >= 1.15
and ortools each ship a libhighs). Here each of these is an ``Outcome``, and what the solver had
found by then is kept. For POSIX systems: it rests on process groups.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from attrs import define, evolve, field, frozen

from parplan.contracts import Answer, Progress, Report, SolveOptions, Termination
from parplan.errors import ParplanError
from parplan.system.interrupts import held_interrupts

T = TypeVar("T")

HEADER = struct.Struct("!Q")
"""Each message is its pickled length, then the pickle of (kind, payload)."""

POLL_S = 0.25
CHATTER_BYTES = 8192
ORPHAN_POLL_S = 0.5
"""How often a process looks whether its parent is still there."""

GRACE_S = 5.0
"""What a function may run over its time limit before it is killed."""


@frozen
class Outcome(Generic[T]):
    """What became of a contained call.

    Attributes
    ----------
    value
        What the function returned; None unless it did.
    failure
        Why there is no value, in one line; None if there is one.
    interrupted
        Whether Ctrl-C ended it.
    timed_out
        Whether it was killed because it ran past its limit.
    last
        The payload of the last ``Channel.incumbent``; None if there was none.
    progress
        The last ``Channel.progress``; None if there was none.
    output
        The end of what it printed, on stdout and stderr together.
    seconds
        Wall time, starting the process included.
    """

    value: T | None = None
    failure: str | None = None
    interrupted: bool = False
    timed_out: bool = False
    last: Any = None
    progress: Progress | None = None
    output: str = ""
    seconds: float = 0.0


class Channel:
    """The function's way to tell what it has found so far. Callbacks of any thread may use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def progress(self, news: Progress) -> None:
        """Tell the caller's ``report``."""
        self._send("progress", news)

    def incumbent(self, payload: Any) -> None:
        """Leave a solution with the caller, who keeps the last one if this process dies."""
        self._send("incumbent", payload)

    def _send(self, kind: str, payload: Any) -> None:
        data = pickle.dumps((kind, payload), protocol=pickle.HIGHEST_PROTOCOL)
        message = memoryview(HEADER.pack(len(data)) + data)
        with self._lock:
            while message:
                message = message[os.write(self._connection.fileno(), message) :]


def run_contained(
    function: Callable[..., T],
    *args: Any,
    time_limit_s: float,
    label: str,
    report: Report | None = None,
    grace_s: float = GRACE_S,
    method: str = "fork",
) -> Outcome[T]:
    """Return what became of ``function(channel, *args)``, run in a process of its own.

    The function should keep ``time_limit_s`` itself; it is killed ``grace_s`` later. Its process
    group dies with it, and with this process. Ctrl-C kills it and gives an interrupted outcome.
    Nothing that it raises or prints gets out otherwise; what ``report`` raises does.

    Parameters
    ----------
    function
        Takes a ``Channel`` first; its result, and what it sends, must pickle.
    label
        Names the function in messages, e.g. a solver's name.
    method
        ``"fork"``, where arguments need not pickle, or ``"spawn"``.
    """
    running = Running(function, args, label, time_limit_s, report, grace_s, method)
    try:
        running.start()
        while not running.advance():
            wait(running.ends, POLL_S)
    except KeyboardInterrupt:
        running.interrupt()
    finally:
        running.stop()
    return running.outcome()


class Running(Generic[T]):
    """A contained call under way: for those who wait for several at once.

    Parameters are those of ``run_contained``. Call ``start``; then ``advance``, when one of
    ``ends`` is ready or time may be over, until it returns true; then ``stop`` in any case.
    """

    def __init__(
        self,
        function: Callable[..., T],
        args: tuple[Any, ...],
        label: str,
        time_limit_s: float,
        report: Report | None = None,
        grace_s: float = GRACE_S,
        method: str = "fork",
    ) -> None:
        context = multiprocessing.get_context(method)
        reader, self._writer = context.Pipe(duplex=False)
        chatter_reader, self._chatter_writer = context.Pipe(duplex=False)
        self._child: Any = context.Process(  # type: ignore[attr-defined]  # every context has one
            target=_child,
            args=(self._writer, self._chatter_writer, os.getpid(), function, args),
            name=f"parplan {label}",
        )
        self._listener = _Listener(label, self._child, reader, chatter_reader, report)
        self._limit_s, self._grace_s = time_limit_s, grace_s
        self._begun, self._seconds = time.monotonic(), 0.0

    def start(self) -> None:
        """Start the process."""
        self._begun = time.monotonic()
        _start(self._child)
        self._writer.close()
        self._chatter_writer.close()
        self._listener.open()

    @property
    def ends(self) -> list[Any]:
        """What to wait for: its pipes, and its end."""
        return [*self._listener.open_ends, self._child.sentinel]

    def advance(self) -> bool:
        """Take what it has said; return whether it is done, dead or late."""
        self._listener.advance(self._begun + self._limit_s + self._grace_s)
        return bool(self._listener.ended)

    def interrupt(self) -> None:
        """Take what was said so far, and let the outcome be an interrupted one."""
        self._listener.interrupt()

    def stop(self, notice_s: float = 0.0) -> None:
        """Kill what is left of it.

        Parameters
        ----------
        notice_s
            Seconds that it has to end by itself after SIGTERM, before it is killed.
        """
        if notice_s > 0 and self._child.pid is not None and self._child.is_alive():
            self._child.terminate()
            self._child.join(notice_s)
        _end(self._child)
        listener = self._listener
        for end in (listener.messages, self._writer, listener.chatter, self._chatter_writer):
            end.close()
        self._seconds = time.monotonic() - self._begun

    def outcome(self) -> Outcome[T]:
        """Return what became of it, once it is stopped."""
        return self._listener.outcome(self._limit_s, self._seconds)


def solve_contained(
    function: Callable[..., Answer],
    model: Any,
    options: SolveOptions,
    warm_start: Mapping[str, float] | None = None,
    report: Report | None = None,
    *,
    solver: str,
) -> Answer:
    """Return the answer of ``function(channel, model, options, warm_start)``, contained.

    The function sends each incumbent as an ``Answer`` (of any termination). If it crashes, hangs
    or is interrupted, the last one is returned with the true termination and the reason.
    """
    outcome = run_contained(
        function,
        model,
        options,
        warm_start,
        time_limit_s=options.time_limit_s,
        label=solver,
        report=report,
        grace_s=GRACE_S,
    )
    if outcome.value is not None:
        ended = Termination.INTERRUPTED if outcome.interrupted else outcome.value.termination
        return evolve(outcome.value, termination=ended, seconds=outcome.seconds)
    ended = Termination.FAILED
    if outcome.interrupted:
        ended = Termination.INTERRUPTED
    elif outcome.timed_out:
        ended = Termination.TIME_LIMIT
    last = outcome.last or Answer(ended, solver)
    bound = last.bound
    if outcome.progress is not None and outcome.progress.bound is not None:
        bound = outcome.progress.bound
    return evolve(
        last, termination=ended, bound=bound, seconds=outcome.seconds, message=outcome.failure or ""
    )


def _start(child: Any) -> None:
    with held_interrupts(), warnings.catch_warnings():
        # Python >= 3.12 warns of forks beside threads: this child takes no lock of theirs.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        child.start()


def _end(child: Any) -> None:
    """Kill whatever is left of the child and its children, and reap it."""
    if child.pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.join()
    child.close()


# -- the caller's side -----------------------------------------------------------------------------


@define(eq=False)
class _Listener:
    """Reads what the child says, never blocking on a half-written message."""

    label: str
    child: Any
    messages: Connection
    chatter: Connection
    report: Report | None
    open_ends: list[int] = field(factory=list)
    unread: bytearray = field(factory=bytearray)
    output: bytes = b""
    ended: str = ""
    interrupted: bool = False
    exit_code: int = 0
    result: Any = None
    last: Any = None
    news: Progress | None = None

    def open(self) -> None:
        """Make ready to read without blocking."""
        for end in (self.messages, self.chatter):
            os.set_blocking(end.fileno(), False)
        self.open_ends = [self.messages.fileno(), self.chatter.fileno()]

    def advance(self, deadline: float) -> None:
        """Take the messages that are there; see whether the child is done, dead or late."""
        alive = self.child.is_alive()  # before reading: what it sent last is then there
        self.open_ends = [fd for fd in self.open_ends if self._take(fd)]
        if self.ended == "done":
            wait([self.child.sentinel], 1.0)
        elif not alive and not self.ended:
            self.ended, self.exit_code = "died", self.child.exitcode
        elif not self.ended and time.monotonic() >= deadline:
            self.ended = "late"

    def interrupt(self) -> None:
        """Take what has been said so far; Ctrl-C may have struck halfway through a message."""
        self.interrupted, self.report = True, None
        with contextlib.suppress(Exception, KeyboardInterrupt):
            os.set_blocking(self.messages.fileno(), False)
            self._take(self.messages.fileno())

    def _take(self, fd: int) -> bool:
        """Read all that an end holds now; return whether more may come."""
        while True:
            try:
                data = os.read(fd, 1 << 20)
            except BlockingIOError:
                return True
            if not data:
                return False
            if fd == self.chatter.fileno():
                self.output = (self.output + data)[-CHATTER_BYTES:]
            else:
                self.unread += data
                for kind, payload in self._whole_messages():
                    self._handle(kind, payload)

    def _whole_messages(self) -> Iterator[tuple[str, Any]]:
        while len(self.unread) >= HEADER.size:
            (length,) = HEADER.unpack_from(self.unread)
            end = HEADER.size + length
            if len(self.unread) < end:
                return
            data = bytes(self.unread[HEADER.size : end])
            del self.unread[:end]
            yield pickle.loads(data)

    def _handle(self, kind: str, payload: Any) -> None:
        if kind == "progress":
            self.news = payload
            if self.report is not None:
                self.report(payload)
        elif kind == "incumbent":
            self.last = payload
        else:  # "done" or "raised"
            self.ended, self.result = kind, payload

    def outcome(self, time_limit_s: float, seconds: float) -> Outcome[Any]:
        """Return what all this amounts to."""
        return Outcome(
            value=self.result if self.ended == "done" else None,
            failure=None if self.ended == "done" else f"{self.label} {self._why(time_limit_s)}",
            interrupted=self.interrupted,
            timed_out=self.ended == "late",
            last=self.last,
            progress=self.news,
            output=self.output.decode(errors="replace"),
            seconds=seconds,
        )

    def _why(self, time_limit_s: float) -> str:
        """Say why there is no result."""
        if self.ended == "raised":
            return f"failed: {self.result}"
        if self.ended == "late":
            return f"did not stop at its limit of {time_limit_s:g} s and was killed"
        if self.ended == "died":
            said = self.output.decode(errors="replace").strip().splitlines()
            return _death(self.exit_code) + (f"; it said last: {said[-1][:200]}" if said else "")
        return "was interrupted"


def _death(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed from outside (SIGKILL; often for lack of memory)"
    if exit_code < 0:
        return f"crashed ({signal.Signals(-exit_code).name})"
    return f"ended without an answer (exit code {exit_code})"


# -- the child's side ------------------------------------------------------------------------------


def _child(
    connection: Connection,
    chatter: Connection,
    parent: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    """Call the function and send what it returned or raised."""
    os.setsid()  # Ctrl-C in the terminal reaches the parent only
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    faulthandler.disable()  # it would write to wherever the parent's does
    for standard in (1, 2):
        os.dup2(chatter.fileno(), standard)
    sys.stdout = open(1, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115  # for good
    sys.stderr = sys.stdout
    channel = Channel(connection)
    try:
        channel._send("done", function(channel, *args))
    except ParplanError as error:
        channel._send("raised", str(error))
    except MemoryError:
        channel._send("raised", "out of memory")
    except BaseException as error:  # noqa: BLE001  # the parent says it; nothing may escape here
        traceback.print_exc()
        text = str(error).strip() or "no message"
        channel._send("raised", f"{type(error).__name__}: {text}")


def _die_with(parent: int) -> None:
    """End this process and its children once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os.killpg(0, signal.SIGKILL)
