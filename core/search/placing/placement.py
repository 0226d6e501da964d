"""From a device for each block to an assignment, and to the parts that coarsening merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import networkx as nx
from attrs import frozen

from parplan.graph import Kind
from parplan.problem import STEP, Alternative, Problem
from parplan.rules import Rules
from parplan.scheduling.coupling import fragile_edges
from parplan.scheduling.network import Assignment
from parplan.search.placing.blocks import Blocks
from parplan.search.placing.coarsening import can_merge, named_operators
from parplan.search.placing.savings import Saving, find_savings
from parplan.search.placing.ways import Coupled, Ways, chosen_modes, find_coupled

Row = tuple[int, ...]
"""The device index of each block, for one placement group."""

Placement = tuple[Row, ...]
"""The row of each placement group."""

LARGE_BYTES = 2**30
"""What is sent there and back to tell which device is near."""


@frozen(eq=False)
class Placer:
    """Everything about placing the blocks of one problem that does not depend on the placement."""

    problem: Problem
    rules: Rules
    blocks: Blocks

    @cached_property
    def choices(self) -> tuple[tuple[Mapping[int, tuple[int, ...]], ...], ...]:
        """The allowed single-device alternatives by device, in mode order, ``[group][operator]``.

        An operator that runs once per step has those of group 0 everywhere. One that holds no
        engine does nothing but keep or hand on tensors: beside a device that it may not use, it
        stands on the nearest that it may (a host).
        """
        shared: dict[tuple[int, tuple[int, ...]], Mapping[int, tuple[int, ...]]] = {}
        result: list[list[Mapping[int, tuple[int, ...]]]] = [[] for _ in self.groups]
        for operator, by_group in enumerate(self.rules.allowed_by_group):
            alternatives = self.problem.alternatives[operator]
            for group in self.groups:
                rows = by_group[group if len(by_group) > 1 else 0]
                key = (id(alternatives), rows)
                if key not in shared:
                    found: dict[int, tuple[int, ...]] = {}
                    for row in rows:
                        if len(alternatives[row].devices) == 1:
                            device = alternatives[row].devices[0]
                            found[device] = (*found.get(device, ()), row)
                    shared[key] = self._with_nearest(found) if operator in self.idle else found
                result[group].append(shared[key])
        return tuple(tuple(row) for row in result)

    @cached_property
    def idle(self) -> frozenset[int]:
        """Operators that hold no engine in any of their modes."""
        return frozenset(
            o
            for o, spec in enumerate(self.problem.graph.operators)
            if not any(mode.engines for mode in spec.modes)
        )

    def _with_nearest(self, rows: Mapping[int, tuple[int, ...]]) -> Mapping[int, tuple[int, ...]]:
        """Return rows of alternatives for other devices, too: those of the device nearest to each.

        Near is what a large tensor reaches soon, there and back.
        """
        timing = self.problem.transfer_timing
        found = dict(rows)
        for device in range(len(self.problem.cluster.devices)):
            reached = {}
            for other in rows:
                ways = timing(LARGE_BYTES, device, other), timing(LARGE_BYTES, other, device)
                if None not in ways:
                    reached[other] = sum(way.arrival for way in ways if way is not None)
            if device not in rows and reached:
                found[device] = rows[min(reached, key=reached.__getitem__)]
        return found

    @cached_property
    def groups(self) -> range:
        """The placement groups."""
        return range(self.problem.workload.group_count)

    @cached_property
    def alike(self) -> bool:
        """Whether all placement groups may use the same devices."""
        return len(set(self.devices_of)) == 1

    @cached_property
    def devices_of(self) -> tuple[tuple[frozenset[int], ...], ...]:
        """Devices on which every operator of a block may run, ``[group][block]``.

        What runs once per step counts in group 0 alone.
        """
        microbatches = self.problem.microbatches_of
        anywhere = frozenset(range(len(self.problem.cluster.devices)))
        return tuple(
            tuple(
                anywhere.intersection(
                    *(own[o] for o in block if group == 0 or microbatches(o).start != STEP)
                )
                for block in self.blocks.members
            )
            for group, own in enumerate(self.choices)
        )

    @cached_property
    def _first(self) -> tuple[Alternative, ...]:
        """The first alternative of each operator that has a single device, else its very first."""
        return tuple(
            self.problem.alternatives[o][
                min((row for own in found.values() for row in own), default=0)
            ]
            for o, found in enumerate(self.choices[0])
        )

    @cached_property
    def _engines(self) -> tuple[tuple[str, ...], ...]:
        """Engines that each operator holds in its first alternative."""
        operators = self.problem.graph.operators
        return tuple(operators[o].modes[a.mode].engines for o, a in enumerate(self._first))

    @cached_property
    def busiest_engine(self) -> str:
        """The engine with the most work for all operators together; empty if none has any."""
        problem = self.problem
        work: dict[str, int] = {}
        for o, alternative in enumerate(self._first):
            ticks = problem.ticks(o, alternative, 0)
            for engine in self._engines[o]:
                work[engine] = work.get(engine, 0) + ticks * len(problem.microbatches_of(o))
        return max(work, key=work.__getitem__, default="")

    @cached_property
    def loads(self) -> tuple[tuple[Mapping[int, float], ...], ...]:
        """Ticks per microbatch on each device in the first mode, ``[group][block]``.

        Work done once per step counts in equal parts for every microbatch of group 0. Only what
        holds the busiest engine counts: other engines run beside it.
        """
        cache: dict[tuple[int, str, int], float] = {}
        problem = self.problem
        result = []
        for group, own in enumerate(self.choices):
            rows = []
            for block, members in enumerate(self.blocks.members):
                row: dict[int, float] = dict.fromkeys(self.devices_of[group][block], 0.0)
                for o in members:
                    if self.busiest_engine not in self._engines[o]:
                        continue
                    runs = len(problem.microbatches_of(o)) / problem.workload.microbatches
                    if group > 0 and problem.microbatches_of(o).start == STEP:
                        continue
                    for device in row:
                        alternative = problem.alternatives[o][own[o][device][0]]
                        key = (o, problem.cluster.devices[device].kind, alternative.mode)
                        if key not in cache:
                            cache[key] = problem.ticks(o, alternative, 0) * runs
                        row[device] += cache[key]
                rows.append(row)
            result.append(tuple(rows))
        return tuple(result)

    @cached_property
    def parameter_bytes(self) -> tuple[int, ...]:
        """Bytes of the parameter groups that each block reads, in the first mode."""
        groups = self.problem.graph.parameters
        index = self.problem.graph.parameter_index
        operators = self.problem.graph.operators
        return tuple(
            sum(groups[g].bytes for g in {index[n] for o in group for n in operators[o].parameters})
            for group in self.blocks.members
        )

    @cached_property
    def saved_bytes(self) -> tuple[int, ...]:
        """Bytes of one microbatch that each block's forward keeps for a backward pass."""
        graph = self.problem.graph
        saved = [0] * len(self.blocks)
        for t, tensor in enumerate(graph.tensors):
            producer = graph.producers[t]
            if producer in self.idle:
                continue
            if graph.operators[producer].kind is Kind.FORWARD and any(
                graph.operators[c].kind is not Kind.FORWARD for c in graph.consumers[t]
            ):
                saved[self.blocks.block_of[producer]] += tensor.bytes
        return tuple(saved)

    @cached_property
    def coupled(self) -> tuple[Coupled, ...]:
        """The operators that have a choice of modes, as far as these depend on each other."""
        return find_coupled(self.problem, self.rules)

    @cached_property
    def savings(self) -> tuple[Saving, ...]:
        """Ways of ``coupled`` that save memory, the most bytes per tick lost first."""
        return find_savings(self.problem, self.coupled)

    def assignment(self, placement: Placement, ways: Ways = ()) -> Assignment:
        """Return the alternative of each (operator, group).

        Parameters
        ----------
        placement
            A device of ``devices_of`` for each group and block.
        ways
            The way of each of ``coupled``; a device that lacks a mode takes its first. Empty: the
            first of each.
        """
        modes = chosen_modes(self.coupled, ways)
        alternatives = self.problem.alternatives
        found: dict[tuple[int, int], int] = {}
        for g, row in enumerate(placement):
            for block, device in enumerate(row):
                for o in self.blocks.members[block]:
                    once = self.problem.microbatches_of(o).start == STEP
                    rows = self.choices[g][o][placement[0][block] if once else device]
                    wanted = modes.get(o)
                    fitting = (row for row in rows if alternatives[o][row].mode == wanted)
                    found[o, g] = rows[0] if wanted is None else next(fitting, rows[0])
        return found

    @cached_property
    def fragile(self) -> tuple[tuple[int, int], ...]:
        """(tensor, consumer) pairs in which some modes do not go together."""
        return fragile_edges(self.problem.graph)

    @cached_property
    def is_fixed(self) -> bool:
        """Whether no block has a choice of its device."""
        return all(len(devices) == 1 for row in self.devices_of for devices in row)

    @property
    def only_placement(self) -> Placement:
        """The placement of a problem that is fixed."""
        return tuple(tuple(d for (d,) in row) for row in self.devices_of)

    @cached_property
    def may_merge(self) -> bool:
        """Whether operators of this problem may be merged at all."""
        return len(set(self.problem.workload.scales)) <= 1 and can_merge(self.rules)

    @cached_property
    def _singled(self) -> frozenset[str]:
        return named_operators(self.rules)

    def chunks(self, placement: Placement) -> list[list[int]]:
        """Return maximal runs of consecutive blocks with the same devices."""
        runs: list[list[int]] = []
        before: tuple[int, ...] | None = None
        for block, devices in enumerate(zip(*placement, strict=True)):
            if devices == before:
                runs[-1].append(block)
            else:
                runs.append([block])
            before = devices
        return runs

    def parts(
        self, placement: Placement, ways: Ways = (), *, split_weights: bool = False
    ) -> list[list[int]]:
        """Return which operators run in one go: those of one chunk, kind and stretch.

        What no tensors connect inside a chunk is not merged: nothing says that it runs together.
        A stretch ends where the engine changes: what follows an exchange of tokens is not merged
        with what goes before it, or nothing could run beside the exchange. ``split_weights`` leaves
        the weight passes of each block apart, which are smaller fillers; a chunk that uses several
        engines has gaps to fill, and always does so.
        """
        operators = self.problem.graph.operators
        modes = chosen_modes(self.coupled, ways)
        parts: list[list[int]] = []
        for chunk in self.chunks(placement):
            inside = [o for block in chunk for o in self.blocks.members[block]]
            stretch = self._stretches(inside, modes)
            piece = self._pieces(inside)
            split = split_weights or len({self._engines[o] for o in inside} - {()}) > 1
            merged: dict[tuple[object, ...], list[int]] = {}
            for block in chunk:
                for o in self.blocks.members[block]:
                    spec = operators[o]
                    row = self.choices[0][o][placement[0][block]][0]
                    first = self.problem.alternatives[o][row]
                    alone = (
                        spec.name in self._singled
                        or spec.kind in (Kind.COLLECTIVE, Kind.OTHER)
                        or spec.modes[first.mode].ring_steps > 0
                    )
                    fine = split and spec.kind is Kind.BACKWARD_WEIGHT
                    own = o if alone else block if fine else -1
                    engines = spec.modes[first.mode].engines
                    key = (spec.kind, spec.repeat, engines, own, stretch[o], piece[o])
                    merged.setdefault(key, []).append(o)
            parts.extend(merged.values())
        return parts

    def _pieces(self, operators: Sequence[int]) -> dict[int, int]:
        """Return a number for each operator, equal where tensors among them or blocks connect."""
        graph, block_of = self.problem.graph, self.blocks.block_of
        first_of_block: dict[int, int] = {}
        links: nx.Graph[int] = nx.Graph()
        links.add_nodes_from(operators)
        for o in operators:
            links.add_edge(o, first_of_block.setdefault(block_of[o], o))
            links.add_edges_from(
                (o, graph.producers[t]) for t in graph.inputs[o] if graph.producers[t] in links
            )
        return {o: n for n, group in enumerate(nx.connected_components(links)) for o in group}

    def _stretches(
        self, operators: Sequence[int], modes: Mapping[int, int]
    ) -> dict[int, tuple[int, int]]:
        """Return how often the engine changes before and after each operator, at most.

        Counted along paths through operators of the same kind among those given, in their modes.
        Operators with equal engines and counts have nothing with other engines between them.
        """
        graph = self.problem.graph
        order = sorted(operators, key=self._position.__getitem__)
        kind = [spec.kind for spec in graph.operators]
        before: dict[int, list[int]] = {o: [] for o in order}
        after: dict[int, list[int]] = {o: [] for o in order}
        for o in order:
            for t in graph.reads(o, modes.get(o, self._first[o].mode)):
                producer = graph.producers[t]
                if producer in after and kind[producer] is kind[o]:
                    before[o].append(producer)
                    after[producer].append(o)
        forth, back = self._changes(order, before), self._changes(order[::-1], after)
        return {o: (forth[o], back[o]) for o in order}

    def _changes(
        self, order: Sequence[int], neighbours: Mapping[int, Sequence[int]]
    ) -> dict[int, int]:
        """Return the most changes of engine on the way to each operator; neighbours come first."""
        found: dict[int, int] = {}
        for o in order:
            found[o] = max(
                (found[n] + (self._engines[n] != self._engines[o]) for n in neighbours[o]),
                default=0,
            )
        return found

    @cached_property
    def _position(self) -> dict[int, int]:
        return {o: i for i, o in enumerate(self.problem.graph.topological_order)}


def single_operators(problem: Problem) -> Sequence[Sequence[int]]:
    """Return parts of one operator each."""
    return [[o] for o in range(len(problem.graph.operators))]
