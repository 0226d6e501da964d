"""The Python interface: one function per command of ``parplan``, all reached as ``parplan.<name>``.

They are functions and not methods of ``Plan``, so that a plan stays plain data and imports stay
acyclic: ``parplan.check(plan)``, ``parplan.show(plan)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from parplan.contracts import Exported, Objective, Report, RunRequest, Violation
from parplan.errors import InputError, ParplanError
from parplan.graph import Graph
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, guarded, make_rules

if TYPE_CHECKING:
    from parplan.comparison import Comparison
    from parplan.explaining.explanation import Explanation
    from parplan.measuring.recording import Recording
    from parplan.simulation.noise import NoiseLike
    from parplan.simulation.results import Simulation
    from parplan.spec.sections import Spec

Plugins = Sequence[str | object]

EXPLAINED_TASKS = 200_000
"""Tasks up to which a report holds the critical path: it takes some seconds then."""


def load_registry(plugins: Plugins = ()) -> Registry:
    """Return every extension that is installed, and those of ``plugins`` (modules or objects)."""
    from parplan.plugins import manager

    return manager.load_registry(plugins)


@frozen(eq=False)
class Prepared:
    """All that a search needs."""

    problem: Problem
    rules: Rules
    registry: Registry
    options: SearchOptions


def prepare(
    source: Problem | Spec | str | Path,
    *,
    graph: Graph | None = None,
    overrides: Sequence[str] = (),
    plugins: Plugins = (),
    registry: Registry | None = None,
    **changes: Any,
) -> Prepared:
    """Return what a search needs, from a spec file, a spec or a problem.

    Parameters
    ----------
    graph
        Takes the place of the spec's model, which needs none then.
    overrides
        ``"key.path=value"`` each, for a spec file.
    registry
        Used instead of a fresh ``load_registry(plugins)``.
    changes
        Fields of ``SearchOptions`` that replace those of the spec.
    """
    from parplan.assembly import assemble_problem
    from parplan.spec.sections import load_spec

    known = load_registry(plugins) if registry is None else registry
    if isinstance(source, Problem):
        if graph is not None:
            raise InputError("a problem has a graph of its own; give the graph with a spec")
        problem, options = source, SearchOptions()
        rules = make_rules(problem, known)
    else:
        spec = load_spec(Path(source), overrides) if isinstance(source, str | Path) else source
        problem, options = assemble_problem(spec, known, graph), spec.search
        try:
            rules = make_rules(problem, known)
        except InputError as error:
            raise spec.locate(error) from None
    return Prepared(problem, rules, known, attrs.evolve(options, **changes))


def plan(
    source: Problem | Spec | str | Path,
    *,
    graph: Graph | None = None,
    overrides: Sequence[str] = (),
    plugins: Plugins = (),
    registry: Registry | None = None,
    report: Report | None = None,
    **changes: Any,
) -> Plan:
    """Return the best checked plan found, with its proven bound.

    Parameters
    ----------
    source
        A spec file, a spec or a problem.
    graph
        Takes the place of the spec's model: of a module in memory, or made by hand.
    overrides
        ``"key.path=value"`` each, for a spec file.
    plugins, registry
        Further plugins; or a registry that is used as it is.
    report
        Called with the news of the search.
    changes
        Fields of ``SearchOptions``: ``solver``, ``time_limit_s``, ``gap``, ``workers``, ``seed``.

    Raises
    ------
    InputError
        If the spec cannot be used.
    InfeasibleError
        If it is proven that no plan exists.
    LimitError
        If the time limit ended the search before any plan was found.
    SolverError
        If a solver failed and nothing else could serve.
    """
    from parplan.search.orchestrator import search

    ready = prepare(
        source, graph=graph, overrides=overrides, plugins=plugins, registry=registry, **changes
    )
    return search(ready.problem, ready.rules, ready.registry, ready.options, report)


def describe(
    source: Problem | Spec | str | Path,
    *,
    graph: Graph | None = None,
    overrides: Sequence[str] = (),
    plugins: Plugins = (),
    registry: Registry | None = None,
    **changes: Any,
) -> Mapping[str, Any]:
    """Return what ``plan`` would do: sizes, bounds and the engine; nothing is searched."""
    from parplan.search import orchestrator

    ready = prepare(
        source, graph=graph, overrides=overrides, plugins=plugins, registry=registry, **changes
    )
    described: Mapping[str, Any] = orchestrator.describe(
        ready.problem, ready.rules, ready.registry, ready.options
    )
    return described


def compare(
    source: Problem | Spec | str | Path,
    *,
    graph: Graph | None = None,
    schedules: Sequence[str] = (),
    overrides: Sequence[str] = (),
    plugins: Plugins = (),
    registry: Registry | None = None,
    report: Report | None = None,
    **changes: Any,
) -> Comparison:
    """Return the plan found beside every hand-made schedule, under the same costs and rules.

    Parameters
    ----------
    graph
        As for ``plan``.
    schedules
        Names of the hand-made schedules; empty: all that are installed.
    changes
        As for ``plan``; the time limit is that of the whole comparison.

    Raises
    ------
    InputError
        If the spec cannot be used, or a name is of no schedule.
    ParplanError
        As ``plan`` does, if there is no plan to compare with.
    """
    from parplan.search.comparing import compare as compared

    ready = prepare(
        source, graph=graph, overrides=overrides, plugins=plugins, registry=registry, **changes
    )
    return compared(ready.problem, ready.rules, ready.registry, ready.options, schedules, report)


def check(
    source: Plan | str | Path, *, plugins: Plugins = (), registry: Registry | None = None
) -> tuple[Violation, ...]:
    """Return every violation in a plan or plan file; empty if it holds."""
    from parplan.checking import check_plan
    from parplan.plan_files.plan_file import load_plan

    known = load_registry(plugins) if registry is None else registry
    given = source if isinstance(source, Plan) else load_plan(Path(source))
    return check_plan(given, known)


def show(
    shown: Plan | Comparison | Explanation,
    *,
    registry: Registry | None = None,
    colour: bool = False,
) -> str:
    """Return as text what ``parplan show``, ``compare`` or ``explain`` prints.

    Of a plan that is a Gantt chart, tables of figures, devices and links.
    """
    from parplan.comparison import Comparison
    from parplan.explaining.text import explanation_text
    from parplan.figures.comparison import comparison_figures
    from parplan.figures.plan import figures_of
    from parplan.terminal import comparison_text, plan_text

    if isinstance(shown, Plan):
        return plan_text(figures_of(shown, unit_of(shown, registry)), gantt=True, colour=colour)
    if isinstance(shown, Comparison):
        figures = comparison_figures(shown, unit_of(shown.plan, registry))
        return comparison_text(figures, colour=colour)
    return explanation_text(shown, colour=colour)


def explain(
    source: Plan | str | Path,
    *,
    what_if: Sequence[str] | None = (),
    seconds: float = 3.0,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Explanation:
    """Return the critical path of a plan or plan file, and what changes would give.

    Parameters
    ----------
    what_if
        Changes of the problem, as ``parplan.explaining.changes`` writes them, e.g.
        ``"memory=gpu0:1 GiB"``; None: those of the resources that bind most.
    seconds
        Time limit of the search for each of them.

    Raises
    ------
    InputError
        If the plan breaks its rules, or a change means nothing.
    """
    from parplan.explaining.changes import read_change
    from parplan.explaining.explanation import explain_plan
    from parplan.figures.plan import require_whole
    from parplan.plan_files.plan_file import load_plan

    known = load_registry(plugins) if registry is None else registry
    given = source if isinstance(source, Plan) else load_plan(Path(source))
    require_whole(given)
    rules = make_rules(given.problem, known)
    changes = tuple(read_change(text) for text in what_if or ())
    found = explain_plan(given, rules)
    if what_if is not None and not changes:
        return found
    from parplan.explaining.suggestions import suggested
    from parplan.explaining.what_if import what_if as answered  # loads the search

    if what_if is None:
        changes = suggested(given.schedule, rules, found.shares)
    options = SearchOptions(time_limit_s=seconds)
    return attrs.evolve(found, what_ifs=answered(given, changes, known, options))


def simulate(
    source: Plan | str | Path,
    *,
    noise: NoiseLike = 0.05,
    samples: int = 200,
    seed: int = 0,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Simulation:
    """Return what becomes of a plan's makespan if times are random and its orders are kept.

    Parameters
    ----------
    source
        A plan or a plan file.
    noise
        A ``Noise``, or what ``parplan.simulation.noise.read_noise`` makes one of: a coefficient of
        variation for all, a mapping by kind of work, or a file.
    samples, seed
        How many scenarios are replayed, and the seed of their random numbers. Plans of one problem
        meet the same scenarios.

    Raises
    ------
    InputError
        If the noise makes no sense, or the plan breaks its rules and cannot be replayed.
    """
    from parplan.figures.plan import require_whole
    from parplan.plan_files.plan_file import load_plan
    from parplan.simulation.noise import read_noise
    from parplan.simulation.scenarios import Scenarios
    from parplan.simulation.simulating import simulate_schedule

    known = load_registry(plugins) if registry is None else registry
    given = source if isinstance(source, Plan) else load_plan(Path(source))
    require_whole(given)
    scenarios = Scenarios(given.problem, read_noise(noise), samples, seed)
    return simulate_schedule(given.schedule, make_rules(given.problem, known), scenarios)


def write_report(plan: Plan, path: str | Path, *, registry: Registry | None = None) -> Path:
    """Write a plan as one HTML file that needs nothing else, and return its path.

    The critical path stands in it where the plan has at most `EXPLAINED_TASKS` tasks and keeps its
    rules.
    """
    from parplan.figures.plan import figures_of
    from parplan.files.atomic import write_text
    from parplan.report.page import report_html
    from parplan.system.collector import collector_paused

    known = load_registry() if registry is None else registry
    with collector_paused():
        figures = figures_of(plan, unit_of(plan, known))
        explained = len(plan.schedule.tasks) <= EXPLAINED_TASKS
        page = report_html(figures, _explained(plan, known) if explained else None)
    write_text(Path(path), page)
    return Path(path)


def _explained(plan: Plan, registry: Registry) -> Explanation | None:
    """Return the critical path of a plan; None of a plan that cannot be judged."""
    try:
        return explain(plan, registry=registry)
    except ParplanError:
        return None  # it breaks its rules, or one of their plugins is not installed


def write_comparison(
    comparison: Comparison, path: str | Path, *, registry: Registry | None = None
) -> Path:
    """Draw all schedules of a comparison in one HTML file that needs nothing else.

    Their critical paths stand in it where they have at most `EXPLAINED_TASKS` tasks together.
    """
    from parplan.figures.comparison import comparison_figures
    from parplan.files.atomic import write_text
    from parplan.report.comparison_page import comparison_html

    known = load_registry() if registry is None else registry
    figures = comparison_figures(comparison, unit_of(comparison.plan, known))
    plans = {i: e.plan for i, e in enumerate(comparison.entries) if e.plan is not None}
    explained = sum(len(plan.schedule.tasks) for plan in plans.values()) <= EXPLAINED_TASKS
    found = {i: _explained(plan, known) for i, plan in plans.items()} if explained else {}
    paths = {i: explanation for i, explanation in found.items() if explanation is not None}
    write_text(Path(path), comparison_html(figures, paths))
    return Path(path)


def write_trace(plan: Plan, path: str | Path) -> Path:
    """Write a plan as a trace for Perfetto or chrome://tracing, and return its path."""
    from parplan.files.atomic import write_text
    from parplan.report.trace import trace_json

    write_text(Path(path), trace_json(plan))
    return Path(path)


