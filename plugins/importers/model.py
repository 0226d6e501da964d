"""A model made of layers, with the parameters that they read and the updates of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from parplan.differentiation import Layer, Update, Work
from parplan.graph import Kernel, ParameterGroup
from parplan.plugins.importers.shape import Setting


@frozen
class Model:
    """Layers and what they read.

    Attributes
    ----------
    layers
        Producers first.
    counts
        Parameters of each group.
    """

    layers: tuple[Layer, ...]
    counts: Mapping[str, int]

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


def joined(models: Iterable[Model]) -> Model:
    """Return the model that has all layers and groups of some, in their order."""
    parts = list(models)
    counts = {name: count for part in parts for name, count in part.counts.items()}
    return Model(tuple(layer for part in parts for layer in part.layers), counts)
