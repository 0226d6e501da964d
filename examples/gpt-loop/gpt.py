"""A small GPT in seven blocks of unequal width, as ``parplan run --model gpt:training`` trains it.

Processes of one machine share its cores, so they cannot show what several accelerators would do.
Each block therefore computes for real (a fraction of a millisecond), and then sleeps as long as an
accelerator would take for its width: gradients are those of the GPT, times are those of the sleep.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from parplan.plugins.runtimes.training import Training

WIDTHS = (5, 5, 5, 5, 4, 4, 4)
"""Of each block's MLP, in multiples of the model's width."""

SECONDS_PER_WIDTH = 0.003
"""What an accelerator takes for the forward pass of one microbatch; twice that for backward."""

VOCABULARY, TOKENS, WIDTH, HEADS = 64, 16, 32, 4
SAMPLES = 16


class OnAccelerator(torch.autograd.Function):
    """Passes on its input, after the time that an accelerator would take for it."""

    @staticmethod
    def forward(context: Any, x: Tensor, seconds: float) -> Tensor:
        """Sleep for the forward pass."""
        context.seconds = seconds
        time.sleep(seconds)
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Sleep for the backward pass."""
        time.sleep(2 * context.seconds)
        return gradient, None


class Block(nn.Module):
    """Attention over what came before, and an MLP; between embeddings and head where it is told."""

    def __init__(self, width: int, *, first: bool, last: bool) -> None:
        super().__init__()
        self.seconds = SECONDS_PER_WIDTH * width
        self.tokens = nn.Embedding(VOCABULARY, WIDTH) if first else None
        self.places = nn.Embedding(TOKENS, WIDTH) if first else None
        self.before_attention = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, width * WIDTH),
            nn.GELU(),
            nn.Linear(width * WIDTH, WIDTH),
        )
        self.head = nn.Linear(WIDTH, VOCABULARY) if last else None

    def forward(self, x: Tensor) -> Tensor:
        """Take tokens or activations, and give activations or logits."""
        if self.tokens is not None and self.places is not None:
            x = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        seen = self.before_attention(x)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        x = x + self.attention(seen, seen, seen, attn_mask=mask, need_weights=False)[0]
        x = x + self.mlp(x)
        x = x if self.head is None else self.head(x)
        return OnAccelerator.apply(x, self.seconds)


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy over all tokens."""
    return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())


def training() -> Training:
    """Return the model and a batch: each token is to predict the next one."""
    last = len(WIDTHS) - 1
    text = torch.randint(VOCABULARY, (SAMPLES, TOKENS + 1))
    return Training(
        blocks={
            f"stages.{i}": Block(width, first=i == 0, last=i == last)
            for i, width in enumerate(WIDTHS)
        },
        inputs=text[:, :-1],
        target=text[:, 1:].contiguous(),
        loss=loss,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    )
