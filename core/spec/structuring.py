"""From plain data (YAML, JSON) to attrs classes, with errors that name the key.

A field whose name carries a unit (``latency_s``, ``memory_bytes``: see ``units.dimension_of``)
takes a plain number in that unit, or a text with a unit such as ``80 GB``.
"""

from __future__ import annotations

import collections.abc
import difflib
import enum
import functools
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from parplan.errors import InputError
from parplan.problem import Rule
from parplan.spec.units import Dimension, dimension_of, parse_quantity

T = TypeVar("T")

NOT_IN_FILES: Mapping[str, Any] = {"in_files": False}
"""Metadata of a field that no file may set."""

_SEQUENCES = (tuple, list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)


def make_converter() -> cattrs.Converter:
    """Return a converter for files: it refuses unknown keys and reads quantities with units."""
    converter = cattrs.Converter(forbid_extra_keys=True, omit_if_default=True)
    plain: tuple[tuple[type, Any], ...] = (
        (int, _whole),
        (float, _number),
        (str, _text),
        (bool, _truth),
        (enum.Enum, _choice),
        (enum.StrEnum, _choice),  # or the hook of str would take it
    )
    for cls, hook in plain:
        converter.register_structure_hook(cls, hook)
    converter.register_structure_hook_func(
        _is_sequence, functools.partial(_sequence, converter.structure)
    )
    converter.register_structure_hook_func(
        _is_mapping, functools.partial(_mapping, converter.structure)
    )
    converter.register_structure_hook_func(
        _is_choice_of_shapes, functools.partial(_either, converter.structure)
    )
    converter.register_structure_hook_factory(attrs.has, lambda cls: _class_hook(cls, converter))
    converter.register_structure_hook(Rule, _rule)
    return converter


_converter = functools.cache(make_converter)  # made once: it compiles code for each class


def structure(
    data: Any,
    cls: type[T],
    *,
    key: str = "",
    file: str | None = None,
    converter: cattrs.Converter | None = None,
) -> T:
    """Return ``cls`` made from plain data.

    Raises
    ------
    InputError
        With the dotted key path of the first fault, and a did-you-mean for an unknown key.
    """
    try:
        return (converter or _converter()).structure(data, cls)
    except RecursionError:
        raise InputError("is nested too deeply", key=key or None, file=file) from None
    except Exception as error:  # noqa: BLE001  # cattrs raises groups of anything
        raise explain(error, cls, key).located(file=file) from None


def structure_options(options: Mapping[str, Any], cls: type[T], *, key: str) -> T:
    """Return a plugin made from its options; a class that is not attrs takes none."""
    plain = not attrs.has(cls)
    if plain and options:
        raise InputError(f"takes no options, but {', '.join(map(str, options))} is given", key=key)
    return cls() if plain else structure(dict(options), cls, key=key)


