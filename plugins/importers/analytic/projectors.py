"""From what a vision tower sees to tokens of a language model: two products of a projector.

LLaVA projects every patch: w h + h + h^2 + h parameters for towers of width w and models of width
h. Qwen2-VL first joins neighbouring patches, m x m of them, to one of width m^2 w = v:
2 w + v^2 + v + v h + h parameters.
"""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.plugins.importers.analytic.elementary import activation, norm, product
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import Setting
from parplan.plugins.importers.analytic.vision import PatchTower, VisionTower

PROJECTOR = "projector"
RESULT = f"{PROJECTOR}.down"


@frozen
class Projected:
    """A tower whose patches become tokens one by one (LLaVA).

    Attributes
    ----------
    tower
        As far as its result is used.
    with_class
        Whether its class token is used, too.
    """

    tower: VisionTower
    with_class: bool = False

    @property
    def image_tokens(self) -> int:
        """Tokens of a sequence that show the image."""
        return self.tower.patches.count + self.with_class

    @property
    def result(self) -> str:
        """Name of the tensor of these tokens."""
        return RESULT

    def model(self, setting: Setting, width: int) -> Model:
        """Return tower and projector.

        The tower's result has a class token that may not be read; its gradient is there, too.
        """
        image = attrs.evolve(setting, sequence=self.image_tokens)
        wide = self.tower.shape.hidden
        return joined(
            (
                self.tower.model(setting),
                _products(image, self.tower.result, (wide, width, width)),
            )
        )


@frozen
class Merged:
    """A tower of whose patches some neighbours become one token (Qwen2-VL).

    Attributes
    ----------
    side
        Patches along a side of what becomes a token.
    """

    tower: PatchTower
    side: int

    @property
    def image_tokens(self) -> int:
        """Tokens of a sequence that show the image."""
        return self.tower.patches.count // self.side**2

    @property
    def result(self) -> str:
        """Name of the tensor of these tokens."""
        return RESULT

    def model(self, setting: Setting, width: int) -> Model:
        """Return tower and projector, which begins with a norm of every patch."""
        own, x = self.tower.setting(setting), self.tower.shape
        name = f"{PROJECTOR}.norm"
        before = norm(own, name, PROJECTOR, self.tower.result, x.hidden, bias=x.norm_bias)
        wide = x.hidden * self.side**2
        image = attrs.evolve(setting, sequence=self.image_tokens)
        return joined(
            (
                self.tower.model(setting),
                Model((before,), {name: x.norm_parameters}),
                _products(image, name, (wide, wide, width)),
            )
        )


def _products(setting: Setting, source: str, widths: tuple[int, int, int]) -> Model:
    """Return two products with biases, and a function between them."""
    first, middle, last = widths
    up, between = f"{PROJECTOR}.up", f"{PROJECTOR}.activation"
    counts = {up: first * middle + middle, RESULT: middle * last + last}
    layers = (
        product(setting, up, PROJECTOR, source, first, middle, parameters=counts[up]),
        activation(setting, between, PROJECTOR, up, middle, gated=False),
        product(setting, RESULT, PROJECTOR, between, middle, last, parameters=counts[RESULT]),
    )
    return Model(layers, counts)
