"""Rules: made from plugins, their declarations checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
import pytest
from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import (
    Apart,
    Forbidden,
    Held,
    Moving,
    Resident,
    Resource,
    Running,
    TimeLag,
)
from parplan.errors import InfeasibleError, InputError, PluginError
from parplan.problem import Problem, Rule
from parplan.registry import Registered, Registry
from parplan.rules import Rules, make_rules
from tests.examples import chain, ruled

DECLARED: list[Any] = []


@frozen
class Says(Constraint):
    """Declares whatever the test wants."""

    name: ClassVar[str] = "says"

    def declare(self, problem: Problem) -> Iterable[Any]:
        return DECLARED


@frozen
class Unchecked(Constraint):
    name: ClassVar[str] = "unchecked"

    def constrain(self, model: Any) -> None:
        """Add nothing."""


def rules_of(registry: Registry, *declared: Any, devices: int = 2) -> Rules:
    DECLARED[:] = declared
    entry: Registered[type[Constraint]] = Registered("says", Says, "tests")
    known = attrs.evolve(registry, constraints={**registry.constraints, "says": entry})
    return make_rules(ruled(chain(2, devices=devices), "says"), known)


def test_built_in_rules_declare_engines_and_links(registry: Registry) -> None:
    rules = make_rules(chain(2, devices=2), registry)
    assert [resource.name for _, resource in rules.resources] == [
        "g0.compute",
        "g1.compute",
        "g0>g1",
        "g1>g0",
    ]
    assert rules.escape_hatches == ()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (Resource("r", 1, (Running("g9"),)), "unknown device 'g9'"),
        (Resource("r", 1, (Running("g0", operators="o9"),)), "unknown operator 'o9'"),
        (Resource("r", 1, (Moving("l9"),)), "unknown link 'l9'"),
        (Resource("r", 1, (Resident("g0", tensors="t9"),)), "unknown tensor 't9'"),
        (Resource("r", 1, (Held("o0", "o9"),)), "unknown operator 'o9'"),
        (TimeLag("o0", "o9"), "unknown operator 'o9'"),
        (Forbidden("o0", device="g9"), "unknown device 'g9'"),
        (Apart(("o0", "o9")), "unknown operator 'o9'"),
        ("g0", "no declaration"),
    ],
)
def test_a_declaration_that_names_nothing_is_the_plugins_fault(
    declared: Any, message: str, registry: Registry
) -> None:
    with pytest.raises(PluginError, match=f"plugin 'says'.*{message}"):
        rules_of(registry, declared)


def test_bans_leave_the_other_alternatives(registry: Registry) -> None:
    rules = rules_of(registry, Forbidden("o1", device="g0"), Forbidden("o0", device="g1"))
    assert rules.allowed == ((0,), (1,))


def test_an_operator_with_no_place_left_names_the_rules(registry: Registry) -> None:
    rules = rules_of(registry, Forbidden("o1"))
    with pytest.raises(InfeasibleError, match=r"'o1' may run nowhere.*forbidden by says"):
        _ = rules.allowed


def test_pyomo_code_without_a_check_is_refused(registry: Registry) -> None:
    entry: Registered[type[Constraint]] = Registered("unchecked", Unchecked, "tests")
    known = attrs.evolve(registry, constraints={"unchecked": entry})
    problem = attrs.evolve(chain(1), constraints=(Rule("unchecked"),))
    with pytest.raises(PluginError, match="has no violations"):
        make_rules(problem, known)


def test_an_unknown_rule_has_a_hint(registry: Registry) -> None:
    with pytest.raises(InputError, match="no constraint is named 'memry'; did you mean 'memory'"):
        make_rules(ruled(chain(1), "memry"), registry)
    problem = attrs.evolve(chain(1), objectives=(Rule("makspan"),))
    with pytest.raises(InputError, match="no objective is named 'makspan'"):
        make_rules(problem, registry)
