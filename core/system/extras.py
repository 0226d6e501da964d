"""Libraries that parplan can do without: loaded where they are needed, by the extra they come in.

Nothing is imported before it is asked for, so parplan itself stays quick to load.
"""

from __future__ import annotations

import importlib
from typing import Any

from parplan.errors import InputError


def required(module: str, extra: str) -> Any:
    """Return a module of a library that an extra of parplan installs.

    Parameters
    ----------
    module
        Dotted name, e.g. ``"torch.export"``.
    extra
        Name of the extra in ``pyproject.toml``, e.g. ``"torch"``.

    Raises
    ------
    InputError
        If the library is not installed; it says what to install.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise  # the library is there, and lacks something of its own
        raise InputError(
            f"{library} is not installed; this needs it: pip install 'parplan[{extra}]'"
        ) from None
