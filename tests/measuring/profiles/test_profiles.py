"""Profiles of PyTorch and ONNX Runtime give the operators of a model their seconds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn
from torch.profiler import profile

from parplan.api import from_torch
from parplan.assembly import assemble_problem
from parplan.cli import main
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Operator
from parplan.measuring.measured_costs import load_costs
from parplan.measuring.profiles.calibrating import calibrate_profiles
from parplan.measuring.profiles.joining import join
from parplan.measuring.profiles.onnxruntime import read_onnxruntime
from parplan.measuring.profiles.profile import Pass, Profile, Timing
from parplan.measuring.profiles.torch_operators import AUTOGRAD, read_operators
from parplan.measuring.recording import Recording, Span, save_recording
from parplan.plan_files.plan_file import save_graph
from parplan.plugins.runtimes.module_ranges import module_ranges
from parplan.registry import Registry
from parplan.spec.sections import load_spec

RECORDED = Path(__file__).parent / "data" / "onnxruntime.json"
"""Four runs of the model of `onnx_file`, by ONNX Runtime 1.31.1; arguments are cut down."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return nn.functional.cross_entropy(self.head(x), y)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(8, 16), torch.zeros(8, dtype=torch.int64)


def spec_of(folder: Path, graph: Graph, devices: str = "{name: g, preset: v100-sxm2-16gb}") -> Path:
    save_graph(graph, folder / "graph.json")
    path = folder / "spec.yaml"
    path.write_text(f"model: {{kind: json, file: graph.json}}\ncluster: {{devices: [{devices}]}}\n")
    return path


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of the model, as torch.profiler saw them."""
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with module_ranges(model), profile() as found:
        for _ in range(3):
            optimizer.zero_grad()
            model(*batch()).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("trace") / "trace.json.gz"
    found.export_chrome_trace(str(path))
    return path


@pytest.mark.parametrize("granularity", ["layer", "block", "operator"])
def test_a_trace_of_pytorch_times_every_operator(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], granularity: str
) -> None:
    graph = from_torch(Model(), batch(), granularity=granularity)
    spec, costs = spec_of(tmp_path, graph), tmp_path / "costs.json"
    main(["calibrate", str(trace), "--spec", str(spec), "-o", str(costs)])
    found = load_costs(costs)
    measured = {one.operator for one in found.operators}
    missing = {o.name for o in graph.operators} - measured
    assert missing <= {o.name for o in graph.operators if o.module == "Model"}  # the loss
    assert all((one.samples, one.seconds > 0) == (2, True) for one in found.operators)
    told = capsys.readouterr().err
    assert "has an operator" in told
    assert "without one: AccumulateGrad" in told
    joined = join(read_operators(trace), graph, warm_up=1)
    assert joined.share > 0.8
    (plan,) = (one for one in found.operators if one.operator.endswith("head:optimizer"))
    assert plan.companions == len([o for o in graph.operators if o.kind is Kind.OPTIMIZER]) - 1


def test_each_backward_pass_belongs_to_the_module_of_its_forward_pass(trace: Path) -> None:
    timings = read_operators(trace).timings
    forward = {(t.run, t.module, t.name) for t in timings if t.work is Pass.FORWARD}
    backward = {(t.run, t.module, t.name) for t in timings if t.work is Pass.BACKWARD}
    expected = {
        *((f"layers.{i}.{part}", "linear") for i in (0, 1) for part in ("up", "down")),
        *((f"layers.{i}", name) for i in (0, 1) for name in ("relu", "add")),
        ("head", "linear"),
        ("", "cross_entropy_loss"),
    }
    assert {(module, name) for _, module, name in backward} == expected
    assert backward == {one for one in forward if one[1:] in expected}
    assert {run for run, _, _ in backward} == {0, 1, 2}
    assert [t.run for t in timings if t.work is Pass.OPTIMIZER][-1] == 2


def test_the_time_of_kernels_counts_where_a_gpu_ran(tmp_path: Path) -> None:
    def event(cat: str, name: str, start: float, end: float, **arguments: Any) -> dict[str, Any]:
        return {
            "ph": "X", "cat": cat, "name": name, "pid": 1, "tid": 1,
            "ts": start, "dur": end - start, "args": arguments,
        }  # fmt: skip

    events = [
        event("user_annotation", "module:", 0, 90),
        event("user_annotation", "module:a", 1, 50),
        event("cpu_op", "aten::linear", 2, 40, **{"External id": 7}),
        event("cpu_op", "aten::addmm", 3, 30, **{"External id": 8}),
        event("kernel", "gemm", 60, 160, **{"External id": 8}),
        event("gpu_memset", "fill", 50, 60, **{"External id": 7}),
        event("kernel", "other", 160, 170, **{"External id": 99}),
    ]
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"traceEvents": events}))
    (timing,) = read_operators(path).timings
    assert timing == Timing(0, Pass.FORWARD, "a", "linear", 0, 110e-6)


def onnx_file(path: Path) -> Path:
    """Two layers and a head, with names such as PyTorch's exporter gives."""
    nodes, weights, x = [], [], "x"
    for i in range(2):
        p = f"layers.{i}"
        weights += [(f"{p}.up.weight", (64, 256)), (f"{p}.down.weight", (256, 64))]
        nodes += [
            helper.make_node("MatMul", [x, weights[-2][0]], [f"{p}.u"], name=f"/{p}/up/MatMul"),
            helper.make_node("Relu", [f"{p}.u"], [f"{p}.r"], name=f"/{p}/Relu"),
            helper.make_node(
                "MatMul", [f"{p}.r", weights[-1][0]], [f"{p}.d"], name=f"/{p}/down/MatMul"
            ),
            helper.make_node("Add", [f"{p}.d", x], [f"{p}.o"], name=f"/{p}/Add"),
        ]
        x = f"{p}.o"
    weights.append(("head.weight", (64, 100)))
    nodes.append(helper.make_node("MatMul", [x, "head.weight"], ["y"], name="/head/MatMul"))
    described = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (32, 64)), ("y", (32, 100)))
    ]
    made = [
        onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        for name, shape in weights
    ]
    for tensor in made:
        tensor.data_location = onnx.TensorProto.EXTERNAL
    graph = helper.make_graph(nodes, "mlp", described[:1], described[1:], made)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_a_profile_of_onnx_runtime_times_the_forward_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx_file(tmp_path / "mlp.onnx")
    spec, costs = tmp_path / "spec.yaml", tmp_path / "costs.json"
    spec.write_text(
        "model: {kind: onnx, file: mlp.onnx, options: {granularity: layer, backward: whole}}\n"
        "cluster: {devices: [{name: g, preset: v100-sxm2-16gb}]}\n"
    )
    main(["calibrate", str(RECORDED), "--spec", str(spec), "-o", str(costs)])
    found = {one.operator: one for one in load_costs(costs).operators}
    assert set(found) == {"layers.0:forward", "layers.1:forward", "head:forward"}
    assert all((one.samples, one.companions) == (3, 0) for one in found.values())
    events = json.loads(RECORDED.read_text())
    runs = [e["dur"] for e in events if e["name"] == "/head/MatMul_kernel_time"][1:]
    assert found["head:forward"].seconds == pytest.approx(sorted(runs)[1] * 1e-6)
    assert len(runs) == 3
    told = capsys.readouterr().err
    assert "100.0% of" in told
    assert "operators unmeasured: layers.0:backward" in told or "layers.1:backward" in told


