"""Scenarios: seeded factors on the times of tasks and transfers, the same for every plan.

Each scenario has random streams of its own, one for tasks, one for transfers, one for devices.
Numbers are drawn for what a problem has, not for what a plan does with it, so in two plans of one
problem the same task has the same factor (common random numbers), and comparisons are sharp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from parplan.errors import InputError
from parplan.problem import STEP, Problem
from parplan.scheduling.network import Network
from parplan.scheduling.tables import Real, Whole
from parplan.simulation.noise import KIND_NAMES, TRANSFER, Noise

TASKS, DEVICES, STRAGGLERS, TRANSFERS = range(4)
"""Random streams of a scenario; a tensor's second target has one more, and so on."""

RESOLUTION = 2.0**-24
"""Factors are multiples of this: the last bit of an exponential differs between machines."""


@frozen(eq=False)
class Scenarios:
    """A number of scenarios of one problem, numbered from 0.

    Attributes
    ----------
    seed
        Scenario k of a seed is the same whatever ``count`` is.

    Raises
    ------
    InputError
        If there is no scenario, a straggler is no device of the problem, or all operators with
        noise of their own are of another.
    """

    problem: Problem
    noise: Noise
    count: int
    seed: int

    def __attrs_post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"{self.count} samples; at least 1", key="samples")
        if self.seed < 0:
            raise InputError(f"{self.seed} is no seed; give 0 or more", key="seed")
        known = self.problem.cluster.device_index
        for straggler in self.noise.stragglers:
            if straggler.device not in known:
                raise InputError(
                    f"straggler '{straggler.device}' is no device of cluster "
                    f"'{self.problem.cluster.name}', which has {', '.join(list(known)[:8])}",
                    key="straggler",
                )

        operators = self.noise.operators
        if operators and not operators.keys() & self.problem.graph.operator_index.keys():
            raise InputError(
                f"operator '{next(iter(operators))}' and all others with noise of their own are "
                f"not in problem '{self.problem.name}'",
                key="noise",
            )

    def factors(self, network: Network, at_once: int) -> Iterator[Real]:
        """Yield the factors of activities, ``(activities, scenarios)``, some scenarios at once."""
        facts, spreads = _facts(network), self._spreads(network)
        for first in range(0, self.count, at_once):
            last = min(first + at_once, self.count)
            rows = [self._factors(facts, spreads, scenario) for scenario in range(first, last)]
            yield np.ascontiguousarray(np.array(rows).T)

    def _factors(self, facts: _Facts, spreads: Real, scenario: int) -> Real:
        count = len(facts.devices)
        moves = np.zeros(len(facts.place))
        for rank in range(int(facts.rank.max(initial=-1)) + 1):
            drawn = self._normals(TRANSFERS + rank, scenario, facts.places)
            mine = facts.rank == rank
            moves[mine] = drawn[facts.place[mine]]
        normals = np.concatenate((self._normals(TASKS, scenario, count), moves))
        found = _lognormal(normals, spreads)
        found[:count] *= self.device_factors(scenario)[facts.devices].max(axis=1)
        return np.round(found / RESOLUTION) * RESOLUTION

    def _spreads(self, network: Network) -> Real:
        """Return the coefficient of variation of each activity."""
        spread, own = self.noise.spread, self.noise.operators
        operators = [
            own.get(o.name, spread.get(KIND_NAMES[o.kind], 0.0))
            for o in network.problem.graph.operators
        ]
        tasks = [operators[o] for o, _ in network.tasks]
        return np.array(tasks + [spread.get(TRANSFER, 0.0)] * len(network.transfers))

    def device_factors(self, scenario: int) -> Real:
        """Return what each device multiplies the times of its tasks with, for the whole step."""
        devices = self.problem.cluster.device_index
        found = _lognormal(
            self._normals(DEVICES, scenario, len(devices)),
            np.full(len(devices), self.noise.device_spread),
        )
        lots = self._generator(STRAGGLERS, scenario).random(len(devices))
        for straggler in self.noise.stragglers:
            device = devices[straggler.device]
            if lots[device] < straggler.probability:
                found[device] *= straggler.factor
        return found

    def _normals(self, stream: int, scenario: int, count: int) -> Real:
        return self._generator(stream, scenario).standard_normal(count)

    def _generator(self, stream: int, scenario: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, scenario, stream]))


@frozen(eq=False)
class _Facts:
    """What the scenarios need to know of a network's activities.

    Attributes
    ----------
    devices
        ``(tasks, size of the largest group)``; smaller groups name their first device again.
    place, rank, places
        A transfer's number among all (tensor, microbatch) of the problem, its rank among the
        targets of that tensor, and how many such numbers there are.
    """

    devices: Whole
    place: Whole
    rank: Whole
    places: int


def _facts(network: Network) -> _Facts:
    problem = network.problem
    groups = [network.alternative(task).devices for task in range(len(network.tasks))]
    widest = max(map(len, groups), default=1)
    devices = [group + group[:1] * (widest - len(group)) for group in groups]
    runs = problem.workload.microbatches - STEP
    table = np.array(network.transfers, dtype=np.int64).reshape(-1, 4)
    place = table[:, 0] * runs + table[:, 1] - STEP
    return _Facts(
        np.array(devices, dtype=np.int64).reshape(-1, widest),
        place,
        _rank(place, table[:, 3]),
        len(problem.graph.tensors) * runs,
    )


def _rank(place: Whole, target: Whole) -> Whole:
    """Return the rank of each target among those of the same place."""
    order = np.lexsort((target, place))
    begins = np.searchsorted(place[order], place[order], side="left")
    rank = np.empty(len(place), dtype=np.int64)
    rank[order] = np.arange(len(place)) - begins
    return rank


def _lognormal(normals: Real, spread: Real) -> Real:
    """Return factors of mean one and the given coefficients of variation."""
    variance = np.log1p(spread * spread)
    factors: Real = np.exp(np.sqrt(variance) * normals - variance / 2)
    return factors
