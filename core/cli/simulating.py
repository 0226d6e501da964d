"""``parplan simulate``: a plan under random times."""

from __future__ import annotations

from pathlib import Path

import click

from parplan.cli.common import Settings, colour_wanted, json_option, load_registry, plugin_option
from parplan.cli.output import emit, emit_json


@click.command("simulate")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--noise",
    default="0.05",
    show_default=True,
    metavar="NOISE",
    help="Spread of times: a number for all, KIND=NUMBER,..., a YAML file, or measured costs.",
)
@click.option(
    "--straggler",
    "stragglers",
    multiple=True,
    metavar="DEVICE=FACTOR[@PROBABILITY]",
    help="A slow device, always or in some steps; may be given several times.",
)
@click.option("--samples", default=200, show_default=True, metavar="N", help="How many scenarios.")
@click.option("--seed", default=0, show_default=True, metavar="S", help="Of the scenarios.")
@json_option
@plugin_option
@click.pass_obj
def simulate_command(
    settings: Settings,
    plan: Path,
    noise: str,
    stragglers: tuple[str, ...],
    samples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Replay the orders of PLAN under random task and transfer times.

    Tells how long a step takes on average and at worst, and which device decides it.
    """
    from parplan import api
    from parplan.plan_files.plan_file import load_plan
    from parplan.simulation.noise import read_noise
    from parplan.simulation.text import simulation_text

    found = api.simulate(
        load_plan(plan),
        noise=read_noise(noise, stragglers),
        samples=samples,
        seed=seed,
        registry=load_registry(settings),
    )
    if as_json:
        emit_json(found.to_dict())
    else:
        emit(simulation_text(found, colour=colour_wanted()))
