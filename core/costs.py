"""Where every second and byte comes from: cost models fill the modes, a table shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from attrs import frozen

from parplan.contracts import CostModel
from parplan.errors import InputError
from parplan.graph import Estimate, Graph, Mode, Operator
from parplan.hardware import Device
from parplan.problem import Problem

SPEED_FIELDS = ("peak_flops", "memory_bandwidth", "flops_efficiency", "bandwidth_efficiency")
"""What must be equal among devices of one kind: modes have one duration per kind."""


@frozen
class CostRow:
    """One operator in one mode on one device kind; sizes of one microbatch on each device.

    Attributes
    ----------
    seconds, formula, source
        Duration, how it was computed (or "measured", "given") and from which figures.
    flops, bytes_touched
        Work of the mode.
    input_bytes, output_bytes
        Tensors read and written.
    saved_bytes
        The part of ``output_bytes`` that a pass of another kind reads: what a forward keeps for
        its backward.
    parameter_bytes
        Resident weights, gradients and optimizer state.
    """

    operator: str
    mode: str
    device_kind: str
    seconds: float
    formula: str
    source: str
    flops: float
    bytes_touched: float
    input_bytes: int
    output_bytes: int
    saved_bytes: int
    parameter_bytes: int
    workspace_bytes: int


def price(graph: Graph, devices: Sequence[Device], models: Sequence[CostModel]) -> Graph:
    """Return the graph with seconds, and where they come from, for every kind of ``devices``.

    For each mode the first model that has an estimate for any of the kinds gives them all, since
    the seconds of two models do not compare; a kind that it leaves out cannot run the mode.

    Raises
    ------
    InputError
        If no model gives an operator seconds on any kind, or if a kind can run no operator, with
        the reason that each model gives; if devices of one kind differ in speed.
    """
    kinds = _kinds(devices)
    operators = []
    for operator in graph.operators:
        modes = operator.modes or (Mode(),)
        priced = [_priced(operator, mode, kinds, models) for mode in modes]
        if not any(mode.estimates for mode in priced):
            raise InputError(_refusals(operator, modes[0], kinds.values(), models))
        operators.append(attrs.evolve(operator, modes=tuple(priced)))
    for kind, device in kinds.items():
        if not any(kind in mode.estimates for o in operators for mode in o.modes):
            operator = graph.operators[0]
            mode = (*operator.modes, Mode())[0]
            raise InputError(
                f"device kind '{kind}' can run no operator of graph '{graph.name}': "
                + _refusals(operator, mode, (device,), models)
            )
    return attrs.evolve(graph, operators=tuple(operators))


def _kinds(devices: Sequence[Device]) -> dict[str, Device]:
    """Return one device of each kind, in the order in which they occur."""
    found: dict[str, Device] = {}
    for device in devices:
        first = found.setdefault(device.kind, device)
        for what in SPEED_FIELDS:
            if getattr(first, what) != getattr(device, what):
                raise InputError(
                    f"devices '{first.name}' and '{device.name}' are both of kind '{device.kind}' "
                    f"but differ in {what}; give one of them another 'kind'"
                )
    return found


def _priced(
    operator: Operator, mode: Mode, kinds: Mapping[str, Device], models: Sequence[CostModel]
) -> Mode:
    """Return the mode with the estimates of the first model that has any."""
    for model in models:
        asked = {k: model.estimate(operator, mode, device) for k, device in kinds.items()}
        found = {k: estimate for k, estimate in asked.items() if estimate is not None}
        if found:
            seconds = {k: estimate.seconds for k, estimate in found.items()}
            return attrs.evolve(mode, seconds=seconds, estimates=found)
    return attrs.evolve(mode, seconds={}, estimates={})


def _refusals(
    operator: Operator, mode: Mode, devices: Iterable[Device], models: Sequence[CostModel]
) -> str:
    """Say why each model has nothing to say of an operator."""
    device = next(iter(devices))
    reasons = [f"{model.name}: {model.refusal(operator, mode, device)}" for model in models]
    return (
        f"operator '{operator.name}' has no seconds on '{device.kind}' "
        f"({'; '.join(reasons) or 'no cost model is asked'})"
    )


def cost_table(problem: Problem) -> Iterator[CostRow]:
    """Yield a row for each operator, mode and device kind of a problem, in the graph's order."""
    kinds = sorted({device.kind for device in problem.cluster.devices})
    graph = problem.graph
    for index, operator in enumerate(graph.operators):
        for m, mode in enumerate(operator.modes):
            sizes = _sizes(graph, index, m)
            for kind in kinds:
                seconds = mode.seconds_on(kind)
                if seconds is not None:
                    estimate = mode.estimates.get(kind) or Estimate(seconds, "given", mode.source)
                    yield CostRow(
                        operator=operator.name,
                        mode=mode.name,
                        device_kind=kind,
                        seconds=seconds,
                        formula=estimate.formula,
                        source=estimate.source,
                        flops=operator.flops if mode.flops is None else mode.flops,
                        bytes_touched=(
                            operator.bytes_touched
                            if mode.bytes_touched is None
                            else mode.bytes_touched
                        ),
                        workspace_bytes=mode.workspace_bytes,
                        **sizes,
                    )


def _sizes(graph: Graph, operator: int, mode: int) -> dict[str, int]:
    """Return the bytes read, written, saved and resident of one mode."""
    kind = graph.operators[operator].kind
    written = graph.writes(operator, mode)
    saved = [
        t for t in written if any(graph.operators[c].kind is not kind for c in graph.consumers[t])
    ]
    return {
        "input_bytes": sum(graph.tensors[t].bytes for t in graph.reads(operator, mode)),
        "output_bytes": sum(written.values()),
        "saved_bytes": sum(written[t] for t in saved),
        "parameter_bytes": sum(graph.parameter_bytes(operator, mode).values()),
    }
