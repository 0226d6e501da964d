"""A spec becomes a problem: importer, strategies, costs, rules and tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import frozen

from parplan.assembly import assemble_problem, share_modes
from parplan.contracts import CostModel, Importer, Strategy
from parplan.errors import InputError, PluginError
from parplan.graph import Estimate, Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Device
from parplan.hooks import hookimpl
from parplan.plugins.manager import load_registry
from parplan.problem import DEFAULT_CONSTRAINTS, Problem, Rule
from parplan.registry import Registry
from parplan.spec.schema import example_spec
from parplan.spec.sections import load_spec, parse_spec

INLINE = """\
model:
  operators:
    - {name: a, seconds: 2 ms, parameters: [w]}
    - {name: b, flops: 5 TFLOP, parameters: [w]}
  tensors:
    - {name: t, producer: a, consumers: [b], bytes: 4 MB}
  parameters: [{name: w, weight_bytes: 1 GB}]
"""
CLUSTER = """\
cluster:
  devices:
    - {name: x, kind: fast, peak_flops: {bf16: 1 PFLOP/s}, memory_bandwidth: 1 TB/s}
    - {name: y, kind: slow, peak_flops: {bf16: 500 TFLOP/s}, memory_bandwidth: 1 TB/s}
  links:
    - {source: x, target: y, bandwidth: 1 GB/s, two_way: true}
"""


class Files(Importer):
    name = "files"

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        if options.get("broken"):
            raise ZeroDivisionError("oh")
        operators = tuple(Operator(f"{path.name}.{i}") for i in range(options["count"]))
        return Graph("read", operators)


@frozen
class Twice(Strategy):
    name = "twice"
    speed: float = 1.0

    def apply(self, graph: Graph, problem_hint: Mapping[str, Any]) -> Graph:
        assert {"cluster", "workload"} <= set(problem_hint)
        modes = (Mode(seconds={"*": 1.0}), Mode("other", seconds={"*": self.speed}))
        return attrs.evolve(
            graph, operators=tuple(attrs.evolve(o, modes=modes) for o in graph.operators)
        )


class Seconds(CostModel):
    name = "seconds"

    def estimate(self, operator: Operator, mode: Mode, device: Device) -> Estimate | None:
        return Estimate(7.0, "seven", "here")


class Plugin:
    @hookimpl
    def parplan_importers(self) -> Iterable[Importer]:
        return [Files()]

    @hookimpl
    def parplan_strategies(self) -> Iterable[type[Strategy]]:
        return [Twice]

    @hookimpl
    def parplan_cost_models(self) -> Iterable[type[CostModel]]:
        return [Seconds]


@pytest.fixture(scope="module")
def extended() -> Registry:
    """parplan's own plugins, and those of this file."""
    return load_registry([Plugin()], installed=False)


def _assemble(text: str, registry: Registry, *overrides: str) -> Problem:
    return assemble_problem(parse_spec(text, overrides), registry)


def test_inline_operators_have_given_and_estimated_seconds(registry: Registry) -> None:
    problem = _assemble(INLINE + CLUSTER, registry)
    given, estimated = (operator.modes[0] for operator in problem.graph.operators)
    assert given.seconds == {"fast": 0.002, "slow": 0.002}
    assert estimated.seconds == {"fast": pytest.approx(0.005), "slow": pytest.approx(0.01)}
    assert problem.graph.tensors[0].bytes == 4 * 10**6


def test_first_cost_model_that_answers_wins(extended: Registry) -> None:
    spec = INLINE + CLUSTER
    problem = _assemble(spec + "costs: [measured, seconds, roofline]\n", extended)
    assert [o.modes[0].seconds["fast"] for o in problem.graph.operators] == [0.002, 7.0]
    problem = _assemble(spec + "costs: [seconds]\n", extended)
    assert [o.modes[0].seconds["fast"] for o in problem.graph.operators] == [7.0, 7.0]


def test_operator_without_any_cost_is_named(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"operator 'b' has no seconds on 'fast'"):
        _assemble(INLINE + CLUSTER + "costs: [measured]\n", registry)


