"""When the weights of stages that FSDP2 shards are gathered and freed, in rows with messages.

PyTorch's own files say the same with ``UNSHARD`` and ``RESHARD``; where a stage computes while it
is sharded, or stays whole at the end of a step, its runtime (2.13) refuses to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Row = list[str]

_COMPUTATION = re.compile(r"(\d+)[FBIW]\d+")


def with_shards(row: Sequence[str], most: int) -> Row:
    """Return a rank's row in which at most so many of its stages are whole at once.

    The stages that compute next are gathered ahead of their use; one that is not among them is
    freed first. O(length of the row x ``most``).

    >>> ",".join(with_shards(["0F0", "1F0", "0B0"], 1))
    '0UNSHARD,0F0,0RESHARD,1UNSHARD,1F0,1RESHARD,0UNSHARD,0B0,0RESHARD'
    """
    found: Row = []
    whole: list[int] = []
    for cell, upcoming in _with_upcoming(row, most):
        if upcoming:
            found += [f"{stage}RESHARD" for stage in whole if stage not in upcoming]
            found += [f"{stage}UNSHARD" for stage in upcoming if stage not in whole]
            whole = [s for s in whole if s in upcoming] + [s for s in upcoming if s not in whole]
        found.append(cell)
    return [*found, *(f"{stage}RESHARD" for stage in whole)]


def _with_upcoming(row: Sequence[str], most: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the cells of a row, computations with the stages that compute next, theirs first."""
    upcoming: tuple[int, ...] = ()
    found: list[tuple[str, tuple[int, ...]]] = []
    for cell in reversed(row):
        match = _COMPUTATION.fullmatch(cell)
        if match is None:
            found.append((cell, ()))
            continue
        stage = int(match[1])
        # The stages by their next computation, the nearest first.
        upcoming = (stage, *(other for other in upcoming if other != stage))
        found.append((cell, upcoming[:most]))
    yield from reversed(found)


def most_whole(row: Sequence[str], weight_bytes: Sequence[int]) -> int:
    """Return the most bytes of weights that are whole at once in such a row.

    Parameters
    ----------
    weight_bytes
        Of each stage.
    """
    held = peak = 0
    for cell in row:
        if cell.endswith("UNSHARD"):
            held += weight_bytes[int(cell.removesuffix("UNSHARD"))]
        elif cell.endswith("RESHARD"):
            held -= weight_bytes[int(cell.removesuffix("RESHARD"))]
        peak = max(peak, held)
    return peak
