from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from parplan.contracts import Progress
from parplan.errors import InputError
from parplan.system.contained import Channel, run_contained


def _add(channel: Channel, a: int, b: int) -> int:
    return a + b


def _find_then(channel: Channel, end: str) -> int:
    """Report an incumbent, then come to some end."""
    channel.progress(Progress("solve", 0.0, incumbent=7.0, bound=3.0))
    channel.incumbent({"x": 7.0})
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "segfault":
        ctypes.string_at(0)
    if end == "exit":
        os._exit(3)
    if end == "raise":
        raise ValueError("no such thing")
    if end == "system-exit":
        raise SystemExit
    if end == "memory":
        bytearray(1 << 60)
    if end == "refuse":
        raise InputError("block 'memory' has a fraction", key="memory.row")
    if end == "unpicklable":
        return lambda: 1  # type: ignore[return-value]
    while True:
        time.sleep(0.05)


def test_returns_the_value() -> None:
    outcome = run_contained(_add, 2, 3, time_limit_s=60, label="add")
    assert (outcome.value, outcome.failure) == (5, None)
    assert not outcome.interrupted
    assert not outcome.timed_out


def test_works_without_fork() -> None:
    outcome = run_contained(isinstance, Channel, time_limit_s=60, label="a", method="spawn")
    assert outcome.value is True


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("kill", "killed from outside"),
        ("segfault", "crashed (SIGSEGV)"),
        ("exit", "exit code 3"),
        ("raise", "ValueError: no such thing"),
        ("system-exit", "SystemExit"),
        ("memory", "out of memory"),
        ("refuse", "memory.row: block 'memory' has a fraction"),
        ("unpicklable", "pickle"),
    ],
)
def test_every_bad_end_is_one_line_and_keeps_the_incumbent(
    end: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = run_contained(_find_then, end, time_limit_s=60, label="dummy")
    assert outcome.value is None
    assert outcome.failure is not None
    assert outcome.failure.startswith("dummy ")
    assert words in outcome.failure
    assert "\n" not in outcome.failure
    assert outcome.last == {"x": 7.0}
    assert outcome.progress is not None
    assert outcome.progress.bound == 3.0
    assert not outcome.timed_out
    assert capfd.readouterr() == ("", "")


def test_a_hang_is_killed_after_the_grace() -> None:
    begun = time.monotonic()
    outcome = run_contained(_find_then, "hang", time_limit_s=0.2, grace_s=0.2, label="dummy")
    assert time.monotonic() - begun < 5
    assert outcome.timed_out
    assert "limit of 0.2 s" in str(outcome.failure)
    assert outcome.last == {"x": 7.0}


def _stop_within_a_message(channel: Channel) -> int:
    os.write(channel._connection.fileno(), b"\x00\x00\x00")
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1


def test_a_half_written_message_does_not_block_the_caller() -> None:
    outcome = run_contained(_stop_within_a_message, time_limit_s=0.2, grace_s=0.2, label="dummy")
    assert outcome.timed_out


def _chatter(channel: Channel) -> int:
    print("from python")
    os.write(1, b"from C, out\n")
    os.write(2, b"from C, err\n")
    os.write(1, b"x" * 200_000)
    return 1


def test_output_is_captured_and_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run_contained(_chatter, time_limit_s=60, label="dummy")
    assert outcome.value == 1
    assert capfd.readouterr() == ("", "")
    assert 0 < len(outcome.output) <= 8192


def _say_last_words(channel: Channel) -> int:
    os.write(2, b"F0000 check failed: x > 0\n")
    os.kill(os.getpid(), signal.SIGABRT)
    return 1


def test_a_crash_quotes_the_last_words() -> None:
    outcome = run_contained(_say_last_words, time_limit_s=60, label="dummy")
    assert "crashed (SIGABRT); it said last: F0000 check failed: x > 0" in str(outcome.failure)


def _many(channel: Channel, count: int) -> str:
    for k in range(count):
        channel.progress(Progress("solve", float(k), incumbent=float(k)))
        channel.incumbent(bytes(1000) + str(k).encode())
    return "y" * 5_000_000


def test_news_comes_in_order_and_large_results_arrive_whole() -> None:
    heard: list[float] = []
    outcome = run_contained(
        _many, 300, time_limit_s=60, label="dummy", report=lambda p: heard.append(p.seconds)
    )
    assert heard == [float(k) for k in range(300)]
    assert outcome.value == "y" * 5_000_000
    assert outcome.last.endswith(b"299")


def test_an_error_in_report_ends_the_child() -> None:
    pids: list[str] = []

    def fail(news: Progress) -> None:
        pids.append(news.message)
        raise RuntimeError("cannot draw")

    def tell_pid(channel: Channel) -> None:
        channel.progress(Progress("solve", 0.0, message=str(os.getpid())))
        signal.pause()

    with pytest.raises(RuntimeError, match="cannot draw"):
        run_contained(tell_pid, time_limit_s=60, label="dummy", report=fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids[0]), 0)


def test_side_by_side_in_threads() -> None:
    results: dict[int, int | None] = {}

    def run(k: int) -> None:
        results[k] = run_contained(_add, k, k, time_limit_s=60, label="add").value

    threads = [threading.Thread(target=run, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: 2 * k for k in range(6)}


HANGING = """
import os, time
from parplan.system.contained import run_contained
from parplan.contracts import Progress

def hang(channel):
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
    channel.incumbent("best so far")
    channel.progress(Progress("solve", 0.0))
    while True:
        time.sleep(0.05)

outcome = run_contained(
    hang, time_limit_s=60, label="dummy", report=lambda news: print("hanging", flush=True)
)
print(outcome.interrupted, outcome.last, outcome.failure, flush=True)
"""


class _Script:
    """A caller with a hanging child and grandchild; ``alive`` is held open by all of them."""

    def __init__(self, path: Path) -> None:
        path.write_text(HANGING)
        self.alive, held = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            pass_fds=(held,),
            # Pytest, or a shell's background job, may ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(held)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "hanging\n"

    def interrupt(self) -> str:
        """Press Ctrl-C, again if Python swallowed the first one; return what was said then."""
        for _ in range(3):
            # As a terminal does: to the whole foreground group.
            os.killpg(self.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.communicate(timeout=10)[0]
        raise AssertionError("three times Ctrl-C did not end it")

    def all_gone(self) -> bool:
        ended, _, _ = select.select([self.alive], [], [], 20)
        os.close(self.alive)
        return bool(ended)


def test_ctrl_c_ends_the_child_and_returns_the_incumbent(tmp_path: Path) -> None:
    script = _Script(tmp_path / "script.py")
    rest = script.interrupt()
    assert rest.strip() == "True best so far dummy was interrupted"
    assert script.process.returncode == 0
    assert script.all_gone()


def test_the_child_dies_with_a_killed_caller(tmp_path: Path) -> None:
    script = _Script(tmp_path / "script.py")
    script.process.kill()
    script.process.communicate(timeout=20)
    assert script.all_gone()
