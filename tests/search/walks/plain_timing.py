"""The timing of `parplan.search.walks.kernel` in plain Python: its twin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from attrs import define, field

from parplan.search.walks.course import Course

F, B, W = range(3)


@define
class _Stage:
    low: int
    high: int
    device: int
    next: list[int] = field(factory=lambda: [0, 0, 0])
    sent: list[float] = field(factory=lambda: [0.0, 0.0])
    arrived: dict[tuple[int, int], float] = field(factory=dict)
    """(kind, microbatch) of what is there, and since when."""


class _Run:
    """One schedule under way."""

    def __init__(self, course: Course, walk: list[int], policy: list[int], share: float) -> None:
        self.blocks, self.reserve, self.releases = course
        self.policy = policy
        places = itertools.groupby(range(len(walk)), key=lambda b: walk[b])
        runs = [(device, list(row)) for device, row in places]
        self.stages = [_Stage(row[0], row[-1] + 1, device) for device, row in runs]
        self.free = dict.fromkeys(walk, 0.0)
        self.kept: dict[int, dict[int, float]] = {d: {} for d in walk}
        self.taken: dict[int, dict[int, float]] = {d: {} for d in walk}
        self.room = {d: float(self.blocks.usable[d]) * share - self.beside(d) for d in walk}
        for stage in self.stages:
            self.room[stage.device] -= self.sum(self.blocks.parameters, stage)
        for k, release in enumerate(self.releases):
            self.stages[0].arrived[F, k] = float(release)

    def sum(self, table: Sequence[float], stage: _Stage) -> float:
        return float(table[stage.high] - table[stage.low])

    def saved(self, stage: _Stage) -> float:
        return self.sum(self.blocks.until_backward, stage) + self.sum(
            self.blocks.until_weight, stage
        )

    def beside(self, device: int) -> float:
        return max(
            self.sum(self.blocks.between, stage) + float(self.reserve[b])
            for stage in self.hosted(device)
            for b in range(stage.low, stage.high)
        )

    def hosted(self, device: int) -> list[_Stage]:
        return [stage for stage in self.stages if stage.device == device]

    def whole(self, device: int) -> float:
        return sum(map(self.saved, self.hosted(device)))

    def fits(self) -> bool:
        allowed = all(self.sum(self.blocks.barred[0, s.device], s) == 0 for s in self.stages)
        return allowed and all(self.whole(d) <= self.room[d] for d in self.free)

    def can_begin(self, stage: _Stage, k: int) -> bool:
        d, size = stage.device, self.saved(stage)
        left = self.room[d] - sum(self.kept[d].values()) - size
        if left < 0:
            return False
        for older in range(k):
            if self.whole(d) - self.taken[d].get(older, 0.0) > left:
                return False
            left += self.kept[d].get(older, 0.0)
        return True

    def choices(self, device: int) -> list[tuple[float, tuple[int, ...], int, _Stage]]:
        """Return (start, urgency, kind, stage) of what a device could run."""
        found = []
        backward, forward, weight = self.policy
        count, microbatches = len(self.stages), len(self.releases)
        for stage in self.hosted(device):
            s = self.stages.index(stage)
            k = stage.next[B]
            if (B, k) in stage.arrived and self.room[device] >= sum(self.kept[device].values()):
                urgency = ((0, 2, 3)[backward], k * count + s)
                found.append((stage.arrived[B, k], urgency, B, stage))
            k = stage.next[F]
            if (F, k) in stage.arrived and self.can_begin(stage, k):
                late = k * count + count - 1 - s
                urgency = (2, late if forward == 0 else s * microbatches + k)
                found.append((stage.arrived[F, k], urgency, F, stage))
            k = stage.next[W]
            if k < stage.next[B]:
                urgency = (1 if weight else 4, k * count + count - 1 - s)
                found.append((0.0, urgency, W, stage))
        return [(max(t, self.free[device]), urgency, kind, s) for t, urgency, kind, s in found]

    def run(self, start: float, kind: int, stage: _Stage) -> None:
        d, s, k = stage.device, self.stages.index(stage), stage.next[kind]
        end = start + self.sum(self.blocks.passes[kind, 0, d], stage)
        stage.next[kind] += 1
        self.free[d] = end
        before = self.sum(self.blocks.until_backward, stage)
        between = self.sum(self.blocks.between, stage)
        change = {F: self.saved(stage), B: between - before}
        change[W] = -(self.saved(stage) - before + between)
        self.kept[d][k] = self.kept[d].get(k, 0.0) + change[kind]
        if kind == F:
            self.taken[d][k] = self.taken[d].get(k, 0.0) + self.saved(stage)
        if kind == F and s + 1 == len(self.stages):
            stage.arrived[B, k] = end
        elif kind == F or (kind == B and s > 0):
            other = self.stages[s + 1 if kind == F else s - 1]
            size = self.blocks.crossing[kind, max(stage.low, other.low)]
            held = self.blocks.per_byte[d, other.device] * size
            stage.sent[kind] = max(end, stage.sent[kind]) + held
            other.arrived[kind, k] = stage.sent[kind] + self.blocks.latency[d, other.device]


def plain_timed(
    course: Course, walk: list[int], policy: list[int], share: float = 1.0
) -> tuple[float, list[tuple[int, int, int]]]:
    """Return the makespan of a walk, and (kind, stage, microbatch) of its passes by starts."""
    state = _Run(course, walk, policy, share)
    passes: list[tuple[int, int, int]] = []
    if not state.fits():
        return math.inf, passes
    for _ in range(3 * len(state.stages) * len(course.releases)):
        devices = sorted(d for d in state.free if state.choices(d))
        nexts = [(min(state.choices(d), key=lambda c: c[:2]), d) for d in devices]
        if not nexts:
            return math.inf, passes
        (start, _, kind, stage), _ = min(nexts, key=lambda one: (one[0][0], one[1]))
        passes.append((kind, state.stages.index(stage), stage.next[kind]))
        state.run(start, kind, stage)
    for stage in state.stages:
        state.free[stage.device] += state.sum(state.blocks.steps[stage.device], stage)
    return max(state.free.values()), passes
