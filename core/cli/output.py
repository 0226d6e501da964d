"""Standard output: the one door to it, so that a closed pipe and a full disk are told apart."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from parplan.errors import InputError


class StdoutClosedError(Exception):
    """Whoever read standard output has gone; nobody is left to tell."""


def emit(text: str) -> None:
    """Print text and a line end; what the terminal cannot encode becomes ``?``.

    Raises
    ------
    StdoutClosedError
        If the reader has gone.
    InputError
        If standard output cannot be written, e.g. on a full disk.
    """
    encoding = sys.stdout.encoding or "utf-8"
    _write(text.encode(encoding, errors="replace").decode(encoding) + "\n")


def emit_json(data: Mapping[str, Any]) -> None:
    """Print exactly one JSON object; NaN and infinity become null, as JSON has neither."""
    emit(json.dumps(_finite(data), indent=2, allow_nan=False))


def finish() -> None:
    """Write out what is buffered, so that a failure is seen before the exit code is chosen."""
    _write("")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence()
        if isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL:
            raise StdoutClosedError from error
        raise InputError(f"cannot write to standard output: {error.strerror}") from error


def _silence() -> None:
    """Point standard output at nothing: Python flushes it once more at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
