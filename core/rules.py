"""The rules of a problem, made from plugins: constraints, objectives and what they declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import attrs
from attrs import frozen

from parplan.contracts import Constraint, Objective
from parplan.declarations import (
    Apart,
    Contiguous,
    Declaration,
    Forbidden,
    Moving,
    Order,
    Resource,
    TimeLag,
    Together,
)
from parplan.errors import InfeasibleError, InputError, ParplanError, PluginError
from parplan.problem import Problem, Rule
from parplan.registry import Registered, Registry
from parplan.spec.structuring import structure_options

T = TypeVar("T")
D = TypeVar("D")


@frozen
class Declared:
    """A declaration with the rule that made it."""

    rule: str
    what: Declaration


@frozen(eq=False)
class Rules:
    """The constraints and objectives of one problem, ready to use.

    Attributes
    ----------
    constraints, objectives
        Objects made from the problem's rules, in its order.
    declared
        Everything the constraints declare, names checked.
    """

    problem: Problem
    constraints: tuple[Constraint, ...]
    objectives: tuple[Objective, ...]
    declared: tuple[Declared, ...]

    def of(self, kind: type[D]) -> list[tuple[str, D]]:
        """Return (rule, declaration) for all declarations of a kind."""
        if kind not in self._of_kind:
            self._of_kind[kind] = [
                (d.rule, d.what) for d in self.declared if isinstance(d.what, kind)
            ]
        return list(self._of_kind[kind])

    @cached_property
    def _of_kind(self) -> dict[type, list[tuple[str, Any]]]:
        return {}

    @cached_property
    def resources(self) -> tuple[tuple[str, Resource], ...]:
        """Every declared resource with its rule."""
        return tuple(self.of(Resource))

    @cached_property
    def escape_hatches(self) -> tuple[Constraint, ...]:
        """Constraints that add Pyomo code of their own to the timing model."""
        return tuple(c for c in self.constraints if overrides(c, "constrain", Constraint))

    @cached_property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the alternatives of each operator that some placement group may use."""
        return tuple(
            rows[0] if len(set(rows)) == 1 else tuple(sorted(set().union(*rows)))
            for rows in self.allowed_by_group
        )

    @cached_property
    def allowed_by_group(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Indices of the alternatives that no ``Forbidden`` rules out, by operator and group.

        Every engine takes what may run where from here. Groups are those of
        ``Problem.groups_of``; O(operators x groups x alternatives + declarations).

        Raises
        ------
        InfeasibleError
            If an operator has none left, naming the rules that took them.
        """
        problem = self.problem
        bans: dict[int, list[tuple[str, Forbidden]]] = {}
        for rule, ban in self.of(Forbidden):
            bans.setdefault(problem.graph.operator_index[ban.operator], []).append((rule, ban))
        return tuple(
            tuple(
                self._left(index, group, bans.get(index, ())) for group in problem.groups_of(index)
            )
            for index in range(len(problem.graph.operators))
        )

    def _left(
        self, index: int, group: int, bans: Sequence[tuple[str, Forbidden]]
    ) -> tuple[int, ...]:
        """Return what bans leave of an operator's alternatives to one placement group."""
        if not bans:
            return tuple(range(len(self.problem.alternatives[index])))
        problem = self.problem
        operator, devices = problem.graph.operators[index], problem.cluster.devices
        mine = [(rule, ban) for rule, ban in bans if ban.group in (None, group)]
        banned = {(ban.device, ban.mode) for _, ban in mine}
        rows = tuple(
            row
            for row, alternative in enumerate(problem.alternatives[index])
            for mode in (operator.modes[alternative.mode].name,)
            for places in ((None, *(devices[d].name for d in alternative.devices)),)
            if not any((place, what) in banned for place in places for what in (None, mode))
        )
        if rows:
            return rows
        names = tuple(dict.fromkeys(rule for rule, _ in mine))
        where = "" if problem.workload.group_count == 1 else f" in placement group {group}"
        raise InfeasibleError(
            f"operator '{operator.name}' may run nowhere{where}: every device and mode is "
            f"forbidden by {', '.join(names)}",
            conflict=names,
            repair=f"allow '{operator.name}' on at least one device",
        )


def make_rules(problem: Problem, registry: Registry) -> Rules:
    """Return the rules of a problem, with each constraint's declarations collected and checked.

    Raises
    ------
    InputError
        For an unknown rule or bad options, with the key in the spec.
    PluginError
        If a plugin raises, or declares something that names unknown things.
    """
    constraints = []
    declared: list[Declared] = []
    for position, rule in enumerate(problem.constraints):
        entry = registry.get("constraints", rule.name, key=f"constraints[{position}]")
        constraint = make_plugin(entry, rule, f"constraints.{rule.name}")
        _check_escape_hatch(entry, constraint)
        constraints.append(constraint)
        try:
            found = guarded(entry, "declare", partial(_declarations, constraint, problem))
        except InputError as error:
            raise error.located(key=f"constraints.{rule.name}") from error
        for what in found:
            _check_names(problem, what, entry)
            declared.append(Declared(rule.name, what))
    objectives = [
        make_plugin(
            registry.get("objectives", rule.name, key=f"objectives[{i}]"),
            rule,
            f"objectives.{rule.name}",
        )
        for i, rule in enumerate(problem.objectives)
    ]
    rules = Rules(problem, tuple(constraints), tuple(objectives), tuple(declared))
    return attrs.evolve(rules, objectives=tuple(o.with_rules(rules) for o in objectives))


def with_problem(rules: Rules, problem: Problem) -> Rules:
    """Return the rules of a variant of their problem: the same plugins, which declare anew.

    Parameters
    ----------
    problem
        With the same constraints and objectives.
    """
    declared = tuple(
        Declared(rule.name, what)
        for rule, constraint in zip(problem.constraints, rules.constraints, strict=True)
        for what in constraint.declare(problem)
    )
    found = Rules(problem, rules.constraints, rules.objectives, declared)
    return attrs.evolve(found, objectives=tuple(o.with_rules(found) for o in rules.objectives))


def _declarations(constraint: Constraint, problem: Problem) -> list[Declaration]:
    return list(constraint.declare(problem))


def guarded(entry: Registered[Any], hook: str, call: Callable[[], T]) -> T:
    """Run a plugin's code; whatever it raises (SystemExit too) becomes a PluginError."""
    try:
        return call()
    except ParplanError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"raised {type(error).__name__}: {error}",
            plugin=entry.name,
            hook=hook,
            distribution=entry.distribution or None,
        ) from error


