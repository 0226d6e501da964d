"""Traced models: work as PyTorch counts it, kept bytes as autograd keeps them, files as data."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import parplan
from parplan.cli import main
from parplan.errors import InputError
from parplan.graph import Graph, Kind
from parplan.plan_files.plan_file import load_graph
from tests.plugins.importers.torch_models import Decoder, decoder, tokens, towers

BACKWARD = (Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT)


def flops(graph: Graph, *kinds: Kind) -> float:
    return sum(o.flops for o in graph.operators if o.kind in kinds)


def kept(graph: Graph) -> int:
    """Bytes that forward passes hand to backward passes."""
    index = graph.operator_index
    kinds = {name: graph.operators[at].kind for name, at in index.items()}
    return sum(
        tensor.bytes
        for tensor in graph.tensors
        if kinds[tensor.producer] is Kind.FORWARD
        and any(kinds[name] in BACKWARD for name in tensor.consumers)
    )


def counted(model: Any, args: Any) -> tuple[int, int]:
    """FLOP of a real forward and backward pass, attention as the products that it is."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = model(*args)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("make", [decoder, towers])
def test_work_is_what_pytorch_counts_of_a_real_step(make: Any) -> None:
    model, args, _ = make("cpu")
    graph = parplan.from_torch(*make("meta"), granularity="operator")
    forward, backward = counted(model, args)
    assert flops(graph, Kind.FORWARD) == forward
    assert flops(graph, *BACKWARD) == backward


def test_kept_bytes_are_what_autograd_keeps() -> None:
    model, args, _ = decoder("cpu")
    given = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *args)}
    found: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given and tensor.numel() > 1:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(*args)
    assert loss.grad_fn is not None
    graph = parplan.from_torch(*decoder(), granularity="operator")
    assert kept(graph) == sum(storage.nbytes() for storage in found.values())


def test_parameters_are_counted_once() -> None:
    model, args, kwargs = decoder()
    graph = parplan.from_torch(model, args, kwargs, granularity="operator")
    parameters = list(model.parameters())  # those that are tied once
    assert sum(group.count for group in graph.parameters) == sum(p.numel() for p in parameters)
    assert sum(g.weight_bytes for g in graph.parameters) == sum(p.nbytes for p in parameters)
    readers = [o.name for o in graph.operators if "head.weight" in o.parameters]
    assert "embedding.embedding:forward" in readers
    assert "head.linear:forward" in readers


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_counted_on_every_device(device: str, causal: bool) -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=causal)

    x = torch.zeros(2, 4, 16, 8, device=device)
    graph = parplan.from_torch(Attention(), (x,), workload="inference")
    assert flops(graph, Kind.FORWARD) == 4 * 2 * 4 * 16 * 16 * 8


def test_products_of_groups_are_counted() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 64, 32, dtype=torch.bfloat16, device="meta"))

        def forward(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten._grouped_mm(x, self.weight, ends)

    x = torch.zeros(16, 64, dtype=torch.bfloat16, device="meta")
    ends = torch.zeros(4, dtype=torch.int32, device="meta")
    graph = parplan.from_torch(Experts(), (x, ends))
    assert flops(graph, Kind.FORWARD) == 2 * 16 * 64 * 32
    assert flops(graph, *BACKWARD) == 2 * 16 * 64 * 32  # of the weights; x has no gradient


def test_a_loss_on_meta_has_its_backward_pass() -> None:
    """Tracing forward and backward together drops it there without a word."""
    graph = parplan.from_torch(*decoder(), granularity="operator")
    (loss,) = (o for o in graph.operators if o.name == "Decoder.cross_entropy_loss:backward-input")
    assert loss.bytes_touched
    assert flops(graph, *BACKWARD) > 2 * flops(graph, Kind.FORWARD) * 0.99


def test_granularity_changes_no_work_and_no_parameter() -> None:
    fine = parplan.from_torch(*decoder(), granularity="operator")
    for options in ({"granularity": "block"}, {"granularity": "layer"}, {"depth": 1}):
        coarse = parplan.from_torch(*decoder(), **options)
        assert len(coarse.operators) < len(fine.operators)
        for kind in Kind:
            assert flops(coarse, kind) == flops(fine, kind)
        assert sum(g.bytes for g in coarse.parameters) == sum(g.bytes for g in fine.parameters)


def test_a_block_has_the_number_format_of_most_of_its_work() -> None:
    class Routed(nn.Module):
        """Experts in bf16 behind a router that computes in fp32."""

        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(8, 2, bias=False)
            self.product = nn.Linear(8, 64, dtype=torch.bfloat16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = (x.float() @ self.router.weight.t()).softmax(-1)
            return self.product(x) * share[..., :1]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Routed()])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers[0](x).sum()

    with torch.device("meta"):
        given = (Model(), (torch.zeros(4, 8, dtype=torch.bfloat16),))
    fine = parplan.from_torch(*given, granularity="operator")
    coarse = parplan.from_torch(*given, granularity="layer")
    assert {o.dtype for o in fine.operators if o.kind is Kind.FORWARD and o.flops} == {
        "bf16", "fp32"
    }  # fmt: skip
    forward = [o for o in coarse.operators if o.kind is Kind.FORWARD]
    assert [o.dtype for o in forward] == ["bf16"]
    assert flops(coarse, Kind.FORWARD) == flops(fine, Kind.FORWARD)


