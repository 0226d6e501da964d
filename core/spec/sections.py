"""The spec file: what a user writes, as plain attrs classes. No plugin is called here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Repeat, Tensor
from parplan.options import SearchOptions
from parplan.problem import Rule
from parplan.spec.cluster import ClusterSpec
from parplan.spec.document import Document, parse_document, read_document
from parplan.spec.structuring import NOT_IN_FILES, keys_of, structure
from parplan.workload import Workload, WorkloadKind, in_turn

KeyPath = tuple[str | int, ...]

DEFAULT_COSTS = (Rule("measured"), Rule("roofline"))


@frozen
class OperatorSpec:
    """An operator written into the spec; ``seconds`` alone makes one mode of that duration."""

    name: str
    seconds: Mapping[str, float] = field(factory=dict)
    kind: Kind = Kind.FORWARD
    flops: float = 0.0
    bytes_touched: float = 0.0
    parameters: tuple[str, ...] = ()
    repeat: Repeat = Repeat.MICROBATCH
    module: str = ""
    modes: tuple[Mode, ...] = ()
    dtype: str = "bf16"

    def __attrs_post_init__(self) -> None:
        if self.seconds and self.modes:
            raise InputError(
                f"operator '{self.name}' gives both 'seconds' and 'modes'; put the seconds into "
                "the modes"
            )
        self.build()

    def build(self) -> Operator:
        """Return the operator."""
        return Operator(
            name=self.name,
            kind=self.kind,
            flops=self.flops,
            bytes_touched=self.bytes_touched,
            parameters=self.parameters,
            repeat=self.repeat,
            module=self.module,
            modes=self.modes or (Mode(seconds=self.seconds),),
            dtype=self.dtype,
        )


@frozen
class ModelSpec:
    """A model file with its importer, or operators written into the spec.

    Attributes
    ----------
    kind
        Name of the importer; ``"inline"`` for operators in the spec itself.
    file
        Path of the model file, relative to the spec file; some kinds do without.
    options
        Options of the importer, e.g. the sequence length.
    """

    kind: str = "inline"
    file: str = ""
    options: Mapping[str, Any] = field(factory=dict)
    operators: tuple[OperatorSpec, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    parameters: tuple[ParameterGroup, ...] = ()

    def __attrs_post_init__(self) -> None:
        inline = [what for what in ("operators", "tensors", "parameters") if getattr(self, what)]
        if self.kind == "inline":
            if self.file or self.options:
                raise InputError(
                    "'file' and 'options' need 'kind', the name of an importer; "
                    "`parplan plugins` lists them"
                )
            if not self.operators:
                raise InputError("give 'kind' and 'file' of a model, or 'operators'")
        elif inline:
            raise InputError(f"'{inline[0]}' stand beside kind '{self.kind}'; give one of the two")

    def inline_graph(self, name: str) -> Graph:
        """Return the graph of the operators written into the spec."""
        operators = tuple(operator.build() for operator in self.operators)
        return Graph(name, operators, self.tensors, self.parameters)


@frozen
class WorkloadSpec:
    """How often the model runs, and what is known of each microbatch.

    Attributes
    ----------
    microbatches
        How many (for requests: how many requests).
    groups
        The placement group of each microbatch, or a number of groups that take turns.
    scales
        Factor on the times and bytes of each microbatch. Empty: all 1.
    releases_s
        Earliest start of each microbatch. Empty: all 0.
    """

    kind: WorkloadKind = WorkloadKind.TRAINING
    microbatches: int = 1
    groups: int | tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    releases_s: tuple[float, ...] = ()

    def __attrs_post_init__(self) -> None:
        self.build()

    def build(self) -> Workload:
        """Return the workload."""
        groups = self.groups
        return Workload(
            kind=self.kind,
            microbatches=self.microbatches,
            groups=in_turn(groups, self.microbatches) if isinstance(groups, int) else groups,
            scales=self.scales,
            releases_s=self.releases_s,
        )


@frozen
class Spec:
    """Everything a spec file says.

    Attributes
    ----------
    model
        None only where a graph made in Python takes its place.
    strategies, costs, constraints, objectives
        Plugins by name, each with its options. ``costs`` are asked in order; ``constraints`` come
        on top of `parplan.problem.DEFAULT_CONSTRAINTS`; ``objectives`` in order of importance.
    tick_s
        Length of a tick; None lets parplan choose.
    document, overrides
        Where it came from, and the keys that were set from outside the file.
    """

    cluster: ClusterSpec
    model: ModelSpec | None = None
    name: str = ""
    workload: WorkloadSpec = field(factory=WorkloadSpec)
    strategies: tuple[Rule, ...] = ()
    costs: tuple[Rule, ...] = DEFAULT_COSTS
    constraints: tuple[Rule, ...] = ()
    objectives: tuple[Rule, ...] = (Rule("makespan"),)
    search: SearchOptions = field(factory=SearchOptions)
    tick_s: float | None = None
    document: Document = field(factory=lambda: Document(None), metadata=NOT_IN_FILES, eq=False)
    overrides: Mapping[str, str] = field(factory=dict, metadata=NOT_IN_FILES, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.tick_s is not None and not 0 < self.tick_s < math.inf:
            raise InputError(
                f"is {self.tick_s}; give seconds above zero, or leave it out", key="tick_s"
            )
        if not self.objectives:
            raise InputError("names no objective; give one, e.g. 'makespan'", key="objectives")

    def locate(self, error: InputError) -> InputError:
        """Return an error with the file and line of its key, or the override that set it."""
        for section in ("constraints", "objectives"):
            # Rules are keyed by name, since defaults shift their positions.
            for position, rule in enumerate(getattr(self, section)):
                key = f"{section}.{rule.name}"
                if error.key is not None and _is_inside(error.key, key):
                    place = f"{section}[{position}].{rule.name}{error.key[len(key) :]}"
                    error = type(error)(error.message, file=error.file, line=error.line, key=place)
        return _locate(error, self.document, self.overrides)

    @property
    def folder(self) -> Path:
        """The folder that paths in the spec start from."""
        return Path(self.document.file).parent if self.document.file else Path()


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> Spec:
    """Return the spec in a YAML or JSON file.

    Parameters
    ----------
    overrides
        Values to set over those of the file, as ``key.path=value`` with ``value`` in YAML, e.g.
        ``"workload.microbatches=8"`` or ``"cluster.devices[0].memory_bytes=40 GB"``.

    Raises
    ------
    InputError
        With file, line and key of the first fault, and what to write instead.
    """
    path = Path(path)
    return make_spec(read_document(path), overrides, default_name=path.name.split(".")[0])


def parse_spec(text: str, overrides: Sequence[str] = ()) -> Spec:
    """Return the spec in a YAML text; see ``load_spec``."""
    return make_spec(parse_document(text), overrides)


def make_spec(
    document: Document, overrides: Sequence[str] = (), *, default_name: str = "unnamed"
) -> Spec:
    """Return the spec of a document that was read; see ``load_spec``."""
    if not isinstance(document.data, dict):
        raise InputError(
            f"a spec is a mapping with the keys {', '.join(keys_of(Spec))}", file=document.file
        )
    data: Any = document.data
    keys: dict[str, str] = {}
    for override in overrides:
        path, value = _parse_override(override)
        data = _with_value(data, path, value, "", override)
        keys[_key(path)] = override
    try:
        spec = structure(data, Spec)
    except InputError as error:
        raise _locate(error, document, keys) from None
    return evolve(spec, name=spec.name or default_name, document=document, overrides=keys)


def _locate(error: InputError, document: Document, overrides: Mapping[str, str]) -> InputError:
    """Return an error with its place: an override that set its key, or a line of the file."""
    if error.file is not None or not error.key:
        return document.locate(error)
    for key, override in overrides.items():
        if _is_inside(error.key, key):
            return error.located(file=f"--set {override}")
    # An override further down may be at fault, or not.
    further = [override for key, override in overrides.items() if _is_inside(key, error.key)]
    note = f" (with --set {', '.join(further)})" if further else ""
    return document.locate(type(error)(f"{error.message}{note}", key=error.key, line=error.line))


def _is_inside(key: str, outer: str) -> bool:
    return key.startswith(outer) and key[len(outer) :][:1] in ("", ".", "[")


def _parse_override(override: str) -> tuple[KeyPath, Any]:
    """Split ``a.b[0].c=value`` into its path and its value."""
    key, equals, text = override.partition("=")
    steps = re.findall(r"\[([0-9]{1,9})\]|([^.\[\]]+)", key)
    path: KeyPath = tuple(int(index) if index else name.strip() for index, name in steps)
    if not equals or not path or _key(path) != key.strip():
        raise InputError(
            f"'{override}' is no override; write key.path=value, e.g. workload.microbatches=8",
            file="--set",
        )
    if not text.strip():
        raise InputError("gives no value", file=f"--set {override}")
    try:
        return path, parse_document(text).data
    except InputError as error:
        raise InputError(error.message, file=f"--set {override}") from None


def _key(path: KeyPath) -> str:
    """Return a path as a key: ``a.b[0].c``."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _with_value(data: Any, path: KeyPath, value: Any, above: str, override: str) -> Any:
    """Return data with the value at a path replaced; mappings on the way are made as needed."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    here = above or "the spec"
    if isinstance(step, int):
        if not isinstance(data, list) or step >= len(data):
            found = f"has {len(data)} entries" if isinstance(data, list) else "is no list"
            raise InputError(f"{here} {found}, so [{step}] is not there", file=f"--set {override}")
        changed = _with_value(data[step], rest, value, f"{above}[{step}]", override)
        return [*data[:step], changed, *data[step + 1 :]]
    if data is None:
        data = {}
    if not isinstance(data, dict):
        wanted = "a list; write [0] for its first entry" if isinstance(data, list) else repr(data)
        raise InputError(f"{here} is {wanted}, so it has no '{step}'", file=f"--set {override}")
    inside = f"{above}.{step}".removeprefix(".")
    return {**data, step: _with_value(data.get(step), rest, value, inside, override)}
