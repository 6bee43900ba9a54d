"""The CCDs of an exposure, read when they are wanted; what is wrong with a file comes as records, not exceptions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.cameras import CameraRule
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits.axes import CcdAxes, Mosaic
from gpuanom.fits.decode import workspace
from gpuanom.fits.discover import rule_of
from gpuanom.fits.headers import Cards, card, ccd_name, is_named, is_plane, is_skipped, saturation
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.masks import decode
from gpuanom.fits.pixels import as_stored, numbers, pixels
from gpuanom.fits.scan import read_headers
from gpuanom.fits.sections import Section, trim, trimmed_shape
from gpuanom.fits.trims import data_sections
from gpuanom.records import Ccd, CcdFailure, CcdOnDisk, Exposure, FloatImage
from gpuanom.settings import Settings

_NO_MASK = "--no-mask scores it without"


def read_ccds(exposure: Exposure, settings: Settings) -> Iterator[Ccd | CcdFailure]:
    """Stream the CCDs of an exposure in the order of its files and HDUs.

    One CCD's pixels are held at a time. Nothing is raised for what a file holds: a CCD that cannot be read comes as a
    `CcdFailure`, and the others come all the same.

    Parameters
    ----------
    exposure : Exposure
        As `gpuanom.fits.discover` found it.
    settings : Settings
        Camera rules, and which mask classes are bad for which step.

    Yields
    ------
    Ccd or CcdFailure
        Names are unique; a second CCD of one name is a failure of status ``duplicate`` named ``NAME (2)``.
    """
    for item in open_ccds(exposure, settings):
        yield item if isinstance(item, CcdFailure) else item.load()


def open_ccds(exposure: Exposure, settings: Settings) -> Iterator[CcdOnDisk | CcdFailure]:
    """List the CCDs of an exposure in the order of its files and HDUs; headers are read, pixels are not.

    A file stays mapped for as long as one of its CCDs is held; nothing is to be closed. Nothing is raised for what a
    file holds, neither here nor by `CcdOnDisk.load`.

    Parameters
    ----------
    exposure : Exposure
        As `gpuanom.fits.discover` found it.
    settings : Settings
        Camera rules, and which mask classes are bad for which step.

    Yields
    ------
    CcdOnDisk or CcdFailure
        Names are unique; a second CCD of one name is a failure of status ``duplicate`` named ``NAME (2)``.
    """
    rule = rule_of(exposure, settings)
    names: dict[str, int] = {}
    several = len(exposure.files) > 1
    mosaic = Mosaic.of(rule, _first_ccds(exposure, rule)) if several and rule.turn == "mosaic" else Mosaic(rule)
    for path, mask in zip(exposure.files, exposure.masks, strict=True):
        try:
            file = File(path)
            if not several:
                mosaic = Mosaic.of(rule, _own_ccds(file, rule))
            yield from _ccds(file, _Masks(mask, file, rule, settings), mosaic, names)
        except InputError as error:
            yield _failure(_unique(f"({path.name})", names), error)
    if not names:
        # One of a camera's guide or focus sensors alone in its file is no trouble; an exposure of nothing else is.
        alone = InputError("only guide or focus sensors", file=exposure.files[0], status="no_image")
        yield _failure(f"({exposure.files[0].name})", alone)


def _own_ccds(file: File, rule: CameraRule) -> Iterator[tuple[str, Cards]]:
    """The names and headers of a file's CCDs, to choose common axes from."""
    for item in file.hdus():
        if isinstance(item, Hdu) and not is_plane(rule, item.header):
            name = ccd_name(rule, item.cards, item.number)
            if not is_skipped(rule, name):
                yield name, item.cards


def _first_ccds(exposure: Exposure, rule: CameraRule) -> Iterator[tuple[str, Cards]]:
    """The name and header of the first CCD of each of an exposure's files; no file is kept open."""
    for path in exposure.files:
        try:
            primary, extension = read_headers(path)
        except InputError:
            continue  # reading the file's CCDs says what is wrong with it
        if not is_plane(rule, primary if extension is None else extension):
            cards = Cards(extension, primary)
            name = ccd_name(rule, cards, int(extension is not None))
            if not is_skipped(rule, name):
                yield name, cards


