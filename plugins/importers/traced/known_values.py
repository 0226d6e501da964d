"""Tensors whose values are known while a model is traced: sizes of images, positions, tokens.

Some models ask small tensors of whole numbers what to do (how large each image is, where it stands
among the tokens). Under PyTorch's tracer such a question has no answer. Here such tensors keep
their values: what is made of them alone is computed, and where they meet other tensors they become
constants of the program. To the model they are on the device ``meta``, as all it has.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from parplan.system.extras import required

META = "meta"


def known(torch: Any, tensor: Any) -> Any:
    """Return a tensor of whole numbers as one that keeps its values under the tracer."""
    return tensor.as_subclass(_known_class(torch))


@contextlib.contextmanager
def known_numbers(torch: Any) -> Iterator[None]:
    """Let whole numbers that a model writes down itself keep their values as well."""
    overrides = required("torch.overrides", "torch")
    makers = (torch.tensor, torch.arange)

    class Numbers(overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        """Makes tensors of whole numbers with their values."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            given = dict(kwargs or {})
            read = [value for value in (*args, *given.values()) if isinstance(value, torch.Tensor)]
            if func not in makers or read:
                return func(*args, **given)
            with _untraced(torch):
                made = func(*args, **{**given, "device": "cpu"})
            is_whole = not made.is_floating_point() and not made.is_complex()
            return known(torch, made) if is_whole else func(*args, **given)

    with Numbers():
        yield


@contextlib.contextmanager
def _untraced(torch: Any) -> Iterator[None]:
    """Compute for real in the midst of a trace."""
    dispatch = required("torch.utils._python_dispatch", "torch")
    with dispatch._disable_current_modes(), torch._C.DisableTorchFunctionSubclass():
        yield


@functools.cache
def _known_class(torch: Any) -> Any:
    """Return the class of tensors that keep their values."""
    tree = required("torch.utils._pytree", "torch")
    where = torch.Tensor.device.__get__

    class Known(torch.Tensor):  # type: ignore[misc]
        """A tensor on the CPU that computes for real; with other tensors it is a constant."""

        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            given = dict(kwargs or {})
            if func is where:
                return torch.device(META)
            tensors = [t for t in tree.tree_leaves((args, given)) if isinstance(t, torch.Tensor)]
            if all(isinstance(tensor, cls) for tensor in tensors):
                args, given = tree.tree_map(_here, (args, given))
                with _untraced(torch):
                    made = func(*args, **given)
                    return tree.tree_map(_kept, made)
            args, given = tree.tree_map(_constant, (args, given))
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **given)

    def _here(value: Any) -> Any:
        is_place = isinstance(value, str | torch.device) and str(value) == META
        return torch.device("cpu") if is_place else value

    def _kept(value: Any) -> Any:
        return value.as_subclass(Known) if isinstance(value, torch.Tensor) else value

    def _constant(value: Any) -> Any:
        if not isinstance(value, Known):
            return value
        with _untraced(torch):
            return value.as_subclass(torch.Tensor).to(META)

    return Known
