"""Pipelines: prototypes' tables and measured models, each row planned through the ordinary API."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import attrs

from benchmarks import mixture, robust, unequal
from benchmarks.cases import Case, Context, Outcome
from benchmarks.pipeline_specs import Layout, Pipeline

CASES = "pipelines/cases.csv"
PROFILES, RESULTS = "zero-bubble/profiled.csv", "zero-bubble/results.csv"

FAMILIES = {
    "dualpipe": CASES,
    "tight": CASES,
    "scale": CASES,
    "extra": CASES,
    "free": CASES,
    "zero-bubble": RESULTS,
}
"""The families, and the file of the public data that each is made from."""

LIMITS_S = {"dualpipe": 2.0, "tight": 120.0, "scale": 30.0, "extra": 120.0, "free": 60.0}
LARGE_DUALPIPE_S = 5.0
"""Seconds of a whole process, imports and check included; the last one from 64 devices on."""

SCARCE_DUALPIPE_S = 120.0
"""The same where devices keep fewer activations than DualPipe does (one more than devices)."""

ZERO_BUBBLE_S = 60.0

SECONDS_PER_TASK = 40e-6
"""What is kept back of the limit for checking and writing the plan."""

SHORT = frozenset(
    {
        "dualpipe/p8-m20",
        "tight/one-way-p8-m24-unit-delay0-cap8-W",
        "tight/mirrored-p8-m20-unit-delay0.3-cap12-W",
        "scale/one-way-p64-m64",
        "free/p4-m10",
    }
)

RELEASED = {"W": 0.0, "half": 0.5, "B": 1.0}
"""Part of an activation that the backward pass for the inputs releases, by a row's ``release``."""

Row = Mapping[str, str]


def cases(data: Path | None) -> tuple[Case, ...]:
    """Return the cases of the suite; one that cannot run for each family without its data."""
    found = []
    for family, source in FAMILIES.items():
        if data is None or not (data / source).exists():
            found.append(Case(f"{family}/*", _nothing, needs=source, short=True))
        elif family == "zero-bubble":
            found += _zero_bubble(data)
        else:
            found += _tables(family, data)
    return (*found, *mixture.cases(data), *robust.cases(), *unequal.cases())


def _nothing(context: Context) -> Outcome:
    raise FileNotFoundError("this family is made from public data, which is missing")


def plan_pipeline(
    pipeline: Pipeline, reference: float | None, source: str, context: Context
) -> Outcome:
    """Plan a pipeline within what is left of the time limit for the whole process."""
    from parplan.api import load_registry, plan
    from parplan.spec.sections import parse_spec

    registry = load_registry()
    used = time.process_time() + pipeline.tasks * SECONDS_PER_TASK
    found = plan(
        parse_spec(json.dumps(pipeline.spec())),
        registry=registry,
        time_limit_s=max(context.time_limit_s - used, 0.3 * context.time_limit_s),
    )
    return Outcome(
        plan=found,
        registry=registry,
        reference=reference,
        reference_source=source if reference is not None else None,
    )


# -- the tables of prototypes ----------------------------------------------------------------------


def _tables(family: str, data: Path) -> Iterator[Case]:
    """Yield the rows of a family; ``free`` and ``extra`` are made from those of others."""
    for row in _rows(data / CASES):
        origin, _, name = row["case"].partition("/")
        pipeline = _pipeline(row)
        known = float(row["best_known"]) if row["best_known"] else None
        note = f"best known of {row['case']}"
        if family == "free" and origin == "dualpipe":
            pipeline = attrs.evolve(pipeline, layout=Layout.FREE)
            yield _case(family, name, pipeline, known, f"{note}, placed as DualPipe does")
        elif family == "extra" and origin == "tight" and pipeline.delay_s:
            pipeline = attrs.evolve(pipeline, links=True)
            yield _case(family, f"{name}-link", pipeline, None, "")
        elif family == origin:
            yield _case(family, name, pipeline, known, note)


def _case(family: str, name: str, pipeline: Pipeline, reference: float | None, source: str) -> Case:
    limit = LIMITS_S[family]
    scarce = pipeline.cap_bytes <= pipeline.devices * pipeline.saved_bytes
    if family == "dualpipe" and scarce:
        limit = SCARCE_DUALPIPE_S
    elif family == "dualpipe" and pipeline.devices >= 64:
        limit = LARGE_DUALPIPE_S
    full = f"{family}/{name}"
    pipeline = attrs.evolve(pipeline, name=full)
    run = partial(plan_pipeline, pipeline, reference, source)
    return Case(full, run, needs=FAMILIES[family], time_limit_s=limit, short=full in SHORT)


