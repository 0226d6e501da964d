from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from parplan.search.conflicts.irreducible import irreducible

NUMBERS = st.integers(0, 15)


@given(st.lists(st.frozensets(NUMBERS, max_size=4), min_size=1, max_size=4))
def test_what_is_left_clashes_and_nothing_of_it_can_be_left_out(
    clashes: list[frozenset[int]],
) -> None:
    asked = 0

    def clash(members: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return any(found <= set(members) for found in clashes)

    found = irreducible(range(16), clash)
    limit = 2 * len(found) * math.log2(16 / max(len(found), 1)) + 2 * len(found) + 1
    assert asked <= limit
    assert clash(found)
    assert list(found) == sorted(found)
    for member in found:
        assert not clash([other for other in found if other != member])


def test_what_is_not_known_is_kept() -> None:
    found = irreducible(range(4), lambda members: len(members) == 4)
    assert found == (0, 1, 2, 3)