def overrides(value: object, method: str, base: type) -> bool:
    """Return whether an object's class defines a method anew."""
    return getattr(type(value), method) is not getattr(base, method)


def make_plugin(entry: Registered[object], rule: Rule, key: str) -> Any:
    """Return the object of a plugin's class with the options of a rule; InputError names them."""
    cls = entry.value
    assert isinstance(cls, type)
    return guarded(entry, "options", lambda: structure_options(rule.options, cls, key=key))


def _check_escape_hatch(entry: Registered[object], constraint: Constraint) -> None:
    hatches = ("constrain", "constrain_assignment")
    if any(overrides(constraint, h, Constraint) for h in hatches) and not overrides(
        constraint, "violations", Constraint
    ):
        raise PluginError(
            "it constrains the model by code of its own but has no violations(schedule), so no "
            "plan could be checked; define violations",
            plugin=entry.name,
            hook="constrain",
            distribution=entry.distribution or None,
        )


def _check_names(problem: Problem, what: object, entry: Registered[object]) -> None:
    """Raise PluginError if a declaration names an operator, device or link that is not there."""

    def fail(message: str) -> None:
        raise PluginError(
            message, plugin=entry.name, hook="declare", distribution=entry.distribution or None
        )

    def check(kind: str, names: Iterable[str | None], known: dict[str, int]) -> None:
        for name in names:
            if name is not None and name not in known:
                fail(f"declares unknown {kind} '{name}' in {what}")

    operators, cluster = problem.graph.operator_index, problem.cluster
    if isinstance(what, Resource):
        for demand in what.demands:
            check("device", [getattr(demand, "device", None)], cluster.device_index)
            if isinstance(demand, Moving):
                check("link", [demand.link], cluster.link_index)
            check("operator", getattr(demand, "operators", None) or (), operators)
            check("tensor", getattr(demand, "tensors", None) or (), problem.graph.tensor_index)
            ends = [getattr(demand, f"{side}_operator", None) for side in ("from", "to")]
            check("operator", ends, operators)
    elif isinstance(what, TimeLag):
        check("operator", [what.before, what.after], operators)
    elif isinstance(what, Forbidden):
        check("operator", [what.operator], operators)
        check("device", [what.device], cluster.device_index)
        if what.group is not None and not 0 <= what.group < problem.workload.group_count:
            fail(f"declares unknown placement group {what.group} in {what}")
    elif isinstance(what, Together | Apart | Contiguous | Order):
        check("operator", what.operators, operators)
    else:
        fail(f"declared {what!r}, which is no declaration; see parplan.declarations")
