"""Encoder-decoder models: T5 (arXiv 1910.10683) and Switch Transformers (arXiv 2101.03961).

Every layer of the decoder reads the encoder's result: its keys and values are made from it by a
product of its own, and its gradient has a part from each of these layers.
"""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.plugins.importers.analytic.ends import final_norm, head_and_loss, token_embedding
from parplan.plugins.importers.analytic.model import Model, joined
from parplan.plugins.importers.analytic.shape import Setting, Shape
from parplan.plugins.importers.analytic.stack import Memory, Stack

TABLE = "shared"
"""The embedding's parameter group, which encoder, decoder and a tied head read."""


@frozen
class EncoderDecoder:
    """An encoder of one sequence, and a decoder of another that attends to it.

    Attributes
    ----------
    tokens
        The encoder.
    decoder
        The decoder, whose head it is.
    longest
        Tokens that a sequence has where nothing else is said.
    """

    tokens: Shape
    decoder: Shape
    longest: int

    def model(self, setting: Setting) -> Model:
        """Return the model in a setting; the decoder reads ``target_sequence`` tokens."""
        target = attrs.evolve(setting, sequence=setting.target_sequence or setting.sequence)
        encoder = Stack(self.tokens, setting, "encoder.")
        memory = Memory("encoder.final_norm", self.tokens.hidden, setting.sequence)
        decoder = Stack(self.decoder, target, "decoder.", memory)
        return joined(
            (
                token_embedding(self.tokens, setting, "encoder.embedding", TABLE),
                encoder.model("encoder.embedding"),
                final_norm(self.tokens, setting, memory.source, encoder.result),
                token_embedding(self.decoder, target, "decoder.embedding", TABLE),
                decoder.model("decoder.embedding"),
                final_norm(self.decoder, target, "decoder.final_norm", decoder.result),
                head_and_loss(self.decoder, target, "decoder.final_norm", TABLE),
            )
        )
