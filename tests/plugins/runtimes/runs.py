"""Runs several plans by one launcher: torch is loaded once for all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import parplan
from parplan.contracts import RunRequest
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.plugins.runtimes.folder import Folder
from parplan.plugins.runtimes.job import TrainingJob, write_job
from parplan.plugins.runtimes.torch_processes import TorchProcesses, training_job
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.schedule import Schedule
from parplan.stages.manifest import read_manifest
from parplan.workload import Workload

HERE = Path(__file__).parent

LIMIT_S = 300
"""Seconds after which a test gives up on processes, on however slow a machine."""

_SCRIPT = """
import sys
from pathlib import Path
from parplan.plugins.runtimes.job import Folder
from parplan.plugins.runtimes.launcher import main
for name in sys.argv[1:]:
    (Path(name) / "code").write_text(str(main(Folder(Path(name)))))
"""


def plan_of(schedule: Schedule) -> Plan:
    return Plan(
        schedule.problem, schedule, {"makespan": schedule.makespan * schedule.problem.tick_s}
    )


def prepare(
    plan: Plan, folder: Path, request: RunRequest, registry: Registry, **options: Any
) -> TrainingJob:
    """Export a plan into a folder, and write a job beside the files."""
    folder.mkdir()
    options = {**TorchProcesses.export_options, **options}
    parplan.export_plan(plan, "torch-csv", folder / "files", options, registry=registry)
    program = read_manifest(folder / "files" / "stages.json")
    job = training_job(plan, program, folder / "files" / "comms.csv", request)
    write_job(job, Folder(folder))
    return job


def launch(folders: Sequence[Path]) -> list[int]:
    """Run the jobs of folders one after another and return their exit codes."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SCRIPT, *map(str, folders)],
        stdin=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        start_new_session=True,
    )
    try:
        assert process.wait(LIMIT_S) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
    return [int((folder / "code").read_text()) for folder in folders]


def graph_problem(
    edges: Sequence[tuple[str, str]],
    device_of: dict[str, str],
    microbatches: int,
    *,
    split: bool = False,
) -> Problem:
    """Return layers with a forward and a backward pass, whole or in two, each on a given device."""
    operators, tensors = [], []
    backward = Kind.BACKWARD_INPUT if split else Kind.BACKWARD
    for name, device in device_of.items():
        passes = {Kind.FORWARD: 1.0, backward: 1.0 if split else 2.0}
        if split:
            passes[Kind.BACKWARD_WEIGHT] = 1.0
        for kind, seconds in passes.items():
            mode = Mode(groups=((device,),), seconds={"*": seconds})
            called = name if kind is Kind.FORWARD else f"{name}:{kind}"
            operators.append(Operator(called, kind, module=name, modes=(mode,)))
        later = tuple(operator.name for operator in operators[1 - len(passes) :])
        readers = tuple(b for a, b in edges if a == name)
        tensors.append(Tensor(f"{name}.out", name, (*readers, *later), 8))
        sources = tuple(f"{a}:{backward}" for a, b in edges if b == name)
        read = (*sources, *later[1:])
        if read:
            tensors.append(Tensor(f"{name}.gradient", later[0], read, 8))
    spots = sorted(set(device_of.values()))
    links = tuple(
        Link(f"{a}>{b}", a, b, 64.0, latency_s=0.25) for a in spots for b in spots if a != b
    )
    cluster = Cluster("pair", tuple(Device(s, peak_flops={"bf16": 1.0}) for s in spots), links)
    graph = Graph("layers", tuple(operators), tuple(tensors))
    return Problem("layers", graph, cluster, Workload(microbatches=microbatches), tick_s=0.125)
