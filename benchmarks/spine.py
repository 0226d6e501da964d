"""The spine: job shops, measured profiles, the demonstration, and the cost of modelling."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from benchmarks.cases import Case, Context, Outcome, beside_hand_made
from benchmarks.jobshop import load_jsplib, raw_cp_sat, size
from benchmarks.overhead import compare_models, random_shop
from parplan.api import load_registry, plan
from parplan.problem import Problem
from parplan.registry import Registry

ROOT = Path(__file__).resolve().parent.parent

JOB_SHOPS = ("ft06", "la01", "la02", "la05", "la19", "ft10", "orb01", "la21")

PROFILES = {
    name: f"pipedream/profiler/{family}/profiles/{name}/graph.txt"
    for family, names in {
        "image_classification": (
            "alexnet",
            "inception_v3",
            "nasnetalarge",
            "resnet101",
            "resnet18",
            "resnet50",
            "resnext101",
            "resnext50",
            "squeezenet1_0",
            "vgg16",
        ),
        "translation": ("gnmt",),
    }.items()
    for name in names
}
"""Files of the PipeDream profiles in the public data."""

SPECS = {
    "llama-3-8b": "examples/specs/llama-3-8b-h100-a100.yaml",
    "rack-power": "examples/rack-power/specs/rack-power.yaml",
}

SIZES = (100, 1_000, 10_000)
"""Intervals in the models of family overhead."""


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of the suite, which are the same whatever data there is."""
    shops = [
        Case(
            f"jobshop/{name}",
            partial(job_shop_case, name),
            needs="jsplib/instances.json",
            time_limit_s=60.0,
            short=name in ("ft06", "la01"),
        )
        for name in JOB_SHOPS
    ]
    profiles = [
        Case(
            f"profiles/{name}-{workload}",
            partial(profile_case, path, workload),
            needs=path,
            time_limit_s=30.0,
            short=name in ("alexnet", "gnmt"),
        )
        for name, path in PROFILES.items()
        for workload in ("training", "inference")
    ]
    demo = [
        Case(f"demo/{name}", partial(spec_case, path), time_limit_s=60.0, short=True)
        for name, path in SPECS.items()
        if (ROOT / path).exists()
    ]
    overhead = [
        Case(f"overhead/{count}", partial(overhead_case, count), short=count < SIZES[-1])
        for count in SIZES
    ]
    return (*shops, *profiles, *demo, *overhead)


def job_shop_case(name: str, context: Context) -> Outcome:
    """Plan a job shop, and compare our model of it with the hand-written one."""
    entries = json.loads(context.file("jsplib/instances.json").read_text(encoding="utf-8"))
    entry = next(e for e in entries if e["name"] == name)
    path = context.file(f"jsplib/{entry['path']}")
    problem, registry = load_jsplib(path), load_registry()
    details = compare_models(problem, lambda: raw_cp_sat(path), size, registry)
    found = plan(problem, registry=registry, solver="cp-sat", time_limit_s=context.time_limit_s)
    optimum = entry.get("optimum")
    return Outcome(
        plan=found,
        registry=registry,
        reference=None if optimum is None else float(optimum),
        reference_source=None if optimum is None else "optimum, JSPLIB instances.json",
        details=details,
    )


def profile_case(path: str, workload: str, context: Context) -> Outcome:
    """Plan a PipeDream profile on four V100 behind PCIe 3.

    Training: 8 microbatches of the profiled batch; inference: one batch, as fast as it goes.
    """
    from parplan.spec.sections import parse_spec

    spec = {
        "name": f"{Path(path).parent.name}-{workload}",
        "model": {
            "kind": "pipedream",
            "file": str(context.file(path).resolve()),
            "options": {"device_kind": "v100", "workload": workload},
        },
        "cluster": {
            "devices": [
                {"preset": "v100-sxm2-16gb", "count": 4, "node": "server", "name": "v{}"},
            ],
            "intra": {"preset": "pcie3-x16"},
            "reserve_bytes": "1 GiB",
        },
        "workload": {"kind": workload, "microbatches": 8 if workload == "training" else 1},
    }
    registry = load_registry()
    found = plan(parse_spec(json.dumps(spec)), registry=registry, time_limit_s=context.time_limit_s)
    return beside_hand_made(found, registry, found.provenance.get("baselines", ()), "baselines")


def spec_case(path: str, context: Context) -> Outcome:
    """Plan a spec of the examples."""
    registry = _registry_for(ROOT / path)
    found = plan(ROOT / path, registry=registry, time_limit_s=context.time_limit_s)
    return beside_hand_made(found, registry, found.provenance.get("baselines", ()), "baselines")


def overhead_case(count: int, context: Context) -> Outcome:
    """Time model, lowering and writer at a number of intervals, beside hand-written CP-SAT."""
    jobs = random_shop(count // 10, 10, seed=count)
    from benchmarks.jobshop import hand_written, job_shop

    problem: Problem = job_shop(f"random-{count}", jobs)
    details = compare_models(problem, lambda: hand_written(jobs), size, load_registry())
    return Outcome(
        value=details["seconds"],
        reference=details["hand_written_seconds"],
        reference_source="the same model written by hand for CP-SAT, seconds to build",
        solver="cp-sat",
        details=details,
    )


def _registry_for(spec: Path) -> Registry:
    """Return the registry, with the example's own plugin where it is not installed."""
    registry = load_registry()
    folder = spec.parent.parent
    for module in sorted(folder.glob("parplan_*.py")):
        if not any(
            entry.plugin.replace("-", "_") in module.stem for entry in registry.constraints.values()
        ):
            import sys

            sys.path.insert(0, str(folder))
            registry = load_registry([module.stem])
    return registry
