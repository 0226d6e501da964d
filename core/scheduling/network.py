"""The activities of a problem under one assignment: tasks and transfers, arcs, resources, buffers.

Everything a rule can declare becomes one of three things: an amount of a resource held while an
activity runs, an amount held by a buffer (from the start of one activity to the end of the last of
some others), or an arc between starts. The list scheduler and the timing search see only these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attrs import field, frozen

from parplan.declarations import (
    Edge,
    Held,
    Moving,
    Order,
    Receiving,
    Resident,
    ResidentParameters,
    Resource,
    Running,
    Sending,
    TimeLag,
)
from parplan.errors import InfeasibleError
from parplan.problem import STEP, Alternative, Problem, TransferTiming
from parplan.rules import Rules
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.scheduling.buffers import Amounts, Buffer, handed_on
from parplan.scheduling.coupling import mode_clash
from parplan.system.collector import collector_paused
from parplan.ticks import ticks_up

Assignment = Mapping[tuple[int, int], int]
"""Index into ``problem.alternatives[operator]`` for each (operator, placement group)."""

Sources = Mapping[tuple[int, int], tuple[tuple[int, int], ...]]
"""(target, source) pairs of the transfers of each (tensor, microbatch)."""


class Lag(NamedTuple):
    """A time lag between edges of two tasks; ``delay`` is what it means from start to start."""

    before: int
    after: int
    ticks: int
    before_edge: Edge
    after_edge: Edge
    delay: int


@frozen(eq=False)
class Network:
    """Activities, numbered tasks first, then transfers. All times in ticks.

    Attributes
    ----------
    tasks, alternatives
        (operator, microbatch) of each task and the alternative index it runs in.
    transfers
        (tensor, microbatch, source, target) of each transfer.
    durations
        How long each activity holds its amounts.
    successors
        For each activity, (later activity, delay) with ``start[later] >= start + delay``.
    amounts
        What each activity holds while it runs; nothing if its duration is zero.
    buffers
        What is held between activities, joined where one of no length hands it on.
    lags
        The arcs of ``successors`` that declared time lags made.
    capacities, resource_names
        Of each resource that can bind; ``levels`` is what is held from the outset (parameters).
    """

    problem: Problem
    tasks: tuple[tuple[int, int], ...]
    alternatives: tuple[int, ...]
    transfers: tuple[tuple[int, int, int, int], ...]
    durations: Sequence[int]
    releases: Sequence[int]
    successors: Sequence[Sequence[tuple[int, int]]]
    amounts: Sequence[Amounts]
    buffers: Sequence[Buffer]
    lags: Sequence[Lag]
    resource_names: tuple[tuple[str, str], ...]
    capacities: Sequence[float]
    levels: Sequence[float]
    task_index: Mapping[tuple[int, int], int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.durations)

    def alternative(self, task: int) -> Alternative:
        """Return the alternative that a task runs in."""
        return self.problem.alternatives[self.tasks[task][0]][self.alternatives[task]]

    def schedule(self, starts: Sequence[int]) -> Schedule:
        """Return the schedule with these starts."""
        count = len(self.tasks)
        return Schedule(
            self.problem,
            Tasks(
                [o for o, _ in self.tasks],
                [m for _, m in self.tasks],
                list(self.alternatives),
                list(starts[:count]),
            ),
            Transfers(
                [tensor for tensor, _, _, _ in self.transfers],
                [microbatch for _, microbatch, _, _ in self.transfers],
                [source for _, _, source, _ in self.transfers],
                [target for _, _, _, target in self.transfers],
                list(starts[count:]),
            ),
        )


@frozen(eq=False)
class _Needs:
    """What a tensor of one microbatch needs: readers by device, and what it holds there.

    ``remote`` rows are (device, source, timing, amounts that the transfer holds, consumers).
    """

    size: int | None
    local: Sequence[tuple[int, Sequence[int]]]
    remote: Sequence[tuple[int, int, TransferTiming, Amounts, Sequence[int]]]
    held: Mapping[int, Amounts]


class _Builder:
    """Collects the parts of one network; lives only inside ``build_network``."""

    def __init__(
        self, problem: Problem, rules: Rules, assignment: Assignment, sources: Sources
    ) -> None:
        self.problem = problem
        self.rules = rules
        self.sources = sources
        workload = problem.workload
        self.tasks = tuple(problem.tasks())
        self.task_index = {task: i for i, task in enumerate(self.tasks)}
        self.chosen = tuple(assignment[o, workload.group(m)] for o, m in self.tasks)
        operators = range(len(problem.graph.operators))
        self.every_microbatch = {o for o in operators if problem.microbatches_of(o).start != STEP}
        self.durations: list[int] = []
        self.releases: list[int] = []
        self.successors: list[list[tuple[int, int]]] = []
        self.amounts: list[Amounts] = []
        self.transfers: list[tuple[int, int, int, int]] = []
        self.buffers: list[Buffer] = []
        self.lags: list[Lag] = []
        self.resources = rules.resources
        self.levels = [0.0] * len(self.resources)

    def alternative(self, task: int) -> Alternative:
        return self.problem.alternatives[self.tasks[task][0]][self.chosen[task]]

    # -- resources by what demands them ----------------------------------------------------------

    def index_demands(self) -> None:
        """Sort demands by device or link, so each activity finds its own at once."""
        self.running: dict[int, list[tuple[int, Running]]] = {}
        self.moving: dict[int, list[tuple[int, Moving]]] = {}
        self.sending: dict[int, list[tuple[int, float]]] = {}
        self.receiving: dict[int, list[tuple[int, float]]] = {}
        self.resident: dict[int, list[tuple[int, Resident]]] = {}
        self.parameters: list[tuple[int, int, ResidentParameters]] = []
        self.held: list[tuple[int, Held]] = []
        devices = self.problem.cluster.device_index
        links = self.problem.cluster.link_index
        for r, (_, resource) in enumerate(self.resources):
            for demand in resource.demands:
                match demand:
                    case Running():
                        self.running.setdefault(devices[demand.device], []).append((r, demand))
                    case Moving():
                        self.moving.setdefault(links[demand.link], []).append((r, demand))
                    case Sending():
                        row = self.sending.setdefault(devices[demand.device], [])
                        row.append((r, demand.amount))
                    case Receiving():
                        row = self.receiving.setdefault(devices[demand.device], [])
                        row.append((r, demand.amount))
                    case Resident():
                        self.resident.setdefault(devices[demand.device], []).append((r, demand))
                    case ResidentParameters():
                        self.parameters.append((r, devices[demand.device], demand))
                    case Held():
                        self.held.append((r, demand))

    # -- tasks -----------------------------------------------------------------------------------

    def add_tasks(self) -> None:
        """Durations, releases and running amounts; computed once per operator and alternative."""
        cache: dict[tuple[int, int, float], Amounts] = {}
        ticks: dict[tuple[int, int, float], int] = {}
        count = self.problem.workload.microbatches
        scales = [self.problem.workload.scale(m) for m in range(STEP, count)]
        releases = [self.problem.release(m) for m in range(STEP, count)]
        for task, (operator, microbatch) in enumerate(self.tasks):
            timed = (operator, self.chosen[task], scales[microbatch - STEP])
            if timed not in ticks:
                alternative = self.alternative(task)
                ticks[timed] = self.problem.ticks(operator, alternative, microbatch)
                cache[timed] = self._running_amounts(operator, alternative) if ticks[timed] else ()
            self.durations.append(ticks[timed])
            self.releases.append(releases[microbatch - STEP])
            self.successors.append([])
            self.amounts.append(cache[timed])

    def _running_amounts(self, operator: int, alternative: Alternative) -> Amounts:
        spec = self.problem.graph.operators[operator]
        mode = spec.modes[alternative.mode]
        found: dict[int, float] = {}
        for device in alternative.devices:
            for r, demand in self.running.get(device, ()):
                if demand.engine is not None and demand.engine not in mode.engines:
                    continue
                if demand.operators is not None and spec.name not in demand.operators:
                    continue
                if demand.modes is not None and mode.name not in demand.modes:
                    continue
                amount = demand.amount
                value = amount.get(spec.name, 0.0) if isinstance(amount, Mapping) else amount
                if demand.per_workspace_byte:
                    value *= mode.workspace_bytes
                found[r] = found.get(r, 0.0) + value
        for link in self.problem.collective_links(operator, alternative):
            for r, moving in self.moving.get(link, ()):
                if moving.tensors is None:
                    found[r] = found.get(r, 0.0) + moving.amount
        return tuple((r, v) for r, v in found.items() if v > 0)

    # -- tensors: arcs, transfers, buffers -------------------------------------------------------

    def add_tensors(self) -> None:
        """For each tensor and microbatch: arcs to local readers, transfers to the others.

        Microbatches of one group that are equally long differ in nothing but their number, so what
        a tensor needs is found once for each group and written down for each microbatch.
        """
        problem, graph = self.problem, self.problem.graph
        workload = problem.workload
        for tensor, producer in enumerate(graph.producers):
            found: dict[tuple[object, ...], _Needs] = {}
            for microbatch in problem.microbatches_of(producer):
                sources = self.sources.get((tensor, microbatch), ())
                key = (workload.group(microbatch), workload.scale(microbatch), sources)
                if key not in found:
                    found[key] = self._needs(tensor, microbatch)
                self._write_down(tensor, microbatch, found[key])

    def _needs(self, tensor: int, microbatch: int) -> _Needs:
        """Return who reads a tensor where, and what it holds there."""
        problem, graph = self.problem, self.problem.graph
        maker = self.task_index[graph.producers[tensor], microbatch]
        made = self.alternative(maker)
        size = problem.tensor_bytes(tensor, made.mode, microbatch)
        readers: dict[int, dict[int, None]] = {}
        matched: dict[int, int] = {}
        for consumer in graph.consumers[tensor]:
            for m in problem.reading_tasks(consumer, microbatch):
                reader = self.task_index[consumer, m]
                chosen = self.alternative(reader)
                if tensor not in graph.reads(consumer, chosen.mode):
                    continue
                clash = mode_clash(graph, tensor, made.mode, consumer, chosen.mode)
                if clash:
                    raise InfeasibleError(clash, conflict=("modes",))
                for position, device in enumerate(chosen.devices):
                    readers.setdefault(device, {})[consumer] = None
                    matched.setdefault(device, made.devices[position % len(made.devices)])
        matched.update(self.sources.get((tensor, microbatch), ()))
        remote = []
        for d in readers:
            if d not in made.devices:
                timing = self._timing(tensor, size or 0, matched[d], d)
                amounts = self._moving(tensor, matched[d], d, timing)
                remote.append((d, matched[d], timing, amounts, tuple(readers[d])))
        local = [(d, tuple(readers.get(d, ()))) for d in made.devices]
        held = {d: self._held(tensor, size or 0, d) for d in (*made.devices, *readers)}
        return _Needs(size, local, remote, held)

    def _write_down(self, tensor: int, microbatch: int, needs: _Needs) -> None:
        """Add the arcs, transfers and buffers of one tensor of one microbatch."""
        if needs.size is None:
            return
        graph = self.problem.graph
        maker = self.task_index[graph.producers[tensor], microbatch]
        duration, arcs = self.durations[maker], self.successors[maker]
        users: dict[int, list[int]] = {}
        for device, consumers in needs.local:
            tasks = self._tasks_of(consumers, microbatch)
            arcs.extend((reader, duration) for reader in tasks)
            users[device] = tasks
        for device, source, timing, amounts, consumers in needs.remote:
            tasks = self._tasks_of(consumers, microbatch)
            transfer = len(self.durations)
            self.transfers.append((tensor, microbatch, source, device))
            self.durations.append(timing.occupied)
            self.releases.append(0)
            self.successors.append([])
            self.amounts.append(amounts)
            arcs.append((transfer, duration))
            users[source].append(transfer)
            self.successors[transfer].extend((reader, timing.arrival) for reader in tasks)
            if needs.held[device]:
                self.buffers.append(Buffer(needs.held[device], transfer, tuple(tasks)))
        is_output = graph.tensors[tensor].output
        for device, tasks in users.items():
            if needs.held[device]:
                until = () if is_output else tuple(tasks) or (maker,)
                self.buffers.append(Buffer(needs.held[device], maker, until))

    def _tasks_of(self, consumers: Sequence[int], microbatch: int) -> list[int]:
        """Return the tasks of consumers that read a tensor of this microbatch."""
        index = self.task_index
        if microbatch != STEP and self.every_microbatch.issuperset(consumers):
            return [index[c, microbatch] for c in consumers]
        reading = self.problem.reading_tasks
        return [index[c, m] for c in consumers for m in reading(c, microbatch)]

    def _timing(self, tensor: int, size: int, source: int, target: int) -> TransferTiming:
        """Return a transfer's times; InfeasibleError without a route."""
        timing = self.problem.transfer_timing(size, source, target)
        if timing is None:
            cluster = self.problem.cluster
            name = self.problem.graph.tensors[tensor].name
            raise InfeasibleError(
                f"'{name}' must go from '{cluster.devices[source].name}' to "
                f"'{cluster.devices[target].name}', which have no route",
                conflict=("routes",),
                repair="add a link between them or keep the two operators together",
            )
        return timing

    def _moving(self, tensor: int, source: int, target: int, timing: TransferTiming) -> Amounts:
        """Return what a transfer holds of links and engines."""
        found: dict[int, float] = {}
        if timing.occupied:
            name = self.problem.graph.tensors[tensor].name
            for hold in timing.holds:
                for r, demand in self.moving.get(hold.link, ()):
                    if hold.ticks and (demand.tensors is None or name in demand.tensors):
                        found[r] = found.get(r, 0.0) + demand.amount
            for r, amount in (*self.sending.get(source, ()), *self.receiving.get(target, ())):
                found[r] = found.get(r, 0.0) + amount
        return tuple((r, v) for r, v in found.items() if v > 0)

    def _held(self, tensor: int, size: int, device: int) -> Amounts:
        """Return what a tensor holds of the resources of a device that it lives on."""
        name = self.problem.graph.tensors[tensor].name
        return tuple(
            (r, demand.amount * size)
            for r, demand in self.resident.get(device, ())
            if demand.amount * size > 0 and (demand.tensors is None or name in demand.tensors)
        )

    # -- the rest --------------------------------------------------------------------------------

    def add_parameters(self) -> None:
        """Bytes of parameter groups on each device that runs a reader: held from the outset."""
        if not self.parameters:
            return
        graph = self.problem.graph
        present: dict[tuple[int, int], int] = {}
        seen: set[tuple[int, int]] = set()
        for task, (operator, _) in enumerate(self.tasks):
            if (operator, self.chosen[task]) in seen:
                continue
            seen.add((operator, self.chosen[task]))
            alternative = self.alternative(task)
            for group, size in graph.parameter_bytes(operator, alternative.mode).items():
                for device in alternative.devices:
                    present[device, group] = max(present.get((device, group), 0), size)
        for r, device, demand in self.parameters:
            self.levels[r] += demand.amount * sum(
                size
                for (d, group), size in present.items()
                if d == device
                and (demand.groups is None or graph.parameters[group].name in demand.groups)
            )

    def add_held(self) -> None:
        """Held demands, taken a little longer where an edge is not the outer one (conservative)."""
        index = self.problem.graph.operator_index
        for r, demand in self.held:
            first, last = index[demand.from_operator], index[demand.to_operator]
            for m in self.problem.microbatches_of(first):
                allocator = self.task_index[first, m]
                devices = self.problem.cluster.devices
                on = {devices[d].name for d in self.alternative(allocator).devices}
                if demand.device is not None and demand.device not in on:
                    continue
                for k in self.problem.reading_tasks(last, m):
                    releaser = self.task_index[last, k]
                    edges = (demand.from_edge, demand.to_edge)
                    held = ((r, demand.amount),)
                    self.buffers.append(Buffer(held, allocator, (releaser,), *edges))

    def add_lags(self) -> None:
        """Arcs of TimeLag and Order declarations."""
        index = self.problem.graph.operator_index
        for _, lag in self.rules.of(TimeLag):
            before, after = index[lag.before], index[lag.after]
            ticks = ticks_up(lag.seconds, self.problem.tick_s)
            for m in self.problem.microbatches_of(before):
                for k in self.problem.reading_tasks(after, m):
                    target = k if k == STEP else k + lag.offset
                    a, b = self.task_index[before, m], self.task_index.get((after, target))
                    if b is not None:
                        delay = ticks
                        delay += self.durations[a] if lag.before_edge is Edge.END else 0
                        delay -= self.durations[b] if lag.after_edge is Edge.END else 0
                        self.successors[a].append((b, delay))
                        edges = (lag.before_edge, lag.after_edge)
                        self.lags.append(Lag(a, b, ticks, *edges, delay))
        for _, order in self.rules.of(Order):
            for one, two in zip(order.operators, order.operators[1:], strict=False):
                for m in self.problem.microbatches_of(index[one]):
                    for k in self.problem.reading_tasks(index[two], m):
                        a, b = self.task_index[index[one], m], self.task_index[index[two], k]
                        self.successors[a].append((b, self.durations[a]))

    def build(self) -> Network:
        """Return the network, without resources that cannot bind."""
        return Network(
            problem=self.problem,
            tasks=self.tasks,
            alternatives=self.chosen,
            transfers=tuple(self.transfers),
            durations=self.durations,
            releases=self.releases,
            successors=self.successors,
            amounts=self.amounts,
            buffers=handed_on(self.buffers, self.durations, self.successors),
            lags=self.lags,
            resource_names=tuple((rule, r.name) for rule, r in self.resources),
            capacities=[r.capacity for _, r in self.resources],
            levels=self.levels,
            task_index=self.task_index,
        )


