"""Writes a Pyomo model with recorded terms as a CP-SAT model.

Plain linear rows become linear constraints, terms become scheduling constraints. What CP-SAT
could take only in part (a fraction, an unbounded or continuous variable, a component it does not
know) is refused by name before anything is solved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from attrs import define, field, frozen

from parplan.errors import SolverError
from parplan.model.guards import component, intervals_of
from parplan.model.terms import AtMostOne, Before, Cumulative, Interval, NoOverlap, recorded, split

SOLVER = "cp-sat"

LARGEST = 2**53
"""Largest coefficient: up to here a float still is the whole number it shows."""

WHOLE = 1e-9
"""How far from whole a number may be to count as whole."""


@frozen(eq=False)
class Auxiliary:
    """A variable that only CP-SAT has: where it matters, the difference of two others.

    Its value is ``names[0] - names[1] + constant`` (an empty name: zero), at least ``least``.
    """

    variable: Any
    names: tuple[str, str]
    constant: int
    least: int


@frozen(eq=False)
class CpSatModel:
    """A CP-SAT model and the way back.

    Attributes
    ----------
    model
        ``ortools.sat.python.cp_model.CpModel``.
    columns
        CP-SAT's variable of each Pyomo variable by its name, in the order they were met.
    unused
        A value for each Pyomo variable that no row or term mentions.
    scale, constant
        CP-SAT's objective is ``(Pyomo's - constant) * scale``, a whole number.
    objective
        Its linear expression in CP-SAT's variables; None if there is none.
    maximize
        The sense of the objective.
    """

    model: Any
    columns: Mapping[str, Any]
    unused: Mapping[str, float]
    auxiliary: Sequence[Auxiliary]
    scale: Fraction
    constant: float
    objective: Any
    maximize: bool

    def unscaled(self, value: float) -> float:
        """Return an objective value or bound of CP-SAT in units of the Pyomo model."""
        return float(Fraction(value) / self.scale) + self.constant

    def add_cutoff(self, cutoff: float) -> None:
        """Admit only solutions that are at least as good as ``cutoff``."""
        if self.objective is None:
            return
        limit = float(Fraction(cutoff - self.constant) * self.scale)
        if self.maximize:
            self.model.add(self.objective >= ceiling(limit))
        else:
            self.model.add(self.objective <= floor(limit))

    def add_hints(self, values: Mapping[str, float]) -> None:
        """Hint values of Pyomo variables by name, and what follows for auxiliary variables."""
        for name, variable in self.columns.items():
            value = values.get(name)
            if value is not None:
                self.model.add_hint(variable, round(value))
        for auxiliary in self.auxiliary:
            ends = [values.get(name, 0.0) if name else 0.0 for name in auxiliary.names]
            if all(not name or name in values for name in auxiliary.names):
                value = max(round(ends[0] - ends[1]) + auxiliary.constant, auxiliary.least)
                self.model.add_hint(auxiliary.variable, value)


def write_cp_sat(model: Any) -> CpSatModel:
    """Return a Pyomo model with recorded terms as a CP-SAT model.

    Raises
    ------
    SolverError
        If CP-SAT cannot take a component; names it and its rule.
    """
    writer = _Writer()
    writer.check_components(model)
    writer.write_rows(model)
    writer.write_terms(model)
    return writer.write_objective(model)


def ceiling(value: float) -> int:
    """Return the least whole number that is not below a value, forgiving float noise."""
    return value if type(value) is int else math.ceil(value - _noise(value))


def floor(value: float) -> int:
    """Return the greatest whole number that is not above a value, forgiving float noise."""
    return value if type(value) is int else math.floor(value + _noise(value))


def _noise(value: float) -> float:
    return max(WHOLE, 4 * math.ulp(value))


def whole_scale(coefficients: Iterable[float]) -> Fraction | None:
    """Return the smallest factor that makes all decimal numbers whole and free of a divisor.

    None if the numbers would then exceed ``LARGEST``.
    """
    exact = [Fraction(str(c)) for c in coefficients if c != 0]
    if not exact:
        return Fraction(1)
    multiple = math.lcm(*(c.denominator for c in exact))
    divisor = math.gcd(*(int(c * multiple) for c in exact))
    scale = Fraction(multiple, divisor)
    return None if max(abs(c) * scale for c in exact) > LARGEST else scale


@define(eq=False)
class _Writer:
    """State of one writing: CP-SAT's model and what stands for what."""

    model: Any = field(init=False)
    infinite: tuple[int, int] = field(init=False)
    weighted_sum: Any = field(init=False)
    variables: dict[int, Any] = field(factory=dict)
    columns: dict[str, Any] = field(factory=dict)
    bounds: dict[int, tuple[int, int]] = field(factory=dict)
    copies: dict[Any, Any] = field(factory=dict)
    auxiliary: list[Auxiliary] = field(factory=list)
    intervals: dict[Any, Any] = field(factory=dict)
    shared: dict[int, set[int]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self.infinite = (cp_model.INT_MIN, cp_model.INT_MAX)
        self.weighted_sum = cp_model.LinearExpr.weighted_sum

    # -- rows ----------------------------------------------------------------------------------

    def check_components(self, model: Any) -> None:
        """Refuse components that would otherwise be left out in silence."""
        import pyomo.environ as pyo

        known = {
            *(pyo.Var, pyo.Constraint, pyo.Objective, pyo.Block, pyo.Param, pyo.Expression),
            *(pyo.Set, pyo.RangeSet, pyo.SetOf, pyo.Suffix, pyo.BuildAction, pyo.BuildCheck),
            pyo.BooleanVar,  # says nothing until a logical constraint uses it
        }
        for block in model.block_data_objects(active=True):
            for kind in block.collect_ctypes(active=True, descend_into=False):
                if kind not in known:
                    found = next(iter(block.component_objects(kind, descend_into=False)))
                    raise _refusal(f"cannot take the {kind.__name__} {component(found)}")

    def variable(self, variable: Any) -> Any:
        """Return CP-SAT's variable for a Pyomo variable."""
        key = id(variable)
        if key not in self.variables:
            lower, upper = self._bounds_of(variable)
            name = variable.name
            self.columns[name] = self.variables[key] = self.new(lower, upper, name)
        return self.variables[key]

    def new(self, lower: int, upper: int, name: str) -> Any:
        """Return a new CP-SAT variable."""
        created = self.model.new_int_var(lower, upper, name)
        self.bounds[created.index] = (lower, upper)
        return created

    def _bounds_of(self, variable: Any) -> tuple[int, int]:
        """Return whole bounds: the lower rounded up, the upper down (SOLVERS trap 5)."""
        if variable.fixed:
            value = variable.value
            if value is None or abs(value - round(value)) > WHOLE:
                raise _refusal(f"{component(variable)} is fixed at {value}, no whole number")
            return round(value), round(value)
        if not variable.is_integer():  # true of binaries
            raise _refusal(f"{component(variable)} is continuous; make it an integer")
        lower, upper = variable.bounds
        if lower is None or upper is None or math.isinf(lower) or math.isinf(upper):
            raise _refusal(f"{component(variable)} has no finite bounds; give it both")
        low, high = ceiling(lower), floor(upper)
        if low > high:
            raise _refusal(f"{component(variable)} has no whole number in [{lower}, {upper}]")
        return low, high

    def write_rows(self, model: Any) -> None:
        """Write every active linear constraint, with whole coefficients."""
        import pyomo.environ as pyo
        from pyomo.repn import generate_standard_repn

        for row in model.component_data_objects(pyo.Constraint, active=True):
            lower, body, upper = row.to_bounded_expression(evaluate_bounds=True)
            form = generate_standard_repn(body, compute_values=True, quadratic=False)
            if not form.is_linear():
                raise _refusal(f"constraint {component(row)} is not linear")
            self.row(row, lower, form, upper)

    def row(self, row: Any, lower: float | None, form: Any, upper: float | None) -> None:
        """Write ``lower <= form <= upper``; a side may be None."""
        coefficients, scale = form.linear_coefs, 1.0
        if not all(type(c) is int for c in coefficients):
            factor = whole_scale(coefficients)
            if factor is None:
                raise _refusal(
                    f"constraint {component(row)} has fractional coefficients "
                    f"{[c for c in coefficients if c != int(c)][:3]}; scale it to whole numbers"
                )
            coefficients = [int(Fraction(str(c)) * factor) for c in coefficients]
            scale = float(factor)
        low, high = self.infinite
        if lower is not None and lower > -math.inf:
            low = ceiling((lower - form.constant) * scale)
        if upper is not None and upper < math.inf:
            high = floor((upper - form.constant) * scale)
        if low > high:
            self.model.add_bool_or([])
            return
        columns = [self.variable(v) for v in form.linear_vars]
        self.model.add_linear_constraint(self.weighted_sum(columns, coefficients), low, high)

    def write_objective(self, model: Any) -> CpSatModel:
        """Set the objective, scaled to whole numbers, and return the finished model."""
        import pyomo.environ as pyo
        from pyomo.repn import generate_standard_repn

        found = list(model.component_data_objects(pyo.Objective, active=True))
        if len(found) > 1:
            raise _refusal(f"there are {len(found)} active objectives; leave one active")
        scale, constant, expression, maximize = Fraction(1), 0.0, None, False
        for objective in found:
            form = generate_standard_repn(objective.expr, compute_values=True, quadratic=False)
            factor = whole_scale(form.linear_coefs) if form.is_linear() else None
            if factor is None:
                what = "has fractions that cannot be scaled" if form.is_linear() else "is no sum"
                raise _refusal(f"objective {component(objective)} {what}; make it whole and linear")
            whole = [int(Fraction(str(c)) * factor) for c in form.linear_coefs]
            expression = self.weighted_sum([self.variable(v) for v in form.linear_vars], whole)
            scale, constant, maximize = factor, float(form.constant), objective.sense != 1
            (self.model.maximize if maximize else self.model.minimize)(expression)
        unused = {
            v.name: float(
                v.value if v.fixed else ceiling(v.lb or 0) if v.ub is None else floor(v.ub)
            )
            for v in model.component_data_objects(pyo.Var, active=True)
            if id(v) not in self.variables
        }
        return CpSatModel(
            model=self.model,
            columns=self.columns,
            unused=unused,
            auxiliary=self.auxiliary,
            scale=scale,
            constant=constant,
            objective=expression,
            maximize=maximize,
        )

    # -- terms ---------------------------------------------------------------------------------

    def write_terms(self, model: Any) -> None:
        """Write every recorded term."""
        terms = [(term, block) for block, term in recorded(model)]
        for term, _ in terms:
            for interval in intervals_of(term) if not isinstance(term, Before) else ():
                self._note_sharing(interval)
        for term, block in terms:
            if isinstance(term, NoOverlap):
                self.no_overlap(term.intervals)
            elif isinstance(term, Cumulative):
                self.cumulative(term)
            elif isinstance(term, Before):
                self.before(term)
            elif isinstance(term, AtMostOne):
                self.model.add_at_most_one([self.variable(v) for v in term.literals])
            else:
                raise _refusal(f"cannot take the term {term!r} of {component(block)}")

    def _note_sharing(self, interval: Interval) -> None:
        """Note which presences use a time, to find times of several alternatives."""
        ends = (interval.start,) if interval.size is not None else (interval.start, interval.end)
        for time in ends:
            variable, _ = split(time)
            if variable is not None:
                self.shared.setdefault(id(variable), set()).add(id(interval.presence))

    def time(self, time: Any) -> tuple[Any, int]:
        """Return a time as (CP-SAT variable or None, constant)."""
        variable, constant = split(time)
        return (None if variable is None else self.variable(variable)), constant

    def own_time(self, time: Any, presence: Any) -> Any:
        """Return the time of an interval as an expression no other alternative uses.

        CP-SAT 9.15 claims wrong optima where optional intervals with different presences share
        variables; so each presence has its own copy, equal to the shared one where present.
        """
        variable, constant = split(time)
        if variable is None:
            return constant
        original = self.variable(variable)
        if presence is None or len(self.shared[id(variable)]) == 1:
            return original + constant if constant else original
        key = (id(variable), id(presence))
        if key not in self.copies:
            bounds = self.bounds[original.index]
            copy = self.new(*bounds, "")
            self.model.add(copy == original).only_enforce_if(self.variable(presence))
            self.auxiliary.append(Auxiliary(copy, (variable.name, ""), 0, bounds[0]))
            self.copies[key] = copy
        return self.copies[key] + constant if constant else self.copies[key]

    def interval(self, interval: Interval) -> Any:
        """Return CP-SAT's interval for a record."""
        times = [
            split(t) for t in (interval.start, interval.end)[: 2 if interval.size is None else 1]
        ]
        key = (*((id(v), c) for v, c in times), interval.size, id(interval.presence))
        if key not in self.intervals:
            self.intervals[key] = self._new_interval(interval)
        return self.intervals[key]

    def _new_interval(self, interval: Interval) -> Any:
        start = self.own_time(interval.start, interval.presence)
        optional = () if interval.presence is None else (self.variable(interval.presence),)
        name = interval.name
        if interval.size is not None:
            if optional:
                return self.model.new_optional_fixed_size_interval_var(
                    start, interval.size, *optional, name
                )
            return self.model.new_fixed_size_interval_var(start, interval.size, name)
        end = self.own_time(interval.end, interval.presence)
        size = self._hold_size(interval)
        if optional:
            return self.model.new_optional_interval_var(start, size, end, *optional, name)
        return self.model.new_interval_var(start, size, end, name)

    def _hold_size(self, interval: Interval) -> Any:
        """Return a variable for the length of a hold, as long as the bounds of its times allow."""
        constants, names, extremes = [], [], []
        for time, side in ((interval.end, 1), (interval.start, 0)):
            variable, constant = split(time)
            column = None if variable is None else self.variable(variable)
            constants.append(constant)
            names.append("" if variable is None else variable.name)
            extremes.append(constant + (0 if column is None else self.bounds[column.index][side]))
        size = self.new(0, max(extremes[0] - extremes[1], 0), "")
        constant = constants[0] - constants[1]
        self.auxiliary.append(Auxiliary(size, (names[0], names[1]), constant, 0))
        return size

    def no_overlap(self, intervals: Sequence[Interval]) -> None:
        """Keep intervals apart; those of length zero never clash."""
        lasting = [i for i in intervals if i.size != 0]
        if len(lasting) < 2:
            return
        written = [self.interval(i) for i in lasting]
        if all(i.size for i in lasting):
            self.model.add_no_overlap(written)
        else:
            # CP-SAT's no_overlap keeps an interval of length zero out of others; a level does not.
            self.model.add_cumulative(written, [1] * len(written), 1)

    def cumulative(self, term: Cumulative) -> None:
        """Keep a level; heights are divided by their common divisor to keep energies small."""
        used = [
            (interval, height)
            for interval, height in zip(term.intervals, term.heights, strict=True)
            if interval.size != 0 and height > 0
        ]
        if sum(height for _, height in used) <= term.capacity:
            return
        if all(i.size and 2 * h > term.capacity >= h for i, h in used):
            self.no_overlap([i for i, _ in used])
            return
        divisor = math.gcd(*(height for _, height in used))
        self.model.add_cumulative(
            [self.interval(i) for i, _ in used],
            [height // divisor for _, height in used],
            term.capacity // divisor,
        )

    def before(self, term: Before) -> None:
        """Write ``end of first + delay <= start of second`` where both are present."""
        (first, end), (second, start) = self.time(term.first.end), self.time(term.second.start)
        columns = [(v, c) for v, c in ((second, 1), (first, -1)) if v is not None]
        literals = {
            id(i.presence): self.variable(i.presence)
            for i in (term.first, term.second)
            if i.presence is not None
        }
        row = self.model.add_linear_constraint(
            self.weighted_sum([v for v, _ in columns], [c for _, c in columns]),
            end + term.delay - start,
            self.infinite[1],
        )
        if literals:
            row.only_enforce_if(list(literals.values()))


def _refusal(message: str) -> SolverError:
    return SolverError(message, solver=SOLVER)
