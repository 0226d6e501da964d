"""What the processes of a run are told, as a file in the folder that they share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import attrs
from attrs import frozen

from parplan.plugins.runtimes.recorder import Timed
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
class Delay:
    """What a message takes in the plan: it occupies its links, then arrives; in seconds."""

    occupied_s: float = 0.0
    arrival_s: float = 0.0

    def scaled(self, factor: float) -> Delay:
        """Return the same, longer or shorter by a factor."""
        return Delay(self.occupied_s * factor, self.arrival_s * factor)


@frozen
class Channel:
    """The planned times of the messages between two stages on different ranks."""

    source: int
    target: int
    forward: Delay
    gradient: Delay


@frozen
class Job:
    """What every process of a run needs.

    Attributes
    ----------
    forward
        Operators of the forward pass, all stages.
    channels
        Planned times of messages, for stand-ins.
    schedule_file
        The CSV file with the actions of all ranks, communication included.
    model
        ``MODULE:FUNCTION`` that returns a ``Training``; empty: stand-ins.
    folder
        In which modules are looked for beside those installed.
    seconds_per_planned_second, bytes_per_planned_byte
        Of stand-ins.
    seed
        Of torch, before the model is made.
    """

    program: StageProgram
    forward: tuple[ForwardOperator, ...]
    channels: tuple[Channel, ...]
    schedule_file: str
    model: str = ""
    folder: str = ""
    steps: int = 1
    seconds_per_planned_second: float = 1.0
    bytes_per_planned_byte: float = 0.0
    check_gradients: bool = False
    seed: int = 0

    @property
    def ranks(self) -> range:
        """All ranks."""
        return range(len(self.program.ranks))


@frozen
class Result:
    """What a process leaves.

    Attributes
    ----------
    losses
        Mean of each step, where it computes the loss.
    peak_bytes
        None where it was not measured.
    """

    timed: tuple[Timed, ...]
    losses: tuple[float, ...]
    peak_bytes: int | None


class Cause(StrEnum):
    """Whose fault a failure is: the user's input, another process's, or its own."""

    INPUT = "input"
    OTHERS = "others"
    OWN = "own"


@frozen
class Failure:
    """Why a process gave up.

    Attributes
    ----------
    key
        Of an input error.
    doing
        What it did then.
    details
        The traceback.
    """

    cause: Cause
    message: str
    key: str
    doing: str
    details: str


LAUNCHER = -1
"""Stands for the rank of the process that starts the others, and of the one without a pipeline."""


@frozen
class Folder:
    """Where the processes of a run leave what others read, by fixed names."""

    path: Path

    @property
    def job(self) -> Path:
        """What all are told."""
        return self.path / "job.json"

    @property
    def store(self) -> Path:
        """Where torch's processes find each other."""
        return self.path / "store"

    @property
    def ends(self) -> Path:
        """How the processes ended."""
        return self.path / "ends.json"

    @property
    def differences(self) -> Path:
        """Largest relative gradient difference by parameter."""
        return self.path / "differences.json"

    def log(self, rank: int) -> Path:
        """Return where a process prints."""
        return self.path / f"{rank}.log"

    def state(self, rank: int) -> Path:
        """Return where a process notes what it does at this moment."""
        return self.path / f"{rank}.state"

    def failure(self, rank: int) -> Path:
        """Return where a process writes why it gave up."""
        return self.path / f"{rank}.failure.json"

    def result(self, rank: int) -> Path:
        """Return where a process leaves what it recorded."""
        return self.path / f"{rank}.result.json"

    def gradients(self, rank: int) -> Path:
        """Return where a process leaves its gradients, step by step."""
        return self.path / f"{rank}.gradients.pt"


def write_job(job: Job, folder: Folder) -> None:
    """Write what the processes are told."""
    folder.job.write_text(json.dumps(attrs.asdict(job)), encoding="utf-8")


def read_job(folder: Folder) -> Job:
    """Return what ``write_job`` wrote."""
    return structure(json.loads(folder.job.read_text(encoding="utf-8")), Job)


def write_ends(folder: Folder, codes: Mapping[int, int]) -> None:
    """Write the exit codes of processes by rank; minus the signal that ended one."""
    text = json.dumps({str(rank): code for rank, code in codes.items()})
    folder.ends.write_text(text, encoding="utf-8")


def read_ends(folder: Folder) -> dict[int, int]:
    """Return what ``write_ends`` wrote; nothing if it never came to that."""
    if not folder.ends.exists():
        return {}
    codes = json.loads(folder.ends.read_text(encoding="utf-8"))
    return {int(rank): code for rank, code in codes.items()}


def read_results(folder: Folder, ranks: Iterable[int]) -> list[Result]:
    """Return what the processes left, by rank."""
    texts = (folder.result(rank).read_text(encoding="utf-8") for rank in ranks)
    return [structure(json.loads(text), Result) for text in texts]
