"""The content of a ``config.json``: values by key, of the right type or with a clear error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from parplan.errors import InputError
from parplan.files.atomic import read_bytes

MAXIMUM_BYTES = 2**20

T = TypeVar("T", int, bool)


@frozen
class Config:
    """Settings of a model, or of a part of one; null counts as not set.

    Attributes
    ----------
    values
        By key.
    kind
        The ``model_type``.
    path
        What its keys begin with in errors, e.g. ``"vision_config."``.
    """

    values: Mapping[str, Any]
    kind: str
    path: str = ""

    def value(self, key: str, kind: type[T], default: T) -> T:
        """Return what is set, or the default; InputError for a wrong type."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{value!r} is not of type {kind.__name__}", key)
        return value

    def text(self, key: str, default: str) -> str:
        """Return a text, or the default."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(f"{value!r} is no text", key)
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """Return a whole number above zero; without a default it must be there."""
        if default is None and self.values.get(key) is None:
            raise self.error(f"is missing; a '{self.kind}' model needs it", key)
        value = self.value(key, int, default or 0)
        if value < 1:
            raise self.error(f"{value} must be at least 1", key)
        return value

    def is_dropped(self, key: str, default: float) -> bool:
        """Return whether a dropout probability is above zero."""
        value = self.values.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise self.error(f"{value!r} is no probability", key)
        return value > 0

    def head_size(self, hidden: str, heads: int) -> int:
        """Return ``head_dim``, by default what the hidden size under a key leaves each head."""
        width = self.size(hidden)
        if self.values.get("head_dim") is None and width % heads:
            raise self.error(f"{width} cannot be divided by {heads} heads", hidden)
        return self.size("head_dim", width // heads)

    def part(self, key: str, kind: str, defaults: Mapping[str, Any] | None = None) -> Config:
        """Return the settings of a part under a key.

        Parameters
        ----------
        kind
            Its ``model_type`` where it does not say.
        defaults
            Its values where it does not say.
        """
        values = self.values.get(key)
        if values is None:
            raise self.error(f"is missing; a '{self.kind}' model needs it", key)
        if not isinstance(values, dict):
            raise self.error("is no object of settings", key)
        given = {k: v for k, v in values.items() if v is not None}
        path = f"{self.path}{key}."
        merged = {**(defaults or {}), **given}
        return Config(merged, Config(merged, kind, path).text("model_type", kind), path)

    def error(self, message: str, key: str) -> InputError:
        """Return an error about a key."""
        return InputError(message, key=f"{self.path}{key}")


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a ``config.json``."""
    try:
        config = json.loads(read_bytes(path, MAXIMUM_BYTES))
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"is not JSON: {error}", file=str(path), line=line) from None
    if not isinstance(config, dict):
        raise InputError("is not a JSON object of settings", file=str(path))
    return config
