"""Names the modules of a PyTorch model in the traces of ``torch.profiler``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from parplan.measuring.profiles.torch_operators import MODULE
from parplan.system.extras import required


@contextmanager
def module_ranges(model: Any) -> Iterator[None]:
    """Run every module of a ``torch.nn.Module`` in a range named after its path.

    >>> with module_ranges(model), torch.profiler.profile() as trace:  # doctest: +SKIP
    ...     loss = model(x, y)
    """
    record_function = required("torch.profiler", "torch").record_function
    handles = []
    for path, module in model.named_modules():
        opened: list[Any] = []

        def enter(_: Any, __: Any, path: str = path, opened: list[Any] = opened) -> None:
            opened.append(record_function(f"{MODULE}{path}"))
            opened[-1].__enter__()

        def leave(_: Any, __: Any, ___: Any, opened: list[Any] = opened) -> None:
            if opened:  # nothing, where the module was already running
                opened.pop().__exit__(None, None, None)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
