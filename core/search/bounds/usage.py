"""Items to be divided over the cluster, and what each of their options uses, as sparse arrays."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from parplan.declarations import ResidentParameters, Together
from parplan.errors import InfeasibleError
from parplan.search.bounds.instance import Array, Instance, is_step
from parplan.search.bounds.paths import Windows

Index = NDArray[np.int64]


@frozen(eq=False)
class Usage:
    """What items use of the cluster: one option is taken of each item.

    With R resources, row r < R is the amount x time used of resource r, row R + r what is held of
    it for the whole horizon (parameters).

    Attributes
    ----------
    first
        Index of the first option of each item; options of an item are consecutive.
    option, row, amount
        The entries: which option uses how much of which row.
    heads, tails
        Earliest start and least remainder of each item, over its options.
    option_heads, option_tails
        The same for each option.
    members, columns
        Operators in each item, and columns of those that run per microbatch.
    devices
        Device group of each option.
    """

    first: Index
    option: Index
    row: Index
    amount: Array
    heads: Array
    tails: Array
    option_heads: Array
    option_tails: Array
    members: tuple[tuple[int, ...], ...]
    columns: tuple[tuple[int, ...], ...]
    devices: tuple[frozenset[int], ...]

    def cost(self, prices: Array) -> Array:
        """Return the cheapest option of each item under prices per row, ``(items,)``."""
        paid = np.bincount(
            self.option, self.amount * prices[self.row], minlength=len(self.option_heads)
        )
        paid[np.isinf(self.option_heads)] = np.inf
        cheapest: Array = np.minimum.reduceat(paid, self.first)
        return cheapest

    @cached_property
    def last(self) -> Index:
        """Index after the last option of each item."""
        return np.append(self.first[1:], len(self.option_heads))


def find_usage(windows: Windows, *, merge: bool) -> Usage:
    """Return the items of a problem.

    Parameters
    ----------
    merge
        True: an item is all work of a placement group on operators that must share their devices.
        False: an item is the work of one column of one operator (heads and tails are sharper).
    """
    instance = windows.instance
    if merge:
        items = _merged(instance)
    else:
        counts = [len(instance.columns_of(o)) for o in range(len(instance.choices))]
        items = [((o,), (row,)) for o, count in enumerate(counts) for row in range(count)]
    maker = _Maker(windows, _parameters(instance))
    parts = [_join([maker.part(o, rows) for o in members]) for members, rows in items]
    sizes = [len(part.heads) for part in parts]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    heads = np.concatenate([p.heads for p in parts])
    tails = np.concatenate([p.tails for p in parts])
    return Usage(
        first,
        np.concatenate([p.option for p in parts])
        + np.repeat(first, [len(p.option) for p in parts]),
        np.concatenate([p.row for p in parts]),
        np.concatenate([p.amount for p in parts]),
        np.minimum.reduceat(heads, first),
        np.minimum.reduceat(tails, first),
        heads,
        tails,
        tuple(members for members, _ in items),
        tuple(columns for _, columns in items),
        tuple(group for p in parts for group in p.devices),
    )


def _merged(instance: Instance) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return (operators, columns) of each item; columns are those of operators per microbatch."""
    root = list(range(len(instance.choices)))

    def find(o: int) -> int:
        while root[o] != o:
            root[o] = root[root[o]]
            o = root[o]
        return o

    index = instance.problem.graph.operator_index
    for _, together in instance.rules.of(Together):
        if together.what == "devices":
            for name in together.operators[1:]:
                root[find(index[name])] = find(index[together.operators[0]])
    parts: dict[int, list[int]] = {}
    for o in range(len(root)):
        parts.setdefault(find(o), []).append(o)
    items: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for group in range(instance.problem.workload.group_count):
        rows = tuple(r for r, c in enumerate(instance.columns) if c.group == group)
        for members in parts.values():
            mine = [o for o in members if group == 0 or not is_step(instance.problem.graph, o)]
            if mine:
                items.append((tuple(mine), rows))
    return items


def _parameters(instance: Instance) -> tuple[Array | None, ...]:
    """Return bytes that each operator's choices keep resident, ``(A,)``; a group counts once."""
    graph = instance.problem.graph
    seen: set[str] = set()
    result: list[Array | None] = []
    for o, choices in enumerate(instance.choices):
        mine = [p for p in graph.operators[o].parameters if p not in seen]
        seen.update(mine)
        if not mine:
            result.append(None)
            continue
        by_mode = {}
        for mode in {a.mode for a in choices}:
            sizes = graph.parameter_bytes(o, mode)
            by_mode[mode] = float(sum(sizes[graph.parameter_index[p]] for p in mine))
        result.append(np.array([by_mode[a.mode] for a in choices]))
    return tuple(result)


@frozen(eq=False)
class _Part:
    """The options of one item: entries, heads, tails and device groups."""

    option: Index
    row: Index
    amount: Array
    heads: Array
    tails: Array
    devices: tuple[frozenset[int], ...]


_Entries = tuple[Index, Index, Array]


