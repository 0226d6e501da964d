"""Operators and devices by name or by a pattern such as ``layers.*.mlp``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from parplan.errors import InputError
from parplan.graph import Operator
from parplan.hardware import Cluster
from parplan.spec.structuring import did_you_mean


def matching_operators(
    pattern: str, operators: Sequence[Operator], *, key: str = ""
) -> tuple[str, ...]:
    """Return the names of the operators that a pattern means, in the graph's order.

    A pattern is an operator's name, a module path (meaning all its operators), or either of them
    with ``*``, ``?`` and ``[...]`` as in a shell.

    Raises
    ------
    InputError
        If it matches nothing, with the closest name.
    """
    exact = [o.name for o in operators if pattern == o.name] or [
        o.name for o in operators if pattern == o.module
    ]
    if exact:
        return tuple(exact)
    found = [
        o.name
        for o in operators
        if fnmatchcase(o.name, pattern) or (o.module and fnmatchcase(o.module, pattern))
    ]
    known = dict.fromkeys([o.name for o in operators] + [o.module for o in operators if o.module])
    return tuple(found) or _nothing("operator or module", pattern, known, key)


def matching_modules(pattern: str, modules: Iterable[str], *, key: str = "") -> tuple[str, ...]:
    """Return the modules that a pattern means: those of its name, inside it, or matched by it.

    Raises
    ------
    InputError
        If it matches nothing, with the closest name.

    Examples
    --------
    >>> matching_modules("layers.1", ["layers.1.mlp", "layers.10.mlp"])
    ('layers.1.mlp',)
    """
    known = dict.fromkeys(modules)
    found = [m for m in known if f"{m}.".startswith(f"{pattern}.") or fnmatchcase(m, pattern)]
    return tuple(found) or _nothing("module", pattern, known, key)


def matching_devices(pattern: str, cluster: Cluster, *, key: str = "") -> tuple[str, ...]:
    """Return the names of the devices that a pattern means; InputError if there is none."""
    names = [device.name for device in cluster.devices]
    if pattern in names:
        return (pattern,)
    found = tuple(name for name in names if fnmatchcase(name, pattern))
    return found or _nothing("device", pattern, names, key)


def all_matching(
    patterns: Iterable[str], operators: Sequence[Operator], *, key: str = ""
) -> tuple[str, ...]:
    """Return the operators that any of the patterns means, each once."""
    found = [name for p in patterns for name in matching_operators(p, operators, key=key)]
    return tuple(dict.fromkeys(found))


def _nothing(what: str, pattern: str, known: Iterable[str], key: str) -> tuple[str, ...]:
    names = list(known)
    shown = did_you_mean(pattern, names) if len(names) <= 20 else _closest(pattern, names)
    raise InputError(f"no {what} matches '{pattern}'; {shown}", key=key or None)


def _closest(pattern: str, names: list[str]) -> str:
    hint, _, _ = did_you_mean(pattern, names).partition("known: ")
    return f"{hint}known: {', '.join(names[:8])} and {len(names) - 8} more"
