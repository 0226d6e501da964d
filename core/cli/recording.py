"""``parplan recording``: traces of a profiler as the recording of a plan."""

from __future__ import annotations

from pathlib import Path

import click

from parplan.cli.common import check_folder, note
from parplan.cli.output import emit
from parplan.text import seconds_text


@click.command("recording")
@click.argument("stages", type=click.Path(path_type=Path))
@click.argument(
    "traces", nargs=-1, required=True, metavar="TRACE...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the recording goes; a name that ends in .gz packs it.",
)
def recording_command(stages: Path, traces: tuple[Path, ...], output: Path) -> None:
    """Turn TRACEs of torch.profiler, one of each rank, into a recording.

    STAGES is the stages.json that was exported for the run.
    """
    from parplan.measuring.kineto import read_kineto
    from parplan.measuring.recorded import recorded
    from parplan.measuring.recording import save_recording
    from parplan.stages.manifest import read_manifest

    check_folder(output)
    program = read_manifest(stages)
    found = recorded(program, {str(path): read_kineto(path) for path in traces})
    save_recording(found, output)
    note(f"{output}: written")
    for step in found.steps:
        emit(f"step {step}: {seconds_text(found.step_seconds(step))}")
    missing = [rank.device for rank in program.ranks if rank.device not in found.devices]
    if missing:
        note(f"there is no trace of {', '.join(missing)}")
