"""The CCDs among the HDUs of a file, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.plane_kinds import plane_reason
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards, card, clean, matches
from gpuanom.fits.opening.file import File
from gpuanom.fits.opening.first_headers import read_headers
from gpuanom.records import Exposure

_NUMBERED = (
    *("CCDNUM", "CCDID+QID", "RCID", "CCDID", "CHIPID", "RAFTBAY+CCDSLOT", "RAFTNAME+SENSNAME", "DET-ID", "DETID"),
    *("CCD_ID", "CCD-ID", "CHIPNUM", "ESO DET CHIP NO", "ESO DET CHIP1 ID", "ESO DET CHIP ID", "ESO DET CHIP NAME"),
)
DETECTOR_CARDS: tuple[str, ...] = (
    *_NUMBERED,
    *("IMAGEID", "CCDNAME", "CHIPNAME", "DETNAM", "DETNAME", "DETPOS", "CCD", "CHIP", "CAMCOL", "AMPNAME", "DETECTOR"),
    *("DETSERNO", "DETSEC", "CCDSEC"),
)
"""Cards that distinguish the CCDs of a camera whose files give all CCDs the same name, in the order in which they are
tried; for ``A+B`` the header must have both."""

PLACES = ("DETSEC", "CCDSEC")
"""The cards among `DETECTOR_CARDS` that say where a CCD lies, and do not name it."""

_GENERIC = frozenset(("CHIP", "CCD", "IM", "IMG", "DATA", "AMP", "EXT", "FRAME", "DETECTOR", "EXTENSION", "SCIENCE"))


class Role(NamedTuple):
    """The role of an HDU's image: a CCD, a plane beside the CCDs, or a guide sensor.

    Attributes
    ----------
    name : str
        Name of the CCD within the exposure.
    no_ccd : str
        Why the HDU is not measured as a CCD; empty for a CCD.
    sensor : bool
        Whether the HDU is a guide or focus sensor.
    in_file : str
        Name of the CCD within the file, by which its mask is found.
    """

    name: str
    no_ccd: str = ""
    sensor: bool = False
    in_file: str = ""


@once_for_same_cards
def ccd_name_in_header(rule: CameraRule, cards: Cards) -> str:
    """Return the name that the headers give a CCD.

    Parameters
    ----------
    rule : CameraRule
        Its `ccd` lists the keywords of the name.
    cards : Cards
        The headers of the CCD.

    Returns
    -------
    str
        Empty where the headers have none of these keywords.
    """
    return next(filter(None, (_joined(cards, entry) for entry in rule.ccd)), "")


def _joined(cards: Cards, entry: str) -> str:
    """The values of an entry's keywords, such as ``CCDID+QID``, as one name; empty where one of them is missing."""
    parts = [clean(cards.get(keyword)) for keyword in entry.split("+")]
    return clean("-".join(parts)) if all(parts) else ""


def measured_ccd_name(rule: CameraRule, header: Any, cards: Cards, hdu: int) -> str:
    """Return the name of a CCD within its file; empty for a plane that is no CCD, and for a guide or focus sensor.

    Parameters
    ----------
    rule : CameraRule
    header : Header
        Header of the HDU alone.
    cards : Cards
        The same together with the primary header.
    hdu : int
        The number of the HDU, which is the name where the headers give none.
    """
    name, reason = _name_and_reason(rule, header, cards)
    name = name or str(hdu)
    return "" if reason or matches(name, rule.skip_ccds) else name


def first_ccds(exposure: Exposure, rule: CameraRule, labels: Sequence[str]) -> Iterator[tuple[str, Cards]]:
    """Yield the name and header of the first CCD of each of an exposure's files, without keeping files open."""
    for path, label in zip(exposure.files, labels, strict=True):
        try:
            primary, extension = read_headers(path)
        except InputError:
            continue  # the error is reported when the CCDs of the file are listed
        cards = Cards(extension, primary)
        name = measured_ccd_name(rule, primary if extension is None else extension, cards, int(extension is not None))
        if name:
            yield f"{label}-{name}" if label else name, cards


def is_generic(name: str) -> bool:
    """Whether a name, such as ``CHIP``, does not say which CCD it is; also for an empty name."""
    return not name or name.upper() in _GENERIC


def is_one_of_several(cards: Cards) -> bool:
    """Whether a header has the number of a CCD within its camera."""
    return any(all(cards.get(keyword) is not None for keyword in entry.split("+")) for entry in _NUMBERED)


