"""How the CCDs of an exposure are turned to common axes: by the camera rule, or by their WCS (METHOD.md, "As built").

The orientations of several CCDs can be compared only along common axes. Where the camera rule does
not say how the CCDs lie in the focal plane, the axes of one CCD are the common axes: of the CCDs
with a celestial WCS, the first by name in natural order. Only the differences between CCDs count
then. An instrument rotator, which turns all CCDs alike, changes nothing, and the same CCDs are
turned in every exposure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, cast

import numpy as np

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.ccds.wcs import cd_columns, latitude_is_first, reference_point, sky_axes
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.values import Cards, matches
from gpuanom.natural_order import natural_key
from gpuanom.records import Doubles, Turn

Matrix = tuple[float, float, float, float]


class CcdAxes(NamedTuple):
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
    return _Sky(matrix, reference_point(cards) if rule.turn == "mosaic" else None)


def _skies(rule: CameraRule, headers: FileHeaders) -> Sequence[_Sky | None]:
    """Return what `_sky` returns for each image of a file, from columns of numbers if all images plainly have them."""
    plain = _plain_skies(rule, headers) if headers.are_same("CTYPE1") and headers.are_same("CTYPE2") else None
    return [_sky(rule, cards) for cards in headers.cards()] if plain is None else plain


def _plain_skies(rule: CameraRule, headers: FileHeaders) -> Sequence[_Sky | None] | None:
    """The same as `_skies`, for images with the same CTYPE cards; None where anything else of the WCS is unusual."""
    n, latitude_first = len(headers.of_images), latitude_is_first(Cards(headers.of_images[0], headers.headers[0]))
    if latitude_first is None:
        return [None] * n
    columns, points = cd_columns(headers), [headers.numbers(f"CRVAL{axis}") for axis in (1, 2)]
    if columns is None or None in points:
        return None
    c11, c12, c21, c22 = np.array(columns)
    if not np.all(c11 * c22 - c12 * c21):
        return None
    if latitude_first:
        columns, points = columns[2:] + columns[:2], points[::-1]
    matrices = zip(*columns, strict=True)
    return list(map(_Sky, matrices, zip(*points, strict=True) if rule.turn == "mosaic" else repeat(None, n)))


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
    def _of_skies(cls, rule: CameraRule, ccds: Iterable[tuple[str | None, _Sky | None]]) -> Mosaic:
        """Choose the common axes by how the axes of each CCD lie on the sky."""
        known = [(name, sky) for name, sky in ccds if name is not None and sky is not None]
        if rule.turn != "mosaic" or not known:
            return cls(rule)
        first, sky = min(known, key=lambda ccd: natural_key(ccd[0]))
        return cls(rule, first, sky, turned=any(_relative(sky, [other for name, other in known if name != first])))

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

    def _all_axes(self, names: Sequence[str], skies: Sequence[_Sky]) -> list[CcdAxes]:
        """Return the axes of several CCDs with a WCS, as `_axes` does for one."""
        matrices = map(itemgetter(0), skies)
        if self.rule.turn == "none" and not self.rule.quarter_ccds:
            _, _, why, _ = self._axes(names[0], skies[0])
            return list(map(CcdAxes, repeat(Turn.NONE), matrices, repeat(why)))
        if self.sky is None:
            return list(map(self._axes, names, skies))
        turns = _relative(self.sky, skies)
        whys = [f"{_WORDS[found]}, as its WCS says beside that of {self.first}" for found in Turn]
        axes = list(map(CcdAxes, turns, matrices, map(whys.__getitem__, turns)))
        axes[names.index(self.first)] = self._axes(self.first, self.sky)
        return axes

    def _axes(self, name: str, sky: _Sky | None) -> CcdAxes:
        matrix = None if sky is None else sky.matrix
        if self.rule.turn != "mosaic":
            found = turn_by_rule(self.rule, name, matrix)
            return CcdAxes(found, matrix, f"camera rule '{self.rule.name}': {_WORDS[found]}")
        if self.sky is None:
            return CcdAxes(Turn.NONE, matrix, "no CCD has a celestial WCS: angles are along the CCD's own axes")
        if sky is None:
            remark = f"no celestial WCS says how it lies beside {self.first}: taken as it is" if self.turned else ""
            return CcdAxes(Turn.NONE, None, remark or "no celestial WCS: taken as it is", remark)
        if name == self.first:
            return CcdAxes(Turn.NONE, matrix, "its axes stand for the focal plane's (first CCD with a celestial WCS)")
        (found,) = _relative(self.sky, [sky])
        return CcdAxes(found, matrix, f"{_WORDS[found]}, as its WCS says beside that of {self.first}")


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
    skies = _skies(rule, headers)
    mosaic = Mosaic._of_skies(rule, zip(names, skies, strict=True))
    if rule.turn == "mosaic" and not any(skies):
        return [mosaic._axes("", None)] * len(skies)
    if None not in names and None not in skies:
        return mosaic._all_axes(cast("tuple[str, ...]", names), cast("Sequence[_Sky]", skies))
    return [mosaic._axes(name or "", sky) for name, sky in zip(names, skies, strict=True)]


_WORDS = {
    Turn.NONE: "not turned (or by a half turn, which leaves orientations as they are)",
    Turn.QUARTER: "turned by a quarter",
    Turn.MIRRORED: "mirrored",
    Turn.MIRRORED_QUARTER: "mirrored and turned by a quarter",
}


def turn_by_rule(rule: CameraRule, name: str, matrix: Matrix | None) -> Turn:
    """Return how the axes of a CCD are turned to those of the focal plane, by the camera's rule alone.

    Parameters
    ----------
    rule : CameraRule
        Its `quarter_ccds` and `turn`. For the turn ``wcs``, the axes of the focal plane are those
        of a CCD with CD1_2 > 0, CD2_1 < 0 and no diagonal terms.
    name : str
        Name of the CCD.
    matrix : tuple of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 of the CCD, degrees per pixel.

    Returns
    -------
    Turn
        For ``wcs``, the nearest combination of quarter turns and reflections.
    """
    if matches(name, rule.quarter_ccds):
        return Turn.QUARTER
    if rule.turn != "wcs" or matrix is None:
        return Turn.NONE
    c11, c12, c21, c22 = matrix
    # Focal-plane axes from CCD axes: the inverse of [[0, 1], [-1, 0]] times CD.
    return Turn(_turn_numbers(-c21, -c22, c11, c12))


def _turn_numbers(m11: Any, m12: Any, m21: Any, m22: Any) -> Any:
    """Return the number of the `Turn` that is nearest to a matrix; the numbers of several where elements are arrays."""
    quarter = abs(m12) + abs(m21) > abs(m11) + abs(m22)
    mirrored = m11 * m22 - m12 * m21 < 0
    return quarter + 2 * mirrored


def _relative(first: _Sky, skies: Sequence[_Sky]) -> list[Turn]:
    """Return the turn, to the nearest quarter, from the axes of each CCD to those of the first CCD."""
    if not skies:
        return []
    matrices, points = zip(*skies, strict=True)
    r11, r12, r21, r22 = first.matrix
    sign = 1.0 if r11 * r22 - r12 * r21 > 0 else -1.0  # only the sign of the determinant matters here
    with np.errstate(over="ignore", invalid="ignore"):  # headers may hold numbers of any size
        c11, c12, c21, c22 = _carried(np.array(matrices).T, points, first.point)
        # The inverse of the first CCD's matrix times this CCD's matrix leads from this CCD's axes to
        # the first CCD's.
        m11, m12 = sign * (r22 * c11 - r12 * c21), sign * (r22 * c12 - r12 * c22)
        m21, m22 = sign * (r11 * c21 - r21 * c11), sign * (r11 * c22 - r21 * c12)
        turns = _turn_numbers(m11, m12, m21, m22)
    return list(map(_TURNS.__getitem__, turns.tolist()))


_TURNS = tuple(Turn)


def _carried(
    matrices: Doubles, points: Sequence[tuple[float, float] | None], first: tuple[float, float] | None
) -> Doubles:
    """Return the matrices of CCDs, (4, n), in the tangent plane at the reference point of the first CCD.

    Headers give each CCD a reference point of its own, or the same to all. Along a parallel, the
    directions of east and north turn by the difference in longitude times the sine of the
    latitude, which is not small near a pole.
    """
    if first is None:
        return matrices
    longitudes, latitudes = np.array([first if point is None else point for point in points]).T
    along = (longitudes - first[0] + 180.0) % 360.0 - 180.0
    # Functions of the mathematical library of Python, since those of NumPy depend on the processor.
    sines = list(map(math.sin, map(math.radians, ((latitudes + first[1]) / 2).tolist())))
    angles = (np.array(list(map(math.radians, along.tolist()))) * sines).tolist()
    cosine, sine = np.array(list(map(math.cos, angles))), np.array(list(map(math.sin, angles)))
    c11, c12, c21, c22 = matrices
    carried = (
        cosine * c11 - sine * c21,
        cosine * c12 - sine * c22,
        sine * c11 + cosine * c21,
        sine * c12 + cosine * c22,
    )
    return np.stack(carried)
