"""The records that the steps of a backend take and return, for a stack of CCDs, with arrays on the backend's device."""

from __future__ import annotations

from dataclasses import dataclass

from gpuanom.records.kinds import Array


@dataclass(frozen=True, eq=False)
class CcdStack:
    """CCDs of one exposure that share a shape, on the backend's device.

    Attributes
    ----------
    images : Array, (n_ccd, ny, nx) float32
        Pixel values, in the image's unit.
    bad : Array, (n_ccd, ny, nx) uint8, or None
        `Unfit` bits; None when no CCD of the stack has a mask.
    saturation : Array, (n_ccd,) float32
        Saturation level of each CCD, in the image's unit; NaN where unknown.
    damaged : Array, (n_ccd,) int32, or None
        Number of the first tile of each CCD that could not be decoded, whose pixels are NaN; -1
        where every tile is sound. None where the backend decoded nothing.
    """

    images: Array
    bad: Array | None
    saturation: Array
    damaged: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_ccd, ny, nx)."""
        n_ccd, ny, nx = self.images.shape
        return n_ccd, ny, nx


@dataclass(frozen=True, eq=False)
class Background:
    """The fitted sky of each CCD of a stack (METHOD.md 1).

    Attributes
    ----------
    coefficients : Array, (n_ccd, 6) float64
        Coefficients of 1, X, Y, X^2, XY, Y^2 in the image's unit; NaN where the CCD is unusable.
    sigma : Array, (n_ccd,) float64
        Noise in the image's unit; NaN where the CCD is unusable.
    n_points, n_sigma_points : Array, (n_ccd,) int64
        Numbers of usable points for the fit (before clipping) and for sigma.
    usable : Array, (n_ccd,) bool
        Whether the further steps can measure the CCD.
    """

    coefficients: Array
    sigma: Array
    n_points: Array
    n_sigma_points: Array
    usable: Array


@dataclass(frozen=True, eq=False)
class Sources:
    """The sources of a stack in (ccd, y, x) order, with both sets of moments (METHOD.md 2, 3, 3b).

    Attributes
    ----------
    ccd, y, x : Array, (n,) int64
        Index of the CCD in the stack and central pixel, 0-based.
    value : Array, (n,) float64
        Value of the central pixel, background-subtracted, in the image's unit (v in METHOD.md).
    n_above : Array, (n,) int64
        Number of usable pixels of the stamp above `above_threshold` sigma.
    moments, isophote_moments : Array, (n, 3) float64
        Q20, Q02, Q11 in image unit x pixel^2.
    n_isophote : Array, (n,) int64
        Number of connected pixels that give `isophote_moments`, the central pixel included.
    n_sources, n_bad, n_saturated : Array, (n_ccd,) int64
        For each CCD, the numbers of sources, of pixels that are masked (for any step) or not
        finite, and of pixels at or above the saturation level.
    brightest : Array, (n_ccd, rows, columns) float64, or None
        Value of the brightest usable pixel of each full tile, whose side is half a stamp's, in the
        image's unit; the lowest float64 number where no pixel of the tile is above the threshold,
        or above `gpuanom.backends.limits.MAXIMUM_THRESHOLD` where this is lower. `Backend.repeats`
        looks at bright tiles only. None once the sources are on the host.
    """

    ccd: Array
    y: Array
    x: Array
    value: Array
    n_above: Array
    moments: Array
    isophote_moments: Array
    n_isophote: Array
    n_sources: Array
    n_bad: Array
    n_saturated: Array
    brightest: Array | None = None


@dataclass(frozen=True, eq=False)
class Shapes:
    """Gaussian-weighted moments of the brightest sources of each CCD of a stack (METHOD.md 10).

    Every CCD has `gpuanom.backends.limits.SHAPES_A_CCD` places, of which the first are filled, in
    no order that means anything; NaN follows.

    Attributes
    ----------
    centre : Array, (n_ccd, SHAPES_A_CCD, 2) float64
        Centroid (y, x) in pixels, 0-based.
    moments : Array, (n_ccd, SHAPES_A_CCD, 6) float64
        Weighted flux Q00 in the image's unit; signal-to-noise ratio, Q00 over its noise; T in
        pixel^2, e1, e2 and kurtosis, of the weighted source. NaN where the centroid did not stay
        on the source.
    spoilt : Array, (n_ccd, SHAPES_A_CCD) uint8
        1 where a pixel within two of the weight's widths along each axis is saturated or unusable.
    width : Array, (n_ccd,) float64
        The weight's width in pixels, which is that of the CCD's stars: its standard deviation.
        NaN where the CCD is not usable or has no source that is bright enough.
    """

    centre: Array
    moments: Array
    spoilt: Array
    width: Array


@dataclass(frozen=True, eq=False)
class Repeats:
    """Differences of the positions of bright maxima of the CCDs of a stack (METHOD.md 11).

    Attributes
    ----------
    pairs : Array, (n_exposure, PAIR_ROWS, PAIR_COLUMNS) int32
        How many ordered pairs of maxima of one CCD differ by so much, added over the CCDs that the
        stack has of each exposure, in focal-plane axes. Bin [i, j] holds dy = 2 i - 32 and one
        more, dx = 2 j - 256 and one more, in pixels (`gpuanom.backends.limits`). CCDs whose image
        could not be decoded on the device are left out: they are measured again alone.
    n_maxima : Array, (n_ccd,) int64
        Number of maxima of each CCD, at most `gpuanom.backends.limits.MAXIMA_A_CCD`, the brightest.
    """

    pairs: Array
    n_maxima: Array


@dataclass(frozen=True, eq=False)
class Gradients:
    """Smoothed gradients of a stack at its usable points, in (ccd, draw) order (METHOD.md 4).

    Attributes
    ----------
    ccd : Array, (n,) int64
        Index of the CCD in the stack.
    dx, dy : Array, (n,) float64
        Eqs. 6 and 7, in the image's unit.
    flat_dx, flat_dy : Array, (n,) float64
        The same minus the gradient of the fitted polynomial.
    n_points : Array, (n_ccd,) int64
        Number of usable points of each CCD.
    """

    ccd: Array
    dx: Array
    dy: Array
    flat_dx: Array
    flat_dy: Array
    n_points: Array


@dataclass(frozen=True, eq=False)
class OrientationHistograms:
    """The histogram of orientations of each CCD of a stack, and the sums that give the alignment (METHOD.md 5, 5b).

    Attributes
    ----------
    counts : Array, (n_ccd, bins) int64
        Number of orientations in each bin.
    cosine, sine : Array, (n_ccd,) float64
        Sums of cos 2 theta and sin 2 theta.
    """

    counts: Array
    cosine: Array
    sine: Array
