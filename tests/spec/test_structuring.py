"""Plain data becomes attrs classes; what does not fit is named by its key."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from attrs import field, frozen

from parplan.errors import InputError
from parplan.graph import Graph
from parplan.problem import Rule
from parplan.spec.structuring import NOT_IN_FILES, structure


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@frozen
class Inner:
    count: int = 0
    size_bytes: int | None = None
    ways: tuple[str, ...] = ()
    pair: tuple[str | None, float] | None = None


@frozen
class Outer:
    name: str
    inner: Inner = field(factory=Inner)
    inners: tuple[Inner, ...] = ()
    table: Mapping[str, int] = field(factory=dict)
    times_s: Mapping[str, float] = field(factory=dict)
    colour: Colour = Colour.RED
    flag: bool = False
    names: frozenset[str] | None = None
    rules: tuple[Rule, ...] = ()
    hidden: int = field(default=3, metadata=NOT_IN_FILES)


def test_nested_data_is_read_by_type_and_unit() -> None:
    made = structure(
        {
            "name": "x",
            "inner": {"count": 2.0, "size_bytes": "1 KiB", "ways": ["a"], "pair": [None, 3]},
            "inners": [{}, {"count": 1}],
            "table": {"a": 1},
            "times_s": "2 ms",
            "colour": "blue",
            "names": ["a", "a"],
            "rules": ["r", {"s": {"t": [1]}}],
        },
        Outer,
    )
    assert made.inner == Inner(2, 1024, ("a",), (None, 3.0))
    assert made.times_s == {"*": 0.002}
    assert made.colour is Colour.BLUE
    assert made.names == frozenset({"a"})
    assert made.rules == (Rule("r"), Rule("s", {"t": [1]}))


@pytest.mark.parametrize(
    ("data", "key", "message"),
    [
        ({}, "name", "is missing"),
        ({"name": 5}, "name", "5 is not a text; put it in quotes"),
        ({"name": "x", "nmae": "y"}, "nmae", "did you mean 'name'"),
        ({"nmae": "y"}, "nmae", "did you mean 'name'"),
        ({"name": "x", "hidden": 4}, "hidden", "unknown key"),
        ({"name": "x", "inner": 5}, "inner", "5 is no mapping with keys count"),
        ({"name": "x", "inner": []}, "inner", "[] is no mapping"),
        ({"name": "x", "inner": {"count": 1.5}}, "inner.count", "not a whole number"),
        ({"name": "x", "inner": {"count": True}}, "inner.count", "not a whole number"),
        ({"name": "x", "inner": {"count": float("inf")}}, "inner.count", "not a whole number"),
        ({"name": "x", "inner": {"size_bytes": "1 Gb"}}, "inner.size_bytes", "small b"),
        ({"name": "x", "inner": {"size_bytes": [1]}}, "inner.size_bytes", "not a whole number"),
        ({"name": "x", "inners": {"count": 1}}, "inners", "is no list"),
        ({"name": "x", "inners": [{}, {"conut": 1}]}, "inners[1].conut", "'count'"),
        ({"name": "x", "inner": {"ways": "abc"}}, "inner.ways", "is no list; write ['abc']"),
        ({"name": "x", "inner": {"ways": ["a", 1]}}, "inner.ways[1]", "1 is not a text"),
        ({"name": "x", "inner": {"pair": [None]}}, "inner.pair", "has 1 entries; it needs 2"),
        ({"name": "x", "inner": {"pair": ["a", "b"]}}, "inner.pair[1]", "'b' is not a number"),
        ({"name": "x", "table": {"a": 1, "b": "c"}}, "table.b", "'c' is not a whole number"),
        ({"name": "x", "table": [1]}, "table", "is no mapping"),
        ({"name": "x", "times_s": {"a": "3 GB"}}, "times_s.a", "'3 GB' is a size in bytes"),
        ({"name": "x", "times_s": {"a": float("nan")}}, "times_s.a", "NaN"),
        ({"name": "x", "times_s": {"a": 10**400}}, "times_s.a", "too large"),
        ({"name": "x", "colour": "blu"}, "colour", "did you mean 'blue'"),
        ({"name": "x", "flag": "yes"}, "flag", "'yes' is neither true nor false"),
        ({"name": "x", "names": "abc"}, "names", "is no list"),
        ({"name": "x", "rules": [{"a": 1, "b": 2}]}, "rules[0]", "neither a name nor"),
        ({"name": "x", "rules": [{"a": 5}]}, "rules[0]", "neither a name nor"),
        ({"name": "x", "rules": "memory"}, "rules", "is no list"),
        ([], "", "is no mapping"),
    ],
)
def test_fault_is_named_by_its_key(data: Any, key: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        structure(data, Outer)
    assert (caught.value.key or "") == key
    assert message in caught.value.message
    assert len(str(caught.value)) < 400


def test_file_and_key_above_are_added() -> None:
    with pytest.raises(InputError, match=r"^a\.json: top\.inner\.count: 'x' is not"):
        structure({"name": "x", "inner": {"count": "x"}}, Outer, key="top", file="a.json")


def test_graph_can_be_read_from_data() -> None:
    graph = structure(
        {"name": "g", "operators": [{"name": "a", "modes": [{"seconds": "3 ms"}]}]}, Graph
    )
    assert graph.operators[0].modes[0].seconds == {"*": 0.003}
