"""A simulation as people read it."""

from __future__ import annotations

from parplan.figures.plan import Table
from parplan.simulation.noise import DISTRIBUTION
from parplan.simulation.results import Simulation
from parplan.terminal import render, shown
from parplan.text import percent_text, plain, seconds_text

SHOWN = 10
"""Places that are listed at most; the JSON has them all."""


def simulation_text(simulation: Simulation, *, colour: bool = False) -> str:
    """Return the statistics of the makespan and the table of places."""
    low, high = simulation.interval_s
    late = simulation.delay_s / simulation.planned_s if simulation.planned_s else 0.0
    rows = [
        ("noise", f"{simulation.noise}; {DISTRIBUTION}"),
        ("samples", f"{simulation.samples}, seed {simulation.seed}"),
        ("planned", seconds_text(simulation.planned_s)),
        (
            "mean",
            f"{seconds_text(simulation.mean_s)}, {seconds_text(low)} to {seconds_text(high)} "
            f"(95% confidence); {percent_text(late)} over the plan",
        ),
        ("deviation", seconds_text(simulation.deviation_s)),
        ("median", seconds_text(simulation.quantile_s(0.5))),
        ("95% within", seconds_text(simulation.quantile_s(0.95))),
    ]
    head = "\n".join(f"{name:<12}{plain(text)}" for name, text in rows) + "\n"
    return render([head, shown(place_table(simulation))], colour=colour)


def place_table(simulation: Simulation) -> Table:
    """Return the first few places on longest paths, those that lead most often first."""
    return Table(
        "What decides it",
        ("place", "", "leads", "of the makespan", "mean falls by"),
        [
            (
                place.name,
                place.kind,
                percent_text(place.leads),
                percent_text(place.critical),
                "-" if place.relief_s is None else seconds_text(place.relief_s),
            )
            for place in simulation.places[:SHOWN]
        ],
        2,
    )
