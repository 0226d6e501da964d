"""What the processes of a run are told: a model to train by a schedule, or a plan to emulate."""

from __future__ import annotations

import json
from typing import TypeAlias

import attrs
from attrs import frozen

from parplan.plugins.runtimes.emulation.script import Emulation
from parplan.plugins.runtimes.folder import Folder
from parplan.spec.structuring import structure
from parplan.stages.program import StageProgram


@frozen
class ForwardOperator:
    """An operator of the forward pass, in a topological order.

    Attributes
    ----------
    module
        Its path in the model's hierarchy.
    sources
        The forward operators that it reads from.
    """

    name: str
    module: str
    stage: int
    sources: tuple[str, ...]


@frozen
class TrainingJob:
    """A model that is trained by the schedule of a plan.

    Attributes
    ----------
    forward
        Operators of the forward pass, all stages.
    schedule_file
        The CSV file with the actions of all ranks, communication included.
    model
        ``MODULE:FUNCTION`` that returns a ``Training``.
    folder
        In which modules are looked for beside those installed.
    seed
        Of torch, before the model is made.
    """

    program: StageProgram
    forward: tuple[ForwardOperator, ...]
    schedule_file: str
    model: str
    folder: str = ""
    steps: int = 1
    check_gradients: bool = False
    seed: int = 0

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each rank."""
        return tuple(rank.device for rank in self.program.ranks)


Job: TypeAlias = TrainingJob | Emulation

_KINDS: dict[str, type[TrainingJob] | type[Emulation]] = {
    "training": TrainingJob,
    "emulation": Emulation,
}


def write_job(job: Job, folder: Folder) -> None:
    """Write what the processes are told."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(job, kind))
    text = json.dumps({"kind": kind, "job": attrs.asdict(job)})
    folder.job.write_text(text, encoding="utf-8")


def read_job(folder: Folder) -> Job:
    """Return what ``write_job`` wrote."""
    found = json.loads(folder.job.read_text(encoding="utf-8"))
    return structure(found["job"], _KINDS[found["kind"]])
