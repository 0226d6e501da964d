"""The clock of time limits counts what a stop leaves, each second of it once."""

from __future__ import annotations

import pytest

from parplan import clock
from parplan.clock import Clock


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass: what is added goes by at once."""
    gone = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: sum(gone))
    return gone


def test_it_runs_unless_it_is_stopped(passing: list[float]) -> None:
    own = Clock()
    begun = own.now()
    passing.append(2.0)
    assert own.now() - begun == 2.0
    own.stop()
    passing.append(30.0)
    own.go_on()
    assert own.now() - begun == 2.0
    passing.append(1.0)
    assert own.now() - begun == 3.0


def test_stops_within_a_stop_count_once(passing: list[float]) -> None:
    own = Clock()
    begun = own.now()
    own.stop()
    for seconds in (1.0, 2.0):
        own.stop()
        passing.append(seconds)
        own.go_on()
    passing.append(4.0)
    own.go_on()
    assert own.now() == begun
    assert own.stopped_s == 7.0
