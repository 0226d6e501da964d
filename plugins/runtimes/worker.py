"""One process of a run: joins the others, does its part, and leaves what it recorded."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

import attrs
import torch
import torch.distributed as dist

from parplan.errors import InputError, ParplanError
from parplan.plugins.runtimes.folder import Cause, Failure, Folder, Result
from parplan.plugins.runtimes.recorder import Recorder, read_state

Part: TypeAlias = Callable[[Recorder], Result]
"""What a rank does once all ranks have joined."""


def run_rank(folder: Folder, rank: int, ranks: int, prepare: Callable[[int], Part]) -> None:
    """Do the part of one rank and write its result; if that fails, write why, and exit.

    Parameters
    ----------
    prepare
        Gives the part of a rank, before it joins the others.
    """
    recorder = Recorder(folder.state(rank))
    try:
        torch.set_num_threads(1)
        recorder.doing("prepares its part")
        part = prepare(rank)
        recorder.doing("waits for the other processes to start")
        _join(folder, rank, ranks)
        result = part(recorder)
        folder.result(rank).write_text(json.dumps(attrs.asdict(result)), encoding="utf-8")
        recorder.doing("waits for the other processes to end")
        dist.barrier()  # nobody leaves while others still talk to it
    except BaseException as error:  # noqa: BLE001  # whatever it is, the watcher has to be told
        leave_failure(folder, rank, error)
        raise SystemExit(1) from None


def leave_failure(folder: Folder, rank: int, error: BaseException) -> None:
    """Write down why a process gives up."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    doing = read_state(folder.state(rank))
    failure = Failure(
        _cause(root, doing),
        _words(root),
        getattr(root, "key", None) or "",
        doing,
        "".join(traceback.format_exception(error)),
    )
    folder.failure(rank).write_text(json.dumps(attrs.asdict(failure)), encoding="utf-8")


def _words(error: BaseException) -> str:
    if isinstance(error, InputError):
        return error.message  # where it stands is told beside it
    return str(error) if isinstance(error, ParplanError) else f"{type(error).__name__}: {error}"


def _cause(error: BaseException, doing: str) -> Cause:
    if isinstance(error, InputError):
        return Cause.INPUT
    return Cause.OTHERS if doing.startswith("waits") or "gloo" in str(error) else Cause.OWN


def _join(folder: Folder, rank: int, ranks: int) -> None:
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(str(folder.store), ranks),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(days=1),  # who watches the processes knows how long they may take
    )
