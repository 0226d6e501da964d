"""What the processes of a run left, as a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from parplan import __version__
from parplan.measuring.recording import WAIT, Recording, Span
from parplan.plugins.runtimes.folder import Result


def recording_of(
    plan: str, what: str, devices: Sequence[str], results: Sequence[Result]
) -> Recording:
    """Return what was recorded.

    Parameters
    ----------
    plan
        Name of the problem.
    what
        What ran, in words.
    devices, results
        Of each rank.
    """
    torch_version = version("torch")
    begin = min(timed.start for result in results for timed in result.timed)
    pairs = list(zip(devices, results, strict=True))
    spans = [span for device, result in pairs for span in _spans(device, result, begin)]
    return Recording(
        plan=plan,
        source=f"torch {torch_version}: {what} in {len(results)} gloo processes on one machine",
        spans=tuple(sorted(spans, key=lambda span: (span.start_s, span.device))),
        peak_bytes={
            device: result.peak_bytes for device, result in pairs if result.peak_bytes is not None
        },
        versions={"parplan": __version__, "torch": torch_version},
        date=datetime.now(UTC).date().isoformat(),
    )


def _spans(device: str, result: Result, begin: float) -> Iterator[Span]:
    for timed in result.timed:
        work = timed.work
        yield Span(
            device,
            work.operators,
            WAIT if timed.waiting else work.action,
            work.microbatch,
            timed.start - begin,
            timed.end - timed.start,
            timed.step,
        )
