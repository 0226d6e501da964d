"""What the commands share."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from parplan.cli.output import emit
from parplan.errors import InputError, ParplanError
from parplan.text import plain

if TYPE_CHECKING:
    from parplan.registry import Registry


@frozen
class Settings:
    """What holds for every command: the plugins to load, by module."""

    plugins: tuple[str, ...] = ()


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)

warm_up_option = click.option(
    "--warm-up",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Steps left out at the beginning of each recording.",
)


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``--plugin`` stand behind the command as well as before it."""

    def with_plugins(context: click.Context, /, plugins: tuple[str, ...], **values: Any) -> Any:
        context.obj = add_plugins(context.obj, plugins)
        return command(**values)

    functools.update_wrapper(with_plugins, command)  # with the options that it has already
    option = click.option(
        "--plugin", "plugins", multiple=True, metavar="MODULE", help="Load a plugin's module."
    )
    wrapped: Callable[..., Any] = option(click.pass_context(with_plugins))
    return wrapped


def add_plugins(settings: Settings, plugins: tuple[str, ...]) -> Settings:
    """Return the settings with further plugins; their modules may stand in the working folder."""
    # A console script does not look there by itself; last, so that nothing else is shadowed.
    if plugins and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return evolve(settings, plugins=(*settings.plugins, *plugins))


def call_named(text: str, option: str) -> Any:
    """Return what a function returns that is named on the command line as MODULE:FUNCTION.

    The module may stand in the working folder. Only the command line can name code; no file can.

    Raises
    ------
    InputError
        If there is no such module or function, or it fails; naming the option.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise InputError(f"'{text}' names no function; write MODULE:FUNCTION", key=option)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"module '{module}' cannot be imported: {reason}", key=option) from error
    if not callable(found):
        raise InputError(f"module '{module}' has no function '{name}'", key=option)
    try:
        return found()
    except ParplanError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"'{text}' failed: {reason}", key=option) from error


def load_registry(settings: Settings) -> Registry:
    """Return all extensions; each plugin that failed to load is told on standard error."""
    from parplan import api

    registry = api.load_registry(settings.plugins)
    for failure in registry.failures:
        note(f"warning: {failure}")
    return registry


def named_options(given: tuple[str, ...]) -> dict[str, Any]:
    """Return options written as NAME=VALUE, values read as in a spec file."""
    from parplan.spec.document import parse_document

    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if not name or not value.strip():
            raise InputError(f"'{text}' is no option; write NAME=VALUE", key="--set")
        found[name] = parse_document(value, f"--set {name}").data
    return found


def check_folder(path: Path | None) -> None:
    """Raise InputError if no file of that name can be written: before a search, not after it."""
    if path is not None and not path.parent.is_dir():
        raise InputError(
            f"the folder '{path.parent}' does not exist; make it first", file=str(path)
        )
    if path is not None and path.is_dir():
        raise InputError("is a folder; name a file", file=str(path))


def colour_wanted() -> bool:
    """Return whether standard output is a terminal that may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def note(text: str) -> None:
    """Print a line for people on standard error."""
    print(plain(text), file=sys.stderr, flush=True)


def say(found: Mapping[str, Any]) -> None:
    """Print nested figures as indented lines."""
    emit("\n".join(_lines(found, "")))


def _lines(found: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}{key}:"
            yield from (f"{indent}  {_line(item)}" for item in value)
        else:
            yield f"{indent}{key}: {_line(value)}"


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_line(item)}" for key, item in value.items())
    return f"{value:.6g}" if isinstance(value, float) else plain(str(value))
