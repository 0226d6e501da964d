from __future__ import annotations

import itertools
import time
from typing import Any

import pyomo.environ as pyo
import pytest
from ortools.sat.python import cp_model

from parplan.errors import SolverError
from parplan.model.cp_sat_writer import CpSatModel, write_cp_sat
from parplan.model.terms import (
    RULE,
    AtMostOne,
    Before,
    Cumulative,
    Interval,
    NoOverlap,
    record,
)


def _model(count: int = 0, horizon: int = 20) -> Any:
    """Return a model with start times, presences, a makespan, and a Block of a plugin."""
    model = pyo.ConcreteModel()
    model.start = pyo.Var(range(count), domain=pyo.Integers, bounds=(0, horizon))
    model.on = pyo.Var(range(count), domain=pyo.Binary)
    model.makespan = pyo.Var(domain=pyo.Integers, bounds=(0, horizon))
    model.objective = pyo.Objective(expr=model.makespan)
    model.rows = pyo.ConstraintList()
    model.rule = pyo.Block()
    setattr(model.rule, RULE, "power")
    return model


def _lasting(model: Any, index: int, size: int, presence: Any = None) -> Interval:
    start = model.start[index]
    return Interval(f"interval {index}", start, start + size, size, presence)


def _solve(written: CpSatModel) -> float | None:
    """Return the optimum in Pyomo's units; None if infeasible."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(written.model)
    if status == cp_model.INFEASIBLE:
        return None
    assert status == cp_model.OPTIMAL
    return written.unscaled(solver.objective_value)


def _optimum(model: Any) -> float | None:
    return _solve(write_cp_sat(model))


def _end_before_makespan(model: Any, intervals: list[Interval]) -> None:
    end = Interval("end", model.makespan, model.makespan, 0)
    record(model, *(Before(interval, end) for interval in intervals))


# -- rows ------------------------------------------------------------------------------------------


def test_lower_bounds_round_up_and_upper_bounds_down() -> None:
    model = _model()
    model.x = pyo.Var(domain=pyo.Integers, bounds=(1.2, 3.8))
    model.rows.add(model.x <= model.makespan)
    assert _optimum(model) == 2
    model.objective.sense = pyo.maximize
    model.rows.add(model.makespan <= model.x)
    assert _optimum(model) == 3


def test_sides_of_rows_round_inwards() -> None:
    model = _model()
    model.rows.add(pyo.inequality(2.5, model.makespan, 3.9))
    assert _optimum(model) == 3
    model.objective.sense = pyo.maximize
    assert _optimum(model) == 3


def test_float_noise_does_not_move_a_whole_side() -> None:
    model = _model()
    model.rows.add(model.makespan >= 0.1 + 0.2 - 0.3 + 5)
    assert _optimum(model) == 5


def test_decimal_coefficients_are_scaled_exactly() -> None:
    model = _model()
    model.rows.add(0.1 * model.makespan >= 0.7)
    assert _optimum(model) == 7


def test_fractions_without_an_exact_scale_are_refused_by_name() -> None:
    model = _model(1)
    model.rule.watts = pyo.Constraint(expr=model.makespan / 3 + model.on[0] >= 1)
    with pytest.raises(SolverError, match=r"'rule\.watts' of rule 'power'.*fraction"):
        write_cp_sat(model)


def test_contradicting_constant_rows_are_infeasible() -> None:
    model = _model()
    model.makespan.fix(3)
    model.rows.add(model.makespan >= 4)
    assert _optimum(model) is None


def test_a_row_without_a_whole_number_between_its_sides_is_infeasible() -> None:
    model = _model()
    model.rows.add(2 * model.makespan + 1.0 * model.makespan == 1)
    assert _optimum(model) is None


def test_fixed_variables_keep_their_value() -> None:
    model = _model()
    model.makespan.fix(7)
    assert _optimum(model) == 7


def test_deactivated_blocks_take_rows_and_terms_with_them() -> None:
    model = _model(1)
    model.rule.row = pyo.Constraint(expr=model.makespan >= 9)
    model.rule.start = pyo.Var(domain=pyo.Integers, bounds=(4, 9))
    end = Interval("end", model.makespan, model.makespan, 0)
    record(model.rule, Before(Interval("a", 0, 5, 5), end))
    assert _optimum(model) == 9
    model.rule.deactivate()
    assert _optimum(model) == 0


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (pyo.Var(domain=pyo.Reals, bounds=(0, 1)), "continuous"),
        (pyo.Var(domain=pyo.Integers, bounds=(0, None)), "no finite bounds"),
        (pyo.Var(domain=pyo.Integers, bounds=(0.4, 0.6)), "no whole number"),
    ],
)
def test_variables_that_cp_sat_cannot_have_are_refused_by_name(variable: Any, words: str) -> None:
    model = _model()
    model.rule.power = variable.clone() if hasattr(variable, "clone") else variable
    model.rows.add(model.makespan >= model.rule.power)
    with pytest.raises(SolverError, match=rf"'rule\.power' of rule 'power'.*{words}"):
        write_cp_sat(model)


def test_nonlinear_rows_and_unknown_components_are_refused_by_name() -> None:
    model = _model()
    model.rule.row = pyo.Constraint(expr=model.makespan * model.makespan >= 4)
    with pytest.raises(SolverError, match=r"'rule\.row' of rule 'power' is not linear"):
        write_cp_sat(model)
    model = _model()
    model.rule.choice = pyo.BooleanVar()
    model.rule.logic = pyo.LogicalConstraint(expr=model.rule.choice)
    with pytest.raises(SolverError, match=r"LogicalConstraint 'rule\.logic' of rule 'power'"):
        write_cp_sat(model)


# -- objective -------------------------------------------------------------------------------------


def test_objectives_are_scaled_there_and_back() -> None:
    model = _model()
    model.rows.add(model.makespan >= 7)
    model.objective.set_value(1e-6 * model.makespan + 2.5)
    assert _optimum(model) == pytest.approx(2.5 + 7e-6, abs=1e-15)


def test_maximising_keeps_its_sense_and_cutoff() -> None:
    model = _model(horizon=20)
    model.objective.sense = pyo.maximize
    model.objective.set_value(0.5 * model.makespan)
    written = write_cp_sat(model)
    written.add_cutoff(9.9)
    assert _solve(written) == 10
    written.add_cutoff(10.1)
    assert _solve(written) is None


def test_a_cutoff_admits_equal_solutions_only_from_there() -> None:
    model = _model()
    model.rows.add(model.makespan >= 7)
    model.objective.set_value(0.1 * model.makespan)
    written = write_cp_sat(model)
    written.add_cutoff(0.7)
    assert _solve(written) == pytest.approx(0.7)
    written.add_cutoff(0.69)
    assert _solve(written) is None


def test_a_model_without_objective_is_a_question() -> None:
    model = _model()
    model.objective.deactivate()
    written = write_cp_sat(model)
    assert cp_model.CpSolver().solve(written.model) == cp_model.OPTIMAL


# -- terms -----------------------------------------------------------------------------------------


def test_intervals_of_one_engine_queue() -> None:
    model = _model(3)
    intervals = [_lasting(model, k, size) for k, size in enumerate((3, 4, 5))]
    record(model, NoOverlap("engine", intervals))
    _end_before_makespan(model, intervals)
    assert _optimum(model) == 12


def test_intervals_without_length_never_clash() -> None:
    model = _model(2)
    task = _lasting(model, 0, 6)
    point = _lasting(model, 1, 0)
    model.rows.add(model.start[1] == 3)
    record(model, NoOverlap("engine", [task, point]))
    _end_before_makespan(model, [task, point])
    assert _optimum(model) == 6


def test_a_hold_that_may_have_no_length_does_not_clash_then() -> None:
    model = _model(3)
    task = _lasting(model, 0, 6)
    hold = Interval("hold", model.start[1], model.start[2])
    model.rows.add(model.start[1] == 3)
    record(model, NoOverlap("engine", [task, hold]))
    _end_before_makespan(model, [task, hold])
    assert _optimum(model) == 6
    model.rows.add(model.start[2] == 4)
    assert _optimum(model) == 10


def test_holds_end_no_earlier_than_they_start() -> None:
    model = _model(2)
    hold = Interval("hold", model.start[0], model.start[1])
    other = _lasting(_model(1), 0, 1)
    other = Interval("other", 9, 10, 1)
    record(model, Cumulative("level", [hold, other], [1, 1], 1))
    model.rows.add(model.start[0] >= 5)
    model.rows.add(model.makespan >= model.start[1])
    assert _optimum(model) == 5


def test_absent_intervals_take_nothing_and_wait_for_nothing() -> None:
    model = _model(2)
    first, second = (_lasting(model, k, 6, model.on[k]) for k in range(2))
    record(model, NoOverlap("engine", [first, second]), Before(first, second, 4))
    _end_before_makespan(model, [first, second])
    model.rows.add(model.on[0] + model.on[1] >= 1)
    assert _optimum(model) == 6
    model.rows.add(model.on[0] + model.on[1] >= 2)
    assert _optimum(model) == 16


def test_at_most_one_literal_is_true() -> None:
    model = _model(3)
    record(model, AtMostOne([model.on[0], model.on[1], model.on[2]]))
    model.objective.set_value(model.on[0] + 2 * model.on[1] + model.on[2])
    model.objective.sense = pyo.maximize
    assert _optimum(model) == 2


@pytest.mark.parametrize(
    ("heights", "capacity", "expected"),
    [
        ((3, 3, 3), 9, 4),
        ((3, 3, 3), 8, 8),
        ((5, 5, 5), 8, 12),
        ((3, 3, 0), 3, 8),
        ((0, 0, 0), 0, 4),
    ],
)
def test_levels_stay_within_the_capacity(
    heights: tuple[int, ...], capacity: int, expected: int
) -> None:
    model = _model(3)
    intervals = [_lasting(model, k, 4) for k in range(3)]
    record(model, Cumulative("level", intervals, heights, capacity))
    _end_before_makespan(model, intervals)
    assert _optimum(model) == expected


def test_a_height_above_the_capacity_forbids_the_interval() -> None:
    model = _model(1)
    interval = _lasting(model, 0, 4, model.on[0])
    record(model, Cumulative("level", [interval], [5], 4))
    model.objective.set_value(1 - model.on[0])
    assert _optimum(model) == 1


def test_levels_are_judged_once_per_instant() -> None:
    """A chain of lengths zero may sit in one instant where what it frees is taken again."""
    model = _model(3)
    giver = Interval("giver", model.start[0], model.start[1])  # a hold up to the instant
    taker = Interval("taker", model.start[1], model.start[2])  # a hold from that instant
    point = _lasting(model, 1, 0)
    record(model, Cumulative("memory", [giver, taker, point], [5, 5, 5], 5))
    model.rows.add(model.start[1] == 4)
    model.rows.add(model.start[0] == 0)
    model.rows.add(model.start[2] == 8)
    assert _optimum(model) == 0


def test_heights_of_real_memory_do_not_overflow() -> None:
    gib = 1 << 30
    model = _model(40, horizon=10_000_000)
    intervals = [_lasting(model, k, 100_000) for k in range(40)]
    record(model, Cumulative("memory", intervals, [60 * gib] * 40, 79 * gib))
    assert write_cp_sat(model).model.validate() == ""
    model = _model(40, horizon=10_000_000)
    intervals = [_lasting(model, k, 100_000) for k in range(40)]
    record(model, Cumulative("memory", intervals, [20 * gib + k for k in range(40)], 79 * gib))
    assert write_cp_sat(model).model.validate() == ""


# -- alternatives that share times -----------------------------------------------------------------


def _flexible(lengths: list[list[int | None]], chains: list[tuple[int, int]]) -> Any:
    """Return tasks with one optional interval per machine, all over one start and one end."""
    horizon = sum(max(d for d in row if d is not None) for row in lengths)
    count, machines = len(lengths), len(lengths[0])
    model = _model(count, horizon)
    model.end = pyo.Var(range(count), domain=pyo.Integers, bounds=(0, horizon))
    keys = [(t, k) for t in range(count) for k in range(machines) if lengths[t][k] is not None]
    model.at = pyo.Var(keys, domain=pyo.Binary)
    made: dict[tuple[int, int], Interval] = {
        (t, k): Interval(f"{t} on {k}", model.start[t], model.end[t], lengths[t][k], model.at[t, k])
        for t, k in keys
    }
    for t in range(count):
        mine = [k for k in range(machines) if (t, k) in made]
        model.rows.add(sum(model.at[t, k] for k in mine) == 1)
        model.rows.add(
            model.end[t] == model.start[t] + sum(lengths[t][k] * model.at[t, k] for k in mine)
        )
        model.rows.add(model.makespan >= model.end[t])
    for a, b in chains:
        model.rows.add(model.start[b] >= model.end[a])
    for k in range(machines):
        record(model, NoOverlap(f"machine {k}", [i for (_, m), i in made.items() if m == k]))
    return model


def test_each_alternative_has_times_of_its_own() -> None:
    """CP-SAT 9.15 claims wrong optima where alternatives share variables."""
    written = write_cp_sat(_flexible([[3, 4], [2, 2], [5, None]], [(0, 1)]))
    proto = written.model.proto
    starts: dict[int, set[int]] = {}
    for k in range(len(proto.constraints)):
        constraint = proto.constraints[k]
        if constraint.has_interval():
            variables = list(constraint.interval.start.vars)
            literal = list(constraint.enforcement_literal)
            for variable in variables:
                starts.setdefault(variable, set()).update(literal)
    assert len(starts) == 5
    assert all(len(literals) == 1 for literals in starts.values())


def test_shared_times_agree_with_full_enumeration() -> None:
    lengths: list[list[int | None]] = [[3, 4], [2, 2], [5, None], [1, 6]]
    chains = [(0, 1), (2, 3)]

    def best() -> int:
        found = 10**9
        for machine in itertools.product(range(2), repeat=4):
            if any(lengths[t][k] is None for t, k in enumerate(machine)):
                continue
            for order in itertools.permutations(range(4)):
                free, end = [0, 0], [0] * 4
                if any(order.index(a) > order.index(b) for a, b in chains):
                    continue
                for t in order:
                    ready = max((end[a] for a, b in chains if b == t), default=0)
                    begin = max(free[machine[t]], ready)
                    end[t] = free[machine[t]] = begin + int(lengths[t][machine[t]] or 0)
                found = min(found, max(end))
        return found

    assert _optimum(_flexible(lengths, chains)) == best()


# -- the way back ----------------------------------------------------------------------------------


def test_large_whole_numbers_are_not_rounded() -> None:
    model = _model()
    model.big = pyo.Var(domain=pyo.Integers, bounds=(0, 10**13))
    model.rows.add(model.big >= 10**12 + 1)
    model.objective.set_value(model.big)
    assert _optimum(model) == 10**12 + 1


def test_hints_reach_lengths_of_holds() -> None:
    model = _model(2)
    hold = Interval("hold", model.start[0], model.start[1] + 1, None, model.on[0])
    record(model, Cumulative("level", [hold, Interval("x", 0, 9, 9)], [1, 1], 1))
    written = write_cp_sat(model)
    written.add_hints({"start[0]": 9.0, "start[1]": 12.0, "on[0]": 1.0})
    hint = written.model.proto.solution_hint
    assert 4 in list(hint.values)  # 12 + 1 - 9


def test_hints_reach_copies_too() -> None:
    model = _flexible([[3, 4], [2, 2], [5, None]], [(0, 1)])
    written = write_cp_sat(model)
    values = {"start[0]": 1.0, "at[0,0]": 0.0, "at[0,1]": 1.0, "nonsense": 4.0}
    written.add_hints(values)
    hint = written.model.proto.solution_hint
    hinted = dict(zip(list(hint.vars), list(hint.values), strict=True))
    named = {name: hinted.get(column.index) for name, column in written.columns.items()}
    assert named["start[0]"] == 1
    assert named["at[0,1]"] == 1
    assert named["start[1]"] is None
    assert len(hinted) == 5  # and the two copies of start[0]


def test_variables_that_nothing_mentions_still_get_a_value() -> None:
    model = _model(2)
    written = write_cp_sat(model)
    assert set(written.unused) == {"start[0]", "start[1]", "on[0]", "on[1]"}
    assert set(written.columns) == {"makespan"}
    for name, value in written.unused.items():
        variable = model.find_component(name)
        assert variable.lb <= value <= variable.ub


def test_ten_thousand_intervals_are_written_in_about_a_second() -> None:
    count, machines = 2_500, 4
    model = _flexible([[3, 4, 5, 6]] * count, [(k, k + 1) for k in range(0, count - 1, 2)])
    begun = time.process_time()
    written = write_cp_sat(model)
    seconds = time.process_time() - begun
    proto = written.model.proto
    intervals = sum(proto.constraints[k].has_interval() for k in range(len(proto.constraints)))
    assert intervals == count * machines
    assert seconds < 4  # about 1 s on an idle core; leave room for a loaded machine
