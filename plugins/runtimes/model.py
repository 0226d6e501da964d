"""A model's blocks as modules for stages, with the batch of each microbatch."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import torch
from attrs import frozen

from parplan.errors import InputError
from parplan.plugins.runtimes.blocks import Block, find_blocks, quoted
from parplan.plugins.runtimes.job import TrainingJob
from parplan.plugins.runtimes.pipe_stages import PlanStage, Port, Wiring
from parplan.plugins.runtimes.training import Tensors, Training

Arguments = Mapping[str, Sequence[tuple[torch.Tensor, ...]]]


@frozen(eq=False)
class Model:
    """A training, cut as the plan cuts it.

    Attributes
    ----------
    blocks
        In a topological order; the last one gives what the loss is of.
    arguments
        Of each block that nothing feeds, by microbatch.
    targets
        By microbatch.
    """

    training: Training
    blocks: tuple[Block, ...]
    modules: Mapping[str, torch.nn.Module]
    arguments: Arguments
    targets: tuple[torch.Tensor, ...]

    @property
    def last(self) -> str:
        """The block whose tensor the loss takes."""
        return self.blocks[-1].name

    def parameters(self, stages: Container[int]) -> dict[str, torch.nn.Parameter]:
        """Return the parameters of some stages by block and name."""
        return {
            f"{block.name}.{name}": parameter
            for block in self.blocks
            if block.stage in stages
            for name, parameter in self.modules[block.name].named_parameters()
        }


def cut_model(training: Training, job: TrainingJob) -> Model:
    """Return a training cut as a plan cuts it.

    Raises
    ------
    InputError
        If blocks, inputs and batch do not go with the plan.
    """
    modules = training.modules
    blocks = find_blocks(job.forward, modules)
    roots = [block.name for block in blocks if not block.sources]
    inputs = training.inputs if isinstance(training.inputs, Mapping) else None
    if inputs is None:
        if len(roots) > 1:
            raise InputError(
                f"the blocks {quoted(roots)} all take inputs of the model; give "
                "'inputs' by the names of these blocks"
            )
        inputs = {roots[0]: training.inputs}
    if set(inputs) != set(roots):
        raise InputError(
            f"'inputs' are given for {sorted(inputs)}; the blocks that nothing feeds are "
            f"{sorted(roots)}"
        )
    fed = {source for block in blocks for source in block.sources}
    ends = [block.name for block in blocks if block.name not in fed]
    if len(ends) > 1:
        raise InputError(
            f"the blocks {quoted(ends)} feed no other; the loss is of one block: join them"
        )
    _refuse_shared(blocks, modules)
    count = job.program.microbatches
    split = {
        name: _split_all(tensors, count, f"inputs of '{name}'") for name, tensors in inputs.items()
    }
    return Model(training, blocks, modules, split, _split(training.target, count, "the target"))


def _split_all(tensors: Tensors, count: int, what: str) -> tuple[tuple[torch.Tensor, ...], ...]:
    whole = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
    return tuple(zip(*(_split(tensor, count, what) for tensor in whole), strict=True))


def _split(tensor: torch.Tensor, count: int, what: str) -> tuple[torch.Tensor, ...]:
    if tensor.ndim == 0 or len(tensor) % count:
        size = len(tensor) if tensor.ndim else 1
        raise InputError(
            f"{what}: {size} samples cannot be split into {count} microbatches of one size"
        )
    return tuple(tensor.chunk(count))


def _refuse_shared(blocks: Sequence[Block], modules: Mapping[str, torch.nn.Module]) -> None:
    """Raise InputError if a parameter is in two stages: each would have a part of its gradient."""
    owner: dict[torch.nn.Parameter, Block] = {}
    for block in blocks:
        for name, parameter in modules[block.name].named_parameters():
            first = owner.setdefault(parameter, block)
            if first.stage != block.stage:
                raise InputError(
                    f"parameter '{name}' of block '{block.name}' (stage {block.stage}) is also in "
                    f"block '{first.name}' (stage {first.stage}); torch's pipelines do not add up "
                    "gradients of shared weights: put both into one stage, or untie them"
                )


class StageModule(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The blocks of one stage: takes and gives values as the wiring says.

    The output of the model's last block is given as it is.
    """

    def __init__(self, model: Model, stage: int, wiring: Wiring) -> None:
        super().__init__()
        self.blocks = tuple(block for block in model.blocks if block.stage == stage)
        self.wiring = wiring
        self.last = model.last
        self.arguments = model.arguments
        self.held = torch.nn.ModuleList(model.modules[block.name] for block in self.blocks)

    def forward(
        self, *inputs: torch.Tensor, microbatch: int
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the blocks for one microbatch."""
        names = (port.value for port in self.wiring.inputs)
        values = dict(zip(names, inputs, strict=True))
        for block, module in zip(self.blocks, self.held, strict=True):
            values[block.name] = run_block(block, module, values, self.arguments, microbatch)
        if not self.wiring.outputs:
            return values[self.last]
        return tuple(_sendable(values[port.value]) for port in self.wiring.outputs)


def run_block(
    block: Block,
    module: torch.nn.Module,
    values: Mapping[str, torch.Tensor],
    arguments: Arguments,
    microbatch: int,
) -> torch.Tensor:
    """Return what a block gives for a microbatch.

    Raises
    ------
    InputError
        If it gives anything but a tensor.
    """
    given = [values[source] for source in block.sources] or arguments[block.name][microbatch]
    value = module(*given)
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"block '{block.name}' gave {type(value).__name__}; it has to give a tensor"
        )
    return value


def _sendable(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that gloo can send and a split backward pass can cut off: no view."""
    whole = tensor.contiguous()
    return whole.clone() if whole._is_view() else whole


def wirings(blocks: Sequence[Block]) -> dict[int, Wiring]:
    """Return what flows in and out of each stage."""
    stage_of = {block.name: block.stage for block in blocks}
    crossing = {
        (stage_of[source], source, block.stage): None
        for block in blocks
        for source in block.sources
        if stage_of[source] != block.stage
    }
    place = {block.name: number for number, block in enumerate(blocks)}
    ordered = sorted(crossing, key=lambda flow: (place[flow[1]], flow[2]))
    return {
        stage: Wiring(
            tuple(Port(source, value) for source, value, target in ordered if target == stage),
            tuple(Port(target, value) for source, value, target in ordered if source == stage),
        )
        for stage in sorted(set(stage_of.values()))
    }


def build_stages(model: Model, stages: Sequence[int], count: int) -> list[PlanStage]:
    """Return the stages of one rank; ``count`` is how many there are on all ranks.

    One microbatch is run through the whole model, for the shapes of what flows between stages.
    """
    found = wirings(model.blocks)
    values = _example(model)
    return [
        PlanStage(
            StageModule(model, stage, found[stage]),
            stage,
            count,
            found[stage],
            [values[port.value] for port in found[stage].inputs],
            [values[port.value] for port in found[stage].outputs] or [values[model.last]],
            side_paths=_has_side_paths(model, stage, found[stage], values),
        )
        for stage in stages
    ]


def _has_side_paths(
    model: Model, stage: int, wiring: Wiring, values: Mapping[str, torch.Tensor]
) -> bool:
    """Return whether an output with a gradient depends on no input that gets one."""
    fed = {port.value for port in wiring.inputs if values[port.value].requires_grad}
    for block in model.blocks:
        if block.stage == stage and fed.intersection(block.sources):
            fed.add(block.name)
    ends = [port.value for port in wiring.outputs] or [model.last]
    return any(values[end].requires_grad and end not in fed for end in ends)


def _example(model: Model) -> dict[str, torch.Tensor]:
    values: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        for block in model.blocks:
            module = model.modules[block.name]
            value = run_block(block, module, values, model.arguments, 0)
            values[block.name] = _sendable(value).detach().requires_grad_(value.requires_grad)
    return values
