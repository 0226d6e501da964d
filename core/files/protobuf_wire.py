"""Protocol buffers on the wire: what formats that use them need, without their library.

Encoding: protobuf.dev/programming-guides/encoding. Files of several messages have the length of
each before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from parplan.errors import InputError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


def varint(value: int) -> bytes:
    """Return a number as a varint; a negative one as its 64-bit two's complement.

    >>> varint(300).hex()
    'ac02'
    """
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number_field(field: int, value: int) -> bytes:
    """Return a field that holds a number, a truth value or an enumerator."""
    return varint(field << 3 | VARINT) + varint(value)


def bytes_field(field: int, value: bytes) -> bytes:
    """Return a field that holds bytes, a text in UTF-8, or a message."""
    return varint(field << 3 | BYTES) + varint(len(value)) + value


def delimited(message: bytes) -> bytes:
    """Return a message with its length before it."""
    return varint(len(message)) + message


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place behind it.

    Raises
    ------
    InputError
        If the data ends within it, or it is longer than ten bytes.
    """
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value & (1 << 64) - 1, at + i + 1
    raise InputError(f"has no whole number at byte {at}: it is damaged, or no protocol buffer")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field, value) in the order of the message: numbers of varints, bytes of all others.

    Raises
    ------
    InputError
        If the message is damaged.
    """
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            number, at = read_varint(message, at)
            yield field, number
            continue
        if kind == BYTES:
            size, at = read_varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise InputError(f"field {field} has the unknown wire type {kind}")
        if at + size > len(message):
            raise InputError(f"field {field} is longer than the message that holds it")
        yield field, message[at : at + size]
        at += size


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a file, each with its length before it; InputError if one is cut."""
    at = 0
    while at < len(data):
        size, at = read_varint(data, at)
        if at + size > len(data):
            raise InputError(f"ends within the message at byte {at}: the file is not whole")
        yield data[at : at + size]
        at += size
