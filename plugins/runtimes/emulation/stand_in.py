"""One process of an emulated run: takes the time of its tasks, and holds their memory.

Messages are real, but small. Each carries the time at which it arrives by the plan's links, and
counts as arrived then, or when it really came if that was later.

A task begins when its messages are there and the task before it has ended *by the clock*, and ends
so many seconds later: what the process itself needs (to wake up, to post messages, to note times)
is part of a task's time, as launching a kernel is part of an operator's time.
"""

from __future__ import annotations

import gc
import threading
import time
from queue import SimpleQueue

import torch
import torch.distributed as dist
from attrs import define, field, frozen

from parplan.plugins.runtimes.emulation.script import Emulation, Task
from parplan.plugins.runtimes.folder import Result
from parplan.plugins.runtimes.recorder import Recorder, Work

MESSAGE_NUMBERS = 16
"""Numbers of 64 bits in a message; the first says when it arrives."""

NOTICE_S = 0.05
"""Seconds before the beginning of a step at which the processes learn of it."""


def wait_until(instant: float) -> None:
    """Sleep until an instant of ``time.monotonic``."""
    left = instant - time.monotonic()
    if left > 0:
        time.sleep(left)


@define
class Holdings:
    """Tensors that one process holds in place of those of the plan."""

    tensors: dict[int, torch.Tensor] = field(factory=dict)
    held_bytes: int = 0
    peak_bytes: int = 0

    def take(self, number: int, size: int) -> None:
        """Hold so many bytes."""
        self.tensors[number] = torch.ones(size, dtype=torch.uint8)  # written: resident
        self.held_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def drop(self, number: int) -> None:
        """Let go what was taken."""
        self.held_bytes -= len(self.tensors.pop(number))


@frozen(eq=False)
class Inbox:
    """Messages of a step to one rank, in the order in which it waits for them.

    A thread notes when each of them comes, since the process may sleep then. That a later message
    which came first is noted late is of no account: the earlier one is waited for before.
    """

    arrivals: SimpleQueue[float | Exception]
    thread: threading.Thread

    @classmethod
    def opened(cls, works: list[dist.Work], messages: torch.Tensor) -> Inbox:
        """Return the inbox of receives that are posted already, one row for each."""
        arrivals: SimpleQueue[float | Exception] = SimpleQueue()

        def collect() -> None:
            try:
                for number, work in enumerate(works):
                    work.wait()
                    arrivals.put(max(float(messages[number, 0]), time.monotonic()))
            except Exception as error:  # noqa: BLE001  # told to the thread that waits
                arrivals.put(error)

        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        return cls(arrivals, thread)

    def next(self) -> float:
        """Wait for the next message; return when it arrives."""
        found = self.arrivals.get()
        if isinstance(found, Exception):
            raise found
        return found


class StandIn:
    """Runs the tasks of one rank."""

    def __init__(self, job: Emulation, rank: int) -> None:
        self.steps = job.steps
        self.tasks = job.tasks[rank]
        self.messages = job.messages
        self.received = tuple(job.received_by(rank))
        self.works = [_work(task) for task in self.tasks]
        self.holdings = Holdings()
        sent = [number for task in self.tasks for number in task.sends]
        self.outgoing = dict(
            zip(sent, torch.zeros(len(sent), MESSAGE_NUMBERS, dtype=torch.float64), strict=True)
        )
        self.incoming = torch.zeros(len(self.received), MESSAGE_NUMBERS, dtype=torch.float64)
        self.sending: list[dist.Work] = []

    def run(self, recorder: Recorder) -> Result:
        """Run all steps after one without their times, which connects all that talk."""
        gc.collect()
        gc.freeze()
        gc.disable()  # its pauses would be measured
        recorder.doing("waits for messages that connect the processes")
        self._rehearse()
        for step in range(self.steps):
            recorder.step = step
            recorder.doing(f"waits for the other processes to begin step {step}")
            inbox = self._inbox()
            self._perform(inbox, _agreed_start(), recorder)
            self._end(inbox)
        measured = any(task.takes for task in self.tasks)
        return Result(tuple(recorder.timed), (), self.holdings.peak_bytes if measured else None)

    def _rehearse(self) -> None:
        inbox = self._inbox()
        dist.barrier()
        for task in self.tasks:
            for _ in task.receives:
                inbox.next()
            for number in task.sends:
                self._send(number, 0.0)
        self._end(inbox)

    def _inbox(self) -> Inbox:
        """Post the receives of a step, so that no message waits for that."""
        works = [
            dist.irecv(row, self.messages[number].source, tag=number)
            for number, row in zip(self.received, self.incoming, strict=True)
        ]
        return Inbox.opened(works, self.incoming)

    def _perform(self, inbox: Inbox, begin: float, recorder: Recorder) -> None:
        free = begin
        for task, work in zip(self.tasks, self.works, strict=True):
            start = max(free, begin + task.release_s)
            if task.receives:
                with recorder.action(work, waiting=True):
                    for _ in task.receives:
                        start = max(start, inbox.next())
                    wait_until(start)
            wait_until(start)
            free = start + task.seconds
            with recorder.action(work):
                for number, size in task.takes:
                    self.holdings.take(number, size)
                wait_until(free)
            for number in task.sends:
                self._send(number, free + self.messages[number].seconds)
            for number in task.drops:
                self.holdings.drop(number)

    def _send(self, number: int, arrival: float) -> None:
        message = self.outgoing[number]
        message[0] = arrival
        work = dist.isend(message, self.messages[number].target, tag=number)
        if work is not None:
            self.sending.append(work)

    def _end(self, inbox: Inbox) -> None:
        inbox.thread.join()
        for work in self.sending:
            work.wait()
        self.sending.clear()


def _work(task: Task) -> Work:
    title = f"'{task.operator}' for microbatch {task.microbatch}"
    return Work(title, (task.operator,), task.action, task.microbatch)


def _agreed_start() -> float:
    """Return an instant that is the same for all ranks, once all have come this far."""
    dist.barrier()
    start = torch.tensor([time.monotonic() + NOTICE_S], dtype=torch.float64)
    dist.broadcast(start, 0)
    return float(start[0])
