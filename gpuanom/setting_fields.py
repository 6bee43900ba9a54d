"""The fields of `gpuanom.Settings`: values read from TOML, checked, and written; and the docstring that lists them."""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from gpuanom.cameras.rules import MASK_CLASSES, CameraRule, toml_text
from gpuanom.cameras.user_rules import from_table
from gpuanom.errors import SettingsError

MEASUREMENT = "measurement"
SCORE = "score"
READING = "reading"
"""The stage of settings that decide which files are believed: a sound file's measurements do not depend on them."""
STATISTICS = "statistics"
"""The stage of settings of METHOD.md Part II, on which nothing of the paper's scores depends."""


def setting(
    default: Any,
    help: str,
    place: str,
    *,
    check: Callable[[Any], bool],
    allowed: str,
    stage: str = MEASUREMENT,
    unit: str = "",
) -> Any:
    """A dataclass field with what `gpuanom settings`, the checks and the docs need to know of it."""
    return dataclasses.field(
        default=default,
        metadata={"help": help, "place": place, "check": check, "allowed": allowed, "stage": stage, "unit": unit},
    )


def read_toml(path: str | Path) -> dict[str, Any]:
    """The top-level table of a TOML file.

    Raises
    ------
    SettingsError
        When the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except TypeError:
        raise SettingsError(f"the settings' file is {path!r} but must be a path") from None
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read: {error.strerror} (gpuanom settings > my.toml writes one to begin with)"
        ) from None
    except UnicodeDecodeError:
        remedy = "gpuanom settings > my.toml writes one to begin with"
        raise SettingsError(f"{path}: not a settings file, which is TOML, a text in UTF-8 ({remedy})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except ValueError as error:  # a null character in the path
        raise SettingsError(f"{str(path)!r}: cannot be read: {error}") from None


def with_attributes(text: str | None, fields: Iterable[dataclasses.Field[Any]]) -> str | None:
    """Return the docstring of `Settings` with a section that describes each setting; None where there is none (-OO)."""
    if text is None:
        return None
    lines = ["", "", "Attributes", "----------"]
    for f in fields:
        about = f.metadata
        unit = f", in {about['unit']}" if about["unit"] else ""
        place = "" if about["place"] == "-" else f" (METHOD.md {about['place']})"
        meaning = about["help"][0].upper() + about["help"][1:]
        lines += [f"{f.name} : {f.type}", f"    {meaning}{unit}{place}: {about['allowed']}."]
    before, raises, after = inspect.cleandoc(text).partition("\n\nRaises\n")
    return before + "\n".join(lines) + raises + after + "\n"


def from_toml_value(name: str, value: Any) -> Any:
    """Return the value of a setting from what a TOML file holds: tables of camera rules become records."""
    if name != "cameras" or isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise SettingsError("setting 'cameras' must be tables [cameras.NAME]")
    return tuple(from_table(camera, rule) for camera, rule in sorted(value.items()))


def checked(f: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value of a setting in its own type, or refuse it in one line that names the setting."""
    default: Any = f.default
    kind, allowed = type(default), f.metadata["allowed"]
    numpy = sys.modules.get("numpy")  # np.int64(3) is a whole number too; commands alone need no NumPy
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if kind is tuple and isinstance(value, list | tuple):
        member = CameraRule if f.name == "cameras" else type(default[0]) if default else str
        value = tuple(map(_as_float, value) if member is float else value)
        kind = tuple if all(isinstance(item, member) for item in value) else type(None)
    elif kind is float:
        value = _as_float(value)
    if type(value) is not kind or not f.metadata["check"](value):
        raise SettingsError(f"setting '{f.name}' is {value!r} but must be {allowed}")
    return value


def _as_float(value: Any) -> Any:
    """Return a whole number as a float; anything else as it is."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_text(v) for v in value) + "]"
    return toml_text(value)


def decimal(value: float) -> Fraction:
    """A setting as the decimal number that it was written as: 0.1 of 70 is 7, not 7.000000000000001."""
    return Fraction(repr(value))


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What differs between two `Settings.measurement` mappings, in words; empty when nothing does."""
    differing = [n for n in sorted(set(ours) | set(theirs)) if ours.get(n) != theirs.get(n)]
    return ", ".join(
        _differing_rules(ours.get(n) or {}, theirs.get(n) or {})
        if n == "cameras"
        else f"{n} {theirs.get(n)!r} there, {ours.get(n)!r} here"
        for n in differing
    )


def _differing_rules(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What differs between the camera rules of two records: the names of rules, or of the keys of a rule."""
    differences = []
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs:
            differences.append(f"camera rule '{name}' only {'here' if name in ours else 'there'}")
        elif ours[name] != theirs[name]:
            keys = [k for k in sorted({*ours[name], *theirs[name]}) if ours[name].get(k) != theirs[name].get(k)]
            differences.append(f"camera rule '{name}' with other {', '.join(keys)}")
    return ", ".join(differences)


def any_value(_value: object) -> bool:
    """Whether a value is allowed: every value is."""
    return True


def count(low: int, high: int) -> dict[str, Any]:
    """What a whole number within bounds must be."""
    return {"check": lambda v: low <= v <= high, "allowed": f"a whole number from {low} to {high}"}


def fraction(low: float, high: float) -> dict[str, Any]:
    """What a number within bounds, the upper one excluded, must be."""
    return {"check": lambda v: low <= v < high, "allowed": f"a number from {low} to below {high}"}


def positive() -> dict[str, Any]:
    """What a positive number must be."""
    return {"check": lambda v: math.isfinite(v) and v > 0, "allowed": "a number above 0"}


def numbers(n: int) -> dict[str, Any]:
    """What a list of n positive numbers must be."""
    return {
        "check": lambda v: len(v) == n and all(math.isfinite(x) and x > 0 for x in v),
        "allowed": f"a list of {n} numbers above 0",
    }


def even(low: int, high: int) -> dict[str, Any]:
    """What an even number within bounds must be."""
    return {"check": lambda v: low <= v <= high and v % 2 == 0, "allowed": f"an even number from {low} to {high}"}


def mask_classes() -> dict[str, Any]:
    """What a list of mask classes must be."""
    return {
        "check": lambda v: v == ("all",) or all(c in MASK_CLASSES for c in v),
        "allowed": f'a list of mask classes ({", ".join(MASK_CLASSES)}) or ["all"]',
    }