def test_repeated_layers_are_equal_but_for_their_number() -> None:
    graph = parplan.from_torch(*decoder(), granularity="layer")
    modules = {o.module for o in graph.operators}
    assert modules == {"embedding", "layers.0", "layers.1", "norm", "head"}
    first = [o for o in graph.operators if o.module == "layers.0"]
    second = {o.name: o for o in graph.operators if o.module == "layers.1"}
    for operator in first:
        other = second[operator.name.replace("layers.0", "layers.1")]
        assert (operator.flops, operator.bytes_touched, operator.kernels, operator.modes) == (
            other.flops, other.bytes_touched, other.kernels, other.modes
        )  # fmt: skip


def test_towers_are_branches() -> None:
    graph = parplan.from_torch(*towers(), granularity="layer")
    ends = [graph.operators[n].module for n in graph.topological_order if not graph.inputs[n]]
    assert {"image.0", "text.0"} <= set(ends)


def test_what_comes_back_behind_another_module_is_a_part_of_its_own() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Linear(8, 8)
            self.inner = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.own(self.inner(self.own(x)))

    with torch.device("meta"):
        graph = parplan.from_torch(Around(), (torch.zeros(2, 8),), granularity="block")
    names = [o.name for o in graph.operators if o.kind is Kind.FORWARD]
    assert names == ["own:forward", "inner:forward", "own~2:forward"]


def test_what_is_changed_in_place_is_read_as_changed() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.product = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.product(x)
            y.relu_()
            return y.view(-1).sum()

    with torch.device("meta"):
        graph = parplan.from_torch(InPlace(), (torch.zeros(2, 8),), granularity="operator")
    (changed,) = (t for t in graph.tensors if t.name == "InPlace.relu_")
    assert changed.producer == "InPlace.relu_:forward"
    assert "InPlace.sum:forward" in changed.consumers
    assert "InPlace.relu_:backward-input" in changed.consumers  # it keeps its result


def test_frozen_parameters_get_no_gradient() -> None:
    model, args, kwargs = decoder()
    for parameter in model.layers[0].parameters():
        parameter.requires_grad_(False)
    graph = parplan.from_torch(model, args, kwargs, granularity="layer")
    (frozen,) = (g for g in graph.parameters if g.name == "layers.0")
    assert frozen.weight_bytes > 0
    assert frozen.bytes == frozen.weight_bytes
    kinds = {o.kind for o in graph.operators if o.module == "layers.0"}
    assert kinds == {Kind.FORWARD, Kind.BACKWARD_INPUT}  # the embedding before it is trained


