"""The hooks themselves: what they are called, and that built-ins use the same door."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import attrs
import pytest

from parplan import hooks
from parplan.plugins import builtins, manager
from parplan.registry import Registry

SPECS = {name: value for name, value in vars(hooks).items() if name.startswith("parplan_")}


def test_every_hook_has_a_place_in_the_registry() -> None:
    kinds = {f"parplan_{f.name}" for f in attrs.fields(Registry) if f.name != "failures"}
    assert kinds == set(SPECS)


def test_every_hook_knows_what_it_returns() -> None:
    assert {*manager.CLASSES, *manager.OBJECTS} == set(SPECS)


@pytest.mark.parametrize("hook", SPECS.values(), ids=SPECS)
def test_hook_says_what_to_return(hook: Callable[[], object]) -> None:
    assert (hook.__doc__ or "").startswith("Return ")
    assert inspect.signature(hook).parameters == {}


def test_builtins_implement_every_hook() -> None:
    implemented = {name for name in vars(builtins) if name.startswith("parplan_")}
    assert implemented == set(SPECS)
