"""Schedule files for PyTorch: accepted by PyTorch's own functions, and by checks that see more."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.plugins.exporters.torch_csv.checks import (
    Wiring,
    blocking_order,
    check_comms,
    check_compute,
    parse,
)
from parplan.plugins.exporters.torch_csv.exporter import (
    COMMS_FILE,
    COMPUTE_FILE,
    MANIFEST_FILE,
    Order,
    TorchCsv,
    TorchCsvOptions,
    compute_text,
    schedule_texts,
    torch_program,
)
from parplan.plugins.exporters.torch_csv.shards import with_shards
from parplan.registry import Registry
from parplan.stages.program import StageProgram
from tests.stages.samples import DIAMOND, dispatched, layered, layered_problem
from tests.stages.test_stage_program import ONE_WAY, plans, recipe_plan

TWO_STAGES = Wiring(
    2, 2, (0, 1), frozenset({(0, 1)}), frozenset({(1, 0)}), frozenset({0, 1})
)  # fmt: skip
GOOD = """\
0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD
1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1I1,1SEND_B1,1W1,1REDUCE_GRAD
"""


def program_of(plan: Plan) -> StageProgram:
    return torch_program(plan, TorchCsvOptions())


def diamond_plan(seed: int = 0, devices: int = 4) -> Plan:
    problem = layered_problem(layered(DIAMOND), devices, microbatches=3)
    places = {name: i % devices for i, name in enumerate(DIAMOND)}
    return dispatched(problem, places, seed)


def accepted_by_torch(program: StageProgram, texts: dict[str, str]) -> bool:
    """Whether PyTorch's own validation, lowering and simulation take the files of a chain."""
    from torch.distributed.pipelining import schedules

    def actions(text: str) -> dict[int, list[Any]]:
        rows = csv.reader(io.StringIO(text))
        return {r: [schedules._Action.from_str(cell) for cell in row] for r, row in enumerate(rows)}

    count, rank_of = len(program.stages), {s.index: s.rank for s in program.stages}
    compute = actions(texts[COMPUTE_FILE])
    ranks = len(program.ranks)
    if schedules._validate_schedule(compute, ranks, count, program.microbatches) != rank_of:
        return False
    lowered = schedules._add_send_recv(compute, rank_of.__getitem__, count)
    own = {
        rank: [a for a in row if a.computation_type is not schedules.REDUCE_GRAD]
        for rank, row in actions(texts[COMMS_FILE]).items()
    }
    if {rank: set(row) for rank, row in own.items()} != {r: set(a) for r, a in lowered.items()}:
        return False
    schedules._simulate_comms_compute(own, rank_of.__getitem__, count)  # raises on a deadlock
    return True


@pytest.mark.parametrize("name", ONE_WAY)
def test_recipes_are_taken_by_torch_and_no_rank_waits_in_a_circle(
    name: str, registry: Registry
) -> None:
    pytest.importorskip("torch")
    program = program_of(recipe_plan(name, registry))
    texts = schedule_texts(program)
    assert accepted_by_torch(program, texts)
    assert blocking_order(parse(texts[COMMS_FILE]), Wiring.of(program))
    # The whole backward of stage 0 takes the place of I or W: a step or two of one second each.
    assert program.makespan_s <= program.planned_makespan_s + 2.0


def test_exporting_writes_files_and_says_what_grouping_cost(
    registry: Registry, tmp_path: Path
) -> None:
    plan = recipe_plan("zb-h1", registry)
    done = TorchCsv().export(plan, tmp_path, {})
    assert [path.name for path in done.files] == [COMPUTE_FILE, COMMS_FILE, MANIFEST_FILE]
    assert re.match(r"4 stages on 4 ranks; re-timed stage by stage: \d+ s against", done.notes[0])
    read = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert read["files"] == {"compute_only": COMPUTE_FILE, "compute_comms": COMMS_FILE}
    rows = (tmp_path / COMPUTE_FILE).read_text().splitlines()
    assert [",".join(a["action"] for a in rank["actions"]) for rank in read["ranks"]] == rows
    assert read["makespan_s"] == done.figures["makespan_s"] == max(
        a["start_s"] + a["seconds"] for rank in read["ranks"] for a in rank["actions"]
    )  # fmt: skip
    with pytest.raises(InputError, match="slacks"):
        TorchCsv().export(plan, tmp_path, {"slacks": 0.1})


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_a_diamond_has_messages_but_no_file_without_them(devices: int) -> None:
    for seed in range(4):
        program = program_of(diamond_plan(seed, devices))
        assert list(schedule_texts(program)) == [COMMS_FILE]  # checked by check_comms


