from __future__ import annotations

import pytest

from parplan.contracts import Progress
from parplan.progress import progress_text, show_progress

NEWS = [
    Progress("bound", 0.0, None, 2.0),
    Progress("list", 0.1, 5.0, 2.0),
    Progress("list", 0.2, 4.5, 2.0),
    Progress("list", 1.4, 4.0, 2.0),
    Progress("list", 1.5, 4.0, 2.0, "highs died\x1b[0m; dropped"),
]


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(60, "s") as report:
        for news in NEWS:
            report(news)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "    0.0 s  bound   bound 2 s",
        "    0.1 s  list   incumbent 5 s   bound 2 s   gap 60.0%",
        "    1.4 s  list   incumbent 4 s   bound 2 s   gap 50.0%",
        "    1.5 s  list   incumbent 4 s   bound 2 s   gap 50.0%   highs died\\x1b[0m; dropped",
    ]


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(60, "s", quiet=True) as report:
        for news in NEWS:
            report(news)
    assert capsys.readouterr() == ("", "")


def test_terminal_gets_a_live_line_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with show_progress(60, "s") as report:
        for news in NEWS:
            report(news)
    err = capsys.readouterr().err
    assert "s left" in err
    assert "highs died\\x1b[0m; dropped" in err


def test_gap_of_a_value_of_zero_is_finite() -> None:
    assert "gap" in progress_text(Progress("x", 0.0, 0.0, 0.0), "s")
