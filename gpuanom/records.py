"""The frozen records that travel between the steps, from files to tables.

Array fields may live on the host (NumPy) or on a device (CuPy): `Array` stands for either.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import RawImage, RiceImage

Array: TypeAlias = Any
FloatImage: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

KINDS: tuple[str, ...] = ("source", "isophote", "background", "flat_background")
"""The four histograms, in the order in which every array of histograms holds them; the tables' column prefixes."""

SOURCE, ISOPHOTE, BACKGROUND, FLAT_BACKGROUND = range(4)


class Unfit(IntFlag):
    """Bits of a CCD's bad-pixel plane: the steps for which a pixel is bad by its mask (METHOD.md 6)."""

    BACKGROUND = 1
    SOURCES = 2
    GRADIENTS = 4


class Turn(IntEnum):
    """How CCD axes lie in the focal plane's, as it changes an orientation theta (METHOD.md 3).

    The value is ``quarter + 2 * mirrored``: first theta becomes -theta if mirrored, then pi/2 is added if quarter.
    Half turns leave an orientation as it is.
    """

    NONE = 0
    QUARTER = 1
    MIRRORED = 2
    MIRRORED_QUARTER = 3


@dataclass(frozen=True)
class Exposure:
    """One shutter opening as found on disk: what it is and where its CCDs are.

    Attributes
    ----------
    exposure : str
        Its id, with the processing version appended where versions are kept apart.
    camera, band : str
        Together they name the dataset.
    date_obs : str
        Start of the exposure, ISO 8601, empty when the header has none.
    exptime : float
        Exposure time in seconds, NaN when the header has none.
    files : tuple of Path
        The image files, sorted.
    masks : tuple of Path or None
        The mask file of each image file, None where there is none or masks are off.
    fingerprint : str
        Hash of size, modification time and DATASUM cards of all files: changes when a file does.
    rule : str
        Name of the camera rule that recognised it (see `gpuanom.cameras`).
    remarks : tuple of str
        What a user should know, one line each (versions left out, duplicates ...).
    file_named : bool
        Whether only its files name it, not their headers: files of other folders may then have the same name.
    measured_as : str
        The id under which it was measured, where it got another id when nights were merged; empty otherwise.
    labels : tuple of str, or None
        For each file what tells its CCDs from those of the other files, empty where the CCDs' own names do. None:
        not known, so that the files' headers are asked again.
    """

    exposure: str
    camera: str
    band: str
    date_obs: str
    exptime: float
    files: tuple[Path, ...]
    masks: tuple[Path | None, ...]
    fingerprint: str
    rule: str
    remarks: tuple[str, ...] = ()
    file_named: bool = False
    measured_as: str = ""
    labels: tuple[str, ...] | None = None

    @property
    def points_id(self) -> str:
        """The id that decides its random points (METHOD.md 6): the one under which it was measured first."""
        return self.measured_as or self.exposure


@dataclass(frozen=True, eq=False)
class Ccd:
    """One detector image in memory, ready to be measured.

    Attributes
    ----------
    name : str
        Its id within the exposure (EXTNAME or number).
    image : ndarray, (ny, nx) float32, C-contiguous, or RawImage or RiceImage
        Pixel values, any linear unit. NaN and infinite pixels are bad. Images as the file holds them come from
        `CcdOnDisk.load` when a backend decodes them itself, and from nowhere else.
    bad : ndarray, (ny, nx) uint8, or None
        `Unfit` bits from the quality plane; None when no pixel is masked. `gpuanom.measure` takes booleans too.
    saturation : float
        Pixels at or above it count as saturated; NaN when unknown.
    turn : Turn
        From CCD axes to focal-plane axes.
    sky_axes : tuple of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 of the CCD's own pixel axes, degrees per pixel; None without a WCS.
    remark : str
        What the exposure's note should say of how it was read; empty where nothing is uncertain.
    """

    name: str
    image: FloatImage | RawImage | RiceImage
    bad: npt.NDArray[np.uint8] | None = None
    saturation: float = float("nan")
    turn: Turn = Turn.NONE
    sky_axes: tuple[float, float, float, float] | None = None
    remark: str = ""


@dataclass(frozen=True)
class CcdFailure:
    """A CCD that could not be read or measured: a status and a reason instead of numbers.

    Attributes
    ----------
    name : str
        Its id within the exposure, as far as it could be told.
    status : str
        One word for the tables (docs/tables.md).
    reason : str
        One line naming file, HDU and remedy.
    """

    name: str
    status: str
    reason: str


class Load(Protocol):
    """Reads the pixels of one CCD; may be called from any thread, and more than once."""

    def __call__(self, *, encoded: bool = False, out: FloatImage | None = None) -> Ccd | CcdFailure:
        """Read and check the pixels and the mask of a CCD.

        Parameters
        ----------
        encoded : bool, optional
            Leave the image as the file holds it where that is a form which a GPU decodes.
        out : ndarray, (ny, nx) float32, optional
            Memory to decode into, whatever it holds; the image that is returned may lie in it.

        Returns
        -------
        Ccd or CcdFailure
            Nothing is raised for what a file holds.
        """
        ...


