"""Exposures and their CCDs, in files and in memory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom import display
from gpuanom.encoded import GiveRoom, RawImage, RiceImage, RiceImages
from gpuanom.records.kinds import FloatImage
from gpuanom.set_at_once import set_at_once

ExposureKey: TypeAlias = tuple[str, str]
"""Camera and exposure id, which together name an exposure in a night."""

DatasetKey: TypeAlias = tuple[str, str]
"""Camera and band, which together name a dataset: the exposures that are compared with each other."""


Version: TypeAlias = tuple[tuple[int, ...], str, tuple[int, ...], str]
"""A processing version, sortable by age: numbers and letters of PLVER, then of the version in the file's name."""


NO_PIXELS = np.empty((0, 0), dtype=np.float32)
"""The image of a CCD whose pixels are elsewhere."""


class Unfit(IntFlag):
    """Bits of the bad-pixel plane of a CCD: the steps for which the mask says that a pixel is bad (METHOD.md 6)."""

    BACKGROUND = 1
    SOURCES = 2
    GRADIENTS = 4


class Turn(IntEnum):
    """How the axes of a CCD are turned against those of the focal plane (METHOD.md 3).

    The value is ``quarter + 2 * mirrored``. An orientation theta along the axes of the CCD becomes
    -theta if mirrored, and then pi/2 is added if turned by a quarter. Half turns leave
    orientations as they are.
    """

    NONE = 0
    QUARTER = 1
    MIRRORED = 2
    MIRRORED_QUARTER = 3


@dataclass(frozen=True)
class Exposure:
    """An exposure as it was found on disk: what the headers say, and the files of its CCDs.

    Attributes
    ----------
    exposure : str
        The exposure id, with the processing version appended where versions are scored apart.
    camera, band : str
        Together they name the dataset.
    date_obs : str
        Start of the exposure, ISO 8601; empty when the header has none.
    exptime : float
        Exposure time in seconds; NaN when the header has none.
    files : tuple of Path
        The image files, sorted.
    masks : tuple of Path or None
        The mask file of each image file; None where there is none or masks are not used.
    fingerprint : str
        Hash of size, modification time and DATASUM cards of all files, which changes when a file
        changes.
    rule : str
        Name of the camera rule that recognised the files (see `gpuanom.cameras.rules`).
    remarks : tuple of str
        Lines that a user should know, for instance about processing versions that were left out.
    file_named : bool
        Whether the id is the name of the file, because no header gives one: files in other folders
        may have the same.
    measured_as : str
        The id under which the exposure was measured, where it got another id when nights were
        merged; empty otherwise.
    labels : tuple of str, or None
        For each file a text that distinguishes its CCDs from those of the other files; empty where
        the names of the CCDs do so. None: not known, so the headers are read again.
    version : tuple, or None
        The processing version of the files, sortable by age. None: not known, because an older
        version of gpuanom, which did not keep it, measured the exposure.
    version_label : str
        The same as a text; empty where the camera rule names no keywords of versions.
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
    version: Version | None = None
    version_label: str = ""

    def __repr__(self) -> str:
        time = "" if self.exptime != self.exptime else f"{display.text(self.exptime)} s"
        files = display.counted(len(self.files), "file") if self.files else ""
        dataset = f"{self.camera} {self.band}".strip()
        return display.one_line("Exposure", (dataset, self.date_obs, time, files), self.exposure)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent by its values: Python's usual way leaves a dictionary with each exposure of a night that was sent."""
        return Exposure, tuple(getattr(self, f.name) for f in fields(self))

    @property
    def key(self) -> ExposureKey:
        """Camera and id, which together name the exposure."""
        return self.camera, self.exposure

    @property
    def files_and_masks(self) -> list[Path]:
        """The image files, then those of masks that are used."""
        return [*self.files, *(mask for mask in self.masks if mask is not None)]

    @property
    def points_id(self) -> str:
        """The id that decides the random points (METHOD.md 6): the one under which the exposure was first measured."""
        return self.measured_as or self.exposure


