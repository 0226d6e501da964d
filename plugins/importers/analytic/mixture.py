"""A mixture of experts in place of a feed-forward part: router, exchange of tokens, experts.

T tokens of a rank, k experts per token, h hidden size, f inner size of an expert, E experts: with
balanced routing each rank computes 2 (T k) 3 h f FLOP for the T k tokens that reach its experts,
however many ranks there are, since each brings T tokens of its own and holds E / ranks experts.

Modules of a layer: ``router`` (norm, scores, choice), ``dispatch``, ``experts``, ``combine``,
``shared`` (what every token goes through; needs the norm alone, so it can run beside the exchange),
and ``sum``, which adds the residual. Experts are one part, or branches ``experts.0``, ``experts.1``
and so on between dispatch and combine: then dispatch writes a tensor for each of them. The weights
of the choice are applied to the inner activation of the experts, so a combine adds, and saves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.elementary import (
    activation,
    norm,
    product,
    with_kernel,
    with_mask,
)
from parplan.plugins.importers.analytic.expert_parallel import MESSAGE_BYTES, MessageFormat
from parplan.plugins.importers.analytic.shape import Mixture, Setting, Shape

COLLECTIVE = ("collective",)
"""What an exchange holds of its device: compute goes on beside it."""


def mixture_counts(shape: Shape, setting: Setting, path: str) -> dict[str, int]:
    """Return the parameters of each group that a rank holds, behind the layer's attention."""
    assert shape.mixture is not None  # only layers that have experts come here
    h, y = shape.hidden, shape.mixture
    counts = {
        f"{path}.router.norm": shape.norm_parameters,
        f"{path}.router.scores": y.experts * (h + y.router_bias),
    }
    for branch in _branches(y, setting, path):
        inner = branch.experts * y.feed_forward
        counts[f"{branch.module}.{_up(shape)}"] = h * _width(shape, inner)
        counts[f"{branch.module}.down"] = inner * h
    if y.shared:
        counts |= {
            f"{path}.shared.{_up(shape)}": h * (_width(shape, y.shared) + y.shared_gate),
            f"{path}.shared.down": y.shared * h,
        }
    return counts


def mixture_of_experts(shape: Shape, setting: Setting, path: str, source: str) -> Iterator[Layer]:
    """Yield the layers behind ``source``, an attention's result; the last is ``path.sum``."""
    assert shape.mixture is not None  # only layers that have experts come here
    y = shape.mixture
    start = f"{path}.router.norm"
    yield norm(
        setting,
        start,
        f"{path}.router",
        source,
        shape.hidden,
        bias=shape.norm_bias,
        residual=True,
    )
    scores = product(
        setting,
        f"{path}.router.scores",
        f"{path}.router",
        start,
        shape.hidden,
        y.experts,
        parameters=y.experts * (shape.hidden + y.router_bias),
    )
    # The choice among the experts reads and writes the scores, both ways.
    chosen = Kernel(0.0, 2 * setting.activation(y.experts))
    yield with_kernel(scores, chosen, chosen)
    yield _dispatch(shape, y, setting, path)
    for branch in _branches(y, setting, path):
        yield from _experts(shape, y, setting, branch)
    combine = _combine(shape, y, setting, path)
    yield with_mask(combine, setting, shape.hidden) if shape.residual_dropout else combine
    added = [f"{path}.combine"]
    if y.shared:
        yield from _shared(shape, y, setting, path)
        added.append(f"{path}.shared.down")
    size = setting.activation(shape.hidden)
    parts = (*added, source)
    yield Layer(
        name=f"{path}.sum",
        module=f"{path}.sum",
        reads=parts,
        writes={f"{path}.sum": size},
        forward=Work((Kernel(0.0, (len(parts) + 1) * size),)),
        residual=parts,
        dtype=setting.dtype,
    )


@frozen
class _Branch:
    """What one part of a layer's experts is.

    Attributes
    ----------
    source
        The tensor that it reads.
    experts
        How many it holds.
    rows
        Rows that reach them.
    """

    module: str
    source: str
    experts: int
    rows: int


def _branches(mixture: Mixture, setting: Setting, path: str) -> list[_Branch]:
    """Return the branches: one of all experts of the rank, or one of each."""
    module, source = f"{path}.experts", f"{path}.dispatch"
    rows = setting.tokens * mixture.active
    if not setting.expert_branches:
        local = setting.expert_parallel.local_experts(mixture.experts)
        return [_Branch(module, source, local, rows)]
    each, left = divmod(rows, mixture.experts)
    return [
        _Branch(f"{module}.{e}", f"{source}.{e}", 1, each + (e < left))
        for e in range(mixture.experts)
    ]


