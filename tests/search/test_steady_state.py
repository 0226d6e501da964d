"""Plans for a steady state: optimal on tiny graphs, with their proof; end to end by the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from parplan.api import plan
from parplan.checking.plans import check_plan
from parplan.cli import main
from parplan.plan_files.plan_file import load_plan
from parplan.registry import Registry
from tests.search.partitioning.tiny import least_seconds, tiny_problem

SPEC = """
model:
  operators:
    - {name: image, seconds: {"*": 4 ms}}
    - {name: text, seconds: {"*": 3 ms}}
    - {name: join, seconds: {"*": 2 ms}}
    - {name: head, seconds: {"*": 3 ms}}
  tensors:
    - {name: seen, producer: image, consumers: [join, head], bytes: 1 MB}
    - {name: read, producer: text, consumers: [join], bytes: 1 MB}
    - {name: joined, producer: join, consumers: [head], bytes: 1 MB}
cluster:
  devices:
    - {name: "gpu{}", count: 2, node: host}
  intra: {bandwidth: 1 GB/s, latency_s: 0 s}
constraints: [devices, links, memory, {placement: {contiguous: CONTIGUOUS}}]
objectives: [{steady-state: {leaves_once: true}}]
"""


@pytest.mark.parametrize("solver", ["", "highs"])
@pytest.mark.parametrize("contiguous", [False, True])
def test_plans_of_tiny_graphs_are_the_best_and_proven(
    registry: Registry, solver: str, contiguous: bool
) -> None:
    problem = tiny_problem(23, leaves_once=True, contiguous=contiguous)
    found = plan(problem, registry=registry, solver=solver, time_limit_s=120.0, workers=1)
    least = least_seconds(problem, contiguous=contiguous)
    assert found.objectives["steady-state"] == pytest.approx(least)
    assert found.status == "optimal"
    assert check_plan(found, registry) == ()


@pytest.mark.parametrize(("contiguous", "expected"), [("false", 0.006), ("true", 0.007)])
def test_the_command_plans_and_checks(
    tmp_path: Path, contiguous: str, expected: float, capsys: pytest.CaptureFixture[str]
) -> None:
    # Image and join halve the work, but text feeds join and both feed head: tensors go round.
    spec, out = tmp_path / "spec.yaml", tmp_path / "plan.json"
    spec.write_text(SPEC.replace("CONTIGUOUS", contiguous), encoding="utf-8")
    assert main(["plan", str(spec), "--output", str(out), "--time-limit", "120"]) == 0
    assert main(["check", str(out)]) == 0
    assert load_plan(out).objectives["steady-state"] == pytest.approx(expected)
    assert "steady-state" in capsys.readouterr().out
