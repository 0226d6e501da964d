"""Plan files hold all of a plan, and hostile ones are refused with one clear message."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.plan_files.plan_file import load_plan, load_problem, save_plan, save_problem
from parplan.plans import Bound, Plan
from parplan.problem import Problem, Rule
from parplan.schedule import Schedule, Tasks, Transfers
from tests.examples import chain
from tests.strategies import problems, schedules

OPTIONS = st.dictionaries(
    st.text("abc", min_size=1),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("xyz"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("def", min_size=1), inner),
        max_leaves=5,
    ),
    max_size=3,
)
BOUNDS = st.none() | st.builds(
    Bound, st.floats(allow_nan=False), st.text("ps"), st.text("xy"), st.booleans()
)


def _columns(rows: Tasks | Transfers) -> dict[str, list[int]]:
    return {f.name: getattr(rows, f.name).tolist() for f in attrs.fields(type(rows))}


@settings(max_examples=25)
@given(schedules(), OPTIONS, BOUNDS, st.sampled_from(["plan.json", "plan.json.gz"]))
def test_loading_undoes_saving(
    tmp_path_factory: pytest.TempPathFactory,
    schedule: Schedule,
    options: dict[str, Any],
    bound: Bound | None,
    name: str,
) -> None:
    problem = attrs.evolve(
        schedule.problem, constraints=(Rule("memory"), Rule("other", options)), tick_s=0.1
    )
    schedule = Schedule(problem, schedule.tasks, schedule.transfers)
    values = {"makespan": 1.5, "traffic": float("inf")}
    plan = Plan(problem, schedule, values, bound, "optimal", "list", {"seed": 3, **options})
    path = tmp_path_factory.mktemp("plan") / name
    save_plan(plan, path)
    again = load_plan(path)
    assert again.problem == problem
    assert _columns(again.schedule.tasks) == _columns(schedule.tasks)
    assert _columns(again.schedule.transfers) == _columns(schedule.transfers)
    assert again.schedule.problem is again.problem
    for what in ("objectives", "bound", "status", "solver", "provenance"):
        assert getattr(again, what) == getattr(plan, what)


@settings(max_examples=25)
@given(problems())
def test_loading_a_problem_undoes_saving(
    tmp_path_factory: pytest.TempPathFactory, problem: Problem
) -> None:
    path = tmp_path_factory.mktemp("problem") / "problem.json"
    save_problem(problem, path)
    assert load_problem(path) == problem


def test_shared_modes_stay_one_object(tmp_path: Path) -> None:
    save_problem(chain(50), tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    assert len(data["problem"]["graph"]["modes"]) == 1
    operators = load_problem(tmp_path / "p.json").graph.operators
    assert len({id(operator.modes[0]) for operator in operators}) == 1


def test_numpy_sets_and_tuples_in_provenance_are_written(tmp_path: Path) -> None:
    plan = attrs.evolve(
        _plan(), provenance={"seconds": np.float64(1.5), "names": {"b", "a"}, "pair": (1, None)}
    )
    save_plan(plan, tmp_path / "p.json")
    loaded = load_plan(tmp_path / "p.json").provenance
    assert loaded == {"seconds": 1.5, "names": ["a", "b"], "pair": [1, None]}


def test_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    plan = attrs.evolve(_plan(), provenance={"made": {"by": object()}})
    with pytest.raises(InputError, match=r"provenance\.made\.by: a object cannot be written"):
        save_plan(plan, tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": {"makespan": float("nan")}}, "the plan has no form in JSON"),
        ({"solver": "\ud800"}, "half a character"),
    ],
)
def test_what_no_file_can_say_leaves_the_old_file(
    saved: Path, change: dict[str, Any], message: str
) -> None:
    before = saved.read_bytes()
    with pytest.raises(InputError, match=message):
        save_plan(attrs.evolve(_plan(), **change), saved)
    assert saved.read_bytes() == before


@pytest.mark.slow
def test_plan_of_400000_tasks_stays_small_and_fast(tmp_path: Path) -> None:
    problem = chain(4000, devices=2, microbatches=100)
    chance = np.random.default_rng(0)
    rows = problem.task_count
    tasks = Tasks(
        np.repeat(np.arange(4000), 100),
        np.tile(np.arange(100), 4000),
        np.repeat(chance.integers(0, 2, 4000), 100),
        np.sort(chance.integers(0, 10**9, rows)),
    )
    none = np.empty(0, dtype=np.int64)
    schedule = Schedule(problem, tasks, Transfers(none, none, none, none, none))
    path = tmp_path / "plan.json.gz"
    save_plan(Plan(problem, schedule, {"makespan": 1.0}), path)
    assert path.stat().st_size < 3 * 2**20
    assert _columns(load_plan(path).schedule.tasks) == _columns(tasks)


def _plan() -> Plan:
    problem = chain(2, devices=2, microbatches=2)
    tasks = Tasks([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 2, 3])
    transfers = Transfers([0, 0], [0, 1], [0, 0], [1, 1], [1, 2])
    return Plan(problem, Schedule(problem, tasks, transfers), {"makespan": 4.0}, Bound(3.0))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A plan file."""
    path = tmp_path / "plan.json"
    save_plan(_plan(), path)
    return path


