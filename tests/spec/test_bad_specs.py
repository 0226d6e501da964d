"""Each bad spec gives one clear message: the file, the line and key where known, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from parplan.api import prepare
from parplan.errors import InputError
from parplan.registry import Registry
from tests.bad_specs import BAD_SPECS, GOOD, BadSpec


def test_spec_without_a_fault_is_used(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "spec.yaml").write_text(GOOD)
    assert prepare(tmp_path / "spec.yaml", registry=registry).problem.task_count == 8


@pytest.mark.parametrize("bad", BAD_SPECS, ids=lambda bad: bad.name)
def test_bad_spec_gives_one_clear_message(bad: BadSpec, tmp_path: Path, registry: Registry) -> None:
    path = bad.write(tmp_path)
    with pytest.raises(InputError) as caught:
        prepare(path, registry=registry)
    error, text = caught.value, str(caught.value)
    assert text.startswith(str(tmp_path / bad.file))
    assert [part for part in bad.message if part not in text] == []
    assert "\n" not in text
    assert len(text) < 700
    if bad.line is not None:
        assert error.line == bad.line
        assert text.startswith(f"{tmp_path / bad.file}:{bad.line}: ")
    if bad.key is not None:
        assert error.key == bad.key
    assert not (tmp_path / "pwned").exists()


def test_missing_spec_is_named(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        prepare(tmp_path / "none.yaml", registry=registry)
    with pytest.raises(InputError, match=r"cannot be read"):
        prepare(tmp_path, registry=registry)


def test_names_of_bad_specs_are_unique() -> None:
    names = [bad.name for bad in BAD_SPECS]
    assert len(set(names)) == len(names) >= 20
