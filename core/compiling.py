"""Compiled kernels: by numba at their first call, and kept on disk for later processes.

The code is kept beside the package, or where that is read-only in the user's cache folder, or
wherever ``NUMBA_CACHE_DIR`` says.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Return a function that is compiled when it is first called.

    Where nothing can be written it is compiled anew by each process, with a RuntimeWarning.
    """
    try:
        return cast("F", numba.njit(cache=True)(function))
    except RuntimeError:  # numba has no folder to keep it in
        warnings.warn(
            "compiled code can be kept nowhere, so that each run compiles it anew; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=1,  # here, so that it is told once, not for each function
        )
        return cast("F", numba.njit(function))
