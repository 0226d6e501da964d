"""The least amounts of several resources, each by its own, with which a plan exists.

What is not enough is not enough with less of anything, either: so each proof leaves out a box of
amounts, made as large as proofs reach, and the least amounts outside of all boxes come next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import define, field, frozen

from parplan.rules import Rules
from parplan.schedule import Schedule
from parplan.search.conflicts.capacities import (
    PRECISION,
    extra_used,
    granule,
    larger,
    more_than_anything,
)
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import resource_at

Amounts = tuple[float, ...]


@frozen
class LeastAmounts:
    """How much more each of some resources takes.

    Attributes
    ----------
    enough
        Amounts with which together there is a plan.
    least
        Less than this in all is proven not to do.
    """

    enough: Amounts
    least: float


def least_amounts(
    rules: Rules, positions: Sequence[int], possibility: Possibility, most: int
) -> LeastAmounts | None:
    """Return the least amounts in all by which some resources must grow.

    Parameters
    ----------
    positions
        Of the resources in ``rules.declared``, of one unit.
    most
        Questions to ask; with them used up, the amounts may be more than the least.

    Returns
    -------
    LeastAmounts | None
        None if no amounts are known to be enough.
    """
    return _Growth(rules, tuple(positions), possibility, most).least()


@define(eq=False)
class _Growth:
    """Amounts that are enough, and boxes of amounts that are not, while they are looked for."""

    rules: Rules
    positions: tuple[int, ...]
    possibility: Possibility
    questions: int
    _best: Amounts = field(default=(), init=False)
    _refuted: list[Amounts] = field(factory=list, init=False)
    _missed: list[Amounts] = field(factory=list, init=False)

    def least(self) -> LeastAmounts | None:
        huge = tuple(more_than_anything(self.rules, [p]) for p in self.positions)
        if self._is_enough(huge) is not True:
            return None
        while self.questions > 0:
            asked = self._least_above([*self._refuted, *self._missed])
            if sum(asked) + self._tolerance > sum(self._best):
                break
            answer = self._is_enough(asked)
            if answer is None:
                middle = tuple((a + max(a, b)) / 2 for a, b in zip(asked, self._best, strict=True))
                self._missed.append(middle)
            elif answer is False:
                self._refuted.append(self._enlarged(asked))
        least = sum(self._least_above(self._refuted))
        if not all(self._step(i) for i in range(len(self.positions))):
            least -= self._grain * len(self.positions)  # what is just above a box is not refuted
        return LeastAmounts(self._best, min(max(least, 0.0), sum(self._best)))

    def _is_enough(self, amounts: Amounts) -> bool | None:
        """Return whether amounts are enough; what a schedule takes of them may be the best."""
        self.questions -= 1
        rules = self.rules
        for position, amount in zip(self.positions, amounts, strict=True):
            rules = larger(rules, [position], amount)
        found = self.possibility.of(rules)
        if found.schedule is not None:
            used = self._used(found.schedule)
            if not self._best or sum(used) < sum(self._best):
                self._best = used
        return found.possible

    def _used(self, schedule: Schedule) -> Amounts:
        return tuple(
            max(extra_used(schedule, [resource_at(self.rules, p)]), 0.0) for p in self.positions
        )

    def _enlarged(self, box: Amounts) -> Amounts:
        """Return amounts that are not enough, either, each as large as is proven and of use.

        More of one resource than the best in all is of none.
        """
        for i in range(len(box)):
            low, high = box[i], math.inf
            middle = sum(self._best)
            while self.questions > 0 and low < middle < high:
                if self._is_enough((*box[:i], middle, *box[i + 1 :])) is False:
                    low = middle
                else:
                    high = middle
                middle = self._above(i, low)
                if middle < high < math.inf:
                    middle = max(middle, self._below(i, (low + high) / 2))
                elif math.isinf(high):
                    break
            box = (*box[:i], low, *box[i + 1 :])
        return box

    def _least_above(self, boxes: Sequence[Amounts]) -> Amounts:
        """Return the least amounts in all that are outside of every box."""
        best: Amounts = (math.inf,) * len(self.positions)
        pending: list[Amounts] = [(0.0,) * len(self.positions)]
        seen: set[Amounts] = set()
        while pending:
            amounts = pending.pop()
            if amounts in seen or sum(amounts) >= sum(best):
                continue
            seen.add(amounts)
            inside = next((b for b in boxes if _is_within(amounts, b)), None)
            if inside is None:
                best = amounts
                continue
            for i, most in enumerate(inside):
                pending.append((*amounts[:i], self._above(i, most), *amounts[i + 1 :]))
        return best

    def _above(self, index: int, amount: float) -> float:
        """Return the least amount of a resource that gives more than an amount does."""
        step = self._step(index)
        if not step:
            return amount + self._grain
        return amount + step - (self._capacity(index) + amount) % step

    def _below(self, index: int, amount: float) -> float:
        """Return the most of a resource up to an amount that gives more than anything less."""
        step = self._step(index)
        return amount - (self._capacity(index) + amount) % step if step else amount

    def _capacity(self, index: int) -> float:
        return resource_at(self.rules, self.positions[index]).capacity

    def _step(self, index: int) -> float:
        return granule(self.rules.problem, [resource_at(self.rules, self.positions[index])])

    @property
    def _grain(self) -> float:
        return PRECISION * sum(self._best) / len(self.positions)

    @property
    def _tolerance(self) -> float:
        """What the best may be above the least: nothing where levels are whole steps."""
        steps = [self._step(i) for i in range(len(self.positions))]
        return 1e-9 if all(steps) else PRECISION * sum(self._best)


def _is_within(amounts: Amounts, box: Amounts) -> bool:
    return all(a <= b for a, b in zip(amounts, box, strict=True))
