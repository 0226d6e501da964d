"""Pins, bans, and what goes together, apart or in turn."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.graph import Kind, Repeat
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.workload import Workload
from tests.examples import block, chain, placed, recomputing, ruled


def breaks(problem: Problem, registry: Registry, **places: Any) -> bool:
    """Whether a placement breaks the placement rule, and no other."""
    found = check_schedule(placed(problem, **places), make_rules(problem, registry))
    assert {v.rule for v in found} <= {"placement"}
    return bool(found)


def test_pinned_operators_stay_on_their_devices(registry: Registry) -> None:
    problem = ruled(chain(3, devices=3), "placement", pin={"o[12]": ["g1", "g2"]})
    assert not breaks(problem, registry, o0="g0", o1="g1", o2="g2")
    assert breaks(problem, registry, o0="g0", o1="g1", o2="g0")
    rules = make_rules(problem, registry)
    assert [len(rows) for rows in rules.allowed] == [3, 2, 2]


def test_forbidden_devices_by_pattern(registry: Registry) -> None:
    problem = ruled(chain(2, devices=3), "placement", forbid={"o1": ["g[01]"]})
    assert breaks(problem, registry, o1="g1")
    assert not breaks(problem, registry, o1="g2")


def test_forbidden_modes(registry: Registry) -> None:
    problem = recomputing(block(2))
    problem = ruled(problem, "placement", forbid_modes={"layers.0": ["recompute"]})
    light = ("recompute", "g0")
    one = {"layers.1:forward": light, "layers.1:backward": light}
    zero = {"layers.0:forward": light, "layers.0:backward": light}
    assert not breaks(problem, registry, **one)
    assert breaks(problem, registry, **zero)


def test_together_and_apart(registry: Registry) -> None:
    problem = chain(3, devices=2)
    together = ruled(problem, "placement", together=[["o0", "o2"]])
    assert not breaks(together, registry, o1="g1")
    assert breaks(together, registry, o2="g1")
    apart = ruled(problem, "placement", apart=[["o0", "o2"]])
    assert breaks(apart, registry, o1="g1")
    assert not breaks(apart, registry, o2="g1")


def test_passes_of_a_module_share_a_device(registry: Registry) -> None:
    problem = block(2, devices=2)
    assert not breaks(problem, registry, **{"layers.1:backward": "g1"})
    problem = ruled(problem, "placement", modules_together=True)
    assert breaks(problem, registry, **{"layers.1:backward": "g1"})
    both = {"layers.1:forward": "g1", "layers.1:backward": "g1"}
    assert not breaks(problem, registry, **both)


def test_the_same_mode(registry: Registry) -> None:
    problem = ruled(recomputing(block(2)), "placement", same_mode=[["layers.*:backward"]])
    light = ("recompute", "g0")
    assert breaks(problem, registry, **{"layers.1:backward": light})
    both = {"layers.0:backward": light, "layers.1:backward": light}
    assert not breaks(problem, registry, **both)


def test_order_holds_for_each_microbatch(registry: Registry) -> None:
    problem = chain(2, devices=2, microbatches=2)
    free = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=()))
    assert not breaks(ruled(free, "placement", order=[["o0", "o1"]]), registry, o1="g1")
    assert breaks(ruled(free, "placement", order=[["o1", "o0"]]), registry, o1="g1")


def two_ways(problem: Problem) -> Problem:
    """Two microbatches, each a placement group, pinned through two devices the other way round."""
    problem = attrs.evolve(problem, workload=Workload(microbatches=2, groups=(0, 1)))
    there, back = {"o0": ["g0"], "o1": ["g1"]}, {"o0": ["g1"], "o1": ["g0"]}
    return ruled(problem, "placement", groups=[{"pin": there}, {"pin": back}])


def test_a_placement_group_has_pins_of_its_own(registry: Registry) -> None:
    problem = two_ways(chain(2, devices=2))
    rules = make_rules(problem, registry)
    names = [d.name for d in problem.cluster.devices]
    chosen = [
        [names[problem.alternatives[o][row].devices[0]] for (row,) in by_group]
        for o, by_group in enumerate(rules.allowed_by_group)
    ]
    assert chosen == [["g0", "g1"], ["g1", "g0"]]
    wrong = {v.message for v in check_schedule(placed(problem, o0="g0", o1="g1"), rules)}
    assert wrong == {
        "'o0' (microbatch 1) on g0 uses device 'g0', which is forbidden in placement group 1",
        "'o1' (microbatch 1) on g1 uses device 'g1', which is forbidden in placement group 1",
    }


def test_what_runs_once_per_step_obeys_group_0(registry: Registry) -> None:
    problem = chain(2, devices=2)
    last = attrs.evolve(problem.graph.operators[1], repeat=Repeat.STEP)
    graph = attrs.evolve(problem.graph, operators=(problem.graph.operators[0], last))
    rules = make_rules(two_ways(attrs.evolve(problem, graph=graph)), registry)
    assert [len(by_group) for by_group in rules.allowed_by_group] == [2, 1]
    assert [problem.alternatives[1][row].devices for row in rules.allowed[1]] == [(1,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"groups": [{}, {}]},
            "groups: has 2 entries for 1 placement groups; say which microbatch",
        ),
        ({"groups": [{"pin": {"o1": ["g7"]}}]}, r"groups\[0\].pin.o1: no device matches 'g7'"),
        ({"groups": [{"pins": {}}]}, r"groups\[0\].pins: unknown key 'pins'; did you mean 'pin'"),
        ({"pin": {"o7": ["g0"]}}, "pin.o7: no operator or module matches 'o7'; known: o0, o1"),
        ({"pin": {"o1": ["g7"]}}, "pin.o1: no device matches 'g7'; known: g0, g1"),
        ({"pin": {"o1": []}}, "pin.o1: names no device"),
        ({"forbid_modes": {"o1": ["fast"]}}, "none of them has a mode 'fast'; modes: default"),
        ({"apart": [["o1", "o1"]]}, r"apart\[0\]: means only 'o1'; it takes two operators"),
        ({"order": [["o1", "o*"]]}, r"order\[0\]: 'o1' cannot run after itself"),
        ({"pin": {"o1": "g0"}}, "'g0' is no list"),
    ],
)
def test_bad_options_are_named(
    options: dict[str, object], message: str, registry: Registry
) -> None:
    with pytest.raises(InputError, match=message):
        make_rules(ruled(chain(2, devices=2), "placement", **options), registry)


def test_contiguous_devices_stand_in_a_row_in_each_pass(registry: Registry) -> None:
    problem = ruled(chain(4, devices=2), "placement", contiguous=True)
    assert not breaks(problem, registry, o0="g0", o1="g0", o2="g1", o3="g1")
    assert breaks(problem, registry, o0="g0", o1="g1", o2="g1", o3="g0")
    operators = tuple(
        attrs.evolve(o, kind=Kind.BACKWARD if o.name in ("o2", "o3") else Kind.FORWARD)
        for o in problem.graph.operators
    )
    # Backward passes may come back: their row is one of its own.
    problem = attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))
    assert not breaks(problem, registry, o0="g0", o1="g1", o2="g1", o3="g0")
