"""LLaVA 1.5 (arXiv 2310.03744): a vision tower and a projector that feed a language model.

One image per sequence: its patches, projected to the width of the language model, take the places
of as many tokens.
"""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.errors import InputError
from parplan.graph import Kernel
from parplan.plugins.importers.decoder_only import DecoderOnly
from parplan.plugins.importers.elementary import activation, product
from parplan.plugins.importers.ends import final_norm, head_and_loss, token_embedding
from parplan.plugins.importers.model import Model, joined
from parplan.plugins.importers.shape import Setting, Shape
from parplan.plugins.importers.stack import Stack
from parplan.plugins.importers.vision import VisionTower

PROJECTOR = "projector"
MERGE = "merge"


@frozen
class VisionLanguage:
    """A language model whose sequences begin with what an image shows.

    Attributes
    ----------
    language
        The language model.
    vision
        The tower, as far as its result is used.
    with_class
        Whether its class token is used, too.
    """

    language: DecoderOnly
    vision: VisionTower
    with_class: bool = False

    @property
    def tokens(self) -> Shape:
        """The stack that reads tokens."""
        return self.language.tokens

    @property
    def longest(self) -> int:
        """Tokens that a sequence may have, those of the image among them."""
        return self.language.longest

    @property
    def image_tokens(self) -> int:
        """Tokens of a sequence that show the image."""
        return self.vision.patches.count + self.with_class

    def model(self, setting: Setting) -> Model:
        """Return the model in a setting, whose sequence counts the image's tokens, too.

        Raises
        ------
        InputError
            If a sequence has no room for the image and a token of text.
        """
        if setting.sequence <= self.image_tokens:
            raise InputError(
                f"a sequence of {setting.sequence} tokens has no room for text behind the "
                f"{self.image_tokens} of its image; raise 'sequence'",
                key="model.options.sequence",
            )
        text = attrs.evolve(setting, sequence=setting.sequence - self.image_tokens)
        stack = Stack(self.tokens, setting)
        return joined(
            (
                self.vision.model(setting),
                self._projector(setting),
                token_embedding(self.tokens, text, "embedding", "embedding"),
                self._merge(setting),
                stack.model(MERGE),
                final_norm(self.tokens, setting, "final_norm", stack.result),
                head_and_loss(self.tokens, setting, "final_norm", "embedding"),
            )
        )

    def _projector(self, setting: Setting) -> Model:
        """Return two products with a function between them: wh + h + h^2 + h parameters."""
        image = attrs.evolve(setting, sequence=self.image_tokens)
        wide, h = self.vision.shape.hidden, self.tokens.hidden
        up, middle, down = (f"{PROJECTOR}.{part}" for part in ("up", "activation", "down"))
        counts = {up: wide * h + h, down: h * h + h}
        first = product(image, up, PROJECTOR, self.vision.result, wide, h, parameters=counts[up])
        # The tower's result has a class token that may not be read; its gradient is there, too.
        layers = (
            first,
            activation(image, middle, PROJECTOR, up, h, gated=False),
            product(image, down, PROJECTOR, middle, h, h, parameters=counts[down]),
        )
        return Model(layers, counts)

    def _merge(self, setting: Setting) -> Model:
        """Return the joining of image and text into one sequence; gradients part again."""
        size = setting.activation(self.tokens.hidden)
        moved = Kernel(0.0, 2 * size)
        layer = Layer(
            name=MERGE,
            module=MERGE,
            reads=("embedding", f"{PROJECTOR}.down"),
            writes={MERGE: size},
            forward=Work((moved,)),
            backward_input=Work((moved,)),
            dtype=setting.dtype,
        )
        return Model((layer,), {})
