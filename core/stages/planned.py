"""What a stage program takes from a plan: where layers run, in which order, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import networkx as nx
import numpy as np
from attrs import frozen

from parplan.errors import InputError
from parplan.graph import Digraph
from parplan.problem import Problem
from parplan.schedule import Schedule
from parplan.stages.layers import Layers, Side, find_layers

COMPUTE = "compute"


@frozen(eq=False)
class Planned:
    """A schedule whose layers each run on one device.

    Attributes
    ----------
    device_of
        Index of the device of each layer.
    rows
        Task rows of each device in the order in which they run; of equal starts the shorter first.
    """

    schedule: Schedule
    layers: Layers
    device_of: Mapping[int, int]
    rows: tuple[tuple[int, ...], ...]

    @property
    def problem(self) -> Problem:
        """The problem that is solved."""
        return self.schedule.problem

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {row: i for rows in self.rows for i, row in enumerate(rows)}

    def place_of(self, row: int) -> int:
        """Return the position of a task row on its device; of a gang's, on one of them."""
        return self._places[row]

    @cached_property
    def modes(self) -> Mapping[int, frozenset[int]]:
        """The modes in which each operator runs."""
        tasks, found = self.schedule.tasks, dict[int, set[int]]()
        pairs = zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True)
        for o, alternative in set(pairs):
            found.setdefault(o, set()).add(self.problem.alternatives[o][alternative].mode)
        return {o: frozenset(modes) for o, modes in found.items()}

    def readings(self) -> Iterator[tuple[int, int]]:
        """Yield (tensor, reader) for all that is read in the modes of the schedule."""
        graph = self.problem.graph
        for o in range(len(graph.operators)):
            for t in sorted({t for mode in self.modes[o] for t in graph.reads(o, mode)}):
                yield t, o

    @cached_property
    def gradient_of(self) -> Mapping[int, int]:
        """The tensor of which another one is a gradient, where one layer alone hands it on."""
        graph, layers = self.problem.graph, self.layers
        found: dict[int, int] = {}
        for t, reader in self.readings():
            maker = graph.producers[t]
            sides = (layers.side[maker], layers.side[reader])
            if Side.ONCE in sides or Side.FORWARD in sides:
                continue
            made = graph.outputs[layers.layer_of[reader]]
            shared = set(made) & set(graph.inputs[layers.layer_of[maker]])
            if len(shared) == 1:
                found.setdefault(t, min(shared))
        return found

    @cached_property
    def layer_graph(self) -> Digraph:
        """Which layers read from which in the forward pass.

        What a backward pass reads from the forward pass of a layer that does not come later counts
        as well: it has to be kept where it is read.
        """
        graph, layers = self.problem.graph, self.layers
        found: Digraph = nx.DiGraph()
        found.add_nodes_from(self.device_of)
        saved = []
        for t, reader in self.readings():
            maker = graph.producers[t]
            if layers.side[maker] is not Side.FORWARD or layers.side[reader] is Side.ONCE:
                continue
            pair = (maker, layers.layer_of[reader])
            if layers.side[reader] is Side.FORWARD:
                found.add_edge(*pair)
            elif pair[0] != pair[1]:
                saved.append(pair)
        for maker, layer in saved:
            if not found.has_edge(maker, layer) and not nx.has_path(found, layer, maker):
                found.add_edge(maker, layer)
        return found

    @cached_property
    def layer_order(self) -> Mapping[int, int]:
        """Position of each layer in a topological order, ties by the first start of its forward."""
        tasks = self.schedule.tasks
        first = np.full(len(self.problem.graph.operators), np.iinfo(np.int64).max)
        np.minimum.at(first, tasks.operator, tasks.start)
        order = nx.lexicographical_topological_sort(
            self.layer_graph, key=lambda layer: (int(first[layer]), layer)
        )
        return {layer: i for i, layer in enumerate(order)}


def read_schedule(schedule: Schedule) -> Planned:
    """Return what a stage program needs of a schedule.

    Raises
    ------
    InputError
        If an operator runs on several devices, or elsewhere than the forward pass of its layer.
    """
    problem, tasks = schedule.problem, schedule.tasks
    layers = find_layers(problem.graph)
    used = _devices_used(schedule, layers)
    device_of: dict[int, int] = {}
    for o in sorted(layers.layer_of, key=lambda o: layers.layer_of[o] != o):  # forward ones first
        layer, device = layers.layer_of[o], used[o]
        if device_of.setdefault(layer, device) != device:
            names = [problem.cluster.devices[d].name for d in (device, device_of[layer])]
            raise InputError(
                f"operator '{problem.graph.operators[o].name}' runs on '{names[0]}', the forward "
                f"pass '{problem.graph.operators[layer].name}' of its layer on '{names[1]}'; a "
                "stage has both on one device: plan with the constraint "
                "{placement: {modules_together: true}}, or name them in its option 'together'"
            )
    position = {o: i for i, o in enumerate(problem.graph.topological_order)}
    rows: list[list[tuple[int, int, int, int]]] = [[] for _ in problem.cluster.devices]
    starts, ends, operators = tasks.start.tolist(), schedule.ends.tolist(), tasks.operator.tolist()
    for row, o in enumerate(operators):
        for device in schedule.alternative(row).devices:
            rows[device].append((starts[row], ends[row], position[o], row))
    ordered = tuple(tuple(row for *_, row in sorted(found)) for found in rows)
    return Planned(schedule, layers, device_of, ordered)


def _devices_used(schedule: Schedule, layers: Layers) -> dict[int, int]:
    """Return the device of each operator that runs for every microbatch."""
    problem, tasks = schedule.problem, schedule.tasks
    devices, used = problem.cluster.devices, dict[int, int]()
    pairs = zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True)
    for o, alternative in sorted(set(pairs)):
        if o not in layers.layer_of:
            continue
        group = problem.alternatives[o][alternative].devices
        operator = problem.graph.operators[o]
        names = "', '".join(devices[d].name for d in group)
        if len(group) > 1:
            raise InputError(
                f"operator '{operator.name}' runs on '{names}' together; a stage runs on one "
                "device: plan without modes on several devices (constraint 'placement', option "
                "'forbid_modes')"
            )
        if COMPUTE not in devices[group[0]].engines:
            raise InputError(
                f"operator '{operator.name}' runs on '{names}', which has no engine 'compute'; "
                "stages do not move tensors to a host: plan without the strategy 'offload'"
            )
        if used.setdefault(o, group[0]) != group[0]:
            raise InputError(
                f"operator '{operator.name}' runs on '{devices[used[o]].name}' for some "
                f"microbatches and on '{names}' for others; a stage has one device, so schedules "
                "of two directions (dualpipe, chimera) are no stage program: plan without "
                "placement groups, or choose a V-shaped schedule (dualpipe-v, zb-v)"
            )
    return used
