"""Stripes: the largest peak of a CCD's or an exposure's spectrum in each of 12 bands of period (METHOD.md 9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuanom.records import Doubles, FloatImage, Patterns
from gpuanom.statistics.statistic import Statistic

EDGES = (500.0, 260.0, 150.0, 90.0, 55.0, 35.0, 22.0, 14.0, 9.0, 6.0, 4.2, 3.0, 2.2)
"""Edges of the bands of period, pixels. The first two bands are seen in the maps, four in means over 4 x 4 pixels."""
BANDS = len(EDGES) - 1


def _statistics(of: str) -> tuple[Statistic, ...]:
    """The names of three numbers for each band: all powers, then all periods, then all angles."""
    between = [f"between {high:g} and {low:g} pixels" for high, low in zip(EDGES[:-1], EDGES[1:], strict=True)]
    return (
        *(
            Statistic(f"stripe_power_{k}", "", f"Largest power {of} at periods {band}, over the level around it.")
            for k, band in enumerate(between)
        ),
        *(
            Statistic(f"stripe_period_{k}", "pix", f"Period of the largest power {of} {band}.")
            for k, band in enumerate(between)
        ),
        *(
            Statistic(f"stripe_angle_{k}", "deg", f"Angle of the stripes that have the largest power {of} {band}.")
            for k, band in enumerate(between)
        ),
    )


CCD_STATISTICS = _statistics("of the CCD's spectrum")
EXPOSURE_STATISTICS = _statistics("of the spectra of all CCDs together")


@dataclass(frozen=True, eq=False)
class Spectra:
    """The spectra of one CCD.

    Attributes
    ----------
    fine, coarse : ndarray, (128, 65) float64
        See `gpuanom.records.Patterns`.
    n_fine, n_coarse : int
        Numbers of parts that were added.
    map_power : ndarray, (n, n // 2 + 1) float64
        Squared magnitudes of the Fourier transform of the map; all 0 where there is no map.
    map_side : int
        Side of a cell of the map, pixels.
    """

    fine: Doubles
    n_fine: int
    coarse: Doubles
    n_coarse: int
    map_power: Doubles
    map_side: int


def spectra(patterns: Patterns) -> list[Spectra]:
    """Return the spectra of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    list of Spectra
        One for each CCD.
    """
    raise NotImplementedError


def ccd_statistics(found: Sequence[Spectra], turns: Sequence[int] | None = None) -> FloatImage:
    """Return the peaks of each CCD's spectra.

    Parameters
    ----------
    found : sequence of Spectra
        One for each CCD.
    turns : sequence of int, optional
        `Turn` of each CCD, to have angles in the axes of the focal plane; by default they are in those of the CCD.

    Returns
    -------
    ndarray, (n_ccd, 36) float32
        In the order of `CCD_STATISTICS`; NaN where a band was not measured.
    """
    raise NotImplementedError


def exposure_statistics(found: Sequence[Spectra], turns: Sequence[int] | None = None) -> FloatImage:
    """Return the peaks of the sum of the spectra of an exposure's CCDs.

    Parameters
    ----------
    found : sequence of Spectra
        One for each measured CCD, in the order of the exposure's CCDs, in which powers are added.
    turns : sequence of int, optional
        `Turn` of each CCD; spectra are turned to the axes of the focal plane before they are added.

    Returns
    -------
    ndarray, (36,) float32
        In the order of `EXPOSURE_STATISTICS`; NaN where a band was not measured.
    """
    raise NotImplementedError
