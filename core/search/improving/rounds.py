"""A round of a local search: as many runs as there are workers, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar

from parplan.system.interrupts import held_interrupts

S_contra = TypeVar("S_contra", contravariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Improve(Protocol[S_contra, T]):
    """Something that makes a state better, in any process."""

    def __call__(self, shared: S_contra, state: T, seconds: float, seed: int, target: int, /) -> T:
        """Return a state at least as good, after so many seconds."""


def improved(
    improve: Improve[S, T],
    shared: S,
    states: Sequence[T],
    executor: Executor | None,
    seconds: float,
    seed: int,
    target: int,
) -> list[T]:
    """Return what becomes of each state after so many seconds of its own.

    Parameters
    ----------
    improve
        A function of a module, which can be sent to other processes.
    shared
        What all runs read, such as the placer.
    executor
        Where the runs go; None runs them here, one after the other.
    seed
        Of the first state; each has its own.
    target
        A figure that ends a run, in ticks.
    """
    if executor is None:
        return [improve(shared, s, seconds, seed + i, target) for i, s in enumerate(states)]
    with held_interrupts():  # the first submissions fork the workers
        futures = [
            executor.submit(improve, shared, s, seconds, seed + i, target)
            for i, s in enumerate(states)
        ]
    return [future.result() for future in futures]
