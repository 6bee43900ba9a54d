"""How the CCDs of an exposure lie along common axes, by their world coordinates (METHOD.md, "As built").

The orientations of several CCDs can be compared only along common axes. Where the camera rule does
not say how the CCDs lie in the focal plane, the axes of one CCD are the common axes: of the CCDs
with a celestial WCS, the first by name in natural order. Only the differences between CCDs count
then. An instrument rotator, which turns all CCDs alike, changes nothing, and the same CCDs are
turned in every exposure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards, nearest_turn, number, sky_axes, turn
from gpuanom.naming import natural_key
from gpuanom.records import Turn

Matrix = tuple[float, float, float, float]


@dataclass(frozen=True)
class CcdAxes:
    """How the axes of one CCD lie.

    Attributes
    ----------
    turn : Turn
        From the axes of the CCD to the common axes of the exposure.
    sky_axes : tuple of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 along the pixel axes of the CCD, degrees per pixel; None without
        a WCS.
    why : str
        What decided the turn, for `gpuanom explain`.
    remark : str
        What the column ``note`` of the exposure should say; empty where nothing is uncertain.
    """

    turn: Turn
    sky_axes: Matrix | None
    why: str
    remark: str = ""


class _Sky(NamedTuple):
    """How the axes of a CCD lie on the sky: read once from its header, which differs in every exposure."""

    matrix: Matrix
    """As `sky_axes` returns it."""
    point: tuple[float, float] | None
    """Longitude and latitude of the reference point, where the WCS of several CCDs are compared."""


def _sky(rule: CameraRule, cards: Cards) -> _Sky | None:
    """Return how the axes of a CCD lie on the sky; None without a celestial WCS."""
    matrix = sky_axes(cards)
    if matrix is None:
        return None
    return _Sky(matrix, _reference_point(cards) if rule.turn == "mosaic" else None)


@dataclass(frozen=True)
class Mosaic:
    """The common axes of an exposure's CCDs.

    Attributes
    ----------
    rule : CameraRule
        The rule of the camera.
    first : str
        Name of the CCD whose axes are the common axes; empty where no CCD has a WCS, or where the
        rule decides.
    sky : _Sky or None
        How the axes of that CCD lie on the sky.
    turned : bool
        Whether any other CCD with a WCS is turned or mirrored against that CCD.
    """

    rule: CameraRule
    first: str = ""
    sky: _Sky | None = None
    turned: bool = False

    @classmethod
    def of(cls, rule: CameraRule, ccds: Iterable[tuple[str, Cards]]) -> Mosaic:
        """Choose the common axes of an exposure.

        Parameters
        ----------
        rule : CameraRule
            The rule of the camera.
        ccds : iterable of (str, Cards)
            Names and headers of the exposure's CCDs, in any order.
        """
        if rule.turn != "mosaic":
            return cls(rule)
        return cls._of_skies(rule, [(name, _sky(rule, cards)) for name, cards in ccds])

    @classmethod
    def _of_skies(cls, rule: CameraRule, ccds: Iterable[tuple[str, _Sky | None]]) -> Mosaic:
        """Choose the common axes by how the axes of each CCD lie on the sky."""
        known = sorted(((name, sky) for name, sky in ccds if sky is not None), key=lambda ccd: natural_key(ccd[0]))
        if rule.turn != "mosaic" or not known:
            return cls(rule)
        first, sky = known[0]
        return cls(rule, first, sky, turned=any(name != first and _relative(sky, other) for name, other in known[1:]))

    def axes(self, name: str, cards: Cards) -> CcdAxes:
        """Return how the axes of a CCD lie.

        Parameters
        ----------
        name : str
            Name of the CCD.
        cards : Cards
            Header of the CCD.
        """
        return self._axes(name, _sky(self.rule, cards))

    def _axes(self, name: str, sky: _Sky | None) -> CcdAxes:
        matrix = None if sky is None else sky.matrix
        if self.rule.turn != "mosaic":
            found = turn(self.rule, name, matrix)
            return CcdAxes(found, matrix, f"camera rule '{self.rule.name}': {_WORDS[found]}")
        if self.sky is None:
            return CcdAxes(Turn.NONE, matrix, "no CCD has a celestial WCS: angles are along the CCD's own axes")
        if sky is None:
            remark = f"no celestial WCS says how it lies beside CCD {self.first}: taken as it is" if self.turned else ""
            return CcdAxes(Turn.NONE, None, remark or "no celestial WCS: taken as it is", remark)
        if name == self.first:
            return CcdAxes(Turn.NONE, matrix, "its axes stand for the focal plane's (first CCD with a celestial WCS)")
        found = _relative(self.sky, sky)
        return CcdAxes(found, matrix, f"{_WORDS[found]}, by its WCS beside CCD {self.first}'s")


@once_for_same_cards
def axes_of_file(rule: CameraRule, names: tuple[str | None, ...], headers: FileHeaders) -> list[CcdAxes]:
    """Return how the axes of each CCD lie, where one file holds all CCDs of an exposure.

    Parameters
    ----------
    rule : CameraRule
    names : tuple of str or None
        Name of each image's CCD; None for an image that is no CCD.
    headers : FileHeaders

    Returns
    -------
    list of CcdAxes
        Those of an image that is no CCD mean nothing.
    """
    ccds = [(name, _sky(rule, cards)) for name, cards in zip(names, headers.cards(), strict=True)]
    mosaic = Mosaic._of_skies(rule, ((name, sky) for name, sky in ccds if name is not None))
    return [mosaic._axes(name or "", sky) for name, sky in ccds]


_WORDS = {
    Turn.NONE: "not turned (or by a half turn, which leaves orientations as they are)",
    Turn.QUARTER: "turned by a quarter",
    Turn.MIRRORED: "mirrored",
    Turn.MIRRORED_QUARTER: "mirrored and turned by a quarter",
}


@lru_cache(maxsize=1024)
def _relative(first: _Sky, sky: _Sky) -> Turn:
    """Return the turn, to the nearest quarter, from a CCD's axes to those of the first CCD."""
    c11, c12, c21, c22 = _carried(sky, first)
    r11, r12, r21, r22 = first.matrix
    sign = 1.0 if r11 * r22 - r12 * r21 > 0 else -1.0  # only the sign of the determinant matters here
    # The inverse of the first CCD's matrix times this CCD's matrix leads from this CCD's axes to
    # the first CCD's.
    m11, m12 = sign * (r22 * c11 - r12 * c21), sign * (r22 * c12 - r12 * c22)
    m21, m22 = sign * (r11 * c21 - r21 * c11), sign * (r11 * c22 - r21 * c12)
    return nearest_turn(m11, m12, m21, m22)


