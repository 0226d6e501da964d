"""Where the boxes of a directed acyclic graph stand: in layers, with few crossings.

Layers by longest path, order in them by the median of neighbours (Sugiyama, Tagawa and Toda 1981;
Gansner et al. 1993), without the dummy nodes of long edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

SWEEPS = 4


def layers(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the nodes of each layer in order.

    Parameters
    ----------
    count
        Number of nodes, numbered so that every edge goes to a larger one.
    """
    level = [0] * count
    for source, target in sorted(edges):
        level[target] = max(level[target], level[source] + 1)
    found: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for node in range(count):
        found[level[node]].append(node)
    before: list[list[int]] = [[] for _ in range(count)]
    behind: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        before[target].append(source)
        behind[source].append(target)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        _sweep(found if forwards else found[::-1], before if forwards else behind)
    return found


def _sweep(found: list[list[int]], neighbours: list[list[int]]) -> None:
    """Order each layer by where the neighbours of its nodes stand."""
    place = {node: (k + 0.5) / len(layer) for layer in found for k, node in enumerate(layer)}
    for layer in found:
        layer.sort(key=lambda n: median([place[m] for m in neighbours[n]] or [place[n]]))
        place.update({node: (k + 0.5) / len(layer) for k, node in enumerate(layer)})
