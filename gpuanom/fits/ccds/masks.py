"""The masks of CCDs: which plane is a CCD's mask, whether there can be one, and the bad pixels that the mask tells."""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.mask_bits import DECODINGS, NoMeaningError, decode
from gpuanom.fits.ccds.mask_planes import NO_MASK, OwnPlanes, like_image, planes_by_name
from gpuanom.fits.ccds.pixels import numbers
from gpuanom.fits.ccds.sections import Section
from gpuanom.fits.opening.file import File, Hdu
from gpuanom.settings import Settings

_log = logging.getLogger("gpuanom")


class Masks:
    """The quality planes of the CCDs of one image file, from the mask file or from the image file itself.

    Parameters
    ----------
    path : Path or None
        The mask file; None where there is none.
    image_file : File
    rule : CameraRule
    settings : Settings
        The mask classes that are bad for each step.
    """

    def __init__(self, path: Path | None, image_file: File, rule: CameraRule, settings: Settings) -> None:
        self._path = path
        self._image_file = image_file
        self._rule = rule
        self._settings = settings
        self._lock = threading.Lock()
        self._file: File | None = None
        self._planes: dict[str, Hdu] = {}
        self._planes_of_image: OwnPlanes | None = None
        self._trouble: InputError | None = None
        self._told = False

    def _of_file(self, path: Path, name: str) -> tuple[File, Hdu]:
        """Return the plane of a CCD in the mask file; the HDUs of the file are listed only once."""
        if self._trouble is not None and self._file is None:
            raise self._trouble
        if self._file is None:
            try:
                self._file = File(path, self._settings.checksum)
            except InputError as error:
                self._trouble = error
                raise
            self._planes, self._trouble = planes_by_name(self._file, self._image_file, self._rule)
        if name not in self._planes:
            raise self._trouble or InputError(f"it has no plane for CCD {name}", file=path)
        return self._file, self._planes[name]

    def _own(self) -> OwnPlanes:
        """The quality planes in the file of the image."""
        self._planes_of_image = self._planes_of_image or OwnPlanes(self._image_file, self._rule)
        return self._planes_of_image

    def _plane(self, item: Hdu, name: str) -> tuple[File, Hdu] | None:
        """Return the plane of a CCD and the file of the plane; None where the CCD has none."""
        with self._lock:
            if self._path is not None:
                return self._of_file(self._path, name)
            if not self._rule.mask_hdu:
                return None
            plane = self._own().of(item)
            if not self._told and plane is not None and self._rule.mask == "own":
                self._told = True
                _log.info("%s: the mask plane of the same file is applied", self._image_file.path)
            return None if plane is None else (self._image_file, plane)

    @cached_property
    def none(self) -> bool:
        """Whether no CCD of the file has a plane that is applied."""
        if not self._settings.mask or self._rule.mask == "none":
            return True
        return self._path is None and (not self._rule.mask_hdu or self._own().none)

    def in_words(self, load: Any) -> str:
        """Say which plane is the mask of a CCD and how it is decoded, or why there is no mask.

        Parameters
        ----------
        load : callable
            What `gpuanom.fits.reader.open_ccds` keeps of the CCD.
        """
        rule = self._rule
        if not self._settings.mask:
            return "none: masks are off"
        if rule.mask == "none" or (self._path is None and not rule.mask_hdu):
            why = "no mask file beside the image" if rule.mask_file else f"rule '{rule.name}' names no mask"
            return f"none: {why}"
        try:
            found = self._plane(load.item, load.in_file)
            if found is None:
                return "none: no MASK plane in the file that belongs to it"
            file, plane = found
            if rule.mask == "own":
                values = like_image(numbers(file, plane), load.sections, rule, load.full, load.shape)
                decode(values, plane.header, plane.cards, rule, self._settings)
        except NoMeaningError as error:
            return f"not applied: {error.reason}; {error.remedy}"
        except InputError as error:
            return f"cannot be applied: {error}"
        place = "" if file is self._image_file else f" of {file.path.name}"
        return f"HDU {plane.number}{place}, decoded as {DECODINGS[rule.mask]}"

    def bad(
        self,
        item: Hdu,
        name: str,
        sections: tuple[Section, ...],
        full: tuple[int, ...],
        trimmed: tuple[int, ...],
    ) -> npt.NDArray[np.uint8] | None:
        """Return the `Unfit` bits of a CCD, trimmed like the image; None without a plane or bad pixels.

        Parameters
        ----------
        item : Hdu
            The image of the CCD.
        name : str
            Name of the CCD within the file.
        sections : tuple of Section
            The parts of the image that are kept; empty: the whole image.
        full, trimmed : tuple of 2 ints
            (ny, nx) of the image in the file, and of the trimmed image.

        Raises
        ------
        InputError
            Status ``mask_unreadable`` or ``mask_mismatch``: a CCD that has a mask is never scored without it.
        """
        rule, settings = self._rule, self._settings
        if not settings.mask or rule.mask == "none":
            return None
        try:
            found = self._plane(item, name)
            if found is None:
                return None
            file, plane = found
            values = numbers(file, plane)
        except InputError as error:
            raise InputError(
                f"its mask cannot be read: {error.reason}",
                file=error.file,
                hdu=error.hdu,
                remedy=f"{error.remedy}; {NO_MASK}" if error.remedy else NO_MASK,
                status="mask_unreadable",
            ) from None
        try:
            values = like_image(values, sections, rule, full, trimmed)
            return decode(values, plane.header, plane.cards, rule, settings)
        except NoMeaningError as error:
            _log.info("%s: not applied: %s", f"{file.path}[{plane.number}]", error)
            return None
        except InputError as error:
            raise file.at(plane, error) from None
