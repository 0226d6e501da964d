"""Language models that see: LLaVA 1.5 (arXiv 2310.03744) and Qwen2-VL (arXiv 2409.12191).

One image per sequence: what a vision tower and its projector make of it, at the width of the
language model, takes the places of as many tokens.
"""

from __future__ import annotations

from typing import Protocol

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.errors import InputError
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.decoder_only import DecoderOnly
from parplan.plugins.importers.analytic.ends import final_norm, head_and_loss, token_embedding
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import Setting, Shape
from parplan.plugins.importers.analytic.stack import Stack

MERGE = "merge"


class Sight(Protocol):
    """What makes tokens of an image."""

    @property
    def image_tokens(self) -> int:
        """Tokens of a sequence that show the image."""

    @property
    def result(self) -> str:
        """Name of the tensor of these tokens."""

    def model(self, setting: Setting, width: int) -> Model:
        """Return the layers that make tokens of a width, for one image per sequence."""


@frozen
class VisionLanguage:
    """A language model whose sequences begin with what an image shows."""

    language: DecoderOnly
    sight: Sight

    @property
    def tokens(self) -> Shape:
        """The stack that reads tokens."""
        return self.language.tokens

    @property
    def longest(self) -> int:
        """Tokens that a sequence may have, those of the image among them."""
        return self.language.longest

    def model(self, setting: Setting) -> Model:
        """Return the model in a setting, whose sequence counts the image's tokens, too.

        Raises
        ------
        InputError
            If a sequence has no room for the image and a token of text.
        """
        seen = self.sight.image_tokens
        if setting.sequence <= seen:
            raise InputError(
                f"a sequence of {setting.sequence} tokens has no room for text behind the "
                f"{seen} of its image; raise 'sequence'",
                key="model.options.sequence",
            )
        text = attrs.evolve(setting, sequence=setting.sequence - seen)
        stack = Stack(self.tokens, setting)
        return joined(
            (
                self.sight.model(setting, self.tokens.hidden),
                token_embedding(self.tokens, text, "embedding", "embedding"),
                self._merge(setting),
                stack.model(MERGE),
                final_norm(self.tokens, setting, "final_norm", stack.result),
                head_and_loss(self.tokens, setting, "final_norm", "embedding"),
            )
        )

    def _merge(self, setting: Setting) -> Model:
        """Return the joining of image and text into one sequence; gradients part again."""
        size = setting.activation(self.tokens.hidden)
        moved = Kernel(0.0, 2 * size)
        layer = Layer(
            name=MERGE,
            module=MERGE,
            reads=("embedding", self.sight.result),
            writes={MERGE: size},
            forward=Work((moved,)),
            backward_input=Work((moved,)),
            dtype=setting.dtype,
        )
        return Model((layer,), {})
