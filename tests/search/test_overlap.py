"""Communication beside compute: found by the search, kept apart by coarsening, told by figures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import parplan
from parplan.figures import usage
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.improving.improvement import rule_portfolio
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher, prepare, schedule_by_rule
from parplan.search.placing.placement import Placer
from parplan.search.placing.splits import split
from tests.search.layers import LayerTimes, mixture_pipeline


def make_placer(registry: Registry, layers: int, devices: int, microbatches: int) -> Placer:
    problem = mixture_pipeline(layers, devices, microbatches)
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def best_schedule(placer: Placer, stages: tuple[int, ...]) -> Schedule:
    placement = split(placer, stages)
    assert placement is not None
    prepared = prepare(placer, placement)
    found = [schedule_by_rule(prepared, rule) for rule in rule_portfolio()]
    best = min((c for c in found if c is not None), key=lambda c: c.makespan)
    return Finisher(placer).finish(best)


@pytest.mark.parametrize(("microbatches", "exposed"), [(2, 1.0), (3, 0.0)])
def test_one_layer_is_proven_to_hide_its_exchanges(microbatches: int, exposed: float) -> None:
    """Two microbatches cannot hide the last of eight exchanges whole; three hide all twelve."""
    found = parplan.plan(mixture_pipeline(1, 1, microbatches), time_limit_s=30.0, workers=1)
    assert found.status == "optimal"
    (use,) = usage.device_use(found.schedule)
    assert found.value == LayerTimes().compute * microbatches + exposed
    assert use.exposed_s == exposed
    assert use.bubble == 0.0
    # Run one after another, as 1F1B runs passes, every exchange is exposed.
    by_hand = {row["name"]: row["makespan_s"] for row in found.provenance["baselines"]}
    assert by_hand["1f1b"] == microbatches * (LayerTimes().compute + 4 * LayerTimes().exchange)


def test_list_schedules_alone_hide_what_a_pipeline_exchanges(registry: Registry) -> None:
    """On four devices of two layers, exchanges of three tenths of all time cost a hundredth."""
    placer = make_placer(registry, 8, 4, 32)
    schedule = best_schedule(placer, (0, 1, 2, 3, 3, 2, 1, 0))
    figures = usage.summary(schedule)
    assert figures.exposed_s < 0.02 * figures.makespan_s
    compute = 32 * 2 * LayerTimes().compute
    for device in figures.devices:
        assert device.busy_s - device.exposed_s == compute
    assert figures.makespan_s < 1.1 * compute


def test_coarsening_keeps_compute_and_exchange_apart(registry: Registry) -> None:
    """No part holds two engines, or both ends of what runs between them on another engine."""
    placer = make_placer(registry, 6, 2, 4)
    placement = split(placer, (0, 1))
    assert placement is not None
    parts = placer.parts(placement)
    assert sorted(o for part in parts for o in part) == list(range(len(placer.blocks.block_of)))
    graph = placer.problem.graph
    for part in parts:
        (engines,) = {graph.operators[o].modes[0].engines for o in part}
        for o in part:
            for path in _ways(graph, o, set(part)):
                assert {graph.operators[i].modes[0].engines for i in path} == {engines}
    # Between any two operators of one kind there is an exchange, and each of them has a block.
    assert max(len(part) for part in parts) == 1
    assert prepare(placer, placement).coarse.problem is placer.problem  # nothing to merge


def _ways(graph: parplan.Graph, start: int, ends: set[int]) -> Iterator[list[int]]:
    """Yield the operators of each way from one operator to another of a set, a few steps long."""
    stack = [[start]]
    while stack:
        path = stack.pop()
        for t in graph.outputs[path[-1]]:
            for after in graph.consumers[t]:
                if after in ends:
                    yield [*path, after]
                elif len(path) < 6:
                    stack.append([*path, after])


def test_splits_balance_what_the_busiest_engine_does(registry: Registry) -> None:
    placer = make_placer(registry, 4, 2, 2)
    assert placer.busiest_engine == "compute"
    per_layer = [
        sum(row[0] for row in placer.loads[0][4 * layer : 4 * layer + 4]) for layer in range(4)
    ]
    assert per_layer == [LayerTimes().compute] * 4


def test_exposed_communication_is_what_runs_without_compute(registry: Registry) -> None:
    placer = make_placer(registry, 1, 1, 1)
    schedule = best_schedule(placer, (0,))
    (use,) = usage.device_use(schedule)
    # One microbatch: only the weight pass of the experts has an exchange (two seconds) beside it.
    assert use.exposed_s == 4 * LayerTimes().exchange - LayerTimes().exchange
    assert use.busy_s == schedule.makespan == LayerTimes().compute + use.exposed_s


def test_a_pair_of_dualpipe_overlaps_what_passes_alone_expose(registry: Registry) -> None:
    """The same orders with pairs run apart are slower; both keep every device's calls in order."""
    problem = mixture_pipeline(4, 4, 12)
    found = {}
    for name in ("dualpipe", "zb-h1"):
        compared = parplan.compare(problem, schedules=[name], time_limit_s=1.0, workers=1)
        found[name] = next(e for e in compared.entries if e.name.startswith(name))
    pair, alone = (usage.summary(found[n].plan.schedule) for n in ("dualpipe", "zb-h1"))
    assert alone.exposed_s == 12 * 4 * LayerTimes().exchange
    assert pair.exposed_s < 0.5 * alone.exposed_s