@frozen(eq=False)
class _Maker:
    """Makes the options of operators; what many of them share is made once."""

    windows: Windows
    held: tuple[Array | None, ...]
    _running: dict[int, _Entries] = field(factory=dict, init=False)
    _resident: dict[int, _Entries] = field(factory=dict, init=False)
    _devices: dict[int, tuple[frozenset[int], ...]] = field(factory=dict, init=False)

    def part(self, operator: int, rows: tuple[int, ...]) -> _Part:
        """Return the options of one operator: its choices."""
        instance, windows = self.windows.instance, self.windows
        step = is_step(instance.problem.graph, operator)
        index = [0] if step else list(rows)
        counts = np.array([instance.columns_of(operator)[r].count for r in index], dtype=float)
        work = counts @ instance.ticks[operator][index]
        option, row, amount = self._run(instance.use[operator])
        used, size = work[option] * amount, self.held[operator]
        if size is not None and 0 in index:
            place, kind, factor = self._keep(operator)
            option, row = np.concatenate([option, place]), np.concatenate([row, kind])
            used = np.concatenate([used, size[place] * factor])
        choices = instance.choices[operator]
        if id(choices) not in self._devices:
            self._devices[id(choices)] = tuple(frozenset(a.devices) for a in choices)
        heads, tails = windows.heads[operator][index], windows.tails[operator][index]
        groups = self._devices[id(choices)]
        return _Part(option, row, used, heads.min(axis=0), tails.min(axis=0), groups)

    def _run(self, use: int) -> _Entries:
        """Return (choice, resource, amount) of running tasks with one table of amounts."""
        if use not in self._running:
            table = self.windows.instance.amounts[use]
            option, row = np.nonzero(table)
            self._running[use] = (option, row, table[option, row])
        return self._running[use]

    def _keep(self, operator: int) -> _Entries:
        """Return (choice, static row, amount per byte) of resident parameters."""
        instance = self.windows.instance
        choices = instance.choices[operator]
        if id(choices) not in self._resident:
            index, table = instance.problem.cluster.device_index, []
            for r, (_, resource) in enumerate(instance.resources):
                for demand in resource.demands:
                    if isinstance(demand, ResidentParameters) and demand.groups is None:
                        device = index[demand.device]
                        row = len(instance.resources) + r
                        table += [
                            (i, row, demand.amount)
                            for i, choice in enumerate(choices)
                            if device in choice.devices
                        ]
            columns = np.array(table, dtype=float).reshape(-1, 3).T
            place, kind = columns[0].astype(np.int64), columns[1].astype(np.int64)
            self._resident[id(choices)] = (place, kind, columns[2])
        return self._resident[id(choices)]


def _join(parts: list[_Part]) -> _Part:
    """Return the options of members together: device groups that all of them can use."""
    if len(parts) == 1:
        return parts[0]
    parts = [_by_group(part) for part in parts]
    shared = [g for g in parts[0].devices if all(g in p.devices for p in parts[1:])]
    if not shared:
        raise InfeasibleError(
            "operators that must share their devices have no device group in common",
            conflict=("together",),
            repair="allow one group for all of them",
        )
    moved = [_move(part, tuple(shared)) for part in parts]
    rows = np.concatenate([p.row for p in moved])
    width = int(rows.max(initial=0)) + 1
    # What members use of one row in one option is one entry.
    keys = np.concatenate([p.option for p in moved]) * width + rows
    entries, inverse = np.unique(keys, return_inverse=True)
    amounts = np.concatenate([p.amount for p in moved])
    sums: Array = np.bincount(inverse, amounts, minlength=len(entries)).astype(float)
    return _Part(
        entries // width,
        entries % width,
        sums,
        np.min([p.heads for p in moved], axis=0),
        np.min([p.tails for p in moved], axis=0),
        tuple(shared),
    )


def _move(part: _Part, groups: tuple[frozenset[int], ...]) -> _Part:
    """Return a part with the options of the groups given, in their order."""
    if part.devices == groups:
        return part
    position = {group: i for i, group in enumerate(groups)}
    to = np.array([position.get(g, -1) for g in part.devices], dtype=np.int64)
    keep = to[part.option] >= 0
    order = np.array([part.devices.index(g) for g in groups], dtype=np.int64)
    return _Part(
        to[part.option[keep]],
        part.row[keep],
        part.amount[keep],
        part.heads[order],
        part.tails[order],
        groups,
    )


def _by_group(part: _Part) -> _Part:
    """Return a part with one option per device group, the least of its modes in each row."""
    groups = tuple(dict.fromkeys(part.devices))
    if len(groups) == len(part.devices):
        return part
    found: list[tuple[int, int, float]] = []
    heads, tails = np.full(len(groups), np.inf), np.full(len(groups), np.inf)
    for position, group in enumerate(groups):
        uses = []
        for option in [i for i, g in enumerate(part.devices) if g == group]:
            heads[position] = min(heads[position], part.heads[option])
            tails[position] = min(tails[position], part.tails[option])
            at = np.flatnonzero(part.option == option)
            uses.append(dict(zip(part.row[at].tolist(), part.amount[at].tolist(), strict=True)))
        common = set.intersection(*(set(u) for u in uses))
        found += [(position, row, min(u[row] for u in uses)) for row in common]
    columns = np.array(sorted(found), dtype=float).reshape(-1, 3).T
    option, row_index = columns[0].astype(np.int64), columns[1].astype(np.int64)
    return _Part(option, row_index, columns[2], heads, tails, groups)
