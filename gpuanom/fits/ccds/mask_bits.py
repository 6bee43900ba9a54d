"""From quality planes to the bits of `records.Unfit`: which pixels are bad for which step (METHOD.md 6).

The decodings: ``decam-cp`` and ``cp-codes`` are those of the DECam Community Pipeline (bits before
PLVER 3.5.0, exclusive codes from then on). ``desdm`` is for the bits of the Dark Energy Survey.
``mp-cards`` is for LSST planes, whose cards give the bit numbers. ``own`` uses these cards where
the plane has them, and otherwise takes the plane as flags, as astropy's CCDData writes a mask: a
pixel is bad where the plane is not 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.headers.values import Cards, number, plver
from gpuanom.records import Unfit
from gpuanom.settings import Settings

if TYPE_CHECKING:
    from astropy.io import fits

CP_CODES: Mapping[int, str] = {
    1: "bad",
    2: "no_value",
    3: "saturated",
    4: "bleed",
    5: "cosmic_ray",
    6: "low_weight",
    7: "transient",
    8: "streak",
}
CP_BITS: Mapping[int, str] = {
    1: "bad",
    2: "saturated",
    4: "interpolated",
    16: "cosmic_ray",
    64: "bleed",
    128: "transient",
}
DESDM_BITS: Mapping[int, str] = {
    1: "bad",
    2: "saturated",
    4: "interpolated",
    8: "low_weight",
    16: "cosmic_ray",
    32: "star",
    64: "bleed",
    128: "bleed",
    256: "crosstalk",
    512: "edge",
    1024: "streak",
    2048: "interpolated",
}
PLANES: Mapping[str, str] = {
    "BAD": "bad",
    "SAT": "saturated",
    "INTRP": "interpolated",
    "CR": "cosmic_ray",
    "EDGE": "edge",
    "SENSOR_EDGE": "edge",
    "CROSSTALK": "crosstalk",
    "NO_DATA": "no_value",
    "UNMASKEDNAN": "no_value",
    "VIGNETTED": "low_weight",
    "BRIGHT_OBJECT": "star",
    "STREAK": "streak",
}
"""Classes of LSST planes by name; a plane that is neither in this table nor in `NOT_BAD` is ``other``."""

NOT_BAD: frozenset[str] = frozenset(("DETECTED", "DETECTED_NEGATIVE", "NOT_DEBLENDED", "FAKE", "INEXACT_PSF"))
"""LSST planes that describe pixels which are not bad."""

DECODINGS: Mapping[str, str] = {
    "decam-cp": "bits of DECam's pipeline before PLVER 3.5.0, as its codes from then on",
    "cp-codes": "codes of the Community Pipeline",
    "desdm": "bits of the Dark Energy Survey",
    "mp-cards": "bits that the plane's MP_ cards name",
    "bits": "bits that the rule's mask_values name",
    "codes": "codes that the rule's mask_values name",
    "own": "bits that its MP_ cards name, or as flags: a pixel that is not 0 is bad",
}
"""`gpuanom.cameras.rules.MASKS` in words, for `gpuanom explain`."""

_FIRST_CODES = (3, 5, 0)
_HIGHEST_CODE = 15  # the codes end at 8: a plane with a value of 16 or more cannot hold codes


def decode(
    plane: npt.NDArray[Any], header: fits.Header, cards: Cards, rule: CameraRule, settings: Settings
) -> npt.NDArray[np.uint8] | None:
    """Translate a quality plane to the steps for which each pixel is bad (METHOD.md 6).

    Parameters
    ----------
    plane : ndarray, (ny, nx)
        Whole numbers of any width and byte order.
    header : Header
        Header of the plane's HDU, for MP_ cards.
    cards : Cards
        This header and the primary header, for PLVER.
    rule : CameraRule
        Its `mask` says how the plane is decoded.
    settings : Settings
        The mask classes that are bad for each step.

    Returns
    -------
    ndarray, (ny, nx) uint8, or None
        `Unfit` bits; None when no pixel is bad.

    Raises
    ------
    InputError
        Status ``mask_unreadable``: the values are not whole numbers. A `NoMeaningError` where the
        rule's mask is ``own`` and the plane does not say what its values mean.
    """
    if plane.dtype.kind == "f":
        # float -> int64 -> float is exact for whole numbers below 2^53, far above any mask bit.
        with np.errstate(invalid="ignore"):
            whole = plane.astype(np.int64)
        if not np.array_equal(whole, plane):
            raise InputError("its mask holds fractions", remedy="--no-mask", status="mask_unreadable")
        plane = whole
    plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    if rule.mask == "mp-cards":
        return _from_bits(plane, _planes(header), settings)
    if rule.mask == "own":
        return _from_own(plane, header, settings)
    table = {int(value): mask_class for value, mask_class in rule.mask_values}
    if rule.mask == "bits":
        return _from_bits(plane, table, settings)
    if rule.mask == "codes":
        return _from_codes(plane, table, settings)
    if rule.mask == "desdm":
        return _from_bits(plane, DESDM_BITS, settings)
    if _holds_bits(plane, rule, cards):
        return _from_bits(plane, CP_BITS, settings)
    return _from_codes(plane, CP_CODES, settings)


class NoMeaningError(InputError):
    """A plane that may be a mask, but does not say what its values mean."""


def _from_own(plane: npt.NDArray[Any], header: fits.Header, settings: Settings) -> npt.NDArray[np.uint8] | None:
    """Translate a plane with MP_ cards by these, and a plane with a single value besides 0 as flags."""
    if planes := _planes(header):
        return _from_bits(plane, planes, settings)
    flagged = plane != 0
    values = plane[flagged]
    if values.size == 0:
        return None
    if not bool((values == values[0]).all()):
        raise NoMeaningError("its mask holds several values and no card says what they mean", remedy=MEANING)
    bad: npt.NDArray[np.uint8] = flagged.astype(np.uint8) * np.uint8(_unfit("bad", _chosen(settings)))
    return bad


MEANING = "write a camera rule with 'mask_values' (docs/files.md)"
"""Remedy for a mask whose values have no known meaning."""


def _holds_bits(plane: npt.NDArray[Any], rule: CameraRule, cards: Cards) -> bool:
    """Whether a plane of the Community Pipeline holds bits and not codes.

    PLVER decides; a plane without PLVER is taken as recent. Values that are too high for a code
    are bits whatever PLVER says: for PLVER V3.5.3 there are planes with the values 2 and 64, and
    others of the same exposure with 3 and 4.
    """
    version, _ = plver(cards.get("PLVER"))
    old = rule.mask == "decam-cp" and bool(version) and version < _FIRST_CODES
    return old or bool(plane.max(initial=0) > _HIGHEST_CODE)


def _planes(header: fits.Header) -> dict[int, str]:
    """Return the class of each bit from the cards MP_<PLANE> = bit number; an empty class means not bad."""
    table: dict[int, str] = {}
    cards = Cards(header)
    for keyword in header:
        if keyword.startswith("MP_"):
            bit = number(cards.get(keyword))
            if 0 <= bit < 63 and bit == int(bit):
                name = keyword[3:].upper()
                table[1 << int(bit)] = "" if name in NOT_BAD else PLANES.get(name, "other")
    return table


Chosen = tuple[tuple[str, ...], ...]
"""The classes of pixels that are bad for the background, for sources and for gradients."""


def _chosen(settings: Settings) -> Chosen:
    return settings.mask_background, settings.mask_sources, settings.mask_gradients


def _unfit(mask_class: str, chosen: Chosen) -> int:
    """Return the `Unfit` bits of the steps for which a class of pixels is bad."""
    bits = 0
    for step, classes in zip((Unfit.BACKGROUND, Unfit.SOURCES, Unfit.GRADIENTS), chosen, strict=True):
        if mask_class and (classes == ("all",) or mask_class in classes):
            bits |= int(step)
    return bits


def _from_bits(plane: npt.NDArray[Any], table: Mapping[int, str], settings: Settings) -> npt.NDArray[np.uint8] | None:
    unsigned = plane.view(f"u{plane.dtype.itemsize}") if plane.dtype.kind == "i" else plane
    wanted = tuple(table.items()), _chosen(settings), unsigned.dtype.itemsize
    if unsigned.dtype.itemsize <= 2:
        return _translated(unsigned, _table_of_bits(*wanted))
    bad = np.zeros(plane.shape, np.uint8)
    for step, bits in _bits_of_steps(*wanted).items():
        if bits:
            bad |= ((unsigned & unsigned.dtype.type(bits)) != 0).astype(np.uint8) * np.uint8(step)
    return bad if bad.any() else None


_MOST_TABLES = 64  # one for each camera's masks; all CCDs of all exposures share it


@lru_cache(maxsize=_MOST_TABLES)
def _bits_of_steps(table: tuple[tuple[int, str], ...], chosen: Chosen, width: int) -> dict[int, int]:
    """Return the bits of numbers of so many bytes that are bad for each step."""
    every = 256**width - 1
    unknown = every & ~sum(value for value, _ in table)
    wanted = {int(step): 0 for step in Unfit}
    for value, mask_class in (*table, (unknown, "other")):
        for step in wanted:
            if _unfit(mask_class, chosen) & step:
                wanted[step] |= value & every
    return wanted


@lru_cache(maxsize=_MOST_TABLES)
def _table_of_bits(table: tuple[tuple[int, str], ...], chosen: Chosen, width: int) -> npt.NDArray[np.uint8]:
    """Return the `Unfit` bits of each number of one or two bytes."""
    values = np.arange(256**width, dtype=np.uint32)
    wanted = _bits_of_steps(table, chosen, width)
    steps = [((values & bits) != 0).astype(np.uint8) * np.uint8(step) for step, bits in wanted.items()]
    return _fixed(np.bitwise_or.reduce(steps))


def _from_codes(plane: npt.NDArray[Any], table: Mapping[int, str], settings: Settings) -> npt.NDArray[np.uint8] | None:
    return _translated(plane, _table_of_codes(tuple(table.items()), _chosen(settings)))


@lru_cache(maxsize=_MOST_TABLES)
def _table_of_codes(table: tuple[tuple[int, str], ...], chosen: Chosen) -> npt.NDArray[np.uint8]:
    """Return the `Unfit` bits of each code."""
    lookup = np.full(256, _unfit("other", chosen), np.uint8)
    lookup[0] = 0
    for code, mask_class in table:
        if code < 255:
            lookup[code] = _unfit(mask_class, chosen)
    # Codes beyond the table, also negative codes, count as 255, which is 'other'.
    return _fixed(lookup)


def _fixed(table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    table.flags.writeable = False
    return table


def _translated(plane: npt.NDArray[Any], table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """Return the table's entry for each value, or its last entry for values beyond it; None when all are 0."""
    from gpuanom.fits.decoding.byteorder import TRANSLATE

    codes = np.ascontiguousarray(plane).reshape(-1).view(f"u{plane.dtype.itemsize}")
    bad = np.empty(plane.shape, dtype=np.uint8)
    return bad if TRANSLATE[plane.dtype.itemsize](codes, table, bad.reshape(-1)) else None
