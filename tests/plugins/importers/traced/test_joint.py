"""Backward passes that autograd runs: the rules of differentiation say the same of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import parplan
from parplan.errors import InputError
from parplan.graph import Graph, Kind
from tests.plugins.importers.torch_models import decoder

BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)
SPLIT = (Kind.FORWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


class Perceptron(nn.Module):
    """Linear layers with and without bias, a dropout, a residual sum; a loss of two factors."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64, bias=False),
            nn.SiLU(), nn.Linear(64, 32),
        )  # fmt: skip
        self.norm = nn.LayerNorm(32)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(self.norm(x + self.layers(x)), y)


class Attention(nn.Module):
    """Groups of heads behind a norm of its own, whose weights are first added to one; a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(64, 64, bias=False)
        self.key = nn.Linear(64, 32, bias=False)
        self.value = nn.Linear(64, 32, bias=False)
        self.out = nn.Linear(64, 64)
        self.scale = nn.Parameter(torch.zeros(64))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.scale)
        parts = (self.query, self.key, self.value)
        heads = [part(normed).unflatten(-1, (-1, 8)).transpose(1, 2) for part in parts]
        seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask, enable_gqa=True)
        return (x + self.out(seen.transpose(1, 2).flatten(2))).logsumexp(-1).sum()


class Convolutions(nn.Module):
    """Convolutions, in groups as well, norms with statistics, pools."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, groups=2), nn.GroupNorm(4, 16), nn.GELU(),
            nn.ConvTranspose2d(16, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.layers(x), y)


