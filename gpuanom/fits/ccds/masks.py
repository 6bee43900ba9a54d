"""The masks of CCDs: which plane is a CCD's mask, whether there can be one, and the bad pixels that the mask tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.cameras.rules import CameraRule
from gpuanom.encoded import RiceImages, Room
from gpuanom.errors import InputError
from gpuanom.fits.ccds.images_together import RiceImagesOfFile
from gpuanom.fits.ccds.mask_bits import DECODINGS, NoMeaningError, decode
from gpuanom.fits.ccds.mask_planes import NO_MASK, PlanesInImageFile, like_image, planes_by_name
from gpuanom.fits.ccds.pixels import numbers
from gpuanom.fits.ccds.sections import Section
from gpuanom.fits.decoding.table_header import TableForm
from gpuanom.fits.headers.hdus import Hdu
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.file import File
from gpuanom.settings import Settings
from gpuanom.workspace import workspace

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
        self._error: InputError | None = None
        self._has_logged = False

    def _plane_in_mask_file(self, path: Path, name: str) -> tuple[File, Hdu]:
        """Return the plane of a CCD in the mask file; the HDUs of the file are listed only once."""
        if self._error is not None and self._file is None:
            raise self._error
        if self._file is None:
            try:
                self._file = File(path, self._settings.checksum)
            except InputError as error:
                self._error = error
                raise
            self._planes, self._error = planes_by_name(self._file, self._image_file, self._rule)
        if name not in self._planes:
            raise self._error or InputError(f"it has no plane for CCD {name}", file=path)
        return self._file, self._planes[name]

    @cached_property
    def _planes_in_image_file(self) -> PlanesInImageFile:
        return PlanesInImageFile(self._image_file, self._rule)

    def _plane(self, item: Hdu, name: str) -> tuple[File, Hdu] | None:
        """Return the plane of a CCD and the file of the plane; None where the CCD has none."""
        with self._lock:
            if self._path is not None:
                return self._plane_in_mask_file(self._path, name)
            if not self._rule.mask_hdu:
                return None
            plane = self._planes_in_image_file.of(item)
            if not self._has_logged and plane is not None and self._rule.mask == "own":
                self._has_logged = True
                _log.info("%s: the mask plane of the same file is applied", self._image_file.path)
            return None if plane is None else (self._image_file, plane)

    @cached_property
    def has_none(self) -> bool:
        """Whether no CCD of the file has a plane that is applied."""
        if not self._settings.mask or self._rule.mask == "none":
            return True
        return self._path is None and (not self._rule.mask_hdu or self._planes_in_image_file.has_none)

    def planes_of_file(self, names: Sequence[str]) -> tuple[File, list[Hdu]] | None:
        """Return the mask file and the planes of several CCDs; None where one has no plane in a mask file."""
        if self._path is None:
            return None
        with self._lock, suppress(InputError):
            file, _ = self._plane_in_mask_file(self._path, names[0])
            if self._planes.keys() >= set(names):
                return file, [self._planes[name] for name in names]
        return None

    def decoded(self, values: npt.NDArray[Any], plane: Hdu, cards: Cards | None = None) -> npt.NDArray[np.uint8] | None:
        """Return the `Unfit` bits of the numbers of a plane, see `gpuanom.fits.ccds.mask_bits.decode`."""
        return decode(values, plane.header, cards or plane.cards, self._rule, self._settings)

    def in_words(
        self, item: Hdu, name: str, sections: tuple[Section, ...], full: tuple[int, ...], trimmed: tuple[int, ...]
    ) -> str:
        """Say which plane is the mask of a CCD and how it is decoded, or why there is no mask.

        Parameters
        ----------
        item, name, sections, full, trimmed
            As for `bad`.
        """
        rule = self._rule
        if not self._settings.mask:
            return "none: masks are off"
        if rule.mask == "none" or (self._path is None and not rule.mask_hdu):
            why = "no mask file beside the image" if rule.mask_file else f"rule '{rule.name}' names no mask"
            return f"none: {why}"
        try:
            found = self._plane(item, name)
            if found is None:
                return "none: no MASK plane in the file that belongs to it"
            file, plane = found
            if rule.mask == "own":
                values = like_image(numbers(file, plane), sections, rule, full, trimmed)
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
            return self.decoded(values, plane)
        except NoMeaningError as error:
            _log.info("%s: not applied: %s", f"{file.path}[{plane.number}]", error)
            return None
        except InputError as error:
            raise file.at(plane, error) from None


class MasksTogether:
    """The masks of CCDs that are taken whole, in one mask file: several are read by one read.

    Parameters
    ----------
    masks : Masks
    names : sequence of str
        Names of the CCDs within the file of the images.
    shapes : sequence of (int, int)
        (ny, nx) of each CCD.
    """

    def __init__(self, masks: Masks, names: Sequence[str], shapes: Sequence[tuple[int, int]]) -> None:
        self._masks, self._shapes = masks, shapes
        self._planes: list[Hdu] = []
        self._images: RiceImagesOfFile | None = None
        self._cards: Cards | None = None
        if (found := masks.planes_of_file(names)) is None:
            return
        file, self._planes = found
        with suppress(InputError):
            known = dict(zip(file.images(), file.image_shapes(), strict=True))
            if [known[plane] for plane in self._planes] == list(shapes):
                self._images = RiceImagesOfFile(file, self._planes, shapes, on_host=True)
                # PLVER is asked of each plane, and most files have it in the primary header.
                self._cards = self._planes[0].cards if file.headers().are_same("PLVER") else None

    def read(self, first: int, last: int) -> list[npt.NDArray[np.uint8] | None] | None:
        """Return what `Masks.bad` returns for some of the CCDs; None where anything is unusual or wrong with one."""
        images = self._images
        form = None if images is None else images.form(first)
        if images is None or form is None or not _holds_plain_numbers(form, self._planes[first]):
            return None
        encoded = images.read(first, last, lambda n_bytes: Room(np.empty(n_bytes, np.uint8)))
        if encoded is None:
            return None
        kind = _PLAIN_NUMBERS[form.bitpix]
        bad = []
        for i, plane in enumerate(self._planes[first:last]):
            values = _integers(encoded, i)
            if values is None:
                return None
            try:
                bad.append(self._masks.decoded(values.astype(kind, copy=False), plane, self._cards))
            except InputError:
                return None
        return bad


_PLAIN_NUMBERS = {8: np.uint8, 16: np.int16, 32: np.int32}
"""Types of the numbers of planes, by BITPIX."""


def _holds_plain_numbers(form: TableForm, plane: Hdu) -> bool:
    """Whether the numbers of a plane are those that are stored (`gpuanom.fits.ccds.pixels.numbers` has the others)."""
    has_blank = not {"BLANK   ", "ZBLANK  "}.isdisjoint(plane.stored.header.layout.places)
    return form.bitpix in _PLAIN_NUMBERS and (form.scale, form.zero) == (1.0, 0.0) and not has_blank


def _integers(images: RiceImages, i: int) -> npt.NDArray[np.int32] | None:
    """Decode one of several images of integers, into memory that the thread uses for every plane; None if damaged."""
    from gpuanom.fits.decoding import rice

    (ny, nx), (rows, columns) = images.shape, images.tile
    out = workspace("mask", images.shape, np.int32)
    damaged = rice.decode_integers(
        images.data, images.start[i], images.size[i], ny, nx, rows, columns, images.bytepix, images.blocksize,
        workspace("mask tile", (rows * columns,), np.int32), out.reshape(-1),
    )  # fmt: skip
    return out if damaged < 0 else None
