"""What each rank sends to the next in a collective that goes round a ring."""

from __future__ import annotations

from attrs import frozen

from parplan.plugins.importers.chakra.nodes import Collective


@frozen
class Ring:
    """Bytes that each rank sends to the next, in how many steps; both 0 where it is not known."""

    bytes: int = 0
    steps: int = 0


def ring(what: Collective | None, size: int, ranks: int) -> Ring:
    """Return what a collective moves.

    Of ``size`` S and n ranks: all-reduce 2 (n-1) S/n in 2 (n-1) steps, reduce-scatter and
    all-to-all (n-1) S/n, all-gather (n-1) S, since S is what a rank gives (ASTRA-sim,
    ``collective/Ring.cc``); broadcast S.

    >>> ring(Collective.ALL_REDUCE, 8, 4)
    Ring(bytes=12, steps=6)
    """
    hops = ranks - 1
    match what:
        case Collective.ALL_REDUCE:
            return Ring(2 * hops * size // ranks, 2 * hops)
        case Collective.REDUCE_SCATTER | Collective.REDUCE_SCATTER_BLOCK | Collective.ALL_TO_ALL:
            return Ring(hops * size // ranks, hops)
        case Collective.ALL_GATHER:
            return Ring(hops * size, hops)
        case Collective.BROADCAST:
            return Ring(size, hops)
        case _:
            return Ring()
