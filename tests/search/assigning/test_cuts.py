"""What a proof rests on is found in few tries, and nothing in it can be left out."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from parplan.search.assigning.cuts import narrowed


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_exactly_what_is_needed_is_left(drawn: tuple[int, set[int]]) -> None:
    count, needed = drawn
    assignment = {(o, 0): o for o in range(count)}
    part = narrowed(assignment, list(assignment), lambda a: needed <= {o for o, _ in a}, 10**6)
    assert part == {(o, 0): o for o in needed}


def test_few_tries_leave_a_part_that_still_proves() -> None:
    assignment = {(o, 0): o for o in range(64)}
    asked = 0

    def proves(part: Mapping[tuple[int, int], int]) -> bool:
        nonlocal asked
        asked += 1
        return (60, 0) in part

    part = narrowed(assignment, list(assignment), proves, 12)
    assert part == {(60, 0): 60}
    assert asked <= 12
