"""What an extension implements: small base classes, one per kind of plugin.

Constraints and objectives are attrs classes whose fields are their options in the spec file, so
options are typed, checked and documented by the class alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from parplan.criteria import Criterion as Criterion  # named by objectives, so part of the contract
from parplan.declarations import Declaration
from parplan.errors import InputError
from parplan.graph import Estimate as Estimate  # given by cost models, so part of the contract
from parplan.options import MipForm, MipProducts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from parplan.graph import Graph, Mode, Operator
    from parplan.hardware import Device
    from parplan.measuring.recording import Recording
    from parplan.model.schedule_model import AssignmentModel, ScheduleModel
    from parplan.pipelines.pipeline import Order, PipelineShape, StageTimes
    from parplan.plans import Plan
    from parplan.problem import Problem
    from parplan.rules import Rules
    from parplan.schedule import Schedule
    from parplan.search.graphs.task_graph import TaskGraph
    from parplan.simulation.criterion import ScenarioCriterion
    from parplan.steady_state import Loading
    from parplan.workload import Workload


@frozen
class Violation:
    """One breach of one rule.

    Attributes
    ----------
    rule
        Name of the rule, e.g. ``"memory"``.
    where
        What is at fault, by name: a device, a link, a task.
    amount
        By how much, in the unit of the message; None where it makes no sense.
    tick
        The first instant; None if it is no matter of time.
    """

    rule: str
    where: str
    message: str
    amount: float | None = None
    tick: int | None = None


class Constraint:
    """A rule that every plan must obey.

    Say it by ``declare`` if it can be said so: then the model, the list schedules, the bounds and
    the checker all know it. ``constrain`` and ``constrain_assignment`` are the escape hatch, for
    Pyomo code on a Block of its own; with one of them ``violations`` is required.
    """

    name: ClassVar[str]

    def declare(self, problem: Problem) -> Iterable[Declaration]:
        """Yield resources, lags, orders and placement rules; called once per problem."""
        return ()

    def constrain(self, model: ScheduleModel) -> None:
        """Add Pyomo components and terms to ``model.block(self.name)``."""

    def constrain_assignment(self, model: AssignmentModel) -> None:
        """Add what must hold of any assignment (a relaxation) to ``model.block(self.name)``."""

    def violations(self, schedule: Schedule) -> Iterable[Violation]:
        """Yield each breach; what was declared is checked without this."""
        return ()


class Objective:
    """Something to minimise or maximise.

    Attributes
    ----------
    follows
        The figure of schedules that the value follows: the smaller it is, the better the value. A
        search on orders makes it small; None: the makespan, for want of anything better.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    maximize: ClassVar[bool] = False
    follows: ClassVar[Criterion | None] = None

    def value(self, schedule: Schedule) -> float:
        """Return the value of a schedule."""
        raise NotImplementedError(f"objective '{self.name}' does not define value(schedule)")

    def expression(self, model: ScheduleModel) -> Any:
        """Return a linear Pyomo expression for the timing model; None if it has none."""
        return None

    def expression_scale(self, model: ScheduleModel) -> float:
        """Return what one unit of ``expression`` is worth in the unit of ``value``."""
        return 1.0

    def from_expression(self, model: ScheduleModel, number: float) -> float:
        """Return the value that a number of ``expression`` means: a better number, a better value.

        By default a multiple of it; define this and ``to_expression`` where it is something else.
        """
        return number * self.expression_scale(model)

    def to_expression(self, model: ScheduleModel, value: float) -> float:
        """Return the number of ``expression`` that means a value."""
        return value / self.expression_scale(model)

    def assignment_expression(self, model: AssignmentModel) -> Any:
        """Return a linear Pyomo expression for the assignment model; None if it has none."""
        return None

    def with_rules(self, rules: Rules) -> Objective:
        """Return the objective to use for one problem, if it must know the rules of the problem.

        Called once, when rules are made; by default the objective itself.
        """
        return self

    def criterion(self) -> ScenarioCriterion | None:
        """Return the scenarios and statistic if the value is one of replayed makespans.

        Then a search changes orders by it; no model is asked. By default None.
        """
        return None

    def loading(self) -> Loading | None:
        """Return how loads are counted if the value is that of the busiest engine or link.

        Then a search divides operators among devices by loads, whatever the order in time, and
        ``value`` is the busiest load per microbatch in seconds. By default None.
        """
        return None

    def from_figure(self, problem: Problem, ticks: float) -> float:
        """Return the best value that goes with a figure of ``follows``: by default its seconds.

        What bounds the figure bounds the value so.
        """
        return ticks * problem.tick_s

    def to_figure(self, problem: Problem, value: float) -> float:
        """Return the figure in ticks that a value needs; it undoes ``from_figure``."""
        return value / problem.tick_s

    def bound(self, problem: Problem) -> float | None:
        """Return a proven bound: no plan of the problem has a better value; None if unknown."""
        return None


