"""What headers say, by the camera's rule: ids, band, CCD names, saturation and axes.

Header values come from anywhere: every text that becomes an id goes through `clean`.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits

from gpuanom.cameras import CameraRule
from gpuanom.errors import printable
from gpuanom.fits.binning import binning_label
from gpuanom.fits.quiet import quiet
from gpuanom.records import Turn

SUFFIXES: tuple[str, ...] = tuple(kind + packed for kind in (".fits", ".fit", ".fts") for packed in ("", ".fz", ".gz"))
"""Endings of FITS files, in lower case."""

_LONGEST_ID = 80
_NO_NAMES = ("COMPRESSED_IMAGE", "PRIMARY", "IMAGE", "SCI")
_NAME_VERSION = re.compile(r"(?<=_)(?:v|ls|a|d)[0-9]{1,6}(?=[._-]|$)", re.IGNORECASE)
_WEIGHT_NAME = re.compile(r"(?<![a-z0-9])oo[dwx](?![a-z0-9])")
_WEIGHT_PRODUCTS = ("wtmap", "dqmask", "expmap", "coverage")
_TIMES = ("UTC-OBS", "UT", "TIME-OBS", "UTSTART")
_UNSAFE = re.compile(r'[/\\:*?"<>|]')

Version = tuple[tuple[int, ...], str, tuple[int, ...], str]
"""A processing version that sorts by age: PLVER's numbers and letters, then those of the token in the file's name."""


class Cards:
    """The header of an HDU with the primary header behind it; a card that cannot be parsed counts as absent."""

    def __init__(self, *headers: fits.Header | None) -> None:
        self._headers = tuple(h for h in headers if h is not None)

    def get(self, keyword: str) -> Any:
        """Return the first value of a keyword that is there and not blank, None otherwise."""
        for header in self._headers:
            value = card(header, keyword)
            if keyword == "EXTNAME" and str(value).upper() in _NO_NAMES:
                continue
            if value is not None and value != "":
                return value
        return None

    def first(self, keywords: Sequence[str]) -> Any:
        """Return the first value of several keywords; ``KEY:word`` and ``KEY:letter`` take a part of it."""
        for entry in keywords:
            keyword, _, part = entry.partition(":")
            value = self.get(keyword)
            if value is None:
                continue
            words = str(value).split()
            if part == "word":
                return words[0]
            return words[0][0] if part == "letter" else value
        return None


def card(header: fits.Header, keyword: str) -> Any:
    """Return the value of a card, texts without outer blanks; None where it is absent or cannot be parsed."""
    with quiet():
        try:
            value = header.get(keyword)
        except Exception:  # a damaged card: VerifyError, ValueError, KeyError, and whatever its parser trips over
            return None
    if isinstance(value, fits.card.Undefined):
        return None
    return value.strip() if isinstance(value, str) else value


def clean(value: Any) -> str:
    """Make an id of a header value: one line, printable, no path separators, at most 80 characters; '' of None."""
    text = "" if value is None else _UNSAFE.sub("_", printable(str(value)))
    return " ".join(text.split()).lstrip(". ")[:_LONGEST_ID].strip()


def number(value: Any) -> float:
    """Return a header value as a finite float, NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return result if math.isfinite(result) else math.nan


