"""Windows that end with the backward pass, and patience, do what they are for."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.scheduling.priorities import window_arcs
from parplan.search.improving.improvement import turning
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Prepared, prepare, schedule_by_rule
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline

TIMES, DELAY = (29.7, 29.4, 19.9), 0.6


def _one_way(devices: int, microbatches: int, registry: Registry) -> Prepared:
    problem = even_pipeline(devices, devices, microbatches, TIMES, delay=DELAY, tick_s=0.1)
    rules = make_rules(problem, registry)
    return prepare(Placer(problem, rules, find_blocks(problem, rules)), (tuple(range(devices)),))


@pytest.mark.parametrize(("devices", "microbatches"), [(16, 16), (4, 8)])
def test_patient_passes_let_backwards_through_without_a_stop(
    devices: int, microbatches: int, registry: Registry
) -> None:
    """With memory for all, the last stage takes turns, or never waits: no schedule is shorter."""
    prepared = _one_way(devices, microbatches, registry)
    forward, backward, weight = TIMES
    turns = microbatches * (forward + backward)
    there, back = (devices - 1) * (forward + DELAY), (devices - 1) * (backward + DELAY)
    best = there + max(turns + back + weight, microbatches * sum(TIMES))
    rule = next(rule for rule in turning() if "forward" in rule.patient)
    found = schedule_by_rule(prepared, rule)
    hasty = schedule_by_rule(prepared, attrs.evolve(rule, patient=frozenset()))
    assert found is not None
    assert hasty is not None
    assert found.makespan == round(best / 0.1)
    assert hasty.makespan >= found.makespan + (microbatches == devices)


@settings(max_examples=20, deadline=None)
@given(extra=st.integers(0, 3), ahead=st.sampled_from([0.5, 1.0, 1.2]), data=st.data())
def test_a_window_until_backward_counts_forwards_without_their_backward(
    extra: int, ahead: float, data: st.DataObject, registry: Registry
) -> None:
    prepared = _one_way(3, data.draw(st.integers(1, 9)), registry)
    rule = attrs.evolve(data.draw(st.sampled_from(turning())), ahead=ahead, extra=extra)
    found = schedule_by_rule(prepared, rule)
    assert found is not None
    before, after = window_arcs(prepared.network, prepared.profile, rule, prepared.turns)
    kinds = [prepared.network.problem.graph.operators[o].name[0] for o, _ in prepared.network.tasks]
    assert {kinds[task] for task in before} <= {"b"}
    assert {kinds[task] for task in after} <= {"f"}
    durations = prepared.scheduler.tables.durations
    assert (found.starts[after] >= (found.starts + durations)[before]).all()
