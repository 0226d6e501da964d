"""From an exception to one message on standard error and an exit code."""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import attrs
import click
from attrs import field, frozen

from parplan.clashes import Clash, Repair
from parplan.cli.output import StdoutClosedError, emit_json
from parplan.errors import InfeasibleError, LimitError, ParplanError
from parplan.text import plain

FAULT = 70
"""Exit code for a fault of parplan itself (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED = 130
STDOUT_CLOSED = 141

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@frozen
class Failure:
    """What is told of an error; ``details`` only as JSON."""

    code: int
    status: str
    message: str
    details: Mapping[str, Any] = field(factory=dict)


def explain_failure(error: BaseException) -> Failure:
    """Return exit code, status and message for any exception."""
    if isinstance(error, InfeasibleError):
        told = error.conflict and not error.clashes  # these say it in full
        conflict = f" (in conflict: {', '.join(error.conflict)})" if told else ""
        return Failure(error.exit_code, "infeasible", f"{error}{conflict}", _reasons(error))
    if isinstance(error, ParplanError):
        status = "limit" if isinstance(error, LimitError) else "error"
        return Failure(error.exit_code, status, str(error))
    if isinstance(error, click.ClickException):
        return Failure(2, "error", _usage(error))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Failure(INTERRUPTED, "interrupted", "interrupted before there was a plan")
    if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK):
        subject = f"'{error.filename}': " if error.filename is not None else ""
        return Failure(2, "error", f"{subject}{error.strerror}")
    return Failure(
        FAULT,
        "error",
        f"unexpected {type(error).__name__}: {error}; this is a fault of parplan, please report "
        "it with the output of 'parplan --debug ...'",
    )


def report_failure(error: BaseException, *, debug: bool, as_json: bool) -> int:
    """Tell the user of an error and return the exit code.

    Parameters
    ----------
    debug
        Print the traceback too.
    as_json
        Print the error as one JSON object on standard output too.
    """
    if isinstance(error, StdoutClosedError):
        return STDOUT_CLOSED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAULT
    failure = explain_failure(error)
    with contextlib.suppress(OSError):  # nobody reads standard error: nothing left to do
        if debug:
            traceback.print_exception(error)
        print(f"error: {plain(failure.message)}", file=sys.stderr, flush=True)
    if as_json:
        with contextlib.suppress(StdoutClosedError, ParplanError):
            told = {"status": failure.status, "message": failure.message}
            emit_json({**told, **failure.details})
    return failure.code


def _reasons(error: InfeasibleError) -> dict[str, Any]:
    """Return what clashes, and what would help, as plain data.

    An error of one fault alone, such as a missing route, clashes by what its message says.
    """
    clashes = error.clashes or tuple(Clash(rule, error.message) for rule in error.conflict)
    repairs = error.repairs or ((Repair(error.repair, "advice", ()),) if error.repair else ())
    return {
        "constraints": list(error.conflict),
        "conflict": [attrs.asdict(clash) for clash in clashes],
        "repairs": [attrs.asdict(repair) for repair in repairs],
    }


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    return f"{message} (see '{context.command_path} --help')" if context else message
