"""How a traced model is run, as a spec or a caller says it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from parplan.differentiation import Backward, Passes
from parplan.errors import InputError
from parplan.patterns import matching_modules
from parplan.plugins.importers.traced.gradients import Attention
from parplan.plugins.importers.traced.modules import Granularity


@frozen
class TracedOptions:
    """How a traced model is run.

    Attributes
    ----------
    granularity, depth
        What one operator is; ``depth`` keeps so many steps of each module's path instead.
    whole_backward
        Modules (names or patterns) whose backward is one pass where the others' is split.
    attention
        Whether attention keeps the scores of all pairs for its backward pass.
    gradient_bytes, optimizer_bytes
        Per parameter; by default gradients are as large as weights, and Adam has two fp32 moments
        and, for weights of less than fp32, an fp32 copy.
    """

    workload: Passes = Passes.TRAINING
    granularity: Granularity = Granularity.BLOCK
    depth: int | None = None
    backward: Backward = Backward.SPLIT
    whole_backward: tuple[str, ...] = ()
    attention: Attention = Attention.FLASH
    gradient_bytes: int | None = None
    optimizer_bytes: int | None = None

    def __attrs_post_init__(self) -> None:
        for what, least in (("depth", 1), ("gradient_bytes", 0), ("optimizer_bytes", 0)):
            value = getattr(self, what)
            if value is not None and value < least:
                raise InputError(f"{what} is {value}; it must be at least {least}")


@frozen
class TorchOptions(TracedOptions):
    """How a model that PyTorch has traced is run.

    Attributes
    ----------
    joint
        Whether backward passes are those that PyTorch's autograd runs, traced together with the
        forward pass, and not what the rules of differentiation say of it.
    """

    joint: bool = False


def whole_modules(options: TracedOptions, modules: Sequence[str]) -> frozenset[str]:
    """Return the modules whose backward is one pass; InputError if a pattern means none."""
    if options.backward is Backward.WHOLE:
        return frozenset(modules)
    key = "model.options.whole_backward"
    return frozenset(
        m for pattern in options.whole_backward for m in matching_modules(pattern, modules, key=key)
    )
