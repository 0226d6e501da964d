"""A mixture of experts in place of a feed-forward part: router, exchange of tokens, experts.

T tokens of a rank, k experts per token, h hidden size, f inner size of an expert, E experts: with
balanced routing each rank computes 2 (T k) 3 h f FLOP for the T k tokens that reach its experts,
however many ranks there are, since each brings T tokens of its own and holds E / ranks experts.

Modules of a layer: ``router`` (norm, scores, choice), ``dispatch``, ``experts``, ``combine``,
``shared`` (what every token goes through; needs the norm alone, so it can run beside the exchange),
and ``sum``, which adds the residual. The weights of the choice are applied to the inner activation
of the experts, so a combine adds, and saves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.elementary import activation, norm, product, with_kernel
from parplan.plugins.importers.expert_parallel import MESSAGE_BYTES, MessageFormat
from parplan.plugins.importers.shape import Mixture, Setting, Shape

COLLECTIVE = ("collective",)
"""What an exchange holds of its device: compute goes on beside it."""


def mixture_counts(shape: Shape, setting: Setting, path: str) -> dict[str, int]:
    """Return the parameters of each group that a rank holds, behind the layer's attention."""
    assert shape.mixture is not None  # only layers that have experts come here
    h, y = shape.hidden, shape.mixture
    local = setting.expert_parallel.local_experts(y.experts)
    counts = {
        f"{path}.router.norm": shape.norm_parameters,
        f"{path}.router.scores": y.experts * (h + y.router_bias),
        f"{path}.experts.gate_up": local * h * 2 * y.feed_forward,
        f"{path}.experts.down": local * y.feed_forward * h,
    }
    if y.shared:
        counts |= {
            f"{path}.shared.gate_up": h * (2 * y.shared + y.shared_gate),
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
    yield from _experts(shape, y, setting, path)
    yield _combine(shape, y, setting, path)
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


def _rows(mixture: Mixture, setting: Setting) -> int:
    """Tokens that reach the experts of a rank."""
    return setting.tokens * mixture.active


def _dispatch(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Layer:
    """Return the way of tokens to experts; its backward pass is a combine of gradients."""
    name = f"{path}.dispatch"
    rows = _rows(mixture, setting)
    sent = setting.expert_parallel.dispatch
    return _exchange(
        Layer(
            name=name,
            module=name,
            reads=(f"{path}.router.norm", f"{path}.router.scores"),
            writes={name: _message(rows, shape.hidden, setting, sent)},
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
    size = _message(_rows(mixture, setting), shape.hidden, setting, back)
    return _exchange(
        Layer(
            name=name,
            module=name,
            reads=(f"{path}.experts.down",),
            writes={name: setting.activation(shape.hidden)},
            forward=Work(),
            gradient_bytes={f"{path}.experts.down": size},
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


def _experts(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Iterator[Layer]:
    """Yield the products of the experts that a rank holds, for the tokens that reach it."""
    module, h, f = f"{path}.experts", shape.hidden, mixture.feed_forward
    rows = _rows(mixture, setting)
    local = setting.expert_parallel.local_experts(mixture.experts)
    wide = product(
        setting,
        f"{module}.gate_up",
        module,
        f"{path}.dispatch",
        h,
        2 * f,
        parameters=local * h * 2 * f,
        rows=rows,
    )
    # Gradients leave in the model's format, whatever tokens came in.
    yield attrs.evolve(wide, gradient_bytes={f"{path}.dispatch": rows * h * setting.element_bytes})
    yield activation(setting, f"{module}.activation", module, f"{module}.gate_up", f, rows=rows)
    yield product(
        setting,
        f"{module}.down",
        module,
        f"{module}.activation",
        f,
        h,
        parameters=local * f * h,
        rows=rows,
    )


def _shared(shape: Shape, mixture: Mixture, setting: Setting, path: str) -> Iterator[Layer]:
    """Yield the part that every token goes through."""
    module, h, f = f"{path}.shared", shape.hidden, mixture.shared
    wide = 2 * f + mixture.shared_gate
    yield product(setting, f"{module}.gate_up", module, f"{path}.router.norm", h, wide)
    yield activation(setting, f"{module}.activation", module, f"{module}.gate_up", f)
    yield product(setting, f"{module}.down", module, f"{module}.activation", f, h)