def write_svg(plan: Plan, path: str | Path) -> Path:
    """Write a plan's Gantt chart as SVG, for papers, and return its path."""
    from parplan.figures.plan import figures_of
    from parplan.files.atomic import write_text
    from parplan.report.gantt import gantt_svg
    from parplan.report.svg import standalone

    write_text(Path(path), standalone(gantt_svg(figures_of(plan, ""))))
    return Path(path)


def write_png(plan: Plan, path: str | Path) -> Path:
    """Write a plan's Gantt chart as PNG, on white and twice as large as on a screen.

    Raises
    ------
    InputError
        If the extra ``png`` is not installed, or there is no font.
    """
    from parplan.figures.plan import figures_of
    from parplan.files.atomic import write_bytes
    from parplan.report.gantt import gantt_svg
    from parplan.report.png import png_bytes
    from parplan.report.svg import standalone

    write_bytes(Path(path), png_bytes(standalone(gantt_svg(figures_of(plan, "")))))
    return Path(path)


def notebook_html(shown: Plan | Comparison, *, registry: Registry | None = None) -> str:
    """Return what a notebook shows of a plan or a comparison; of a broken one, why not."""
    from html import escape

    from parplan.figures.comparison import comparison_figures
    from parplan.figures.plan import figures_of
    from parplan.report.notebook import comparison_notebook, plan_notebook

    try:
        if isinstance(shown, Plan):
            return plan_notebook(figures_of(shown, unit_of(shown, registry)))
        return comparison_notebook(comparison_figures(shown, unit_of(shown.plan, registry)))
    except InputError as error:
        return f"<p>{escape(str(error))}</p>"


