"""A model made of layers, with the parameters that they read and the updates of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Replicas, Update, Work
from parplan.graph import Kernel, ParameterGroup
from parplan.plugins.importers.analytic.shape import Setting


@frozen
class Model:
    """Layers and what they read.

    Attributes
    ----------
    layers
        Producers first.
    counts
        Parameters of each group.
    copies
        The groups that are copies of one another.
    """

    layers: tuple[Layer, ...]
    counts: Mapping[str, int]
    copies: tuple[tuple[str, ...], ...] = ()

    def groups(self, setting: Setting) -> Iterator[ParameterGroup]:
        """Yield every parameter group with its bytes in a setting."""
        for name, count in self.counts.items():
            yield ParameterGroup(
                name,
                weight_bytes=count * setting.weight_bytes,
                gradient_bytes=count * setting.gradient_bytes if setting.training else 0,
                optimizer_bytes=count * setting.optimizer_bytes if setting.training else 0,
                count=count,
            )

    def updates(self, setting: Setting) -> Iterator[Update]:
        """Yield one optimizer step per module: it reads gradients and states, writes weights.

        What several modules read is updated by the first of them.
        """
        modules: dict[str, list[str]] = {}
        seen: set[str] = set()
        for layer in self.layers:
            new = [name for name in layer.parameters if name not in seen]
            seen.update(new)
            if new:
                modules.setdefault(layer.module, []).extend(new)
        moved = setting.gradient_bytes + 2 * setting.optimizer_bytes + setting.weight_bytes
        for module, names in modules.items():
            count = sum(self.counts[name] for name in names)
            yield Update(module, tuple(names), Work((Kernel(0.0, count * moved),)))

    def replicas(self, setting: Setting) -> Iterator[Replicas]:
        """Yield what copies have to exchange once per step."""
        for groups in self.copies:
            yield Replicas(groups, self.counts[groups[0]] * setting.gradient_bytes)

    def replicated(self) -> Model:
        """Return the model in which every module that shares parameters has a copy of its own.

        The first module keeps the group's name; the copy of module m of group g is ``m.g``.
        """
        readers: dict[str, dict[str, str]] = {}
        for layer in self.layers:
            for group in layer.parameters:
                own = readers.setdefault(group, {})
                own.setdefault(layer.module, f"{layer.module}.{group}" if own else group)
        layers = tuple(
            attrs.evolve(
                layer, parameters=tuple(readers[g][layer.module] for g in layer.parameters)
            )
            for layer in self.layers
        )
        counts = {c: self.counts[g] for g, own in readers.items() for c in own.values()}
        shared = tuple(tuple(own.values()) for own in readers.values() if len(own) > 1)
        return Model(layers, counts, shared)


def joined(models: Iterable[Model]) -> Model:
    """Return the model that has all layers and groups of some, in their order."""
    parts = list(models)
    counts = {name: count for part in parts for name, count in part.counts.items()}
    return Model(tuple(layer for part in parts for layer in part.layers), counts)