def _carried(sky: _Sky, first: _Sky) -> Matrix:
    """Return a CCD's matrix in the tangent plane at the reference point of the first CCD.

    Headers give each CCD a reference point of its own, or the same to all. Along a parallel, the
    directions of east and north turn by the difference in longitude times the sine of the
    latitude, which is not small near a pole.
    """
    matrix, point, first_point = sky.matrix, sky.point, first.point
    if point is None or first_point is None:
        return matrix
    along = (point[0] - first_point[0] + 180.0) % 360.0 - 180.0
    angle = math.radians(along) * math.sin(math.radians((point[1] + first_point[1]) / 2))
    cosine, sine = math.cos(angle), math.sin(angle)
    c11, c12, c21, c22 = matrix
    return (
        cosine * c11 - sine * c21,
        cosine * c12 - sine * c22,
        sine * c11 + cosine * c21,
        sine * c12 + cosine * c22,
    )


def _reference_point(cards: Cards) -> tuple[float, float] | None:
    """Return longitude and latitude of a CCD's reference point in degrees; None where the header has none."""
    values = [number(cards.get(f"CRVAL{axis}")) for axis in (1, 2)]
    if not all(math.isfinite(value) for value in values):
        return None
    if str(cards.get("CTYPE1") or "")[:4] in ("DEC-", "GLAT", "ELAT"):
        values.reverse()
    return values[0], values[1]
