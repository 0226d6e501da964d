"""The same steps in one process without a pipeline, and how far gradients are from them."""

from __future__ import annotations

import math
import sys

import torch

from parplan.errors import InputError
from parplan.plugins.runtimes.model import Model, run_block

Gradients = list[dict[str, torch.Tensor | None]]
"""Of each step, by parameter."""


def reference_gradients(model: Model, steps: int) -> Gradients:
    """Return the mean gradients over the microbatches of each step, run one after another."""
    parameters = model.parameters({block.stage for block in model.blocks})
    make = model.training.optimizer
    optimizer = make(parameters.values()) if make and parameters else None
    found: Gradients = []
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = None
        for microbatch, target in enumerate(model.targets):
            values: dict[str, torch.Tensor] = {}
            for block in model.blocks:
                module = model.modules[block.name]
                values[block.name] = run_block(block, module, values, model.arguments, microbatch)
            model.training.loss(values[model.last], target).backward()
        for parameter in parameters.values():
            if parameter.grad is not None:
                parameter.grad.div_(len(model.targets))
        found.append(copy_gradients(parameters))
        if optimizer is not None:
            optimizer.step()
    return found


def copy_gradients(parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor | None]:
    """Return the gradients as they are now."""
    return {
        name: None if parameter.grad is None else parameter.grad.clone()
        for name, parameter in parameters.items()
    }


def largest_differences(found: Gradients, expected: Gradients) -> dict[str, float]:
    """Return the largest relative difference of each parameter's gradient over all steps.

    It is the largest difference of an element, in parts of the largest element that is expected;
    a gradient that is missing counts as zero.

    Raises
    ------
    InputError
        If a gradient that is expected is not finite: then there is nothing to compare with.
    """
    largest: dict[str, float] = {}
    for ours, theirs in zip(found, expected, strict=True):
        for name, gradient in theirs.items():
            difference = _difference(name, ours.get(name), gradient)
            largest[name] = max(largest.get(name, 0.0), difference)
    return largest


def _difference(name: str, found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    given = [gradient for gradient in (found, expected) if gradient is not None]
    if not given:
        return 0.0
    zero = torch.zeros_like(given[0])
    mine, right = (zero if gradient is None else gradient for gradient in (found, expected))
    if not right.isfinite().all():
        raise InputError(f"the gradient of '{name}' is not finite in a single process")
    distance, size = float((mine - right).abs().max()), float(right.abs().max())
    if not math.isfinite(distance):
        return sys.float_info.max
    return distance / size if size else distance
