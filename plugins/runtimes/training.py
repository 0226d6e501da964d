"""What a model's function returns so that a plan of the model can be run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from attrs import field, frozen

from parplan.errors import InputError

Tensors: TypeAlias = torch.Tensor | Sequence[torch.Tensor]


@frozen(eq=False)
class Training:
    """A model with a batch to train on.

    Attributes
    ----------
    blocks
        The parts of the model that stages are made of, by name; a module stands for its children,
        a ``ModuleList`` or ``ModuleDict`` in it for what it holds, by path (``layers.0``).
        They are called like the plan's operators, or like the beginning of their module paths. Each
        takes the tensors of the blocks that feed it, by the plan's graph, and gives one tensor.
    inputs
        Arguments of the blocks that nothing feeds: of the only one, or by its name. Like
        ``target`` a whole batch, which is split into microbatches along the first dimension.
    loss
        Of the last block's tensor and the target: a scalar, the mean over the samples.
    optimizer
        Made of the parameters of each stage; None: weights stay as they are.
    """

    blocks: torch.nn.Module | Mapping[str, torch.nn.Module]
    inputs: Tensors | Mapping[str, Tensors]
    target: torch.Tensor
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] | None = field(
        default=None
    )

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The blocks by name; those in lists and dictionaries of modules by their paths."""
        blocks = self.blocks
        pairs = blocks.named_children() if isinstance(blocks, torch.nn.Module) else blocks.items()
        return {path: module for name, block in pairs for path, module in _held(name, block)}


def _held(path: str, module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield a module with its path, or those in it if it only holds them and cannot run."""
    if not isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict):
        yield path, module
        return
    for name, child in module.named_children():
        yield from _held(f"{path}.{name}", child)


def find_function(reference: str, folder: str) -> Callable[[], Any]:
    """Return the function that ``MODULE:FUNCTION`` names; the module may stand in ``folder``.

    Raises
    ------
    InputError
        If there is no such module or function.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name.isidentifier():
        raise InputError(f"'{reference}' names no function; write MODULE:FUNCTION", key="--model")
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing else is hidden
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"cannot import '{module_name}' (looked in {folder} too): {error}", key="--model"
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"module '{module_name}' has no function '{name}'", key="--model")
    return function  # type: ignore[no-any-return]  # whatever it returns is checked


def make_training(function: Callable[[], Any], seed: int) -> Training:
    """Return what a model's function gives; the same weights for the same seed.

    Raises
    ------
    InputError
        If it is no ``Training``.
    """
    torch.manual_seed(seed)
    training = function()
    if not isinstance(training, Training):
        raise InputError(
            f"returned {type(training).__name__}; it has to return a "
            "parplan.plugins.runtimes.training.Training",
            key="--model",
        )
    return training
