"""What is told where no plan exists: the requirements that clash, and changes that would help."""

from __future__ import annotations

from attrs import frozen


@frozen
class Clash:
    """One of several requirements that cannot all be kept.

    Attributes
    ----------
    rule
        Name of the constraint that demands it.
    text
        What it demands, in words.
    """

    rule: str
    text: str


@frozen
class Repair:
    """A change after which a plan exists.

    Attributes
    ----------
    text
        What to do, in words.
    kind
        ``"capacity"``: more of resources; ``"drop"``: requirements less; ``"modes"``: a strategy;
        ``"mixed"``: several of these together, which are its ``parts``; ``"advice"``: what the
        error says, and nothing more is known.
    what
        Names of the resources, the requirements, or the strategy and its blocks.
    least, enough
        For ``capacity``, more of each resource, or of all together where each has a part of its
        own: less than ``least`` is proven not to do, and with ``enough`` a plan was found.
    unit
        Of both.
    parts
        The changes that it consists of, where there are several; empty for one alone.
    fewest
        Whether fewer changes are proven not to do.
    """

    text: str
    kind: str
    what: tuple[str, ...]
    least: float | None = None
    enough: float | None = None
    unit: str = ""
    parts: tuple[Repair, ...] = ()
    fewest: bool = True
