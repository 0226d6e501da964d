"""Divided modules for PyTorch: ``sharding.json``, and the few lines that apply it.

``torch.distributed.tensor.parallel`` (styles of modules) and ``torch.distributed.fsdp`` (FSDP2),
both on DTensor; PyTorch 2.13.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import field, frozen

from parplan import __version__
from parplan.contracts import Exported, Exporter
from parplan.errors import InputError
from parplan.files.atomic import write_text
from parplan.plans import Plan
from parplan.plugins.exporters.dtensor.applying import APPLYING
from parplan.plugins.exporters.dtensor.sharding import Group, Mesh, Sharding, is_path, sharding
from parplan.plugins.exporters.dtensor.ways import Style
from parplan.spec.structuring import structure

SHARDING_FILE, APPLYING_FILE = "sharding.json", "apply_sharding.py"
FORMAT, VERSION = "parplan-sharding", 1


@frozen
class DTensorOptions:
    """How a plan becomes a sharding.

    Attributes
    ----------
    shard
        Ranks that stand for each device of the plan, with a shard of its weights each (FSDP2).
    styles
        What modes are whose names do not say it, such as ``{tensor-2: colwise}``.
    """

    shard: int = 1
    styles: Mapping[str, Style] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.shard < 1:
            raise InputError(f"is {self.shard}; at least 1", key="shard")


class DTensor(Exporter):
    """Writes ``sharding.json`` and ``apply_sharding.py``."""

    name: ClassVar[str] = "dtensor"
    options: ClassVar[type] = DTensorOptions

    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write how a plan divides its modules; InputError names what PyTorch cannot express."""
        chosen = structure(dict(options), DTensorOptions, key="options")
        made = sharding(plan, chosen.styles, chosen.shard)
        paths = (directory / SHARDING_FILE, directory / APPLYING_FILE)
        write_text(paths[0], json.dumps(document(made), indent=1) + "\n")
        write_text(paths[1], APPLYING)
        if read_sharding(paths[0]) != made:
            raise InputError("the sharding is not read as it was written", file=str(paths[0]))
        ast.parse(paths[1].read_text(encoding="utf-8"))
        mesh = attrs.asdict(made.mesh)
        return Exported(paths, _notes(made, chosen), {"mesh": mesh, "groups": len(made.groups)})


def document(made: Sharding) -> dict[str, Any]:
    """Return a sharding as plain data."""
    head = {"format": FORMAT, "version": VERSION, "parplan": __version__}
    return {**head, **attrs.asdict(made)}


@frozen
class _Document:
    """A file as it is read."""

    format: str
    version: int
    parplan: str
    name: str
    mesh: Mesh
    groups: tuple[Group, ...]
    replicated: tuple[str, ...]


def read_sharding(path: Path) -> Sharding:
    """Return the sharding in a file.

    Raises
    ------
    InputError
        If it is none, or names what is no module, or one module in two groups.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    found = structure(data, _Document, file=str(path))
    if (found.format, found.version) != (FORMAT, VERSION):
        raise InputError(f"is '{found.format}' version {found.version}", file=str(path))
    if len(found.groups) != found.mesh.pipeline:
        raise InputError("has another number of groups than its mesh", file=str(path))
    home: set[str] = set()
    for group in found.groups:
        named = (*group.modules, *group.tensor_parallel, *group.recompute, *group.fully_shard)
        odd = next((name for name in named if not is_path(name)), None)
        twice = next((name for name in group.modules if name in home), None)
        if odd is not None or twice is not None:
            what = f"'{odd}' is no module" if odd is not None else f"'{twice}' is in two groups"
            raise InputError(what, file=str(path))
        home.update(group.modules)
    return Sharding(found.name, found.mesh, found.groups, found.replicated)


def _notes(made: Sharding, options: DTensorOptions) -> tuple[str, ...]:
    mesh = made.mesh
    notes = [
        f"a mesh of {mesh.pipeline} x {mesh.shard} x {mesh.tensor} ranks (pipeline, shard, tensor)",
        *(f"group {g}: {', '.join(group.devices)}" for g, group in enumerate(made.groups)),
    ]
    if made.replicated:
        shown = ", ".join(made.replicated[:3]) + (", ..." if len(made.replicated) > 3 else "")
        notes.append(
            f"{shown}: the plan runs them on one device of their group, PyTorch on each, with "
            "their weights on each"
        )
    if options.shard > 1:
        notes.append(
            f"each device of the plan stands for {options.shard} ranks, which have samples of "
            "their own; gathering weights and scattering gradients among them is not in the "
            "plan's times"
        )
    return tuple(notes)
