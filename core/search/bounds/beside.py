"""Several parents of one task: those beside it run one after the other, the others cost delays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.instance import Arc, Array, Instance, is_step

MOST_JOINS = 2_000
"""Tasks with several parents or children, from which on this is left out: it takes too long."""

CLOSE = 1e-6
"""What a sum of fractions of ticks may be too large by."""


@frozen(eq=False)
class Beside:
    """What holds of a task because its parents cannot all be beside it at once, nor its children.

    Take a task in a choice with first device d. A parent that is on d takes its part of d's
    busiest resource; one that is not has an arrival: its least end in choices without d, plus the
    delay. In any schedule let k be the parent of largest arrival among those that are not on d:
    the task starts no earlier, and all parents of larger arrival are on d, so it starts no earlier
    than the least head of these plus the sum of their work on that resource. The least of the
    larger of the two over all k, and with all parents on d, holds whatever the schedule.
    Read from the end, the same holds of children.

    Such sets of parents are those of Jung, Kirousis and Spirakis (SPAA 1989), whose tasks may be
    repeated on several devices; here each runs once, and in one of several ways.
    """

    instance: Instance

    def heads(self, heads: Sequence[Array], operator: int) -> Array | None:
        """Return the earliest starts, ``(columns, A)``, from the heads of the parents.

        None where there are no two parents to compare.
        """
        instance = self.instance
        arcs = self._grouped[0][operator] if self.applies else {}
        if len(arcs) < 2:
            return None
        return np.array(
            [
                self._least_start(
                    operator,
                    [
                        (
                            parent,
                            heads[parent][at := min(row, len(heads[parent]) - 1)],
                            instance.ticks[parent][at],
                            self._delays(group, instance.columns_of(parent)[at].microbatch),
                        )
                        for parent, group in arcs.items()
                    ],
                )
                for row in range(len(instance.columns_of(operator)))
            ]
        )

    def tails(self, tails: Sequence[Array], operator: int) -> Array | None:
        """Return the least remainders, ``(columns, A)``, from the tails of the children."""
        instance = self.instance
        arcs = self._grouped[1][operator] if self.applies else {}
        if len(arcs) < 2:
            return None
        return np.array(
            [
                self._least_start(
                    operator,
                    [
                        (
                            child,
                            tails[child][at := min(row, len(tails[child]) - 1)],
                            instance.ticks[child][at],
                            self._delays(group, column.microbatch).T,
                        )
                        for child, group in arcs.items()
                    ],
                )
                for row, column in enumerate(instance.columns_of(operator))
            ]
        )

    def _delays(self, arcs: Sequence[Arc], microbatch: int) -> Array:
        longest: Array = np.maximum.reduce([self.instance.delays(a, microbatch) for a in arcs])
        return longest

    def _least_start(
        self, operator: int, neighbours: Sequence[tuple[int, Array, Array, Array]]
    ) -> Array:
        """Return the least start in each choice, ``(A,)``.

        Parameters
        ----------
        neighbours
            (operator, heads in its choices, ticks in its choices, delays from its choices).
        """
        target = self._first_devices(operator)
        shape = len(neighbours), len(target)
        away, near, head, work = (np.empty(shape) for _ in range(4))
        for i, (other, starts, ticks, delays) in enumerate(neighbours):
            on = self._members(other)[:, target]
            ends = (starts + ticks)[:, None] + delays
            away[i] = _least(np.where(on, np.inf, ends))
            near[i] = _least(np.where(on, ends, np.inf))
            head[i] = _least(np.where(on, starts[:, None], np.inf))
            parts = self._parts(other)[:, target]
            work[i] = _least(np.where(on, ticks[:, None] * parts, np.inf))
        order = np.argsort(-away, axis=0, kind="stable")
        away, near, head, work = (
            np.take_along_axis(table, order, axis=0) for table in (away, near, head, work)
        )
        busy = np.minimum.accumulate(head) + np.cumsum(work, axis=0)
        busy = np.ceil(busy * (1 - 1e-12) - CLOSE)
        beside = np.maximum.accumulate(np.maximum(near, busy), axis=0)
        some_away = np.maximum(beside[:-1], away[1:]).min(axis=0)
        start: Array = np.minimum(np.minimum(away[0], beside[-1]), some_away)
        return start

    @property
    def applies(self) -> bool:
        """Whether anything is said here: not of graphs with very many joins."""
        return bool(self._grouped[0])

    @cached_property
    def _grouped(self) -> tuple[tuple[dict[int, list[Arc]], ...], tuple[dict[int, list[Arc]], ...]]:
        """Arcs of tensors by parent and by child of each task; empty where joins are too many."""
        instance = self.instance
        parents, children, joins = [], [], 0
        for o in range(len(instance.choices)):
            parents.append(self._parents(o))
            children.append(self._children(o))
            if len(parents[-1]) > 1 or len(children[-1]) > 1:
                joins += len(instance.columns_of(o))
            if joins > MOST_JOINS:
                return (), ()
        return tuple(parents), tuple(children)

    # What runs once per step has one task where others have many: as a child of these it waits for
    # all of them, which is left to other bounds, and so are its own many children.

    def _parents(self, operator: int) -> dict[int, list[Arc]]:
        """Return arcs by parent, where one task waits for one task of it."""
        graph = self.instance.problem.graph
        found: dict[int, list[Arc]] = {}
        for arc in self.instance.incoming[operator]:
            before = is_step(graph, arc.before)
            if arc.tensor >= 0 and (before or not is_step(graph, operator)):
                found.setdefault(arc.before, []).append(arc)
        return found

    def _children(self, operator: int) -> dict[int, list[Arc]]:
        """Return arcs by child, likewise."""
        graph = self.instance.problem.graph
        found: dict[int, list[Arc]] = {}
        for arc in self.instance.outgoing[operator]:
            after = is_step(graph, arc.after)
            if arc.tensor >= 0 and (after or not is_step(graph, operator)):
                found.setdefault(arc.after, []).append(arc)
        return found

    # -- devices ---------------------------------------------------------------------------------

    @cached_property
    def _member_cache(self) -> dict[int, NDArray[np.bool_]]:
        return {}

    def _members(self, operator: int) -> NDArray[np.bool_]:
        """Return which choice of an operator includes which device, ``(A, devices)``."""
        choices = self.instance.choices[operator]
        if id(choices) not in self._member_cache:
            found = np.zeros((len(choices), len(self.instance.problem.cluster.devices)), dtype=bool)
            for row, choice in enumerate(choices):
                found[row, list(choice.devices)] = True
            self._member_cache[id(choices)] = found
        return self._member_cache[id(choices)]

    def _first_devices(self, operator: int) -> NDArray[np.int64]:
        return np.array([c.devices[0] for c in self.instance.choices[operator]], dtype=np.int64)

    def _parts(self, operator: int) -> Array:
        """Return the part of each device's busiest resource that a choice takes, ``(A, D)``."""
        instance = self.instance
        table = instance.amounts[instance.use[operator]][:, self._busiest]
        capacity = instance.capacities[self._busiest]
        parts: Array = np.divide(table, capacity, out=np.zeros_like(table), where=capacity > 0)
        return parts

    @cached_property
    def _busiest(self) -> NDArray[np.int64]:
        """The resource of which running on each device takes most in all, ``(devices,)``."""
        instance = self.instance
        devices = len(instance.problem.cluster.devices)
        total = np.zeros((devices, len(instance.resources)))
        positive = np.where(instance.capacities > 0, instance.capacities, np.inf)
        for o in range(len(instance.choices)):
            used = instance.amounts[instance.use[o]] / positive
            total += self._members(o).T.astype(float) @ used
        busiest: NDArray[np.int64] = total.argmax(axis=1)
        return busiest


def _least(times: Array) -> Array:
    """Return the least of each column; infinite minus infinite is a choice that cannot be."""
    least: Array = np.fmin.reduce(times, axis=0)
    return np.where(np.isnan(least), np.inf, least)
