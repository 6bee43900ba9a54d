"""Which quality plane belongs to which CCD: in a mask file by name, in the file of the image by EXTVER or order."""

from __future__ import annotations

from functools import cached_property
from itertools import compress
from typing import Any

import numpy.typing as npt

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.names import ccd_name_in_header, is_generic, plane_names_in_file, roles_in_file
from gpuanom.fits.ccds.plane_kinds import is_named, plane_reason
from gpuanom.fits.ccds.sections import Section, trim
from gpuanom.fits.headers.hdus import FileHeaders, Hdu
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening.file import File

NO_MASK = "--no-mask scores it without"
"""Remedy for a mask that cannot be used."""

MASK_NAMES = ("EXTNAME", "EXTTYPE")
"""Cards that name a quality plane in the file of the image (`CameraRule.mask_hdu`)."""


def planes_by_name(file: File, image_file: File, rule: CameraRule) -> tuple[dict[str, Hdu], InputError | None]:
    """Return the quality planes of a mask file by the names of their CCDs.

    Parameters
    ----------
    file, image_file : File
        The mask file and the image file.
    rule : CameraRule
        Its `ccd` lists the keywords of the names.

    Returns
    -------
    planes : dict of str to Hdu
        By name of the CCD within the image file. A single plane without a name belongs to the
        single CCD of the image file.
    trouble : InputError or None
        What could not be read of the mask file.
    """
    planes = file.images()
    troubles = [item for item in file.hdus() if isinstance(item, InputError)]
    names = plane_names_in_file(file, rule)
    found = {names[plane.number]: plane for plane in planes}
    if len(planes) == 1 and is_generic(ccd_name_in_header(rule, planes[0].cards)):
        ccds = [role for role in roles_in_file(image_file, rule) if not role.no_ccd]
        if len(ccds) == 1:
            found = {ccds[0].in_file: planes[0]}
    return found, troubles[-1] if troubles else None


class PlanesInImageFile:
    """The quality planes in the file of the image, and the CCD to which each belongs.

    Parameters
    ----------
    file : File
        The file of the image.
    rule : CameraRule
        Its `mask_hdu` names the planes.
    """

    def __init__(self, file: File, rule: CameraRule) -> None:
        self._name = rule.mask_hdu
        self._optional = rule.mask == "own"
        self._rule, self._file = rule, file
        self._are_planes = are_named(rule.mask_hdu, file.headers())
        self._planes = list(compress(file.images(), self._are_planes))

    @property
    def has_none(self) -> bool:
        """Whether the file has no planes, and the rule does not demand any."""
        return self._optional and not self._planes

    @cached_property
    def _ccds(self) -> list[Hdu]:
        others = [item for item, is_one in zip(self._file.images(), self._are_planes, strict=True) if not is_one]
        return [item for item in others if not plane_reason(self._rule, item.header)]

    @property
    def _error(self) -> InputError | None:
        """The error of the last HDU that could not be read, if any."""
        return next((item for item in reversed(self._file.hdus()) if isinstance(item, InputError)), None)

    def of(self, ccd: Hdu) -> Hdu | None:
        """Return the plane of a CCD.

        This is the single plane in a file of a single CCD, otherwise the plane of the same EXTVER,
        otherwise the plane that follows the CCD.

        Returns
        -------
        Hdu or None
            None where there is no such plane and the rule does not demand one.

        Raises
        ------
        InputError
            When the rule demands a plane, and there is none or it cannot be decided which plane
            belongs to the CCD.
        """
        if not self._planes:
            if self._optional:
                return None
            # The HDU that cannot be read may be the plane.
            raise self._error or InputError(f"its file has no {self._name} HDU")
        if len(self._ccds) == len(self._planes) == 1:
            return self._planes[0]
        found = self._by_version(ccd)
        if found is None:
            found = self._following(ccd)
        if len(found) != 1:
            if self._optional:
                return None
            count = len(self._planes)
            raise InputError(f"which of the file's {count} {self._name} HDUs belongs to it cannot be told")
        return found[0]

    def _by_version(self, ccd: Hdu) -> list[Hdu] | None:
        """Return the planes of the CCD's EXTVER; None where EXTVER does not pair CCDs with planes."""
        ccds, planes = ([card(item.header, "EXTVER") for item in items] for items in (self._ccds, self._planes))
        distinct = all(None not in versions and len(set(versions)) == len(versions) for versions in (ccds, planes))
        if not distinct or not set(ccds) & set(planes):
            return None
        wanted = card(ccd.header, "EXTVER")
        return [plane for plane, version in zip(self._planes, planes, strict=True) if version == wanted]

    def _following(self, ccd: Hdu) -> list[Hdu]:
        """Return the planes between the CCD and the next CCD; none where planes precede their CCDs."""
        if self._planes[0].number < self._ccds[0].number:
            return []
        end = min((other.number for other in self._ccds if other.number > ccd.number), default=None)
        return [p for p in self._planes if p.number > ccd.number and (end is None or p.number < end)]


@once_for_same_cards
def are_named(names: str, headers: FileHeaders) -> list[bool]:
    """Tell of each image of a file whether its header names a quality plane.

    Parameters
    ----------
    names : str
        See `gpuanom.fits.ccds.plane_kinds.is_named`.
    headers : FileHeaders
    """
    return [any(is_named(card(header, key), names) for key in MASK_NAMES) for header in headers.of_images]


def like_image(
    values: npt.NDArray[Any],
    sections: tuple[Section, ...],
    rule: CameraRule,
    full: tuple[int, ...],
    trimmed: tuple[int, ...],
) -> npt.NDArray[Any]:
    """Trim a plane like its image; a plane that was trimmed before is returned as it is."""
    if values.shape == full:
        return trim(values, sections, rule.full_size)
    if values.shape == trimmed:
        return values
    ny, nx = values.shape
    message = f"its mask has {nx} x {ny} pixels, its image {full[1]} x {full[0]}"
    raise InputError(message, remedy=NO_MASK, status="mask_mismatch")
