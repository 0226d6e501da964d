"""From plain data (YAML, JSON) to attrs classes and back, with errors that name the key."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from parplan.errors import InputError, ParplanError

T = TypeVar("T")


def make_converter() -> cattrs.Converter:
    """Return a converter that refuses unknown keys and leaves defaults out of its output."""
    converter = cattrs.Converter(forbid_extra_keys=True, omit_if_default=True)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _truth)
    return converter


def structure(data: Any, cls: type[T], *, key: str = "", file: str | None = None) -> T:
    """Return ``cls`` made from plain data.

    Raises
    ------
    InputError
        With the dotted key path of the first fault, and a did-you-mean for an unknown key.
    """
    try:
        return make_converter().structure(data, cls)
    except ParplanError:
        raise
    except Exception as error:  # noqa: BLE001  # cattrs raises groups of anything
        raise explain(error, cls, key).located(file=file) from None


def explain(error: BaseException, cls: Any, key: str) -> InputError:
    """Return the first fault inside a cattrs error, in the user's words."""
    if isinstance(error, InputError):
        return error.located(key=key or None)
    if isinstance(error, ForbiddenExtraKeysError):
        unknown = sorted(error.extra_fields)[0]
        known = [f.name for f in attrs.fields(error.cl)] if attrs.has(error.cl) else []
        close = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return InputError(
            f"unknown key '{unknown}'; {hint}known: {', '.join(known)}", key=_join(key, unknown)
        )
    if isinstance(error, ClassValidationError):
        located, others = error.group_exceptions()
        for inner, note in located:
            return explain(inner, note.type, _join(key, str(note.name)))
        for inner in others:
            return explain(inner, cls, key)
    if isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            return explain(inner, place.type, f"{key}[{place.index}]")
    if isinstance(error, KeyError):
        return InputError("is missing", key=key or str(error.args[0]))
    return InputError(str(error) or type(error).__name__, key=key or None)


def _join(key: str, part: str) -> str:
    return f"{key}.{part}" if key else part


def _whole(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise InputError(f"{value!r} is not a whole number")
    return int(value)


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{value!r} is not a number")
    return float(value)


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{value!r} is not a text; put it in quotes")
    return value


def _truth(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{value!r} is neither true nor false")
    return value
