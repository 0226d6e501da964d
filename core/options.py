"""How to search: which solver, how long, how good."""

from __future__ import annotations

import math
from enum import StrEnum

from attrs import field, frozen

from parplan.errors import InputError


class MipForm(StrEnum):
    """How a MIP keeps what runs on one resource apart."""

    DISJUNCTIVE = "disjunctive"
    RANK_BASED = "rank-based"
    TIME_INDEXED = "time-indexed"


class MipProducts(StrEnum):
    """How a MIP says that two choices are made together."""

    SEPARATE = "separate"
    STANDARD = "standard"
    RLT = "rlt"
    COMPACT = "compact"


def _mip_form(name: str) -> MipForm:
    _check_name(name, MipForm, "mip_form")
    return MipForm(name)


def _mip_products(name: str) -> MipProducts:
    _check_name(name, MipProducts, "mip_products")
    return MipProducts(name)


def _check_name(name: str, kind: type[StrEnum], key: str) -> None:
    """Raise InputError for a name that is none of a kind, with those that are."""
    if name not in list(kind):
        raise InputError(f"'{name}' is none of {', '.join(kind)}", key=f"search.{key}")


@frozen
class SearchOptions:
    """What a search may use.

    Attributes
    ----------
    solver
        Name of a solver backend; empty lets parplan choose (CP-SAT where installed).
        ``"list"`` uses the list scheduler alone.
    time_limit_s
        Seconds for the whole search.
    gap
        Stop when the proven gap is at most this part of the value.
    workers
        Processes or threads that may run at the same time.
    seed
        Of everything random.
    mip_form, mip_products
        What a MIP solver is given: see docs/explanation/mip-forms.md. CP-SAT has no use for it.
    """

    solver: str = ""
    time_limit_s: float = 60.0
    gap: float = 0.0
    workers: int = 2
    seed: int = 0
    mip_form: MipForm = field(default=MipForm.DISJUNCTIVE, converter=_mip_form)
    mip_products: MipProducts = field(default=MipProducts.SEPARATE, converter=_mip_products)

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.time_limit_s) or self.time_limit_s <= 0:
            raise InputError(
                f"{self.time_limit_s} is no time limit; give seconds above zero",
                key="search.time_limit_s",
            )
        if not 0 <= self.gap < 1:
            raise InputError(f"{self.gap} is no gap; give 0 up to 1", key="search.gap")
        if self.workers < 1:
            raise InputError(f"{self.workers} workers; at least 1", key="search.workers")