def _pipeline(row: Row) -> Pipeline:
    """Return the pipeline of a row; an activation has two bytes, so that it can go by halves."""
    return Pipeline(
        name=row["case"],
        devices=int(row["p"]),
        microbatches=int(row["m"]),
        layout=Layout(row["placement"]),
        forward_s=float(row["F"]),
        backward_s=float(row["B"]),
        weight_s=float(row["W"]),
        delay_s=float(row["delay"]),
        saved_bytes=2,
        released_at_backward=RELEASED[row["release"]],
        cap_bytes=2 * int(row["cap"]),
        tick_s=0.1,
    )


# -- measured models -------------------------------------------------------------------------------

V_LIMITS = {
    "1p(=2p chunks)": ("1p", lambda p: 2 * p),
    "~p/2": ("half", lambda p: p + 2),
    "~p/3": ("min", lambda p: math.ceil(2 * (p + 4) / 3)),
}
"""Name and chunk activations of each memory limit of a V-shaped schedule: V-Half and V-Min take
(p + 2)/2 and (p + 4)/3 of one device's share (Qi et al. 2024, arXiv 2405.15362)."""

ONE_WAY_LIMITS = {"p": 1.0, "1p": 1.0, "1.5p": 1.5, "2p-1": 2.0, "2p": 2.0}
"""Stage activations per device, by the limit that results name."""


def _zero_bubble(data: Path) -> Iterator[Case]:
    """Yield each measured model at each memory limit, by both measures."""
    results = list(_rows(data / RESULTS))
    for row in _rows(data / PROFILES):
        mine = [r for r in results if all(r[k] == row[k] for k in ("set", "model", "p", "m"))]
        limits: dict[tuple[Layout, str, int], list[Row]] = {}
        devices = int(row["p"])
        for result in mine:
            if result["mem_limit"] in V_LIMITS:
                name, chunks = V_LIMITS[result["mem_limit"]]
                key = (Layout.V, name, chunks(devices))
            else:
                times = ONE_WAY_LIMITS[result["mem_limit"]]
                key = (Layout.ONE_WAY, f"{times:g}p", math.floor(times * devices))
            limits.setdefault(key, []).append(result)
        for (layout, name, activations), rows in limits.items():
            yield from _measured(row, layout, name, activations, rows)


def _measured(
    row: Row, layout: Layout, limit: str, activations: int, results: list[Row]
) -> Iterator[Case]:
    """Yield the case of each measure; memory is 34h + 5as of which B releases 2h + 5as."""
    hidden, heads, tokens = int(row["hidden"]), int(row["heads"]), 1024
    saved, early = 34 * hidden + 5 * heads * tokens, 2 * hidden + 5 * heads * tokens
    # Times are of a stage or of half a stage, as the set lists them.
    share = {("per-stage", Layout.V): 0.5, ("per-chunk", Layout.ONE_WAY): 2.0}.get(
        (row["split"], layout), 1.0
    )
    measures = (("span", "stage-span", "stage_span_us"), ("makespan", "makespan", "makespan_us"))
    for suffix, objective, column in measures:
        model = f"{row['set']}-{row['model']}-p{row['p']}-m{row['m']}"
        name = f"zero-bubble/{model}-{layout}-{limit}-{suffix}"
        pipeline = Pipeline(
            name=name,
            devices=int(row["p"]),
            microbatches=int(row["m"]),
            layout=layout,
            forward_s=share * int(row["f_us"]) * 1e-6,
            backward_s=share * int(row["b_us"]) * 1e-6,
            weight_s=share * int(row["w_us"]) * 1e-6,
            delay_s=int(row["comm_us"]) * 1e-6,
            saved_bytes=saved,
            released_at_backward=early / saved,
            cap_bytes=activations * saved,
            tick_s=0.5e-6,
            objective=objective,
        )
        best = min(results, key=lambda r: float(r[column]))
        run = partial(
            plan_pipeline, pipeline, float(best[column]) * 1e-6, f"{best['method']}, re-run"
        )
        yield Case(name, run, needs=RESULTS, time_limit_s=ZERO_BUBBLE_S)


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