class _Chooses(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


class _Selects(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x > 0].exp()


class _Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 1


@pytest.mark.parametrize(("kind", "named"), [(_Chooses, "_Chooses"), (_Selects, "inner")])
def test_what_depends_on_data_is_one_error_that_names_the_module(kind: Any, named: str) -> None:
    with pytest.raises(InputError, match="depends on") as raised:
        parplan.from_torch(_Outer(kind()), (torch.ones(4),), workload="inference")
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_operators_of_others_are_an_error_that_names_them() -> None:
    @torch.library.custom_op("parplan_tests::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @double.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    class Foreign(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return double(x)

    with pytest.raises(InputError, match=r"'parplan_tests\.double\.default'"):
        parplan.from_torch(_Outer(Foreign()), (torch.ones(4),), workload="inference")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with real weights in a file."""
    path = tmp_path_factory.mktemp("saved") / "decoder.pt2"
    model, args, kwargs = decoder("cpu")
    torch.export.save(torch.export.export(model, args, kwargs), path)
    return path


def test_a_file_gives_the_graph_of_the_module(saved: Path, tmp_path: Path) -> None:
    output = tmp_path / "graph.json"
    assert main(["import", "torch", str(saved), "-o", str(output)]) == 0
    expected = parplan.from_torch(*decoder())
    graph = load_graph(output)
    assert graph.operators == expected.operators
    assert graph.tensors == expected.tensors
    assert graph.parameters == expected.parameters


def test_shapes_that_vary_are_those_of_the_example(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = Decoder()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (tokens("meta"),), dynamic_shapes={"tokens": {0: batch}})
    torch.export.save(program, tmp_path / "varying.pt2")
    fixed = parplan.from_torch(model, (tokens("meta"),), workload="inference")
    for graph in (
        parplan.from_torch(program, workload="inference"),
        parplan.import_model("torch", tmp_path / "varying.pt2", {"workload": "inference"}),
    ):
        assert graph.operators == fixed.operators


EVIL = b"open('burst', 'w')"


class _Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("burst"),))


def test_reading_a_file_runs_nothing_that_it_brings(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(changed, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if "sample_inputs" in item.filename or "/weights/" in item.filename:
                content = pickle.dumps(_Bomb())
            if item.filename.endswith("model.json"):
                plain = b'{"as_int": 16}'
                size = b'{"as_expr": {"expr_str": "%s", "hint": %s}}' % (EVIL, plain)
                content = content.replace(plain, size)
            target.writestr(item, content)
    assert "open(" in zipfile.ZipFile(changed).read("decoder/models/model.json").decode()
    graph = parplan.import_model("torch", changed)
    assert graph.operators == parplan.import_model("torch", saved).operators
    assert not Path("burst").exists()


def _only(path: Path, content: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/models/model.json", content)
    return path


def test_files_that_cannot_be_read_are_one_error_that_names_them(
    saved: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.pt2"
    short.write_bytes(saved.read_bytes()[:3000])
    empty = tmp_path / "empty.pt2"
    zipfile.ZipFile(empty, "w").close()
    version = json.dumps({"schema_version": {"major": 7}})
    for path, reason in (
        (short, "truncated"),
        (empty, "holds no model.json"),
        (tmp_path / "missing.pt2", "no such file"),
        (_only(tmp_path / "half.pt2", '{"graph'), "is no JSON"),
        (_only(tmp_path / "odd.pt2", "[]"), "damaged"),
        (_only(tmp_path / "old.pt2", version), "version 7"),
    ):
        with pytest.raises(InputError, match=reason) as raised:
            parplan.import_model("torch", path)
        assert str(path) in str(raised.value)


def test_the_command_line_names_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "graph.json"
    named = "tests.plugins.importers.torch_models:decoder"
    assert main(["import", "torch", "--model", named, "-o", str(output)]) == 0
    assert load_graph(output).operators == parplan.from_torch(*decoder()).operators
    for wrong, reason in (
        ("no_such_module:decoder", "cannot be imported"),
        ("json:no_such_function", "has no function"),
        ("json", "write MODULE:FUNCTION"),
        ("json:loads", "failed: TypeError"),
    ):
        assert main(["import", "torch", "--model", wrong]) == 2
        assert reason in capsys.readouterr().err
    assert main(["import", "huggingface", "--model", named]) == 2
    assert "reads files alone" in capsys.readouterr().err
    assert main(["import", "torch"]) == 2
    assert "and not both" in capsys.readouterr().err


def test_without_pytorch_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder()
    for name in [n for n in sys.modules if n == "torch" or n.startswith("torch.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'parplan\[torch\]'"):
        parplan.from_torch(*model)
