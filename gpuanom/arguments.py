"""Checks of the arguments of public functions: converted where their meaning is clear, otherwise refused in one line.

In notebooks people pass NumPy numbers for numbers, a number for a text, a text for a path, or one item for a list. The
functions that take a name and a value take the name of the argument, for the message, and its value as it was passed.
"""

from __future__ import annotations

import datetime
import math
import operator
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np

from gpuanom.errors import GpuanomError, InputError, SettingsError
from gpuanom.paths import Relocation, absolute
from gpuanom.settings import Settings

Kind = TypeVar("Kind")


def shown(value: object) -> str:
    """Return a wrong argument as messages show it: its value where that is short, else its type."""
    plain = value is None or isinstance(value, str | bytes | int | float | complex | list | tuple | dict | set)
    text = repr(value) if plain else ""
    return text if 0 < len(text) <= 60 else f"of type {type(value).__name__}"


def whole_number(value: object) -> int | None:
    """Return a whole number of Python or NumPy as an int; None for anything else, also for True and False."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:  # an object's own conversion may raise anything
        return None


def is_several(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether an object can be iterated over; arrays without dimensions claim so, but cannot."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0 and not isinstance(value, type)


def count(name: str, value: object, low: int = 1) -> int | None:
    """Return an argument that counts something, such as threads: a whole number from `low`; None stays None.

    Raises
    ------
    SettingsError
        When the value is no whole number, or is below `low`.
    """
    number = None if value is None else whole_number(value)
    if value is not None and (number is None or number < low):
        raise SettingsError(f"{name} is {shown(value)} but must be a whole number from {low}")
    return number


def text(name: str, value: object) -> str:
    """Return an argument that names something; None is an empty text.

    It is a text, or a whole number as in headers (EXPNUM = 845291).

    Raises
    ------
    InputError
        When the value is neither a text nor a whole number.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    number = whole_number(value)
    if number is None:
        raise InputError(f"{name} is {shown(value)} but must be a text or a whole number")
    return str(number)


def start(name: str, value: object) -> str:
    """The start of an exposure as headers have it, ISO 8601 in UTC; None and an empty text mean unknown.

    A text is kept as it is. An astropy Time, a datetime and a datetime64 are converted; without a time zone
    they are in UTC.

    Raises
    ------
    InputError
        When it is something else, or a text that is no date.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    from astropy.time import Time

    wrong = f"{name} is {shown(value)} but must be a date such as '2026-11-23T04:05:06', or an astropy Time"
    if isinstance(value, bool | int | float):  # astropy would ask for a format
        raise InputError(wrong)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a year that astropy calls dubious is still a date
            scale = None if hasattr(value, "scale") else "utc"  # an astropy Time has its own
            given = Time(value.removesuffix("Z") if isinstance(value, str) else value, scale=scale)
            if not given.isscalar or given.masked:
                raise ValueError
            return str(value) if isinstance(value, str) else str(given.utc.isot)
    except Exception:  # whatever the object's own conversion raises
        raise InputError(wrong) from None


def seconds(name: str, value: object) -> float:
    """A time in seconds; None and NaN mean unknown.

    A number is in seconds. A Quantity, a TimeDelta and a timedelta are converted.

    Raises
    ------
    InputError
        When it is something else, infinite or negative.
    """
    if value is None:
        return math.nan
    wrong = f"{name} is {shown(value)} but must be a number of seconds, or an astropy Quantity of time"
    try:
        if isinstance(value, datetime.timedelta):
            number = value.total_seconds()
        elif hasattr(value, "to_value"):  # astropy's Quantity and TimeDelta
            number = float(value.to_value("s"))
        elif isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        else:
            number = float(value)  # type: ignore[arg-type]
    except Exception:  # whatever the object's own conversion raises
        raise InputError(wrong) from None
    if number < 0 or math.isinf(number):
        raise InputError(wrong)
    return number


def path(name: str, value: object, error: type[GpuanomError] = InputError) -> Path:
    """Return an argument that is a path: a text, bytes or a path. A leading ``~`` is the home folder.

    Raises
    ------
    GpuanomError
        Of the type `error`, when the value is no path, or an empty text.
    """
    try:
        found = Path(given := os.fsdecode(value))  # type: ignore[arg-type]
        if not given or "\0" in given:
            raise ValueError
        return found if found.exists() or not str(found).startswith("~") else found.expanduser()
    except (TypeError, ValueError):
        raise error(f"{name} is {shown(value)} but must be a path") from None
    except (OSError, RuntimeError):  # a path that cannot be looked up is reported where it is used
        return found


def inputs(name: str, value: object) -> list[str | Path]:
    """Return the inputs of a function as a list: from a path, or several; an empty one for None.

    Raises
    ------
    InputError
        When the value is neither a path nor a list of paths, or a path is an empty text.
    """
    if value is None:
        return []
    if isinstance(value, str | bytes | os.PathLike):
        value = [value]
    if isinstance(value, Mapping) or not is_several(value):
        raise InputError(f"{name} is {shown(value)} but must be a path or a list of paths")
    found: list[str | Path] = []
    for item in value:
        if isinstance(item, bytes):
            found.append(os.fsdecode(item))
        elif isinstance(item, str):
            found.append(str(item))
        elif isinstance(item, os.PathLike):
            found.append(Path(os.fsdecode(item)))
        else:
            raise InputError(f"{name} holds an item {shown(item)}, which is no path")
        if not str(found[-1]):
            raise InputError(f"{name} holds an empty text, which is no path (the present folder is .)")
    return found


def nights(name: str, value: object) -> list[Path]:
    """Return folders of nights, or files, as a list: from a path, or several; an empty one for None.

    Raises
    ------
    InputError
        When the value is neither a path nor a list of paths.
    """
    return [path(name, item) for item in inputs(name, value)]


def relocations(name: str, value: object) -> tuple[Relocation, ...]:
    """Return the moves of files that a mapping of old paths to new ones tells of, with absolute paths; None for none.

    Raises
    ------
    InputError
        When the value is no mapping, or a path in it is none.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {shown(value)} but must map old paths to new ones, such as {{'/disk1': '/disk2'}}")
    moves = ((str(absolute(path(name, place))) for place in move) for move in value.items())
    return tuple(Relocation(*move) for move in moves)


