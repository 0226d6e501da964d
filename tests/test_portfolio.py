"""A race of solvers: as good as its best, whoever lies, dies or never ends, and nothing is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyomo.environ as pyo
import pytest
from attrs import evolve

from benchmarks.solver_races import small_problem
from parplan import portfolio
from parplan.api import plan
from parplan.contracts import (
    Answer,
    Availability,
    Capability,
    Progress,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import InputError
from parplan.model.schedule_model import ScheduleModel
from parplan.plugins.solvers.mip import Highs
from parplan.portfolio import Portfolio, named_solver
from parplan.registry import Registered, Registry
from parplan.rules import make_rules
from parplan.system.contained import Channel, solve_contained
from tests.differential.solving import by_highs
from tests.search.assigning.test_loop import diamond

OPTIONS = SolveOptions(time_limit_s=60.0, workers=2)
BEST = 7
"""The optimum of the diamond."""


@pytest.fixture
def model(registry: Registry) -> ScheduleModel:
    """Return the whole model of a small problem, whose objective is the makespan."""
    return ScheduleModel(make_rules(diamond(), registry))


class Fake(Solver):
    """A solver that does what a test wants; ``forever`` keeps it from ending."""

    capabilities = frozenset({Capability.MIP, Capability.BOUND})

    def __init__(self, name: str, answer: Any, delay_s: float = 0.0) -> None:
        self.name, self.answer, self.delay_s = name, answer, delay_s  # type: ignore[misc]  # each its own

    def probe(self) -> Availability:
        """Say that it is there."""
        return Availability(True)

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Do it."""
        time.sleep(self.delay_s)
        found: Answer = self.answer(report)
        return found


class FakeCp(Fake):
    """One that says of itself that it knows intervals."""

    capabilities = frozenset({Capability.CP, Capability.BOUND})


def _claiming(name: str, kind: type[Fake], best: Answer) -> Fake:
    return kind(name, lambda _: evolve(best, solver=name))


def forever(_: Report) -> Answer:
    """Never answer."""
    time.sleep(600)
    raise AssertionError


def die(_: Report) -> Answer:
    """Be killed from outside."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _claim(*args: Any, **keys: Any) -> Any:
    return lambda _: Answer(*args, **keys)


def _race(model: ScheduleModel, *solvers: Solver) -> tuple[Answer, dict[str, str]]:
    told: dict[str, str] = {}

    def hear(news: Progress) -> None:
        if news.message:
            told[news.stage] = news.message

    return Portfolio(solvers).solve(model.pyomo, OPTIONS, report=hear), told


def test_the_usual_ones_race_to_the_optimum(registry: Registry, model: ScheduleModel) -> None:
    told: list[Progress] = []
    answer = named_solver(registry, "portfolio").solve(model.pyomo, OPTIONS, report=told.append)
    assert answer.termination is Termination.OPTIMAL
    assert (answer.objective, answer.bound) == (BEST, BEST)
    assert answer.solver in registry.solvers
    assert model.extract(answer.values).makespan == BEST
    assert [n.message for n in told if n.message and "not installed" not in n.message] == []


def _solution(model: ScheduleModel) -> Answer:
    return by_highs(model, SolveOptions(time_limit_s=60.0, workers=1))


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (_claim(Termination.OPTIMAL, "liar", values={}, objective=1.0, bound=1.0), ""),
        (_claim(Termination.TIME_LIMIT, "liar", bound=BEST + 1.0), "refuted by 7"),
        (_claim(Termination.INFEASIBLE, "liar"), "no solution"),
        (_claim(Termination.FAILED, "liar", message="out of licences"), "out of licences"),
        (die, "SIGKILL"),
    ],
)
def test_who_lies_or_dies_is_left_out_and_told(
    model: ScheduleModel, lie: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio, "HEAD_START_S", 600.0)  # the other one begins after the lie
    monkeypatch.setattr(portfolio, "LEAST_OPINION_S", 600.0)
    best = _solution(model)
    answer, left_out = _race(model, Fake("liar", lie), _claiming("honest", Fake, best))
    assert answer.termination is Termination.OPTIMAL
    assert (answer.objective, answer.solver) == (BEST, "honest")
    assert told in left_out.get("liar", "")


def test_values_are_judged_by_the_model(model: ScheduleModel) -> None:
    best = _solution(model)
    broken = dict.fromkeys(best.values, 0.0)
    cheap = Answer(Termination.OPTIMAL, "cheap", values=best.values, objective=BEST - 1.0)
    none = Answer(Termination.OPTIMAL, "none", values=broken, objective=0.0)
    answer, left_out = _race(
        model,
        Fake("cheap", lambda _: cheap),
        Fake("none", lambda _: none),
        Fake("honest", lambda _: best, delay_s=0.3),
    )
    assert (answer.termination, answer.objective) == (Termination.OPTIMAL, BEST)
    assert "objective of 6 where it is 7" in left_out["cheap"]
    assert "no solution" in left_out["none"]


def test_one_has_the_solution_and_another_one_the_proof(model: ScheduleModel) -> None:
    best = _solution(model)

    def solution(report: Report) -> Answer:
        report(Progress("solution", 0.0, values=best.values))
        return forever(report)

    def proof(report: Report) -> Answer:
        report(Progress("proof", 0.0, bound=float(BEST)))
        return forever(report)

    answer, _ = _race(model, Fake("solution", solution), Fake("proof", proof))
    assert (answer.termination, answer.objective) == (Termination.OPTIMAL, BEST)
    assert (answer.bound, answer.solver) == (BEST, "solution")


def test_what_cannot_be_is_said_once_nobody_objects(model: ScheduleModel) -> None:
    said = Fake("says so", _claim(Termination.INFEASIBLE, "says so"))
    answer, _ = _race(model, said, Fake("silent", forever))
    assert answer.termination is Termination.INFEASIBLE
    dead, _ = _race(model, Fake("one", die), Fake("other", die))
    assert dead.termination is Termination.FAILED
    assert "SIGKILL" in dead.message


def test_the_first_one_is_alone_until_it_ends_without_a_proof(
    model: ScheduleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its head start is."""
    monkeypatch.setattr(portfolio, "HEAD_START_S", 600.0)
    monkeypatch.setattr(portfolio, "LEAST_OPINION_S", 600.0)
    best, begun = _solution(model), tmp_path / "begun"

    def second(_: Report) -> Answer:
        begun.touch()
        return best

    answer, _ = _race(model, Fake("first", lambda _: best), Fake("second", second))
    assert (answer.termination, answer.objective) == (Termination.OPTIMAL, BEST)
    assert not begun.exists()
    for lie in (die, _claim(Termination.INFEASIBLE, "first")):
        answer, left_out = _race(model, Fake("first", lie), Fake("second", second))
        assert (answer.termination, answer.objective) == (Termination.OPTIMAL, BEST)
        assert list(left_out) == ["first"]


