"""The cheapest changes that help, beside all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from parplan.search.conflicts.corrections import Correction, cheapest_corrections
from parplan.search.conflicts.hitting_sets import Choice, cheapest_hitting_set

MEMBERS = 7
SETS = st.lists(
    st.frozensets(st.integers(0, MEMBERS - 1), min_size=1, max_size=4), min_size=1, max_size=6
)
COSTS = st.lists(st.integers(10, 12), min_size=MEMBERS, max_size=MEMBERS)
ALL = [
    frozenset(some)
    for some in chain.from_iterable(
        combinations(range(MEMBERS), size) for size in range(MEMBERS + 1)
    )
]


def hits(choice: Choice, sets: Sequence[Choice]) -> bool:
    return all(choice & one for one in sets)


def cost_of(choice: Choice | None, costs: Sequence[int]) -> int | None:
    return None if choice is None else sum(costs[member] for member in choice)


@given(sets=SETS, costs=COSTS, excluded=st.lists(st.sampled_from(ALL), max_size=3))
def test_no_hitting_set_is_cheaper(
    sets: list[Choice], costs: list[int], excluded: list[Choice]
) -> None:
    left = [c for c in ALL if hits(c, sets) and not any(one <= c for one in excluded)]
    found = cheapest_hitting_set(sets, costs, excluded)
    assert found is None or found in left
    assert cost_of(found, costs) == min((cost_of(c, costs) for c in left), default=None)


@given(sets=SETS, costs=COSTS, unknown=st.frozensets(st.sampled_from(ALL), max_size=20))
def test_corrections_are_the_cheapest_and_all_that_are_as_few(
    sets: list[Choice], costs: list[int], unknown: frozenset[Choice]
) -> None:
    def helps(choice: Choice) -> bool | None:
        return None if choice in unknown else hits(choice, sets)

    def clash_without(choice: Choice) -> Sequence[int]:
        return sorted(next(one for one in sets if not choice & one))

    def found(most: int) -> list[Correction]:
        return list(cheapest_corrections(costs, sorted(sets[0]), helps, clash_without, most))

    known = [c for c in ALL if helps(c)]
    fewest = min(len(c) for c in ALL if hits(c, sets))
    everything = found(10**6)
    for correction in everything + found(2):
        assert correction.members in known
        if correction.proven:
            assert len(correction.members) == fewest
    if not unknown:
        mine = {c for c in known if len(c) == fewest}
        assert {correction.members for correction in everything} == mine
        assert all(correction.proven for correction in everything)
        ranked = [cost_of(correction.members, costs) for correction in everything]
        assert ranked == sorted(ranked)
    assert found(0) == [] or not found(0)[0].proven