class Capability(StrEnum):
    """What a solver can take and give."""

    MIP = "mip"
    CP = "cp"
    BOUND = "bound"
    WARM_START = "warm-start"
    STOP = "stop"


@frozen
class Availability:
    """What a real probe of a solver found.

    Attributes
    ----------
    reason
        If not available: why, and the command that installs it.
    limit
        A size limit of its licence, in words; empty if none is known.
    """

    available: bool
    version: str = ""
    reason: str = ""
    limit: str = ""


class Termination(StrEnum):
    """Why a solver stopped."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    TIME_LIMIT = "time-limit"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    FAILED = "failed"


@frozen
class SolveOptions:
    """What a solve may use.

    Attributes
    ----------
    cutoff
        Value that an answer must reach; None if not asked for.
    form, products
        How a MIP says what runs apart, and what is chosen together; others need not care.
    """

    time_limit_s: float = 60.0
    gap: float = 0.0
    workers: int = 2
    seed: int = 0
    cutoff: float | None = None
    form: MipForm = MipForm.DISJUNCTIVE
    products: MipProducts = MipProducts.SEPARATE


@frozen
class Progress:
    """News of a running search: incumbent and bound in objective units, None while unknown.

    Attributes
    ----------
    values
        The incumbent itself, where a solver tells it: value of each Pyomo variable by its name.
    """

    stage: str
    seconds: float
    incumbent: float | None = None
    bound: float | None = None
    message: str = ""
    values: Mapping[str, float] = field(factory=dict, repr=False)


Report = Callable[[Progress], None]


@frozen
class Answer:
    """What a solver left, apart from why it stopped.

    Attributes
    ----------
    values
        Value of each Pyomo variable by its component name; empty if it left no solution.
    bound
        Its claimed bound, in units of the model's objective; None if it gives none.
    """

    termination: Termination
    solver: str
    version: str = ""
    values: Mapping[str, float] = field(factory=dict)
    objective: float | None = None
    bound: float | None = None
    seconds: float = 0.0
    message: str = ""


class Solver(ABC):
    """A solver backend. It reads a model (plain Pyomo plus recorded terms) and answers."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]

    @abstractmethod
    def probe(self) -> Availability:
        """Say whether it can run here, by trying; cheap, and takes no licence."""

    @abstractmethod
    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Solve a Pyomo model with recorded terms; never raise for a limit or infeasibility."""


class Importer(ABC):
    """Reads a model file into a graph."""

    name: ClassVar[str]

    @abstractmethod
    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Read ``path``; InputError names the file and the place of any fault."""

    def build(self, options: Mapping[str, Any]) -> Graph:
        """Return the model that options alone describe, where a spec names no file.

        Raises
        ------
        InputError
            Unless defined anew: most importers need a file.
        """
        raise InputError(f"kind '{self.name}' needs 'file', the path of the model", key="model")

    def node_modules(self, path: Path) -> Mapping[str, str]:
        """Return the module of each node of a model file by the node's name, as profiles name it.

        By default none: names of nodes say their modules, or profiles say them.
        """
        return {}

    def load_object(self, model: Any, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a model that is in memory, as its library has it.

        Raises
        ------
        InputError
            Unless defined anew: most importers need a file.
        """
        raise InputError(f"kind '{self.name}' reads files alone, and no model in memory")


@frozen
class Exported:
    """What an exporter wrote.

    Attributes
    ----------
    notes
        What the reader of the files should know, a sentence each: fallbacks and what they cost.
    figures
        The same as numbers, for ``parplan export --json``.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(factory=dict)


class Exporter(ABC):
    """Writes a plan in the form of another tool."""

    name: ClassVar[str]

    @abstractmethod
    def export(self, plan: Plan, directory: Path, options: Mapping[str, Any]) -> Exported:
        """Write files into ``directory``, which exists; re-read and check them.

        Raises
        ------
        InputError
            Naming what of the plan the other tool cannot express, and what to do.
        """


@frozen
class RunRequest:
    """What a run of a plan is to be.

    Attributes
    ----------
    model
        ``MODULE:FUNCTION`` that gives the model to train, as the runtime asks for it; empty:
        stand-ins that spend the planned time.
    folder
        Where modules are looked for beside those installed.
    seconds_per_planned_second, bytes_per_planned_byte
        Of stand-ins.
    steps
        Training steps to run.
    check_gradients
        Whether to run the same steps in one process too, and compare gradients.
    timeout_s
        The run is ended, with an error, when it takes longer.
    """

    model: str = ""
    folder: str = ""
    seconds_per_planned_second: float = 1.0
    bytes_per_planned_byte: float = 0.0
    steps: int = 1
    check_gradients: bool = False
    timeout_s: float = 600.0

    def __attrs_post_init__(self) -> None:
        for name in ("seconds_per_planned_second", "timeout_s", "steps"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InputError(f"is {value}; it must be finite and above zero", key=name)
        if not 0 <= self.bytes_per_planned_byte < float("inf"):
            raise InputError(
                f"is {self.bytes_per_planned_byte}; it must be finite and not negative",
                key="bytes_per_planned_byte",
            )
        if self.check_gradients and not self.model:
            raise InputError("gradients are those of a model: name one", key="check_gradients")


class Runtime(ABC):
    """Runs a plan, and records what happens.

    Attributes
    ----------
    exporter
        Name of the exporter whose files it executes; empty: it takes the plan itself.
    export_options
        Options of the exporter that fit this runtime.
    """

    name: ClassVar[str]
    exporter: ClassVar[str]
    export_options: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def run(self, plan: Plan, files: Path, request: RunRequest) -> Recording:
        """Execute the files of the exporter, in the folder ``files``, and return a recording.

        Without an exporter the folder is empty.

        Nothing that was started is left running, whatever happens.

        Raises
        ------
        InputError
            If the plan or the model cannot be run.
        RunError
            If the run failed; it names what failed and where.
        """


class CostModel(ABC):
    """Turns work into seconds."""

    name: ClassVar[str]

    def read_files(self, folder: Path) -> CostModel:
        """Return the model with what the files hold that its options name.

        Called once, before any estimate; paths start from ``folder``, that of the spec.
        """
        return self

    @abstractmethod
    def estimate(self, operator: Operator, mode: Mode, device: Device) -> Estimate | None:
        """Return the duration; None if this model has nothing to say."""

    def refusal(self, operator: Operator, mode: Mode, device: Device) -> str:
        """Say why ``estimate`` returned None, for the error if no other model answers."""
        return "has no estimate"


class Strategy:
    """A kind of parallelism: the modes it adds, or a hand-made pipeline schedule (a recipe).

    A recipe defines ``shape`` and ``orders``; ``timed_orders``, ``workload`` and
    ``weight_versions`` only where it needs them.

    Attributes
    ----------
    fused_backward
        Every W of the orders runs in one call with the B before it, as if each such pair was
        written ``Fused((B, W))``: gradients leave a stage only after W.
    flushes
        False for a schedule that goes on into the next step without a pause. Its orders are then
        the start of an endless run, and its time per step is that of the steady state.
    """

    name: ClassVar[str]
    fused_backward: ClassVar[bool] = False
    flushes: ClassVar[bool] = True

    def apply(self, graph: Graph, problem_hint: Mapping[str, Any]) -> Graph:
        """Return the graph with the modes (and operators) that this strategy offers."""
        return graph

    def workload(self, workload: Workload, devices: int) -> Workload:
        """Return the workload that a recipe runs, e.g. with microbatches cut into slices.

        Placement groups need not be set: those of the shape are.
        """
        return workload

    def shape(self, devices: int, microbatches: int, chunks: int) -> PipelineShape | None:
        """Return how stages lie on devices, and the placement group of each microbatch.

        ``chunks`` is how many stages each device may hold; recipes with a number of their own
        return None for others. ``microbatches`` are those of ``workload``.

        Raises
        ------
        InputError
            If the recipe is not defined for so many devices or microbatches; the message says what
            it needs, and stands in the comparison.
        """
        return None

    def orders(self, shape: PipelineShape) -> Sequence[Order]:
        """Return the passes of each device, first to last, for a shape that ``shape`` returned.

        Passes that one call runs may be put together as ``Fused``.
        """
        raise NotImplementedError(f"strategy '{self.name}' gives a shape but no orders")

    def timed_orders(self, shape: PipelineShape, times: StageTimes) -> Sequence[Order]:
        """Return the orders for stages that take these times; by default ``orders(shape)``."""
        return self.orders(shape)

    def weight_versions(self, shape: PipelineShape) -> Sequence[int]:
        """Return how many versions of its weights each stage keeps; by default one.

        Every version beyond the first takes the weights' bytes once more, without gradients and
        optimizer state.
        """
        return (1,) * shape.stages


@frozen(eq=False)
class Proposal:
    """What a placement heuristic proposes for the n tasks and u units of a task graph.

    Attributes
    ----------
    priority
        ``(n,)``: of the tasks whose inputs are there, the one with the lowest is taken first.
    device
        ``(u,)``, of each unit; -1 for one that goes where its first task ends first. None: all do.
    lookahead
        ``(n, d)`` ticks, added to the end of a task on each device when its device is chosen.
    """

    priority: NDArray[np.float64]
    device: NDArray[np.int64] | None = None
    lookahead: NDArray[np.float64] | None = None


class PlacementHeuristic(ABC):
    """Proposes devices and priorities for a graph of any shape; the core times and checks them."""

    name: ClassVar[str]

    @abstractmethod
    def place(self, graph: TaskGraph) -> Proposal | None:
        """Return a proposal; None if the heuristic has none for such a graph."""


@frozen
class Freedom:
    """What of a schedule may change, while the rest keeps its alternatives and its order.

    Attributes
    ----------
    choices
        The alternatives (indices into ``problem.alternatives[operator]``) that an (operator index,
        placement group) may take; the times of its tasks may change, too.
    tasks
        Further tasks (operator index, microbatch) whose times and order may change.
    """

    choices: Mapping[tuple[int, int], tuple[int, ...]] = field(factory=dict)
    tasks: frozenset[tuple[int, int]] = frozenset()


class Neighbourhood(ABC):
    """Says what of a good schedule to free, for a solver to do again with the rest as it is."""

    name: ClassVar[str]

    @abstractmethod
    def free(
        self, elite: Sequence[Schedule], rules: Rules, size: int, random: Random
    ) -> Freedom | None:
        """Return what to free of the first schedule; None if there is nothing of this kind.

        Parameters
        ----------
        elite
            Good schedules, the best first: it is the one to change.
        size
            About how many tasks to free.
        random
            The only source of chance.
        """


class ExecutorFactory(ABC):
    """Makes a ``concurrent.futures.Executor`` to fan work out."""

    name: ClassVar[str]

    @abstractmethod
    def create(self, workers: int) -> Executor:
        """Return an executor with that many workers."""
