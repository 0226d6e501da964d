"""Which layers of a traced model become one operator: by the paths of their modules.

Modules are cut to blocks: a part of a repeated layer, the layer, or a number of steps of the path.
A layer that has no FLOP and stands in a module around others (a residual sum between two of them,
a loss behind the head) goes with what it reads last. Where a whole module as one operator would
make a cycle, because something between two of its calls is elsewhere, it becomes several.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen

from parplan.plugins.importers.traced.passes import Draft


class Granularity(StrEnum):
    """What one operator is: a call, a part of a repeated layer, or such a layer."""

    OPERATOR = "operator"
    BLOCK = "block"
    LAYER = "layer"


def cut(path: str, granularity: Granularity, depth: int | None) -> str:
    """Return the path of the block that a module is part of.

    Repeated layers are those in a list of modules, whose paths have a number in them: of
    ``model.layers.3.mlp.up`` the layer is ``model.layers.3``, the part ``model.layers.3.mlp``.

    Parameters
    ----------
    depth
        Steps of the path that are kept; None: as many as the granularity says.
    """
    parts = path.split(".")
    if depth is not None:
        return ".".join(parts[:depth])
    numbered = next((at for at, part in enumerate(parts) if part.isdecimal()), None)
    if numbered is None:
        return path
    return ".".join(parts[: numbered + (1 if granularity is Granularity.LAYER else 2)])


def blocks(
    drafts: Sequence[Draft], root: str, granularity: Granularity, depth: int | None
) -> tuple[str, ...]:
    """Return the module of each layer in a granularity, so that joining them makes no cycle.

    What comes back to a module behind another that needs it is ``module~2``, and so on.

    Parameters
    ----------
    root
        The module of layers that stand in no other than the model itself.
    """
    if granularity is Granularity.OPERATOR and depth is None:
        return tuple(draft.layer.module for draft in drafts)
    paths = [cut(draft.layer.module, granularity, depth) for draft in drafts]
    around = {root}
    for path in paths:
        around.update(path[:at] for at, letter in enumerate(path) if letter == ".")
    parts = _Parts()
    chosen: dict[int, int] = {}
    waiting: set[int] = set()  # layers that read no other's result, and go with their first reader
    for at, (draft, path) in enumerate(zip(drafts, paths, strict=True)):
        before = [chosen[other] for other in draft.producers if other in chosen]
        is_glue = path in around and not draft.flops and not draft.layer.parameters
        if is_glue and not before:
            waiting.add(at)
            continue
        if is_glue:
            path = parts.paths[chosen[max(o for o in draft.producers if o in chosen)]]
        chosen[at] = parts.add(path, before)
        joining = [at]
        while joining:
            for other in waiting.intersection(drafts[joining.pop()].producers):
                chosen[other] = chosen[at]
                waiting.remove(other)
                joining.append(other)
    return tuple(parts.names[chosen[at]] if at in chosen else root for at in range(len(drafts)))


def parted(paths: Sequence[str], before: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return the part of its path that each layer goes to, so that joining parts makes no cycle.

    Parameters
    ----------
    paths
        Of the layers, in an order in which they can run.
    before
        Positions of the layers that each reads from.
    """
    parts = _Parts()
    chosen: list[int] = []
    for path, others in zip(paths, before, strict=True):
        chosen.append(parts.add(path, [chosen[other] for other in others]))
    return tuple(parts.names[part] for part in chosen)


@frozen
class _Parts:
    """Modules as far as they have been cut into parts, each with the parts that it needs.

    Attributes
    ----------
    needs
        Of each part the set of those that must have run before it, as bits.
    readers
        Of each part those that read from it.
    latest
        Of each path its newest part.
    """

    paths: list[str] = field(factory=list)
    names: list[str] = field(factory=list)
    needs: list[int] = field(factory=list)
    readers: list[set[int]] = field(factory=list)
    latest: dict[str, int] = field(factory=dict)
    counts: dict[str, int] = field(factory=dict)

    def add(self, path: str, before: Sequence[int]) -> int:
        """Return the part of its path that the next layer, which reads from others, goes to."""
        part = self.latest.get(path)
        if part is None or any(p != part and self.needs[p] >> part & 1 for p in before):
            part = self._new(path)
        for other in set(before) - {part}:
            self.readers[other].add(part)
            self._need(part, self.needs[other] | 1 << other)
        return part

    def _new(self, path: str) -> int:
        part = len(self.paths)
        count = self.counts[path] = self.counts.get(path, 0) + 1
        self.paths.append(path)
        self.names.append(path if count == 1 else f"{path}~{count}")
        self.needs.append(0)
        self.readers.append(set())
        self.latest[path] = part
        return part

    def _need(self, part: int, more: int) -> None:
        """Let a part, and all that read from it, need others."""
        ends = [part]
        while ends:
            at = ends.pop()
            if self.needs[at] | more != self.needs[at]:
                self.needs[at] |= more
                ends.extend(self.readers[at])