class Experts(nn.Module):
    """A mixture of experts by products of groups, between an embedding and a cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 64)
        self.router = nn.Linear(64, 4, bias=False)
        self.up = nn.Parameter(torch.zeros(4, 64, 32))
        self.down = nn.Parameter(torch.zeros(4, 32, 64))
        self.head = nn.Linear(64, 50)

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        share, expert = self.router(x).softmax(-1).topk(2)
        order = expert.flatten().argsort()
        ends = torch.histc(expert.flatten().float(), 4, 0, 3).cumsum(0).to(torch.int32)
        inner = functional.silu(torch.ops.aten._grouped_mm(x[order // 2], self.up, ends))
        made = torch.ops.aten._grouped_mm(inner, self.down, ends) * share.flatten()[order][:, None]
        x = x + torch.zeros_like(x).index_add(0, order // 2, made)
        return functional.cross_entropy(self.head(x), labels)


Given = tuple[Any, tuple[Any, ...], dict[str, Any]]


def perceptron() -> Given:
    with torch.device("meta"):
        return Perceptron(), (torch.zeros(4, 32), torch.zeros(4, 32)), {}


def attention() -> Given:
    with torch.device("meta"):
        return Attention(), (torch.zeros(2, 16, 64), torch.zeros(2, 1, 16, 16)), {}


def convolutions() -> Given:
    with torch.device("meta"):
        pixels = torch.zeros(2, 3, 16, 16)
        return Convolutions(), (pixels, torch.zeros(2, dtype=torch.long)), {}


def experts() -> Given:
    with torch.device("meta"):
        tokens = torch.zeros(16, dtype=torch.long)
        return Experts().to(torch.bfloat16), (tokens, tokens + 1), {}


def flops(graph: Graph, *kinds: Kind) -> float:
    return sum(o.flops for o in graph.operators if o.kind in kinds)


def kept(graph: Graph) -> int:
    """Bytes of the tensors that forward passes hand to backward passes."""
    kinds = {operator.name: operator.kind for operator in graph.operators}
    return sum(
        tensor.bytes
        for tensor in graph.tensors
        if kinds[tensor.producer] is Kind.FORWARD
        and any(kinds[name] in BACKWARD for name in tensor.consumers)
    )


@pytest.mark.parametrize(
    ("make", "options", "more"),
    [
        (perceptron, {}, 0),
        (attention, {}, 0),
        (experts, {}, 2),  # the sum of the weights of a loss, one number
        (decoder, {"attention": "full"}, 4),
        # and the statistics of a batch norm, which are written anew here
        (convolutions, {}, 4 + 2 * 8 * 4),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rules_and_autograd_agree(
    make: Callable[[], Given], options: dict[str, Any], more: int
) -> None:
    """Of FLOP, of parameters, and of the bytes that are kept."""
    rules = parplan.from_torch(*make(), granularity="operator", **options)
    joint = parplan.from_torch(*make(), granularity="operator", joint=True, **options)
    for kind in SPLIT:
        assert flops(joint, kind) == flops(rules, kind)
    assert flops(joint, *BACKWARD) > 0
    assert joint.parameters == rules.parameters
    assert kept(joint) == kept(rules) + more


def test_joining_changes_no_work_and_no_module() -> None:
    fine = parplan.from_torch(*decoder(), granularity="operator", joint=True)
    rules = parplan.from_torch(*decoder(), granularity="layer")
    coarse = parplan.from_torch(*decoder(), granularity="layer", joint=True)
    assert {o.name for o in coarse.operators} == {o.name for o in rules.operators}
    for kind in Kind:
        assert flops(coarse, kind) == flops(fine, kind)
    assert kept(coarse) == kept(fine)


def test_a_backward_pass_may_be_whole() -> None:
    graph = parplan.from_torch(*attention(), granularity="layer", joint=True, backward="whole")
    assert {o.kind for o in graph.operators} == {Kind.FORWARD, Kind.BACKWARD, Kind.OPTIMIZER}
    split = parplan.from_torch(*attention(), granularity="layer", joint=True)
    assert flops(graph, Kind.BACKWARD) == flops(split, *BACKWARD)


def test_every_pass_comes_after_what_it_needs() -> None:
    """Each backward pass after its forward pass, each optimizer's step after its gradients."""
    graph = parplan.from_torch(*attention(), granularity="operator", joint=True)
    place = {graph.operators[at].name: n for n, at in enumerate(graph.topological_order)}
    first = min(n for name, n in place.items() if ":backward" in name)
    assert all(place[o.name] < first for o in graph.operators if o.flops and o.kind is Kind.FORWARD)
    for update in (o for o in graph.operators if o.kind is Kind.OPTIMIZER):
        before = {t.producer for t in graph.tensors if update.name in t.consumers}
        made = {name for o in graph.operators if o.name in before for name in o.parameters}
        assert set(update.parameters) <= made


def test_a_file_gives_the_graph_of_the_module(tmp_path: Path) -> None:
    path = tmp_path / "decoder.pt2"
    model, args, kwargs = decoder("cpu")
    torch.export.save(torch.export.export(model, args, kwargs), path)
    read = parplan.import_model("torch", path, {"joint": True})
    assert read.operators == parplan.from_torch(*decoder(), joint=True).operators


def test_without_training_there_is_no_backward_pass() -> None:
    graph = parplan.from_torch(*decoder(), joint=True, workload="inference")
    assert {o.kind for o in graph.operators} == {Kind.FORWARD}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_program_with_its_backward_pass_is_one_clear_error(tmp_path: Path) -> None:
    from torch.export.experimental import _export_forward_backward

    model, args, kwargs = attention()
    both = _export_forward_backward(torch.export.export(model, args, kwargs))
    with pytest.raises(InputError, match="has its backward pass in it"):
        parplan.from_torch(both)
    torch.export.save(both, tmp_path / "both.pt2")
    with pytest.raises(InputError, match="has its backward pass in it"):
        parplan.import_model("torch", tmp_path / "both.pt2")


def test_what_has_no_gradient_is_one_clear_error() -> None:
    model, args, kwargs = perceptron()
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no gradient reaches a parameter"):
        parplan.from_torch(model, args, kwargs, joint=True)
