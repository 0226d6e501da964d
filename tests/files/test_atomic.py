"""Files are read with a limit, and written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from parplan.errors import InputError
from parplan.files.atomic import read_bytes, write_bytes


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"content" * 100)
    assert read_bytes(tmp_path / name, 1000) == b"content" * 100
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_packed_file_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_bytes(tmp_path / name, b"content")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "plan.json"
    write_bytes(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        real = os.fdopen

        def broken(handle: int, mode: str) -> object:
            file = real(handle, mode)
            return _FullFile(file)

        monkeypatch.setattr(os, "fdopen", broken)
    else:
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(InputError, match=r"plan\.json.*No space left.*unchanged"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class _FullFile:
    """A file on a disk without space."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def __enter__(self) -> _FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, _: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        write_bytes(tmp_path / "none" / "a.json", b"")


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    path.chmod(0o640)
    write_bytes(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_missing_damaged_and_large_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_bytes(tmp_path / "none.json", 10)
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"bad\.gz: is a damaged gzip file"):
        read_bytes(tmp_path / "bad.gz", 10)
    write_bytes(tmp_path / "cut.gz", b"content" * 100)
    cut = (tmp_path / "cut.gz").read_bytes()[:-12]
    (tmp_path / "cut.gz").write_bytes(cut)
    with pytest.raises(InputError, match=r"cut\.gz: is a damaged gzip file"):
        read_bytes(tmp_path / "cut.gz", 1000)
    write_bytes(tmp_path / "bomb.gz", b"\0" * 10**6)
    with pytest.raises(InputError, match=r"bomb\.gz: is larger than the 1,000 bytes"):
        read_bytes(tmp_path / "bomb.gz", 1000)
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(tmp_path, 1000)
