"""Models whose plans the tests run; loaded by the processes of a run, by ``--model``."""

from __future__ import annotations

import os
import signal
import time

import attrs
import torch

from parplan.plugins.runtimes.training import Training

WIDTH = 6
BATCH = 8


class Residual(torch.nn.Module):
    """A block that ends in a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tanh(self.linear(x))


class Viewed(Residual):
    """A block that ends in a view, as a linear layer of three dimensions does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).view(1, -1).view(len(x), WIDTH)


class Join(Residual):
    """A block that takes two tensors."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.cat([left, right], 1)[:, ::2] - right)


class Broken(Residual):
    """A block that fails in its second microbatch."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:  # the first call is for shapes
            self.fail()
        return super().forward(x)

    def fail(self) -> None:
        raise ZeroDivisionError("the weights are tired")


class Killed(Broken):
    """A block whose process is killed from outside."""

    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Hung(Broken):
    """A block that never ends."""

    def fail(self) -> None:
        time.sleep(1000)


def chain(count: int, *changed: tuple[int, torch.nn.Module]) -> Training:
    blocks: dict[str, torch.nn.Module] = {f"stages.{s}": Residual() for s in range(count)}
    blocks.update({f"stages.{s}": module for s, module in changed})
    return Training(
        blocks,
        torch.randn(BATCH, WIDTH),
        torch.randn(BATCH, WIDTH),
        torch.nn.functional.mse_loss,
        lambda parameters: torch.optim.Adam(parameters, lr=0.05),
    )


def two() -> Training:
    return chain(2, (1, Viewed()))


class Listed(torch.nn.Module):
    """A model that keeps its blocks in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList([Residual(), Viewed(), Residual()])


def three() -> Training:
    return attrs.evolve(chain(3), blocks=Listed())


def four() -> Training:
    return chain(4, (2, Viewed()))


def five() -> Training:
    return chain(5)


def diamond() -> Training:
    blocks = {"a": Residual(), "b": Viewed(), "c": Residual(), "d": Join()}
    return Training(
        torch.nn.ModuleDict(blocks),
        {"a": torch.randn(BATCH, WIDTH)},
        torch.randn(BATCH, WIDTH),
        torch.nn.functional.mse_loss,
        lambda parameters: torch.optim.SGD(parameters, lr=0.5),
    )


def skips() -> Training:
    """Return a model whose first block feeds all others."""
    blocks = {"a": Residual(), "b": Viewed(), "c": Join(), "d": Join()}
    return Training(
        blocks,
        torch.randn(BATCH, WIDTH),
        torch.randn(BATCH, WIDTH),
        torch.nn.functional.mse_loss,
        lambda parameters: torch.optim.SGD(parameters, lr=0.5),
    )


def towers() -> Training:
    """Return a model of two towers; one of them begins in a later stage than the other."""
    blocks = {"image": Residual(), "text": Viewed(), "join": Join()}
    return Training(
        blocks,
        {"image": torch.randn(BATCH, WIDTH), "text": torch.randn(BATCH, WIDTH)},
        torch.randn(BATCH, WIDTH),
        torch.nn.functional.mse_loss,
    )


def aside() -> Training:
    """Return a model one of whose stages gives a tensor that nothing before it led to."""
    blocks = {"start": Residual(), "text": Viewed(), "join": Join(), "end": Join()}
    return Training(
        blocks,
        {"start": torch.randn(BATCH, WIDTH), "text": torch.randn(BATCH, WIDTH)},
        torch.randn(BATCH, WIDTH),
        torch.nn.functional.mse_loss,
    )


def broken() -> Training:
    return chain(2, (1, Broken()))


def killed() -> Training:
    return chain(2, (1, Killed()))


def hung() -> Training:
    return chain(2, (1, Hung()))


def tied() -> Training:
    shared = Residual()
    return chain(2, (0, shared), (1, shared))


def odd_batch() -> Training:
    return Training(
        torch.nn.ModuleDict({"stages": torch.nn.Identity()}),
        torch.randn(3, WIDTH),
        torch.randn(3, WIDTH),
        torch.nn.functional.mse_loss,
    )


def untrained() -> None:
    return None