def settings(value: object) -> Settings:
    """Return the settings that an argument gives: `Settings`, or a mapping of names to values; None for the defaults.

    Raises
    ------
    SettingsError
        When the value is something else, or has an unknown or impossible setting.
    """
    if value is None:
        return Settings()
    if isinstance(value, Settings):
        return value
    if isinstance(value, Mapping):
        return Settings.from_mapping(value)
    hint = "; Settings.from_toml(path) reads a file" if isinstance(value, str | os.PathLike) else ""
    raise SettingsError(f"settings is {shown(value)} but must be gpuanom.Settings or a dict{hint}")


def formats(value: object) -> tuple[str, ...] | None:
    """Return the names of table formats from a name, several names separated by commas, or a list of names.

    None stays None: the formats that suit the tables.

    Raises
    ------
    SettingsError
        When the value is something else. Whether the names are known is not checked here.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    found = tuple(value) if is_several(value) and not isinstance(value, Mapping | bytes) else (None,)
    if not all(isinstance(name, str) for name in found):
        raise SettingsError(f"formats is {shown(value)} but must be a list of names such as ['ecsv', 'csv']")
    return tuple(str(name) for name in found)


def share(value: object) -> tuple[int, int] | None:
    """Return which part of a night to take, such as (2, 5) for the second of five parts; None for the whole night.

    Raises
    ------
    SettingsError
        When the value is not two whole numbers, the first from 1 to the second.
    """
    if value is None:
        return None
    pair = list(value) if is_several(value) and not isinstance(value, str | bytes) else []
    numbers = [number for item in pair if (number := whole_number(item)) is not None]
    if len(pair) != 2 or len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise SettingsError(
            f"shard is {shown(value)} but must be two whole numbers: the share, from 1, and the number of shares"
        )
    return numbers[0], numbers[1]


def switch(name: str, value: object) -> bool:
    """Take an argument that is true or false: a bool, also NumPy's.

    Raises
    ------
    SettingsError
        When the argument is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise SettingsError(f"{name} is {shown(value)} but must be True or False")
    return bool(value)


def called(kind: type) -> str:
    """Return what users call a type: ``gpuanom.Events`` where the package itself has the type, else its full name."""
    package = sys.modules["gpuanom"]
    place = "gpuanom" if kind.__name__ in package.__all__ else kind.__module__
    return f"{place}.{kind.__name__}"


def of_kind(name: str, value: object, kind: type[Kind]) -> Kind:
    """Return an argument that must be an object of one type; for None a new one, made by calling the type.

    Raises
    ------
    SettingsError
        When the value is of another type.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise SettingsError(f"{name} is {shown(value)} but must be {called(kind)}")
    return value
