"""The table of camera rules: what a camera's headers mean, as data rather than code.

A rule holds keywords and patterns; `gpuanom.fits` applies it. The rules of the user's settings
file (tables ``[cameras.NAME]``, `gpuanom.cameras.user_rules`) are tried before the built-in rules
and replace built-in rules of the same name. The last built-in rule fits every FITS image.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gpuanom.errors import SettingsError

Patterns = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]
Exclusions = tuple[tuple[str, Patterns], ...]

MASK_CLASSES: tuple[str, ...] = (
    *("bad", "no_value", "saturated", "bleed", "cosmic_ray", "low_weight", "interpolated", "transient", "streak"),
    *("star", "crosstalk", "edge", "other"),
)
"""The classes of bad pixels, to which the quality planes of all cameras are translated (METHOD.md 6). The settings
`mask_background`, `mask_sources` and `mask_gradients` name them."""

MASKS: tuple[str, ...] = ("none", "decam-cp", "cp-codes", "desdm", "mp-cards", "bits", "codes", "own")
"""How a quality plane is decoded: see `gpuanom.fits.ccds.mask_bits`."""

TURNS: tuple[str, ...] = ("none", "wcs", "mosaic")
"""How the axes of a CCD are turned to those of the focal plane (`gpuanom.fits.ccds.axes`): not at all, by the CCD's CD
matrix, or by the difference from the CD matrix of the exposure's first CCD."""

SUBARU_CHANNELS = "subaru-channels"
"""A way to trim: to the effective columns and rows of four channels, from the cards T_EFMNij and T_EFMXij."""

AMPLIFIERS = "amplifiers"
"""A way to trim: to the data sections of a CCD's amplifiers, from all cards such as DATASECA, DSEC1 or TSEC11."""

ESO_OUTPUT = "eso-output"
"""A way to trim: to the valid pixels of a detector with one output, from ESO DET OUT1 NX, PRSCX, OVSCX (and Y)."""

ANY = "any"
"""Name of the rule that fits every FITS image."""

_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}( [A-Z0-9 _-]+)?")


