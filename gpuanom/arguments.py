"""Arguments of public functions as people pass them: taken where their meaning is plain, or refused in one line.

Notebooks pass numbers of NumPy for numbers, a number for a text, a text for a path, one thing for a list of one.
"""

from __future__ import annotations

import datetime
import math
import operator
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gpuanom.errors import GpuanomError, InputError, SettingsError
from gpuanom.settings import Settings

Kind = TypeVar("Kind")


def shown(value: object) -> str:
    """A wrong argument in a message: its value where that is short, else its type."""
    plain = value is None or isinstance(value, str | bytes | int | float | complex | list | tuple | dict | set)
    text = repr(value) if plain else ""
    return text if 0 < len(text) <= 60 else f"of type {type(value).__name__}"


def whole_number(value: object) -> int | None:
    """A whole number of Python or NumPy as an int; None where it is something else, a truth value among them."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:  # whatever an object's own conversion raises
        return None


def is_several(value: object) -> bool:
    """Whether something can be gone through; an array without dimensions says so of itself, and cannot."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0 and not isinstance(value, type)


def count(name: str, value: object, low: int = 1) -> int | None:
    """A number of things, or None for the default.

    Raises
    ------
    SettingsError
        When it is no whole number from `low`.
    """
    number = None if value is None else whole_number(value)
    if value is not None and (number is None or number < low):
        raise SettingsError(f"{name} is {shown(value)} but must be a whole number from {low}")
    return number


def text(name: str, value: object) -> str:
    """A name: a text or a whole number, as headers have them (EXPNUM = 845291); None is an empty one.

    Raises
    ------
    InputError
        When it is something else.
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

    Parameters
    ----------
    name : str
        What messages call the argument.
    value : str, astropy Time, datetime, datetime64 or None
        A text is kept as it is; a datetime without time zone is in UTC.

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
            given = Time(value.removesuffix("Z") if isinstance(value, str) else value, scale=_scale_of(value))
            if not given.isscalar or given.masked:
                raise ValueError
            return str(value) if isinstance(value, str) else str(given.utc.isot)
    except Exception:  # whatever the object's own conversion raises
        raise InputError(wrong) from None


def _scale_of(value: object) -> str | None:
    """The time scale that astropy is to take a date for; an astropy Time has its own."""
    return None if hasattr(value, "scale") else "utc"


def seconds(name: str, value: object) -> float:
    """A time in seconds; None and NaN mean unknown.

    Parameters
    ----------
    name : str
        What messages call the argument.
    value : float, Quantity, TimeDelta, timedelta or None
        A number is in seconds.

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
        elif isinstance(value, bool | str | bytes) or type(value).__name__ in ("bool", "bool_"):
            raise TypeError
        else:
            number = float(value)  # type: ignore[arg-type]
    except Exception:  # whatever the object's own conversion raises
        raise InputError(wrong) from None
    if number < 0 or math.isinf(number):
        raise InputError(wrong)
    return number


def path(name: str, value: object, error: type[GpuanomError] = InputError) -> Path:
    """A path of any kind, ``~`` read as a shell does.

    Raises
    ------
    GpuanomError
        Of the kind `error`, when it is no path.
    """
    try:
        found = Path(os.fsdecode(value))  # type: ignore[arg-type]
        if "\0" in str(found):
            raise ValueError
        return found if found.exists() or not str(found).startswith("~") else found.expanduser()
    except (TypeError, ValueError):
        raise error(f"{name} is {shown(value)} but must be a path") from None
    except (OSError, RuntimeError):  # what cannot be looked up, or a home that is not known, is said where it is used
        return found


def inputs(name: str, value: object) -> list[str | Path]:
    """Inputs: a path, or several.

    Raises
    ------
    InputError
        When they are something else.
    """
    if value is None:
        return []
    given: Iterable[object]
    if isinstance(value, str | bytes | os.PathLike):
        given = [value]
    elif isinstance(value, Mapping) or not is_several(value):
        raise InputError(f"{name} is {shown(value)} but must be a path or a list of paths")
    else:
        given = value  # type: ignore[assignment]
    found: list[str | Path] = []
    for item in given:
        if isinstance(item, bytes):
            found.append(os.fsdecode(item))
        elif isinstance(item, str):
            found.append(str(item))
        elif isinstance(item, os.PathLike):
            found.append(Path(os.fsdecode(item)))
        else:
            raise InputError(f"{name} holds an item {shown(item)}, which is no path")
    return found


def nights(name: str, value: object) -> list[Path]:
    """Folders of nights, and files beside them: a path, or several.

    Raises
    ------
    InputError
        When they are something else.
    """
    return [path(name, item) for item in inputs(name, value)]


def settings(value: object) -> Settings:
    """Settings, or a mapping of their names to values; None means the defaults.

    Raises
    ------
    SettingsError
        When they are something else.
    """
    if value is None:
        return Settings()
    if isinstance(value, Settings):
        return value
    if isinstance(value, Mapping):
        return Settings.from_mapping(value)
    hint = "; Settings.from_toml(path) reads a file" if isinstance(value, str | os.PathLike) else ""
    raise SettingsError(f"settings is {shown(value)} but must be gpuanom.Settings or a dict{hint}")


def formats(value: object) -> tuple[str, ...]:
    """Formats of tables: a name, several with commas between, or a list of names.

    Raises
    ------
    SettingsError
        When they are something else.
    """
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if not isinstance(value, Iterable) or not is_several(value) or isinstance(value, Mapping | bytes):
        raise SettingsError(f"formats is {shown(value)} but must be a list of names such as ['ecsv', 'csv']")
    found = tuple(value)
    if not all(isinstance(name, str) for name in found):
        raise SettingsError(f"formats is {shown(value)} but must be a list of names such as ['ecsv', 'csv']")
    return tuple(str(name) for name in found)


def share(value: object) -> tuple[int, int] | None:
    """A share of a night: which, from 1, and of how many; None means all.

    Raises
    ------
    SettingsError
        When it is something else.
    """
    if value is None:
        return None
    several = isinstance(value, Iterable) and is_several(value) and not isinstance(value, str | bytes)
    pair: list[Any] = list(value) if several else []  # type: ignore[call-overload]
    numbers = [number for item in pair if (number := whole_number(item)) is not None]
    if len(pair) != 2 or len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise SettingsError(
            f"shard is {shown(value)} but must be two whole numbers: the share, from 1, and their number"
        )
    return numbers[0], numbers[1]


def of_kind(name: str, value: object, kind: type[Kind]) -> Kind:
    """A record of one of our own kinds; None means a new one.

    Raises
    ------
    SettingsError
        When it is something else.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise SettingsError(f"{name} is {shown(value)} but must be a {kind.__module__}.{kind.__name__}")
    return value