@collector_paused()
def build_network(
    problem: Problem, rules: Rules, assignment: Assignment, sources: Sources | None = None
) -> Network:
    """Return the activities of a problem under one assignment.

    Time and memory are linear in tasks, tensors x microbatches and declared demands.

    Parameters
    ----------
    sources
        Where transfers come from, if not from the device at the same place in the producer's group.

    Raises
    ------
    InfeasibleError
        If modes do not couple, or a route is missing.
    """
    builder = _Builder(problem, rules, assignment, sources or {})
    builder.index_demands()
    builder.add_tasks()
    builder.add_tensors()
    builder.add_parameters()
    builder.add_held()
    builder.add_lags()
    return builder.build()


def check_capacities(network: Network, rules: Rules) -> None:
    """Raise InfeasibleError naming the first resource that one activity alone overfills.

    What is held from the outset (parameters) counts too. What one activity of no length begins and
    another ends counts here, as it does in list schedules, even where both come at one instant.
    """
    needs = list(network.levels)
    who = ["parameters"] * len(needs)
    for activity, amounts in enumerate(network.amounts):
        for r, amount in amounts:
            if network.levels[r] + amount > needs[r]:
                needs[r] = network.levels[r] + amount
                who[r] = activity_name(network, activity)
    for buffer in network.buffers:
        for r, amount in buffer.amounts:
            if network.levels[r] + amount > needs[r]:
                needs[r] = network.levels[r] + amount
                who[r] = activity_name(network, buffer.allocator)
    for r, (rule, resource) in enumerate(rules.resources):
        if needs[r] > resource.capacity * (1 + 1e-12):
            raise InfeasibleError(
                f"{rule}: '{resource.name}' needs {_amount(needs[r], resource)} for {who[r]} "
                f"where {_amount(resource.capacity, resource)} is the limit",
                conflict=(rule,),
                repair=f"{_amount(needs[r] - resource.capacity, resource)} more would do, or "
                "place or split this work otherwise",
            )


def activity_name(network: Network, activity: int) -> str:
    """Return an activity as text."""
    graph = network.problem.graph
    if activity < len(network.tasks):
        return f"operator '{graph.operators[network.tasks[activity][0]].name}'"
    tensor = network.transfers[activity - len(network.tasks)][0]
    return f"the transfer of '{graph.tensors[tensor].name}'"


def _amount(value: float, resource: Resource) -> str:
    if resource.unit == "bytes":
        return f"{value / 2**30:.3g} GiB" if value >= 2**27 else f"{math.ceil(value)} bytes"
    return f"{value:g} {resource.unit}".rstrip()
