"""Reads YAML and JSON text into plain data, with the line of every key. Nothing is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from attrs import evolve, field, frozen

from parplan.errors import InputError
from parplan.files.atomic import read_bytes

SIZE_LIMIT = 2**20
"""A spec is at most 1 MiB; a large graph belongs into a model file."""

VALUE_LIMIT = 200_000
"""So many values may a spec hold, aliases written out (a YAML bomb has billions)."""


class _Loader(yaml.SafeLoader):
    """The YAML 1.2 core schema: ``no`` is a text, ``1e9`` a number, and there are no dates."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's interface


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


@frozen
class Document:
    """Plain data of a file, with where it stands.

    Attributes
    ----------
    lines
        Line of each dotted key path, e.g. ``"cluster.devices[0].name"``, counted from 1.
    """

    data: Any
    file: str | None = None
    lines: Mapping[str, int] = field(factory=dict)

    def line_of(self, key: str | None) -> int | None:
        """Return the line of a key, or of the nearest key above it."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = re.sub(r"(?:\.[^.\[]*|\[[0-9]+\]|^[^.\[]+)$", "", key)
        return None

    def locate(self, error: InputError) -> InputError:
        """Return the error with this file, and the line of its key."""
        if error.file is not None and error.file != self.file:
            return error
        return error.located(file=self.file, line=self.line_of(error.key))


def read_document(path: Path) -> Document:
    """Return the data of a YAML or JSON file.

    Raises
    ------
    InputError
        With file and line, if it is missing, too large, not UTF-8, or not plain YAML or JSON.
    """
    raw = read_bytes(path, SIZE_LIMIT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8",
            file=str(path),
            line=raw[: error.start].count(b"\n") + 1,
        ) from None
    if path.suffix != ".json":
        return parse_document(text, str(path))
    data = _read_json(text, str(path))
    # JSON without tabs is YAML, whose reader knows lines and finds doubled keys.
    return evolve(parse_document(text.replace("\t", " "), str(path)), data=data)


def parse_document(text: str, file: str | None = None) -> Document:
    """Return the data of a YAML text; see ``read_document``."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _explain_yaml(error, text, file) from None
    except yaml.YAMLError as error:
        raise InputError(f"is not YAML: {error}".replace("\n", " "), file=file) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=file) from None
    if node is None:
        raise InputError("is empty; `parplan init` writes a first spec", file=file)
    reader = _Reader(file)
    try:
        data = reader.value(node, "", ())
    except RecursionError:
        raise InputError("is nested too deeply", file=file) from None
    return Document(data, file, reader.lines)


class _Reader:
    """Turns YAML nodes into plain data and notes the lines of keys."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self.count = 0

    def fail(self, message: str, node: yaml.Node, key: str) -> InputError:
        """Return an error at a node."""
        return InputError(message, file=self.file, line=_line(node), key=key or None)

    def value(self, node: yaml.Node, key: str, above: tuple[int, ...]) -> Any:
        """Return the plain data of a node; ``above`` holds the nodes that it lies in."""
        self.count += 1
        if self.count > VALUE_LIMIT:
            raise self.fail(
                f"holds more than {VALUE_LIMIT:,} values, aliases written out; put a large graph "
                "into a model file",
                node,
                key,
            )
        if id(node) in above:
            raise self.fail("an alias refers to the value that it is part of", node, key)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self.fail(f"tag '{_tag_name(node)}' is not allowed; use plain YAML", node, key)
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key, above)
        items = []
        for index, item in enumerate(node.value):
            inside = f"{key}[{index}]"
            self.lines[inside] = _line(item)
            items.append(self.value(item, inside, above))
        return items

    def mapping(self, node: yaml.MappingNode, key: str, above: tuple[int, ...]) -> dict[str, Any]:
        """Return a mapping; keys are texts, each once."""
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.fail("a key must be a text", key_node, key)
            # A key keeps its spelling: `1:` and `true:` are names here, not values.
            name = key_node.value
            inside = f"{key}.{name}" if key else name
            if name in found:
                raise self.fail(
                    f"key '{name}' is given twice (first on line {self.lines[inside]})",
                    key_node,
                    inside,
                )
            self.lines[inside] = _line(key_node)
            found[name] = self.value(value_node, inside, above)
        return found

    def scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        """Return a scalar by its tag."""
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) > 100:
                raise self.fail("the number has too many digits", node, key)
            case "int":
                return int(text.replace("_", ""), 16 if text.startswith("0x") else 10)
            case "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower().replace("_", "")))
        raise self.fail(f"tag '{_tag_name(node)}' is not allowed; use plain YAML", node, key)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _tag_name(node: yaml.Node) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")


def _explain_yaml(error: yaml.MarkedYAMLError, text: str, file: str | None) -> InputError:
    """Say what is wrong with YAML, in a line."""
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    message = " ".join(part for part in (error.context, error.problem) if part)
    rows = text.splitlines()
    if line is not None and line <= len(rows) and re.match(r" *\t", rows[line - 1]):
        return InputError("a tab indents this line; YAML wants spaces", file=file, line=line)
    if mark is not None and mark.index >= len(text.rstrip()):
        message += "; the file ends too early"
        # What was never closed tells more than the end.
        line = mark.line + 1 if error.context_mark is None else error.context_mark.line + 1
    return InputError(f"is not YAML: {message}", file=file, line=line)


def _read_json(text: str, file: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg}", file=file, line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", file=file) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")
