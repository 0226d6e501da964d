"""A traced PyTorch program as plain data: calls of operators on tensors of known shapes.

Both readers (of a program in memory, and of a ``.pt2`` file) make one of these, so that nothing
behind them depends on where a program came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias, Union

from attrs import field, frozen

ELEMENT_BITS: Mapping[str, int] = {
    "uint4": 4,
    "int4": 4,
    "float4_e2m1fn": 4,
    "bool": 8,
    "uint8": 8,
    "int8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "int64": 64,
    "uint64": 64,
    "float8_e4m3fn": 8,
    "float8_e5m2": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "float16": 16,
    "bfloat16": 16,
    "float32": 32,
    "float64": 64,
    "complex32": 32,
    "complex64": 64,
    "complex128": 128,
}
"""Bits of an element by the name of its PyTorch type."""


@frozen
class Meta:
    """A tensor without its values.

    Attributes
    ----------
    shape, strides
        In elements.
    dtype
        PyTorch's name, e.g. ``"bfloat16"``.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Bytes of all its elements, those of less than a byte without gaps."""
        return -(-math.prod(self.shape) * ELEMENT_BITS[self.dtype] // 8)

    @property
    def is_float(self) -> bool:
        """Whether it can have a gradient."""
        return self.dtype.startswith(("float", "bfloat", "complex"))


@frozen
class Reference:
    """A tensor of the program, by name."""

    name: str


@frozen
class Constant:
    """A type, layout or memory format of PyTorch, by its name there, e.g. ``"float32"``."""

    name: str


Argument: TypeAlias = Union[  # noqa: UP007  # a text in it refers to itself
    Reference, Constant, Meta, bool, int, float, complex, str, tuple["Argument", ...], None
]
"""What an operator is called with; in the key of a call's costs a `Meta` stands for a tensor."""


@frozen
class Call:
    """One call of an operator.

    Attributes
    ----------
    operator
        Namespace, name and overload, e.g. ``"aten.linear.default"``.
    arguments, keywords
        In the order of the operator's schema.
    results
        Names of the tensors it returns; None for one that nothing reads.
    module
        Path of the module that calls it, e.g. ``"layers.3.mlp"``; empty for the model itself.
    kind
        Class of that module, with its own module's path.
    has_gradient
        Whether autograd records it.
    """

    operator: str
    arguments: tuple[Argument, ...]
    keywords: tuple[tuple[str, Argument], ...]
    results: tuple[str | None, ...]
    module: str = ""
    kind: str = ""
    has_gradient: bool = True

    @property
    def short(self) -> str:
        """The operator's name alone, e.g. ``"linear"``."""
        return self.operator.split(".")[1]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the tensors among its arguments, in order, those that stand twice twice."""
        given = (*self.arguments, *(value for _, value in self.keywords))
        return tuple(name for value in given for name in references(value))


def references(argument: Argument) -> Iterator[str]:
    """Yield the names of the tensors in an argument."""
    if isinstance(argument, Reference):
        yield argument.name
    elif isinstance(argument, tuple):
        for part in argument:
            yield from references(part)


@frozen
class Effect:
    """What a call does.

    Attributes
    ----------
    flops
        As PyTorch counts them: products, convolutions and attention; 2 for a multiply and add.
    results
        What it returns.
    shares
        For each result the position, among the tensors read, of the one whose memory it shares;
        None for a result that is new.
    written
        Positions, among the tensors read, of those that are changed in place.
    """

    flops: float
    results: tuple[Meta, ...]
    shares: tuple[int | None, ...]
    written: tuple[int, ...] = ()

    @property
    def is_view(self) -> bool:
        """Whether it makes and changes nothing."""
        return not self.written and None not in self.shares


class Source(StrEnum):
    """Where a tensor comes from that no call makes."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    INPUT = "input"


@frozen
class Given:
    """A tensor that no call makes.

    Attributes
    ----------
    path
        Its name in the model, e.g. ``"layers.3.mlp.weight"``.
    trained
        Whether a parameter gets a gradient.
    """

    source: Source
    path: str
    trained: bool = True


@frozen
class Program:
    """A whole program, its calls in the order in which they run.

    Attributes
    ----------
    kind
        Class of the model, e.g. ``"LlamaForCausalLM"``.
    given
        The tensors that no call makes, by name.
    tensors
        Every tensor by name.
    """

    kind: str
    given: Mapping[str, Given]
    tensors: Mapping[str, Meta]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]


@frozen
class Collector:
    """What is gathered of a program while its graph, and those inside it, are read."""

    tensors: dict[str, Meta] = field(factory=dict)
    calls: list[Call] = field(factory=list)
    kinds: list[str] = field(factory=list)

    def program(self, given: Mapping[str, Given], outputs: Iterable[str | None]) -> Program:
        """Return the program; its class is the one that its first call tells."""
        kind = self.kinds[0] if self.kinds else "model"
        kept = tuple(name for name in outputs if name is not None)
        return Program(kind, given, self.tensors, tuple(self.calls), kept)
