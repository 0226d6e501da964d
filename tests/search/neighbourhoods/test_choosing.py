"""What gains most per second is chosen most, and nothing is given up for good."""

from __future__ import annotations

from collections import Counter
from random import Random

from parplan.search.neighbourhoods.choosing import Bandit


def _play(bandit: Bandit[str], rates: dict[str, float], rounds: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        name = bandit.choose()
        seen[name] += 1
        bandit.learn(name, 2.0 * rates[name], 2.0)
    return seen


def test_the_best_is_chosen_most_and_others_are_tried_again() -> None:
    bandit = Bandit(["a", "b", "c"], Random(1))
    seen = _play(bandit, {"a": 1.0, "b": 0.2, "c": 0.0}, 200)
    assert seen["a"] > seen["b"] + seen["c"]
    assert min(seen.values()) > 2


def test_it_notices_when_another_one_becomes_the_best() -> None:
    bandit = Bandit(["a", "b"], Random(1))
    _play(bandit, {"a": 1.0, "b": 0.0}, 60)
    seen = _play(bandit, {"a": 0.0, "b": 1.0}, 120)
    assert seen["b"] > seen["a"]


def test_the_same_seed_makes_the_same_choices() -> None:
    choices = [
        _play(Bandit(["a", "b", "c"], Random(7)), {"a": 0.0, "b": 0.0, "c": 0.0}, 30)
        for _ in range(2)
    ]
    assert choices[0] == choices[1]
