"""``stages.json``: what the stages of the schedule files are, and when the plan runs them."""

from __future__ import annotations

from typing import Any

from parplan import __version__
from parplan.stages.program import Edge, Rank, Stage, StageProgram

FORMAT, VERSION = "parplan-torch-stages", 1


def manifest(program: StageProgram, files: dict[str, str]) -> dict[str, Any]:
    """Return the manifest as plain data; times in seconds, sizes in bytes.

    Parameters
    ----------
    files
        Name of each schedule file by its format.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "parplan": __version__,
        "name": program.name,
        "microbatches": program.microbatches,
        "planned_microbatches": list(program.numbers),
        "chain": program.is_chain,
        "training": program.is_training,
        "files": files,
        "planned_makespan_s": program.planned_makespan_s,
        "makespan_s": program.makespan_s,
        "stages": [_stage(program, stage) for stage in program.stages],
        "edges": [_edge(edge) for edge in program.edges],
        "ranks": [_rank(rank) for rank in program.ranks],
    }


def _stage(program: StageProgram, stage: Stage) -> dict[str, Any]:
    return {
        "stage": stage.index,
        "rank": stage.rank,
        "device": stage.device,
        "modules": list(stage.modules),
        "forward": list(stage.forward),
        "backward": list(stage.backward),
        "weight": list(stage.weight),
        "once": list(stage.once),
        "predecessors": [edge.source for edge in program.edges_into(stage.index)],
        "successors": [edge.target for edge in program.edges_out_of(stage.index)],
        "parameters": list(stage.parameters),
        "parameter_bytes": stage.parameter_bytes,
        "saved_bytes": stage.saved_bytes,
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "source": edge.source,
        "target": edge.target,
        "tensors": list(edge.tensors),
        "bytes": edge.bytes,
        "gradients": list(edge.gradients),
        "gradient_bytes": edge.gradient_bytes,
    }


def _rank(rank: Rank) -> dict[str, Any]:
    return {
        "device": rank.device,
        "peak_bytes": rank.peak_bytes,
        "actions": [
            {
                "action": str(timed.action),
                "planned_start_s": timed.planned_start_s,
                "start_s": timed.start_s,
                "seconds": timed.seconds,
            }
            for timed in rank.actions
        ],
    }
