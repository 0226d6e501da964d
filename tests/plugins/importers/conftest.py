"""Fixtures of the importers' tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of models and profiles that come with the repository."""
    return Path(__file__).parents[3] / "examples"
