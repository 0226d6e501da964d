"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from parplan.plugins.manager import load_registry
from parplan.registry import Registry

# Wall time of one example says little on a shared machine; the number of examples is the budget.
settings.register_profile("parplan", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("parplan")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests, so that workers end at the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def registry() -> Registry:
    """parplan's own plugins, without what else is installed."""
    return load_registry(installed=False)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the public yardsticks, named by the environment variable PARPLAN_DATA."""
    given = os.environ.get("PARPLAN_DATA")
    if not given:
        pytest.skip("PARPLAN_DATA is not set; it names the folder of the public data")
    if not Path(given).is_dir():
        pytest.skip(f"PARPLAN_DATA is {given}, which is no folder")
    return Path(given)
