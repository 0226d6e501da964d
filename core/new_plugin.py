"""Writes the files of a new plugin: a small distribution that installs and passes its test."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from parplan import __version__
from parplan.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

CLASS_ENDINGS = {"constraint": "Rule", "strategy": "Schedule"}
"""What the name of a plugin's class ends in, by its kind."""

KINDS = tuple(CLASS_ENDINGS)
"""What a new plugin may hold."""

FILES = {
    "pyproject.toml.jinja": "pyproject.toml",
    "README.md.jinja": "README.md",
    "{kind}.py.jinja": "{module}.py",
    "test_{kind}.py.jinja": "tests/test_{module}.py",
}
"""Where each template goes."""


def write_plugin(name: str, directory: Path, kind: str = KINDS[0]) -> tuple[Path, ...]:
    """Write a distribution with one plugin, its test and its README; return their paths.

    Parameters
    ----------
    name
        Name of the plugin, e.g. ``"rack-power"``; the distribution is ``parplan-rack-power``.
    directory
        The folder to fill; made if it does not exist.
    kind
        One of ``KINDS``.

    Raises
    ------
    InputError
        If the name is not made of small letters, digits and single hyphens, begins with
        ``parplan-``, the kind is none of ``KINDS``, or the folder already holds something.
    """
    from jinja2 import Environment, StrictUndefined

    if kind not in KINDS:
        raise InputError(f"'{kind}' is no kind of a new plugin; kinds are: {', '.join(KINDS)}")
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
        "class_name": "".join(part.capitalize() for part in name.split("-")) + CLASS_ENDINGS[kind],
        "kind": kind,
        "version": __version__,
    }
    templates = files("parplan") / "templates" / "plugin"
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    written = []
    for template, target in FILES.items():
        path = directory / target.format(**names)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = (templates / template.format(**names)).read_text(encoding="utf-8")
        path.write_text(environment.from_string(source).render(names), encoding="utf-8")
        written.append(path)
    return tuple(written)
