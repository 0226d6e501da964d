"""How long the busiest engine must work, whatever the placement: a bound for steady states.

Every operator pays, for its cheapest alternative, the price of the engines it holds; all engines
together can earn one unit per tick. So for any prices, what is paid is a bound (linear programming
duality), and prices found by multiplicative weights (Arora, Hazan and Kale, 2012) make it good.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from attrs import frozen

from parplan.checking.columns import Real, Whole
from parplan.problem import Alternative, Problem

ROUNDS = 200
"""Steps of the search for prices; each is a product of a small matrix."""

SHRINK = 0.97
"""Each step changes prices by this much less than the one before."""

Pool = tuple[str, tuple[tuple[str, float], ...], tuple[tuple[str, int], ...], str]
"""Equal devices (kind, slowdown, engines) and one of their engines."""


@frozen(eq=False)
class _Loads:
    """Options of all items: ``use[option, pool]`` in ticks, options of an item side by side."""

    use: Real
    item: Real
    single: Real
    capacity: Real


def busiest_engine_ticks(problem: Problem) -> float:
    """Return ticks that some engine must be held for, in every schedule; 0 if nothing is held.

    Holds where the engines' capacities hold (the constraint ``devices``). O(operators x options).
    """
    loads = _loads(problem)
    if not loads.use.size:
        return 0.0
    first = np.flatnonzero(np.diff(loads.item, prepend=-1.0))
    best = float(np.minimum.reduceat(loads.single, first).max())
    weights = np.ones(len(loads.capacity))
    for step in 0.5 * SHRINK ** np.arange(ROUNDS):
        prices = weights / float(weights @ loads.capacity)
        paid = loads.use @ prices
        best = max(best, float(np.minimum.reduceat(paid, first).sum()))
        loaded = _load_of_cheapest(loads, paid, first) / loads.capacity
        if loaded.max() <= 0:
            break
        weights *= 1.0 + step * loaded / loaded.max()
    return best


def _load_of_cheapest(loads: _Loads, paid: Real, first: Whole) -> Real:
    """Return the load of each pool if every item takes its cheapest option."""
    least = np.repeat(np.minimum.reduceat(paid, first), np.diff(np.append(first, len(paid))))
    chosen = np.flatnonzero(paid == least)
    chosen = chosen[np.flatnonzero(np.diff(loads.item[chosen], prepend=-1.0))]
    return np.asarray(loads.use[chosen].sum(axis=0))


def _loads(problem: Problem) -> _Loads:
    pools: dict[Pool, int] = {}
    capacity: Counter[int] = Counter()
    for device in range(len(problem.cluster.devices)):
        for engine, count in problem.cluster.devices[device].engines.items():
            pool = pools.setdefault(_pool(problem, device, engine), len(pools))
            capacity[pool] += count
    rows: list[tuple[int, dict[int, float], float]] = []
    distinct: dict[int, list[Alternative]] = {}
    item = 0
    for operator, spec in enumerate(problem.graph.operators):
        alternatives = problem.alternatives[operator]
        # The alternatives of like operators are one and the same object.
        if id(alternatives) not in distinct:
            distinct[id(alternatives)] = _distinct(problem, alternatives)
        runs: dict[int, Counter[float]] = {}
        for m in problem.microbatches_of(operator):
            scales = runs.setdefault(problem.workload.group(m), Counter())
            scales[problem.workload.scale(m)] += 1
        samples = {problem.workload.scale(m): m for m in problem.microbatches_of(operator)}
        for scales in runs.values():
            for chosen in distinct[id(alternatives)]:
                ticks = sum(n * problem.ticks(operator, chosen, samples[s])
                            for s, n in scales.items())  # fmt: skip
                use: Counter[int] = Counter()
                single = 0.0
                for device in chosen.devices:
                    for engine in spec.modes[chosen.mode].engines:
                        use[pools[_pool(problem, device, engine)]] += ticks
                        carried = problem.cluster.devices[device].engines[engine]
                        single = max(single, ticks / carried)
                rows.append((item, dict(use), single))
            item += 1
    table = np.zeros((len(rows), len(pools)))
    for row, (_, uses, _) in enumerate(rows):
        for pool, amount in uses.items():
            table[row, pool] = amount
    used = table.any(axis=0)
    room = np.array([capacity[i] for i in range(len(pools))], dtype=np.float64)
    return _Loads(
        table[:, used],
        np.array([float(i) for i, _, _ in rows]),
        np.array([single for _, _, single in rows]),
        room[used],
    )


def _pool(problem: Problem, device: int, engine: str) -> Pool:
    spec = problem.cluster.devices[device]
    slow, engines = tuple(sorted(spec.slowdown.items())), tuple(sorted(spec.engines.items()))
    return spec.kind, slow, engines, engine


def _distinct(problem: Problem, alternatives: tuple[Alternative, ...]) -> list[Alternative]:
    """Return one alternative of each mode and kind of device; all of those on several devices."""
    found: dict[object, Alternative] = {}
    for chosen in alternatives:
        key: object = chosen.devices
        if len(chosen.devices) == 1:
            key = _pool(problem, chosen.devices[0], "")
        found.setdefault((chosen.mode, key), chosen)
    return list(found.values())
