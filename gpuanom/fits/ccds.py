"""The CCDs among a file's HDUs, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.headers import Cards, card, clean, matches
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.planes import plane_reason

_NUMBERED = (
    *("CCDNUM", "CCDID+QID", "RCID", "CCDID", "CHIPID", "RAFTBAY+CCDSLOT", "RAFTNAME+SENSNAME", "DET-ID", "DETID"),
    *("CCD_ID", "CCD-ID", "CHIPNUM", "ESO DET CHIP NO", "ESO DET CHIP1 ID", "ESO DET CHIP ID", "ESO DET CHIP NAME"),
)
DETECTOR_CARDS: tuple[str, ...] = (
    *_NUMBERED,
    *("IMAGEID", "CCDNAME", "CHIPNAME", "DETNAM", "DETNAME", "DETPOS", "CCD", "CHIP", "CAMCOL", "AMPNAME", "DETECTOR"),
    *("DETSERNO", "DETSEC", "CCDSEC"),
)
"""Cards that tell a camera's CCDs apart where their files give them one name, in the order in which they are tried;
of ``A+B`` both must be there."""

PLACES = ("DETSEC", "CCDSEC")
"""Those of them that say where a CCD lies, and are no name."""

_GENERIC = frozenset(("CHIP", "CCD", "IM", "IMG", "DATA", "AMP", "EXT", "FRAME", "DETECTOR", "EXTENSION", "SCIENCE"))


@dataclass(frozen=True, eq=False)
class Listed:
    """What one HDU of a file is.

    Attributes
    ----------
    hdu : Hdu
    name : str
        Of the CCD within its exposure.
    no_ccd : str
        Why the HDU is no CCD that is measured; empty for a CCD.
    sensor : bool
        Whether it is a guide or focus sensor.
    in_file : str
        Name of the CCD within its file, by which its mask is found.
    """

    hdu: Hdu
    name: str
    no_ccd: str = ""
    sensor: bool = False
    in_file: str = ""


def named_ccd(rule: CameraRule, cards: Cards) -> str:
    """Return the name that headers give a CCD by the rule's keywords; empty where they give none."""
    for entry in rule.ccd:
        parts = [clean(cards.get(keyword)) for keyword in entry.split("+")]
        if all(parts):
            return clean("-".join(parts))
    return ""


def ccd_name(rule: CameraRule, cards: Cards, hdu: int) -> str:
    """Return a CCD's name within its file: by the rule's keywords, else the HDU's number."""
    return named_ccd(rule, cards) or str(hdu)


def is_generic(name: str) -> bool:
    """Whether a name says that something is a CCD, not which: ``CHIP``; of no name at all this holds too."""
    return not name or name.upper() in _GENERIC


def is_skipped(rule: CameraRule, name: str) -> bool:
    """Whether a CCD is a guide or focus sensor."""
    return matches(name, rule.skip_ccds)


def is_one_of_several(cards: Cards) -> bool:
    """Whether a header numbers its CCD among those of a camera."""
    return any(all(cards.get(keyword) is not None for keyword in entry.split("+")) for entry in _NUMBERED)


def detector_cards(cards: Cards) -> Mapping[str, str]:
    """Return the values of `DETECTOR_CARDS` that are there."""
    found = {}
    for entry in DETECTOR_CARDS:
        parts = [clean(cards.get(keyword)) for keyword in entry.split("+")]
        if all(parts):
            found[entry] = clean("-".join(parts))
    return found


def list_hdus(file: File, rule: CameraRule, label: str = "") -> list[Listed | InputError]:
    """List what a file's image HDUs are: CCDs, planes beside them, guide sensors, and what cannot be read.

    Parameters
    ----------
    file : File
    rule : CameraRule
    label : str, optional
        What tells this file's CCDs from those of the exposure's other files, where their names do not.

    Returns
    -------
    list of Listed or InputError
        In the file's order. Several HDUs of one EXTNAME are told apart by EXTVER (FITS 4.0, section 4.4.2.6), or else
        by their numbers.
    """
    listed: list[Listed | InputError] = []
    for item in file.hdus():
        if isinstance(item, InputError):
            listed.append(item)
            continue
        name = ccd_name(rule, item.cards, item.number)
        if reason := plane_reason(rule, item.header):
            listed.append(Listed(item, name, f"a plane, no CCD: {reason}"))
        elif is_skipped(rule, name):
            listed.append(Listed(item, name, f"a guide or focus sensor: CCD {name}", sensor=True))
        else:
            listed.append(Listed(item, name))
    ccds = [item for item in listed if isinstance(item, Listed) and not item.no_ccd]
    names = names_in_file([ccd.hdu for ccd in ccds], rule)
    for at, ccd in enumerate(listed):
        if not isinstance(ccd, Listed) or ccd.no_ccd:
            continue
        in_file = name = names[ccd.hdu.number]
        if label:
            alone = len(ccds) == 1 and is_generic(named_ccd(rule, ccd.hdu.cards))
            name = label if alone or label == name else clean(f"{label}-{name}")
        listed[at] = Listed(ccd.hdu, name, in_file=in_file)
    return listed


def names_in_file(hdus: Sequence[Hdu], rule: CameraRule) -> dict[int, str]:
    """Return names of the CCDs of a file, or of their planes, by HDU number; no two are alike."""
    versions: dict[str, list[object]] = {}
    for item in hdus:
        versions.setdefault(ccd_name(rule, item.cards, item.number), []).append(_version(item))
    names: dict[int, str] = {}
    for item in hdus:
        name, number = ccd_name(rule, item.cards, item.number), item.number
        if len(versions[name]) > 1:
            by_version = len(set(versions[name])) == len(versions[name])
            name = clean(f"{name}-{clean(_version(item)) if by_version else number}")
        while name in names.values():
            name = f"{name[:70]}-{number}"
        names[number] = name
    return names


def _version(item: Hdu) -> object:
    """EXTVER of an HDU; 1 where the header has none (FITS 4.0, section 4.4.2.6)."""
    version = card(item.header, "EXTVER")
    return 1 if version is None else version
