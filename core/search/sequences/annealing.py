"""Simulated annealing on the orders of a view: from an order to a better one, until a deadline."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.criteria import Criterion
from parplan.scheduling.tables import Whole
from parplan.search.sequences.annealing_kernel import anneal_orders
from parplan.search.sequences.kernel import FAR, Scratch, judge, make_scratch
from parplan.search.sequences.machines import SequenceView
from parplan.search.sequences.moves import Edits, make_dice, make_edits
from parplan.search.sequences.ripples import Ripples, can_ripple, make_ripples

HOT, COLD = 0.5, 0.004
"""Temperature at the beginning and the end, in mean durations of what runs on machines.

The end is low enough that waits of the length of a short transfer matter too.
"""

SLICE_S = 0.2
"""Seconds between two looks at the clock."""

FIRST_MOVES = 2000
"""Moves of the first slice, which measures how fast they are."""


@frozen
class Found:
    """What an annealing has reached.

    Attributes
    ----------
    figure
        What the criterion makes small, in ticks.
    moves, evaluations
        How many moves were tried, and for how many of them times had to be computed.
    """

    order: Whole
    figure: int
    moves: int
    evaluations: int


@frozen(eq=False)
class Annealer:
    """A view made ready for annealing many times."""

    view: SequenceView
    criterion: Criterion = Criterion.MAKESPAN

    @cached_property
    def _scratch(self) -> Scratch:
        return make_scratch(self.view.machines)

    @cached_property
    def _edits(self) -> Edits:
        return make_edits(self.view.machines)

    @cached_property
    def _ripples(self) -> Ripples:
        return make_ripples(self.view.machines)

    @cached_property
    def _can_ripple(self) -> bool:
        return self.criterion is Criterion.MAKESPAN and can_ripple(self.view.machines)

    @cached_property
    def _scale(self) -> float:
        durations = self.view.machines.durations
        return float(durations[durations > 0].mean()) if durations.any() else 1.0

    def times(self, order: Whole) -> tuple[int, Whole]:
        """Return the criterion's figure in ticks and the start of each node; -1 in a deadlock."""
        machines = self.view.machines
        starts, late = np.zeros((2, len(machines.durations)), dtype=np.int64)
        figure = judge(
            machines,
            self._scratch,
            order,
            starts,
            np.int64(-1),
            starts,
            late,
            FAR,
            np.int64(self.criterion),
        )
        return int(figure), starts if self.criterion is Criterion.MAKESPAN else late

    def run(
        self, order: Whole, seconds: float, seed: int, target: int = 0, heat: float = 1.0
    ) -> Found:
        """Return the best order that annealing reaches from a feasible one.

        Parameters
        ----------
        seconds
            How long; the temperature falls geometrically over this time.
        target
            Stop at a figure this small, in ticks.
        heat
            Factor on the first temperature: 1 from a rough start, less to go on from a good one.
        """
        current = order.copy()
        best, least = order.copy(), self.times(order)[0]
        dice = make_dice(seed)
        begun = now = clock.now()
        moves, evaluations, rate = 0, 0, 0.0
        while least > target and now < begun + seconds:
            left = begun + seconds - now
            count = FIRST_MOVES if moves == 0 else max(int(rate * min(SLICE_S, left)), 100)
            hot = self._temperature(1.0 - left / seconds, heat)
            cold = self._temperature(1.0 - max(left - SLICE_S, 0.0) / seconds, heat)
            reached = current.copy()
            figure, done, evaluated = anneal_orders(
                self.view.machines,
                self._scratch,
                self._edits,
                self._ripples,
                current,
                reached,
                dice,
                np.int64(count),
                hot,
                cold,
                np.int64(target),
                np.int64(self.criterion),
                self._can_ripple,
            )
            moves += int(done)
            evaluations += int(evaluated)
            if figure < least:
                least, best = int(figure), reached
            before, now = now, clock.now()
            rate = done / max(now - before, 1e-6)
        return Found(best, least, moves, evaluations)

    def _temperature(self, part: float, heat: float) -> float:
        hot = max(heat * HOT, COLD)
        return self._scale * hot * float((COLD / hot) ** part)
