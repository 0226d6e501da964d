"""Hand-made schedules on blocks that are pinned just as the recipes place theirs.

Such a schedule needs no split and no network of its own, so it is there long before recipes have
been compared on all their splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parplan import clock
from parplan.contracts import Strategy
from parplan.errors import InputError, PluginError
from parplan.search.hand_made.recipes import FittedRecipe, fit
from parplan.search.hand_made.turns import schedule_by_turns
from parplan.search.placing.evaluation import Candidate, Prepared, recipe_orders, schedule_by_orders
from parplan.search.placing.placement import Placer
from parplan.system.collector import collector_paused

MOST_CHUNKS = 4
"""Most stages per device that are tried."""


def recipe_candidates(
    placer: Placer, prepared: Prepared, recipes: Sequence[Strategy], deadline: float
) -> Iterator[tuple[str, Candidate]]:
    """Yield (name, schedule) of each recipe whose stages lie where the blocks are.

    As it is, and with its forward and backward passes alone in its order (see ``turns``). Variants
    of the problem are left out, as is what raises: the comparison with hand-made schedules says
    what it was.

    Parameters
    ----------
    deadline
        On ``parplan.clock``.
    """
    order = tuple(dict.fromkeys(prepared.placement[0]))
    stages = len(set(prepared.stage_of_block))
    for recipe in recipes:
        for chunks in range(1, MOST_CHUNKS + 1):
            if clock.now() > deadline:
                return
            try:
                fitted = fit(placer, recipe, len(order), chunks)
                if fitted is None or fitted.shape.stages != stages:
                    continue
                if not fitted.note and _lies_so(fitted, prepared, order):
                    yield from _schedules(prepared, fitted)
            except (InputError, PluginError):
                continue


@collector_paused()
def _schedules(prepared: Prepared, fitted: FittedRecipe) -> list[tuple[str, Candidate]]:
    """Return (name, schedule) of a recipe and of its turns, if there are any."""
    recipe = fitted.recipe
    orders = recipe_orders(prepared, recipe, fitted.shape, fitted.numbering)
    found = {
        recipe.name: schedule_by_orders(prepared, orders, fused=recipe.fused_backward),
        f"{recipe.name} with weight passes put anew": schedule_by_turns(prepared, orders),
    }
    return [(name, candidate) for name, candidate in found.items() if candidate is not None]


def _lies_so(fitted: FittedRecipe, prepared: Prepared, order: Sequence[int]) -> bool:
    """Return whether the stages of a recipe are on the devices of the blocks."""
    placements = fitted.shape.placements
    if len(placements) not in (1, len(prepared.placement)):
        return False
    rows = [tuple(order[ranks[stage]] for stage in prepared.stage_of_block) for ranks in placements]
    return all(rows[group % len(rows)] == row for group, row in enumerate(prepared.placement))