def _ccds(file: File, masks: _Masks, mosaic: Mosaic, names: dict[str, int]) -> Iterator[CcdOnDisk | CcdFailure]:
    rule = mosaic.rule
    empty = True
    skipped = 0
    failed: set[int] = set()
    for item in file.hdus():
        if isinstance(item, InputError):
            empty = False
            if item.hdu in failed:
                continue  # a CCD that is cut off was said already
            yield _failure(_unique(f"({file.path.name}[{item.hdu}])", names), item)
            continue
        if is_plane(rule, item.header):
            continue
        name = ccd_name(rule, item.cards, item.number)
        if is_skipped(rule, name):
            skipped += 1
            continue
        empty = False
        unique = _unique(name, names)
        try:
            if unique != name:
                remedy = "the first one is used; leave one out of the input"
                raise InputError(f"a second CCD '{name}' of one exposure", remedy=remedy, status="duplicate")
            full = file.image_shape(item)
            sky = data_sections(rule, item.cards, full)
            axes = mosaic.axes(name, item.cards)
            shape = trimmed_shape(full, sky.sections, rule.full_size)
            remark = "; ".join(r for r in (sky.remark, axes.remark) if r)
            load = _Loader(name, file, item, masks, rule, sky.sections, full, shape, axes, remark)
            yield CcdOnDisk(name, shape, load, (sky.why, axes.why))
        except InputError as error:
            failed.add(item.number)
            yield _failure(unique, _located(error, file.path, item.number))
    if empty and not skipped:
        remedy = "leave it out of the input"
        raise InputError("no image HDU that is a CCD", file=file.path, remedy=remedy, status="no_image")


def _unique(name: str, names: dict[str, int]) -> str:
    count = names[name] = names.get(name, 0) + 1
    return name if count == 1 else f"{name} ({count})"


def _failure(name: str, error: InputError) -> CcdFailure:
    return CcdFailure(name, error.status, str(error))


def _located(error: InputError, path: Path, hdu: int) -> InputError:
    """The same error with file and HDU, where it was raised without."""
    if error.file is not None:
        return error
    return InputError(error.reason, file=path, hdu=hdu, remedy=error.remedy, status=error.status)


@dataclass(frozen=True, eq=False)
class _Loader:
    """`records.Load` of one CCD: holds its file, and no pixels."""

    name: str
    file: File
    item: Hdu
    masks: _Masks
    rule: CameraRule
    sections: tuple[Section, ...]
    full: tuple[int, int]
    shape: tuple[int, int]
    axes: CcdAxes
    remark: str

    def __call__(self, *, encoded: bool = False, out: FloatImage | None = None) -> Ccd | CcdFailure:
        """Read and check the pixels and the mask of a CCD; see `records.Load`."""
        try:
            return self._read(encoded, out)
        except InputError as error:
            return _failure(self.name, _located(error, self.file.path, self.item.number))

    def _read(self, encoded: bool, out: FloatImage | None) -> Ccd:
        image = (self._encoded() if encoded else None) or self._image(out)
        return Ccd(
            name=self.name,
            image=image,
            bad=self.masks.bad(self.item, self.name, self.sections, self.full, self.shape),
            saturation=saturation(self.rule, self.item.cards),
            turn=self.axes.turn,
            sky_axes=self.axes.sky_axes,
            remark=self.remark,
        )

    def _image(self, out: FloatImage | None) -> FloatImage:
        """The pixels without overscan, in `out` where there is one."""
        if not self.sections:
            return pixels(self.file, self.item, out)
        # Overscan is decoded with the rest, into memory that the thread keeps for the next CCD.
        trimmed = trim(pixels(self.file, self.item, workspace(self.full)), self.sections, self.rule.full_size)
        if out is None:
            return np.array(trimmed)
        out[...] = trimmed
        return out

    def _encoded(self) -> RawImage | RiceImage | None:
        """The image as the file holds it, where nothing is to be cut off and a GPU can decode it."""
        return as_stored(self.file, self.item) if self.shape == self.full else None


