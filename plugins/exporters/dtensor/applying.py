"""The lines that apply a sharding to a model: a file that is the same for every plan."""

APPLYING = '''"""Applies sharding.json, written by parplan, to the modules of one pipeline stage.

    mesh = plan_mesh("cuda")
    model = apply_plan(model, mesh)
"""

import functools
import json
from pathlib import Path

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils.checkpoint import checkpoint

PLAN = json.loads(Path(__file__).with_name("sharding.json").read_text(encoding="utf-8"))
LAYOUTS = {"replicated": Replicate(), "sequence": Shard(1), "columns": Shard(-1)}


def plan_mesh(device_type):
    """Return the plan's mesh; its first dimension has a place for each group of modules."""
    names = tuple(PLAN["mesh"])
    return init_device_mesh(device_type, tuple(PLAN["mesh"].values()), mesh_dim_names=names)


def style(entry):
    """Return how PyTorch divides a module: samples are dimension 0, tokens dimension 1."""
    read, made = LAYOUTS[entry["input"]], LAYOUTS[entry["output"]]
    if entry["style"] == "sequence":
        return SequenceParallel()
    divided = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}[entry["style"]]
    return divided(input_layouts=read, output_layouts=made)


def apply_plan(model, mesh):
    """Divide the modules that this rank's group holds, and return the model."""
    group = PLAN["groups"][mesh.get_local_rank("pipeline")]
    for path in (*group["tensor_parallel"], *group["recompute"], *group["fully_shard"]):
        model.get_submodule(path)  # raises AttributeError where the model has no such module
    for path, entry in group["tensor_parallel"].items():
        parallelize_module(model.get_submodule(path), mesh["tensor"], style(entry))
    for path in group["recompute"]:
        module = model.get_submodule(path)
        module.forward = functools.partial(checkpoint, module.forward, use_reentrant=False)
    for path in group["fully_shard"]:
        fully_shard(model.get_submodule(path), mesh=mesh["shard"])
    if group["fully_shard"]:
        fully_shard(model, mesh=mesh["shard"])
    return model
'''
