"""The compiled list scheduler decides exactly as the plain one, which tests can read."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.errors import InfeasibleError
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.scheduling.kernel import run_compiled
from parplan.scheduling.list_scheduler import NO_ARCS, arcs_of, run_plainly, serial_arcs
from parplan.scheduling.network import Network, build_network
from parplan.scheduling.tables import make_tables
from tests.strategies import problems

REGISTRY = load_registry(installed=False)


def _network(problem: Problem, seed: int) -> Network | None:
    """A network under a random assignment; None where it does not go together."""
    random_ = random.Random(seed)
    try:
        rules = make_rules(problem, REGISTRY)
        groups = range(problem.workload.group_count)
        chosen = {
            (o, g): random_.choice(rows) for o, rows in enumerate(rules.allowed) for g in groups
        }
        return build_network(problem, rules, chosen)
    except InfeasibleError:
        return None


@settings(max_examples=150, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**16))
def test_both_forms_start_everything_at_the_same_instants(problem: Problem, seed: int) -> None:
    network = _network(problem, seed)
    if network is None:
        return
    tables = make_tables(network)
    random_ = np.random.default_rng(seed)
    # Few distinct priorities, so that ties are common.
    priority = random_.integers(0, 4, len(network)).astype(float)
    patient = random_.random(len(network)) < random_.random()
    for arcs in (NO_ARCS, serial_arcs(network)):
        plain = run_plainly(tables, priority, *arcs, patient)
        compiled = run_compiled(tables, priority, *arcs, patient)
        assert plain[0].tolist() == compiled[0].tolist()
        assert plain[1:] == compiled[1:]


@pytest.mark.parametrize("run", [run_plainly, run_compiled])
def test_a_cycle_of_further_arcs_starts_nothing_on_it(run: object, registry: object) -> None:
    from tests.plan_samples import pipeline_plan

    problem = pipeline_plan(2, 2).problem
    network = _network(problem, 0)
    assert network is not None
    one, two = network.task_index[0, 0], network.task_index[0, 1]
    starts, done, _, _ = run(  # type: ignore[operator]  # one of the two forms
        make_tables(network),
        np.zeros(len(network)),
        *arcs_of([(one, two), (two, one)]),
        np.zeros(len(network), dtype=np.bool_),
    )
    assert done < len(network)
    assert starts[one] == starts[two] == -1