def import_model(
    kind: str,
    path: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Graph:
    """Return the graph that an importer reads from a model file."""
    known = load_registry(plugins) if registry is None else registry
    entry = known.get("importers", kind)
    importer: Any = entry.value
    graph: Graph = guarded(entry, "load", lambda: importer.load(Path(path), dict(options or {})))
    return graph


def import_object(
    kind: str,
    model: Any,
    options: Mapping[str, Any] | None = None,
    *,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Graph:
    """Return the graph of a model in memory, as the library of an importer has it."""
    known = load_registry(plugins) if registry is None else registry
    entry = known.get("importers", kind)
    importer: Any = entry.value
    graph: Graph = guarded(
        entry, "load_object", lambda: importer.load_object(model, dict(options or {}))
    )
    return graph


def from_torch(
    module: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
    **options: Any,
) -> Graph:
    """Return the graph of a PyTorch module called with arguments, which may be on ``meta``.

    Parameters
    ----------
    module
        A ``torch.nn.Module``, or a ``torch.export.ExportedProgram`` (without arguments).
    options
        Those of the importer ``torch``, e.g. ``granularity="layer"``; ``joint=True`` has backward
        passes traced by PyTorch's autograd instead of made by rules.

    Raises
    ------
    InputError
        If PyTorch is not installed, or what the module does depends on data.
    """
    model = (module, tuple(args), dict(kwargs or {}))
    return import_object("torch", model, options, registry=registry)


def export_plan(
    plan: Plan | str | Path,
    kind: str,
    directory: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Exported:
    """Write a plan or plan file in the form of another tool, and return what was written.

    Parameters
    ----------
    kind
        Name of an exporter.
    directory
        Made if it is not there; its parent must be.

    Raises
    ------
    InputError
        If the plan breaks its rules, or the other tool cannot express it.
    """
    from parplan.figures.plan import require_whole
    from parplan.files.atomic import make_folder
    from parplan.plan_files.plan_file import load_plan

    known = load_registry(plugins) if registry is None else registry
    entry = known.get("exporters", kind)
    given = plan if isinstance(plan, Plan) else load_plan(Path(plan))
    require_whole(given)
    folder = make_folder(Path(directory))
    exporter: Any = entry.value
    done: Exported = guarded(
        entry, "export", lambda: exporter.export(given, folder, dict(options or {}))
    )
    return done


def run_plan(
    plan: Plan | str | Path,
    request: RunRequest,
    runtime: str = "",
    *,
    plugins: Plugins = (),
    registry: Registry | None = None,
) -> Recording:
    """Run a plan or plan file for real, and return a recording of it.

    Parameters
    ----------
    runtime
        Name of the runtime; empty: ``torch`` if a model is named, else ``emulation``. The files of
        its exporter are written for it, and are deleted again.

    Raises
    ------
    InputError
        If the plan or the model cannot be run.
    RunError
        If the run failed; it names what failed and where.
    """
    import tempfile

    from parplan.plan_files.plan_file import load_plan

    known = load_registry(plugins) if registry is None else registry
    entry = known.get("runtimes", runtime or ("torch" if request.model else "emulation"))
    runner: Any = entry.value
    given = plan if isinstance(plan, Plan) else load_plan(Path(plan))
    with tempfile.TemporaryDirectory(prefix="parplan-files-") as folder:
        if runner.exporter:
            options = runner.export_options
            export_plan(given, runner.exporter, folder, options, registry=known)
        recording: Recording = guarded(
            entry, "run", lambda: runner.run(given, Path(folder), request)
        )
    return recording


def unit_of(plan: Plan, registry: Registry | None = None) -> str:
    """Return the unit of a plan's first objective; empty if its plugin is not there."""
    known = load_registry() if registry is None else registry
    entry = known.objectives.get(next(iter(plan.objectives)))
    objective: type[Objective] | None = None if entry is None else entry.value
    return "" if objective is None else objective.unit
