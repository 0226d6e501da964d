"""Stages of a pipeline as a table of measured times: what those have who know their pipeline."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Importer
from parplan.errors import InputError
from parplan.files.atomic import read_bytes
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.spec.document import SIZE_LIMIT, read_document
from parplan.spec.structuring import keys_of, structure

MOST_STAGES = 100_000
"""More stages than this are surely a slip."""


@frozen
class Stage:
    """One stage of a pipeline, for one microbatch: a row of the table.

    Attributes
    ----------
    forward_s
        Seconds of the forward pass.
    backward_s
        Seconds of the backward pass for the inputs.
    weight_s
        Seconds of the backward pass for the weights.
    activation_bytes
        What the forward pass keeps for the backward passes.
    released_at_backward
        Part of it that is given up when the pass for the inputs ends; the rest is when the pass
        for the weights ends.
    boundary_bytes
        What is handed to the next stage, and comes back from it as a gradient.
    parameter_bytes
        Weights, gradients and optimizer state.
    split_backward
        Whether the two backward passes may run apart; else they are one pass.
    """

    forward_s: float
    backward_s: float
    weight_s: float = 0.0
    activation_bytes: int = 0
    released_at_backward: float = 0.0
    boundary_bytes: int = 0
    parameter_bytes: int = 0
    split_backward: bool = True

    def __attrs_post_init__(self) -> None:
        for name in keys_of(Stage):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"is {value}; it must be finite and not negative", key=name)
        if self.released_at_backward > 1:
            raise InputError(
                f"is {self.released_at_backward}; it is a part, from 0 to 1",
                key="released_at_backward",
            )


@frozen
class StagesOptions:
    """A table without a file, or the columns that a file leaves out.

    A single value holds for all stages, a list has one for each; see `Stage` for what they mean.

    Attributes
    ----------
    stages
        How many there are; a list or a file says so, too.
    forward_s, backward_s, weight_s
        Seconds of one microbatch: forward, backward for the inputs, backward for the weights.
    activation_bytes
        What the forward pass keeps for the backward passes.
    released_at_backward
        Part of it that the pass for the inputs gives up: 0 keeps all for the weights, 1 nothing.
    boundary_bytes
        What a stage hands to the next one, and gets back as a gradient.
    parameter_bytes
        Weights, gradients and optimizer state.
    split_backward
        Whether the two backward passes may run apart; the first stage of PyTorch's pipelines
        cannot split its own.
    """

    stages: int | None = None
    forward_s: float | tuple[float, ...] = ()
    backward_s: float | tuple[float, ...] = ()
    weight_s: float | tuple[float, ...] = ()
    activation_bytes: int | tuple[int, ...] = ()
    released_at_backward: float | tuple[float, ...] = ()
    boundary_bytes: int | tuple[int, ...] = ()
    parameter_bytes: int | tuple[int, ...] = ()
    split_backward: bool | tuple[bool, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.stages is not None and not 1 <= self.stages <= MOST_STAGES:
            raise InputError(f"is {self.stages}; give 1 to {MOST_STAGES:,}", key="stages")

    def columns(self) -> dict[str, Any]:
        """Return what is given, by its name in a row."""
        given = {name: getattr(self, name) for name in keys_of(Stage)}
        return {name: value for name, value in given.items() if value != ()}


class Stages(Importer):
    """Reads a table of stages: a CSV file with a header, or YAML or JSON with a list of rows.

    Stage i has the operators ``stages.i:forward``, ``stages.i:backward-input`` and
    ``stages.i:backward-weight`` (or ``stages.i:backward``, where they are one) in module
    ``stages.i``, so a rule can speak of a stage by that name.
    """

    name: ClassVar[str] = "stages"
    options: ClassVar[type] = StagesOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a table in a file; InputError names the row at fault."""
        chosen = structure(dict(options), StagesOptions, key="model.options")
        rows = _csv_rows(path) if path.suffix == ".csv" else _document_rows(path)
        return pipeline_graph(path.stem, _filled(rows, chosen, str(path)))

    def build(self, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a table that the options alone make up."""
        chosen = structure(dict(options), StagesOptions, key="model.options")
        lengths = [len(v) for v in chosen.columns().values() if isinstance(v, tuple)]
        count = chosen.stages if chosen.stages is not None else max(lengths, default=None)
        if count is None:
            raise InputError(
                "says nowhere how many stages there are; give 'stages', a list, or a file",
                key="model.options",
            )
        return pipeline_graph("stages", _filled([(None, {})] * count, chosen, None))


Rows = Sequence[tuple[int | None, Mapping[str, Any]]]
"""Line in the file (None if unknown) and what is given, of each stage."""


def _csv_rows(path: Path) -> Rows:
    """Return the rows of a CSV file, empty cells left out."""
    try:
        text = read_bytes(path, SIZE_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8; save the file as UTF-8", file=str(path)) from None
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    rows: list[tuple[int | None, Mapping[str, Any]]] = []
    try:
        for row in reader:
            if None in row:
                raise InputError(
                    f"has more than the {len(reader.fieldnames or ())} cells of the header",
                    file=str(path),
                    line=reader.line_num,
                )
            given = {k.strip(): v.strip() for k, v in row.items() if v is not None and v.strip()}
            rows.append((reader.line_num, {k: _cell(v) for k, v in given.items()}))
    except csv.Error as error:
        raise InputError(f"is not CSV: {error}", file=str(path), line=reader.line_num) from None
    return rows


def _cell(text: str) -> Any:
    """Return a cell as a truth, a number, or a text such as ``1.5 ms``."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _document_rows(path: Path) -> Rows:
    """Return the rows of a YAML or JSON file."""
    document = read_document(path)
    data = document.data
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise InputError("is no list of stages, each a mapping such as {forward_s: 10 ms, ...}",
                         file=str(path))  # fmt: skip
    return [(document.line_of(f"[{i}]"), row) for i, row in enumerate(data)]


def _filled(rows: Rows, options: StagesOptions, file: str | None) -> list[Stage]:
    """Return the stages: what each row gives, and what the options give for it."""
    columns = options.columns()
    if options.stages is not None and options.stages != len(rows):
        raise InputError(f"is {options.stages}, but the file has {len(rows)} rows",
                         key="model.options.stages")  # fmt: skip
    if not rows:
        raise InputError("has no row below its header", file=file)
    for name, value in columns.items():
        key = f"model.options.{name}"
        if any(name in row for _, row in rows):
            raise InputError("is given here and in the file; give it once", key=key)
        if isinstance(value, tuple) and len(value) != len(rows):
            raise InputError(f"has {len(value)} entries for {len(rows)} stages", key=key)
    found = []
    for index, (line, row) in enumerate(rows):
        own = {n: v[index] if isinstance(v, tuple) else v for n, v in columns.items()}
        try:
            found.append(structure({**own, **row}, Stage))
        except InputError as error:
            if file is None or error.key in own:
                raise InputError(error.message, key=f"model.options.{error.key}") from None
            message = f"stage {index}: {error.key}: {error.message}"
            raise InputError(message, file=file, line=line) from None
    return found


def pipeline_graph(name: str, stages: Sequence[Stage]) -> Graph:
    """Return the graph of a training step: forwards in turn, then the backward passes."""
    return Graph(
        name,
        tuple(operator for i, stage in enumerate(stages) for operator in _operators(i, stage)),
        tuple(tensor for i in range(len(stages)) for tensor in _tensors(i, stages)),
        tuple(
            ParameterGroup(_module(i), weight_bytes=stage.parameter_bytes)
            for i, stage in enumerate(stages)
            if stage.parameter_bytes
        ),
    )


def _module(index: int) -> str:
    return f"stages.{index}"


def _backwards(index: int, stage: Stage) -> tuple[str, str]:
    """Return the names of the passes for inputs and for weights; one name where they are one."""
    if not stage.split_backward:
        return (f"{_module(index)}:backward",) * 2
    return f"{_module(index)}:backward-input", f"{_module(index)}:backward-weight"


def _operators(index: int, stage: Stage) -> Iterator[Operator]:
    passes = [(f"{_module(index)}:forward", Kind.FORWARD, stage.forward_s)]
    inputs, weights = _backwards(index, stage)
    if stage.split_backward:
        passes.append((inputs, Kind.BACKWARD_INPUT, stage.backward_s))
        passes.append((weights, Kind.BACKWARD_WEIGHT, stage.weight_s))
    else:
        passes.append((inputs, Kind.BACKWARD, stage.backward_s + stage.weight_s))
    for name, kind, seconds in passes:
        yield Operator(
            name,
            kind,
            parameters=(_module(index),) if stage.parameter_bytes else (),
            module=_module(index),
            modes=(Mode(seconds={"*": seconds}, source="table of stages"),),
        )


def _tensors(index: int, stages: Sequence[Stage]) -> Iterator[Tensor]:
    """Yield what stage ``index`` makes: activations, what it hands on, and the gradients.

    What has no bytes is still an order: a backward pass comes after its forward pass, and the pass
    for the weights after the one for the inputs.
    """
    stage, own = stages[index], _module(index)
    forward, (inputs, weights) = f"{own}:forward", _backwards(index, stage)
    early = round(stage.activation_bytes * stage.released_at_backward)
    late = stage.activation_bytes - early
    if early or not late:
        yield Tensor(f"{own}:activations for inputs", forward, (inputs,), early)
    if late:
        readers = tuple(dict.fromkeys((inputs, weights)))
        yield Tensor(f"{own}:activations", forward, readers, late)
    if inputs != weights:
        yield Tensor(f"{own}:gradients", inputs, (weights,), 0)
    if index + 1 < len(stages):
        yield Tensor(f"{own}:output", forward, (f"{_module(index + 1)}:forward",),
                     stage.boundary_bytes)  # fmt: skip
    if index:
        before, _ = _backwards(index - 1, stages[index - 1])
        size = stages[index - 1].boundary_bytes
        yield Tensor(f"{own}:input gradient", inputs, (before,), size)
