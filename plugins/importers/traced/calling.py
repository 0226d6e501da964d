"""Calls of a program as PyTorch takes them: the operator, and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parplan.errors import InputError
from parplan.plugins.importers.traced.program import Argument, Call, Constant, Meta, Reference

NAMESPACES = ("aten", "prims")
"""Operators whose work is known; those of other libraries have code of their own."""


def operator_of(torch: Any, call: Call) -> Any:
    """Return PyTorch's operator of a call; InputError if it is none of PyTorch's own."""
    namespace, name, overload = call.operator.split(".", 2)
    if namespace in NAMESPACES:
        packet = getattr(getattr(torch.ops, namespace), name, None)
        found = getattr(packet, overload, None)
        if found is not None:
            return found
    raise InputError(
        f"module '{call.module or 'of the model'}' calls '{call.operator}', which is none of "
        "PyTorch's own operators: its work is not known; trace the model with plain ones"
    )


def arguments_of(
    torch: Any, call: Call, tensor: Callable[[str], Any], device: str
) -> tuple[list[Any], dict[str, Any]]:
    """Return what a call's operator is called with.

    Parameters
    ----------
    tensor
        Gives the tensor of a name.
    device
        Where tensors are that the call makes.
    """

    def plain(argument: Argument) -> Any:
        if isinstance(argument, Reference):
            return tensor(argument.name)
        if isinstance(argument, tuple):
            return [plain(part) for part in argument]
        if isinstance(argument, Constant):
            if argument.name == "meta":
                return torch.device(device)
            return getattr(torch, argument.name)
        return argument

    return (
        [plain(argument) for argument in call.arguments],
        {name: plain(value) for name, value in call.keywords},
    )


def empty(torch: Any, meta: Meta, device: str) -> Any:
    """Return a tensor of which so much is known; its values are none or any."""
    return torch.empty_strided(
        meta.shape, meta.strides, dtype=getattr(torch, meta.dtype), device=device
    )