def explain(error: BaseException, cls: Any, key: str) -> InputError:
    """Return the first fault inside a cattrs error, in the user's words."""
    if isinstance(error, InputError):
        return error.located(key=key or None)
    if isinstance(error, ForbiddenExtraKeysError):
        unknown = sorted(error.extra_fields, key=str)[0]
        hint = did_you_mean(str(unknown), keys_of(error.cl))
        return InputError(f"unknown key '{unknown}'; {hint}", key=_join(key, str(unknown)))
    if isinstance(error, ClassValidationError):
        located, others = error.group_exceptions()
        # An unknown key explains a missing one (a typo): report it first.
        others.sort(key=lambda inner: not isinstance(inner, ForbiddenExtraKeysError))
        if others and isinstance(others[0], ForbiddenExtraKeysError):
            return explain(others[0], cls, key)
        for inner, note in located:
            return explain(inner, note.type, _join(key, str(note.name)))
        for inner in others:
            return explain(inner, cls, key)
    if isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            inside = (
                _join(key, place.index) if isinstance(place.index, str) else f"{key}[{place.index}]"
            )
            return explain(inner, place.type, inside)
    if isinstance(error, KeyError):
        return InputError("is missing", key=key or str(error.args[0]))
    return InputError(str(error) or type(error).__name__, key=key or None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest of the known names, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"known: {', '.join(names)}"


def keys_of(cls: Any) -> list[str]:
    """Return the keys that a file may give for an attrs class."""
    if not attrs.has(cls):
        return []
    return [f.name for f in attrs.fields(cls) if f.init and f.metadata.get("in_files", True)]


def _join(key: str, part: str) -> str:
    return f"{key}.{part}" if key else part


def _is_sequence(cls: Any) -> bool:
    origin: Any = get_origin(cls)
    return origin in _SEQUENCES


def _is_mapping(cls: Any) -> bool:
    origin: Any = get_origin(cls)
    return origin in _MAPPINGS


def _is_choice_of_shapes(cls: Any) -> bool:
    """Return whether a type is a union of one plain type and one sequence of values."""
    members = get_args(cls) if get_origin(cls) in (Union, types.UnionType) else ()
    return (
        len(members) == 2
        and type(None) not in members
        and sorted(map(_is_sequence, members)) == [False, True]
    )


def _either(structure_member: Callable[[Any, Any], Any], value: Any, target: Any) -> Any:
    """Read a list as the sequence of a union, and anything else as its other member."""
    is_list = isinstance(value, list | tuple)
    member = next(m for m in get_args(target) if _is_sequence(m) == is_list)
    return structure_member(value, member)


def _class_hook(cls: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Return the hook of an attrs class: fields that carry a unit also read texts."""
    overrides: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        dimension = dimension_of(attribute.name)
        if not attribute.metadata.get("in_files", True):
            overrides[attribute.name] = override(omit=True)
        elif dimension is not None:
            overrides[attribute.name] = override(
                struct_hook=functools.partial(_quantity, converter.structure, dimension)
            )
    inner = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def hook(value: Any, target: Any) -> Any:
        if not isinstance(value, Mapping):
            raise InputError(f"{_short(value)} is no mapping with keys {', '.join(keys_of(cls))}")
        return inner(value, target)

    return hook


def _quantity(
    structure_plain: Callable[[Any, Any], Any], dimension: Dimension, value: Any, target: Any
) -> Any:
    """Read every text in a field that carries a unit as a quantity, then go on by type."""
    if "Mapping" in str(target) and isinstance(value, str | int | float):
        value = {"*": value}  # one quantity for all kinds of devices
    return structure_plain(_quantities(value, dimension), target)


def _quantities(value: Any, dimension: Dimension) -> Any:
    if isinstance(value, str):
        return parse_quantity(value, dimension)
    if isinstance(value, list):
        return _each(enumerate(value), float, lambda v: _quantities(v, dimension))
    if isinstance(value, Mapping):
        read = _each(value.items(), float, lambda v: _quantities(v, dimension))
        return dict(zip(value, read, strict=True))
    return value


def _sequence(structure_item: Callable[[Any, Any], Any], value: Any, target: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise InputError(f"{_short(value)} is no list; write [{_short(value)}]")
    origin, types = get_origin(target), get_args(target)
    if origin is tuple and types[-1] is not Ellipsis:
        if len(value) != len(types):
            raise InputError(f"has {len(value)} entries; it needs {len(types)}")
    else:
        types = (types[0],) * len(value)
    rows = iter(types)
    made = _each(
        enumerate(value), types[0] if types else Any, lambda v: structure_item(v, next(rows))
    )
    return made if origin is list else (origin if origin in (set, frozenset) else tuple)(made)


def _mapping(structure_item: Callable[[Any, Any], Any], value: Any, target: Any) -> Any:
    if not isinstance(value, Mapping):
        raise InputError(f"{_short(value)} is no mapping; write 'name: value' pairs")
    key_type, value_type = get_args(target)
    keys = _each(((str(k), k) for k in value), key_type, lambda k: structure_item(k, key_type))
    made = _each(
        ((str(k), v) for k, v in value.items()),
        value_type,
        lambda v: structure_item(v, value_type),
    )
    return dict(zip(keys, made, strict=True))


def _each(items: Iterable[tuple[Any, Any]], kind: Any, call: Callable[[Any], Any]) -> list[Any]:
    """Return ``call`` of each value; a fault is noted with the place it came from."""
    made = []
    for place, value in items:
        try:
            made.append(call(value))
        except Exception as error:  # noqa: BLE001  # cattrs raises groups of anything
            error.add_note(IterableValidationNote(f"at {place}", place, kind))
            raise IterableValidationError("while reading", [error], kind) from None
    return made


def _choice(value: Any, target: Any) -> Any:
    try:
        return target(value)
    except ValueError:
        hint = did_you_mean(str(value), [str(member.value) for member in target])
        raise InputError(f"{_short(value)} is not a choice here; {hint}") from None


def _rule(value: Any, _: Any) -> Rule:
    """Read ``name`` or ``{name: {option: value}}``."""
    if isinstance(value, str):
        return Rule(value)
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, options),) = value.items()
        if options is None:
            return Rule(str(name))
        if isinstance(options, Mapping):
            return Rule(str(name), {str(key): option for key, option in options.items()})
    raise InputError(f"{_short(value)} is neither a name nor 'name: {{option: value}}'")


def _whole(value: Any, _: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value != int(value)
    ):
        raise InputError(f"{_short(value)} is not a whole number")
    return int(value)


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{_short(value)} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise InputError(f"{_short(value)} is too large a number") from None
    if math.isnan(number):
        raise InputError("is not a number (NaN)")
    return number


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{_short(value)} is not a text; put it in quotes")
    return value


def _truth(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{_short(value)} is neither true nor false")
    return value


def _short(value: Any) -> str:
    """Return a value as text, cut to what fits into a message."""
    try:
        text = repr(value)
    except ValueError:  # an int of too many digits to print
        return "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
