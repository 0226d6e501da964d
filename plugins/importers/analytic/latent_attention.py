"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), as it is trained.

Keys and values are expanded to all heads; the form that absorbs the expansion is for decoding.
T tokens, s positions, b sequences, a heads, n + r elements of a query or key head without and with
rotary positions, v of a value head: 2 s^2 b a (n + r + v) FLOP forward, twice that backward.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from parplan.differentiation import Layer, Work
from parplan.errors import InputError
from parplan.graph import Kernel
from parplan.plugins.importers.analytic.attention import pairs
from parplan.plugins.importers.analytic.elementary import norm, product, with_kernel
from parplan.plugins.importers.analytic.shape import (
    STATISTICS_BYTES,
    LatentAttention,
    Setting,
    Shape,
)


def latent_counts(shape: Shape, latent: LatentAttention, path: str) -> dict[str, int]:
    """Return the parameters of each group behind the block's norm."""
    x, y = shape, latent
    head = y.plain_head + y.rotary_head
    queries = (
        {
            f"{path}.query_down": x.hidden * y.query_rank,
            f"{path}.query_norm": y.query_rank,
            f"{path}.query": y.query_rank * x.heads * head,
        }
        if y.query_rank
        else {f"{path}.query": x.hidden * x.heads * head}
    )
    return queries | {
        f"{path}.key_value_down": x.hidden * (y.key_value_rank + y.rotary_head),
        f"{path}.key_value_norm": y.key_value_rank,
        f"{path}.key_value": y.key_value_rank * x.heads * (y.plain_head + y.value_head),
        f"{path}.output": x.heads * y.value_head * x.hidden,
    }


def latent_attention(
    shape: Shape, latent: LatentAttention, setting: Setting, path: str, source: str
) -> Iterator[Layer]:
    """Yield the layers from ``path.norm`` to ``path.output``, to which ``source`` is added.

    Raises
    ------
    InputError
        If sequence x sequence matrices are asked for; latent attention is made as flash only.
    """
    if not setting.flash:
        raise InputError("latent attention keeps no sequence x sequence matrix; use 'flash'")
    x, y, s = shape, latent, setting
    head = y.plain_head + y.rotary_head
    start, rank = f"{path}.norm", x.hidden
    if y.query_rank:
        yield product(s, f"{path}.query_down", path, start, x.hidden, y.query_rank)
        yield norm(s, f"{path}.query_norm", path, f"{path}.query_down", y.query_rank)
        start, rank = f"{path}.query_norm", y.query_rank
    query = product(s, f"{path}.query", path, start, rank, x.heads * head)
    yield with_kernel(query, *_turned(s, x.heads * y.rotary_head))
    narrow = y.key_value_rank + y.rotary_head
    down = product(s, f"{path}.key_value_down", path, f"{path}.norm", x.hidden, narrow)
    yield with_kernel(down, *_turned(s, y.rotary_head))
    yield norm(s, f"{path}.key_value_norm", path, f"{path}.key_value_down", y.key_value_rank)
    yield product(
        s,
        f"{path}.key_value",
        path,
        f"{path}.key_value_norm",
        y.key_value_rank,
        x.heads * (y.plain_head + y.value_head),
    )
    yield _core(x, y, s, path)
    inner = x.heads * y.value_head
    output = product(s, f"{path}.output", path, f"{path}.core", inner, x.hidden)
    output = attrs.evolve(output, reads=(*output.reads, source), residual=(source,))
    yield with_kernel(output, Kernel(0.0, 3 * s.activation(x.hidden)))


def _turned(setting: Setting, width: int) -> tuple[Kernel, Kernel]:
    """Rotary embedding, in place: reads and writes what it turns, both ways."""
    turn = Kernel(0.0, 2 * setting.activation(width))
    return turn, turn


def _core(shape: Shape, latent: LatentAttention, setting: Setting, path: str) -> Layer:
    """Return the attention itself; the rotary part of the key is read from the narrow layer."""
    x, y, s = shape, latent, setting
    name = f"{path}.core"
    head = y.plain_head + y.rotary_head
    flops = 2.0 * pairs(x, s) * s.microbatch * x.heads * (head + y.value_head)
    sources = (f"{path}.query", f"{path}.key_value", f"{path}.key_value_down")
    read = s.activation(x.heads * (head + y.plain_head + y.value_head) + y.rotary_head)
    out = s.activation(x.heads * y.value_head)
    sums = s.tokens * x.heads * STATISTICS_BYTES
    saved = {f"{name}.log_sum_exp": sums} if s.training else {}
    return Layer(
        name=name,
        module=path,
        reads=sources,
        writes={name: out, **saved},
        forward=Work((Kernel(flops, read + out + sums),)),
        backward_input=Work(
            (Kernel(2 * flops, 2 * read + 2 * out + sums),), (*sources, name, *saved)
        ),
        gradient_bytes={f"{path}.key_value_down": s.activation(y.rotary_head)},
        dtype=s.dtype,
    )
