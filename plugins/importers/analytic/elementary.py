"""Layers that every transformer is made of: norms, linear products, gated activations.

T tokens, e bytes per activation; FLOP of a product T x n by n x m is 2 T n m, elementwise work
counts bytes only. ``rows`` is T, or more where tokens are copied to several experts.
"""

from __future__ import annotations

import attrs

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.shape import MASK_BYTES, STATISTICS_BYTES, Setting


def norm(
    setting: Setting,
    name: str,
    module: str,
    source: str,
    width: int,
    *,
    bias: bool = False,
    residual: bool = False,
) -> Layer:
    """Return a norm over ``width`` elements; its backward pass makes its weights' gradient.

    Parameters
    ----------
    bias
        Whether it is a layer norm, with a bias and a saved mean, instead of an RMS norm.
    residual
        Whether the input also goes past it: then its backward pass adds that gradient in.
    """
    size = setting.activation(width)
    count = width * (2 if bias else 1)
    saved = setting.tokens * STATISTICS_BYTES * (2 if bias else 1)
    statistics = {f"{name}.statistics": saved} if setting.training else {}
    weights = count * setting.weight_bytes
    moved = (4 if residual else 3) * size + weights + 2 * count * setting.gradient_bytes
    return Layer(
        name=name,
        module=module,
        reads=(source,),
        writes={name: size, **statistics},
        forward=Work((Kernel(0.0, 2 * size + weights),)),
        backward_input=Work((Kernel(0.0, moved),), (source, *statistics)),
        parameters=(name,),
        dtype=setting.dtype,
    )


def product(
    setting: Setting,
    name: str,
    module: str,
    source: str,
    inner: int,
    outer: int,
    *,
    parameters: int | None = None,
    rows: int | None = None,
) -> Layer:
    """Return a linear layer: 2 T n m FLOP in each pass; the weight pass reads the input.

    Parameters
    ----------
    parameters
        How many are read and updated; ``inner`` x ``outer`` if None.
    rows
        Rows of the input; the tokens of a microbatch if None.
    """
    rows = setting.tokens if rows is None else rows
    count = inner * outer if parameters is None else parameters
    flops = 2.0 * rows * inner * outer
    moved = rows * (inner + outer) * setting.element_bytes
    dense = Kernel(flops, moved + count * setting.weight_bytes)
    weight = Kernel(flops, moved + 2 * count * setting.gradient_bytes)
    return Layer(
        name=name,
        module=module,
        reads=(source,),
        writes={name: rows * outer * setting.element_bytes},
        forward=Work((dense,)),
        backward_input=Work((dense,)),
        backward_weight=Work((weight,), (source,)),
        parameters=(name,),
        dtype=setting.dtype,
    )


def activation(
    setting: Setting,
    name: str,
    module: str,
    source: str,
    inner: int,
    *,
    gated: bool = True,
    rows: int | None = None,
) -> Layer:
    """Return the elementwise function between two products, with the gate where there is one."""
    rows = setting.tokens if rows is None else rows
    size = rows * inner * setting.element_bytes
    wide = 2 * size if gated else size
    return Layer(
        name=name,
        module=module,
        reads=(source,),
        writes={name: size},
        forward=Work((Kernel(0.0, wide + size),)),
        backward_input=Work((Kernel(0.0, 2 * wide + size),), (source,)),
        dtype=setting.dtype,
    )


def with_kernel(layer: Layer, forward: Kernel, backward: Kernel | None = None) -> Layer:
    """Return the layer with another kernel after its forward and before its backward-input pass."""
    first = attrs.evolve(layer.forward, kernels=(*layer.forward.kernels, forward))
    inputs = layer.backward_input
    if backward is not None and inputs is not None:
        inputs = attrs.evolve(inputs, kernels=(backward, *inputs.kernels))
    return attrs.evolve(layer, forward=first, backward_input=inputs)


def with_mask(layer: Layer, setting: Setting, width: int, rows: int | None = None) -> Layer:
    """Return the layer with dropout of its result in training: a mask is saved for each pass.

    Forward writes the mask; backward reads it, and reads and writes the gradient once more.
    """
    if not setting.training:
        return layer
    elements = (setting.tokens if rows is None else rows) * width
    mask, masked = f"{layer.name}.mask", elements * MASK_BYTES
    again = Kernel(0.0, 2 * elements * setting.element_bytes + masked)
    layer = with_kernel(layer, Kernel(0.0, masked), again)
    inputs, weights = layer.backward_input, layer.backward_weight
    return attrs.evolve(
        layer,
        writes={**layer.writes, mask: masked},
        backward_input=inputs and attrs.evolve(inputs, saved=(*inputs.saved, mask)),
        backward_weight=weights and attrs.evolve(weights, saved=(*weights.saved, mask)),
    )
