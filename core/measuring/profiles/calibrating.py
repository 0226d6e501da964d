"""From profiles of a model's modules to measured costs of its operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from parplan.errors import InputError
from parplan.measuring.calibrating import WARM_UP, Group, Member, measured_operators
from parplan.measuring.measured_costs import EVERY_KIND, MeasuredCosts
from parplan.measuring.profiles.joining import Joined, join
from parplan.measuring.profiles.profile import Profile
from parplan.problem import Problem


def calibrate_profiles(
    profiles: Sequence[Profile], problem: Problem, kind: str = "", warm_up: int = WARM_UP
) -> tuple[MeasuredCosts, tuple[Joined, ...]]:
    """Return the costs of a problem's operators in profiles, and how each profile was joined.

    A profile times one microbatch, of scale 1. What operators that it does not tell apart have of
    their time is as the problem has it.

    Parameters
    ----------
    kind
        Kind of the device that ran; empty: all that the cluster has, if it is one.
    warm_up
        Runs that are left out at the beginning of each profile; one remains in any case.

    Raises
    ------
    InputError
        If the kind is not in the cluster, or has to be said; if nothing belongs to an operator.
    """
    known = tuple(dict.fromkeys(device.kind for device in problem.cluster.devices))
    if kind and kind not in known:
        raise InputError(
            f"the cluster has no device of kind '{kind}', but {', '.join(known)}", key="--kind"
        )
    if not kind and len(known) > 1:
        raise InputError(
            f"say which kind of device was profiled, of {', '.join(known)}", key="--kind"
        )
    joined = tuple(join(profile, problem.graph, warm_up) for profile in profiles)
    samples: dict[Group, list[float]] = defaultdict(list)
    for one in joined:
        for names, seconds in one.samples.items():
            samples[tuple(Member(name, "", kind or EVERY_KIND) for name in names)] += seconds

    def planned(member: Member) -> float:
        operator = problem.graph.operators[problem.graph.operator_index[member.operator]]
        return operator.modes[0].seconds_on(kind or known[0]) or 0.0

    source = "; ".join(dict.fromkeys(profile.source for profile in profiles))
    return MeasuredCosts(source, measured_operators(samples, planned)), joined
