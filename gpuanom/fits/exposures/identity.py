"""What a file is, by its first headers and its name: exposure, band, date, version, and whether it shows the sky.

Every decision carries its reason, which ``score -v`` and ``gpuanom explain`` print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.ccds.names import ccd_name_in_header, detector_cards, is_one_of_several
from gpuanom.fits.ccds.plane_kinds import plane_reason, side_file
from gpuanom.fits.exposures.bands import Band, band_of
from gpuanom.fits.exposures.calibration_names import is_calibration, is_name_of_calibration
from gpuanom.fits.exposures.doubts import Doubt, missing_keywords, number_of_zero, perhaps_calibration, unread_times
from gpuanom.fits.exposures.start_times import Start, exposure_time, find_start
from gpuanom.fits.headers.binning import binning_label
from gpuanom.fits.headers.values import Cards, card_text, clean, matches, plver
from gpuanom.fits.opening.file_names import stem
from gpuanom.records import Version

if TYPE_CHECKING:
    from astropy.io import fits

_NAME_VERSION = re.compile(r"(?<=_)(?:v|ls|a|d)[0-9]{1,6}(?=[._-]|$)", re.IGNORECASE)
_NO_ID = re.compile(
    r"[+-]?0+(?:\.0*)?|-[0-9.]+|_*(?:none|null|nan|n[/_]?a|unknown|undefined|undef|tbd|notset|-+)_*", re.I
)
_OTHER_IDS = ("OBSID", "OBS-ID", "OBS_ID", "EXPOSURE_ID", "FRAMEID", "ARCFILE", "ORIGFILE")
# Ids in a file of one CCD of several, where the header has none of the keywords of the camera's
# rule.
_SHARED_IDS = ("OBSID", "OBS-ID", "OBS_ID")


@dataclass(frozen=True)
class Description:
    """What a file is, by its headers and name.

    Attributes
    ----------
    rule : CameraRule
        The first rule that fits.
    rule_reason : str
        The cards by which the rule fits.
    camera, exposure, date_obs : str
        See `gpuanom.records.Exposure`; `exposure` is without the version.
    told_by : str
        Where `exposure` comes from: a card and its value, or the name of the file.
    band : Band
        The band, and the card that names it.
    exptime : float
        Exposure time in seconds; NaN when unknown.
    version : tuple
        Processing version, sortable by age.
    version_label : str
        The same as a text; empty where the rule names no keywords of versions.
    no_exposure : str
        Why the file is no exposure of the sky; empty for an exposure.
    kind : str
        The same in short, in a form that is the same for many files.
    named : bool
        Whether the headers have an exposure id; otherwise `exposure` is the name of the file.
    other_ids : tuple of (keyword, id)
        Other ids in the headers, for use where several exposures share the id.
    id_cards : mapping of str to str
        The cards of all these ids as messages quote them, by keyword.
    ccd : str
        Name of the first CCD of the file; empty where the headers give none.
    detector : mapping of str to str
        Values of the cards that distinguish the CCDs of a camera
        (`gpuanom.fits.ccds.names.DETECTOR_CARDS`).
    doubts : tuple of Doubt
        What may surprise the observer.
    """

    rule: CameraRule
    rule_reason: str
    camera: str
    exposure: str
    told_by: str
    band: Band
    date_obs: str
    exptime: float
    version: Version
    version_label: str
    no_exposure: str
    kind: str
    named: bool
    other_ids: tuple[tuple[str, str], ...]
    id_cards: Mapping[str, str]
    ccd: str
    detector: Mapping[str, str]
    doubts: tuple[Doubt, ...] = ()


def _matched_by(cards: Cards, entry: tuple[str, str]) -> str:
    """Return the keyword of an entry ``KEYWORD|KEYWORD: pattern`` whose value fits; empty where none does."""
    keywords, pattern = entry
    return next((k for k in keywords.split("|") if matches(cards.get(k), (pattern,))), "")


def describe(
    primary: fits.Header, extension: fits.Header | None, rules: Sequence[CameraRule], path: Path
) -> Description:
    """Find out what a file is from its first headers and its name.

    Parameters
    ----------
    primary, extension : Header
        As `gpuanom.fits.opening.first_headers.read_headers` returns them.
    rules : sequence of CameraRule
        The camera rules, in the order in which they are tried; the last one must fit every file.
    path : Path
        The name of the file is the id where the headers have none. It may also name a version, or
        show that the file is a mask, a weight map or a calibration.
    """
    cards = Cards(extension, primary)
    rule = next(r for r in rules if all(_matched_by(cards, entry) for entry in r.match))
    matched = [_matched_by(cards, entry) for entry in rule.match]
    camera = clean(rule.camera or cards.get("INSTRUME") or "") or "unknown"
    version, label = _version(rule, cards, path)
    no_exposure, kind = _no_exposure(rule, cards, path, extension is None, primary)
    start = find_start(rule, cards)
    exptime, no_time = exposure_time(rule, cards)
    ids = _ids(rule, cards, start)
    keyword, exposure = ids[0] if ids else ("", clean(stem(path)) or "unnamed")
    return Description(
        rule=rule,
        rule_reason=", ".join(card_text(cards, k) for k in matched) or "no other rule fits",
        # Binned images are a separate dataset, as raw images are.
        camera="-".join(part for part in (camera, rule.level, binning_label(cards)) if part),
        exposure=exposure,
        told_by=card_text(cards, keyword) if keyword else "the file's name",
        band=band_of(rule, cards),
        date_obs=start.date,
        exptime=exptime,
        version=version,
        version_label=label,
        no_exposure=no_exposure,
        kind=kind,
        named=bool(ids),
        other_ids=ids[1:],
        id_cards={keyword: card_text(cards, keyword) for keyword, _ in ids},
        ccd=ccd_name_in_header(rule, cards),
        detector=detector_cards(cards),
        doubts=(
            *unread_times(start.unreadable, start.told_by, no_time),
            *missing_keywords(rule, cards, keyword),
            *number_of_zero(rule, cards, keyword),
            *perhaps_calibration(rule, cards, path),
        ),
    )


def _ids(rule: CameraRule, cards: Cards, start: Start) -> tuple[tuple[str, str], ...]:
    """Return the exposure ids in the headers with their keywords, the best first; empty where the headers have none.

    Values such as 0, -1 or 'none' are no ids. In this case, and in a file of one CCD of several
    that has none of the keywords of the camera's rule, other keywords are used.
    """
    of_rule = any(cards.get(keyword) is not None for keyword in rule.exposure)
    others = _OTHER_IDS if of_rule else _SHARED_IDS if is_one_of_several(cards) else ()
    keywords = (*rule.exposure, *(keyword for keyword in others if keyword not in rule.exposure))
    # For some cameras the id is the name under which the file was first written.
    ids = [(keyword, clean(stem(Path(clean(cards.get(keyword)))))) for keyword in keywords]
    good = [(keyword, value) for keyword, value in ids if value and not _NO_ID.fullmatch(value)]
    if of_rule and "T" in start.date:
        good.append((start.told_by, clean(start.date)))
    return tuple(good)


def _no_exposure(rule: CameraRule, cards: Cards, path: Path, in_primary: bool, primary: fits.Header) -> tuple[str, str]:
    """Return why a file is no exposure of the sky, in full and in short; empty for an exposure."""
    reason = side_file(path, cards) or (plane_reason(rule, primary) if in_primary else "")
    if reason:
        return f"a weight or mask file: {reason}", "a weight or mask file"
    for kind, exclusions in (("not a sky exposure", rule.not_sky), ("a stack", rule.stacks)):
        for keyword, patterns in exclusions:
            if matches(cards.get(keyword), patterns):
                return f"{kind}: {card_text(cards, keyword)}", f"{kind} ({clean(cards.get(keyword)).lower()})"
    if any(cards.get(keyword) is not None for keyword, _ in rule.not_sky):
        return "", ""  # the header says what kind of exposure this is, so names of targets and files do not count
    target = clean(cards.get("OBJECT"))
    if rule.not_sky and is_calibration(target):
        return f"not a sky exposure: {card_text(cards, 'OBJECT')}", f"not a sky exposure ({target.lower()})"
    if rule.not_sky and not target and is_name_of_calibration(stem(path)):
        return "not a sky exposure: the file's name is that of a calibration", "not a sky exposure (by its name)"
    return "", ""


def _version(rule: CameraRule, cards: Cards, path: Path) -> tuple[Version, str]:
    numbers: tuple[int, ...] = ()
    letters = token = ""
    labels = []
    for entry in rule.version:
        if entry == "name":
            token = _token(path)
            labels.append(token)
        elif not labels and cards.get(entry) is not None:
            numbers, letters = plver(cards.get(entry))
            labels.append(clean(cards.get(entry)))
    return (numbers, letters, _digits(token), token), "-".join(label for label in labels if label)


def version_in_name(path: Path) -> tuple[Version, str]:
    """Return the processing version that the name of a file tells, and the same as a text.

    Parameters
    ----------
    path : Path
        A file whose headers cannot be read any more.
    """
    token = _token(path)
    return ((), "", _digits(token), token), token


def _token(path: Path) -> str:
    """The last part of a file's name that names a version, such as v1 or ls9; empty without one."""
    found = _NAME_VERSION.findall(stem(path))
    return found[-1].lower() if found else ""


def _digits(token: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall("[0-9]+", token))
