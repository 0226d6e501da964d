"""CLIP (arXiv 2103.00020): a tower of images and a tower of texts that meet in one loss."""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.elementary import product
from parplan.plugins.importers.analytic.ends import final_norm, pooled_norm, token_embedding
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import STATISTICS_BYTES, Setting, Shape
from parplan.plugins.importers.analytic.stack import Stack
from parplan.plugins.importers.analytic.vision import VisionTower

PARTS = ("vision.projection", "text.projection")
"""What the loss compares: one vector of each image and of each text."""


@frozen
class Contrastive:
    """A vision tower and a text tower, each projected to one vector per image or text.

    Attributes
    ----------
    tokens
        The text tower.
    vision
        The vision tower.
    projection
        Elements of a vector.
    longest
        Tokens that a text may have.
    """

    tokens: Shape
    vision: VisionTower
    projection: int
    longest: int

    def model(self, setting: Setting) -> Model:
        """Return the model in a setting; every microbatch is compared within itself."""
        image = self.vision.setting(setting)
        text = Stack(self.tokens, setting, "text.")
        return joined(
            (
                self.vision.model(setting),
                pooled_norm(self.vision.shape, image, "vision.final_norm", self.vision.result),
                self._projection(setting, "vision", self.vision.shape.hidden),
                token_embedding(self.tokens, setting, "text.embedding", "text.embedding"),
                text.model("text.embedding"),
                final_norm(self.tokens, setting, "text.final_norm", text.result),
                self._projection(setting, "text", self.tokens.hidden),
                self._loss(setting),
            )
        )

    def _projection(self, setting: Setting, tower: str, width: int) -> Model:
        """Return the product of one token per image or text with a matrix."""
        name = f"{tower}.projection"
        one = attrs.evolve(setting, sequence=1)
        layer = product(one, name, name, f"{tower}.final_norm", width, self.projection)
        return Model((layer,), {name: width * self.projection})

    def _loss(self, setting: Setting) -> Model:
        """Return the comparison of all images with all texts of a microbatch.

        2 b^2 d FLOP for b pairs of vectors of d elements, twice that backward; logits, and their
        softmax both ways, in fp32. Without training the logits are the model's result.
        """
        pairs, d, e = setting.microbatch, self.projection, setting.element_bytes
        vectors = 2 * pairs * d * e
        square = pairs**2 * setting.logit_bytes
        lengths = 2 * pairs * STATISTICS_BYTES
        flops = 2.0 * pairs**2 * d
        name = "loss" if setting.training else "logits"
        saved = {f"{name}.logits": square, f"{name}.lengths": lengths}
        layer = Layer(
            name=name,
            module=name,
            reads=PARTS,
            writes=saved if setting.training else {name: square},
            forward=Work((Kernel(flops, vectors + 2 * square + lengths),)),
            backward_input=Work(
                (Kernel(2 * flops, 2 * vectors + 3 * square + lengths),), (*PARTS, *saved)
            ),
            parameters=("logit_scale",),
            dtype=setting.dtype,
        )
        return Model((layer,), {"logit_scale": 1})