@set_at_once
@dataclass(frozen=True, eq=False)
class Ccd:
    """One detector image in memory, ready to be measured.

    Attributes
    ----------
    name : str
        Name of the CCD within the exposure (EXTNAME or number).
    image : ndarray, (ny, nx) float32, C-contiguous, or RawImage or RiceImage
        Pixel values in any linear unit. NaN and infinite pixels are bad. Only `CcdOnDisk.load`
        gives a `RawImage` or `RiceImage`, for a backend that decodes images itself.
    bad : ndarray, (ny, nx) uint8, or None
        `Unfit` bits from the quality plane; None when no pixel is masked. `gpuanom.measure` takes
        booleans too.
    saturation : float
        Pixels at or above this level, in the image's unit, count as saturated; NaN when unknown.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    sky_axes : tuple of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 along the pixel axes of the CCD, degrees per pixel; None without
        a WCS.
    remark : str
        What the column ``note`` of the exposure should say about reading this CCD; empty where
        nothing is uncertain.
    """

    name: str
    image: FloatImage | RawImage | RiceImage
    bad: npt.NDArray[np.uint8] | None = None
    saturation: float = float("nan")
    turn: Turn = Turn.NONE
    sky_axes: tuple[float, float, float, float] | None = None
    remark: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        ny, nx = self.image.shape
        return ny, nx

    def __repr__(self) -> str:
        shape: tuple[int, ...] = getattr(self.image, "shape", ())
        size = f"{shape[1]} x {shape[0]} pixels" if len(shape) == 2 else f"of type {type(self.image).__name__}"
        return display.one_line("Ccd", (size, "" if self.bad is None else "with a mask"), str(self.name))


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdsTogether:
    """CCDs that follow each other in a file, read by one read for a backend that decodes images itself.

    Attributes
    ----------
    ccds : list of Ccd
        Their images are empty.
    images : RiceImages
        The image of each of them, as the file holds it.
    """

    ccds: list[Ccd]
    images: RiceImages


@dataclass(frozen=True)
class CcdFailure:
    """A CCD that could not be read or measured: a status and a reason instead of numbers.

    Attributes
    ----------
    name : str
        Name of the CCD within the exposure, as far as it is known.
    status : str
        A word for the tables (docs/tables.md).
    reason : str
        A line that names file, HDU and remedy.
    """

    name: str
    status: str
    reason: str

    @property
    def shape(self) -> tuple[int, int]:
        """(0, 0): there is no image."""
        return 0, 0


class Load(Protocol):
    """A function that reads the pixels of one CCD; it may be called from any thread, and more than once."""

    def __call__(
        self, *, encoded: bool = False, out: FloatImage | None = None, room: GiveRoom | None = None
    ) -> Ccd | CcdFailure:
        """Read and check the pixels and the mask of a CCD.

        Parameters
        ----------
        encoded : bool, optional
            Leave the image as the file holds it, where a GPU can decode that form.
        out : ndarray, (ny, nx) float32, optional
            Memory to decode into, which is overwritten; the image that is returned may lie there.
        room : callable, optional
            Gives the memory that an encoded image is read into. By default the image is a view
            into the mapped file.

        Returns
        -------
        Ccd or CcdFailure
            A file that is damaged or cannot be read gives a `CcdFailure`, never an exception.
        """
        ...


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdOnDisk:
    """A CCD that was found in a file, whose pixels have not been read.

    Attributes
    ----------
    name : str
        Name of the CCD within the exposure.
    shape : tuple of int
        (ny, nx) of the image as it will be loaded, without overscan.
    load : callable
        See `Load`. The file stays open for as long as this function exists.
    why : tuple of str
        Two lines for `gpuanom explain`: what decided how the CCD is trimmed, and how it is turned.
    """

    name: str
    shape: tuple[int, int]
    load: Load
    why: tuple[str, ...] = ()