def test_importer_reads_a_file_beside_the_spec(extended: Registry, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("")
    (tmp_path / "s.yaml").write_text(
        "model: {kind: files, file: m.txt, options: {count: 3}}\ncosts: [seconds]\n" + CLUSTER
    )
    problem = assemble_problem(load_spec(tmp_path / "s.yaml"), extended)
    assert [o.name for o in problem.graph.operators] == ["m.txt.0", "m.txt.1", "m.txt.2"]
    assert problem.name == "s"
    broken = load_spec(tmp_path / "s.yaml", ["model.options.broken=true"])
    with pytest.raises(PluginError, match=r"plugin 'files', in load.*ZeroDivisionError"):
        assemble_problem(broken, extended)
    with pytest.raises(InputError, match=r"model\.file: no such file: 'n\.txt'"):
        assemble_problem(load_spec(tmp_path / "s.yaml", ["model.file=n.txt"]), extended)


def test_strategies_offer_modes_in_order(extended: Registry) -> None:
    problem = _assemble(INLINE + CLUSTER + "strategies: [{twice: {speed: 3}}]\n", extended)
    assert [m.seconds["slow"] for m in problem.graph.operators[0].modes] == [1.0, 3.0]
    with pytest.raises(InputError, match=r"strategies\[0\]\.twice\.sped: unknown key.*'speed'"):
        _assemble(INLINE + CLUSTER + "strategies: [{twice: {sped: 3}}]\n", extended)


def test_defaults_come_first_and_a_named_default_is_replaced(registry: Registry) -> None:
    problem = _assemble(INLINE + CLUSTER, registry)
    assert problem.constraints == (*DEFAULT_CONSTRAINTS, Rule("weights"))
    rules = "constraints: [{weights: {replicas: true}}, memory]\n"
    problem = _assemble(INLINE + CLUSTER + rules, registry)
    assert [rule.name for rule in problem.constraints] == ["devices", "links", "weights", "memory"]
    assert problem.constraints[2] == Rule("weights", {"replicas": True})


def test_weights_matter_only_where_they_are_shared(registry: Registry) -> None:
    alone = INLINE.replace("flops: 5 TFLOP, parameters: [w]", "flops: 5 TFLOP")
    assert _assemble(alone + CLUSTER, registry).constraints == DEFAULT_CONSTRAINTS


def test_tick_is_chosen_or_given(registry: Registry) -> None:
    assert _assemble(INLINE + CLUSTER, registry).tick_s == 1e-3
    assert _assemble(INLINE + CLUSTER + "tick_s: 1 us\n", registry).tick_s == 1e-6


def test_inference_of_a_graph_that_trains_is_refused(registry: Registry) -> None:
    text = INLINE.replace("name: b,", "name: b, kind: backward,") + CLUSTER
    assert _assemble(text, registry).task_count == 2
    with pytest.raises(InputError, match=r"workload\.kind: is 'inference', but operator 'b'"):
        _assemble(text, registry, "workload.kind=inference")


def test_example_spec_can_be_planned_as_it_is(registry: Registry) -> None:
    problem = _assemble(example_spec(), registry)
    assert problem.task_count == 5 * 4 + 1


def test_equal_modes_become_one_object() -> None:
    modes = [Mode(seconds={"b": 2.0, "a": 1.0}), Mode(seconds={"a": 1.0, "b": 2.0}), Mode()]
    operators = tuple(Operator(f"o{i}", modes=(mode,)) for i, mode in enumerate(modes))
    shared = share_modes(Graph("g", operators)).operators
    assert shared[0].modes is shared[1].modes
    assert [o.modes for o in shared] == [o.modes for o in operators]


@pytest.mark.slow
def test_22000_operators_on_16_devices_assemble_in_seconds(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 22_000
    operators = tuple(
        Operator(f"o{i}", flops=1e12 * (1 + i % 13), parameters=(f"p{i // 3}",))
        for i in range(count)
    )
    tensors = tuple(
        Tensor(f"t{i}", f"o{i}", (f"o{i + 1}", f"o{min(i + 9, count - 1)}"), 1000 * (1 + i % 7))
        for i in range(count - 2)
    )
    groups = tuple(ParameterGroup(f"p{i}", 1000) for i in range(count // 3 + 1))
    graph = Graph("large", operators, tensors, groups)
    monkeypatch.setattr("parplan.assembly.load_graph", lambda *_: graph)
    problem = _assemble(
        "model: {operators: [{name: a}]}\n"
        "cluster:\n"
        "  devices:\n"
        "    - {preset: h100-sxm-80gb, count: 8, node: a, name: 'h{}'}\n"
        "    - {preset: a100-sxm-80gb, count: 8, node: b, name: 'a{}'}\n"
        "  intra: {preset: nvlink4}\n"
        "  inter: {preset: infiniband-ndr}\n"
        "workload: {microbatches: 16}\n",
        registry,
    )
    assert problem.task_count == count * 16
    assert len({id(o.modes[0]) for o in problem.graph.operators}) == 13
