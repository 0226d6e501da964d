"""Small models that the family torch trains; loaded by the processes of a run."""

from __future__ import annotations

import torch
from torch import nn

from parplan.plugins.runtimes.training import Training

WIDTH = 16
SAMPLES = 48


class Block(nn.Module):
    """A block that takes the sum of its inputs, and ends in a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Give a tensor of the inputs' shape."""
        total = torch.stack(inputs).sum(0) if len(inputs) > 1 else inputs[0]
        return total + torch.tanh(self.linear(total))


def _training(names: list[str]) -> Training:
    return Training(
        {name: Block() for name in names},
        torch.randn(SAMPLES, WIDTH),
        torch.randn(SAMPLES, WIDTH),
        nn.functional.mse_loss,
        lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def chain2() -> Training:
    """Return a chain of two blocks."""
    return _training([f"stages.{i}" for i in range(2)])


def chain4() -> Training:
    """Return a chain of four blocks."""
    return _training([f"stages.{i}" for i in range(4)])


def chain7() -> Training:
    """Return a chain of seven blocks."""
    return _training([f"stages.{i}" for i in range(7)])


def diamond() -> Training:
    """Return two branches between a block that feeds both and one that reads both."""
    return _training(["source", "left", "right", "join"])
