"""The camera rules of a user: what a settings file need not say, and how a store of measurements records a rule.

A rule of a settings file is seldom complete. What the rule does not say is taken from the built-in rule of the same
name, or else from the rule ``any``, so that a rule that only names the keyword of the band still trims overscan,
applies masks and leaves calibrations out.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import CameraRule, plain_value, require_table, toml_line

ONLY = "only"
"""Last entry of a list of keywords after which no others are tried."""

FALLING_BACK: tuple[str, ...] = ("exposure", "date", "exptime", "ccd", "saturation")
"""Lists of keywords that go on with those of the rule from which a user's rule inherits. (The band does so for every
rule: `gpuanom.fits.exposures.bands`.)"""

EXAMPLE: tuple[str, ...] = (
    "# A camera rule says what the headers of a camera mean, where gpuanom reads them in another way than they are",
    "# meant. All keys: docs/files.md. What a rule does not say is taken from the rule for any camera.",
    "# `gpuanom explain FILE --config THIS_FILE` tells what a rule does. Remove the # to use these lines:",
    "# [cameras.mycam]",
    '# match = {INSTRUME = "MYCAM*"}    # the files that the rule is for: a keyword, and a pattern of its value',
    '# exposure = ["RUNNO"]             # keywords of the number of the exposure',
    '# band = ["FILTNAM:word"]          # keywords of the filter; of this one the first word',
    '# ccd = ["CHIPID"]                 # keywords of the name of a CCD',
    '# trim = ["TRIMSEC", "DATASEC"]    # cards of the part of a CCD that shows the sky; [] takes images whole',
    '# skip_ccds = ["GUIDE*"]         # names of CCDs that are not scored',
    '# mask = "bits"                    # a quality plane whose values are sums of these bits ...',
    '# mask_hdu = "DQ"                  # ... in the HDU of this name',
    '# mask_values = {1 = "bad", 2 = "saturated", 4 = "cosmic_ray"}',
)
"""A camera rule as comments of TOML, with which `gpuanom settings` ends."""

_MASK_KEYS = ("mask_file", "mask_hdu", "mask_values")
_LONG = ("not_sky", "stacks", "not_ccds")  # built-in rules have hundreds of patterns there


def parent(name: str) -> CameraRule:
    """Return the rule from which a user's rule inherits: the built-in rule of the same name, or else ``any``."""
    return next((rule for rule in BUILTIN_RULES if rule.name == name), BUILTIN_RULES[-1])


def from_table(name: str, table: Any) -> CameraRule:
    """Make a rule from a table ``[cameras.NAME]`` of the settings file.

    Parameters
    ----------
    name : str
        Name of the rule.
    table : mapping of str to object
        Keys of the rule and their values. A key that is not there is inherited (`parent`); an empty list or text turns
        the key off. The keys that find a mask's plane and tell its values are inherited together with `mask` only.
        After the keywords of `FALLING_BACK` the inherited ones are tried, unless the last entry is ``"only"``.

    Raises
    ------
    SettingsError
        When a key is unknown or a value is impossible; the message names the key.
    """
    require_table(name, table)
    inherits = parent(name)
    given = {key: _with_fallback(key, value, inherits) for key, value in table.items()}
    return CameraRule.from_mapping(name, {**_inherited(inherits, table.get("mask", inherits.mask)), **given})


def to_table(rule: CameraRule) -> list[str]:
    """Return the lines ``key = value`` from which `from_table` makes the rule: what the rule does not inherit.

    Parameters
    ----------
    rule : CameraRule
        A user's rule.
    """
    inherits = parent(rule.name)
    inherited = _inherited(inherits, rule.mask)
    lines = []
    for f in dataclasses.fields(rule):
        value = getattr(rule, f.name)
        if f.name == "name" or value == inherited[f.name]:
            continue
        lines.append(toml_line(f.name, _shortest(f.name, value, inherits)))
    return lines


def to_record(rule: CameraRule) -> dict[str, Any]:
    """Return a rule as a store of measurements records it: all that differs from the defaults of `CameraRule`.

    Parameters
    ----------
    rule : CameraRule
        A user's rule.

    Returns
    -------
    dict
        Plain values. Of long lists of patterns that are those of a built-in rule, the name of that rule. What the rule
        inherits is written out, because records of earlier versions, which say as little as the settings file did,
        are of rules that inherited nothing.
    """
    record = rule.to_mapping()
    for key in record.keys() & set(_LONG):
        value = getattr(rule, key)
        names = [known.name for known in reversed(BUILTIN_RULES) if getattr(known, key) == value]
        record[key] = names[0] if names else record[key]
    return record


def from_record(name: str, record: Any) -> CameraRule:
    """Return the rule that `to_record` recorded, or an earlier version of gpuanom.

    Parameters
    ----------
    name : str
        Name of the rule.
    record : mapping of str to object
        What was recorded. A key that is not there has the default of `CameraRule`; nothing is inherited.

    Raises
    ------
    SettingsError
        When the record is of another version that knew other keys.
    """
    require_table(name, record)
    values = {
        key: plain_value(key, getattr(parent(value), key)) if key in _LONG and isinstance(value, str) else value
        for key, value in record.items()
    }
    return CameraRule.from_mapping(name, values)


def own_keywords(rule: CameraRule, key: str) -> tuple[str, ...]:
    """Return the keywords that a user's rule has for a key and does not inherit; none for a built-in rule.

    Parameters
    ----------
    rule : CameraRule
        Any rule.
    key : str
        A key that holds keywords, such as ``exposure``.
    """
    if any(rule is known for known in BUILTIN_RULES):  # a user's rule may have the same name
        return ()
    inherited = getattr(parent(rule.name), key)
    return tuple(keyword for keyword in getattr(rule, key) if keyword not in inherited)


def trims_in_its_own_way(rule: CameraRule) -> bool:
    """Whether a user's rule says itself where the part of a CCD is that shows the sky."""
    return all(rule is not known for known in BUILTIN_RULES) and rule.trim != parent(rule.name).trim


def _inherited(inherits: CameraRule, mask: Any) -> dict[str, Any]:
    """Return all keys that may be inherited; where the mask is another one, without those that belong to the mask."""
    values = {f.name: getattr(inherits, f.name) for f in dataclasses.fields(inherits) if f.name != "name"}
    if mask != inherits.mask:
        defaults = {f.name: f.default for f in dataclasses.fields(inherits)}
        values.update({key: defaults[key] for key in _MASK_KEYS})
    return values


def _shortest(key: str, value: Any, inherits: CameraRule) -> Any:
    """Return the shortest list that `_with_fallback` completes to the given one."""
    if key not in FALLING_BACK:
        return value
    beginnings = (list(value[:n]) for n in range(len(value) + 1))
    return next((b for b in beginnings if _with_fallback(key, b, inherits) == list(value)), (*value, ONLY))


def _with_fallback(key: str, value: Any, inherits: CameraRule) -> Any:
    """Return a list of keywords with the inherited ones after them; an empty list stays empty."""
    if key not in FALLING_BACK or not isinstance(value, list) or not value:
        return value
    if value[-1] == ONLY:
        return value[:-1]
    return [*value, *(keyword for keyword in getattr(inherits, key) if keyword not in value)]
