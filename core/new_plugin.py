"""Writes the files of a new plugin: a small distribution that installs and passes its test."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from parplan import __version__
from parplan.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

FILES = {
    "pyproject.toml.jinja": "pyproject.toml",
    "README.md.jinja": "README.md",
    "plugin.py.jinja": "{module}.py",
    "test_plugin.py.jinja": "tests/test_{module}.py",
}
"""Where each template goes."""


def write_plugin(name: str, directory: Path) -> tuple[Path, ...]:
    """Write a distribution with one constraint, its test and its README; return their paths.

    Parameters
    ----------
    name
        Name of the constraint, e.g. ``"rack-power"``; the distribution is ``parplan-rack-power``.
    directory
        The folder to fill; made if it does not exist.

    Raises
    ------
    InputError
        If the name is not made of small letters, digits and single hyphens, begins with
        ``parplan-``, or the folder already holds something.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot name a plugin; use small letters, digits and single hyphens, "
            "starting with a letter, e.g. 'rack-power'"
        )
    if name.startswith("parplan-"):
        raise InputError(f"leave 'parplan-' out of '{name}'; the distribution gets it anyway")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(
            f"'{directory}' already exists and is not an empty folder; name another, or empty it"
        )
    names = {
        "name": name,
        "distribution": f"parplan-{name}",
        "module": f"parplan_{name.replace('-', '_')}",
        "class_name": "".join(part.capitalize() for part in name.split("-")) + "Rule",
        "version": __version__,
    }
    templates = files("parplan") / "templates" / "plugin"
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    written = []
    for template, target in FILES.items():
        path = directory / target.format(**names)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = (templates / template).read_text(encoding="utf-8")
        path.write_text(environment.from_string(source).render(names), encoding="utf-8")
        written.append(path)
    return tuple(written)
