"""Tabu search and path relinking: what they time is right, and small shops are solved."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.jobshop import read_jsplib
from parplan import clock
from parplan.errors import InputError
from parplan.search.critical_blocks.relinking import (
    PARTS,
    Relinking,
    kept,
    on_the_way,
    random_order,
    relinked,
)
from parplan.search.critical_blocks.tabu import TabuSearch
from parplan.search.sequences.longest_path import earliest_starts, makespan_of
from tests.search.critical_blocks.shops import random_jobs, shortest, view_of

LONG_S = 60.0
"""A limit that nothing here should come near."""


@settings(max_examples=15, deadline=None)
@given(jobs=st.integers(2, 8), machines=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_a_search_ends_with_an_order_that_is_as_short_as_it_says(
    jobs: int, machines: int, seed: int
) -> None:
    view = view_of(random_jobs(jobs, machines, seed))
    search = TabuSearch(view)
    start = search.timed(random_order(view, random.Random(seed)))
    found, steps = search.run(start, clock.now() + LONG_S, seed, patience=50)
    assert found.makespan <= start.makespan
    assert steps <= 50 * (start.makespan - found.makespan + 1)
    starts = earliest_starts(view.machines, found.order)
    assert starts is not None
    assert starts.tolist() == found.starts.tolist()
    assert makespan_of(view.machines, starts) == found.makespan


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), part=st.integers(0, PARTS))
def test_between_two_orders_nothing_waits_for_itself(seed: int, part: int) -> None:
    view = view_of(random_jobs(6, 4, seed))
    search, chance = TabuSearch(view), random.Random(seed)
    one, two = (search.timed(random_order(view, chance)) for _ in range(2))
    order = on_the_way(view, one.starts, two.starts, part)
    assert earliest_starts(view.machines, order) is not None
    at = {0: one, PARTS: two}
    if part in at:
        assert order.tolist() == at[part].order.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_three_jobs_on_three_machines_are_solved(seed: int) -> None:
    jobs = random_jobs(3, 3, seed)
    search = TabuSearch(view_of(jobs))
    found = relinked(search, [], clock.now() + LONG_S, seed, shortest(jobs), Relinking(4, 60))
    assert found[0].makespan == shortest(jobs)


def test_a_published_shop_is_solved(data_dir: Path) -> None:
    text = (data_dir / "jsplib" / "instances" / "ft06").read_text()
    search = TabuSearch(view_of(read_jsplib(text, "ft06")))
    found = relinked(search, [], clock.now() + LONG_S, 1, 55, Relinking(6, 500))
    assert found[0].makespan == 55


def test_a_population_holds_no_order_twice() -> None:
    view = view_of(random_jobs(6, 6, 1))
    search, chance = TabuSearch(view), random.Random(1)
    orders = [search.timed(random_order(view, chance)) for _ in range(5)]
    found = kept([*orders, *orders], 4)
    assert [one.makespan for one in found] == sorted(one.makespan for one in orders)[:4]
    assert len({one.starts.tobytes() for one in found}) == 4


def test_an_order_that_waits_for_itself_is_refused() -> None:
    view = view_of([[(0, 1), (1, 1)], [(1, 1), (0, 1)]])
    m = view.machines
    order = random_order(view, random.Random(1))
    late = [int(m.first[q]) for q in range(len(m.first) - 1) if m.first[q + 1] - m.first[q] == 2]
    for p in late:  # on each machine, what a job does second goes first
        if m.arc_first[order[p] + 1] == m.arc_first[order[p]]:
            order[p], order[p + 1] = order[p + 1], order[p]
    with pytest.raises(InputError, match="waits for itself"):
        TabuSearch(view).timed(order)
