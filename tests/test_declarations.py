"""Declarations are plain records that refuse what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from parplan.declarations import Apart, Moving, Order, Resource, Running, Together
from parplan.errors import InputError


def test_one_name_stands_for_itself() -> None:
    assert Running("g0", operators="o1").operators == frozenset({"o1"})
    assert Moving("l", tensors=["t", "t"]).tensors == frozenset({"t"})
    assert Running("g0").operators is None


def test_lists_become_tuples() -> None:
    assert Together(["a", "b"]).operators == ("a", "b")
    assert Apart(iter("ab")).operators == ("a", "b")
    assert Order(["b", "a"]).operators == ("b", "a")
    assert Resource("r", 1, [Running("g0")]).demands == (Running("g0"),)


@pytest.mark.parametrize(
    ("capacity", "amount", "message"),
    [
        (-1.0, 1.0, "resource 'r': capacity is -1.0"),
        (float("nan"), 1.0, "resource 'r': capacity is nan"),
        (1.0, -1.0, "resource 'r': amount -1.0"),
        (1.0, {"o1": float("inf")}, "resource 'r': amount {'o1': inf}"),
    ],
)
def test_amounts_and_capacities_are_finite_and_not_negative(
    capacity: float, amount: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Resource("r", capacity, (Running("g0", amount),))
