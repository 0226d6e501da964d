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
        ``"capacity"``: more of resources; ``"drop"``: a requirement less; ``"modes"``: a strategy;
        ``"advice"``: what the error says, and nothing more is known.
    what
        Names of the resources, the requirement, or the strategy.
    least, enough
        For ``capacity``, more of each resource: less than ``least`` is proven not to do, and with
        ``enough`` a plan was found.
    unit
        Of both.
    """

    text: str
    kind: str
    what: tuple[str, ...]
    least: float | None = None
    enough: float | None = None
    unit: str = ""
