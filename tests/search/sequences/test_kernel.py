"""Orders: both forms of the longest path agree, and what fits an order is a schedule."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.errors import InfeasibleError
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import Rules, make_rules
from parplan.scheduling.list_scheduler import Deadlock, ListScheduler
from parplan.scheduling.network import Network, build_network
from parplan.scheduling.tables import Whole
from parplan.search.sequences.annealing_kernel import settle
from parplan.search.sequences.kernel import (
    BEYOND,
    DEADLOCK,
    FAR,
    longest_span,
    make_scratch,
    propagate,
)
from parplan.search.sequences.longest_path import (
    earliest_starts,
    latest_starts,
    makespan_of,
    order_fits,
)
from parplan.search.sequences.machines import SequenceView, make_view
from tests.strategies import problems

REGISTRY = load_registry(installed=False)
NOTHING = np.int64(-1)
"""Nothing is kept."""


def _network(problem: Problem, seed: int) -> tuple[Network, Rules] | None:
    """A network under a random assignment; None where it does not go together."""
    random_ = random.Random(seed)
    try:
        rules = make_rules(problem, REGISTRY)
        groups = range(problem.workload.group_count)
        chosen = {
            (o, g): random_.choice(rows) for o, rows in enumerate(rules.allowed) for g in groups
        }
        return build_network(problem, rules, chosen), rules
    except InfeasibleError:
        return None


def _shaken(view: SequenceView, order: Whole, random_: random.Random) -> Whole:
    """The order after a few exchanges of neighbours."""
    first = view.machines.first
    found = order.copy()
    for _ in range(random_.randrange(4)):
        q = random_.randrange(len(first) - 1)
        if first[q + 1] - first[q] > 1:
            p = random_.randrange(first[q], first[q + 1] - 1)
            found[[p, p + 1]] = found[[p + 1, p]]
    return found


@settings(max_examples=200, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**16))
def test_both_forms_agree_and_what_fits_breaks_no_rule(problem: Problem, seed: int) -> None:
    made = _network(problem, seed)
    if made is None:
        return
    network, rules = made
    scheduler = ListScheduler(network)
    listed = scheduler.run(np.random.default_rng(seed).random(len(network)))
    view = make_view(network, scheduler.tables)
    if isinstance(listed, Deadlock) or view is None:
        return
    machines = view.machines
    random_ = random.Random(seed)
    order = _shaken(view, view.order(listed), random_)
    place = np.zeros(len(machines.visit_machine), dtype=np.int64)
    held = np.zeros(machines.held_first[-1] + 1)
    starts, fresh = np.zeros((2, len(machines.durations)), dtype=np.int64)
    scratch = make_scratch(machines)
    makespan = propagate(machines, scratch, order, fresh, NOTHING, starts, FAR)
    plain = earliest_starts(machines, order)
    if plain is None:
        assert makespan == DEADLOCK
        return
    assert starts.tolist() == plain.tolist()
    assert makespan == makespan_of(machines, plain)
    span, late = latest_starts(machines, order, plain)
    latest = np.zeros(len(machines.durations), dtype=np.int64)
    assert longest_span(machines, scratch, starts, makespan, latest) == span
    assert latest.tolist() == late.tolist()
    fits = order_fits(machines, order)
    assert settle(machines, order, place, held) == fits
    if fits:
        for times in (starts, latest):
            violations = check_schedule(network.schedule(view.starts(times).tolist()), rules)
            assert not violations
    # An evaluation that keeps what came before a change, and one that gives up, agree with these.
    other = _shaken(view, order, random_)
    changed = [i for i, j in zip(order, other, strict=True) if i != j]
    begin = min((int(plain[i]) for i in changed), default=int(FAR))
    wanted = earliest_starts(machines, other)
    found = propagate(machines, scratch, other, starts, np.int64(begin), fresh, FAR)
    if wanted is None:
        assert found == DEADLOCK
    else:
        assert fresh.tolist() == wanted.tolist()
        limit = makespan_of(machines, wanted) - 1
        gave_up = propagate(machines, scratch, other, fresh, NOTHING, starts, np.int64(limit))
        assert gave_up == BEYOND or gave_up > limit
        limit += 1
        assert limit == propagate(machines, scratch, other, fresh, NOTHING, starts, np.int64(limit))
