"""Tables of stages: the same graph from CSV, YAML and options, and every fault with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.assembly import assemble_problem
from parplan.errors import InputError
from parplan.graph import Graph, Kind
from parplan.plugins.importers.stages import Stages
from parplan.registry import Registry
from parplan.spec.sections import parse_spec

TABLE = """forward_s, backward_s, weight_s, activation_bytes, released_at_backward, split_backward
2 ms, 3 ms, 1 ms, 10 MB, 0.5, false
0.004, 0.005, 0, 20, 0.25, true
"""


def shape(graph: Graph) -> tuple[object, ...]:
    """All of a graph but its name."""
    return graph.operators, graph.tensors, graph.parameters


def test_a_file_and_options_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"forward_s": "2 ms", "backward_s": "3 ms", "weight_s": "1 ms", "split_backward": False,
         "activation_bytes": "10 MB", "released_at_backward": 0.5},
        {"forward_s": 0.004, "backward_s": 0.005, "weight_s": 0.0, "split_backward": True,
         "activation_bytes": 20, "released_at_backward": 0.25},
    ]  # fmt: skip
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "table.yaml").write_text(str(rows))
    more = {"parameter_bytes": 7, "boundary_bytes": "1 kB"}
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    graphs = [Stages().load(tmp_path / name, more) for name in ("table.csv", "table.yaml")]
    graphs.append(Stages().build({**columns, **more}))
    assert shape(graphs[0]) == shape(graphs[1]) == shape(graphs[2])
    seconds = {o.name: o.modes[0].seconds["*"] for o in graphs[0].operators}
    assert seconds == {
        "stages.0:forward": 0.002,
        "stages.0:backward": pytest.approx(0.004),
        "stages.1:forward": 0.004,
        "stages.1:backward-input": 0.005,
        "stages.1:backward-weight": 0.0,
    }
    assert [(t.producer, t.consumers, t.bytes) for t in graphs[0].tensors] == [
        ("stages.0:forward", ("stages.0:backward",), 5_000_000),
        ("stages.0:forward", ("stages.0:backward",), 5_000_000),
        ("stages.0:forward", ("stages.1:forward",), 1000),
        ("stages.1:forward", ("stages.1:backward-input",), 5),
        ("stages.1:forward", ("stages.1:backward-input", "stages.1:backward-weight"), 15),
        ("stages.1:backward-input", ("stages.1:backward-weight",), 0),
        ("stages.1:backward-input", ("stages.0:backward",), 1000),
    ]
    assert [(p.name, p.bytes) for p in graphs[0].parameters] == [("stages.0", 7), ("stages.1", 7)]


@given(
    stages=st.integers(1, 5),
    size=st.integers(0, 9),
    part=st.floats(0, 1),
    split=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_passes_of_a_microbatch_follow_each_other(
    stages: int, size: int, part: float, split: list[bool]
) -> None:
    """Whatever is left out or split: forwards in turn, backwards in turn, weights after inputs."""
    graph = Stages().build(
        {"forward_s": 1.0, "backward_s": 2.0, "weight_s": 3.0, "activation_bytes": size,
         "released_at_backward": part, "split_backward": split[:stages]}
    )  # fmt: skip
    names = [graph.operators[o].name for o in graph.topological_order]
    place = {name: i for i, name in enumerate(names)}
    forwards = [o.name for o in graph.operators if o.kind is Kind.FORWARD]
    inputs = [o.name for o in graph.operators if o.kind in (Kind.BACKWARD, Kind.BACKWARD_INPUT)]
    chain = [*forwards, *reversed(inputs)]
    assert [place[name] for name in chain] == sorted(place[name] for name in chain)
    for s in range(stages):
        kept = [t for t in graph.tensors if t.producer == forwards[s] and t.consumers
                and t.consumers[0] == inputs[s]]  # fmt: skip
        assert sum(t.bytes for t in kept) == size
        if split[s]:
            assert place[f"stages.{s}:backward-weight"] > place[inputs[s]]
    assert sum(o.modes[0].seconds["*"] for o in graph.operators) == 6.0 * stages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forward_s": 1.0, "backward_s": 1.0}, "says nowhere how many stages there are"),
        ({"forward_s": [1.0, 2.0], "backward_s": [1.0]}, "backward_s: has 1 entries for 2 stages"),
        ({"stages": 2, "forward_s": 1.0}, r"model.options.backward_s: is missing"),
        ({"stages": 0}, "stages: is 0; give 1 to"),
        ({"stages": 1, "forward_s": -1.0, "backward_s": 1.0}, "forward_s: is -1.0; it must be"),
        (
            {"stages": 1, "forward_s": 1, "backward_s": 1, "released_at_backward": 2},
            "released_at_backward: is 2.0; it is a part, from 0 to 1",
        ),
        ({"stages": 1, "forwards": 1}, "did you mean 'forward_s'"),
        ({"stages": 1, "forward_s": "1 GB"}, "forward_s"),
    ],
)
def test_faults_in_options_name_the_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Stages().build(options)


@pytest.mark.parametrize(
    ("text", "options", "line", "message"),
    [
        (
            "forward_s,backward_s\n1,2\n1,x\n",
            {},
            3,
            "stage 1: backward_s: 'x' is no time; write e.g. '1.5 ms'",
        ),
        ("forward_s,backward_s\n1,2,3\n", {}, 2, "more than the 2 cells of the header"),
        ("forward_s,backward_s\n1,\n", {}, 2, "stage 0: backward_s: is missing"),
        ("forward_s,backwards\n1,2\n", {}, 2, "did you mean 'backward_s'"),
        ("forward_s,backward_s\n", {}, None, "has no row below its header"),
        ("forward_s\n1\n", {"forward_s": 1.0}, None, "given here and in the file"),
        ("forward_s,backward_s\n1,2\n", {"stages": 2}, None, "is 2, but the file has 1 rows"),
    ],
)
def test_faults_in_a_file_name_line_and_stage(
    text: str, options: dict[str, Any], line: int | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        Stages().load(tmp_path / "table.csv", options)
    assert error.value.line == line


def test_a_list_of_rows_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text("forward_s: 1\n")
    with pytest.raises(InputError, match="is no list of stages"):
        Stages().load(tmp_path / "table.yaml", {})


def test_a_spec_needs_no_file(registry: Registry) -> None:
    text = "model: {kind: stages, options: {stages: 3, forward_s: 1 ms, backward_s: 2 ms}}\n"
    spec = parse_spec(text + "cluster: {devices: [{name: g, kind: any}]}\n")
    problem = assemble_problem(spec, registry)
    assert len(problem.graph.operators) == 9
    assert problem.ticks(0, problem.alternatives[0][0], 0) * problem.tick_s == 0.001
