"""What stands before and behind a stack: embeddings of tokens and patches, head and losses.

Token numbers, pixels and labels are inputs and not counted.
"""

from __future__ import annotations

import attrs
from attrs import frozen

from parplan.differentiation import Layer, Work
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.elementary import norm, product, with_mask
from parplan.plugins.importers.analytic.model import Model
from parplan.plugins.importers.analytic.shape import MASK_BYTES, STATISTICS_BYTES, Setting, Shape


def token_embedding(shape: Shape, setting: Setting, name: str, table: str) -> Model:
    """Return the look-up of rows; the backward pass adds into the rows of the gradient.

    Parameters
    ----------
    table
        The parameter group of the rows, which others may read, too.
    """
    x, s = shape, setting
    size = s.activation(x.hidden)
    rows = s.tokens * x.hidden * s.weight_bytes * (2 if x.positions else 1)
    dropped = s.tokens * x.hidden * MASK_BYTES if x.embedding_dropout and s.training else 0
    mask = {f"{name}.mask": dropped} if dropped else {}
    update = size + dropped + 2 * s.tokens * x.hidden * s.gradient_bytes
    counts = {table: x.vocabulary * x.hidden}
    if x.positions:
        counts[f"{name}.positions"] = x.positions * x.hidden
    layer = Layer(
        name=name,
        module=name,
        reads=(),
        writes={name: size, **mask},
        forward=Work((Kernel(0.0, rows + size + dropped),)),
        backward_weight=Work((Kernel(0.0, update),), tuple(mask)),
        parameters=tuple(counts),
        dtype=s.dtype,
    )
    return Model((layer,), counts)


def final_norm(shape: Shape, setting: Setting, name: str, source: str) -> Model:
    """Return the norm behind a stack, with its dropout if there is one."""
    layer = norm(setting, name, name, source, shape.hidden, bias=shape.norm_bias)
    if shape.final_dropout:
        layer = with_mask(layer, setting, shape.hidden)
    return Model((layer,), {name: shape.norm_parameters})


def head_and_loss(shape: Shape, setting: Setting, source: str, table: str) -> Model:
    """Return the product with the vocabulary, and in training the cross-entropy.

    Parameters
    ----------
    table
        The parameter group of the embedding, which a tied head reads.
    """
    count = shape.vocabulary * shape.hidden
    group = table if shape.tied else "head"
    head = _head(shape, setting, source, group)
    layers = (head, _loss(shape, setting)) if setting.training else (head,)
    return Model(layers, {} if shape.tied else {group: count})


def _head(shape: Shape, setting: Setting, source: str, group: str) -> Layer:
    """Return the product with the vocabulary: 2 T h V FLOP, logits in fp32."""
    x, s = shape, setting
    tokens = s.tokens if s.training else s.microbatch
    count = x.vocabulary * x.hidden
    layer = product(s, "head", "head", source, x.hidden, x.vocabulary)
    logits = tokens * x.vocabulary * s.logit_bytes
    flops = 2.0 * tokens * x.hidden * x.vocabulary
    moved = tokens * x.hidden * s.element_bytes + logits + count * s.weight_bytes
    return attrs.evolve(
        layer,
        writes={"head": logits},
        forward=Work((Kernel(flops, moved),)),
        parameters=(group,),
    )


def _loss(shape: Shape, setting: Setting) -> Layer:
    """Return the cross-entropy; the gradient of the logits has the model's dtype."""
    x, s = shape, setting
    logits = s.tokens * x.vocabulary * s.logit_bytes
    gradient = s.activation(x.vocabulary)
    return Layer(
        name="loss",
        module="loss",
        reads=("head",),
        writes={"loss.log_sum_exp": s.tokens * STATISTICS_BYTES},
        forward=Work((Kernel(0.0, logits),)),
        backward_input=Work((Kernel(0.0, logits + gradient),), ("head", "loss.log_sum_exp")),
        gradient_bytes={"head": gradient},
        dtype=s.dtype,
    )


@frozen
class Patches:
    """A square image cut into square patches.

    Attributes
    ----------
    image, patch
        Pixels along a side.
    channels
        Values per pixel; of several frames if a patch reaches over these.
    """

    image: int
    patch: int
    channels: int = 3

    @property
    def count(self) -> int:
        """Patches of an image."""
        return (self.image // self.patch) ** 2

    @property
    def values(self) -> int:
        """Values of a patch."""
        return self.channels * self.patch**2


def patch_embedding(
    shape: Shape, setting: Setting, patches: Patches, name: str, *, learned: bool
) -> Model:
    """Return the product of patches with a matrix (ViT).

    2 N p^2 c h FLOP for N patches of p x p pixels with c channels; nothing has a gradient of the
    pixels, so the backward pass is that for weights alone.

    Parameters
    ----------
    setting
        Its sequence is N, or N + 1 with a class token.
    learned
        Whether a learned class token comes first, and learned positions are added.
    """
    s, h = setting, shape.hidden
    size = s.activation(h)
    rows = s.microbatch * patches.count
    pixels = rows * patches.values * s.element_bytes
    counts = {f"{name}.patches": patches.values * h}
    if learned:
        counts |= {f"{name}.class": h, f"{name}.positions": s.sequence * h}
    flops = 2.0 * rows * patches.values * h
    count = sum(counts.values())
    forward = Kernel(flops, pixels + size + count * s.weight_bytes)
    backward = Kernel(flops, pixels + size + 2 * count * s.gradient_bytes)
    layer = Layer(
        name=name,
        module=name,
        reads=(),
        writes={name: size},
        forward=Work((forward,)),
        backward_weight=Work((backward,)),
        parameters=tuple(counts),
        dtype=s.dtype,
    )
    return Model((layer,), counts)


def pooled_norm(shape: Shape, setting: Setting, name: str, source: str) -> Model:
    """Return the norm of one token per sequence, picked from ``source``.

    The gradient goes back to all tokens, so the backward pass writes it in full.
    """
    one = attrs.evolve(setting, sequence=1)
    layer = norm(one, name, name, source, shape.hidden, bias=shape.norm_bias)
    picked = layer.backward_input
    assert picked is not None  # a norm has that pass
    spread = Kernel(0.0, setting.activation(shape.hidden))
    whole = attrs.evolve(picked, kernels=(*picked.kernels, spread))
    return Model((attrs.evolve(layer, backward_input=whole),), {name: shape.norm_parameters})
