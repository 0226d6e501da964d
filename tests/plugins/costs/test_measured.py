import pytest

from parplan.api import load_registry
from parplan.assembly import assemble_problem
from parplan.errors import InputError
from parplan.graph import Mode, Operator
from parplan.hardware import Device
from parplan.measuring.measured_costs import EVERY_KIND, MeasuredCosts, MeasuredSeconds, save_costs
from parplan.plugins.costs.measured import Measured
from parplan.spec.presets import device_preset
from parplan.spec.sections import parse_spec

CONV = Operator("conv", flops=1e12, bytes_touched=1e8, dtype="fp32")
MODE = Mode(seconds={"v100": 0.2}, source="a profile")


def test_seconds_hold_for_the_kind_they_were_measured_on():
    found = Measured().estimate(CONV, MODE, device_preset("v100"))
    assert (found.seconds, found.formula, found.source) == (0.2, "measured", "a profile")


def test_other_kinds_get_nothing_unless_scaling_is_on():
    assert Measured().estimate(CONV, MODE, device_preset("a100")) is None
    reason = Measured().refusal(CONV, MODE, device_preset("a100"))
    assert reason == "measured on v100 only; set its option 'scale: true' for other kinds"


def test_scaling_follows_the_ratio_of_the_rooflines():
    found = Measured(scale=True).estimate(CONV, MODE, device_preset("a100"))
    # Both bound by arithmetic at the same efficiency: fp32 peaks 15.7 and 19.5 TFLOP/s.
    assert found.seconds == pytest.approx(0.2 * 15.7 / 19.5)
    assert "V100" in found.source
    assert "A100" in found.source


def test_zero_seconds_stay_zero_and_unknown_work_cannot_be_scaled():
    view = Operator("view")
    scaled = Measured(scale=True)
    zero = scaled.estimate(view, Mode(seconds={"v100": 0.0}), device_preset("a100"))
    assert zero.seconds == 0
    assert scaled.estimate(view, MODE, device_preset("a100")) is None
    assert "no roofline" in scaled.refusal(view, MODE, device_preset("a100"))


def test_a_measured_kind_without_a_preset_needs_a_reference():
    mode = Mode(seconds={"mine": 0.2})
    with pytest.raises(InputError, match=r"measured on 'mine' to 'a100-80gb'.*'reference'"):
        Measured(scale=True).estimate(CONV, mode, device_preset("a100"))
    found = Measured(scale=True, reference="v100").estimate(CONV, mode, device_preset("a100"))
    assert found.seconds == pytest.approx(0.2 * 15.7 / 19.5)


def test_seconds_for_any_kind_need_no_scaling():
    assert Measured().estimate(CONV, Mode(seconds={"*": 0.3}), Device("x")).seconds == 0.3


def test_a_costs_file_says_seconds_spread_and_source(tmp_path):
    model = with_costs(tmp_path, MeasuredSeconds("conv", "", "v100", 0.1, 0.25, 8, 2))
    found = model.estimate(CONV, MODE, device_preset("v100"))
    assert found.seconds == 0.1
    assert found.formula == "measured: median of 8, spread 25.0%, its share among 3 operators"
    assert found.source == "costs.json: a run"
    assert model.estimate(Operator("other"), MODE, device_preset("v100")) is None
    assert model.refusal(Operator("other"), MODE, device_preset("v100")) == (
        "'costs.json' has no measurement"
    )


def test_a_costs_file_holds_for_modes_and_kinds_that_were_measured(tmp_path):
    model = with_costs(
        tmp_path,
        MeasuredSeconds("conv", "default", "v100", 0.1, 0.0, 1),
        MeasuredSeconds("relu", "", EVERY_KIND, 0.3, 0.0, 1),
    )
    assert model.estimate(CONV, MODE, device_preset("a100")) is None
    assert model.estimate(CONV, Mode("sharded"), device_preset("v100")) is None
    assert model.estimate(Operator("relu"), MODE, device_preset("a100")).seconds == 0.3


def test_a_costs_file_is_scaled_by_the_seconds_of_the_model_file(tmp_path):
    model = with_costs(tmp_path, MeasuredSeconds("conv", "", "v100", 0.1, 0.0, 1), scale=True)
    mode = Mode(seconds={"v100": 0.2, "mine": 0.6})
    found = model.estimate(CONV, mode, Device("x", "mine"))
    assert found.seconds == pytest.approx(0.3)
    assert "x 3, the ratio of the seconds given with the model" in found.formula
    assert model.estimate(CONV, MODE, device_preset("a100")).seconds == (
        pytest.approx(0.1 * 15.7 / 19.5)
    )


def test_a_costs_file_that_is_missing_is_named_by_the_spec(tmp_path):
    spec = parse_spec(
        "model: {operators: [{name: a}]}\ncluster: {devices: [{name: g}]}\n"
        "costs: [{measured: {file: nowhere.json}}]"
    )
    with pytest.raises(InputError, match=r"nowhere\.json: no such file"):
        assemble_problem(spec, load_registry())


def with_costs(folder, *seconds, scale=False):
    save_costs(MeasuredCosts("a run", seconds), folder / "costs.json")
    return Measured(file="costs.json", scale=scale).read_files(folder)
