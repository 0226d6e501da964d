"""Who uses what, and when: the intervals behind every demand that a rule can declare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from attrs import frozen

from parplan.checking.columns import Load, Mask, Ragged, Real, Whole, profile, whole
from parplan.checking.columns import Profile as Profile
from parplan.checking.facts import Facts
from parplan.declarations import (
    Demand,
    Edge,
    Held,
    Moving,
    Receiving,
    Resident,
    ResidentParameters,
    Resource,
    Running,
)
from parplan.problem import STEP


@frozen(eq=False)
class Lifetimes:
    """One row for each (tensor, microbatch, device) that holds a copy; times in ticks."""

    tensor: Whole
    microbatch: Whole
    device: Whole
    bytes: Whole
    start: Whole
    end: Whole


@frozen(eq=False)
class Usage:
    """The loads on devices and links of a schedule, indexed so that each is found at once."""

    facts: Facts

    @cached_property
    def tasks_on(self) -> Ragged:
        """Task rows on each device."""
        facts = self.facts
        row, device = facts.devices.at(facts.choice)
        by_device = Ragged.grouped(device, len(facts.problem.cluster.devices))
        return Ragged(by_device.pointer, row[by_device.values])

    @cached_property
    def ring_links(self) -> tuple[Whole, Whole]:
        """Links that collectives hold, and the task row of each."""
        facts = self.facts
        links = [
            {link for hop in facts.ring(chosen) for link in hop} if mode.ring_steps else set()
            for mode, (_, chosen) in zip(facts.modes, facts.choices, strict=True)
        ]
        row, link = Ragged.of([sorted(found) for found in links]).at(facts.choice)
        return link, row

    @cached_property
    def _collectives(self) -> Ragged:
        """Task rows that hold each link with their ring."""
        link, row = self.ring_links
        by_link = Ragged.grouped(link, len(self.facts.problem.cluster.links))
        return Ragged(by_link.pointer, row[by_link.values])

    @cached_property
    def _holds_of(self) -> Ragged:
        return Ragged.grouped(self.facts.holds.link, len(self.facts.problem.cluster.links))

    @cached_property
    def _sent_by(self) -> Ragged:
        x = self.facts.schedule.transfers
        return Ragged.grouped(x.source, len(self.facts.problem.cluster.devices))

    @cached_property
    def _received_by(self) -> Ragged:
        x = self.facts.schedule.transfers
        return Ragged.grouped(x.target, len(self.facts.problem.cluster.devices))

    @cached_property
    def lifetimes(self) -> Lifetimes:
        """When each tensor lives where; the rules stand in ``declarations.Resident``."""
        facts, x = self.facts, self.facts.schedule.transfers
        t, reads, needs, moves = facts.schedule.tasks, facts.reads, facts.needs, facts.moves
        graph = facts.problem.graph
        written = Ragged.of([graph.writes(o, a.mode) for o, a in facts.choices])
        task, tensor = written.at(facts.choice)
        copy, device = facts.devices.at(facts.choice[task])
        task, tensor = task[copy], tensor[copy]
        microbatch = t.microbatch[task]
        output = np.array([spec.output for spec in graph.tensors], dtype=bool)[tensor]

        end = np.where(output, facts.makespan, facts.ends[task])
        home = facts.place_key(tensor, microbatch, device)
        order = np.argsort(home)

        def at_home(keys: Whole) -> tuple[Whole, Mask]:
            place = np.minimum(np.searchsorted(home[order], keys), max(len(home) - 1, 0))
            known = home[order[place]] == keys if len(home) else np.zeros(len(keys), dtype=bool)
            return order[place[known]], known

        read = needs.read
        keys = facts.place_key(reads.tensor[read], reads.microbatch[read], needs.device)
        place, known = at_home(np.where(needs.local, keys, -1))
        np.maximum.at(end, place, facts.ends[reads.reader[read]][known])
        place, known = at_home(facts.place_key(x.tensor, x.microbatch, x.source))
        np.maximum.at(end, place, (x.start + moves.occupied)[known])

        received = x.start + moves.occupied
        served = needs.transfer >= 0
        np.maximum.at(received, needs.transfer[served], facts.ends[reads.reader[read[served]]])
        return Lifetimes(
            np.concatenate((tensor, x.tensor)),
            np.concatenate((microbatch, x.microbatch)),
            np.concatenate((device, x.target)),
            np.concatenate((facts.tensor_bytes(task, tensor), np.maximum(moves.bytes, 0))),
            np.concatenate((facts.starts[task], x.start)),
            np.concatenate((end, received)),
        )

    @cached_property
    def _living_on(self) -> Ragged:
        return Ragged.grouped(self.lifetimes.device, len(self.facts.problem.cluster.devices))

    @cached_property
    def parameters_on(self) -> tuple[Mapping[int, int], ...]:
        """Bytes of each parameter group resident on each device; the largest over its readers."""
        facts, graph = self.facts, self.facts.problem.graph
        found: list[dict[int, int]] = [{} for _ in facts.problem.cluster.devices]
        for operator, chosen in facts.choices:
            for group, size in graph.parameter_bytes(operator, chosen.mode).items():
                for device in chosen.devices:
                    found[device][group] = max(found[device].get(group, 0), size)
        return tuple(found)

    # -- demands -------------------------------------------------------------------------------

    def profile(self, resource: Resource) -> Profile:
        """Return the level of a resource over time."""
        return profile(self.loads(resource), self.base(resource))

    def base(self, resource: Resource) -> float:
        """Return what a resource carries for the whole horizon: resident parameters."""
        cluster, graph = self.facts.problem.cluster, self.facts.problem.graph
        total = 0.0
        for demand in resource.demands:
            if isinstance(demand, ResidentParameters):
                for group, size in self.parameters_on[cluster.device_index[demand.device]].items():
                    if demand.groups is None or graph.parameters[group].name in demand.groups:
                        total += demand.amount * size
        return total

    def loads(self, resource: Resource) -> list[Load]:
        """Return what a resource carries for a time, demand by demand."""
        demands = (d for d in resource.demands if not isinstance(d, ResidentParameters))
        return [self._load(demand) for demand in demands]

    def _load(self, demand: Demand) -> Load:
        facts, x = self.facts, self.facts.schedule.transfers
        if isinstance(demand, Running):
            return self._running(demand)
        if isinstance(demand, Held):
            return self._held(demand)
        if isinstance(demand, Moving):
            return self._moving(demand)
        device = facts.problem.cluster.device_index[demand.device]
        if isinstance(demand, Resident):
            return self._resident(demand, device)
        rows = (self._received_by if isinstance(demand, Receiving) else self._sent_by).row(device)
        end = x.start[rows] + facts.moves.occupied[rows]
        return Load(x.start[rows], end, np.full(len(rows), float(demand.amount)), "transfer", rows)

    def _running(self, demand: Running) -> Load:
        facts = self.facts
        rows = self.tasks_on.row(facts.problem.cluster.device_index[demand.device])
        used, inverse = np.unique(facts.choice[rows], return_inverse=True)
        each = np.array([self._per_run(demand, c) for c in used.tolist()], dtype=np.float64)
        amount = each[inverse]
        if demand.per_workspace_byte:
            amount = amount * self.workspace[rows]
        return Load(facts.starts[rows], facts.ends[rows], amount, "task", rows)

    def _per_run(self, demand: Running, choice: int) -> float:
        """Return how much one run of a choice demands, 0 if it is not meant."""
        facts = self.facts
        mode, operator = facts.modes[choice], facts.choices[choice][0]
        name = facts.problem.graph.operators[operator].name
        if (
            (demand.engine is not None and demand.engine not in mode.engines)
            or (demand.modes is not None and mode.name not in demand.modes)
            or (demand.operators is not None and name not in demand.operators)
        ):
            return 0.0
        each = demand.amount
        return float(each.get(name, 0.0) if isinstance(each, Mapping) else each)

    @cached_property
    def workspace(self) -> Real:
        """Bytes of workspace that each task holds on each of its devices."""
        sizes = np.array([mode.workspace_bytes for mode in self.facts.modes], dtype=np.float64)
        return sizes[self.facts.choice]

    def _moving(self, demand: Moving) -> Load:
        facts, holds = self.facts, self.facts.holds
        link = facts.problem.cluster.link_index[demand.link]
        found = self._holds_of.row(link)
        rows = holds.transfer[found]
        if demand.tensors is not None:
            names = [spec.name in demand.tensors for spec in facts.problem.graph.tensors]
            kept = np.array(names, dtype=bool)[facts.schedule.transfers.tensor[rows]]
            amount = np.full(int(kept.sum()), float(demand.amount))
            found, rows = found[kept], rows[kept]
            return Load(holds.start[found], holds.end[found], amount, "transfer", rows)
        # Collectives move no tensor of the graph: they count where all tensors do. Their rows
        # are numbered after those of the transfers.
        tasks = self._collectives.row(link)
        start = np.concatenate((holds.start[found], facts.starts[tasks]))
        end = np.concatenate((holds.end[found], facts.ends[tasks]))
        rows = np.concatenate((rows, tasks + len(facts.schedule.transfers)))
        return Load(start, end, np.full(len(rows), float(demand.amount)), "transfer", rows)

    def _resident(self, demand: Resident, device: int) -> Load:
        facts, lives = self.facts, self.lifetimes
        rows = self._living_on.row(device)
        if demand.tensors is not None:
            names = [spec.name in demand.tensors for spec in facts.problem.graph.tensors]
            rows = rows[np.array(names, dtype=bool)[lives.tensor[rows]]]
        return Load(
            lives.start[rows], lives.end[rows], demand.amount * lives.bytes[rows], "tensor", rows
        )

    def _held(self, demand: Held) -> Load:
        facts, index = self.facts, self.facts.problem.graph.operator_index
        first, last = self.pairs(index[demand.from_operator], index[demand.to_operator])
        if demand.device is not None:
            device = facts.problem.cluster.device_index[demand.device]
            kept = facts.runs_on(first, np.full(len(first), device))
            first, last = first[kept], last[kept]
        amount = np.full(len(first), float(demand.amount))
        return Load(self.edge(first, demand.from_edge), self.edge(last, demand.to_edge), amount,
                    "task", first)  # fmt: skip

    def edge(self, rows: Whole, edge: Edge) -> Whole:
        """Return an edge of tasks in ticks."""
        return (self.facts.starts if edge is Edge.START else self.facts.ends)[rows]

    def pairs(self, before: int, after: int, offset: int = 0) -> tuple[Whole, Whole]:
        """Return the task rows that a rule over two operators ties together.

        Microbatch k of ``before`` with microbatch k + ``offset`` of ``after``; an operator that
        runs once per step is tied to every microbatch of the other.
        """
        problem = self.facts.problem
        first, last = problem.microbatches_of(before), problem.microbatches_of(after)
        if first.start == STEP or last.start == STEP:
            tied = [(a, b) for a in first for b in last]
        else:
            tied = [(k, k + offset) for k in first if k + offset in last]
        a, b = whole(k for k, _ in tied), whole(k for _, k in tied)
        rows, number = self.facts.rows, self.facts.task_number
        return (
            rows[number(np.full(len(a), before), a)],
            rows[number(np.full(len(b), after), b)],
        )
