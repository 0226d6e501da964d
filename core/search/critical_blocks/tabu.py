"""Tabu search from an order to a better one, until patience or time is over."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.errors import InputError
from parplan.scheduling.tables import Whole
from parplan.search.critical_blocks.neighbourhood import Skeleton, has_blocks, skeleton_of
from parplan.search.critical_blocks.tabu_kernel import Memory, begin, make_memory, search_on
from parplan.search.sequences.kernel import FAR, Scratch, make_scratch, propagate
from parplan.search.sequences.machines import SequenceView
from parplan.search.sequences.moves import Edits, make_dice, make_edits
from parplan.search.sequences.ripples import Ripples, make_ripples

PATIENCE = 4000
"""Steps without a better order that end a search."""

SLICE_S = 0.2
"""Seconds between two looks at the clock."""

FIRST_STEPS = 200
"""Steps of the first slice, which measures how fast they are."""


@frozen(eq=False)
class Timed:
    """An order, the earliest start of each node under it, and the end of the last task."""

    order: Whole
    starts: Whole
    makespan: int


@frozen(eq=False)
class TabuSearch:
    """A view made ready for tabu search many times."""

    view: SequenceView

    def __attrs_post_init__(self) -> None:
        if not has_blocks(self.view.machines):
            raise InputError(
                "tabu search needs activities that all take time and that orders alone hold back; "
                "search such sequences by annealing"
            )

    @cached_property
    def _scratch(self) -> Scratch:
        return make_scratch(self.view.machines)

    @cached_property
    def _ripples(self) -> Ripples:
        return make_ripples(self.view.machines)

    @cached_property
    def _edits(self) -> Edits:
        return make_edits(self.view.machines)

    @cached_property
    def _skeleton(self) -> Skeleton:
        return skeleton_of(self.view.machines)

    @cached_property
    def _memory(self) -> Memory:
        return make_memory(self.view.machines)

    def timed(self, order: Whole) -> Timed:
        """Return an order with its times.

        Raises
        ------
        InputError
            If the order waits for itself.
        """
        machines = self.view.machines
        starts, nothing = np.zeros((2, len(machines.durations)), dtype=np.int64)
        makespan = propagate(machines, self._scratch, order, nothing, np.int64(-1), starts, FAR)
        if makespan < 0:
            raise InputError("the order waits for itself; give one that some schedule follows")
        return Timed(order, starts, int(makespan))

    def run(
        self, start: Timed, deadline: float, seed: int, target: int = 0, patience: int = PATIENCE
    ) -> tuple[Timed, int]:
        """Return the best order that tabu search reaches from one, and how many steps it took.

        Parameters
        ----------
        deadline
            On ``parplan.clock``.
        target
            Stop at a makespan this small, in ticks.
        patience
            Steps without a better order that end the search.
        """
        skeleton, memory = self._skeleton, self._memory
        current, best = start.order.copy(), start.order.copy()
        least = begin(skeleton, self._ripples, memory, current, start.starts)
        dice = make_dice(seed)
        left, steps, count = patience, 0, FIRST_STEPS
        while left > 0 and least > target and (now := clock.now()) < deadline:
            least, done, left = search_on(
                skeleton,
                self._ripples,
                self._edits,
                memory,
                current,
                best,
                np.int64(least),
                dice,
                np.int64(count),
                np.int64(left),
                np.int64(patience),
                np.int64(target),
            )
            steps += int(done)
            spent = max(clock.now() - now, 1e-6)
            count = max(int(done / spent * min(SLICE_S, deadline - now)), 10)
        return self.timed(best), steps