def stem(path: Path) -> str:
    """Return a file's name without its FITS ending."""
    lower = path.name.lower()
    ending = max((s for s in SUFFIXES if lower.endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


@dataclass(frozen=True)
class Description:
    """What a file is, as its headers and name tell.

    Attributes
    ----------
    rule : CameraRule
        The first one that fits.
    camera, exposure, band, date_obs : str
        See `gpuanom.records.Exposure`; `exposure` is without version.
    exptime : float
        Seconds; NaN when unknown.
    version : tuple
        Processing version, sortable by age.
    version_label : str
        The same as a text; empty where the rule knows no versions.
    no_exposure : str
        Why the file is no sky exposure; empty when it is one.
    kind : str
        The same in short, without what differs from file to file.
    named : bool
        Whether the headers name the exposure; else `exposure` is the file's stem.
    """

    rule: CameraRule
    camera: str
    exposure: str
    band: str
    date_obs: str
    exptime: float
    version: Version
    version_label: str
    no_exposure: str
    kind: str
    named: bool


def find_rule(cards: Cards, rules: Sequence[CameraRule]) -> CameraRule:
    """Return the first rule whose `match` holds; the last of the built-in rules always does."""
    return next(r for r in rules if all(_matches(cards.get(k), (pattern,)) for k, pattern in r.match))


def describe(
    primary: fits.Header, extension: fits.Header | None, rules: Sequence[CameraRule], path: Path
) -> Description:
    """Tell what a file is from its first headers and its name.

    Parameters
    ----------
    primary, extension : Header
        As `gpuanom.fits.scan.read_headers` returns them.
    rules : sequence of CameraRule
        Tried in order.
    path : Path
        For the id of last resort and for versions in the name.
    """
    cards = Cards(extension, primary)
    rule = find_rule(cards, rules)
    camera = clean(rule.camera or cards.get("INSTRUME") or "") or "unknown"
    version, label = _version(rule, cards, path)
    no_exposure, kind = _no_exposure(rule, cards, path)
    # Some cameras' id is the name under which the file was first written.
    own_id = clean(stem(Path(clean(cards.first(rule.exposure)))))
    return Description(
        rule=rule,
        # Binned images are a dataset of their own, as raw ones are beside processed ones.
        camera="-".join(part for part in (camera, rule.level, binning_label(cards)) if part),
        exposure=own_id or clean(stem(path)) or "unnamed",
        band=clean(cards.first(rule.band)),
        date_obs=_date(rule, cards),
        exptime=number(cards.first(rule.exptime)),
        version=version,
        version_label=label,
        no_exposure=no_exposure,
        kind=kind,
        named=bool(own_id),
    )


def weight_or_mask(path: Path) -> bool:
    """Whether a file's name says that it is a weight or mask file of the Community Pipeline (``oow``, ``ood``)."""
    return bool(_WEIGHT_NAME.search(path.name.lower()))


def _matches(value: Any, patterns: Sequence[str]) -> bool:
    text = "" if value is None else str(value).lower()
    return bool(text) and any(fnmatch.fnmatchcase(text, pattern.lower()) for pattern in patterns)


def _no_exposure(rule: CameraRule, cards: Cards, path: Path) -> tuple[str, str]:
    """Why a file is no sky exposure, in full and in short; empty when it is one."""
    if weight_or_mask(path) or _matches(cards.get("PRODTYPE"), _WEIGHT_PRODUCTS):
        return "a weight or mask file", "a weight or mask file"
    for what, exclusions in (("not a sky exposure", rule.not_sky), ("a stack", rule.stacks)):
        for keyword, patterns in exclusions:
            if _matches(cards.get(keyword), patterns):
                value = clean(cards.get(keyword))
                return f"{what}: {keyword} is '{value}'", f"{what} ({value.lower()})"
    return "", ""


def _date(rule: CameraRule, cards: Cards) -> str:
    date = cards.first(rule.date)
    if not isinstance(date, str):
        return ""
    time = cards.first(_TIMES)
    if "T" not in date and isinstance(time, str) and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}:[0-9.]+", time):
        hour, _, rest = time.partition(":")
        date = f"{date}T{hour.zfill(2)}:{rest}"
    return printable(date)[:_LONGEST_ID]


def plver(value: Any) -> tuple[tuple[int, ...], str]:
    """Return the numbers and letters of a PLVER card: 'V4.8.2a' is ((4, 8, 2), 'a'); ((), '') where it has none."""
    found = re.search(r"([0-9]{1,6}(?:\.[0-9]{1,6})+|[0-9]{1,6})([a-z]*)", str(value or ""), re.IGNORECASE)
    if not found:
        return (), ""
    return tuple(int(n) for n in found[1].split(".")), found[2].lower()


def _version(rule: CameraRule, cards: Cards, path: Path) -> tuple[Version, str]:
    numbers: tuple[int, ...] = ()
    letters = token = ""
    labels = []
    for entry in rule.version:
        if entry == "name":
            found = _NAME_VERSION.findall(stem(path))
            token = found[-1].lower() if found else ""
            labels.append(token)
        elif not labels and cards.get(entry) is not None:
            numbers, letters = plver(cards.get(entry))
            labels.append(clean(cards.get(entry)))
    digits = tuple(int(n) for n in re.findall("[0-9]+", token))
    return (numbers, letters, digits, token), "-".join(label for label in labels if label)


def ccd_name(rule: CameraRule, cards: Cards, hdu: int) -> str:
    """Return a CCD's name within its exposure: the rule's keyword, else the HDU's number."""
    return clean(cards.first(rule.ccd)) or str(hdu)


def is_skipped(rule: CameraRule, name: str) -> bool:
    """Whether a CCD is a guide or focus sensor."""
    return _matches(name, rule.skip_ccds)


def is_plane(rule: CameraRule, header: fits.Header) -> bool:
    """Whether an image HDU is a mask, a weight or another plane that is no CCD."""
    names = [card(header, keyword) for keyword in ("EXTNAME", "EXTTYPE")]
    return any(_matches(name, rule.not_ccds) or is_named(name, rule.mask_hdu) for name in names)


def is_named(value: Any, name: str) -> bool:
    """Whether a header value is a name, case ignored; nothing is named ''."""
    return bool(name) and str(value).upper() == name.upper()


def saturation(rule: CameraRule, cards: Cards) -> float:
    """Return the level at which pixels saturate, in the image's unit; NaN when unknown."""
    for entry in rule.saturation:
        levels = [number(cards.get(keyword)) for keyword in entry.split("+")]
        known = [level for level in levels if level > 0]
        if known:
            return min(known)
    return math.nan


def sky_axes(cards: Cards) -> tuple[float, float, float, float] | None:
    """Return CD1_1, CD1_2, CD2_1, CD2_2 in degrees per pixel; None without a celestial WCS.

    From the CD matrix, else PC times CDELT, else CDELT turned by CROTA2 (FITS WCS paper II, section 6).
    """
    kinds = [str(cards.get(f"CTYPE{axis}") or "")[:4] for axis in (1, 2)]
    if sorted(kinds) not in (["DEC-", "RA--"], ["GLAT", "GLON"], ["ELAT", "ELON"]):
        return None
    names = ("1_1", "1_2", "2_1", "2_2")
    if any(cards.get(f"CD{n}") is not None for n in names):
        matrix = [_or(cards.get(f"CD{n}"), 0.0) for n in names]
    else:
        dx, dy = (_or(cards.get(f"CDELT{axis}"), 1.0) for axis in (1, 2))
        if any(cards.get(f"PC{n}") is not None for n in names):
            a, b, c, d = (_or(cards.get(f"PC{n}"), one) for n, one in zip(names, (1.0, 0.0, 0.0, 1.0), strict=True))
            matrix = [dx * a, dx * b, dy * c, dy * d]
        else:
            turned = cards.get("CROTA2")
            angle = math.radians(_or(cards.get("CROTA1") if turned is None else turned, 0.0))
            matrix = [dx * math.cos(angle), -dy * math.sin(angle), dx * math.sin(angle), dy * math.cos(angle)]
    if kinds[0] in ("DEC-", "GLAT", "ELAT"):
        matrix = matrix[2:] + matrix[:2]  # the first world axis is the latitude: put the longitude first
    c11, c12, c21, c22 = matrix
    determinant = c11 * c22 - c12 * c21
    return (c11, c12, c21, c22) if math.isfinite(determinant) and determinant != 0 else None


def _or(value: Any, default: float) -> float:
    return default if value is None else number(value)


def turn(rule: CameraRule, name: str, matrix: tuple[float, float, float, float] | None) -> Turn:
    """Return how a CCD's axes lie in the focal plane's.

    By ``wcs`` focal-plane axes are those of a CCD with CD1_2 > 0, CD2_1 < 0 and no diagonal terms; the CCD's matrix
    is taken as the nearest multiple of quarter turns and reflections.
    """
    if _matches(name, rule.quarter_ccds):
        return Turn.QUARTER
    if rule.turn != "wcs" or matrix is None:
        return Turn.NONE
    c11, c12, c21, c22 = matrix
    # Focal-plane axes from CCD axes: the inverse of [[0, 1], [-1, 0]] times CD.
    m11, m12, m21, m22 = -c21, -c22, c11, c12
    quarter = abs(m12) + abs(m21) > abs(m11) + abs(m22)
    mirrored = m11 * m22 - m12 * m21 < 0
    return Turn(int(quarter) + 2 * int(mirrored))
