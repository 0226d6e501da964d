"""How long a tensor needs from one choice of its producer to one choice of its reader."""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from parplan.problem import Alternative, Problem
from parplan.ticks import WHOLE, ticks_up

Array = NDArray[np.float64]


def padded_devices(choices: tuple[Alternative, ...]) -> NDArray[np.int64]:
    """Return the devices of each choice, ``(A, largest group)``, the first repeated as filling."""
    width = max(len(a.devices) for a in choices)
    rows = [a.devices + a.devices[:1] * (width - len(a.devices)) for a in choices]
    return np.array(rows, dtype=np.int64)


@frozen(eq=False)
class Transit:
    """Least delay of tensors between choices, with the matrices found so far.

    A delay is 0 where every device of the reader's group belongs to the producer's, and infinite
    where the tensor cannot get there. Waiting for links or engines is not counted.
    """

    problem: Problem
    _cache: dict[object, Array] = field(factory=dict, init=False)
    _groups: dict[int, NDArray[np.int64]] = field(factory=dict, init=False)
    _sizes: dict[tuple[int, int], tuple[int | None, ...]] = field(factory=dict, init=False)

    def delays(
        self,
        tensor: int,
        microbatch: int,
        before: tuple[Alternative, ...],
        after: tuple[Alternative, ...],
        reader: int,
    ) -> Array:
        """Return ``(choices of the producer, choices of the reader)`` delays in ticks.

        Minus infinity stands where the reader's mode does not read the tensor.
        """
        problem, producer = self.problem, self.problem.graph.producers[tensor]
        sizes = self._sizes.get((tensor, microbatch))
        if sizes is None:
            modes = range(len(problem.graph.operators[producer].modes))
            sizes = tuple(problem.tensor_bytes(tensor, mode, microbatch) for mode in modes)
            self._sizes[tensor, microbatch] = sizes
        fits = self._fits(tensor, producer, reader)
        key = (id(before), id(after), sizes, fits)
        found = self._cache.get(key)
        if found is None:
            found = self._matrix(before, after, sizes, fits)
            self._cache[key] = found
        return found

    def _fits(
        self, tensor: int, producer: int, reader: int
    ) -> tuple[tuple[str, ...], tuple[tuple[bool, str], ...]] | None:
        """Return layouts of the producer's modes, and of the reader's with whether it reads."""
        graph = self.problem.graph
        makers, readers = graph.operators[producer].modes, graph.operators[reader].modes
        if not any(m.layout for m in makers) and all(m.reads is None for m in readers):
            return None
        name = graph.tensors[tensor].name
        reads = tuple((m.reads is None or name in m.reads, m.layout) for m in readers)
        return tuple(m.layout for m in makers), reads

    def _matrix(
        self,
        before: tuple[Alternative, ...],
        after: tuple[Alternative, ...],
        sizes: tuple[int | None, ...],
        fits: tuple[tuple[str, ...], tuple[tuple[bool, str], ...]] | None,
    ) -> Array:
        targets = self._members(after)
        if fits is None and len(sizes) == 1 and sizes[0] is not None and targets.shape[1] == 1:
            between = self._between(sizes[0])
            nearest = between[self._members(before)].min(axis=1)
            return np.ascontiguousarray(nearest[:, targets[:, 0]])
        result = np.full((len(before), len(after)), np.inf)
        sources, modes = self._members(before), np.array([a.mode for a in before])
        for mode, size in enumerate(sizes):
            rows = np.flatnonzero(modes == mode)
            if size is not None and len(rows):
                # From the nearest device of the producer's group, to the worst of the reader's.
                nearest = self._between(size)[sources[rows]].min(axis=1)
                result[rows] = nearest[:, targets].max(axis=2)
        if fits is not None:
            layouts, readers = fits
            for row, maker in enumerate(before):
                for column, user in enumerate(after):
                    reads, layout = readers[user.mode]
                    mine = layouts[maker.mode]
                    if mine and layout and mine != layout:
                        result[row, column] = np.inf
                    if not reads:
                        result[row, column] = -np.inf
        return result

    def _members(self, choices: tuple[Alternative, ...]) -> NDArray[np.int64]:
        if id(choices) not in self._groups:
            self._groups[id(choices)] = padded_devices(choices)
        return self._groups[id(choices)]

    def timing(self) -> tuple[Array, Array, Array]:
        """Return latency, ticks per byte and slack in ticks of each ordered pair of devices.

        Latency is infinite where there is no route; the slack is what several hops may round up.
        """
        if "latency" not in self._cache:
            self._measure()
        return self._cache["latency"], self._cache["per_byte"], self._cache["slack"]

    def _between(self, size: int) -> Array:
        """Return ticks from device to device, at most ``Problem.transfer_timing(...).arrival``."""
        latency, per_byte, slack = self.timing()
        # A hair less than ``ticks_up`` takes off: never above it, whatever the last bit is.
        ticks = np.ceil(size * per_byte * (1 - 1e-12) - 1e-9 - slack)
        return latency + np.maximum(ticks, 0.0)

    def _measure(self) -> None:
        """Find latency and ticks per byte of each ordered pair; infinite without a route."""
        cluster, tick_s = self.problem.cluster, self.problem.tick_s
        count = len(cluster.devices)
        latency = np.full((count, count), np.inf)
        np.fill_diagonal(latency, 0.0)
        per_byte, slack = np.zeros((count, count)), np.zeros((count, count))
        for source in range(count):
            for target in range(count):
                route = cluster.route(source, target) if source != target else None
                if route is None:
                    continue
                links = [cluster.links[cluster.link_index[name]] for name in route.links]
                slow = self.problem.transfer_slowdown(source, target)
                latency[source, target] = ticks_up(sum(k.latency_s for k in links), tick_s)
                each = [slow / (k.bandwidth * tick_s) for k in links]
                if route.store_and_forward:
                    # Every hop rounds by itself: only what is sure is counted.
                    per_byte[source, target] = sum(each)
                    slack[source, target] = WHOLE * len(each)
                else:
                    per_byte[source, target] = max(each, default=0.0)
                    slack[source, target] = WHOLE
        self._cache.update(latency=latency, per_byte=per_byte, slack=slack)
