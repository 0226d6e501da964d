"""The meaning of a schedule, instant by instant and as slow as that: what the checker must find.

Written from docs/explanation/architecture.md alone, in plain Python over the task and transfer
views, so that it shares nothing with the sorted columns of the checker.
"""

from __future__ import annotations

from collections.abc import Iterator

from parplan.graph import Mode
from parplan.problem import STEP
from parplan.schedule import Schedule, TaskView, TransferView


def horizon(schedule: Schedule) -> range:
    """Every tick at which anything can happen."""
    ends = [t.end for t in schedule.task_views()]
    return range(max([*ends, *(x.arrival for x in schedule.transfer_views())], default=0) + 1)


def engine_level(schedule: Schedule, device: str, engine: str, tick: int) -> int:
    """How many tasks and transfers hold an engine at a tick."""
    graph, (sends, receives) = schedule.problem.graph, schedule.problem.cluster.transfer_engines
    level = 0
    for task in schedule.task_views():
        operator = graph.operators[graph.operator_index[task.operator]]
        mode = next(m for m in operator.modes if m.name == task.mode)
        level += device in task.devices and engine in mode.engines and task.start <= tick < task.end
    for move in schedule.transfer_views():
        if move.start <= tick < move.free:
            level += (move.source == device and engine == sends) + (
                move.target == device and engine == receives
            )
    return level


def memory_level(schedule: Schedule, device: str, tick: int) -> int:
    """Bytes in use on a device at a tick: parameters, tensors, workspace."""
    return (
        _parameters(schedule, device)
        + sum(size for start, end, size in _copies(schedule, device) if start <= tick < end)
        + sum(
            _mode(schedule, task).workspace_bytes
            for task in schedule.task_views()
            if device in task.devices and task.start <= tick < task.end
        )
    )


def peak_memory(schedule: Schedule, device: str) -> int:
    """Most bytes in use on a device at any tick."""
    return max(memory_level(schedule, device, tick) for tick in horizon(schedule))


def _mode(schedule: Schedule, task: TaskView) -> Mode:
    graph = schedule.problem.graph
    modes = graph.operators[graph.operator_index[task.operator]].modes
    return next(m for m in modes if m.name == task.mode)


def _parameters(schedule: Schedule, device: str) -> int:
    largest: dict[str, int] = {}
    graph = schedule.problem.graph
    for task in schedule.task_views():
        if device in task.devices:
            operator = graph.operators[graph.operator_index[task.operator]]
            for name in operator.parameters:
                full = graph.parameters[graph.parameter_index[name]].bytes
                size = (_mode(schedule, task).parameter_bytes or {}).get(name, full)
                largest[name] = max(largest.get(name, 0), size)
    return sum(largest.values())


def _copies(schedule: Schedule, device: str) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, bytes) of each copy of a tensor on a device."""
    problem, graph = schedule.problem, schedule.problem.graph
    tasks, moves = list(schedule.task_views()), list(schedule.transfer_views())
    end_of_all = max(t.end for t in tasks)
    for maker in tasks:
        for tensor in graph.tensors:
            mode = _mode(schedule, maker)
            sizes = {t.name: t.bytes for t in graph.tensors} if mode.writes is None else mode.writes
            if tensor.producer != maker.operator or tensor.name not in sizes:
                continue
            size = -(-sizes[tensor.name] * problem.workload.scale(maker.microbatch) // 1)
            readers = [t.end for t in _readers(schedule, tasks, tensor.name, maker, device)]
            if device in maker.devices:
                sent = [m.free for m in _of(moves, tensor.name, maker) if m.source == device]
                end = max([*readers, *sent], default=maker.end)
                yield maker.start, end_of_all if tensor.output else max(end, maker.end), int(size)
            for move in _of(moves, tensor.name, maker):
                if move.target == device:
                    yield move.start, max(readers), int(size)


def _of(moves: list[TransferView], tensor: str, maker: TaskView) -> list[TransferView]:
    return [m for m in moves if m.tensor == tensor and m.microbatch == maker.microbatch]


def _readers(
    schedule: Schedule, tasks: list[TaskView], tensor: str, maker: TaskView, device: str
) -> Iterator[TaskView]:
    graph = schedule.problem.graph
    for task in tasks:
        same = STEP in (task.microbatch, maker.microbatch) or task.microbatch == maker.microbatch
        consumes = task.operator in graph.tensors[graph.tensor_index[tensor]].consumers
        reads = _mode(schedule, task).reads
        if same and consumes and device in task.devices and (reads is None or tensor in reads):
            yield task
