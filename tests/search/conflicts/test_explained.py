"""What is said of problems without a plan, beside full enumeration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.contracts import Answer, Availability, Capability, SolveOptions, Solver
from parplan.declarations import Declaration
from parplan.errors import InfeasibleError, LimitError
from parplan.graph import ParameterGroup, Tensor
from parplan.options import SearchOptions
from parplan.plugins.solvers import cp_sat
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.schedule import Schedule
from parplan.search.conflicts.capacities import Extra, least_extra
from parplan.search.conflicts.explained import explained
from parplan.search.conflicts.possibility import Possibility
from parplan.search.conflicts.requirements import only, requirements
from parplan.search.orchestrator import search
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.examples import block, chain, recomputing, ruled
from tests.exhaustive import TooLargeError, shortest_schedule

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
NODES = 30_000
ANY = InfeasibleError("no plan")


class Here(Solver):
    """CP-SAT in this process, which saves a start for every question."""

    name = "here"
    capabilities = frozenset({Capability.CP})

    def probe(self) -> Availability:
        return Availability(True)

    def solve(
        self, model: object, options: SolveOptions, warm_start: object = None, report: object = None
    ) -> Answer:
        return cp_sat.solve_here(None, model, options)


ENDLESS = Possibility(Here(), 1, True, math.inf)


def _with_memory(problem: Problem, memory: Iterable[int | None]) -> Problem:
    devices = zip(problem.cluster.devices, memory, strict=True)
    changed = tuple(attrs.evolve(d, memory_bytes=size) for d, size in devices)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=changed))


def _relaxed(rules: Rules) -> Problem:
    """The problem with the limits of its devices and links that these rules still keep."""
    kept = {resource.name for _, resource in rules.resources}
    problem, cluster = rules.problem, rules.problem.cluster
    devices = tuple(
        attrs.evolve(
            d,
            memory_bytes=d.memory_bytes if f"{d.name}.memory" in kept else None,
            engines={e: n if f"{d.name}.{e}" in kept else 99 for e, n in d.engines.items()},
        )
        for d in cluster.devices
    )
    links = tuple(
        attrs.evolve(k, capacity=k.capacity if k.name in kept else None) for k in cluster.links
    )
    return attrs.evolve(problem, cluster=attrs.evolve(cluster, devices=devices, links=links))


def _enumerated(rules: Rules) -> Schedule | None:
    """What full enumeration finds under rules."""
    return shortest_schedule(
        _relaxed(rules),
        NODES,
        lambda s: not check_schedule(Schedule(rules.problem, s.tasks, s.transfers), rules),
        pause=4,
    )


@st.composite
def _scarce(draw: st.DrawFn) -> tuple[Problem, tuple[Declaration, ...]]:
    """Small problems with little memory, and with a rule or two."""
    problem = draw(small_problems(3, 2, 4))
    sizes = [draw(st.sampled_from([None, 2, 4, 6])) for _ in problem.cluster.devices]
    problem = _with_memory(problem, sizes)
    return problem, draw(st.just(()) | declarations(problem))


@settings(max_examples=examples(12), suppress_health_check=QUIET)
@given(drawn=_scarce())
def test_the_clash_has_no_schedule_and_has_one_without_any_of_its_members(
    drawn: tuple[Problem, tuple[Declaration, ...]], registry: Registry
) -> None:
    rules = with_declared(drawn[0], registry, drawn[1])
    assume(ENDLESS.of(rules).possible is False)
    found = explained(ANY, rules, registry, ENDLESS)
    assume(found is not ANY)  # routes and modes alone leave nothing
    members = [m for m in requirements(rules) if m.clash in found.clashes]
    assert len(members) == len(found.clashes) > 0
    try:
        assert _enumerated(only(rules, members)) is None
        for member in members:
            rest = [other for other in members if other is not member]
            assert _enumerated(only(rules, rest)) is not None
        dropped = [set(r.what) for r in found.repairs if r.kind == "drop"]
        for texts in dropped:
            rest = [m for m in requirements(rules) if m.clash.text not in texts]
            assert _enumerated(only(rules, rest)) is not None
    except TooLargeError:
        reject()


@settings(max_examples=examples(15), suppress_health_check=QUIET)
@given(problem=small_problems(3, 2, 4), spare=st.sampled_from([None, 6, 12]))
def test_the_least_memory_is_that_of_full_enumeration(
    problem: Problem, spare: int | None, registry: Registry
) -> None:
    others = [spare] * (len(problem.cluster.devices) - 1)
    problem = _with_memory(problem, [1, *others])
    rules = make_rules(problem, registry)
    assume(ENDLESS.of(rules).possible is False)
    names = [getattr(d.what, "name", "") for d in rules.declared]
    extra = least_extra(rules, [names.index("g0.memory")], ENDLESS)
    most = 0 if extra is None else round(extra.enough)
    try:
        for more in range(most or 60):
            assert shortest_schedule(_with_memory(problem, [1 + more, *others]), NODES) is None
        if extra is not None:
            assert extra.least == extra.enough == most
            assert shortest_schedule(_with_memory(problem, [1 + most, *others]), NODES) is not None
    except TooLargeError:
        reject()


def _told(problem: Problem, registry: Registry) -> InfeasibleError:
    rules = make_rules(problem, registry)
    return explained(ANY, rules, registry, ENDLESS)


def test_pins_and_memory_that_clash_are_named_and_every_repair_works(registry: Registry) -> None:
    # Each device has room for one operator's output; the pins want both on the first.
    outputs = tuple(Tensor(f"out{i}", f"o{i}", (), 2, output=True) for i in range(2))
    problem = chain(2, devices=2, size=0)
    graph = attrs.evolve(problem.graph, tensors=(*problem.graph.tensors, *outputs))
    problem = _with_memory(attrs.evolve(problem, graph=graph), [2, 2])
    told = _told(ruled(problem, "placement", pin={"*": ("g0",)}), registry)
    assert [clash.text for clash in told.clashes] == [
        "g0.memory holds 2 B at most",
        "'o0' on g0 only",
        "'o1' on g0 only",
    ]
    assert told.conflict == ("memory", "placement")
    assert [(r.kind, r.text) for r in told.repairs] == [
        ("capacity", "give g0.memory 2 B more"),
        ("drop", "drop: 'o0' on g0 only"),
        ("drop", "drop: 'o1' on g0 only"),
    ]
    roomy = ruled(_with_memory(problem, [4, 2]), "placement", pin={"*": ("g0",)})
    assert ENDLESS.of(make_rules(roomy, registry)).possible is True


def test_rules_of_placement_that_clash_are_told_apart(registry: Registry) -> None:
    together, apart = (("o0", "o2"), ("o1", "o2")), (("o0", "o1"),)
    told = _told(ruled(chain(4, devices=3), "placement", together=together, apart=apart), registry)
    assert [clash.text for clash in told.clashes] == [
        "'o0' and 'o2' in one device group",
        "'o1' and 'o2' in one device group",
        "'o0' and 'o1' on different devices",
    ]


def test_a_route_that_is_missing_between_pins_is_named(registry: Registry) -> None:
    problem = chain(2, devices=2)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=()))
    told = _told(ruled(problem, "placement", pin={"o0": ("g0",), "o1": ("g1",)}), registry)
    assert [clash.text for clash in told.clashes] == ["'o0' on g0 only", "'o1' on g1 only"]
    assert "there is no route" in str(told)


def test_several_clashes_are_mended_together(registry: Registry) -> None:
    together, apart = (("o0", "o1"), ("o2", "o3")), (("o0", "o1"), ("o2", "o3"))
    told = _told(ruled(chain(4, devices=2), "placement", together=together, apart=apart), registry)
    assert len(told.clashes) == 2
    assert len(told.repairs) == 4  # one of each pair
    for repair in told.repairs:
        assert (repair.kind, len(repair.what), repair.fewest) == ("drop", 2, True)
        assert {text[:13] for text in repair.what} == {"'o0' and 'o1'", "'o2' and 'o3'"}


def test_two_devices_that_are_too_small_are_told_in_one_repair(registry: Registry) -> None:
    problem = _with_memory(chain(2, devices=2, size=4), [3, 3])
    told = _told(ruled(problem, "placement", pin={"o0": ("g0",), "o1": ("g1",)}), registry)
    (repair,) = [r for r in told.repairs if r.kind == "capacity"]
    assert repair.what == ("g0.memory", "g1.memory")
    assert (repair.least, repair.enough) == (2.0, 2.0)
    assert [(part.what, part.enough) for part in repair.parts] == [
        (("g0.memory",), 1.0),
        (("g1.memory",), 1.0),
    ]


def test_recomputation_is_offered_for_no_more_blocks_than_it_takes(registry: Registry) -> None:
    # Three layers keep 4 bytes each: with 13 bytes instead of 14 one of them must recompute.
    told = _told(_with_memory(block(3), [13]), registry)
    modes = next(r for r in told.repairs if r.kind == "modes")
    assert modes.what in [("recompute", f"layers.{i}") for i in range(3)]
    assert modes.text == f"use strategy 'recompute' for '{modes.what[1]}'"
    others = {f"layers.{i}" for i in range(3)} - {modes.what[1]}
    mended = ruled(recomputing(_with_memory(block(3), [13])), "recomputation", never=sorted(others))
    assert ENDLESS.of(make_rules(mended, registry)).possible is True


def test_without_time_the_proof_stands_as_it_is(registry: Registry) -> None:
    rules = make_rules(ruled(chain(2), "placement", order=(("o1", "o0"),)), registry)
    assert explained(ANY, rules, registry, attrs.evolve(ENDLESS, until=0.0)) is ANY


def test_a_proof_that_cannot_be_repeated_stands_with_the_memory_that_is_enough(
    registry: Registry,
) -> None:
    proven = InfeasibleError("a solver proves that no plan exists")
    rules = make_rules(_with_memory(block(2), [9]), registry)
    told = explained(proven, rules, registry, attrs.evolve(ENDLESS, solver=None))
    assert told.clashes == ()
    assert str(told) == "a solver proves that no plan exists; give g0.memory 1 B more"


def test_routes_that_are_missing_for_every_rule_are_told_as_they_are(registry: Registry) -> None:
    problem = chain(2, devices=2)
    cluster = attrs.evolve(problem.cluster, links=())
    tied = [
        attrs.evolve(o, modes=(attrs.evolve(o.modes[0], groups=((f"g{i}",),)),))
        for i, o in enumerate(problem.graph.operators)
    ]
    graph = attrs.evolve(problem.graph, operators=tuple(tied))
    rules = make_rules(attrs.evolve(problem, graph=graph, cluster=cluster), registry)
    assert explained(ANY, rules, registry, ENDLESS) is ANY


@pytest.mark.slow
def test_a_search_says_what_clashes(registry: Registry) -> None:
    problem = _with_memory(chain(2, size=2**31), [2**31 + 2**30])
    operator = attrs.evolve(problem.graph.operators[1], modes=(
        attrs.evolve(problem.graph.operators[1].modes[0], workspace_bytes=2**31),
    ))  # fmt: skip
    graph = attrs.evolve(problem.graph, operators=(problem.graph.operators[0], operator))
    problem = attrs.evolve(problem, graph=graph)
    options = SearchOptions(solver="cp-sat", time_limit_s=60.0, workers=1)
    with pytest.raises(InfeasibleError, match=r"give g0.memory 1.00 GiB more$") as caught:
        search(problem, make_rules(problem, registry), registry, options)
    assert re.match(r"no plan keeps all of: g0.memory holds 3.00 GiB at most", str(caught.value))


def test_list_schedules_say_with_how_much_more_memory_they_found_a_plan(
    registry: Registry,
) -> None:
    problem = _with_memory(block(2), [9])
    options = SearchOptions(solver="list", time_limit_s=60.0, workers=1)
    with pytest.raises(LimitError, match=r"with \d+ B more on each device a plan was found"):
        search(problem, make_rules(problem, registry), registry, options)


def test_the_least_that_is_told_of_many_devices_is_counted(registry: Registry) -> None:
    """Parameters of 9 bytes on three devices of 2: one each more is needed, and enough."""
    problem = chain(3, devices=3, size=0)
    groups = tuple(ParameterGroup(f"w{i}", 3) for i in range(3))
    operators = tuple(
        attrs.evolve(o, parameters=(g.name,))
        for o, g in zip(problem.graph.operators, groups, strict=True)
    )
    graph = attrs.evolve(problem.graph, operators=operators, parameters=groups)
    problem = _with_memory(attrs.evolve(problem, graph=graph), [2, 2, 2])
    rules = make_rules(problem, registry)
    lists = attrs.evolve(ENDLESS, solver=None)
    names = [getattr(d.what, "name", "") for d in rules.declared]
    positions = [names.index(f"g{i}.memory") for i in range(3)]
    assert least_extra(rules, positions, lists) == Extra(1.0, 1.0)
