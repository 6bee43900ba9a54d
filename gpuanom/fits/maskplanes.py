"""Which quality plane belongs to which CCD: in a mask file by names, among an image file's own HDUs by place."""

from __future__ import annotations

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds import Listed, is_generic, list_hdus, named_ccd, names_in_file
from gpuanom.fits.headers import card
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.planes import is_named, is_plane

MASK_NAMES = ("EXTNAME", "EXTTYPE")
"""Cards that name the quality plane among a file's HDUs (`CameraRule.mask_hdu`)."""


def planes_by_name(file: File, image_file: File, rule: CameraRule) -> tuple[dict[str, Hdu], InputError | None]:
    """Return the planes of a mask file by the names of their CCDs, and what could not be read of the file.

    The only plane of a mask file that does not say whose it is belongs to the only CCD of the image file.
    """
    planes = [item for item in file.hdus() if not isinstance(item, InputError)]
    troubles = [item for item in file.hdus() if isinstance(item, InputError)]
    names = names_in_file(planes, rule)
    found = {names[plane.number]: plane for plane in planes}
    if len(planes) == 1 and is_generic(named_ccd(rule, planes[0].cards)):
        ccds = [item for item in list_hdus(image_file, rule) if isinstance(item, Listed) and not item.no_ccd]
        if len(ccds) == 1:
            found = {ccds[0].in_file: planes[0]}
    return found, troubles[-1] if troubles else None


class OwnPlanes:
    """The quality planes among an image file's own HDUs, and which CCD each belongs to."""

    def __init__(self, file: File, rule: CameraRule) -> None:
        self._name = rule.mask_hdu
        self._optional = rule.mask == "own"
        self._ccds: list[Hdu] = []
        self._planes: list[Hdu] = []
        self._trouble: InputError | None = None
        for item in file.hdus():
            if isinstance(item, InputError):
                self._trouble = item
            elif any(is_named(card(item.header, key), rule.mask_hdu) for key in MASK_NAMES):
                self._planes.append(item)
            elif not is_plane(rule, item.header):
                self._ccds.append(item)

    def of(self, ccd: Hdu) -> Hdu | None:
        """Return the plane of a CCD: the only one of the only CCD, else by EXTVER, else the one that follows it.

        None where the rule does not ask for a plane and there is none, or it cannot be told which one.

        Raises
        ------
        InputError
            There is none, or it cannot be told which one.
        """
        if not self._planes:
            if self._optional:
                return None
            raise self._trouble or InputError(f"its file has no {self._name} HDU")  # the plane may be what is broken
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
