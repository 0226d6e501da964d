"""What an extra would bring is named where it is missing, and nothing else is hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parplan.errors import InputError
from parplan.system.extras import required


def test_a_library_that_is_there_is_returned() -> None:
    assert required("json", "torch") is json


def test_a_missing_library_is_one_line_that_says_what_to_install() -> None:
    with pytest.raises(InputError) as raised:
        required("no_such_library.export", "torch")
    assert str(raised.value) == (
        "no_such_library is not installed; this needs it: pip install 'parplan[torch]'"
    )


def test_what_a_library_itself_lacks_is_not_taken_for_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_a_library.py").write_text("import its_own_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_dependency"):
        required("half_a_library", "torch")
