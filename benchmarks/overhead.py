"""What modelling costs: seconds, size and memory of our model beside one written by hand."""

from __future__ import annotations

import multiprocessing
import random
import resource
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.jobshop import Jobs
from parplan.model.cp_sat_writer import write_cp_sat
from parplan.model.schedule_model import ScheduleModel
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules

Figures = dict[str, Any]


def random_shop(jobs: int, machines: int, seed: int) -> Jobs:
    """Return a job shop with whole durations from 1 to 99, every job on every machine."""
    chance = random.Random(seed)
    return [
        [(m, chance.randint(1, 99)) for m in chance.sample(range(machines), machines)]
        for _ in range(jobs)
    ]


def compare_models(
    problem: Problem,
    by_hand: Callable[[], Any],
    size: Callable[[Any], tuple[int, int]],
    registry: Registry,
) -> Figures:
    """Return figures of our model and of the hand-written one, each made in a fork of its own.

    ``seconds`` is from the problem to the solver's model: rules, Pyomo model, lowering and writer.
    """
    ours = in_fork(lambda: _ours(problem, registry, size))
    theirs = in_fork(lambda: _theirs(by_hand, size))
    return {**ours, **{f"hand_written_{key}": value for key, value in theirs.items()}}


def _ours(problem: Problem, registry: Registry, size: Callable[[Any], tuple[int, int]]) -> Figures:
    started = time.perf_counter()
    rules = make_rules(problem, registry)
    model = ScheduleModel(rules)
    built = time.perf_counter()
    written = write_cp_sat(model.pyomo)
    ended = time.perf_counter()
    variables, constraints = size(written.model)
    return {
        "seconds": ended - started,
        "build_seconds": built - started,
        "write_seconds": ended - built,
        "variables": variables,
        "constraints": constraints,
    }


def _theirs(by_hand: Callable[[], Any], size: Callable[[Any], tuple[int, int]]) -> Figures:
    started = time.perf_counter()
    model = by_hand()
    ended = time.perf_counter()
    variables, constraints = size(model)
    return {"seconds": ended - started, "variables": variables, "constraints": constraints}


def in_fork(work: Callable[[], Figures]) -> Figures:
    """Return what ``work`` returns in a fork of this process, with the ``mib`` it added there."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_forked, args=(work, send))
    child.start()
    send.close()
    try:
        found: Figures = receive.recv()
    finally:
        child.join()
    return found


def _forked(work: Callable[[], Figures], send: Any) -> None:
    import_module("ortools.sat.python.cp_model")  # its import is no part of either figure

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    send.send({**found, "mib": (after - before) / 1024})
