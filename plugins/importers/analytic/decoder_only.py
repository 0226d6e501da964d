"""Decoder-only models: an embedding, a stack and a head."""

from __future__ import annotations

from attrs import frozen

from parplan.plugins.importers.analytic.ends import final_norm, head_and_loss, token_embedding
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import Setting, Shape
from parplan.plugins.importers.analytic.stack import Stack


@frozen
class DecoderOnly:
    """A language model: Llama, GPT-2, DeepSeek-V3 and others.

    Attributes
    ----------
    tokens
        The stack that reads tokens.
    longest
        Tokens that a sequence may have.
    """

    tokens: Shape
    longest: int

    def model(self, setting: Setting) -> Model:
        """Return the model in a setting."""
        stack = Stack(self.tokens, setting)
        return joined(
            (
                token_embedding(self.tokens, setting, "embedding", "embedding"),
                stack.model("embedding"),
                final_norm(self.tokens, setting, "final_norm", stack.result),
                head_and_loss(self.tokens, setting, "final_norm", "embedding"),
            )
        )
