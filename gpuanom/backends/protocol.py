"""The one description of every step that runs on a device.

A backend is `gpuanom.backends.cpu` (NumPy) or `gpuanom.backends.gpu` (CUDA). Both provide the same
steps under the same names; this protocol holds their one docstring. Arrays that a step takes and
returns live where the backend works, except where "host" is said. Every step works on a
`CcdStack`: CCDs of one exposure that share a shape.

Parity between backends: *exact* means equal bits; *rounded* means within a tolerance, whose reason
is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gpuanom.backends.device import Device
from gpuanom.records import (
    Array,
    Background,
    Ccd,
    CcdStack,
    CcdsTogether,
    Gradients,
    LineBins,
    OrientationHistograms,
    Patterns,
    Profiles,
    ProfileSums,
    Repeats,
    Shapes,
    Sources,
)
from gpuanom.settings import Settings


class Backend(Device, Protocol):
    """The steps from pixels to histograms and divergences.

    On a GPU every step raises `gpuanom.errors.DeviceError` when a kernel does not compile or the
    device fails.
    """

    def prepare(self, ccds: Iterable[Ccd | CcdsTogether], most: int) -> CcdStack:
        """Bring CCDs that share a shape to where the backend works (METHOD.md 6).

        Parameters
        ----------
        ccds : iterable of Ccd or CcdsTogether
            At least one, all of one shape, (ny, nx); pixels in the image unit. They are taken one
            at a time, and each may be let go when the next one is asked for. Only a backend that
            decodes, see `takes_encoded`, is given CCDs that were read together.
        most : int
            The number of CCDs is at most this.

        Returns
        -------
        CcdStack
            (n_ccd, ny, nx). Parity: exact.

        Raises
        ------
        ValueError
            When there are no CCDs, or when a compressed image describes something that its format
            does not have (GPU).
        TypeError
            When an image is still encoded and the backend does not decode, see `takes_encoded`.
        """
        ...

    def points(self, keys: npt.NDArray[np.uint64], n_draws: int, ny: int, nx: int, margin: int) -> Array:
        """Draw the random points of CCDs from their keys (METHOD.md 6).

        Parameters
        ----------
        keys : host ndarray, (n_ccd, 2) uint64
            From `gpuanom.sampling.keys`.
        n_draws : int
            Number of points of each CCD.
        ny, nx : int
            Shape of the CCDs in pixels.
        margin : int
            Half the side of an even-sized patch, in pixels: points keep to ``margin ... size - margin``, where the
            patch lies on the CCD. 0 means all pixels.

        Returns
        -------
        Array, (n_ccd, n_draws, 2) int32
            (y, x), 0-based, in draw order, with replacement. Each point takes one 64-bit word of Philox4x64: the upper
            half gives y and the lower half x, each by multiply and shift. Parity: exact.
        """
        ...

    def background(self, stack: CcdStack, fit_points: Array, sigma_points: Array, settings: Settings) -> Background:
        """Fit the second-order background and measure the noise of each CCD (METHOD.md 1).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        fit_points, sigma_points : Array, or ndarray of the host, (n_ccd, n_draws, 2) int32
            Drawn (y, x) in pixels, in draw order. The first usable points count, up to
            `background_points` and `sigma_points` of the settings.
        settings : Settings
            What the CCDs are measured with.

        Returns
        -------
        Background
            (n_ccd, 6) coefficients and (n_ccd,) sigma, image unit; NaN where a CCD is not usable.
            Parity: counts and `usable` exact, the rest rounded, 1e-12 of the median pixel, since
            the order of the float64 sums differs.
        """
        ...

    def sources(self, stack: CcdStack, background: Background, settings: Settings) -> Sources:
        """Find the sources of each CCD and sum their moments (METHOD.md 2, 3 and 3b).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        background : Background
            Of the same CCDs, image unit. A CCD that is not usable has no sources.
        settings : Settings
            What the CCDs are measured with.

        Returns
        -------
        Sources
            Positions in pixels, values in the image unit, moments (n, 3) in image unit x pixel^2.
            Where the backend works they may hold slots without a source, whose y is -1 and whose
            moments are NaN, until `to_host` leaves those out; on the host sources are in (ccd, y,
            x) order. Parity, for an equal `background`: positions, values and counts exact;
            moments rounded, 1e-12 of the sum of their terms' magnitudes, since the order of the
            float64 sums differs.

        Raises
        ------
        DeviceError
            When a CCD has more pixels than the CUDA kernels can number (GPU).
        """
        ...

    def gradients(self, stack: CcdStack, points: Array, background: Background, settings: Settings) -> Gradients:
        """Take the gradients of the smoothed sky at the drawn points (METHOD.md 4, eqs. 6 and 7).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        points : Array, or ndarray of the host, (n_ccd, n_draws, 2) int32
            Drawn (y, x) in pixels, in draw order, whose patches lie on the CCD. The first usable
            points count, up to `gradient_points` of the settings.
        background : Background
            The slope of its polynomial is subtracted for the variants flat_dx and flat_dy. CCDs
            that are not usable have no gradients.
        settings : Settings
            What the CCDs are measured with.

        Returns
        -------
        Gradients
            In the image unit. Where the backend works they may hold slots without a gradient,
            which are NaN, until `to_host` leaves those out; on the host they are in (ccd, draw)
            order. Parity: rounded, 1e-12 of the patch's largest magnitude, since the order of the
            float64 sums differs; a pattern of columns (rows) alone gives dy (dx) = 0 exactly on
            both.
        """
        ...

    def patterns(
        self, stack: CcdStack, background: Background, settings: Settings
    ) -> tuple[Patterns, ProfileSums, LineBins]:
        """Measure maps and spectra of the residual of each CCD; add up its rows, columns and bins (METHOD.md 9).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        background : Background
            Of the same CCDs, image unit. Its coefficients are rounded to 2^-12 sigma, and sigma to float32, so that
            backgrounds that differ by their last bits give equal residuals. A CCD that is not usable has counts of 0.
        settings : Settings
            What the CCDs are measured with.

        Returns
        -------
        tuple of (Patterns, ProfileSums, LineBins)
            The sums of rows and columns are for `profiles`, and the bins for `lines`. Sums are in steps of 2^-12
            sigma, powers in sigma^2. Parity: exact for an equal `background`: sums are whole numbers, and both
            backends transform in one order of operations.
        """
        ...

    def profiles(self, sums: ProfileSums) -> Profiles:
        """Measure jitter and steps of the profiles of rows and columns of each CCD (METHOD.md 9.3).

        Parameters
        ----------
        sums : ProfileSums
            As `patterns` returned them.

        Returns
        -------
        Profiles
            In units of what pixel noise gives. Parity, for equal `sums`: exact.
        """
        ...

    def lines(self, bins: LineBins) -> Array:
        """Find the straight line that stands out most of the bins of each CCD, in any direction (METHOD.md 9.6).

        A line is compared with those beside it, so that glows and gradients are no lines. Lines along the axes (within
        a degree) are left out: they are bad columns and rows.

        Parameters
        ----------
        bins : LineBins
            As `patterns` returned them.

        Returns
        -------
        Array, (2, n_ccd, 6) float64
            First of the bins where sources are left in, then of those where sources are masked: the line's height in
            standard deviations of the bins, x and y of its first and of its last bin, in bins from the middle of the
            first one, and the share of its segments of 32 pixels that are positive. A height of 0, and NaN, where the
            highest line is none of a trail (`gpuanom.backends.line_layout`); all NaN where all bins are alike, or are
            too few. Parity, for equal `bins`: exact.
        """
        ...

    def stamps(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Array:
        """Cut background-subtracted stamps of the sources, over their central values (METHOD.md 7).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        background : Background
            Of the same CCDs, image unit.
        sources : Sources
            Of the same CCDs, as `sources` returned them.
        settings : Settings
            `stamp_size` is the side of a stamp in pixels.

        Returns
        -------
        Array, (n, stamp_size, stamp_size) float32
            Without unit, 1 at the centre; 0 where a pixel is unusable. A stamp for each source, in
            (ccd, y, x) order. Parity: exact for an equal `background`.
        """
        ...

    def shapes(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Shapes:
        """Measure sizes, ellipticities and kurtoses of bright sources under a Gaussian weight (METHOD.md 10).

        The weight has the width of the CCD's own stars, found by iteration from the CCD's sources.

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        background : Background
            Of the same CCDs, image unit.
        sources : Sources
            Of the same CCDs, as `sources` returned them.
        settings : Settings
            `stamp_size` bounds the weight; a source needs `isophote_pixels` connected pixels.

        Returns
        -------
        Shapes
            Of the brightest sources of each CCD whose central pixel is not saturated. Parity:
            exact for equal `background` and `sources`: sums have one order, and the exponential is
            our own.
        """
        ...

    def repeats(
        self,
        stack: CcdStack,
        background: Background,
        sources: Sources,
        turns: npt.NDArray[np.int64],
        exposures: npt.NDArray[np.int64],
        settings: Settings,
    ) -> Repeats:
        """Count the differences of the positions of bright maxima within each CCD (METHOD.md 11).

        Parameters
        ----------
        stack : CcdStack
            (n_ccd, ny, nx), image unit.
        background : Background
            Of the same CCDs, image unit.
        sources : Sources
            Of the same CCDs, as `sources` returned them, with the brightest values of the tiles.
        turns : host ndarray, (n_ccd,) int64
            `Turn` of each CCD.
        exposures : host ndarray, (n_ccd,) int64
            Number of the exposure of each CCD, from 0 on: pairs are counted exposure by exposure.
        settings : Settings
            `stamp_size` is twice the side of a tile.

        Returns
        -------
        Repeats
            Counts of each exposure up to the largest number. Parity: exact for equal `background` and `sources`.
        """
        ...

    def orientation(self, moments: Array) -> Array:
        """Find the orientations of sources from their moments (METHOD.md 3, eqs. 4 and 5).

        Parameters
        ----------
        moments : Array, (n, 3) float64
            Q20, Q02 and Q11, image unit x pixel^2.

        Returns
        -------
        Array, (n,) float64
            Radians in (-pi/2, pi/2]; NaN where a source has no long axis. Parity: rounded, 4 units
            in the last place: atan2 differs between libraries.
        """
        ...

    def gradient_orientation(self, dx: Array, dy: Array) -> Array:
        """Find the orientations of gradients (METHOD.md 4, eq. 8).

        Parameters
        ----------
        dx, dy : Array, (n,) float64
            Gradients along x and y, in one unit.

        Returns
        -------
        Array, (n,) float64
            Radians in (-pi/2, pi/2]; NaN where dx and dy are both 0 or one of them is NaN. Parity:
            rounded, 4 units in the last place: atan differs between libraries.
        """
        ...

    def histogram(
        self, orientation: Array, ccd: Array, turns: npt.NDArray[np.int64], bins: int
    ) -> OrientationHistograms:
        """Count orientations into one histogram for each CCD, in focal-plane axes (METHOD.md 5 and 5b).

        Parameters
        ----------
        orientation : Array, (n,) float64
            Radians; NaN entries are left out.
        ccd : Array, (n,) int64
            Index of the CCD of each orientation.
        turns : host ndarray, (n_ccd,) int64
            `Turn` of each CCD.
        bins : int
            Number of bins over (-pi/2, pi/2], right-closed.

        Returns
        -------
        OrientationHistograms
            (n_ccd, bins) counts, and (n_ccd,) sums of cos 2 theta and sin 2 theta. Parity: counts
            exact for equal orientations; sums rounded, 1e-12 of n, since the GPU adds them as
            whole multiples of 2^-42.
        """
        ...

    def divergence(self, counts: Array, reference: Array) -> Array:
        """Kullback-Leibler divergence of histograms from their reference (METHOD.md 5, eq. 1).

        Parameters
        ----------
        counts : Array, (n, bins) int64
            Number of orientations in each bin.
        reference : Array, (bins,) float64
            Shares that add up to 1; no bin is empty in which a histogram has counts.

        Returns
        -------
        Array, (n,) float64
            Natural logarithm; NaN where a histogram is empty. Parity: rounded, 1e-14: the
            logarithms of two libraries differ in the last place.
        """
        ...
