"""Thrift's compact protocol, in which the end of a Parquet file is written: read and written again, byte for byte."""

from __future__ import annotations

from typing import Any, TypeAlias

Struct: TypeAlias = dict[int, tuple[int, Any]]
"""The type and the value of each field, by the field's number and in the order of the numbers."""

YES, NO, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
"""The types of this protocol: a field that is true or false has no value but its type."""


def read_struct(data: bytes) -> Struct:
    """Read a struct.

    Parameters
    ----------
    data : bytes
        The struct, and nothing behind it.

    Raises
    ------
    ValueError, IndexError
        When the bytes are no such struct, or hold a type that Parquet does not use there.
    """
    found, end = _read_struct(data, 0)
    if end != len(data):
        raise ValueError("more bytes than a struct has")
    return found


def written_struct(struct: Struct) -> bytes:
    """Return the bytes of a struct.

    Parameters
    ----------
    struct : dict
        See `read_struct`.
    """
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def _read_struct(data: bytes, at: int) -> tuple[Struct, int]:
    found: Struct = {}
    field = 0
    while data[at]:
        step, kind = data[at] >> 4, data[at] & 15
        at += 1
        if step:
            field += step
        else:
            field, at = _read_number(data, at)
        value, at = (None, at) if kind in (YES, NO) else _read_value(data, at, kind)
        found[field] = kind, value
    return found, at + 1


def _read_value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (I16, I32, I64):
        return _read_number(data, at)
    if kind == BINARY:
        size, at = _read_size(data, at)
        return data[at : at + size], at + size
    if kind == DOUBLE:
        return data[at : at + 8], at + 8
    if kind in (YES, NO, BYTE):  # in a list
        return data[at : at + 1], at + 1
    if kind == STRUCT:
        return _read_struct(data, at)
    if kind not in (LIST, SET):
        raise ValueError(f"a value of the type {kind}")
    size, of = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _read_size(data, at)
    values = []
    for _ in range(size):
        value, at = _read_value(data, at, of)
        values.append(value)
    return (of, values), at


def _read_size(data: bytes, at: int) -> tuple[int, int]:
    """A number of at least 0: seven bits a byte, the lowest first."""
    number, shift = 0, 0
    while True:
        byte = data[at]
        at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
        if byte < 128:
            return number, at


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """A number with a sign, which is the lowest bit."""
    number, at = _read_size(data, at)
    return number >> 1 ^ -(number & 1), at


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for field, (kind, value) in struct.items():
        if 0 < field - before < 16:
            out.append((field - before) << 4 | kind)
        else:
            out.append(kind)
            _write_number(out, field)
        if kind not in (YES, NO):
            _write_value(out, kind, value)
        before = field
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (I16, I32, I64):
        _write_number(out, value)
    elif kind == BINARY:
        _write_size(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        of, values = value
        out.append(min(len(values), 15) << 4 | of)
        if len(values) > 14:
            _write_size(out, len(values))
        for one in values:
            _write_value(out, of, one)
    else:
        out += value


def _write_size(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _write_number(out: bytearray, number: int) -> None:
    _write_size(out, number << 1 if number >= 0 else (-number << 1) - 1)
