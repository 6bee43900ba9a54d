"""The CCDs of an exposure, read when they are needed; faults of files become records, not exceptions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from operator import and_, eq, itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.cameras.rules import CameraRule
from gpuanom.encoded import GiveRoom, RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits.ccds.axes import CcdAxes, Mosaic, axes_of_file
from gpuanom.fits.ccds.copies import Copies
from gpuanom.fits.ccds.images_together import RiceImagesOfFile
from gpuanom.fits.ccds.masks import Masks, MasksTogether
from gpuanom.fits.ccds.names import Role, first_ccds, roles_in_file
from gpuanom.fits.ccds.pixels import as_stored, pixels
from gpuanom.fits.ccds.saturation import saturations
from gpuanom.fits.ccds.section_choice import DataSections, data_sections, sections_and_shapes
from gpuanom.fits.ccds.sections import Section, trim, trimmed_shape
from gpuanom.fits.discover import labels_of, rule_of
from gpuanom.fits.headers.hdus import Hdu
from gpuanom.fits.opening.file import File
from gpuanom.records import NO_PIXELS, Ccd, CcdFailure, CcdOnDisk, CcdsTogether, Exposure, FloatImage
from gpuanom.records.attributes import attributes
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings
from gpuanom.workspace import workspace

_log = logging.getLogger("gpuanom")


def read_ccds(exposure: Exposure, settings: Settings) -> Iterator[Ccd | CcdFailure]:
    """Yield the CCDs of an exposure in the order of the files and HDUs.

    The pixels of one CCD are in memory at a time. A CCD that cannot be read is a `CcdFailure`, and the other CCDs
    follow; no error is raised for the content of a file.

    Parameters
    ----------
    exposure : Exposure
        As `gpuanom.fits.discover` found it.
    settings : Settings
        Its camera rules, and the mask classes that are bad for each step.

    Yields
    ------
    Ccd or CcdFailure
        Names are unique: a second CCD of the same name is a failure of status ``duplicate``, named ``NAME (2)``.
    """
    for item in open_ccds(exposure, settings):
        yield item if isinstance(item, CcdFailure) else item.load()


def open_ccds(exposure: Exposure, settings: Settings) -> Iterator[CcdOnDisk | CcdFailure]:
    """List the CCDs of an exposure in the order of the files and HDUs; only headers are read.

    A file stays mapped to memory while one of its CCDs exists, and need not be closed. No error is raised for the
    content of a file, neither here nor by `CcdOnDisk.load`.

    Parameters
    ----------
    exposure : Exposure
        As `gpuanom.fits.discover` found it.
    settings : Settings
        Its camera rules, and the mask classes that are bad for each step.

    Yields
    ------
    CcdOnDisk or CcdFailure
        Names are unique: a second CCD of the same name is a failure of status ``duplicate``, named ``NAME (2)``.
    """
    yield from map(itemgetter(1), open_by_file(exposure, settings))


def open_by_file(exposure: Exposure, settings: Settings) -> Iterator[tuple[Path, CcdOnDisk | CcdFailure]]:
    """List the CCDs of an exposure as `open_ccds` does, each with its file.

    Parameters
    ----------
    exposure, settings
        As for `open_ccds`.

    Yields
    ------
    tuple of (Path, CcdOnDisk or CcdFailure)
    """
    rule = rule_of(exposure, settings)
    names: dict[str, int] = {}
    copies = Copies()
    labels = labels_of(exposure, settings)
    # Common axes are chosen from the first CCD of each file, or, in `axes_of_file`, from all CCDs of a single file.
    mosaic = None
    if len(exposure.files) > 1:
        mosaic = Mosaic.of(rule, first_ccds(exposure, rule, labels) if rule.turn == "mosaic" else ())
    for path, mask, label in zip(exposure.files, exposure.masks, labels, strict=True):
        try:
            file = File(path, settings.checksum)
            ccds = _ccds_of_file(file, Masks(mask, file, rule, settings), rule, mosaic, names, copies, label)
            yield from zip(repeat(path), ccds, strict=False)
        except InputError as error:
            yield path, _failure(_unique(f"({path.name})", names), error)
    if not names:
        # A file of guide or focus sensors alone is no fault, unless the exposure has no other file.
        path = exposure.files[0]
        yield path, _failure(f"({path.name})", InputError("only guide or focus sensors", file=path, status="no_image"))


@dataclass(frozen=True)
class Origin:
    """Where a CCD's pixels and its mask come from.

    Attributes
    ----------
    hdu : int
        Number of the HDU.
    full, shape : tuple of 2 ints
        (ny, nx) of the image in the file, and of the trimmed image.
    sections : tuple of Section
        The parts of the image that are kept; empty: the whole image.
    mask : str
        Which plane is the mask and how it is decoded, or why there is no mask.
    """

    hdu: int
    full: tuple[int, int]
    shape: tuple[int, int]
    sections: tuple[Section, ...]
    mask: str


def origin_of(ccd: CcdOnDisk, *, mask: bool = True) -> Origin:
    """Return the origin of a CCD that `open_ccds` listed; `mask` tells whether to describe the mask, or to skip it."""
    load = ccd.load
    if not isinstance(load, _Loader):
        raise TypeError("a CCD that was not listed by open_ccds")
    about_mask = load.masks.in_words(load.item, load.in_file, load.sections, load.full, load.shape) if mask else ""
    return Origin(load.item.number, load.full, load.shape, load.sections, about_mask)


class CcdsOnDisk:
    """CCDs whose pixels are read several at a time, as the files hold them.

    Parameters
    ----------
    items : sequence of CcdOnDisk
        From `open_ccds`.
    """

    def __init__(self, items: Sequence[CcdOnDisk]) -> None:
        self._items = items
        self._loaders: Sequence[_Loader] = [item.load for item in items]  # type: ignore[misc]
        self._images: RiceImagesOfFile | None = None
        if set(map(type, self._loaders)) == {_Loader}:
            file, masks = self._loaders[0].file, self._loaders[0].masks
            files, hdus, full, shapes, ccds, names = attributes(
                self._loaders, "file", "item", "full", "shape", "without_pixels", "in_file"
            )
            self._images = RiceImagesOfFile(file, hdus, full)
            in_file = [of_ccd is file for of_ccd in files] if len(set(files)) > 1 else repeat(True)
            self._untrimmed = list(map(and_, in_file, map(eq, full, shapes)))
            self._ccds: list[Ccd] = list(ccds)
            self._masks = None if masks.has_none else MasksTogether(masks, names, shapes)

    @property
    def most_of_a_read(self) -> int:
        """How many CCDs that follow each other one read may give, at least 1; all where each is read alone."""
        return len(self._items) if self._images is None else self._images.most_of_a_read

    def load(self, first: int, last: int, room: GiveRoom) -> CcdsTogether | list[Ccd | CcdFailure]:
        """Read some of the CCDs, those that follow each other in a file by one read.

        Parameters
        ----------
        first, last : int
            The first CCD, and the one behind the last.
        room : callable
            Gives memory for a number of bytes.

        Returns
        -------
        CcdsTogether, or list of Ccd or CcdFailure
            What ``item.load(encoded=True, room=room)`` returns for each; in one record where one read gave all CCDs.
        """
        if self._images is not None and all(self._untrimmed[first:last]):
            images = self._images.read(first, last, room)
            ccds = self._without_pixels(first, last) if images is not None else None
            if images is not None and ccds is not None:
                return CcdsTogether(ccds, images)
        return [item.load(encoded=True, room=room) for item in self._items[first:last]]

    def _without_pixels(self, first: int, last: int) -> list[Ccd] | None:
        """The CCDs with their masks, and with empty images; None where a mask cannot be read."""
        if self._masks is None:
            return self._ccds[first:last]
        bad = self._masks.read(first, last)
        if bad is not None:
            return [changed(ccd, bad=bits) for ccd, bits in zip(self._ccds[first:last], bad, strict=True)]
        found = [load.masked() for load in self._loaders[first:last]]
        ccds = [ccd for ccd in found if isinstance(ccd, Ccd)]
        return ccds if len(ccds) == len(found) else None


def _ccds_of_file(
    file: File, masks: Masks, rule: CameraRule, mosaic: Mosaic | None, names: dict[str, int], copies: Copies, label: str
) -> Iterator[CcdOnDisk | CcdFailure]:
    """List the CCDs of a file; `names` counts those of the exposure by name, and `mosaic` is None for a single file."""
    properties = _image_properties(file, rule, mosaic, label)
    if not label and (plain := _ccds_of_plain_file(file, masks, rule, names, properties)):
        yield from plain
        return
    empty = True
    skipped = 0
    failed: set[int] = set()
    of_images = map(_OneImage._make, zip(*properties, strict=True))
    for item in file.hdus():
        if isinstance(item, InputError):
            empty = False
            if item.hdu in failed:
                continue  # the CCD that is cut off was reported before
            yield _failure(_unique(f"({file.path.name}[{item.hdu}])", names), item)
            continue
        image = next(of_images)
        role = image.role
        if role.no_ccd:
            skipped += role.sensor
            continue
        empty = False
        unique = _unique(role.name, names)
        try:
            if unique != role.name or (label and copies.holds(file, item)):
                remedy = "the first one is used; leave one out of the input"
                raise InputError(f"a second CCD '{role.name}' of one exposure", remedy=remedy, status="duplicate")
            yield _ccd_on_disk(file, item, masks, rule, image)
        except InputError as error:
            failed.add(item.number)
            yield _failure(unique, file.at(item, error))
    if empty and not skipped:
        remedy = "leave it out of the input"
        raise InputError("no image HDU that is a CCD", file=file.path, remedy=remedy, status="no_image")


def _ccd_on_disk(file: File, item: Hdu, masks: Masks, rule: CameraRule, image: _OneImage) -> CcdOnDisk:
    """Return a CCD whose pixels have not been read; raise the error of what is wrong with its shape or sections."""
    full = file.image_shape(item)
    if image.trimmed is None:
        sky = data_sections(rule, item.cards, full)
        shape = trimmed_shape(full, sky.sections, rule.full_size)
    else:
        sky, shape = image.trimmed
    role, axes = image.role, image.axes
    remark = "; ".join(filter(None, (sky.remark, axes.remark)))
    ccd = Ccd(role.name, NO_PIXELS, None, image.saturation, axes.turn, axes.sky_axes, remark)
    load = _Loader(ccd, file, item, masks, rule, sky, full, shape, role.in_file)
    return CcdOnDisk(role.name, shape, load, (sky.why, axes.why))


_Trimmed = tuple[DataSections, tuple[int, int]]
"""The parts of an image that show the sky, and (ny, nx) of the trimmed image."""


class _ImageProperties(NamedTuple):
    """The properties of a file's images that follow from their headers: columns with a row for each image.

    None among `trimmed` is an image for which the sections, or its shape, are not as they should be.
    """

    roles: Sequence[Role]
    trimmed: Sequence[_Trimmed | None]
    axes: Sequence[CcdAxes]
    saturations: Sequence[float]


class _OneImage(NamedTuple):
    """The properties of one image: a row of `_ImageProperties`."""

    role: Role
    trimmed: _Trimmed | None
    axes: CcdAxes
    saturation: float


def _image_properties(file: File, rule: CameraRule, mosaic: Mosaic | None, label: str) -> _ImageProperties:
    images, headers = file.images(), file.headers()
    roles = roles_in_file(file, rule, label)
    if mosaic is None:
        axes = axes_of_file(rule, tuple([None if role.no_ccd else role.name for role in roles]), headers)
    else:
        axes = [mosaic.axes(role.name, item.cards) for role, item in zip(roles, images, strict=True)]
    trimmed = sections_and_shapes(rule, tuple([item.claimed_shape for item in images]), headers)
    return _ImageProperties(roles, trimmed, axes, saturations(rule, headers))


def _ccds_of_plain_file(
    file: File, masks: Masks, rule: CameraRule, names: dict[str, int], properties: _ImageProperties
) -> Iterator[CcdOnDisk] | None:
    """The CCDs of a file whose images are all CCDs, as `_ccds_of_file` lists them; None where anything is unusual.

    What is asked of each CCD there is asked of columns here, which takes a fraction of the time.
    """
    images = file.images()
    if not images or len(images) < len(file.hdus()) or None in properties.trimmed:
        return None
    unique, no_ccd, _, in_file = zip(*properties.roles, strict=True)
    if any(no_ccd) or len(set(unique)) < len(unique) or not names.keys().isdisjoint(unique):
        return None
    try:
        full = file.image_shapes()
    except InputError:
        return None
    names.update(dict.fromkeys(unique, 1))
    skies, shapes = zip(*filter(None, properties.trimmed), strict=True)
    turns, sky_axes, why_axes, of_axes = attributes(properties.axes, "turn", "sky_axes", "why", "remark")
    why_sky, of_skies = attributes(skies, "why", "remark")
    remarks = [f"{a}; {b}" if a and b else a or b for a, b in zip(of_skies, of_axes, strict=True)]
    ccds = map(Ccd, unique, repeat(NO_PIXELS), repeat(None), properties.saturations, turns, sky_axes, remarks)
    loads = map(_Loader, ccds, repeat(file), images, repeat(masks), repeat(rule), skies, full, shapes, in_file)
    return map(CcdOnDisk, unique, shapes, loads, zip(why_sky, why_axes, strict=True))


def _unique(name: str, names: dict[str, int]) -> str:
    count = names[name] = names.get(name, 0) + 1
    return name if count == 1 else f"{name} ({count})"


def _failure(name: str, error: InputError) -> CcdFailure:
    return CcdFailure(name, error.status, str(error))


@dataclass(eq=False)
class _Loader:
    """The function `records.Load` of one CCD, which keeps the file open but holds no pixels; it is never changed."""

    without_pixels: Ccd
    """The CCD with an empty image and without a mask."""
    file: File
    item: Hdu
    masks: Masks
    rule: CameraRule
    sky: DataSections
    full: tuple[int, int]
    shape: tuple[int, int]
    in_file: str

    @property
    def sections(self) -> tuple[Section, ...]:
        """The parts of the image that are kept; empty: the whole image."""
        return self.sky.sections

    def __call__(
        self, *, encoded: bool = False, out: FloatImage | None = None, room: GiveRoom | None = None
    ) -> Ccd | CcdFailure:
        """Read and check the pixels and the mask of a CCD; see `records.Load`."""
        try:
            return self._read(encoded, out, room)
        except InputError as error:
            return self._failed(error)

    def _read(self, encoded: bool, out: FloatImage | None, room: GiveRoom | None) -> Ccd:
        image = (self._encoded(room) if encoded else None) or self._image(out)
        return replace(self.without_pixels, image=image, bad=self._bad())

    def _bad(self) -> npt.NDArray[np.uint8] | None:
        return self.masks.bad(self.item, self.in_file, self.sections, self.full, self.shape)

    def masked(self) -> Ccd | CcdFailure:
        """Read the mask alone: return what a call returns, with an empty image."""
        try:
            return replace(self.without_pixels, bad=self._bad())
        except InputError as error:
            return self._failed(error)

    def _failed(self, error: InputError) -> CcdFailure:
        return _failure(self.without_pixels.name, self.file.at(self.item, error))

    def _image(self, out: FloatImage | None) -> FloatImage:
        """Return the pixels without overscan, in `out` if given."""
        if not self.sections:
            return pixels(self.file, self.item, out)
        # The untrimmed image is decoded into memory that the thread uses for every CCD.
        untrimmed = pixels(self.file, self.item, workspace("untrimmed image", self.full, np.float32))
        trimmed = trim(untrimmed, self.sections, self.rule.full_size)
        if out is None:
            return np.array(trimmed)
        out[...] = trimmed
        return out

    def _encoded(self, room: GiveRoom | None) -> RawImage | RiceImage | None:
        """Return the image as the file holds it; None where it must be trimmed or a GPU cannot decode it."""
        return as_stored(self.file, self.item, room) if self.shape == self.full else None
