"""Reads ``stages.json`` of the exporter ``torch-csv``: a plan as stages and timed actions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from parplan.errors import InputError
from parplan.files.atomic import read_bytes
from parplan.spec.structuring import structure
from parplan.stages.program import (
    Action,
    ActionKind,
    Edge,
    Rank,
    Stage,
    StageProgram,
    TimedAction,
)

FORMAT, VERSION = "parplan-torch-stages", 1

MAXIMUM_BYTES = 2**30

_ACTION = re.compile(r"(\d+)([FBIW])(\d+)")


@frozen
class _Stage:
    stage: int
    rank: int
    device: str
    modules: tuple[str, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    weight: tuple[str, ...]
    once: tuple[str, ...]
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]
    parameters: tuple[str, ...]
    parameter_bytes: int
    saved_bytes: int


@frozen
class _Action:
    action: str
    planned_start_s: float
    start_s: float
    seconds: float


@frozen
class _Rank:
    device: str
    peak_bytes: int
    actions: tuple[_Action, ...]


@frozen
class _Manifest:
    format: str
    version: int
    parplan: str
    name: str
    microbatches: int
    planned_microbatches: tuple[int, ...]
    chain: bool
    training: bool
    planned_makespan_s: float
    makespan_s: float
    stages: tuple[_Stage, ...]
    edges: tuple[Edge, ...]
    ranks: tuple[_Rank, ...]
    files: Mapping[str, str] = field(factory=dict)


def read_manifest(path: Path) -> StageProgram:
    """Return the stage program in a manifest.

    Raises
    ------
    InputError
        Naming the file and the key at fault.
    """
    try:
        data = json.loads(read_bytes(path, MAXIMUM_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON, or truncated: {error}", file=str(path)) from None
    found = structure(data, _Manifest, file=str(path))
    if (found.format, found.version) != (FORMAT, VERSION):
        raise InputError(
            f"is '{found.format}' version {found.version}; this runs '{FORMAT}' version {VERSION}",
            file=str(path),
        )
    return StageProgram(
        name=found.name,
        microbatches=found.microbatches,
        stages=tuple(_stage(stage) for stage in found.stages),
        edges=found.edges,
        ranks=tuple(
            Rank(rank.device, tuple(_timed(action) for action in rank.actions), rank.peak_bytes)
            for rank in found.ranks
        ),
        numbers=found.planned_microbatches,
        planned_makespan_s=found.planned_makespan_s,
        makespan_s=found.makespan_s,
    )


def _stage(found: _Stage) -> Stage:
    return Stage(
        found.stage,
        found.rank,
        found.device,
        found.forward,
        found.backward,
        found.weight,
        found.once,
        found.modules,
        found.parameters,
        found.parameter_bytes,
        found.saved_bytes,
    )


def _timed(found: _Action) -> TimedAction:
    match = _ACTION.fullmatch(found.action)
    if match is None:
        raise InputError(f"'{found.action}' is no action", key="ranks.actions")
    action = Action(int(match[1]), ActionKind(match[2]), int(match[3]))
    return TimedAction(action, found.planned_start_s, found.start_s, found.seconds)