@dataclass(frozen=True, eq=False)
class CcdOnDisk:
    """A CCD that was found in a file, its pixels not read yet.

    Attributes
    ----------
    name : str
        Its id within the exposure.
    shape : tuple of int
        (ny, nx) of the image as it will be loaded, without overscan.
    load : callable
        See `Load`. It holds what it needs of the file open until it is let go.
    why : tuple of str
        What decided how it is trimmed and turned, a line each, for `gpuanom explain`.
    """

    name: str
    shape: tuple[int, int]
    load: Load
    why: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CcdStack:
    """CCDs of one exposure that share a shape, where the backend works.

    Attributes
    ----------
    images : Array, (n_ccd, ny, nx) float32
    bad : Array, (n_ccd, ny, nx) uint8, or None
        `Unfit` bits; None when no CCD of the stack has a mask.
    saturation : Array, (n_ccd,) float32
        NaN where unknown.
    damaged : Array, (n_ccd,) int32, or None
        The first tile of each CCD that could not be decoded, -1 where there is none; its pixels are NaN. None where
        nothing was decoded by the backend.
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
        Of 1, X, Y, X^2, XY, Y^2 in the image's unit; NaN where the CCD is unusable.
    sigma : Array, (n_ccd,) float64
        Noise in the image's unit; NaN where the CCD is unusable.
    n_points, n_sigma_points : Array, (n_ccd,) int64
        Usable points behind the fit (before clipping) and behind sigma.
    usable : Array, (n_ccd,) bool
        Whether the CCD can be measured further.
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
        v of the central pixel, background-subtracted, in the image's unit.
    n_above : Array, (n,) int64
        Usable pixels of the stamp above `above_threshold` sigma.
    moments, isophote_moments : Array, (n, 3) float64
        Q20, Q02, Q11 in image unit x pixel^2.
    n_isophote : Array, (n,) int64
        Connected pixels behind `isophote_moments`, the centre among them.
    n_sources, n_bad, n_saturated : Array, (n_ccd,) int64
        Sources of each CCD, and its pixels that are masked (any step) or not finite, and that reach its saturation
        level.
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
        The same with the fitted polynomial's own gradient taken off.
    n_points : Array, (n_ccd,) int64
        Usable points of each CCD.
    """

    ccd: Array
    dx: Array
    dy: Array
    flat_dx: Array
    flat_dy: Array
    n_points: Array


@dataclass(frozen=True, eq=False)
class OrientationHistograms:
    """Histograms of orientations, one a CCD of a stack, and the sums behind alignment (METHOD.md 5, 5b).

    Attributes
    ----------
    counts : Array, (n_ccd, bins) int64
    cosine, sine : Array, (n_ccd,) float64
        Sums of cos 2 theta and sin 2 theta.
    """

    counts: Array
    cosine: Array
    sine: Array


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What an autoencoder makes of the stamps of one CCD (METHOD.md 7).

    Attributes
    ----------
    n_stamps : int
        Stamps counted; one that is not finite is left out.
    error : float
        Sum of their mean squared errors (eq. 9).
    latent : ndarray, (2, n_latent) float64
        Sums of their latent features, and of the features' squares.
    """

    n_stamps: int
    error: float
    latent: Doubles


@dataclass(frozen=True, eq=False)
class CcdMeasurement:
    """Everything that is kept of one CCD.

    Attributes
    ----------
    name, status, reason : str
        Id; ``ok`` or what is wrong in one word; and in one line.
    coefficients : ndarray, (6,) float64
    sky, sigma : float
        Polynomial at the CCD's centre and noise, image unit.
    n_points, n_sigma_points, n_sources, n_without_orientation, n_isophote, n_gradients : int
        Counts; `n_gradients` is the number of usable gradient points.
    masked_fraction, saturated_fraction : float
        Shares of the CCD's pixels; NaN for `saturated_fraction` where no level is known.
    counts : ndarray, (4, bins) int64
        Histograms in the order of `KINDS`, in focal-plane axes.
    cosine, sine : ndarray, (4,) float64
        Sums of cos 2 theta and sin 2 theta, in focal-plane axes.
    sky_axes : tuple of 4 floats, or None
        CD matrix of the focal-plane axes (the CCD's turn undone), degrees per pixel.
    reconstruction : Reconstruction or None
        None where no model was given, or the CCD could not be measured.
    shape : tuple of int
        (ny, nx) of the image that was measured; (0, 0) where there was none.
    remark : str
        What the exposure's note should say of how it was read.
    """

    name: str
    status: str
    reason: str
    coefficients: Doubles
    sky: float
    sigma: float
    n_points: int
    n_sigma_points: int
    n_sources: int
    n_without_orientation: int
    n_isophote: int
    n_gradients: int
    masked_fraction: float
    saturated_fraction: float
    counts: Integers
    cosine: Doubles
    sine: Doubles
    sky_axes: tuple[float, float, float, float] | None
    reconstruction: Reconstruction | None = None
    shape: tuple[int, int] = (0, 0)
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Measurement:
    """Everything that is kept of one exposure: its CCDs in order of their names.

    `settings` is `gpuanom.Settings.fingerprint` of what it was measured with, `model` the fingerprint of the
    autoencoder that its stamps went through, empty without one.
    """

    exposure: Exposure
    ccds: tuple[CcdMeasurement, ...]
    settings: str
    model: str = ""
