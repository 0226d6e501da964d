"""Stage programs: stages on ranks, the tensors between them, and each rank's actions in order."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from attrs import frozen


class ActionKind(StrEnum):
    """What a stage does for a microbatch.

    F forward; B the whole backward pass, or, split, I gradients of inputs and W of weights.
    """

    FORWARD = "F"
    BACKWARD = "B"
    INPUT_GRADIENT = "I"
    WEIGHT_GRADIENT = "W"


SENDS_GRADIENTS = (ActionKind.BACKWARD, ActionKind.INPUT_GRADIENT)
"""What hands gradients to the stages before."""

RELEASES = (ActionKind.BACKWARD, ActionKind.WEIGHT_GRADIENT)
"""What ends a microbatch on a stage: nothing saved for it is needed any longer."""


@frozen(order=True)
class Action:
    """One action of one stage for one microbatch, e.g. the forward of stage 2, microbatch 5."""

    stage: int
    kind: ActionKind
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch}"


@frozen
class TimedAction:
    """An action with its times.

    Attributes
    ----------
    planned_start_s
        When the plan starts the first of its operators.
    start_s
        When it starts if the program runs action by action, as `StageProgram.makespan_s` has it.
    seconds
        How long it takes: the planned times of its operators, one after another.
    """

    action: Action
    planned_start_s: float
    start_s: float
    seconds: float

    @property
    def end_s(self) -> float:
        """When it ends if the program runs action by action."""
        return self.start_s + self.seconds


@frozen
class Stage:
    """Operators that run on one device, one after another, for every microbatch.

    Attributes
    ----------
    index
        Position in an order in which stages come after those that they read from.
    rank
        Position of its device among those that run stages.
    forward
        Its forward operators, in planned order.
    backward
        Its operators that make gradients of inputs, or the whole backward pass.
    weight
        Its operators that make gradients of weights alone.
    once
        Operators of its modules that run once per step, such as the optimizer's.
    modules
        Paths of its operators in the model's hierarchy.
    parameter_bytes
        Weights, gradients and optimizer state that are resident.
    saved_bytes
        What is kept for a microbatch from its forward to its backward pass, inputs included.
    """

    index: int
    rank: int
    device: str
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    weight: tuple[str, ...]
    once: tuple[str, ...]
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    parameter_bytes: int
    saved_bytes: int

    def operators(self, kind: ActionKind) -> tuple[str, ...]:
        """Return the operators that an action of this stage runs."""
        if kind is ActionKind.FORWARD:
            return self.forward
        if kind is ActionKind.BACKWARD:
            return (*self.backward, *self.weight)
        return self.backward if kind is ActionKind.INPUT_GRADIENT else self.weight


@frozen
class Edge:
    """What one stage hands to another for each microbatch, and what comes back.

    Attributes
    ----------
    source, target
        Stages; the source has the lower index.
    tensors, bytes
        From source to target.
    gradients, gradient_bytes
        From target to source; nothing where no gradient flows.
    """

    source: int
    target: int
    tensors: tuple[str, ...]
    bytes: int
    gradients: tuple[str, ...] = ()
    gradient_bytes: int = 0


@frozen
class Rank:
    """A device that runs stages, with its actions in order.

    Attributes
    ----------
    peak_bytes
        Most memory that parameters and saved tensors take, by the order of the actions; what is
        saved for a microbatch is kept until its B or W.
    """

    device: str
    actions: tuple[TimedAction, ...]
    peak_bytes: int


@frozen
class StageProgram:
    """Stages, what flows between them, and what each rank does in which order.

    Attributes
    ----------
    stages
        By index, a topological order.
    edges
        In order of source and target.
    ranks
        The devices that run stages, in the cluster's order.
    numbers
        The plan's number of each microbatch, where a runtime asked for another order.
    planned_makespan_s
        Of the plan, operator by operator.
    makespan_s
        Of the same orders stage by stage: an action waits for all its inputs and hands on its
        results when it has ended.
    graph_edges
        Of a chain that was made of a graph: the edges of the graph.
    """

    name: str
    microbatches: int
    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...]
    ranks: tuple[Rank, ...]
    numbers: tuple[int, ...]
    planned_makespan_s: float
    makespan_s: float
    graph_edges: tuple[Edge, ...] = ()

    @cached_property
    def is_chain(self) -> bool:
        """Whether every stage hands on to the next one, and to no other."""
        found = [(edge.source, edge.target) for edge in self.edges]
        return found == [(s, s + 1) for s in range(len(self.stages) - 1)]

    @cached_property
    def is_training(self) -> bool:
        """Whether there are backward passes."""
        return any(stage.backward or stage.weight for stage in self.stages)

    def edges_into(self, stage: int) -> tuple[Edge, ...]:
        """Return the edges from the stages that a stage reads from."""
        return tuple(edge for edge in self.edges if edge.target == stage)

    def edges_out_of(self, stage: int) -> tuple[Edge, ...]:
        """Return the edges to the stages that read from a stage."""
        return tuple(edge for edge in self.edges if edge.source == stage)
