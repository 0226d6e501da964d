"""Device placement of DNN graphs (NeurIPS 2020), beside that project's programs.

Throughput: the load of the busiest device, contiguous and free. Latency: the time of one sample.
"""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, Context, Outcome
from benchmarks.dnn_partitioning_files import MS, operator_name, read_workload
from parplan.api import load_registry, plan
from parplan.problem import Problem, Rule
from parplan.rules import make_rules
from parplan.search.partitioning.annealing import load_of
from parplan.search.partitioning.instance import make_instance
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer

FOLDER = "dnn-partitioning"

GRAPHS = {
    "LayerGraphs": (
        "bert24_inference",
        "bert24_training",
        "inceptionv3_inference",
        "inceptionv3_training",
        "resnet50_inference",
        "resnet50_training",
    ),
    "OperatorGraphs": (
        "bert_l-3_inference",
        "bert_l-3_training",
        "bert_l-12_inference",
        "bert_L-12_training",
        "resnet50_inference",
        "resnet50_training",
    ),
}

CP_SAT_MS = {
    "La_bert24_inference": 17.715,
    "La_bert24_training": 39.790,
    "La_resnet50_inference": 33.505,
    "Op_bert_l-3_inference": 21.908,
}
"""What plain CP-SAT found within 30 s on 2 workers, where it was tried."""

LATENCY_MS = {
    "La_bert24_inference": 100.219,
    "La_inceptionv3_inference": 2485.24,
    "La_resnet50_inference": 4197.06,
    "Op_bert_l-3_inference": 416.204,
    "Op_bert_l-12_inference": 867.839,
    "Op_resnet50_inference": 839.536,
}
"""What that project's greedy program takes for one sample, by the names in ``dp_results.csv``."""

CONTIGUOUS = ("DP", "DPL", "pipedream", "expert", "oneFpga")
"""Programs whose partitions are contiguous."""

SHORT = "La_bert24_inference"

STEADY_STATE = Rule("steady-state", {"leaves_once": True})


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of the family."""
    throughput = [
        Case(
            f"{FOLDER}/throughput-{how}-{name(folder, workload)}",
            partial(throughput_case, folder, workload, contiguous=how == "contiguous"),
            needs=f"{FOLDER}/dp_results.csv",
            time_limit_s=120.0,
            short=name(folder, workload) == SHORT,
        )
        for how in ("contiguous", "free")
        for folder, workloads in GRAPHS.items()
        for workload in workloads
    ]
    latency = [
        Case(
            f"{FOLDER}/latency-{name(folder, workload)}",
            partial(latency_case, folder, workload),
            needs=f"{FOLDER}/dp_results.csv",
            time_limit_s=120.0,
        )
        for folder, workloads in GRAPHS.items()
        for workload in workloads
        if name(folder, workload) in LATENCY_MS
    ]
    return (*throughput, *latency)


def name(folder: str, workload: str) -> str:
    """Return a workload's name in ``dp_results.csv``."""
    return f"{folder[:2]}_{workload}"


def throughput_case(folder: str, workload: str, context: Context, *, contiguous: bool) -> Outcome:
    """Plan for the least load of the busiest device; reference: the best figure there is.

    Of a contiguous case, that of programs whose partitions are contiguous, too.
    """
    path = context.file(f"{FOLDER}/throughput-inputs/{folder}/{workload}.json")
    problem = read_workload(path, STEADY_STATE, contiguous=contiguous)
    registry = load_registry()
    found = plan(problem, registry=registry, time_limit_s=context.time_limit_s)
    row = published(context, name(folder, workload))
    if name(folder, workload) in CP_SAT_MS:
        row["CP-SAT"] = CP_SAT_MS[name(folder, workload)]
    fair = [program for program in row if program in CONTIGUOUS or not contiguous]
    best = min(fair, key=row.__getitem__)
    details = {"milliseconds": row}
    experts = context.file(f"{FOLDER}/human-experts/{workload}_expert.json")
    if folder == "LayerGraphs" and experts.exists():
        details["expert_recomputed_ms"] = {"expert": expert_load(problem, experts) / MS}
    return Outcome(
        plan=found,
        registry=registry,
        reference=row[best] * MS,
        reference_source=f"{best}, dp_results.csv" if best != "CP-SAT" else "plain CP-SAT, 30 s",
        details=details,
    )


def latency_case(folder: str, workload: str, context: Context) -> Outcome:
    """Plan for the shortest time of one sample; reference: that project's greedy program."""
    path = context.file(f"{FOLDER}/latency-inputs/{folder}/{workload}.json")
    problem = read_workload(path, Rule("makespan"), in_turn=True)
    registry = load_registry()
    return Outcome(
        plan=plan(problem, registry=registry, time_limit_s=context.time_limit_s),
        registry=registry,
        reference=LATENCY_MS[name(folder, workload)] * MS,
        reference_source="greedy, dnn-partitioning",
    )


def published(context: Context, workload: str) -> dict[str, float]:
    """Return the maximal load in ms by each program that found one."""
    text = context.file(f"{FOLDER}/dp_results.csv").read_text(encoding="utf-8")
    (row,) = (row for row in csv.DictReader(text.splitlines()) if row["workload"] == workload)
    ends = "_max_load"
    return {
        key.removesuffix(ends): float(row[key]) for key in row if key.endswith(ends) and row[key]
    }


def expert_load(problem: Problem, experts: Path) -> float:
    """Return the seconds per sample of a split made by hand."""
    given = json.loads(experts.read_text(encoding="utf-8"))
    rules = make_rules(problem, load_registry())
    placer = Placer(problem, rules, find_blocks(problem, rules))
    loading = rules.objectives[0].loading()
    assert loading is not None  # the objective is a steady state
    instance = make_instance(placer, loading)
    assert instance is not None  # every block may run on a CPU
    index = problem.graph.operator_index
    device_of = np.zeros(len(placer.blocks), dtype=np.int64)
    count = len(given["fpgas"])
    for device, part in enumerate((*given["fpgas"], *given["cpus"])):
        home = device if device < count else len(problem.cluster.devices) - 1
        for node in part["nodes"]:
            device_of[placer.blocks.block_of[index[operator_name(node)]]] = home
    return load_of(instance, device_of) * problem.tick_s
