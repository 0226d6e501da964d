"""Graphs of stages made chains: PyTorch takes them, and what they cost is told."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.chains import Passed, passed
from parplan.plugins.exporters.torch_csv.exporter import (
    COMPUTE_FILE,
    TorchCsv,
    TorchCsvOptions,
    schedule_texts,
    torch_program,
)
from parplan.plugins.exporters.trainers.deepspeed import DeepSpeed
from parplan.plugins.exporters.trainers.torchtitan import TorchTitan
from tests.plugins.exporters.torch_csv.test_torch_csv import accepted_by_torch, diamond_plan
from tests.plugins.exporters.trainers.decoders import decoder_plan
from tests.stages.test_stage_program import plans

CHAIN = TorchCsvOptions(as_chain=True)
SKIPPING = decoder_plan(
    (0, 1, 2, 2),
    names=["embedding", "layers.0", "layers.1", "head"],
    reads={
        "embedding": (),
        "layers.0": ("embedding",),
        "layers.1": ("embedding", "layers.0"),
        "head": ("layers.1",),
    },
)
"""Three stages on three devices; the last reads from both others, 4 bytes each."""


def test_what_skips_a_stage_passes_through_it_once(tmp_path: Path) -> None:
    plan = diamond_plan()
    program = torch_program(plan, CHAIN)
    # source > left, right > join: 'right' gets the source's through 'left', 'join' the left's
    # through 'right'. Links take a second for a message of any size.
    assert [(e.source, e.target, e.bytes) for e in program.edges] == [
        (0, 1, 4),
        (1, 2, 8),
        (2, 3, 8),
    ]
    assert passed(plan, program) == (
        Passed(1, 2, bytes=8, gradient_bytes=8, seconds=0.0),
        Passed(2, 3, bytes=4, gradient_bytes=4, seconds=0.0),
    )
    graph = torch_program(plan, TorchCsvOptions())
    assert program.makespan_s > graph.makespan_s
    # 'right' keeps what it only hands on; 'left' had kept it for itself.
    more = [
        a.saved_bytes - b.saved_bytes for a, b in zip(program.stages, graph.stages, strict=True)
    ]
    assert more == [0, 0, 4, 0]
    done = TorchCsv().export(plan, tmp_path, {"as_chain": True})
    assert (tmp_path / COMPUTE_FILE).is_file()
    assert done.figures["chain"]
    assert done.figures["graph_makespan_s"] == graph.makespan_s
    assert any("as a chain it takes" in note for note in done.notes)


@settings(max_examples=15, deadline=None)
@given(plans())
def test_any_graph_is_a_chain_that_torch_takes_or_an_error_that_says_why(plan: Plan) -> None:
    try:
        program = torch_program(plan, CHAIN)
    except InputError as error:
        assert re.search("order=repair|backward pass|no gradient", error.message)  # noqa: PT017
        return
    assert program.is_chain
    texts = schedule_texts(program)
    assert COMPUTE_FILE in texts
    if program.is_training:
        assert accepted_by_torch(program, texts)


def test_a_chain_stays_as_it_is(tmp_path: Path) -> None:
    plan = decoder_plan()
    assert torch_program(plan, CHAIN) == torch_program(plan, TorchCsvOptions())


def test_trainers_take_the_chain_and_refuse_the_graph(tmp_path: Path) -> None:
    for exporter in (TorchTitan(), DeepSpeed()):
        with pytest.raises(InputError, match="as_chain=true"):
            exporter.export(SKIPPING, tmp_path, {})
        done = exporter.export(SKIPPING, tmp_path, {"as_chain": True})
        assert any("was made a chain" in note for note in done.notes)
        (one,) = done.figures["passed"]
        assert (one["source"], one["target"], one["bytes"]) == (1, 2, 4)


def test_neighbours_without_a_link_are_named() -> None:
    plan = diamond_plan()
    cluster = plan.problem.cluster
    links = tuple(link for link in cluster.links if link.name != "g2>g1")
    problem = attrs.evolve(plan.problem, cluster=attrs.evolve(cluster, links=links))
    schedule = attrs.evolve(plan.schedule, problem=problem)
    with pytest.raises(InputError, match="nothing can be sent from 'g2' to 'g1'"):
        torch_program(attrs.evolve(plan, problem=problem, schedule=schedule), CHAIN)
