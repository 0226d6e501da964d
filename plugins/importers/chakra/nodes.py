"""A Chakra trace as plain data: what one rank did, with what each piece waited for.

Names and numbers: ``schema/protobuf/et_def.proto`` (Chakra 21585d8).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

from attrs import field, frozen


class NodeType(IntEnum):
    """What a node is."""

    INVALID = 0
    METADATA = 1
    MEMORY_LOAD = 2
    MEMORY_STORE = 3
    COMPUTE = 4
    SEND = 5
    RECEIVE = 6
    COLLECTIVE = 7
    STORAGE = 8
    BATCH = 9
    CHECKPOINT = 10


class Collective(IntEnum):
    """What ranks do together (``CollectiveCommType``)."""

    ALL_REDUCE = 0
    REDUCE = 1
    ALL_GATHER = 2
    GATHER = 3
    SCATTER = 4
    BROADCAST = 5
    ALL_TO_ALL = 6
    REDUCE_SCATTER = 7
    REDUCE_SCATTER_BLOCK = 8
    BARRIER = 9


Value: TypeAlias = int | str | tuple[int, ...]


@frozen
class Node:
    """One node of a trace.

    Attributes
    ----------
    control, data
        Numbers of the nodes that it waits for: by control, and by data.
    read, made
        Storages of its inputs, and of its results with their bytes; empty where it does not tell.
    attributes
        What else it says, by Chakra's names: ``is_cpu_op``, ``num_ops``, ``comm_size`` and so on.
    """

    id: int
    name: str
    type: NodeType
    control: tuple[int, ...] = ()
    data: tuple[int, ...] = ()
    duration_us: int = 0
    read: frozenset[int] = frozenset()
    made: Mapping[int, int] = field(factory=dict)
    attributes: Mapping[str, Value] = field(factory=dict)

    @property
    def is_host(self) -> bool:
        """Whether it is work of the host, which starts that of the device."""
        return bool(self.attributes.get("is_cpu_op", 0))

    def amount(self, name: str) -> int:
        """Return an attribute that is a number and not negative; 0 where it is not there."""
        value = self.attributes.get(name, 0)
        return max(0, value) if isinstance(value, int) else 0

    def __str__(self) -> str:
        return f"node {self.id} ('{self.name}')" if self.name else f"node {self.id}"


Trace: TypeAlias = tuple[Node, ...]
"""What one rank did."""
