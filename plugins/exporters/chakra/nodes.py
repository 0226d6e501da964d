"""A plan as nodes of execution traces: what each device computes, sends and receives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from attrs import frozen

from parplan.errors import InputError
from parplan.plans import Plan
from parplan.schedule import Schedule


class NodeType(IntEnum):
    """Chakra's types of nodes that a plan needs (``et_def.proto``)."""

    COMPUTE = 4
    SEND = 5
    RECEIVE = 6


@frozen
class Message:
    """What is sent: ranks, a number that no other message of the two ranks has, and bytes."""

    source: int
    target: int
    tag: int
    bytes: int


@frozen
class Node:
    """One node of a trace.

    Attributes
    ----------
    after
        Nodes of the same trace that come before it because the plan runs them in that order.
    reads
        Nodes of the same trace whose results it needs.
    start_us, duration_us
        As planned.
    message
        Of a send or a receive.
    """

    id: int
    name: str
    type: NodeType
    after: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()
    start_us: int = 0
    duration_us: int = 0
    message: Message | None = None


Trace = tuple[Node, ...]
"""The nodes of one device, by their start."""


Holder = Mapping[tuple[int, int, int], int]
"""The node that made, or received, a tensor: by tensor, microbatch and device."""


def plan_nodes(plan: Plan) -> tuple[Trace, ...]:
    """Return the trace of each device, in the cluster's order.

    What runs on several devices is in the trace of each. Numbers of nodes are unique in the plan.

    Raises
    ------
    InputError
        If a task reads what was neither made nor received on its device.
    """
    schedule = plan.schedule
    places = [(row, d) for row in range(len(schedule.tasks)) for d in _devices(schedule, row)]
    places.sort(key=lambda place: (int(schedule.tasks.start[place[0]]), place))
    holder = _holders(schedule, places)
    traces: list[list[Node]] = [[] for _ in plan.problem.cluster.devices]
    for node, device in _computations(schedule, places, holder):
        traces[device].append(node)
    for node, device in _messages(plan, len(places), holder):
        traces[device].append(node)
    return tuple(tuple(sorted(trace, key=lambda n: (n.start_us, n.id))) for trace in traces)


def _devices(schedule: Schedule, row: int) -> tuple[int, ...]:
    return schedule.alternative(row).devices


def _holders(schedule: Schedule, places: Sequence[tuple[int, int]]) -> Holder:
    """Return which nodes hold tensors: computations by position, then sends and receives."""
    graph, tasks, sent = schedule.problem.graph, schedule.tasks, schedule.transfers
    found: dict[tuple[int, int, int], int] = {}
    for row in range(len(sent)):
        key = (int(sent.tensor[row]), int(sent.microbatch[row]), int(sent.target[row]))
        found[key] = len(places) + 2 * row + 1
    for number, (row, device) in enumerate(places):
        for tensor in graph.outputs[int(tasks.operator[row])]:
            found[tensor, int(tasks.microbatch[row]), device] = number
    return found


def _computations(
    schedule: Schedule, places: Sequence[tuple[int, int]], holder: Holder
) -> Iterator[tuple[Node, int]]:
    """Yield a node, with its device, for each task and device that it runs on."""
    micro, last = schedule.problem.tick_s * 1e6, dict[int, int]()
    starts, ends = schedule.tasks.start.tolist(), schedule.ends.tolist()
    for number, (row, device) in enumerate(places):
        after = (last[device],) if device in last else ()
        reads = tuple(sorted(_inputs(schedule, row, device, holder)))
        times = (round(starts[row] * micro), round((ends[row] - starts[row]) * micro))
        yield Node(number, _name(schedule, row), NodeType.COMPUTE, after, reads, *times), device
        last[device] = number


def _messages(plan: Plan, first: int, holder: Holder) -> Iterator[tuple[Node, int]]:
    """Yield a send and a receive, with their devices, for each transfer."""
    schedule, problem, sent = plan.schedule, plan.problem, plan.schedule.transfers
    tags: dict[tuple[int, int], int] = defaultdict(int)
    for row in range(len(sent)):
        tensor, k = int(sent.tensor[row]), int(sent.microbatch[row])
        source, target = int(sent.source[row]), int(sent.target[row])
        size = problem.tensor_bytes(tensor, schedule.producer_mode(tensor, k), k) or 0
        message = Message(source, target, tags[source, target], size)
        tags[source, target] += 1
        number, what = first + 2 * row, f"{problem.graph.tensors[tensor].name} [{k}]"
        start = round(int(sent.start[row]) * problem.tick_s * 1e6)
        reads = (holder[tensor, k, source],)
        send = Node(number, f"send {what}", NodeType.SEND, (), reads, start, 0, message)
        yield send, source
        receive = Node(number + 1, f"receive {what}", NodeType.RECEIVE, (), (), start, 0, message)
        yield receive, target


def _name(schedule: Schedule, row: int) -> str:
    """Return the operator of a task with its microbatch."""
    operator = schedule.problem.graph.operators[int(schedule.tasks.operator[row])]
    return f"{operator.name} [{int(schedule.tasks.microbatch[row])}]"


def _inputs(schedule: Schedule, row: int, device: int, holder: Holder) -> set[int]:
    """Return the nodes that made, or received, what a task reads on a device."""
    problem, o = schedule.problem, int(schedule.tasks.operator[row])
    k, mode = int(schedule.tasks.microbatch[row]), schedule.alternative(row).mode
    found = set()
    for tensor in problem.graph.reads(o, mode):
        for m in problem.read_microbatches(tensor, k):
            if (tensor, m, device) not in holder:
                name = problem.graph.tensors[tensor].name
                raise InputError(f"'{_name(schedule, row)}' reads '{name}', which is not there")
            found.add(holder[tensor, m, device])
    return found
