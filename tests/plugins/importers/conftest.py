"""Fixtures of the importers' tests."""

import json
from pathlib import Path

import pytest

from parplan.plugins.importers.analytic.huggingface import HuggingFace


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of models and profiles that come with the repository."""
    return Path(__file__).parents[3] / "examples"


@pytest.fixture
def load(tmp_path):
    def call(config, **options):
        path = tmp_path / "tiny.json"
        path.write_text(json.dumps(config))
        return HuggingFace().load(path, options)

    return call
