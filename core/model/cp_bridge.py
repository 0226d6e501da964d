"""Turns ``pyomo.contrib.cp`` components on a rule's Block into recorded terms and linear rows.

Taken: interval variables, ``no_overlap`` of a sequence, ``before``, ``after``, ``at``,
``alternative``, sums of pulses ``within`` ``(0, capacity)`` over the whole horizon, and logic on
presences (a presence, not, and, or, implies, equivalent). Linear rows may use the ``start_time``,
``end_time`` and ``length`` of intervals and ``is_present.get_associated_binary()`` after
``bridge``. ``Step``, ``spans``, ``synchronize`` and orders in a sequence are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

from parplan.errors import PluginError
from parplan.model.blocks import RuleBlock
from parplan.model.choices import total
from parplan.model.terms import Interval, Literal, instant


def has_cp(block: RuleBlock) -> bool:
    """Return whether a Block holds anything that the bridge must turn into terms."""
    from pyomo.contrib.cp import IntervalVar, SequenceVar
    from pyomo.environ import LogicalConstraint

    return any(
        True
        for kind in (IntervalVar, SequenceVar, LogicalConstraint)
        for _ in block.component_objects(kind, active=True)
    )


def bridge(block: RuleBlock, horizon: int) -> None:
    """Replace the contrib.cp components of a Block by terms and rows that mean the same.

    Times without bounds get ``[0, horizon]``. The times of an absent interval are free within
    their bounds, as everywhere in the model.

    Raises
    ------
    PluginError
        Naming the component that cannot be taken, and its rule.
    """
    if not has_cp(block):
        return
    translation = _Bridge(block, horizon)
    translation.take_intervals()
    translation.take_constraints()


@define(eq=False)
class _Bridge:
    block: RuleBlock
    horizon: int
    intervals: dict[int, Interval] = field(factory=dict)

    def refuse(self, component: Any, what: str) -> PluginError:
        """Return the error for a component that has no term."""
        return PluginError(
            f"component '{component.name}' uses {what}, which parplan's solvers cannot take; "
            "write it with before, no_overlap, alternative, pulses or linear rows",
            plugin=self.block.rule_name,
            hook="constrain",
        )

    # -- intervals -----------------------------------------------------------------------------

    def take_intervals(self) -> None:
        """Turn interval variables into Blocks of plain variables, and note their records."""
        import pyomo.environ as pyo
        from pyomo.contrib.cp import IntervalVar

        for component in list(self.block.component_objects(IntervalVar, active=True)):
            for data in component.values():
                self.intervals[id(data)] = self._take(data)
            component.parent_block().reclassify_component_type(component, pyo.Block)

    def _take(self, data: Any) -> Interval:
        import pyomo.environ as pyo

        for part in (data.start_time, data.end_time, data.length):
            data.reclassify_component_type(part, pyo.Var)
            part.setlb(0 if part.lb is None else part.lb)
            part.setub(self.horizon if part.ub is None else part.ub)
        presence = self._presence(data)
        start, end, length = data.start_time, data.end_time, data.length
        fixed = length.fixed or length.lb == length.ub
        size = int(pyo.value(length) if length.fixed else length.lb) if fixed else None
        # An absent interval must be free of this row: its times may not leave room for it.
        span = size if size is not None else length
        slack = 0 if presence is None else 1 - presence
        over = max(end.ub - start.lb - length.lb, 0)
        under = max(start.ub + length.ub - end.lb, 0)
        self.block.row(end - start - span <= over * slack)
        self.block.row(start + span - end <= under * slack)
        return Interval(data.name, start, end, size, presence)

    def _presence(self, data: Any) -> Literal:
        import pyomo.environ as pyo

        data.reclassify_component_type(data.is_present, pyo.BooleanVar)
        if not data.optional:
            return None
        literal = self.block.binary(f"{data.name} is present")
        if data.is_present.fixed:  # fixed to absent
            literal.fix(0)
        data.is_present.associate_binary_var(literal)
        return literal

    # -- constraints ---------------------------------------------------------------------------

    def take_constraints(self) -> None:
        """Turn every logical constraint into terms or rows, and take it out of the model."""
        import pyomo.environ as pyo
        from pyomo.contrib.cp import SequenceVar

        for component in self.block.component_data_objects(pyo.LogicalConstraint, active=True):
            expression = component.expr
            handler = _handlers().get(type(expression).__name__)
            if handler is None and not self._is_presence(expression):
                raise self.refuse(component, f"'{_label(expression)}'")
            (handler or _Bridge._logic)(self, component, expression)
        for kind in (pyo.LogicalConstraint, SequenceVar):
            for component in self.block.component_objects(kind, active=True):
                component.deactivate()

    def no_overlap(self, component: Any, expression: Any) -> None:
        """Take ``no_overlap(sequence)``."""
        (sequence,) = expression.args
        self.block.no_overlap(
            component.name, [self.intervals[id(i)] for i in sequence.interval_vars]
        )

    def before(self, component: Any, expression: Any) -> None:
        """Take ``a.before(b, delay)`` and ``b.after(a, delay)``."""
        first, second, delay = self._times(component, expression)
        self.block.before(first, second, delay)

    def at(self, component: Any, expression: Any) -> None:
        """Take ``a.at(b, delay)``: both directions of a precedence."""
        first, second, delay = self._times(component, expression)
        self.block.before(first, second, delay)
        self.block.before(second, first, -delay)

    def _times(self, component: Any, expression: Any) -> tuple[Interval, Interval, int]:
        import pyomo.environ as pyo

        first, second, delay = expression.args
        amount = pyo.value(delay)
        if amount != int(amount):
            raise self.refuse(component, f"the fractional delay {amount}")
        return self._time(component, first), self._time(component, second), int(amount)

    def _time(self, component: Any, time: Any) -> Interval:
        if isinstance(time, int):
            return instant(component.name, time)
        owner = getattr(time, "get_associated_interval_var", lambda: None)()
        if owner is None:
            raise self.refuse(component, f"the time '{time}', which is of no interval")
        return instant(owner.name, time, self.intervals[id(owner)].presence)

    def alternative(self, component: Any, expression: Any) -> None:
        """Take ``alternative(main, options)``: exactly one if the main one is present."""
        main, *options = (self.intervals[id(i)] for i in expression.args)
        literals = [1 if i.presence is None else i.presence for i in options]
        self.block.row(total(literals) == (1 if main.presence is None else main.presence))
        self.block.at_most_one([i.presence for i in options if i.presence is not None])
        for option in options:
            for one, two in ((main.start, option.start), (main.end, option.end)):
                pair = (
                    instant(main.name, one, option.presence),
                    instant(option.name, two, option.presence),
                )
                self.block.before(pair[0], pair[1])
                self.block.before(pair[1], pair[0])

    def within(self, component: Any, expression: Any) -> None:
        """Take pulses within ``(0, capacity)`` at all times."""
        function, lower, upper, begin, end = expression.args
        if lower > 0 or begin > 0 or end < self.horizon:
            raise self.refuse(
                component,
                f"bounds ({lower}, {upper}) over times ({begin}, {end}); only (0, capacity) over "
                f"the whole horizon, which is (0, {self.horizon}),",
            )
        pulses = list(self._pulses(component, function))
        self.block.cumulative(
            component.name,
            [self.intervals[id(p.args[0])] for p in pulses],
            [p.args[1] for p in pulses],
            upper,
        )

    def _pulses(self, component: Any, function: Any) -> Iterator[Any]:
        kind = type(function).__name__
        if kind == "CumulativeFunction":
            for part in function.args:
                yield from self._pulses(component, part)
        elif kind == "Pulse":
            if function.args[1] < 0:
                raise self.refuse(component, f"a pulse of height {function.args[1]}")
            yield function
        else:
            raise self.refuse(component, f"'{kind}'")

    # -- logic on presences --------------------------------------------------------------------

    def _is_presence(self, expression: Any) -> bool:
        return type(expression).__name__ == "IntervalVarPresence" or hasattr(
            expression, "get_associated_binary"
        )

    def _logic(self, component: Any, expression: Any) -> None:
        """State that an expression over presences is true."""
        kind = type(expression).__name__
        if kind == "AndExpression":
            for part in expression.args:
                self._logic(component, part)
        elif kind == "OrExpression":
            self._row(total(self._atom(component, part) for part in expression.args) >= 1)
        elif kind == "ImplicationExpression":
            one, two = (self._atom(component, part) for part in expression.args)
            self._row(one <= two)
        elif kind == "EquivalenceExpression":
            one, two = (self._atom(component, part) for part in expression.args)
            self._row(one == two)
        else:
            self._row(self._atom(component, expression) >= 1)

    def _row(self, row: Any) -> None:
        """Add a row; one that is settled is kept as a row that is true, or never is."""
        if isinstance(row, bool):
            settled = self.block.binary("settled")
            row = settled >= (0 if row else 2)
        self.block.row(row)

    def _atom(self, component: Any, expression: Any) -> Any:
        """Return a presence, or its negation, as a linear expression or a number."""
        if type(expression).__name__ == "NotExpression":
            return 1 - self._atom(component, expression.args[0])
        if not self._is_presence(expression):
            raise self.refuse(component, f"'{_label(expression)}' inside a logical expression")
        if expression.fixed:
            return int(expression.value)
        return expression.get_associated_binary()


def _label(expression: Any) -> str:
    return type(expression).__name__.removesuffix("Expression")


def _handlers() -> dict[str, Callable[[_Bridge, Any, Any], None]]:
    """Return what takes each kind of expression, by the name of its class in Pyomo."""
    logic = ("And", "Or", "Implication", "Equivalence", "Not")
    return {
        "NoOverlapExpression": _Bridge.no_overlap,
        "BeforeExpression": _Bridge.before,
        "AtExpression": _Bridge.at,
        "AlternativeExpression": _Bridge.alternative,
        "AlwaysIn": _Bridge.within,
        **{f"{kind}Expression": _Bridge._logic for kind in logic},
    }
