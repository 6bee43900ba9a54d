"""Exposures and their CCDs, as files hold them or as they lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom import display
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.records.kinds import FloatImage

ExposureKey: TypeAlias = tuple[str, str]
"""Camera and exposure id: what names an exposure in a night."""

DatasetKey: TypeAlias = tuple[str, str]
"""Camera and band: what names a dataset, the exposures that are compared with each other."""


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
        Name of the camera rule that recognised it (see `gpuanom.cameras.rules`).
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

    def __repr__(self) -> str:
        time = "" if self.exptime != self.exptime else f"{display.text(self.exptime)} s"
        files = display.counted(len(self.files), "file") if self.files else ""
        dataset = f"{self.camera} {self.band}".strip()
        return display.one_line("Exposure", (dataset, self.date_obs, time, files), self.exposure)

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

    def __repr__(self) -> str:
        shape: tuple[int, ...] = getattr(self.image, "shape", ())
        size = f"{shape[1]} x {shape[0]} pixels" if len(shape) == 2 else f"of type {type(self.image).__name__}"
        return display.one_line("Ccd", (size, "" if self.bad is None else "with a mask"), str(self.name))


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
