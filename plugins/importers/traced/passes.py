"""One call of an operator as a layer: its forward pass, and its backward passes."""

from __future__ import annotations

from attrs import evolve, field, frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.traced.gradients import (
    INDEXED,
    SELECTIONS,
    SUMS,
    Attention,
    Operand,
    extras,
    gradient_flops,
    kept,
)
from parplan.plugins.importers.traced.program import Call, Meta

SHORT_TYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float64": "fp64"}
"""Number formats as cost models call them."""


@frozen
class Draft:
    """A layer before it is known whether a gradient reaches it.

    Attributes
    ----------
    layer
        With backward passes, as if one did.
    producers
        Positions of the layers whose tensors it reads.
    followed
        Those of them that its backward pass sends a gradient.
    extras
        What it makes for its backward pass alone: tensors and their bytes.
    position
        Of its call in the program.
    """

    layer: Layer
    producers: tuple[int, ...]
    followed: tuple[int, ...]
    extras: dict[str, int]
    position: int

    @property
    def flops(self) -> float:
        """Work of the forward pass."""
        return sum(kernel.flops for kernel in self.layer.forward.kernels)

    @property
    def forward(self) -> Layer:
        """The layer where no gradient reaches it."""
        return evolve(self.layer, backward_input=None, backward_weight=None, residual=())

    @property
    def trained(self) -> Layer:
        """The layer where one does."""
        return evolve(self.layer, writes={**self.layer.writes, **self.extras})


@frozen
class Made:
    """A call with all that is known of it.

    Attributes
    ----------
    name, module
        Of its layer.
    flops
        Of its forward pass.
    operands
        As they stand in the call.
    writes
        Tensors of the graph that it makes, with their bytes.
    result
        The first of what it returns.
    """

    call: Call
    name: str
    module: str
    flops: float
    operands: tuple[Operand, ...]
    writes: dict[str, int]
    result: Meta
    attention: Attention
    distinct: tuple[Operand, ...] = field(init=False)

    @distinct.default
    def _(self) -> tuple[Operand, ...]:
        return tuple({operand.name: operand for operand in self.operands}.values())

    def draft(self, position: int) -> Draft:
        """Return its layer."""
        made = [operand for operand in self.distinct if operand.tensor]
        followed = [operand for operand in made if operand.differentiable]
        reads = tuple(dict.fromkeys(operand.tensor for operand in made))
        gradients = dict.fromkeys(reads, 0)
        for operand in followed:
            gradients[operand.tensor] += operand.bytes
        saved = self._saved()
        layer = Layer(
            name=self.name,
            module=self.module,
            reads=reads,
            writes=self.writes,
            forward=Work((Kernel(self.flops, self._read() + self._written()),)),
            backward_input=self._inputs(saved, sum(gradients.values())) if followed else None,
            backward_weight=self._weights(saved),
            parameters=tuple(dict.fromkeys(o.parameter for o in self.distinct if o.parameter)),
            residual=reads if self._only_adds() else (),
            gradient_bytes=gradients,
            dtype=self._dtype(),
        )
        if layer.residual:
            layer = evolve(layer, backward_input=None)
        return Draft(
            layer,
            tuple(dict.fromkeys(operand.layer for operand in made)),
            tuple(dict.fromkeys(operand.layer for operand in followed)),
            self._extras(),
            position,
        )

    def _dtype(self) -> str:
        """Return the number format of its arithmetic, which is that of its first operand."""
        dtype = self.operands[0].meta.dtype if self.operands else self.result.dtype
        return SHORT_TYPES.get(dtype, dtype)

    def _read(self) -> int:
        """Bytes that its forward pass reads."""
        indexed = self.call.short in INDEXED
        return sum(
            min(operand.bytes, self.result.bytes) if indexed and at == 0 else operand.bytes
            for at, operand in enumerate(self.distinct)
        )

    def _written(self) -> int:
        """Bytes that its forward pass writes, with what it makes for its backward pass."""
        return sum(self.writes.values()) + sum(self._extras().values())

    def _is_followed(self) -> bool:
        return any(operand.differentiable for operand in self.operands)

    def _extras(self) -> dict[str, int]:
        if not self._is_followed():
            return {}
        found = extras(self.call, self.operands, self.result, self.attention)
        return {f"{self.name}.{what}": size for what, size in found.items()}

    def _saved(self) -> tuple[str, ...]:
        """Tensors of the graph that its backward passes read."""
        keeps, result = kept(self.call, self.operands, self.attention)
        tensors = {operand.name: operand.tensor for operand in self.distinct}
        names = [tensors[name] for name in keeps if tensors[name]]
        made = tuple(self.writes)
        made = made if result else made[1:] if self.call.short in SELECTIONS else ()
        return tuple(dict.fromkeys((*names, *made, *self._extras())))

    def _moved(self) -> int:
        """Bytes that each backward pass reads: its results' gradients, and what was kept."""
        keeps, result = kept(self.call, self.operands, self.attention)
        sizes = {operand.name: operand.bytes for operand in self.distinct}
        out = sum(self.writes.values())
        return out * (2 if result else 1) + sum(sizes[n] for n in keeps) + sum(
            self._extras().values()
        )  # fmt: skip

    def _trained(self) -> int:
        """Bytes of the parameters that get a gradient."""
        return sum(o.bytes for o in self.distinct if o.parameter and o.differentiable)

    def _is_split(self) -> bool:
        """Whether the gradients of activations and of weights are products of their own."""
        inputs, weights = gradient_flops(self.call, self.flops, self.operands)
        return bool(inputs and weights)

    def _inputs(self, saved: tuple[str, ...], sent: int) -> Work:
        """Return the pass for the gradients of activations; unless split, for all gradients."""
        inputs, weights = gradient_flops(self.call, self.flops, self.operands)
        if self._is_split():
            # It reads the weights; what was kept of the inputs is for the other pass.
            others = [o for o in self.operands if o.parameter]
            moved = sum(self.writes.values()) + sent + sum(o.bytes for o in others)
            return Work((Kernel(inputs, moved),))
        return Work((Kernel(inputs + weights, self._moved() + sent + 2 * self._trained()),), saved)

    def _weights(self, saved: tuple[str, ...]) -> Work | None:
        """Return the pass for the gradients of weights, where it is one of its own."""
        _, flops = gradient_flops(self.call, self.flops, self.operands)
        alone = not any(o.differentiable and o.tensor for o in self.operands)
        if not self._trained() or not (alone or self._is_split()):
            return None
        read = self._moved() - (self._trained() if self._is_split() else 0)
        return Work((Kernel(flops, read + 2 * self._trained()),), saved)

    def _only_adds(self) -> bool:
        """Whether every gradient is that of the result, unchanged."""
        return self.call.short in SUMS and all(
            operand.tensor and operand.differentiable and operand.meta.shape == self.result.shape
            for operand in self.operands
        )
