"""The folder that the processes of a run share: who leaves what there, by fixed names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from attrs import frozen

from parplan.plugins.runtimes.recorder import Timed
from parplan.spec.structuring import structure


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
