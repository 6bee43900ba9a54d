"""What a backend measures of the patterns of each CCD's background: small arrays, from which statistics are made."""

from __future__ import annotations

from dataclasses import dataclass

from gpuanom.records.kinds import Array

STEP = 2.0**-12
"""Sums of the residual r count in steps of so many sigma: whole numbers, whose sums have one value in any order."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """Maps and spectra of the residual r of each CCD of a stack (METHOD.md 9).

    r is (I - b) / sigma, clipped to -3.5 ... 3.5. Pixels that are bad or belong to a source are *masked*: they are
    counted nowhere, and are 0 in the spectra.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a CCD, pixels.
    map_sum, map_count, map_usable : Array, (n_ccd, my, mx) int64
        Of each cell of the map: the sum of r in steps of `STEP` sigma, the number of pixels that are not masked, and
        the number of pixels that are not bad. The side of a cell is `gpuanom.backends.pattern_layout.map_side`.
    fine_power, coarse_power : Array, (n_ccd, 128, 65) float64
        Sums of the squared magnitudes of the Fourier transforms of square parts of 128 x 128 under a Hann window: of
        pixels, and of means over 4 x 4 pixels; in sigma^2. The first axis is the frequency along y in the order of an
        FFT, the second that along x, from 0 to the highest.
    n_fine, n_coarse : Array, (n_ccd,) int64
        Numbers of parts that were added.
    crosstalk_sum, crosstalk_count : Array, (n_ccd,) int64
        Over the places mirrored from left to right from pixels above a tenth of saturation, where they are not
        masked: the sum of r in steps of `STEP` sigma, and their number.
    crosstalk_masked : Array, (n_ccd,) int64
        The number of such places that are masked though their pixels are not bad, without those less than 64 pixels
        from the bright pixel, which its own star may hide.
    """

    shape: tuple[int, int]
    map_sum: Array
    map_count: Array
    map_usable: Array
    fine_power: Array
    coarse_power: Array
    n_fine: Array
    n_coarse: Array
    crosstalk_sum: Array
    crosstalk_count: Array
    crosstalk_masked: Array


@dataclass(frozen=True, eq=False)
class ProfileSums:
    """The rows and columns of the residual r of each CCD of a stack, from which profiles are measured (METHOD.md 9.3).

    Attributes
    ----------
    row_sum, row_count : Array, (n_ccd, ny) int64
        Of each row: the sum of r in steps of `STEP` sigma, and the number of pixels that are not masked.
    column_sum, column_count : Array, (n_ccd, nx) int64
        The same of each column.
    """

    row_sum: Array
    row_count: Array
    column_sum: Array
    column_count: Array


@dataclass(frozen=True, eq=False)
class LineBins:
    """The bins of each CCD of a stack in which straight lines are looked for (METHOD.md 9.6).

    Attributes
    ----------
    side : int
        Of a bin, pixels: `gpuanom.backends.pattern_layout.bin_side`.
    bin_sum : Array, (n_ccd, rows, columns) int64
        Of each bin the sum of v in steps of `STEP` sigma, where v is clipped to -3.5 ... 8 sigma, and its mean over
        4 x 4 pixels to -1 ... 1 sigma; nothing but bad pixels is left out.
    faint_bin_sum : Array, (n_ccd, rows, columns) int64
        For faint lines, whose pixels are not masked: of each bin the sum of r in steps of `STEP` sigma.
    """

    side: int
    bin_sum: Array
    faint_bin_sum: Array


@dataclass(frozen=True, eq=False)
class Profiles:
    """Jitter and steps of the profiles of each CCD of a stack (METHOD.md 9.3).

    Attributes
    ----------
    row_jitter, column_jitter : Array, (n_ccd,) float64
        Variance of the means of rows (columns) about their running median, over what pixel noise gives; NaN where no
        row (column) is left, or there are too few for a running median.
    row_steps, column_steps : Array, (n_ccd, n_places) float32
        Mean of the 48 rows (columns) from a place on, less the mean of the 48 before, in standard deviations of pixel
        noise, at the places of `gpuanom.backends.pattern_layout.step_places`; NaN where either side has less than a
        quarter of its pixels.
    """

    row_jitter: Array
    column_jitter: Array
    row_steps: Array
    column_steps: Array
