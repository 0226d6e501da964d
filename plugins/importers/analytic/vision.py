"""Vision transformers (ViT) as towers: patches of an image, and a stack."""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.plugins.importers.analytic.elementary import norm
from parplan.plugins.importers.analytic.ends import Patches, patch_embedding
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import Setting, Shape
from parplan.plugins.importers.analytic.stack import Stack

PREFIX = "vision."


@frozen
class VisionTower:
    """CLIP's vision transformer: a class token before the patches, and a norm before the stack.

    Attributes
    ----------
    shape
        The stack.
    patches
        How an image is cut.
    """

    shape: Shape
    patches: Patches

    def setting(self, setting: Setting) -> Setting:
        """Return the setting of the stack: a class token and every patch of one image."""
        return attrs.evolve(setting, sequence=self.patches.count + 1)

    def model(self, setting: Setting) -> Model:
        """Return the tower in the setting of a model with one image per sequence."""
        own = self.setting(setting)
        x, name = self.shape, f"{PREFIX}embedding"
        first = f"{name}.norm"
        stack = Stack(x, own, PREFIX)
        before = norm(own, first, name, name, x.hidden, bias=x.norm_bias)
        return joined(
            (
                patch_embedding(x, own, self.patches, name, learned=True),
                Model((before,), {first: x.norm_parameters}),
                stack.model(first),
            )
        )

    @property
    def result(self) -> str:
        """Name of the tensor that the last layer makes."""
        return f"{PREFIX}layers.{self.shape.layers - 1}.mlp.down"


@frozen
class PatchTower:
    """Qwen2-VL's vision transformer: patches alone, turned by their positions.

    Attributes
    ----------
    shape
        The stack.
    patches
        How an image is cut.
    """

    shape: Shape
    patches: Patches

    def setting(self, setting: Setting) -> Setting:
        """Return the setting of the stack: every patch of one image."""
        return attrs.evolve(setting, sequence=self.patches.count)

    def model(self, setting: Setting) -> Model:
        """Return the tower in the setting of a model with one image per sequence."""
        own, name = self.setting(setting), f"{PREFIX}embedding"
        first = patch_embedding(self.shape, own, self.patches, name, learned=False)
        return joined((first, Stack(self.shape, own, PREFIX).model(name)))

    @property
    def result(self) -> str:
        """Name of the tensor that the last layer makes."""
        return f"{PREFIX}layers.{self.shape.layers - 1}.mlp.down"