def test_profiles_and_recordings_are_not_taken_for_one_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(RECORDED)]) != 0
    assert "a profile needs --spec" in capsys.readouterr().err
    recording = tmp_path / "run.json"
    save_recording(Recording("p", "s", (Span("g", ("a",), "F", 0, 0.0, 1.0),)), recording)
    spec = spec_of(tmp_path, graph_of({"a:forward": "a"}, flops=1e9))
    assert main(["calibrate", str(recording), "--spec", str(spec)]) != 0
    assert "is a recording, and no profile: leave out --spec" in capsys.readouterr().err


def test_nodes_are_found_by_the_modules_that_the_importer_knows() -> None:
    profile = read_onnxruntime(RECORDED, {"/head/MatMul": "", "/layers.0/Relu": "somewhere"})
    assert set(profile.nameless) == {"/head/MatMul"}
    assert {t.module for t in profile.timings if t.name == "Relu"} == {"somewhere", "layers.1"}


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=3),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.just("External id"), st.integers()),
)  # fmt: skip
events = st.fixed_dictionaries(
    {},
    optional={
        "ph": st.sampled_from(["X", "s", "f"]),
        "cat": st.sampled_from(["cpu_op", "user_annotation", "fwdbwd", "kernel", "Node"]),
        "name": st.sampled_from(
            ["module:", "module:a", "aten::x", f"{AUTOGRAD}B", "n_kernel_time", "model_run"]
        ),
        "ts": st.integers(0, 9) | values,
        "dur": st.integers(0, 9) | values,
        **dict.fromkeys(("pid", "tid", "id", "args"), values),
    },
)