def test_numbers_follow_the_last_stage() -> None:
    problem = layered_problem(layered({"a": (), "b": ("a",)}), devices=2, microbatches=4)
    program = program_of(dispatched(problem, {"a": 0, "b": 1}, seed=3))
    assert program.numbers != (0, 1, 2, 3)
    assert sorted(program.numbers) == [0, 1, 2, 3]
    taken = [
        t.action.microbatch for t in program.ranks[1].actions if str(t.action).startswith("1F")
    ]
    assert taken == [0, 1, 2, 3]
    # Where microbatches come at times of their own, numbers mean something: that costs.
    workload = attrs.evolve(problem.workload, releases_s=(0.0, 1.0, 2.0, 3.0))
    released = dispatched(attrs.evolve(problem, workload=workload), {"a": 0, "b": 1}, seed=3)
    with pytest.raises(InputError, match="order=repair"):
        program_of(released)
    repaired = torch_program(released, TorchCsvOptions(order=Order.REPAIR))
    assert repaired.numbers == (0, 1, 2, 3)
    assert repaired.makespan_s > program.makespan_s
    schedule_texts(repaired)


def test_microbatches_of_unequal_size_are_refused(registry: Registry) -> None:
    plan = recipe_plan("gpipe", registry, 2, 2)
    workload = attrs.evolve(plan.problem.workload, scales=(1.0, 2.0))
    problem = attrs.evolve(plan.problem, workload=workload)
    with pytest.raises(InputError, match="differ in size"):
        program_of(attrs.evolve(plan, problem=problem))


@settings(max_examples=25, deadline=None)
@given(plans())
def test_any_plan_has_checked_files_or_an_error_that_says_why(plan: Plan) -> None:
    try:
        program = program_of(plan)
        texts = schedule_texts(program)
    except InputError as error:
        # Several last stages in different orders, or sends that no order fits.
        assert re.search("order=repair|cannot run the messages", error.message)  # noqa: PT017
        return
    assert (COMPUTE_FILE in texts) == program.is_chain
    for name, text in texts.items():
        (check_compute if name == COMPUTE_FILE else check_comms)(text, Wiring.of(program))


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        # PyTorch runs these three with wrong gradients, and says nothing.
        ("1F0,1B0,1SEND_B0,1RECV_F1,1F1", "1RECV_F1,1F1,1F0,1B0,1SEND_B0", "losses"),
        ("0SEND_F0,0F1,0SEND_F1", "0F1,0SEND_F1,0SEND_F0", "take one for the other"),
        ("0B1,0REDUCE_GRAD", "0B1", "as many times too large"),
        ("0RECV_B1,0B1,0REDUCE_GRAD", "0REDUCE_GRAD,0RECV_B1,0B1", "comes before 0B1"),
        ("0B1,0REDUCE_GRAD", "0B1,0REDUCE_GRAD,0REDUCE_GRAD", "twice"),
        ("1SEND_B1,", "", "1SEND_B1 does not come after 1I1"),
        ("0RECV_B0,0B0", "0B0,0RECV_B0", "0RECV_B0 does not come before 0B0"),
        ("1I1,1SEND_B1,1W1", "1W1,1I1,1SEND_B1", "I before W"),
        ("1B0", "1B0,1W0", r"needs B\+F or F\+I\+W"),
        ("0B0", "0I0,0W0", "first stage"),
        ("0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0", "0RECV_B0,0F0,0SEND_F0,0F1,0SEND_F1", ""),
        ("0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0", "0F0,0SEND_F0,0RECV_B0,0B0,0F1,0SEND_F1", ""),
        ("1RECV_F0,1F0", "1RECV_F0,1F0,0F1", "row 1"),
        (",0F1", ", 0F1", "no action"),
        (",0F1", ",,0F1", "no action"),
        ("0F1", "0FULL1", "no action"),
        ("0F1", "0F01", "no action"),
        ("1REDUCE_GRAD\n", "1REDUCE_GRAD", "rows|form"),
        # Stages that FSDP2 shards: PyTorch's runtime stops, some of it in the second step only.
        ("0F0", "0UNSHARD,0F0", "stage 0 is whole at the end"),
        ("0F0", "0UNSHARD,0RESHARD,0F0", "has not computed since"),
        ("0F0", "0UNSHARD,0F0,0UNSHARD", "whole already"),
        ("0F0,", "0UNSHARD,0F0,0RESHARD,", "0F1 computes while its stage is sharded"),
    ],
)
def test_mistakes_in_messages_are_found(was: str, becomes: str, said: str) -> None:
    check_comms(GOOD, TWO_STAGES)
    assert was in GOOD
    changed = GOOD.replace(was, becomes, 1)
    if not said:  # a change that does no harm
        check_comms(changed, TWO_STAGES)
        return
    with pytest.raises(InputError, match=said):
        check_comms(changed, TWO_STAGES)


def test_mistakes_in_computation_are_found() -> None:
    good = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1I1,1W1\n"
    check_compute(good, TWO_STAGES)
    for was, becomes, said in (
        ("1F0,1B0,1F1", "1F1,1F0,1B0", "losses"),
        ("0F0,0F1,0B0", "0F0,0B0,0B1,0F1", "F comes first|twice"),
        ("0F1,0B0,0B1", "0B0,0B1", "needs"),
        ("0F0,0F1,0B0,0B1\n", "", "1 rows for 2 ranks"),
        ("0F0", "0SEND_F0,0F0", "none of"),
    ):
        with pytest.raises(InputError, match=said):
            check_compute(good.replace(was, becomes, 1), TWO_STAGES)
    diamond = Wiring.of(program_of(diamond_plan()))
    with pytest.raises(InputError):
        check_compute(good, diamond)