@dataclass(frozen=True, kw_only=True)
class CameraRule:
    """What the headers of one kind of file mean.

    A keyword is looked up in the header of the CCD's HDU first, and then in the primary header. A
    pattern is a shell glob; case is ignored. Of several keywords, the first that the headers have,
    with a value that is not empty, counts.

    Attributes
    ----------
    name : str
        The rule's name, as tables and messages show it.
    match : tuple of (keyword, pattern)
        All must match for the rule to apply; of keywords joined by ``|`` one is enough. Empty: the
        rule fits any file.
    camera : str
        Name of the camera. Empty: the value of INSTRUME.
    level : str
        Appended to the name of the camera with a hyphen, so that raw and processed images never
        share a dataset.
    exposure : tuple of str
        Keywords of the exposure id; without any, the id is the name of the file.
    date, exptime : tuple of str
        Keywords of the start and of the exposure time in seconds.
    ccd : tuple of str
        Keywords of the CCD's name, which may be joined from several: ``"CCDID+QID"``; without any,
        the name is the number of the HDU.
    saturation : tuple of str
        Keywords of the saturation level; of ``"A+B"`` (two amplifiers of one CCD) the lower level
        counts.
    band : tuple of str
        Keywords of the filter. ``"FILTER:word"`` takes the first word of the value.
        ``"FILTER:letter"`` takes the part of the first word before a point: ``i`` of ``i.MP9702``,
        and all of ``gri`` and ``Ha``. The keywords of other cameras are tried after these
        (`gpuanom.fits.exposures.bands`).
    not_sky, stacks : tuple of (keyword, patterns)
        Files with such a value are no exposures of the sky (calibrations, focus or test frames),
        or stacks.
    skip_ccds : tuple of str
        Patterns of the names of guide and focus sensors.
    not_ccds : tuple of str
        Patterns of EXTNAME or EXTTYPE of image HDUs that are no CCDs, such as masks and weights.
    trim : tuple of str
        Ways to find the data section, of which the first whose cards the headers have counts: a
        keyword; keywords of amplifiers joined by ``+``; or ``"amplifiers"``, ``"subaru-channels"``
        or ``"eso-output"``. Empty: the image is taken whole.
    full_size : tuple of 2 ints, or empty
        nx, ny of the untrimmed CCD. An image that is smaller along both axes and does not contain
        its data section is a cut-out, which is taken whole.
    version : tuple of str
        Keywords of the processing version; ``"name"`` stands for a part such as v1 or ls9 in the
        name of the file.
    mask : str
        How the quality plane is decoded, one of `MASKS`.
    mask_file : tuple of 2 str, or empty
        A part of the image file's name, and the text in its place in the mask file's name.
    mask_hdu : str
        EXTNAME or EXTTYPE of the quality plane in the file of the image; several are joined by
        ``|``.
    mask_values : tuple of (value or plane, class)
        For the decodings ``bits`` and ``codes``: the mask class of each value.
    turn : str
        How the axes of a CCD are turned to those of the focal plane, one of `TURNS`.
    quarter_ccds : tuple of str
        Patterns of the names of CCDs that are mounted a quarter turn from the others, whatever the
        headers say.
    """

    name: str
    match: Pairs = ()
    camera: str = ""
    level: str = ""
    exposure: Patterns = ("EXPNUM", "EXPID", "EXP-ID")
    band: Patterns = ("FILTER",)
    date: Patterns = ("DATE-OBS",)
    exptime: Patterns = ("EXPTIME",)
    ccd: Patterns = ("EXTNAME",)
    saturation: Patterns = ("SATURATE",)
    not_sky: Exclusions = ()
    stacks: Exclusions = ()
    skip_ccds: Patterns = ()
    not_ccds: Patterns = ()
    trim: Patterns = ()
    full_size: tuple[int, ...] = ()
    version: Patterns = ()
    mask: str = "none"
    mask_file: Patterns = ()
    mask_hdu: str = ""
    mask_values: Pairs = ()
    turn: str = "none"
    quarter_ccds: Patterns = ()

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            problem = _CHECKS[f.name](getattr(self, f.name))
            if problem:
                raise SettingsError(f"camera rule '{self.name}': '{f.name}' {problem}")
        if self.name == ANY and self.match:
            raise SettingsError(f"camera rule '{ANY}': this rule fits every file, so it takes no 'match'")
        if self.mask != "none" and not (self.mask_file or self.mask_hdu):
            raise SettingsError(f"camera rule '{self.name}': 'mask' needs 'mask_file' or 'mask_hdu' to find the plane")
        if (self.mask in ("bits", "codes")) != bool(self.mask_values):
            raise SettingsError(f"camera rule '{self.name}': 'mask_values' belong to the masks 'bits' and 'codes' only")
        for number in (int(value) for value, _ in self.mask_values):
            if (self.mask == "codes" and number > 254) or (self.mask == "bits" and number & (number - 1)):
                allowed = "a code from 1 to 254" if self.mask == "codes" else "a power of 2"
                raise SettingsError(f"camera rule '{self.name}': 'mask_values' has {number}, which is not {allowed}")

    @classmethod
    def from_mapping(cls, name: str, mapping: Any) -> Self:
        """Make a rule from its attributes alone: what is not given has its default.

        A table of a settings file inherits more: `gpuanom.cameras.user_rules`.

        Parameters
        ----------
        name : str
            Name of the rule.
        mapping : mapping of str to object
            Attributes of the rule, and their values.

        Raises
        ------
        SettingsError
            When a key is unknown or a value is impossible; the message names the key.
        """
        require_table(name, mapping)
        known = {f.name for f in dataclasses.fields(cls)} - {"name"}
        for key in mapping:
            if key not in known:
                raise SettingsError(f"camera rule '{name}': unknown key '{key}' (known: {', '.join(sorted(known))})")
        return cls(name=name, **{key: _frozen(value) for key, value in mapping.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Return the attributes that differ from their defaults, as plain values that `from_mapping` reads."""
        return {
            f.name: plain_value(f.name, getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.name != "name" and getattr(self, f.name) != f.default
        }


_TABLES = ("match", "not_sky", "stacks", "mask_values")


def require_table(name: str, value: Any) -> None:
    """Raise a SettingsError where what should be the keys of a rule and their values is something else."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"camera rule '{name}' must be a table [cameras.{name}]")


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((key, _frozen(v)) for key, v in value.items())
    if isinstance(value, list):
        return tuple(_frozen(v) for v in value)
    return value


def plain_value(key: str, value: Any) -> Any:
    """Return the value of an attribute as plain lists and mappings, which `CameraRule.from_mapping` reads."""
    if key in _TABLES:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in value}
    return list(value) if isinstance(value, tuple) else value


def toml_line(key: str, value: Any) -> str:
    """Return an attribute of a rule as a line ``key = value`` of TOML."""
    return f"{key} = {_toml(plain_value(key, value))}"


def toml_text(value: Any) -> str:
    """Return a text, number, flag or list as TOML writes it.

    JSON writes the same, but for characters beyond U+FFFF, which TOML has not as pairs of codes, and for DEL.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_text(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return toml_text(value)


def _texts(value: Any) -> str:
    fine = isinstance(value, tuple) and all(isinstance(v, str) and v for v in value)
    return "" if fine else f"is {value!r} but must be a list of texts"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"is {value!r} but must be a text"


def _keywords(value: Any) -> str:
    """Check a list of header keywords, which may hold ``KEY:word``, ``KEY+KEY`` and ``name`` too."""
    if problem := _texts(value):
        return problem
    for entry in value:
        plain, _, part = entry.partition(":")
        if part not in ("", "word", "letter") or entry.endswith(":"):
            return f"has {entry!r}: only ':word' and ':letter' may follow a keyword"
        for keyword in plain.split("+"):
            if keyword not in ("name", SUBARU_CHANNELS, AMPLIFIERS, ESO_OUTPUT) and not _KEYWORD.fullmatch(keyword):
                return f"has {keyword!r}, which is no header keyword"
    return ""


def _pairs(value: Any) -> str:
    fine = isinstance(value, tuple) and all(isinstance(v, tuple) and len(v) == 2 for v in value)
    if not fine or not all(isinstance(k, str) and isinstance(v, str) for k, v in value):
        return f"is {value!r} but must be a table of keywords and texts"
    return ""


def _exclusions(value: Any) -> str:
    if not isinstance(value, tuple) or not all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return f"is {value!r} but must be a table of keywords and lists of texts"
    return next(filter(None, (_texts(patterns) for _, patterns in value)), "")


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    return lambda value: "" if value in allowed else f"is {value!r} but must be one of {', '.join(allowed)}"


def _size(value: Any) -> str:
    fine = isinstance(value, tuple) and len(value) in (0, 2) and all(type(v) is int and v > 0 for v in value)
    return "" if fine else f"is {value!r} but must be two whole numbers above 0, nx and ny"


def _two(value: Any) -> str:
    return _texts(value) or (
        "" if len(value) in (0, 2) else f"is {list(value)!r} but must be two texts: the image's and the mask's"
    )


def _classes(value: Any) -> str:
    if problem := _pairs(value):
        return problem
    for number, mask_class in value:
        if not number.isascii() or not number.isdigit():
            return f"has {number!r}, which is no whole number"
        if int(number) >= 2**31 or int(number) == 0:
            return f"has {number!r}, which is not from 1 to 2147483647"
        if mask_class not in MASK_CLASSES:
            return f"has {mask_class!r}, which is no mask class ({', '.join(MASK_CLASSES)})"
    return ""


_CHECKS: dict[str, Callable[[Any], str]] = {
    "name": lambda value: "" if isinstance(value, str) and value else "must be a text",
    "match": _pairs,
    "camera": _text,
    "level": _text,
    "exposure": _keywords,
    "band": _keywords,
    "date": _keywords,
    "exptime": _keywords,
    "ccd": _keywords,
    "saturation": _keywords,
    "not_sky": _exclusions,
    "stacks": _exclusions,
    "skip_ccds": _texts,
    "not_ccds": _texts,
    "trim": _keywords,
    "full_size": _size,
    "version": _keywords,
    "mask": _one_of(MASKS),
    "mask_file": _two,
    "mask_hdu": _text,
    "mask_values": _classes,
    "turn": _one_of(TURNS),
    "quarter_ccds": _texts,
}
