"""The headers of ECSV and Parquet tables, as astropy writes them: YAML of columns and meta data.

Astropy and its YAML library take a second to be imported and to write two headers, more than all else that a night of a
few exposures needs once the exposures are measured. The headers of our tables need little of YAML: one line for each
column, texts that are plain or in single quotes, and lines that are broken between words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gpuanom.tables.columns import Column

_WIDTH, _INDENT = 130, 4
"""Lines longer than this are broken at the next space; what follows is indented."""

_LONG = 100
"""YAML writes names of more than 127 letters otherwise, and breaks lines at words that fill a line in its own way."""

_UNITS = {"s": "s", "deg": "deg", "pixel": "pix", "arcsec": "arcsec"}
"""The units of our columns, as astropy prints them."""

_TYPES = {"text": "string", "float": "float64", "int": "int64", "rank": "int64"}
_ASCII = re.compile(r"[!-~]+( [!-~]+)*|")
_QUOTED = re.compile(r"[,\[\]{}#&*!|>'\"%@`?:]|-(?: |$)|.*(?:[,?\[\]{}:]| #)", re.DOTALL)
"""What begins like this, or holds these letters, is put into quotes."""
_NUMBER_LIKE = re.compile(r"[-+.0-9][-+.:0-9a-fA-FxXtTzZ_ iInN]*")
"""What might be a number or a time for a reader of YAML."""
_NO_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+){2,}|(?!0b)(?=[0-9]*[a-f])[0-9a-f]+")
"""What looks like a number and is none: a version, or a hash that has a letter."""
_WORDS = frozenset(("yes", "no", "true", "false", "on", "off", "null", "~", "=", "<<", "y", "n"))


def ecsv_header(columns: Sequence[Column], meta: Mapping[str, Any]) -> str | None:
    """Return the header of an ECSV table, the line of column names included; None where only astropy knows it.

    Parameters
    ----------
    columns : sequence of Column
    meta : mapping of str to str or int
        What the table says of how it was made.
    """
    lines = yaml_lines(columns, meta)
    if lines is None:
        return None
    head = [f"# {line}\n" for line in ("%ECSV 1.0", "---", *lines, "schema: astropy-2.0")]
    return "".join([*head, " ".join(column.name for column in columns), "\n"])


def yaml_lines(columns: Sequence[Column], meta: Mapping[str, Any]) -> list[str] | None:
    """Return the YAML of columns and meta data, line by line; None where only astropy knows it.

    Parameters
    ----------
    columns : sequence of Column
    meta : mapping of str to str or int
    """
    if not columns:
        return None
    found: list[str | None] = ["datatype:"]
    for column in columns:
        unit = {"unit": _UNITS.get(column.unit, "?")} if column.unit else {}
        about = {"name": column.name, **unit, "datatype": _TYPES[column.kind], "description": column.description}
        found.append(_item(about))
    if meta:
        found += ["meta: !!omap", *(_item({name: value}) for name, value in meta.items())]
    if None in found or any(_UNITS.get(column.unit) is None for column in columns if column.unit):
        return None
    return [line for item in found if item is not None for line in item.split("\n")]


def _item(values: Mapping[str, Any]) -> str | None:
    """An item of a list that is a mapping; None where a value is none of those that are known here."""
    text, at = ["- {"], 3
    for i, (name, value) in enumerate(values.items()):
        words = _words(value)
        known = name.isidentifier() and name.isascii() and name.lower() not in _WORDS and len(name) < _LONG
        if words is None or not known:
            return None
        if i:
            text.append(",")
            at = _broken(text, at + 1)
        text.append(f"{name}: ")
        at += len(name) + 2
        for k, word in enumerate(words):
            if k:
                at = _broken(text, at)
            text.append(word)
            at += len(word)
    return "".join([*text, "}"])


def _broken(text: list[str], at: int) -> int:
    """Go on after a space, or in a new line where this one is full; return the place in the line."""
    if at > _WIDTH:
        text.append("\n" + _INDENT * " ")
        return _INDENT
    text.append(" ")
    return at + 1


def _words(value: Any) -> list[str] | None:
    """The words of a value as YAML has them, or None."""
    if type(value) is int:
        return [str(value)]
    if not isinstance(value, str) or not _ASCII.fullmatch(value) or value.lower() in _WORDS:
        return None
    if value.startswith(("---", "...")) or max(map(len, value.split(" "))) >= _LONG:
        return None
    if not value or _QUOTED.match(value):
        return f"'{value.replace(chr(39), 2 * chr(39))}'".split(" ")
    if _NUMBER_LIKE.fullmatch(value) and not _NO_NUMBER.fullmatch(value):
        return None
    return value.split(" ")