def detector_cards(cards: Cards) -> Mapping[str, str]:
    """Return the values of those of `DETECTOR_CARDS` that the headers have, by keyword."""
    return {entry: value for entry in DETECTOR_CARDS if (value := _joined(cards, entry))}


def roles_in_file(file: File, rule: CameraRule, label: str = "") -> list[Role]:
    """Tell CCDs, quality and other planes, and guide sensors among the images of a file apart.

    Parameters
    ----------
    file : File
    rule : CameraRule
        The rule of the camera.
    label : str, optional
        A text that distinguishes the CCDs of this file from those of the exposure's other files,
        where the names of the CCDs do not.

    Returns
    -------
    list of Role
        One for each of the file's `images`. Several HDUs of the same EXTNAME are distinguished by EXTVER
        (FITS 4.0, section 4.4.2.6), or else by their numbers.
    """
    return roles_of_images(rule, label, tuple([item.number for item in file.images()]), file.headers())


@once_for_same_cards
def roles_of_images(rule: CameraRule, label: str, numbers: tuple[int, ...], headers: FileHeaders) -> list[Role]:
    """Return what kind of image each of a file's images is.

    Parameters
    ----------
    rule : CameraRule
    label : str
        See `roles_in_file`.
    numbers : tuple of int
        Of the images' HDUs.
    headers : FileHeaders
    """
    roles: list[Role] = []
    ccds: list[tuple[int, Any, str]] = []
    for number, header, cards in zip(numbers, headers.of_images, headers.cards(), strict=True):
        name, reason = _name_and_reason(rule, header, cards)
        name = name or str(number)
        if reason:
            roles.append(Role(name, f"a plane, no CCD: {reason}"))
        elif matches(name, rule.skip_ccds):
            roles.append(Role(name, f"a guide or focus sensor: CCD {name}", sensor=True))
        else:
            roles.append(Role(name))
            ccds.append((number, header, name))
    names = _distinct_names(ccds)
    for at, (number, cards) in enumerate(zip(numbers, headers.cards(), strict=True)):
        if number not in names:
            continue
        in_file = name = names[number]
        if label:
            is_unnamed = len(ccds) == 1 and is_generic(ccd_name_in_header(rule, cards))
            name = label if is_unnamed or label == name else clean(f"{label}-{name}")
        roles[at] = Role(name, in_file=in_file)
    return roles


def plane_names_in_file(file: File, rule: CameraRule) -> Mapping[int, str]:
    """Name the quality planes of a file by their CCDs.

    Parameters
    ----------
    file : File
        Each of its images is a plane.
    rule : CameraRule
        Its `ccd` lists the keywords of the name.

    Returns
    -------
    dict of int to str
        Names by number of the HDU; no two are equal.
    """
    return _names_of_images(rule, tuple([item.number for item in file.images()]), file.headers())


@once_for_same_cards
def _names_of_images(rule: CameraRule, numbers: tuple[int, ...], headers: FileHeaders) -> dict[int, str]:
    """Return the names of planes, see `plane_names_in_file`, from the numbers of their HDUs and their headers."""
    images = zip(numbers, headers.of_images, headers.cards(), strict=True)
    named = [(number, header, ccd_name_in_header(rule, cards) or str(number)) for number, header, cards in images]
    return _distinct_names(named)


@once_for_same_cards
def _name_and_reason(rule: CameraRule, header: Any, cards: Cards) -> tuple[str, str]:
    """Return `ccd_name_in_header` and `plane_reason`, which are asked of every HDU and kept together."""
    return ccd_name_in_header(rule, cards), plane_reason(rule, header)


def _distinct_names(named: Sequence[tuple[int, Any, str]]) -> dict[int, str]:
    """Names by number of the HDU, no two of which are equal, from numbers, headers and the names that these give."""
    alike: dict[str, list[Any]] = {}
    for _, header, name in named:
        alike.setdefault(name, []).append(header)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for number, header, name in named:
        if len(alike[name]) > 1:
            versions = [_version(other) for other in alike[name]]
            by_version = len(set(versions)) == len(versions)
            name = clean(f"{name}-{clean(_version(header)) if by_version else number}")
        while name in taken:
            name = f"{name[:70]}-{number}"
        names[number] = name
        taken.add(name)
    return names


def _version(header: Any) -> object:
    """Return EXTVER of an HDU; 1 where the header has none (FITS 4.0, section 4.4.2.6)."""
    version = card(header, "EXTVER")
    return 1 if version is None else version
