"""Emulates a plan: one process for each device, all on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import attrs

from parplan.contracts import RunRequest, Runtime
from parplan.errors import InputError
from parplan.measuring.recording import Recording
from parplan.plans import Plan
from parplan.plugins.runtimes.emulation.script import emulation_of
from parplan.plugins.runtimes.folder import Folder, read_results
from parplan.plugins.runtimes.job import write_job
from parplan.plugins.runtimes.recordings import recording_of
from parplan.plugins.runtimes.watching import watch
from parplan.system.extras import required


class EmulatingProcesses(Runtime):
    """Processes that take a plan's time and memory, and send its messages by gloo."""

    name: ClassVar[str] = "emulation"
    exporter: ClassVar[str] = ""

    def run(self, plan: Plan, files: Path, request: RunRequest) -> Recording:
        """Run a plan; see ``parplan.contracts.Runtime``."""
        required("torch", "torch")
        if request.model:
            raise InputError("emulation runs no model; the runtime 'torch' does", key="model")
        scale = request.seconds_per_planned_second
        job = emulation_of(plan.schedule, scale, request.bytes_per_planned_byte, request.steps)
        with tempfile.TemporaryDirectory(prefix="parplan-run-") as name:
            folder = Folder(Path(name))
            write_job(job, folder)
            watch(job, folder, request.timeout_s)
            results = read_results(folder, range(len(job.devices)))
        found = recording_of(plan.problem.name, "stand-ins", job.devices, results)
        return attrs.evolve(found, seconds_per_planned_second=scale)
