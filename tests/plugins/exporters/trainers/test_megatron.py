"""Layouts and flags for Megatron-LM, and the order that it runs by itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.pipelines.pipeline import PassKind, passes_of
from parplan.plans import Plan
from parplan.plugins.exporters.trainers.megatron import ARGUMENTS_FILE, Megatron, read_arguments
from parplan.plugins.exporters.trainers.megatron_layout import (
    check_layout,
    layout_text,
    parse_layout,
)
from parplan.plugins.exporters.trainers.own_order import one_rank, own_program
from parplan.registry import Registry
from parplan.search.hand_made.baselines import recipes_of
from tests.plugins.exporters.trainers.decoders import LOOP, NAMES, V, decoder_plan


def test_layouts_are_read_as_published() -> None:
    # The example of Megatron-LM's guide: 61 decoder layers on 16 ranks, two stages on each.
    stages = parse_layout("Et*3|(tt|)*29,m|L")
    assert stages == ["Ettt", *["tt"] * 29, "m", "L"]
    check_layout(stages, ranks=16, layers=61)
    assert layout_text(stages) == "Ettt|(tt|)*29m|L"
    assert parse_layout("E(t|tt)*2,L") == ["Et", "ttt", "ttL"]


@given(st.lists(st.text("Etm", max_size=9), min_size=1, max_size=12))
def test_what_is_written_is_read_again(stages: list[str]) -> None:
    stages = [*stages[:-1], f"{stages[-1]}L"]
    assert parse_layout(layout_text(stages)) == stages


@pytest.mark.parametrize("text", ["Ex|L", "E|(tt", "E|t*0|L", "E t|L", "E|((t)*2)*2|L", "*3"])
def test_other_texts_are_no_layouts(text: str) -> None:
    with pytest.raises(InputError, match="is no layout"):
        parse_layout(text)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("Ett|t|L", "as many stages on each"),
        ("tEt|tL", "begin with the embedding"),
        ("Et|tL", "3 layers"),
        ("Etm|tt|t|L", "behind the others|not one of"),
        ("Ettt|m||L", "last stage of its rank"),
        ("Ett|m|t|L", "behind the others"),
    ],
)
def test_rules_of_layouts_are_checked(layout: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_layout(parse_layout(layout), ranks=2, layers=3)


@pytest.mark.parametrize(("name", "chunks"), [("1f1b", 1), ("interleaved-1f1b", 3)])
def test_its_own_order_is_that_of_the_recipe(name: str, chunks: int, registry: Registry) -> None:
    recipe = recipes_of(registry, (name,))[0]
    shape = recipe.shape(4, 8, chunks)
    assert shape is not None
    for rank, order in enumerate(recipe.orders(shape)):
        passes = [str(one) for one in passes_of(order) if one.kind is not PassKind.W]
        assert list(map(str, one_rank(rank, 4, chunks, 8, group=4))) == passes


def exported(plan: Plan, folder: Path, **options: Any) -> dict[str, str]:
    Megatron().export(plan, folder, options)
    return read_arguments((folder / ARGUMENTS_FILE).read_text())


def test_flags_hold_layout_and_degrees_and_the_cost_of_the_order_is_told(tmp_path: Path) -> None:
    plan = decoder_plan(LOOP)
    done = Megatron().export(plan, tmp_path, {"tensor": 8, "data": 2, "micro_batch": 3})
    flags = read_arguments((tmp_path / ARGUMENTS_FILE).read_text())
    assert flags["--pipeline-model-parallel-layout"] == "Et|t|t|tttL"
    assert (flags["--num-layers"], flags["--pipeline-model-parallel-size"]) == ("6", "2")
    assert (flags["--tensor-model-parallel-size"], flags["--global-batch-size"]) == ("8", "24")
    own, planned = done.figures["own_makespan_s"], done.figures["planned_makespan_s"]
    assert done.figures["own_order"] == "interleaved 1F1B, 2 stages on each rank"
    assert f"it takes {own:.4g} s, the plan {planned:.4g} s" in done.notes[0]
    assert own == own_program(plan, "Megatron-LM").makespan_s > 0
    # A shell reads the file as we do.
    shell = f'. ./{ARGUMENTS_FILE}; printf "%s\\n" "${{PIPELINE_ARGS[@]}}"'
    said = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split("\n")[:-1]
    assert said == [word for flag in flags.items() for word in flag]


def test_one_stage_on_each_rank_is_1f1b() -> None:
    plan = decoder_plan((0, 0, 0, 0, 0, 1, 1, 1, 1, 1), microbatches=3)
    program = own_program(plan, "Megatron-LM")
    kinds = ["".join(t.action.kind for t in rank.actions) for rank in program.ranks]
    assert kinds == ["FFBFBB", "FBFBFB"]


def flags_of_recomputation(flags: dict[str, str]) -> tuple[str, ...]:
    names = ("granularity", "method", "num-layers")
    return tuple(flags[f"--recompute-{n}"] for n in names if f"--recompute-{n}" in flags)


LAYERS = tuple(name for name in NAMES if name.startswith("layers"))


@pytest.mark.parametrize(
    ("again", "flags"),
    [
        ((), ()),
        (LAYERS, ("full", "uniform", "1")),
        (("layers.0", "layers.3"), ("full", "block", "1")),
        (("layers.0", "layers.1", "layers.3", "layers.4"), ("full", "block", "2")),
    ],
)
def test_stages_recompute_all_layers_or_as_many_of_their_first(
    again: tuple[str, ...], flags: tuple[str, ...], tmp_path: Path
) -> None:
    assert flags_of_recomputation(exported(decoder_plan(recompute=again), tmp_path)) == flags


def test_a_short_stage_may_recompute_all_of_its_layers(tmp_path: Path) -> None:
    places = (0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    plan = decoder_plan(places, recompute=("layers.0", "layers.1", "layers.2"))
    assert flags_of_recomputation(exported(plan, tmp_path)) == ("full", "block", "2")


@pytest.mark.parametrize(
    ("again", "said", "block", "longer"),
    [
        (("layers.1",), "keeps 'layers.0', layer 0 of stage 0", "1", "stage 1 .* 2 s longer"),
        (("layers.0",), "keeps 'layers.3', layer 0 of stage 1", "1", "stage 1 .* 2 s longer"),
        (LAYERS[:3], "recomputes 'layers.0', layer 0 of stage 0", "3", "stage 1 .* 6 s longer"),
    ],
)
def test_other_layers_are_refused_or_more_recompute_at_a_cost(
    again: tuple[str, ...], said: str, block: str, longer: str, tmp_path: Path
) -> None:
    plan = decoder_plan(recompute=again)
    with pytest.raises(InputError, match=said):
        Megatron().export(plan, tmp_path, {})
    done = Megatron().export(plan, tmp_path, {"recompute": "block"})
    flags = read_arguments((tmp_path / ARGUMENTS_FILE).read_text())
    assert flags_of_recomputation(flags) == ("full", "block", block)
    assert re.search(longer, done.notes[-1])
    assert flags_of_recomputation(exported(plan, tmp_path, recompute="none")) == ()
    assert flags_of_recomputation(exported(plan, tmp_path, recompute="full"))[1] == "uniform"


@pytest.mark.parametrize(
    ("plan", "options", "said"),
    [
        (decoder_plan(V), {}, "places stages in a loop"),
        (decoder_plan(LOOP, microbatches=5), {}, "cannot interleave 5 microbatches"),
        (decoder_plan((0, 0, 0, 0, 0, 0, 0, 0, 1, 1)), {}, "'final_norm' is in stage 0"),
        (decoder_plan(training=False), {}, "stage 0 on 'g0' has no backward pass"),
        (decoder_plan(), {"tensor": 0}, "at least 1"),
        (decoder_plan(names=[*NAMES[:3], "layers.7", *NAMES[4:]]), {}, "'layers.3' comes after"),
    ],
)
def test_what_megatron_cannot_run_is_named(
    plan: Plan, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        Megatron().export(plan, tmp_path, options)


def test_groups_of_microbatches_let_others_be_interleaved(tmp_path: Path) -> None:
    flags = exported(decoder_plan(LOOP, microbatches=5), tmp_path, group=5)
    assert flags["--microbatch-group-size-per-virtual-pipeline-stage"] == "5"
