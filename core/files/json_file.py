"""JSON files that say what they are: ``format``, ``version``, ``parplan`` and the content.

A name that ends in ``.gz`` is packed with gzip. A file of another format or version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import frozen

from parplan import __version__
from parplan.errors import InputError
from parplan.files.atomic import read_bytes, write_bytes

T = TypeVar("T")

VERSION = 1

SIZE_LIMIT = 2**30
"""Bytes that a file may hold, unpacked."""


@frozen
class FileKind:
    """What a file holds.

    Attributes
    ----------
    form
        What it says as ``format``, e.g. ``"parplan-plan"``.
    key
        Where its content stands, and what people call it: ``"plan"``.
    written_by
        The command that writes it.
    """

    form: str
    key: str
    written_by: str


def text_of(kind: FileKind, content: dict[str, Any]) -> str:
    """Return the text of a file; InputError if the content has no form in JSON."""
    whole = {"format": kind.form, "version": VERSION, "parplan": __version__, kind.key: content}
    try:
        return json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError(f"the {kind.key} has no form in JSON: {error}") from None


def save(kind: FileKind, content: dict[str, Any], path: Path) -> None:
    """Write a file whole, or not at all.

    Raises
    ------
    InputError
        If it cannot be written; what was there before is unchanged.
    """
    try:
        encoded = text_of(kind, content).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            "a name holds half a character (a lone surrogate)", file=str(path)
        ) from None
    write_bytes(path, encoded)


def says_kind(path: Path, kind: FileKind) -> bool:
    """Return whether a file says that it is of a kind; its content may still be damaged.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or is too large.
    """
    head = read_bytes(path, SIZE_LIMIT)[:200]
    return f'"format":"{kind.form}"'.encode() in head.replace(b" ", b"")


def load(kind: FileKind, path: Path, read: Callable[[Any], T]) -> T:
    """Return what ``read`` makes of the content of a file.

    Raises
    ------
    InputError
        Naming the file and the key at fault: no such file, truncated, of another format or
        version, too large; and whatever ``read`` finds.
    """
    whole = _read_json(kind, path)
    found = whole.get("format") if isinstance(whole, dict) else None
    if found != kind.form:
        is_what = f"is '{found}'" if isinstance(found, str) else "is no file of parplan"
        raise InputError(
            f'{is_what[:100]}; a {kind.key} file says "format": "{kind.form}"', file=str(path)
        )
    version = whole.get("version")
    if version != VERSION or type(version) is not int:
        raise InputError(
            f"{str(version)[:100]} is not the version that parplan {__version__} reads, which is "
            f"{VERSION}; update parplan, or write the file again by `{kind.written_by}`",
            file=str(path),
            key="version",
        )
    if set(whole) != {"format", "version", "parplan", kind.key}:
        raise InputError(
            f"has the keys {', '.join(sorted(whole))[:200]}; a {kind.key} file has format, "
            f"version, parplan and {kind.key}",
            file=str(path),
        )
    try:
        return read(whole[kind.key])
    except InputError as error:
        raise error.located(file=str(path)) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=str(path)) from None


def _read_json(kind: FileKind, path: Path) -> Any:
    raw = read_bytes(path, SIZE_LIMIT)
    try:
        return json.loads(raw, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(error.doc.rstrip())
        what = "ends too early" if raw and ended else f"is no JSON: {error.msg}"
        raise InputError(
            f"{what}; {kind.key} files are written by `{kind.written_by}`",
            file=str(path),
            line=error.lineno,
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"is no text in UTF-8, so it is no {kind.key} file", file=str(path)
        ) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=str(path)) from None
    except ValueError as error:
        raise InputError(f"is no JSON: {error}", file=str(path)) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")