Damage = Callable[[dict[str, Any]], Any]


def _set(*path: Any, to: Any) -> Damage:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_set("format", to="parplan-problem"), "is 'parplan-problem'; a plan file says"),
        (_set("format", to=5), "is no file of parplan"),
        (_set("version", to=2), "version: 2 is not the version that parplan"),
        (_set("version", to="1"), "version: 1 is not the version"),
        (_set("version", to=True), "version: True is not the version"),
        (_set("more", to=1), "has the keys format, more"),
        (_set("plan", to=[]), "is no mapping"),
        (_set("plan", "tasks", to=None), "tasks: None is no mapping"),
        (_set("plan", "tasks", "start", to=[0, 1, 2]), "tasks.start: has 3 rows; it needs 4"),
        (_set("plan", "tasks", "start", to=[0, 1, 2, "3"]), "tasks.start: holds something"),
        (_set("plan", "tasks", "start", to=[0, 1, 2, 2**70]), "tasks.start: holds an integer"),
        (_set("plan", "tasks", "more", to=[]), "tasks: has the keys"),
        (_set("plan", "tasks", "length", to=2**60), "tasks.length:"),
        (_set("plan", "tasks", "length", to=-1), "tasks.length:"),
        (_set("plan", "tasks", "operator", to=[0, 0, 1, 2]), "tasks.operator: row 3 is 2"),
        (_set("plan", "tasks", "alternative", to=[0, 0, 0, 2]), "tasks.alternative: row 3 is 2"),
        (_set("plan", "tasks", "microbatch", to=[0, 1, -2, 0]), "tasks.microbatch: row 2 is -2"),
        (_set("plan", "transfers", "target", to=[1, 5]), "transfers.target: row 1 is 5"),
        (_set("plan", "transfers", "tensor", to=[-1, 0]), "transfers.tensor: row 0 is -1"),
        (_set("plan", "objectives", to={}), "objectives: names no objective"),
        (_set("plan", "objectives", to={"makespan": "x"}), "objectives.makespan: 'x' is not"),
        (_set("plan", "problem", "tick_s", to=0), "problem: tick_s is 0"),
        (_set("plan", "problem", "tick_s", to="inf"), "problem.tick_s: 'inf' is no time"),
        (_set("plan", "problem", "workload", "microbatches", to=0), "microbatches is 0"),
        (_set("plan", "problem", "graph", "operators", 0, "modes", to=[7]), "7 is not one of"),
        (_set("plan", "problem", "graph", "operators", 0, "modes", to=[{}]), "{} is not one of"),
        (_set("plan", "problem", "graph", "operators", 1, "name", to="o0"), "are named 'o0'"),
        (_set("plan", "problem", "graph", "modes", 0, "seconds", to=-1), "problem.graph.modes[0]"),
        (_set("plan", "problem", "graph", "tensors", 0, "consumers", to=["o0"]), "its own result"),
        (_set("plan", "problem", "cluster", "links", 0, "source", to="g9"), "unknown device"),
        (_set("plan", "problem", "constraints", to=[5]), "problem.constraints[0]: 5 is neither"),
        (_set("plan", "bound", to={"value": 1, "proof": 2}), "bound.proof: unknown key"),
        (_set("plan", "objectives", "makespan", to=float("nan")), "NaN is not a number in JSON"),
    ],
)
def test_damaged_plan_is_refused(saved: Path, damage: Damage, message: str) -> None:
    data = json.loads(saved.read_text())
    damage(data)
    saved.write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        load_plan(saved)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(saved))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b"name: spec", "is no JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"format":"parplan-plan","version":1,"parplan":"","plan":' + b'{"a":' * 900
         + b"1" + b"}" * 901, "unknown key 'a'"),
        (b'{"plan": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b"\xff\xfe\x00", "no plan file|is no JSON"),
        (b"[]", "is no file of parplan"),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json.*({message})"):
        load_plan(tmp_path / "a.json")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_plan_is_refused(saved: Path, part: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=r"ends too early|is no JSON"):
        load_plan(saved)


def test_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parplan.files.json_file.SIZE_LIMIT", 1000)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b" " * 10**6))
    with pytest.raises(InputError, match="larger than the 1,000 bytes"):
        load_plan(tmp_path / "a.json.gz")


def test_plan_and_problem_are_told_apart(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(InputError, match="a problem file says"):
        load_problem(saved)
