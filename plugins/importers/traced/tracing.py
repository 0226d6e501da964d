"""Traces a PyTorch module without running it on data."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from parplan.errors import InputError
from parplan.plugins.importers.traced.exported import read_program
from parplan.plugins.importers.traced.known_values import known_numbers
from parplan.plugins.importers.traced.program import Program
from parplan.system.extras import required


def trace(
    module: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
) -> Program:
    """Return the program of a module called with arguments, by ``torch.export``.

    Weights and arguments may be on the device ``meta``: their values are not used.

    Parameters
    ----------
    known
        Further arguments, whose values tell the module what to do (`known_values`).

    Raises
    ------
    InputError
        If PyTorch is missing, or the module cannot be traced: what it does depends on data.
    """
    export = required("torch.export", "torch")
    if isinstance(module, export.ExportedProgram):
        return read_program(module)
    try:
        with quiet(), _called_with(module, known or {}):
            exported = export.export(module, args, dict(kwargs))
    except Exception as error:  # whatever the module's own code raises
        raise _failure(module, error) from error
    return read_program(exported)


@contextlib.contextmanager
def _called_with(module: Any, known: Mapping[str, Any]) -> Iterator[None]:
    """Let a module have some of its arguments already."""
    if not known:
        yield
        return
    own = module.forward
    module.forward = functools.partial(own, **known)
    try:
        with known_numbers(required("torch", "torch")):
            yield
    finally:
        module.forward = own


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch's remarks on its own tracing off the terminal."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _failure(module: Any, error: Exception) -> InputError:
    """Return one clear error for a module that cannot be traced."""
    name = type(module).__name__
    kind = type(error).__name__
    reason = str(error).strip().partition("\n")[0]
    where = _own_line(error, module)
    if "DataDependent" in kind or "data-dependent" in str(error) or "DynamicOutputShape" in kind:
        return InputError(
            f"module '{name}' cannot be traced: what it does{where} depends on the values of "
            "tensors, and a plan needs one graph; write it without control flow on tensors, and "
            f"with fixed shapes ({kind}: {reason})"
        )
    return InputError(f"module '{name}' cannot be traced{where}: {kind}: {reason}")


def _own_line(error: Exception, module: Any) -> str:
    """Return the last line outside of PyTorch that an error went through, in words."""
    found = ""
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        owner = step.tb_frame.f_locals.get("self")
        if code.co_name == "forward" and type(owner).__name__ != "GraphModule":
            own = type(owner).__name__
            found = f" in '{own}.forward' ({code.co_filename}:{step.tb_lineno})"
        step = step.tb_next
    return found