def test_ranks_that_wait_for_each_other_are_found() -> None:
    # Stages 0 and 2 on rank 0: its order asks for stage 2 before stage 0 has sent to stage 1.
    chain = Wiring(2, 1, (0, 1, 0), frozenset({(0, 1), (1, 2)}), frozenset(), frozenset())
    check_compute("0F0,2F0\n1F0\n", chain)
    with pytest.raises(InputError, match="deadlock: 2F0"):
        check_compute("2F0,0F0\n1F0\n", chain)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 7))
def test_stages_are_gathered_and_freed_as_pytorch_does_it(stages: list[int], most: int) -> None:
    """PyTorch adds the same cells by itself to files without messages, always for three stages."""
    from torch.distributed.pipelining.schedules import _Action, _add_unshard_reshard

    row = [f"{stage}F{i}" for i, stage in enumerate(stages)]
    theirs = map(str, _add_unshard_reshard([_Action.from_str(cell) for cell in row], most))

    def between(cells: Iterable[str]) -> list[set[str]]:
        found: list[set[str]] = [set()]
        for cell in cells:
            found[-1].add(cell)
            found += [set()] if cell in row else []
        return found

    assert between(with_shards(row, most)) == between(theirs)


def test_sharded_stages_are_whole_while_they_compute(tmp_path: Path, registry: Registry) -> None:
    plan = recipe_plan("interleaved-1f1b", registry, 2, 4)
    for unsharded in (1, 2):
        done = TorchCsv().export(plan, tmp_path, {"unsharded": unsharded})
        text = (tmp_path / COMMS_FILE).read_text()  # checked by check_comms
        assert "UNSHARD" in text
        assert "UNSHARD" not in (tmp_path / COMPUTE_FILE).read_text()
        weights = {g.name: g.weight_bytes for g in plan.problem.graph.parameters}
        program = program_of(plan)
        own = [
            sorted(sum(weights[p] for p in s.parameters) for s in program.stages if s.rank == rank)
            for rank in range(2)
        ]
        assert done.figures["whole_weight_bytes"] == [sum(sizes[-unsharded:]) for sizes in own]
    with pytest.raises(InputError, match="at least 0"):
        TorchCsv().export(plan, tmp_path, {"unsharded": -1})


@pytest.mark.parametrize("name", ["1f1b", "dualpipe-v", "zb-h1"])
def test_passes_that_overlap_are_taken_by_torch(
    name: str, tmp_path: Path, registry: Registry
) -> None:
    from torch.distributed.pipelining import schedules

    plan = recipe_plan(name, registry, 2, 6)
    TorchCsv().export(plan, tmp_path, {"overlap": True})
    text = (tmp_path / COMPUTE_FILE).read_text()
    program = program_of(plan)
    rows = {
        rank: [schedules._Action.from_str(cell) for cell in line.split(",")]
        for rank, line in enumerate(text.splitlines())
    }
    pairs = [a for row in rows.values() for a in row if a.sub_actions]
    assert pairs
    assert all({str(a)[-11:] for a in pairs} == {"OVERLAP_F_B"} for a in pairs)
    for rank, row in rows.items():  # the same actions in the same order
        flat = [str(one) for action in row for one in (action.sub_actions or [action])]
        assert flat == [str(timed.action) for timed in program.ranks[rank].actions]
    rank_of = {s.index: s.rank for s in program.stages}
    count = len(program.stages)
    found = schedules._validate_schedule(rows, 2, count, program.microbatches)
    assert found == rank_of
    schedules._add_send_recv(rows, rank_of.__getitem__, count)  # raises on a deadlock


def test_overlaps_that_are_none_are_found(registry: Registry) -> None:
    with pytest.raises(InputError, match="nothing overlaps"):
        compute_text(program_of(recipe_plan("gpipe", registry, 2, 1)), overlap=True)
    with pytest.raises(InputError, match="as_chain=true"):
        compute_text(program_of(diamond_plan()), overlap=True)
    good = "0F0,(0F1;0B0)OVERLAP_F_B,0B1\n1F0,1B0,1F1,1I1,1W1\n"
    check_compute(good, TWO_STAGES)
    for was, becomes, said in (
        ("0F0,(0F1;0B0)OVERLAP_F_B", "(0F0;0F1)OVERLAP_F_B,0B0", "no forward pass with"),
        ("1F0,1B0,", "(1F0;1B0)OVERLAP_F_B,", "has one microbatch"),
        ("1F0,1B0,1F1,1I1", "1F0,(1F1;1B0)OVERLAP_F_B,1I1", "deadlock"),
        ("(0F1;0B0)OVERLAP_F_B", "(0F1;0B0)", "no action"),
    ):
        with pytest.raises(InputError, match=said):
            check_compute(good.replace(was, becomes, 1), TWO_STAGES)
    with pytest.raises(InputError, match="where no passes overlap"):
        check_comms(good, TWO_STAGES)
