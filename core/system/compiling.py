"""Compiled kernels: by numba at their first call, and kept on disk for later processes.

The code is kept beside the package, or where that is read-only in the user's cache folder, or
wherever ``NUMBA_CACHE_DIR`` says. The clock of time limits stands still meanwhile.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from attrs import frozen
from numba.core import event
from numba.extending import register_jitable
from numpy.typing import NDArray

from parplan.clock import CLOCK

F = TypeVar("F", bound=Callable[..., Any])

COMPILING = "numba:compile"
"""The event of compiling one function for one choice of types."""


def compiled(function: F) -> F:
    """Return a function that Python calls, compiled when it is first called.

    Where nothing can be written it is compiled anew by each process, with a RuntimeWarning.
    """
    try:
        return cast("F", numba.njit(cache=True, no_cfunc_wrapper=True)(function))
    except RuntimeError:  # numba has no folder to keep it in
        warnings.warn(
            "compiled code can be kept nowhere, so that each run compiles it anew; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=1,  # here, so that it is told once, not for each function
        )
        return cast("F", numba.njit(no_cfunc_wrapper=True)(function))


def kernel_part(function: F) -> F:
    """Return a function as it is, to be compiled into each kernel that calls it.

    What would let Python call it takes half of the time to compile one that has many arrays, so
    only what is a kernel by itself should be ``compiled``.
    """
    part = register_jitable(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return cast("F", part(function))


@kernel_part
def put_into(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy an array into another one, which compiles in a fraction of what a slice takes."""
    for i in range(len(source)):
        target[i] = source[i]


@contextmanager
def compiling_told(tell: Callable[[], None]) -> Iterator[None]:
    """Call a function when something is compiled for the first time within the block."""
    with event.install_listener(COMPILING, _Calls(functools.cache(tell), lambda: None)):
        yield


@frozen(eq=False)
class _Calls(event.Listener):  # type: ignore[misc]  # numba has no types
    """Calls one function when compiling begins and another one when it ends."""

    begun: Callable[[], None]
    ended: Callable[[], None]

    def on_start(self, event: object) -> None:
        """Take note that a function is compiled; others that it calls may be so within."""
        self.begun()

    def on_end(self, event: object) -> None:
        """Take note that it has been."""
        self.ended()


event.register(COMPILING, _Calls(CLOCK.stop, CLOCK.go_on))
