"""Reads files with a limit, and writes them whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import zlib
from pathlib import Path

from parplan.errors import InputError

_CHUNK = 2**20


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a file, unpacked if its name ends in ``.gz``.

    Raises
    ------
    InputError
        If it is missing, unreadable, damaged, or holds more than ``limit`` bytes (unpacked).
    """
    name = str(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise InputError(f"no such file (looked in {Path.cwd()})", file=name) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"is a damaged gzip file: {error}", file=name) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {_reason(error)}", file=name) from None
    if len(content) > limit:
        raise InputError(f"is larger than the {limit:,} bytes that are accepted", file=name)
    return content


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, packed if its name ends in ``.gz``.

    The content goes to a temporary file in the same folder, is flushed to the disk, and then takes
    the name; whatever fails leaves the old file as it was.

    Raises
    ------
    InputError
        Naming the file and the reason: no such folder, no permission, a full disk.
    """
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
        temporary = None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be written: {_reason(error)}; what was there before is unchanged",
            file=str(path),
        ) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def make_folder(path: Path) -> Path:
    """Return a folder, made if it is not there.

    Raises
    ------
    InputError
        If it cannot be made: its parent is not there, or a file has its name.
    """
    try:
        path.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be made: {_reason(error)}", file=str(path)) from None
    return path


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text; see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def _mode(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those a new file gets."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
