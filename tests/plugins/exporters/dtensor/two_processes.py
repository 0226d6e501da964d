"""Applies exported shardings to the decoder on two processes, and compares with one.

Called with a file for the processes to meet, and the folders of the exports; the first process
writes what differs beside each export. PyTorch is loaded once for both, which takes seconds.
"""

from __future__ import annotations

import copy
import json
import os
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.fsdp
import torch.distributed.tensor.parallel
from torch import distributed
from torch.nn.functional import cross_entropy

from tests.plugins.exporters.dtensor.decoder import VOCABULARY, decoder_model


def whole(tensor: Any) -> Any:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def differences(folder: Path) -> dict[str, float]:
    """The largest relative difference of loss and gradients, with what was really divided."""
    applied = runpy.run_path(str(folder / "apply_sharding.py"))
    model = decoder_model()
    single = copy.deepcopy(model)
    torch.manual_seed(1)
    tokens = torch.randint(VOCABULARY, (4, 7))
    mesh = applied["plan_mesh"]("cpu")
    model = applied["apply_plan"](model, mesh)
    own = tokens.chunk(mesh["shard"].size())[mesh.get_local_rank("shard")]
    losses = []
    for network, given in ((single, tokens), (model, own)):
        made = network(given[:, :-1])
        losses.append(cross_entropy(made.flatten(0, 1), given[:, 1:].flatten()))
        losses[-1].backward()
    mean = losses[1].detach().clone()
    distributed.all_reduce(mean)
    found = {"loss": abs(mean.item() / 2 / losses[0].item() - 1), "divided": 0.0, "gradient": 0.0}
    wanted = dict(single.named_parameters())
    for name, parameter in model.named_parameters():
        right, got = wanted[name].grad, whole(parameter.grad)
        apart = (right - got).abs().max().item() / right.abs().max().item()
        found["gradient"] = max(found["gradient"], apart)
        if hasattr(parameter, "to_local"):
            found["divided"] += parameter.to_local().numel() < parameter.numel()
    return found


def main(rank: int, meeting: Path, folders: list[Path]) -> None:
    """Run all exports one after another in this process's place."""
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    for folder in folders:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = differences(folder)
        if rank == 0:
            (folder / "found.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    child = os.fork()
    main(int(child == 0), Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
