"""Chakra execution traces of a plan, one for each device, as ASTRA-sim replays them.

Read in ASTRA-sim (``astra-sim/workload/Workload.cc``): without its roofline model a computation
takes its ``duration_micros``; what a message takes is for the simulated network to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_bytes
from parplan.plans import Plan
from parplan.plugins.exporters.chakra.nodes import plan_nodes
from parplan.plugins.exporters.chakra.wire import check_traces, read_trace, trace_bytes
from parplan.spec.structuring import structure


@frozen
class ChakraOptions:
    """How a plan becomes traces.

    Attributes
    ----------
    prefix
        Files are named ``PREFIX.RANK.et``.
    """

    prefix: str = "plan"

    def __attrs_post_init__(self) -> None:
        if not self.prefix or not set(self.prefix).isdisjoint("/\\\0"):
            raise InputError(f"'{self.prefix}' begins no name of a file", key="prefix")


class Chakra(Exporter):
    """Writes ``plan.0.et``, ``plan.1.et`` and so on, one for each device of the cluster."""

    name: ClassVar[str] = "chakra"
    options: ClassVar[type] = ChakraOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write the traces of a plan, read them again and check that a replay comes to its end."""
        chosen = structure(dict(options), ChakraOptions, key="options")
        traces = plan_nodes(plan)
        paths = tuple(directory / f"{chosen.prefix}.{rank}.et" for rank in range(len(traces)))
        for path, trace in zip(paths, traces, strict=True):
            write_bytes(path, trace_bytes(trace))
        read = [read_trace(path.read_bytes()) for path in paths]
        check_traces(read)
        if [len(trace) for trace in read] != [len(trace) for trace in traces]:
            raise InputError("the traces are not read as they were written", file=str(directory))
        messages = sum(node.message is not None for trace in traces for node in trace) // 2
        devices = [device.name for device in plan.problem.cluster.devices]
        notes = [f"ranks are, in order: {', '.join(devices)}"]
        if any(len(a.devices) > 1 for rows in plan.problem.alternatives for a in rows):
            notes.append(
                "what runs on several devices is a computation of each, with the collectives in "
                "its time: no COMM_COLL nodes are written"
            )
        figures = {"nodes": sum(map(len, traces)), "messages": messages, "ranks": devices}
        return Exported(paths, tuple(notes), figures)