class _Masks:
    """Where the quality planes of one image file's CCDs come from: its mask file, or its own HDUs."""

    def __init__(self, path: Path | None, image_file: File, rule: CameraRule, settings: Settings) -> None:
        self._path = path
        self._image_file = image_file
        self._rule = rule
        self._settings = settings
        self._lock = threading.Lock()
        self._file: File | None = None
        self._planes: dict[str, Hdu] = {}
        self._own: _OwnPlanes | None = None
        self._trouble: InputError | None = None

    def _of_file(self, path: Path, name: str) -> tuple[File, Hdu]:
        """Return the plane of a CCD in the mask file, whose HDUs are listed once."""
        if self._trouble is not None and self._file is None:
            raise self._trouble
        if self._file is None:
            try:
                self._file = File(path)
            except InputError as error:
                self._trouble = error
                raise
            for item in self._file.hdus():
                if isinstance(item, InputError):
                    self._trouble = item
                else:
                    self._planes.setdefault(ccd_name(self._rule, item.cards, item.number), item)
        if name not in self._planes:
            raise self._trouble or InputError(f"it has no plane for CCD {name}", file=path)
        return self._file, self._planes[name]

    def _plane(self, item: Hdu, name: str) -> tuple[File, Hdu] | None:
        """The plane of a CCD and its file; None where it has none."""
        with self._lock:
            if self._path is not None:
                return self._of_file(self._path, name)
            if not self._rule.mask_hdu:
                return None
            self._own = self._own or _OwnPlanes(self._image_file, self._rule)
            return self._image_file, self._own.of(item)

    def bad(
        self,
        item: Hdu,
        name: str,
        sections: tuple[Section, ...],
        full: tuple[int, ...],
        trimmed: tuple[int, ...],
    ) -> npt.NDArray[np.uint8] | None:
        """Return the `Unfit` bits of a CCD, trimmed like its image; None when it has no plane or nothing is flagged.

        Raises
        ------
        InputError
            Status ``mask_unreadable`` or ``mask_mismatch``: a CCD is never scored without a mask that it has.
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
                remedy=_NO_MASK,
                status="mask_unreadable",
            ) from None
        try:
            values = _like_image(values, sections, rule, full, trimmed)
            return decode(values, plane.header, plane.cards, rule, settings)
        except InputError as error:
            raise _located(error, file.path, plane.number) from None


def _like_image(
    values: npt.NDArray[Any],
    sections: tuple[Section, ...],
    rule: CameraRule,
    full: tuple[int, ...],
    trimmed: tuple[int, ...],
) -> npt.NDArray[Any]:
    """Trim a plane like its image; one that is trimmed already is taken as it is."""
    if values.shape == full:
        return trim(values, sections, rule.full_size)
    if values.shape == trimmed:
        return values
    ny, nx = values.shape
    message = f"its mask has {nx} x {ny} pixels, its image {full[1]} x {full[0]}"
    raise InputError(message, remedy=_NO_MASK, status="mask_mismatch")


class _OwnPlanes:
    """The quality planes among an image file's own HDUs, and which CCD each belongs to."""

    def __init__(self, file: File, rule: CameraRule) -> None:
        self._name = rule.mask_hdu
        self._ccds: list[Hdu] = []
        self._planes: list[Hdu] = []
        self._trouble: InputError | None = None
        for item in file.hdus():
            if isinstance(item, InputError):
                self._trouble = item
            elif any(is_named(card(item.header, key), rule.mask_hdu) for key in ("EXTNAME", "EXTTYPE")):
                self._planes.append(item)
            elif not is_plane(rule, item.header):
                self._ccds.append(item)

    def of(self, ccd: Hdu) -> Hdu:
        """Return the plane of a CCD: the only one of the only CCD, else by EXTVER, else the one that follows it.

        Raises
        ------
        InputError
            There is none, or it cannot be told which one.
        """
        if not self._planes:
            raise self._trouble or InputError(f"its file has no {self._name} HDU")  # the plane may be what is broken
        if len(self._ccds) == len(self._planes) == 1:
            return self._planes[0]
        found = self._by_version(ccd)
        if found is None:
            found = self._following(ccd)
        if len(found) != 1:
            count = len(self._planes)
            raise InputError(f"which of the file's {count} {self._name} HDUs belongs to it cannot be told")
        return found[0]

    def _by_version(self, ccd: Hdu) -> list[Hdu] | None:
        """Planes of the CCD's EXTVER; None where EXTVERs do not tell CCDs, or planes, apart or are of two countings."""
        ccds, planes = ([card(item.header, "EXTVER") for item in items] for items in (self._ccds, self._planes))
        apart = all(None not in versions and len(set(versions)) == len(versions) for versions in (ccds, planes))
        if not apart or not set(ccds) & set(planes):
            return None
        wanted = card(ccd.header, "EXTVER")
        return [plane for plane, version in zip(self._planes, planes, strict=True) if version == wanted]

    def _following(self, ccd: Hdu) -> list[Hdu]:
        """Planes between the CCD and the next one; none where planes come first, for then they precede their CCDs."""
        if self._planes[0].number < self._ccds[0].number:
            return []
        end = min((other.number for other in self._ccds if other.number > ccd.number), default=None)
        return [p for p in self._planes if p.number > ccd.number and (end is None or p.number < end)]