@settings(max_examples=50)
@given(st.lists(events, max_size=12))
def test_whatever_a_trace_holds_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    path.write_text(json.dumps({"traceEvents": found}))
    with contextlib.suppress(InputError):
        read_operators(path)
    path.write_text(json.dumps(found))
    with contextlib.suppress(InputError):
        read_onnxruntime(path, {})


def timing(module: str, name: str, seconds: float, run: int = 0, position: int = 0) -> Timing:
    return Timing(run, Pass.FORWARD, module, name, position, seconds)


def graph_of(modules: Mapping[str, str], flops: float = 0.0) -> Graph:
    operators = (
        Operator(name, module=module, flops=flops, bytes_touched=flops, dtype="fp32")
        for name, module in modules.items()
    )
    return Graph("g", tuple(operators))


def test_timings_belong_to_the_nearest_module_around_them() -> None:
    graph = graph_of({"a.0:forward": "a.0", "b.x:forward": "b", "b.x-2:forward": "b"})
    profile = Profile(
        "",
        (
            timing("c", "early", 1.0),
            timing("a.0.inner.deep", "x", 2.0),
            timing("", "sum", 4.0),
            timing("b", "x", 8.0),
            timing("b", "x", 16.0, position=1),
            timing("b", "other", 32.0),
        ),
        {"loader": 64.0},
    )
    found = join(profile, graph, warm_up=1)
    assert found.samples == {
        ("a.0:forward",): (6.0,),
        ("b.x:forward",): (8.0,),
        ("b.x-2:forward",): (16.0,),
        ("b.x:forward", "b.x-2:forward"): (32.0,),
    }
    assert found.left == {"loader": 64.0, "forward of 'c'": 1.0}
    assert found.share == pytest.approx(62 / 127)


def test_what_cannot_be_measured_is_a_clear_error(tmp_path: Path, registry: Registry) -> None:
    kinds = "{name: g, preset: v100-sxm2-16gb}, {name: h, preset: h100-sxm-80gb}"
    work = Operator("a:forward", module="a", flops=1e9, bytes_touched=1e6, dtype="fp32")
    problem = assemble_problem(load_spec(spec_of(tmp_path, Graph("g", (work,)), kinds)), registry)
    profiles = [Profile("", (timing("a", "x", 1.0),))]
    with pytest.raises(InputError, match="say which kind of device was profiled, of v100"):
        calibrate_profiles(profiles, problem)
    with pytest.raises(InputError, match="no device of kind 'a100'"):
        calibrate_profiles(profiles, problem, "a100")
    (one,) = calibrate_profiles(profiles, problem, problem.cluster.devices[0].kind)[0].operators
    assert one.seconds == 1.0
    with pytest.raises(InputError, match="nothing in the profile belongs to an operator"):
        calibrate_profiles([Profile("", (timing("z", "x", 1.0),))], problem, one.kind)
    bare = tmp_path / "bare.json"
    bare.write_text('{"traceEvents": []}')
    with pytest.raises(InputError, match="module_ranges"):
        read_operators(bare)
    for text in ("[]", "{}", "[", '[{"cat": "Node", "name": "n_kernel_time"}]'):
        bare.write_text(text)
        with pytest.raises(InputError, match=r"ONNX Runtime|no time"):
            read_onnxruntime(bare, {})
