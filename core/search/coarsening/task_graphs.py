"""Task graphs to be coarsened, and the task graph of the parts, in which each part is one task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parplan.scheduling.tables import Whole
from parplan.search.coarsening.dag import NO_MODULE, Dag
from parplan.search.graphs.task_graph import Lists, Memory, Sends, TaskGraph, inverted


def dag_of_units(graph: TaskGraph, modules: Sequence[str] = ()) -> Dag:
    """Return the graph of the units of a task graph, with the work of all their tasks.

    Units must be numbered by their first use, as blocks are. What leads back (a gradient, where a
    unit has forward and backward passes) counts as bytes between the two units: they are as near.
    O(sends x devices + readers log readers).

    Parameters
    ----------
    modules
        Path of each unit in the model's hierarchy, e.g. ``"layers.3.mlp"``; empty: none has one.
    """
    count = graph.units
    work = np.zeros((count, graph.devices))
    np.add.at(work, graph.unit, np.where(graph.ticks >= 0, graph.ticks, np.inf))
    work[~graph.allowed] = np.inf
    sends = graph.sends
    maker = graph.unit[np.repeat(sends.producer, np.diff(sends.readers.first))]
    reader = graph.unit[sends.readers.item]
    send = np.repeat(np.arange(len(sends)), np.diff(sends.readers.first))
    forth, back = maker < reader, maker > reader
    # What leads back becomes a tensor of its reader, read by its maker.
    send = np.concatenate([send[forth], send[back] * count + reader[back] + len(sends)])
    tails = np.concatenate([maker[forth], reader[back]])
    heads = np.concatenate([reader[forth], maker[back]])
    kept, first, read = np.unique(send, return_index=True, return_inverse=True)
    keys = np.unique(read.reshape(-1) * max(count, 1) + heads)
    bytes_of = np.where(kept < len(sends), kept, (kept - len(sends)) // max(count, 1))
    return Dag(
        work=work,
        maker=tails[first],
        sizes=sends.bytes[bytes_of],
        read=keys // max(count, 1),
        reader=keys % max(count, 1),
        ancestry=ancestry_of(modules, count),
    )


def ancestry_of(modules: Sequence[str], count: int) -> Whole:
    """Return the number of the module at each depth of each path, as ``Dag.ancestry`` wants it."""
    paths = [path.split(".") if path else [] for path in modules] or [[]] * count
    depth = max((len(path) for path in paths), default=0)
    numbers: dict[tuple[str, ...], int] = {}
    found = np.full((count, depth), NO_MODULE, dtype=np.int64)
    for node, path in enumerate(paths):
        for level in range(len(path)):
            found[node, level] = numbers.setdefault(tuple(path[: level + 1]), len(numbers))
    return found


def graph_of_parts(graph: TaskGraph, dag: Dag, part_of: Whole) -> TaskGraph:
    """Return the task graph in which each part runs in one go, on one engine of its device.

    A schedule of it is one of the fine graph in which a part's members run one after another; so
    it is never shorter than the best that the same placement allows.

    Parameters
    ----------
    dag
        The coarse graph.
    part_of
        Part of each unit.
    """
    count = len(dag)
    allowed = np.ones((count, graph.devices), dtype=np.bool_)
    np.logical_and.at(allowed, part_of, graph.allowed)
    release = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(release, part_of[graph.unit], graph.release)
    order = np.argsort(dag.maker, kind="stable")
    reads = np.argsort(np.argsort(order)[dag.read], kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(dag.read, minlength=len(order))[order])])
    readers = Lists(first.astype(np.int64), dag.reader[reads])
    makers = dag.maker[order]
    of_task = inverted(Lists(np.arange(len(order) + 1), makers), count)
    return TaskGraph(
        unit=np.arange(count),
        ticks=np.where(np.isfinite(dag.work), dag.work, -1).astype(np.int64),
        lane=np.zeros(count, dtype=np.int64),
        lanes=1,
        release=release,
        order=np.arange(count),
        allowed=allowed,
        sends=Sends(makers, order, dag.sizes[order], of_task, readers, inverted(readers, count)),
        routes=graph.routes,
        memory=_memory_of_parts(graph.memory, part_of, count),
    )


def _memory_of_parts(memory: Memory, part_of: Whole, count: int) -> Memory:
    groups = max(len(memory.group_bytes), 1)
    owner = np.repeat(part_of, np.diff(memory.groups.first))
    keys = np.unique(owner * groups + memory.groups.item)
    first = np.searchsorted(keys, np.arange(count + 1) * groups)
    kept_bytes = np.zeros(count)
    np.add.at(kept_bytes, part_of, memory.kept_bytes)
    return Memory(
        room=memory.room,
        groups=Lists(first.astype(np.int64), keys % groups),
        group_bytes=memory.group_bytes,
        kept_bytes=kept_bytes,
    )
