import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.graph import Estimate, Kernel, Mode, Operator
from parplan.hardware import Device
from parplan.plugins.costs.roofline import Roofline
from parplan.spec.presets import device_preset

DEVICE = Device(
    "gpu",
    kind="gpu",
    peak_flops={"bf16": 100e12, "fp32": 10e12},
    memory_bandwidth=1e12,
    flops_efficiency=0.5,
    bandwidth_efficiency=0.8,
    source="a datasheet",
)
MODE = Mode()
amounts = st.floats(0, 1e18)


def estimate(operator: Operator, mode: Mode = MODE, device: Device = DEVICE) -> Estimate:
    return Roofline().estimate(operator, mode, device)


def test_arithmetic_bound_work_takes_flops_over_efficient_peak():
    found = estimate(Operator("matmul", flops=5e12, bytes_touched=1e9))
    assert found.seconds == pytest.approx(0.1)
    assert found.formula == "max(5e+12 FLOP / (0.5 x 1e+14 FLOP/s), 1e+09 B / (0.8 x 1e+12 B/s))"
    assert found.source == "a datasheet"


def test_memory_bound_work_takes_bytes_over_efficient_bandwidth():
    assert estimate(Operator("add", bytes_touched=8e11)).seconds == pytest.approx(1.0)


def test_the_peak_is_that_of_the_operators_format():
    assert estimate(Operator("matmul", flops=5e12, dtype="fp32")).seconds == pytest.approx(1.0)


def test_kernels_run_one_after_another():
    kernels = (Kernel(5e12, 0.0), Kernel(0.0, 8e11))
    joined = Operator("layer", flops=5e12, bytes_touched=8e11, kernels=kernels)
    assert estimate(joined).seconds == pytest.approx(1.1)
    assert estimate(joined).formula.startswith("sum over 2 kernels")


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=5))
def test_kernels_never_take_less_than_their_sum_as_one(pairs):
    kernels = tuple(Kernel(f, b) for f, b in pairs)
    flops, touched = sum(k.flops for k in kernels), sum(k.bytes_touched for k in kernels)
    apart = Operator("a", flops=flops, bytes_touched=touched, kernels=kernels)
    whole = estimate(Operator("b", flops=flops, bytes_touched=touched))
    if whole is None:
        assert estimate(apart) is None
    else:
        assert estimate(apart).seconds >= whole.seconds * (1 - 1e-9)


def test_a_mode_with_its_own_work_scales_every_kernel():
    kernels = (Kernel(5e12, 1e9), Kernel(0.0, 8e11))
    operator = Operator("layer", flops=5e12, bytes_touched=8.01e11, kernels=kernels)
    half = Mode(flops=2.5e12, bytes_touched=4.005e11)
    assert estimate(operator, half).seconds == pytest.approx(estimate(operator).seconds / 2)


def test_nothing_is_said_without_work_or_figures_and_the_reason_is_given():
    bare = Device("bare")
    work = Operator("matmul", flops=1.0, bytes_touched=1.0)
    assert estimate(Operator("view")) is None
    assert estimate(work, device=bare) is None
    assert "FLOP nor bytes" in Roofline().refusal(Operator("view"), Mode(), DEVICE)
    assert "states no peak_flops" in Roofline().refusal(work, Mode(), bare)


def test_a_format_the_device_lacks_is_an_error_naming_both():
    with pytest.raises(InputError, match=r"'v100-sxm2-16gb' \(v100\) has no peak .* for 'bf16'"):
        estimate(Operator("matmul", flops=1.0), device=device_preset("v100"))