def test_models_of_intervals_are_begun_by_who_knows_them(
    model: ScheduleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others by a MIP solver: the first one that begins is the only one here."""
    monkeypatch.setattr(portfolio, "HEAD_START_S", 600.0)
    best = _solution(model)
    order = [("mip", Fake), ("other mip", Fake), ("cp", FakeCp), ("other cp", FakeCp)]
    answer, _ = _race(model, *(_claiming(name, kind, best) for name, kind in order))
    assert answer.solver == "cp"
    plain = pyo.ConcreteModel()
    plain.x = pyo.Var(bounds=(1, 3), domain=pyo.Integers)
    plain.objective = pyo.Objective(expr=plain.x)
    one = Answer(Termination.OPTIMAL, "", values={"x": 1.0}, objective=1.0, bound=1.0)
    racers = [_claiming(name, kind, one) for name, kind in reversed(order)]
    assert Portfolio(racers).solve(plain, OPTIONS).solver == "other mip"


class Killed(Highs):
    """A MIP solver whose process is killed from outside, whatever it is to solve."""

    name = "killed"

    def solve(self, *args: Any, **keys: Any) -> Answer:
        """Contain it as built-in solvers do."""
        return solve_contained(lambda *_: die(print), None, OPTIONS, solver=self.name)


def test_a_race_assigns_by_its_first_mip_solver_that_lives(
    registry: Registry, tmp_path: Path
) -> None:
    """It proves the plan before the race, which would begin with the one that knows intervals."""
    begun = tmp_path / "begun"

    def begin(report: Report) -> Answer:
        begun.touch()
        return forever(report)

    problem = small_problem(42)  # no bound without a solver proves it
    solvers = {
        **registry.solvers,
        "killed": Registered("killed", Killed(), "test"),
        "cp": Registered("cp", FakeCp("cp", begin), "test"),
    }
    known = evolve(registry, solvers=solvers)
    found = plan(problem, registry=known, solver="cp,killed,highs", time_limit_s=600.0)
    assert (found.status, begun.exists()) == ("optimal", False)
    failures = {row["stage"]: row["message"] for row in found.provenance["failures"]}
    assert "SIGKILL" in failures["killed"]


def test_the_others_count_less_than_the_first_one(
    model: ScheduleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tells how nice it is, more than this process; all begin at once here."""
    monkeypatch.setattr(portfolio, "HEAD_START_S", 0.0)
    here = os.nice(0)

    def nice(report: Report) -> Answer:
        return Answer(Termination.FAILED, "nice", message=str(os.nice(0) - here))

    _, told = _race(model, *(Fake(name, nice) for name in ("first", "second", "third")))
    most = str(min(portfolio.NICENESS, 19 - here))
    assert {name: text.rpartition(" ")[2] for name, text in told.items()} == {
        "first": "0",
        "second": most,
        "third": most,
    }


def _write_pid_and_sleep(channel: Channel, path: Path, *_: object) -> Answer:
    path.write_text(str(os.getpid()))
    return forever(channel.progress)


def test_ctrl_c_ends_all_and_leaves_no_process(model: ScheduleModel, tmp_path: Path) -> None:
    """Also those that a racer has started itself, as all built-in solvers do."""
    paths = [tmp_path / "one", tmp_path / "two"]
    best = _solution(model)

    def nested(path: Path) -> Any:
        def answer(report: Report) -> Answer:
            report(Progress("nested", 0.0, values=best.values))
            return solve_contained(_write_pid_and_sleep, path, OPTIONS, solver="nested")

        return answer

    def interrupt() -> None:
        while not all(path.exists() and path.read_text() for path in paths):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    answer, _ = _race(model, *(Fake(path.name, nested(path)) for path in paths))
    assert answer.termination is Termination.INTERRUPTED
    assert answer.objective == BEST
    until = time.monotonic() + 30.0
    while any(_runs(int(path.read_text())) for path in paths):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_names_make_a_portfolio(registry: Registry) -> None:
    both = named_solver(registry, "highs, cp-sat")
    assert isinstance(both, Portfolio)
    assert [racer.name for racer in both.racers] == ["highs", "cp-sat"]
    assert named_solver(registry, "highs") is registry.solvers["highs"].value
    with pytest.raises(InputError, match="did you mean 'highs'"):
        named_solver(registry, "cp-sat,hihgs", key="search.solver")
