"""What a node of an ONNX graph tells of itself: its module, its name, its attributes."""

from __future__ import annotations

import re
from typing import Any

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter writes the modules that a node stands in, and its own name."""


def module_of(node: Any) -> str:
    """Return the path of the module that a node stands in; empty where it tells none."""
    for prop in node.metadata_props:
        if prop.key == SCOPES:
            # A list as Python writes it: the modules outermost first, then the node's own name.
            scopes = re.findall(r"'([^']*)'", prop.value)
            return scopes[-2] if len(scopes) > 1 else ""
    parts = node.name.split("/")
    return ".".join(parts[1:-1]) if len(parts) > 2 and not parts[0] else ""


def own_name(node: Any) -> str:
    """Return the name of a node that is a module of its own."""
    name: str = node.name or next(filter(None, node.output))
    return name


def label(node: Any) -> str:
    """Return how an error names a node."""
    name = node.name or next(filter(None, node.output), node.op_type)
    module = module_of(node)
    return f"node '{name}'" + (f" of module '{module}'" if module else "")


def integer_of(node: Any, name: str, default: int) -> int:
    """Return an attribute that is a whole number."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def text_of(node: Any, name: str) -> str:
    """Return an attribute that is a text; empty where there is none."""
    return next((a.s.decode("utf-8", "replace") for a in node.attribute if a.name == name), "")
