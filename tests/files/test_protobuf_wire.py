"""Protocol buffers on the wire: published encodings, round trips, and damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.files.protobuf_wire import (
    bytes_field,
    delimited,
    fields,
    messages,
    number_field,
    read_varint,
    varint,
)


def test_the_published_examples() -> None:
    # protobuf.dev/programming-guides/encoding: 150 in field 1, "testing" in field 2.
    assert number_field(1, 150) == bytes.fromhex("089601")
    assert bytes_field(2, b"testing") == bytes.fromhex("120774657374696e67")
    assert varint(-2) == bytes.fromhex("feffffffffffffffff01")


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_read_as_written(value: int) -> None:
    assert read_varint(varint(value), 0) == (value, len(varint(value)))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 2**40) | st.binary(max_size=300)))
    )
)
def test_messages_are_read_as_written(found: list[list[tuple[int, int | bytes]]]) -> None:
    def field(number: int, value: int | bytes) -> bytes:
        return number_field(number, value) if isinstance(value, int) else bytes_field(number, value)

    written = [b"".join(field(*one) for one in message) for message in found]
    read = [list(fields(message)) for message in messages(b"".join(map(delimited, written)))]
    assert read == found


def test_fixed_fields_are_bytes() -> None:
    assert list(fields(bytes.fromhex("0d 01000000 11 0200000000000000"))) == [
        (1, bytes.fromhex("01000000")),
        (2, bytes.fromhex("0200000000000000")),
    ]


@pytest.mark.parametrize("data", ["80", "ffffffffffffffffffffff", "0a05aa", "0b", "09aabb"])
def test_damage_is_told(data: str) -> None:
    with pytest.raises(InputError):
        list(fields(bytes.fromhex(data)))
