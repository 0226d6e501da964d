"""Which neighbourhood comes next: those that gain the most per second, and now and then others."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from random import Random
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T", bound=Hashable)

MEMORY = 0.95
"""What a trial weighs after the next one, whichever that is of: what helps changes over time."""

CURIOSITY = 0.5
"""How much what was seldom tried of late is granted on top, in parts of the best rate."""


@define
class Arm:
    """Discounted gain and seconds of one choice, and how often it was tried, discounted alike."""

    gain: float = 0.0
    seconds: float = 0.0
    tries: float = 0.0

    @property
    def rate(self) -> float:
        """Gain per second."""
        return self.gain / max(self.seconds, 1e-9)


@define(eq=False)
class Bandit(Generic[T]):
    """Chooses among things by what they gained per second, by a discounted upper confidence bound.

    References
    ----------
    Garivier, Moulines, "On upper-confidence bound policies for switching bandit problems", ALT
    2011: discounted UCB.
    """

    names: Sequence[T]
    random: Random
    arms: dict[T, Arm] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.arms = {name: Arm() for name in self.names}

    def choose(self) -> T:
        """Return the next one: each once at first, then the one with the highest bound."""
        fresh = [name for name, arm in self.arms.items() if arm.tries == 0]
        if fresh:
            return self.random.choice(fresh)
        total = sum(arm.tries for arm in self.arms.values())
        scale = max(arm.rate for arm in self.arms.values()) or 1.0

        def upper(name: T) -> tuple[float, float]:
            arm = self.arms[name]
            wish = math.sqrt(2 * math.log(1 + total) / arm.tries)
            return arm.rate + CURIOSITY * scale * wish, self.random.random()

        return max(self.names, key=upper)

    def learn(self, name: T, gain: float, seconds: float) -> None:
        """Take note of what a trial gained in so many seconds."""
        for arm in self.arms.values():
            arm.gain, arm.seconds, arm.tries = (
                MEMORY * amount for amount in (arm.gain, arm.seconds, arm.tries)
            )
        arm = self.arms[name]
        arm.gain, arm.seconds, arm.tries = arm.gain + gain, arm.seconds + seconds, arm.tries + 1
