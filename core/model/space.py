"""What is surely in memory at once under an assignment: at the end, and while a task runs.

At the last instant each output of the graph is on the devices of its producer. While a task runs,
what it reads and what it writes is on every device of its group, in the size that its producer's
modes leave at least. A task of no length holds nothing: it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from parplan.declarations import Resident, Resource, Running
from parplan.model.choices import Choices, Key
from parplan.model.demands import Demands
from parplan.problem import Problem

Part = tuple[Key, int]
"""(operator and group, alternative): what holds an amount if it is chosen."""


@frozen(eq=False)
class Space:
    """Amounts of a resource that are there together, by what is chosen."""

    choices: Choices
    demands: Demands

    def at_end(self, resource: Resource) -> dict[Part, float]:
        """Return the amount that the outputs of each operator hold at the end."""
        found: dict[Part, float] = {}
        graph = self._problem.graph
        for tensor, spec in enumerate(graph.tensors):
            producer = graph.producers[tensor]
            for demand in self._resident(resource, tensor) if spec.output else ():
                for microbatch in self._problem.microbatches_of(producer):
                    key = producer, self._problem.workload.group(microbatch)
                    for a in self._running_on(key, microbatch, demand.device):
                        mode = self.choices.alternative(producer, a).mode
                        size = self._problem.tensor_bytes(tensor, mode, microbatch) or 0
                        found[key, a] = found.get((key, a), 0.0) + demand.amount * size
        return found

    def beside(self, resource: Resource) -> dict[Key, dict[int, float]]:
        """Return the amount that is held while a task runs in each of its alternatives."""
        found: dict[Key, dict[int, float]] = {}
        for key in self.choices.rows:
            microbatch = self._largest(key)
            for tensor, demand in self._touched(resource, key[0]):
                for a in self._running_on(key, microbatch, demand.device):
                    size = self._size(key[0], a, tensor, microbatch)
                    own = found.setdefault(key, {})
                    own[a] = own.get(a, 0.0) + demand.amount * size
        for key, amounts in self._work(resource).items():
            own = found.setdefault(key, {})
            for a, amount in amounts.items():
                own[a] = own.get(a, 0.0) + amount
        return found

    @property
    def _problem(self) -> Problem:
        return self.choices.problem

    def _work(self, resource: Resource) -> dict[Key, dict[int, float]]:
        """Return what tasks use by themselves."""
        found: dict[Key, dict[int, float]] = {}
        largest = {key: self._largest(key) for key in self.choices.rows}
        for demand in resource.demands:
            for use in self.demands.uses(demand) if isinstance(demand, Running) else ():
                owner: Any = use.owner
                _, operator, microbatch = owner
                way: Any = use.way
                key = operator, self._problem.workload.group(microbatch)
                if largest[key] == microbatch:
                    own = found.setdefault(key, {})
                    own[way] = own.get(way, 0.0) + use.height
        return found

    def _resident(self, resource: Resource, tensor: int) -> Iterator[Resident]:
        """Yield the demands that count a tensor."""
        name = self._problem.graph.tensors[tensor].name
        for demand in resource.demands:
            if isinstance(demand, Resident) and (demand.tensors is None or name in demand.tensors):
                yield demand

    def _touched(self, resource: Resource, operator: int) -> Iterator[tuple[int, Resident]]:
        """Yield the tensors that an operator may read or write, and the demands that count each."""
        graph = self._problem.graph
        for tensor in (*graph.inputs[operator], *graph.outputs[operator]):
            for demand in self._resident(resource, tensor):
                yield tensor, demand

    def _running_on(self, key: Key, microbatch: int, device: str) -> Iterator[int]:
        """Yield the alternatives in which a task runs on a device, for some time."""
        index = self._problem.cluster.device_index[device]
        for a in self.choices.on_device(key, index):
            if self._problem.ticks(key[0], self.choices.alternative(key[0], a), microbatch):
                yield a

    def _size(self, operator: int, a: int, tensor: int, microbatch: int) -> int:
        """Return the least bytes of a tensor that are there while a task reads or writes it."""
        graph, mode = self._problem.graph, self.choices.alternative(operator, a).mode
        producer = graph.producers[tensor]
        if producer == operator:
            return self._problem.tensor_bytes(tensor, mode, microbatch) or 0
        if tensor not in graph.reads(operator, mode):
            return 0
        total = 0
        for made in self._problem.read_microbatches(tensor, microbatch):
            rows = self.choices.rows[producer, self._problem.workload.group(made)]
            modes = {self.choices.alternative(producer, row).mode for row in rows}
            sizes = [self._problem.tensor_bytes(tensor, m, made) for m in modes]
            total += min((size for size in sizes if size is not None), default=0)
        return total

    def _largest(self, key: Key) -> int:
        """Return the microbatch of a placement group that has the largest tensors."""
        workload = self._problem.workload
        runs = (m for m in self._problem.microbatches_of(key[0]) if workload.group(m) == key[1])
        return max(runs, key=workload.scale)
