"""Which alternative runs each operator: binaries where there is a choice, nothing where not.

x[o, h, a] is 1 if the microbatches of placement group h run operator o in alternative a. Both
levels use this: the timing model with or without a given assignment, and the assignment model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from parplan.declarations import Apart, Together
from parplan.errors import InfeasibleError, InputError
from parplan.model.blocks import RuleBlock
from parplan.model.terms import Literal
from parplan.problem import Alternative
from parplan.rules import Rules

Key = tuple[int, int]
"""(operator index, placement group)."""

Assignment = Mapping[Key, int]
"""Index into ``problem.alternatives[operator]`` for each (operator, placement group)."""

Given = Mapping[Key, int | tuple[int, ...]]
"""What is given of an assignment: an alternative of some keys, or those among which to choose."""


class Choices:
    """The alternatives still open for each (operator, placement group), and their literals.

    Attributes
    ----------
    rows
        Indices into ``problem.alternatives[operator]``, per key.

    Raises
    ------
    InputError
        If an assignment names an alternative that the rules forbid.
    """

    def __init__(self, rules: Rules, block: RuleBlock, assignment: Given | None) -> None:
        self.rules = rules
        self.problem = rules.problem
        self.block = block
        self.rows: dict[Key, tuple[int, ...]] = {}
        self._literals: dict[tuple[int, int, int], Literal] = {}
        self._always: dict[tuple[Key, int], bool] = {}
        self._unions: dict[tuple[Key, frozenset[int]], Literal] = {}
        for o in range(len(self.problem.graph.operators)):
            for h in self.groups(o):
                self.rows[o, h] = self._open(o, h, assignment or {})
                self._add_literals(o, h)

    def groups(self, o: int) -> range:
        """Return the placement groups of an operator."""
        return self.problem.groups_of(o)

    def _open(self, o: int, h: int, given: Given) -> tuple[int, ...]:
        rows = self.rules.allowed_by_group[o][h]
        if (o, h) not in given:
            return rows
        wanted = given[o, h]
        left = (wanted,) if isinstance(wanted, int) else wanted
        if not left or not set(left) <= set(rows):
            raise InputError(
                f"operator '{self.problem.graph.operators[o].name}': assigned alternative "
                f"{wanted} is not allowed; allowed: {list(rows)}"
            )
        return left

    def _add_literals(self, o: int, h: int) -> None:
        rows = self.rows[o, h]
        if len(rows) == 1:
            self._literals[o, h, rows[0]] = None
            return
        name = self.problem.graph.operators[o].name
        for a in rows:
            self._literals[o, h, a] = self.block.binary(f"{name},{h},{a}")
        literals = [self._literals[o, h, a] for a in rows]
        self.block.row(total(literals) == 1)
        self.block.at_most_one(literals, exactly=True)

    # -- literals ------------------------------------------------------------------------------

    def alternative(self, o: int, a: int) -> Alternative:
        """Return an alternative by operator and index."""
        return self.problem.alternatives[o][a]

    def literal(self, o: int, h: int, a: int) -> Literal:
        """Return x[o, h, a]; None if there is no other choice."""
        return self._literals[o, h, a]

    def where(self, key: Key, test: Callable[[Alternative], bool]) -> tuple[int, ...]:
        """Return the open alternatives that pass a test."""
        return tuple(a for a in self.rows[key] if test(self.alternative(key[0], a)))

    def on_device(self, key: Key, device: int) -> tuple[int, ...]:
        """Return the open alternatives whose group includes a device (index)."""
        return self.where(key, lambda a: device in a.devices)

    def any_of(self, key: Key, rows: Sequence[int]) -> Literal:
        """Return a literal that is 1 if one of ``rows`` (at least one) is chosen; None if always.

        It is an x where there is one row only, and one new binary per set of rows otherwise.
        """
        if len(rows) == len(self.rows[key]):
            return None
        if len(rows) == 1:
            return self._literals[(*key, rows[0])]
        union = (key, frozenset(rows))
        if union not in self._unions:
            name = f"{self.problem.graph.operators[key[0]].name},{key[1]},any of {sorted(rows)}"
            literals = [self._literals[(*key, a)] for a in rows]
            literal = self.block.binary(name, lambda value: sum(map(value, literals)))
            self.block.row(literal == total(literals))
            left = [self._literals[(*key, a)] for a in self.rows[key] if a not in rows]
            self.block.at_most_one([literal, *left], exactly=True)
            self._unions[union] = literal
        return self._unions[union]

    def sum_of(self, key: Key, rows: Iterable[int]) -> Any:
        """Return the sum of x over ``rows``: an expression that is 0 or 1, maybe a number."""
        rows = tuple(rows)
        if len(rows) == len(self.rows[key]):
            return 1
        return total(self._literals[(*key, a)] for a in rows)

    def chosen(self, key: Key, value: Callable[[Any], float]) -> int:
        """Return the chosen alternative, given a function from variables to their values."""
        rows = self.rows[key]
        if len(rows) == 1:
            return rows[0]
        return max(rows, key=lambda a: value(self._literals[(*key, a)]))

    def always_reads(self, key: Key, tensor: int) -> bool:
        """Return whether an operator reads a tensor in all its open alternatives."""
        if (key, tensor) not in self._always:
            modes = {self.alternative(key[0], a).mode for a in self.rows[key]}
            reads = self.problem.graph.reads
            self._always[key, tensor] = all(tensor in reads(key[0], mode) for mode in modes)
        return self._always[key, tensor]

    # -- rules on placement --------------------------------------------------------------------

    def couple(self, block: RuleBlock, writer: Key, reader: Key, tensor: int) -> None:
        """Let a reader's alternative be chosen only with a producer's that serves it.

        ``sum of x[reader, b] over b that the same a serve <= sum of x[producer, a] over these a``.
        """
        served: dict[tuple[int, ...], list[int]] = {}
        for b in self.rows[reader]:
            found = tuple(a for a in self.rows[writer] if self.serves(writer, a, reader, b, tensor))
            if len(found) < len(self.rows[writer]):
                served.setdefault(found, []).append(b)
        for writers, readers in served.items():
            left, right = self.sum_of(reader, readers), self.sum_of(writer, writers)
            if isinstance(left, int) and isinstance(right, int):
                self._refuse(writer, reader, tensor)
            block.row(left <= right)

    def serves(self, writer: Key, a: int, reader: Key, b: int, tensor: int) -> bool:
        """Return whether a reader in ``b`` can have a tensor of a producer in ``a``.

        It need not be read; else it must be written, in a layout that fits, and a route must lead
        from the producer's group to each device of the reader's that is not in it.
        """
        graph, cluster = self.problem.graph, self.problem.cluster
        first, second = self.alternative(writer[0], a), self.alternative(reader[0], b)
        if tensor not in graph.reads(reader[0], second.mode):
            return True
        if tensor not in graph.writes(writer[0], first.mode):
            return False
        one = graph.operators[writer[0]].modes[first.mode].layout
        other = graph.operators[reader[0]].modes[second.mode].layout
        if one and other and one != other:
            return False
        return all(
            d in first.devices or any(cluster.route(s, d) is not None for s in first.devices)
            for d in second.devices
        )

    def _refuse(self, writer: Key, reader: Key, tensor: int) -> None:
        graph = self.problem.graph
        raise InfeasibleError(
            f"tensor '{graph.tensors[tensor].name}': '{graph.operators[reader[0]].name}' cannot "
            f"have it from '{graph.operators[writer[0]].name}' in any alternative that is left; "
            "the modes, the layouts or the routes do not fit",
            conflict=("modes",),
            repair="allow another mode or device for one of the two",
        )

    def tie(self, rule: str, block: RuleBlock, together: Together) -> None:
        """Let operators share their device group (or the name of their mode)."""
        for keys in self._members(together.operators):
            for other in keys[1:]:
                labels = [
                    {a: self._label(key, a, together.what) for a in self.rows[key]}
                    for key in (keys[0], other)
                ]
                for way in dict.fromkeys(w for found in labels for w in found.values()):
                    left, right = (
                        self.sum_of(key, [a for a, w in found.items() if w == way])
                        for key, found in zip((keys[0], other), labels, strict=True)
                    )
                    self._state(rule, block, left, right, equal=True, names=together.operators)

    def part(self, rule: str, block: RuleBlock, apart: Apart) -> None:
        """Let no two of the operators share a device."""
        for keys in self._members(apart.operators):
            for d in range(len(self.problem.cluster.devices)):
                here = total(self.sum_of(key, self.on_device(key, d)) for key in keys)
                self._state(rule, block, here, 1, equal=False, names=apart.operators)

    def _members(self, operators: Sequence[str]) -> list[list[Key]]:
        """Return the keys of operators by placement group; once per step counts as group 0."""
        index = [self.problem.graph.operator_index[name] for name in operators]
        groups = range(self.problem.workload.group_count)
        return [[(o, h) for o in index if h in self.groups(o)] for h in groups]

    def _label(self, key: Key, a: int, what: str) -> Any:
        alternative = self.alternative(key[0], a)
        if what == "devices":
            return frozenset(alternative.devices)
        return self.problem.graph.operators[key[0]].modes[alternative.mode].name

    def _state(
        self, rule: str, block: RuleBlock, left: Any, right: Any, *, equal: bool, names: Any
    ) -> None:
        """Add a row, or judge it here if nothing in it is left open."""
        if isinstance(left, int) and isinstance(right, int):
            if left != right if equal else left > right:
                raise InfeasibleError(
                    f"rule '{rule}' cannot hold for {', '.join(names)} in the alternatives left",
                    conflict=(rule,),
                    repair="allow another mode or device for one of them",
                )
            return
        block.row(left == right if equal else left <= right)


def total(items: Iterable[Any]) -> Any:
    """Return a sum; 0 if empty, and the item itself if there is only one."""
    items = list(items)
    return reduce(lambda a, b: a + b, items) if items else 0
