"""Quantities with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import UnitError
from parplan.spec.units import EXAMPLES, UNITS, Dimension, dimension_of, parse_quantity

SIZE, TIME, BANDWIDTH = Dimension.SIZE, Dimension.TIME, Dimension.BANDWIDTH
WORK, SPEED = Dimension.WORK, Dimension.SPEED


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80 GB", SIZE, 80 * 10**9),
        ("80GiB", SIZE, 80 * 2**30),
        ("1.5 MiB", SIZE, 3 * 2**19),
        ("12", SIZE, 12),
        ("1_000 B", SIZE, 1000),
        ("50 GB/s", BANDWIDTH, 50 * 10**9),
        ("400 Gbit/s", BANDWIDTH, 50 * 10**9),
        ("inf", BANDWIDTH, float("inf")),
        ("1.5 ms", TIME, 0.0015),
        ("2 us", TIME, 2e-6),
        ("2 µs", TIME, 2e-6),
        ("1e-3 s", TIME, 0.001),
        ("2 min", TIME, 120),
        ("989 TFLOP/s", SPEED, 989 * 10**12),
        ("3 GFLOP", WORK, 3 * 10**9),
    ],
)
def test_quantity_is_read_in_its_base_unit(text: str, dimension: Dimension, value: float) -> None:
    assert parse_quantity(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension", "advice"),
    [
        ("80 Gb", SIZE, "write '80 GB', or '10 GB' if bits"),
        ("80 Gbit", SIZE, "write '10 GB', or '80 GB'"),
        ("80 G", SIZE, "write e.g. '80 GB'"),
        ("80 gb", SIZE, "did you mean '80 GB'"),
        ("80 GB/s", SIZE, "write '80 GB'"),
        ("50 GB", BANDWIDTH, "write '50 GB/s'"),
        ("400 Gbit", BANDWIDTH, "write '400 Gbit/s'"),
        ("400 Gb/s", BANDWIDTH, "'400 Gbit/s' or '400 GB/s'"),
        ("400 Gbps", BANDWIDTH, "'400 Gbit/s' or '400 GB/s'"),
        ("989 TFLOPS", SPEED, "write '989 TFLOP/s'"),
        ("989 TFLOP", SPEED, "write '989 TFLOP/s'"),
        ("3 TFLOPs", WORK, "write '3 TFLOP'"),
        ("3 TFLOP/s", WORK, "write '3 TFLOP'"),
        ("5 msec", TIME, "did you mean '5 ms'"),
        ("5 GB", TIME, "e.g. '1.5 ms'"),
        ("much", TIME, "write e.g. '1.5 ms'"),
        ("", SIZE, "write e.g. '80 GB'"),
        ("1e999999 s", TIME, "is written like 1.5 ms"),
        ("9" * 5000, SIZE, "write e.g."),
    ],
)
def test_mistaken_unit_names_the_right_one(text: str, dimension: Dimension, advice: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension)
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.integers(0, 10**15), st.sampled_from(sorted(UNITS)))
def test_every_unit_scales_by_its_factor(amount: int, unit: str) -> None:
    dimension, factor = UNITS[unit]
    if dimension is Dimension.BITS:
        with pytest.raises(UnitError):
            parse_quantity(f"{amount} {unit}", Dimension.SIZE)
    else:
        assert parse_quantity(f"{amount} {unit}", dimension) == pytest.approx(
            float(amount * factor), rel=1e-15
        )


@given(st.text(max_size=30), st.sampled_from(sorted(EXAMPLES)))
def test_any_text_is_a_finite_amount_or_a_unit_error(text: str, dimension: Dimension) -> None:
    try:
        value = parse_quantity(text, dimension)
    except UnitError:
        return
    assert value == value


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("latency_s", TIME),
        ("seconds", TIME),
        ("memory_bytes", SIZE),
        ("bytes_touched", SIZE),
        ("writes", SIZE),
        ("memory_bandwidth", BANDWIDTH),
        ("peak_flops", SPEED),
        ("flops", WORK),
        ("microbatches", None),
        ("groups", None),
    ],
)
def test_field_names_carry_their_unit(name: str, dimension: Dimension | None) -> None:
    assert dimension_of(name) is dimension