def _up(shape: Shape) -> str:
    return "gate_up" if shape.gated else "up"


def _width(shape: Shape, inner: int) -> int:
    """Width of an expert's first product, with the gate where there is one."""
    return 2 * inner if shape.gated else inner


def _dispatch(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Layer:
    """Return the way of tokens to experts; its backward pass is a combine of gradients."""
    name = f"{path}.dispatch"
    sent = setting.expert_parallel.dispatch
    sizes = {
        branch.source: _message(branch.rows, shape.hidden, setting, sent)
        for branch in _branches(mixture, setting, path)
    }
    return _exchange(
        Layer(
            name=name,
            module=name,
            reads=(f"{path}.router.norm", f"{path}.router.scores"),
            writes=sizes,
            forward=Work(),
            dtype=setting.dtype,
        ),
        shape,
        mixture,
        setting,
        (sent, setting.expert_parallel.combine),
    )


def _combine(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Layer:
    """Return the way back of results, added up; its backward pass is a dispatch of gradients."""
    name = f"{path}.combine"
    back = setting.expert_parallel.dispatch
    gradients = {
        f"{branch.module}.down": _message(branch.rows, shape.hidden, setting, back)
        for branch in _branches(mixture, setting, path)
    }
    return _exchange(
        Layer(
            name=name,
            module=name,
            reads=tuple(gradients),
            writes={name: setting.activation(shape.hidden)},
            forward=Work(),
            gradient_bytes=gradients,
            dtype=setting.dtype,
        ),
        shape,
        mixture,
        setting,
        (setting.expert_parallel.combine, back),
    )


def _message(rows: int, width: int, setting: Setting, message: MessageFormat) -> int:
    """Bytes of exchanged rows; without expert parallelism they keep the model's format."""
    if setting.expert_parallel.degree == 1:
        return rows * width * setting.element_bytes
    return int(rows * width * MESSAGE_BYTES[message])


def _exchange(
    layer: Layer,
    shape: Shape,
    mixture: Mixture,
    setting: Setting,
    formats: tuple[MessageFormat, MessageFormat],
) -> Layer:
    """Return the layer with the work of an all-to-all in both passes, or of a local permutation.

    Parameters
    ----------
    formats
        Of what is sent forward and backward.
    """
    group = setting.expert_parallel
    if group.degree == 1:
        # Reads each token and writes its copies, or the other way round.
        moved = Kernel(0.0, (1 + mixture.active) * setting.activation(shape.hidden))
        return attrs.evolve(layer, forward=Work((moved,)), backward_input=Work((moved,)))
    copies = min(group.copies or mixture.active, mixture.active)
    sizes = [setting.tokens * copies * shape.hidden * MESSAGE_BYTES[f] for f in formats]
    forward, backward = (
        Work(
            seconds={"*": group.exchange_seconds(size)},
            engines=COLLECTIVE,
            source=group.exchange_formula(size),
        )
        for size in sizes
    )
    return attrs.evolve(layer, forward=forward, backward_input=backward)


def _experts(shape: Shape, mixture: Mixture, setting: Setting, branch: _Branch) -> Iterator[Layer]:
    """Yield the products of one branch, for the rows that reach it."""
    h, f, rows, module = shape.hidden, mixture.feed_forward, branch.rows, branch.module
    up, narrow, wide = f"{module}.{_up(shape)}", f"{module}.activation", _width(shape, f)
    count = branch.experts * h * wide
    first = product(setting, up, module, branch.source, h, wide, parameters=count, rows=rows)
    # Gradients leave in the model's format, whatever tokens came in.
    yield attrs.evolve(first, gradient_bytes={branch.source: rows * h * setting.element_bytes})
    inner = activation(setting, narrow, module, up, f, gated=shape.gated, rows=rows)
    yield with_mask(inner, setting, f, rows) if shape.feed_forward_dropout else inner
    count = branch.experts * f * h
    yield product(setting, f"{module}.down", module, narrow, f, h, parameters=count, rows=rows)


def _shared(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Iterator[Layer]:
    """Yield the part that every token goes through."""
    module, h, f = f"{path}.shared", shape.hidden, mixture.shared
    up, narrow = f"{module}.{_up(shape)}", f"{module}.activation"
    wide = _width(shape, f) + mixture.shared_gate
    yield product(setting, up, module, f"{path}.router.norm", h, wide)
    yield activation(setting, narrow, module, up, f, gated=shape.gated)
    yield product(setting, f"{module}.down", module, narrow, f, h)
