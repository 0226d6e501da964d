"""The shortest schedule of a tiny problem by trying everything: placements, modes, sources, times.

Written from docs/explanation/architecture.md, sharing nothing with model, search or checker but
the IR. Every start up to the makespan in question is tried, idle time included; a partial schedule
is given up only where what is placed already breaks a rule that nothing placed later can mend.
Knows the built-in rules devices, links and memory.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from attrs import define, field, frozen

from parplan.graph import Repeat
from parplan.problem import Alternative, Problem, TransferTiming
from parplan.schedule import Schedule, Tasks, Transfers

Key = tuple[int, int]
"""(operator, placement group)."""

Chosen = Mapping[Key, int]

Accept = Callable[[Schedule], bool]

Admits = Callable[[Chosen], bool]

JUDGING = 20
"""A complete schedule counts for so many starts: judging one takes its time."""


class TooLargeError(Exception):
    """More would have to be tried than was allowed."""


def shortest_schedule(
    problem: Problem,
    max_nodes: int = 1_000_000,
    accept: Accept = lambda _: True,
    pause: int = 0,
    admits: Admits = lambda _: True,
) -> Schedule | None:
    """Return a schedule of least makespan; None if there is none.

    Parameters
    ----------
    accept
        Judges complete schedules by further rules.
    pause
        Ticks in which such rules may let nothing happen at all.
    admits
        Judges alternatives by further rules.

    Raises
    ------
    TooLargeError
        If more than ``max_nodes`` starts would have to be tried.
    """
    searches = _searches(problem, accept, pause, admits)
    nodes = max_nodes
    for makespan in range(max((s.horizon for s in searches), default=-1) + 1):
        for search in searches:
            if makespan <= search.horizon:
                found = search.within(makespan, nodes)
                nodes -= search.nodes
                if found is not None:
                    return found
    return None


def least_by_placement(
    problem: Problem,
    value: Callable[[Schedule], float],
    max_nodes: int = 1_000_000,
    accept: Accept = lambda _: True,
    admits: Admits = lambda _: True,
) -> Schedule | None:
    """Return a schedule of least value, which must follow from placement and sources alone.

    None if there is no schedule; parameters and errors are those of ``shortest_schedule``.
    """
    best, nodes = None, max_nodes
    for search in _searches(problem, accept, 0, admits):
        found = search.within(search.horizon, nodes)
        nodes -= search.nodes
        if found is not None and (best is None or value(found) < value(best)):
            best = found
    return best


def _searches(problem: Problem, accept: Accept, pause: int, admits: Admits) -> list[_Search]:
    """Return a search of times for each placement and each choice of sources."""
    placements = [_Placement(problem, chosen) for chosen in _choices(problem) if admits(chosen)]
    return [
        _Search(placement, sources, accept, pause)
        for placement in placements
        for sources in itertools.product(*(move.sources for move in placement.moves))
    ]


# -- placement -------------------------------------------------------------------------------------


def _choices(problem: Problem) -> Iterator[Chosen]:
    """Yield every choice of alternatives in which modes, layouts and routes fit."""
    graph = problem.graph
    keys = [
        (o, h)
        for o, operator in enumerate(graph.operators)
        for h in range(1 if operator.repeat is Repeat.STEP else problem.workload.group_count)
    ]
    for rows in itertools.product(*(range(len(problem.alternatives[o])) for o, _ in keys)):
        chosen = dict(zip(keys, rows, strict=True))
        if all(
            _serves(problem, chosen, tensor, microbatch, reader, run)
            for tensor, producer in enumerate(graph.producers)
            for microbatch in problem.microbatches_of(producer)
            for reader in graph.consumers[tensor]
            for run in problem.reading_tasks(reader, microbatch)
        ):
            yield chosen


def _alternative(problem: Problem, chosen: Chosen, operator: int, microbatch: int) -> Alternative:
    row = chosen[operator, problem.workload.group(microbatch)]
    return problem.alternatives[operator][row]


def _serves(
    problem: Problem, chosen: Chosen, tensor: int, microbatch: int, reader: int, run: int
) -> bool:
    graph = problem.graph
    producer = graph.producers[tensor]
    made = _alternative(problem, chosen, producer, microbatch)
    read = _alternative(problem, chosen, reader, run)
    if tensor not in graph.reads(reader, read.mode):
        return True
    layouts = {
        graph.operators[o].modes[a.mode].layout for o, a in ((producer, made), (reader, read))
    }
    return (
        tensor in graph.writes(producer, made.mode)
        and len(layouts - {""}) < 2
        and all(
            d in made.devices or any(problem.cluster.route(s, d) is not None for s in made.devices)
            for d in read.devices
        )
    )


@frozen
class _Move:
    """A transfer that a placement needs."""

    tensor: int
    microbatch: int
    target: int
    bytes: int
    sources: tuple[int, ...]
    readers: tuple[Key, ...]


class _Placement:
    """What must happen once the alternatives are chosen."""

    def __init__(self, problem: Problem, chosen: Chosen) -> None:
        self.problem, self.chosen = problem, chosen
        graph = problem.graph
        self.tasks = [(o, m) for o in graph.topological_order for m in problem.microbatches_of(o)]
        self.place = {(o, m): _alternative(problem, chosen, o, m) for o, m in self.tasks}
        self.ticks = {key: problem.ticks(key[0], a, key[1]) for key, a in self.place.items()}
        self.readers = {
            (t, m): [
                (reader, run)
                for reader in graph.consumers[t]
                for run in problem.reading_tasks(reader, m)
                if t in graph.reads(reader, self.place[reader, run].mode)
            ]
            for t, producer in enumerate(graph.producers)
            for m in problem.microbatches_of(producer)
        }
        self.moves = list(self._moves())
        self.written = {
            (o, m): [
                (tensor, problem.tensor_bytes(tensor, place.mode, m) or 0)
                for tensor in graph.writes(o, place.mode)
            ]
            for (o, m), place in self.place.items()
        }
        self.free_bytes = {
            d: device.usable_bytes - self._parameter_bytes(d)
            for d, device in enumerate(problem.cluster.devices)
            if device.usable_bytes is not None
        }

    def _moves(self) -> Iterator[_Move]:
        for (tensor, microbatch), readers in self.readers.items():
            made = self.place[self.problem.graph.producers[tensor], microbatch]
            size = self.problem.tensor_bytes(tensor, made.mode, microbatch)
            targets = {d for key in readers for d in self.place[key].devices}
            for target in sorted(targets - set(made.devices)):
                assert size is not None
                sources = tuple(
                    s for s in made.devices if self.problem.cluster.route(s, target) is not None
                )
                users = tuple(key for key in readers if target in self.place[key].devices)
                yield _Move(tensor, microbatch, target, size, sources, users)

    def _parameter_bytes(self, device: int) -> int:
        """Return what lies there even if the whole schedule has no length."""
        largest: dict[int, int] = {}
        for (operator, _), place in self.place.items():
            if device in place.devices:
                sizes = self.problem.graph.parameter_bytes(operator, place.mode)
                for group, size in sizes.items():
                    largest[group] = max(largest.get(group, 0), size)
        return sum(largest.values())


# -- times -----------------------------------------------------------------------------------------


@define(eq=False, slots=False)
class _Search:
    """All starts of the activities of a placement whose transfers leave from given sources."""

    placement: _Placement
    sources: tuple[int, ...]
    accept: Accept
    pause: int
    nodes: int = 0
    limit: int = 0
    starts: dict[int, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        placement, problem = self.placement, self.placement.problem
        self.timings: list[TransferTiming] = []
        for move, source in zip(placement.moves, self.sources, strict=True):
            timing = problem.transfer_timing(move.bytes, source, move.target)
            assert timing is not None
            self.timings.append(timing)
        # Activities: tasks in topological order, each followed by the transfers of what it makes.
        self.order: list[tuple[str, int]] = []
        for row, (operator, microbatch) in enumerate(placement.tasks):
            self.order.append(("task", row))
            self.order += [
                ("move", k)
                for k, move in enumerate(placement.moves)
                if (problem.graph.producers[move.tensor], move.microbatch) == (operator, microbatch)
            ]
        self.position = {key: i for i, key in enumerate(self.order)}
        self.row = {key: i for i, key in enumerate(placement.tasks)}
        self.lengths = [
            placement.ticks[placement.tasks[k]] if kind == "task" else self.timings[k].arrival
            for kind, k in self.order
        ]
        self.before = [self._predecessors(kind, k) for kind, k in self.order]
        self.tails = [0] * len(self.order)
        for i in reversed(range(len(self.order))):
            for b in self.before[i]:
                self.tails[b] = max(self.tails[b], self.tails[i] + self.lengths[i])
        self.holds = [list(self._holds(kind, k)) for kind, k in self.order]
        held = {name for holds in self.holds for name, _, _ in holds}
        self.capacities = {name: self._capacity(name) for name in held}

    @property
    def horizon(self) -> int:
        """No shortest schedule is longer: somewhere nothing would happen."""
        releases = [self.placement.problem.release(m) for _, m in self.placement.tasks]
        return max(releases) + sum(self.lengths) + self.pause

    def _position_of_task(self, key: Key) -> int:
        return self.position["task", self.row[key]]

    def _predecessors(self, kind: str, k: int) -> list[int]:
        """Return the activities that must have ended (arrived) before this one starts."""
        placement, graph = self.placement, self.placement.problem.graph
        if kind == "move":
            move = placement.moves[k]
            producer = (graph.producers[move.tensor], move.microbatch)
            return [self._position_of_task(producer)]
        key = placement.tasks[k]
        found = []
        for (tensor, microbatch), readers in placement.readers.items():
            if key in readers:
                producer = (graph.producers[tensor], microbatch)
                found.append(self._position_of_task(producer))
        for j, move in enumerate(placement.moves):
            if key in move.readers:
                found.append(self.position["move", j])
        return found

    def _holds(self, kind: str, k: int) -> Iterator[tuple[str, int, int]]:
        """Yield (capacity-limited thing, offset, ticks) that an activity holds, one unit each."""
        problem, placement = self.placement.problem, self.placement
        cluster = problem.cluster
        if kind == "task":
            operator, microbatch = placement.tasks[k]
            alternative = placement.place[operator, microbatch]
            mode = problem.graph.operators[operator].modes[alternative.mode]
            length = placement.ticks[operator, microbatch]
            for d in alternative.devices:
                for engine in mode.engines:
                    yield f"{cluster.devices[d].name}.{engine}", 0, length
            for link in problem.collective_links(operator, alternative):
                yield cluster.links[link].name, 0, length
            return
        timing = self.timings[k]
        for hold in timing.holds:
            yield cluster.links[hold.link].name, hold.offset, hold.ticks
        ends = (self.sources[k], placement.moves[k].target)
        for d, engine in zip(ends, cluster.transfer_engines, strict=True):
            if engine is not None:
                yield f"{cluster.devices[d].name}.{engine}", 0, timing.occupied

    def _capacity(self, name: str) -> float:
        cluster = self.placement.problem.cluster
        for link in cluster.links:
            if link.name == name:
                return math.inf if link.capacity is None else link.capacity
        device, _, engine = name.partition(".")
        return cluster.devices[cluster.device_index[device]].engines[engine]

    def within(self, makespan: int, max_nodes: int) -> Schedule | None:
        """Return a schedule of at most this makespan; None if there is none."""
        self.limit, self.nodes, self.starts = makespan, 0, {}
        self.max_nodes = max_nodes
        self.levels: defaultdict[tuple[str, int], int] = defaultdict(int)
        return self._schedule() if self._place(0) else None

    def _place(self, i: int) -> bool:
        if i == len(self.order):
            self.nodes += JUDGING
            return (
                self._first_in_first_out() and self._memory_fits() and self.accept(self._schedule())
            )
        kind, k = self.order[i]
        earliest = max((self.starts[b] + self.lengths[b] for b in self.before[i]), default=0)
        if kind == "task":
            release = self.placement.problem.release(self.placement.tasks[k][1])
            earliest = max(earliest, release)
        for start in range(earliest, self.limit - self.lengths[i] - self.tails[i] + 1):
            self.nodes += 1
            if self.nodes > self.max_nodes:
                raise TooLargeError
            self.starts[i] = start
            if self._take(i, start):
                if self._memory_fits() and self._place(i + 1):
                    return True
                self._give(i, start)
            del self.starts[i]
        return False

    def _ticks_held(self, i: int, start: int) -> list[tuple[str, int]]:
        return [
            (name, tick)
            for name, offset, length in self.holds[i]
            for tick in range(start + offset, start + offset + length)
        ]

    def _take(self, i: int, start: int) -> bool:
        held = self._ticks_held(i, start)
        for key in held:
            self.levels[key] += 1
        if all(self.levels[key] <= self.capacities[key[0]] for key in held):
            return True
        self._give(i, start)
        return False

    def _give(self, i: int, start: int) -> None:
        for key in self._ticks_held(i, start):
            self.levels[key] -= 1

    def _first_in_first_out(self) -> bool:
        """Of one ordered device pair: whose producer ends first starts no later."""
        placement, graph = self.placement, self.placement.problem.graph
        if not placement.problem.cluster.fifo:
            return True
        lanes = [
            (
                (self.sources[k], move.target),
                self._end(self._position_of_task((graph.producers[move.tensor], move.microbatch))),
                self.starts[self.position["move", k]],
            )
            for k, move in enumerate(placement.moves)
        ]
        return not any(
            one[0] == two[0] and one[1] < two[1] and one[2] > two[2]
            for one in lanes
            for two in lanes
        )

    def _end(self, i: int) -> int:
        return self.starts[i] + self.lengths[i]

    # -- memory --------------------------------------------------------------------------------

    def _memory_fits(self) -> bool:
        """Whether what is placed so far fits; what is placed later only adds to it."""
        placed = {self.placement.tasks[k]: i for kind, k, i in self._placed() if kind == "task"}
        return all(
            self._most_bytes(device, placed) <= free
            for device, free in self.placement.free_bytes.items()
        )

    def _most_bytes(self, device: int, placed: Mapping[Key, int]) -> int:
        level: defaultdict[int, int] = defaultdict(int)
        for start, end, size in self._lives(device, placed):
            for tick in range(start, end):
                level[tick] += size
        return max(level.values(), default=0)

    def _lives(self, device: int, placed: Mapping[Key, int]) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, bytes) of workspaces and copies of tensors on a device."""
        placement, problem = self.placement, self.placement.problem
        graph = problem.graph
        last = max((self._end(i) for i in placed.values()), default=0)
        for key, i in placed.items():
            place = placement.place[key]
            if device not in place.devices:
                continue
            mode = graph.operators[key[0]].modes[place.mode]
            yield self.starts[i], self._end(i), mode.workspace_bytes
            for tensor, size in placement.written[key]:
                uses = [
                    self._end(placed[reader])
                    for reader in placement.readers[tensor, key[1]]
                    if reader in placed and device in placement.place[reader].devices
                ]
                uses += [
                    self.starts[j] + self.timings[k].occupied
                    for kind, k, j in self._placed()
                    if kind == "move"
                    and self.sources[k] == device
                    and (placement.moves[k].tensor, placement.moves[k].microbatch)
                    == (tensor, key[1])
                ]
                end = max([self._end(i), *uses])
                if graph.tensors[tensor].output:
                    end = max(end, last)
                yield self.starts[i], end, size
        for kind, k, i in self._placed():
            if kind == "move" and placement.moves[k].target == device:
                move = placement.moves[k]
                ends = [self._end(placed[key]) for key in move.readers if key in placed]
                yield self.starts[i], max([self._end(i), *ends]), move.bytes

    def _placed(self) -> Iterator[tuple[str, int, int]]:
        for i in self.starts:
            kind, k = self.order[i]
            yield kind, k, i

    # -- result --------------------------------------------------------------------------------

    def _schedule(self) -> Schedule:
        placement, problem = self.placement, self.placement.problem
        tasks = [
            (o, m, placement.chosen[o, problem.workload.group(m)], self.starts[self._at("task", k)])
            for k, (o, m) in enumerate(placement.tasks)
        ]
        moves = [
            (move.tensor, move.microbatch, source, move.target, self.starts[self._at("move", k)])
            for k, (move, source) in enumerate(zip(placement.moves, self.sources, strict=True))
        ]
        return Schedule(problem, Tasks(*_columns(tasks, 4)), Transfers(*_columns(moves, 5)))

    def _at(self, kind: str, k: int) -> int:
        return self.position[kind, k]


def _columns(rows: list[tuple[int, ...]], width: int) -> list[list[int]]:
    return [[row[i] for row in rows] for i in range(width)]
