import pytest

from parplan.costs import cost_table, price
from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device
from parplan.plugins.costs.measured import Measured
from parplan.plugins.costs.roofline import Roofline
from parplan.problem import Problem
from parplan.spec.presets import device_preset
from parplan.workload import Workload

MODELS = (Measured(), Roofline())
GRAPH = Graph(
    "pair",
    (
        Operator("f", flops=1e12, bytes_touched=1e9, parameters=("w",), dtype="fp32"),
        Operator(
            "b",
            kind=Kind.BACKWARD,
            parameters=("w",),
            modes=(Mode(seconds={"v100": 0.5}, workspace_bytes=7, source="a profile"),),
        ),
    ),
    (Tensor("x", "f", ("b",), 100), Tensor("y", "f", (), 10)),
    (ParameterGroup("w", 2, 2, 12),),
)


def test_the_first_model_with_an_answer_fills_a_mode():
    priced = price(GRAPH, [device_preset("v100")], MODELS)
    f, b = priced.operators
    assert f.modes[0].seconds == {"v100": pytest.approx(1e12 / (0.7 * 15.7e12))}
    assert f.modes[0].estimates["v100"].formula.startswith("max(1e+12 FLOP")
    assert b.modes[0].seconds == {"v100": 0.5}
    assert b.modes[0].estimates["v100"].source == "a profile"


def test_models_do_not_mix_within_a_mode():
    priced = price(GRAPH, [device_preset("v100"), device_preset("a100")], MODELS)
    assert set(priced.operators[0].modes[0].seconds) == {"v100", "a100-80gb"}
    assert set(priced.operators[1].modes[0].seconds) == {"v100"}


def test_an_operator_without_seconds_is_an_error_with_every_reason():
    with pytest.raises(InputError) as error:
        price(GRAPH, [device_preset("a100")], MODELS)
    assert "operator 'b' has no seconds on 'a100-80gb'" in str(error.value)
    assert "measured: measured on v100 only; set its option 'scale: true'" in str(error.value)
    assert "roofline: neither FLOP nor bytes are known" in str(error.value)


def test_a_kind_that_can_run_nothing_is_an_error():
    only = Graph("one", (Operator("f", modes=(Mode(seconds={"v100": 1.0}),)),))
    with pytest.raises(InputError, match="device kind 'other' can run no operator of graph 'one'"):
        price(only, [device_preset("v100"), Device("d", kind="other")], MODELS)


def test_devices_of_one_kind_must_agree():
    devices = [Device("a", memory_bandwidth=1.0), Device("b", memory_bandwidth=2.0)]
    with pytest.raises(InputError, match="'a' and 'b' are both of kind 'device' but differ in mem"):
        price(GRAPH, devices, MODELS)


def test_the_table_shows_seconds_sizes_and_sources():
    graph = price(GRAPH, [device_preset("v100")], MODELS)
    problem = Problem("p", graph, Cluster("c", (device_preset("v100"),)), Workload())
    f, b = cost_table(problem)
    assert (f.operator, f.mode, f.device_kind) == ("f", "default", "v100")
    assert (f.input_bytes, f.output_bytes, f.saved_bytes, f.parameter_bytes) == (0, 110, 100, 16)
    assert (f.flops, f.bytes_touched) == (1e12, 1e9)
    assert (b.seconds, b.formula, b.source) == (0.5, "measured", "a profile")
    assert (b.input_bytes, b.saved_bytes, b.workspace_bytes) == (100, 0, 7)


def test_seconds_without_a_cost_model_are_shown_as_given():
    operator = Operator("f", modes=(Mode(seconds={"*": 2.0}, source="the user"),))
    problem = Problem("p", Graph("g", (operator,)), Cluster("c", (Device("d"),)), Workload())
    (row,) = cost_table(problem)
    assert (row.seconds, row.formula, row.source) == (2.0, "given", "the user")
