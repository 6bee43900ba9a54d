"""Which files are one exposure, by ids, dates, folders and bands.

Also labels for the CCDs of an exposure in several files, where the names of the CCDs do not
distinguish them.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from gpuanom.fits.ccds.names import DETECTOR_CARDS, PLACES, is_generic
from gpuanom.fits.exposures.each_file import Found, by_path
from gpuanom.fits.exposures.identity import Description
from gpuanom.fits.headers.values import clean
from gpuanom.fits.opening.file_names import stem
from gpuanom.paths import absolute
from gpuanom.records import Exposure, ExposureKey

Key = TypeVar("Key", bound=Hashable)

_AT_ONCE = 2.0  # seconds by which the start may differ between the CCDs of an exposure
_UNKNOWN_EXPTIME = 30.0  # the same where the exposure time is unknown


def with_distinct_ids(files: Sequence[Found]) -> list[Found]:
    """Return the files with ids that differ where the exposures differ.

    The id in the headers counts, unless files that cannot be one exposure share it. Where only the
    name of the file gives the id, the names of folders or the bands are added where exposures
    would share an id.
    """
    with_id = _by_detector_counts([file for file in files if file.description.named])
    split = with_id
    for apart in (_by_dates, _by_bands):
        groups = _grouped(split, lambda file: (file.description.camera, file.description.exposure)).values()
        split = [file for group in groups for file in apart(group)]
    split = _without_ambiguous_ids(split)
    named = [file for file in split if file.description.named]
    unnamed = [file for file in (*files, *split) if not file.description.named]
    return _by_place([*named, *unnamed])


def _grouped(files: Iterable[Found], key: Callable[[Found], Key]) -> dict[Key, list[Found]]:
    groups: dict[Key, list[Found]] = {}
    for file in sorted(files, key=by_path):
        groups.setdefault(key(file), []).append(file)
    return groups


def _renamed(file: Found, exposure: str, told_by: str, *, named: bool = True) -> Found:
    return replace(file, description=replace(file.description, exposure=exposure, told_by=told_by, named=named))


def _by_detector_counts(files: Sequence[Found]) -> list[Found]:
    """Join the CCDs of an exposure where each CCD has another id, which ends in the number of the CCD.

    Some pipelines build EXPID from exposure and CCD: 41203710 is CCD 10 of exposure 412037. Files
    of one camera are joined where the starts are equal, the numbers of the CCDs differ, and each
    id is the same number followed by the number of the CCD.
    """
    joined = []
    for (_, date), group in _grouped(files, lambda file: (file.description.camera, file.description.date_obs)).items():
        parts = [_exposure_and_ccd(file.description) for file in group]
        ids = {file.description.exposure for file in group}
        one = len({part[0] for part in parts if part}) == 1 and all(parts)
        if "T" in date and len(group) > 1 and one and len(ids) == len(group):
            exposure = parts[0][0] if parts[0] else ""
            joined += [_renamed(f, exposure, f"{f.description.told_by}, which ends in the CCD's number") for f in group]
        else:
            joined += group
    return joined


def _exposure_and_ccd(description: Description) -> tuple[str, str] | None:
    """Return the two parts of an id such as 41203710; None where it does not end in the number of the CCD."""
    cards = description.detector
    ccd = cards.get("CCDNUM") or cards.get("CCDID") or cards.get("DET-ID") or description.ccd
    for width in (3, 2):
        number = ccd.zfill(width)
        if ccd.isdigit() and description.exposure.isdigit() and description.exposure.endswith(number):
            exposure = description.exposure[: -len(number)]
            if exposure.strip("0"):
                return exposure, number
    return None


def _by_dates(files: Sequence[Found]) -> list[Found]:
    """Split files of one id that were not taken at the same time: ids may start again each night, or number a run.

    Each part is named by another keyword of the headers where its values differ, otherwise by the
    id and the start.
    """
    times = [(file.description.date_obs, file.description.exptime) for file in files]
    parts = [[files[i] for i in part] for part in by_start(times)]
    starts = bool(parts)
    if not parts:
        parts = list(_grouped(files, lambda file: dict(file.description.other_ids).get("OBSID", "")).values())
    if len(parts) < 2:
        return list(files)
    dated_paths = {file.path for part in parts for file in part}
    undated = [file for file in files if file.path not in dated_paths]
    ids = [[dict(file.description.other_ids) for file in part] for part in parts]
    keywords = [keyword for keyword, _ in parts[0][0].description.other_ids]
    for keyword in keywords:
        values = [{each.get(keyword, "") for each in part} for part in ids]
        plain = [next(iter(value)) for value in values if len(value) == 1]
        if len(plain) == len(parts) == len(set(plain)) and all(plain):
            named = [[_renamed(f, value, _why_another(f.description, keyword, starts)) for f in part]
                     for value, part in zip(plain, parts, strict=True)]  # fmt: skip
            return [*itertools.chain.from_iterable(named), *undated]
    dated = []
    for part in parts:
        first = part[0].description
        told_by = f"{first.told_by}, which other exposures have too, and the start, {first.date_obs}"
        dated += [_renamed(f, clean(f"{first.exposure}-{first.date_obs}"), told_by) for f in part]
    return [*dated, *undated]


def _by_bands(files: Sequence[Found]) -> list[Found]:
    """Split files of one id and start that were taken in several bands, as by a camera with a CCD for each channel.

    An exposure has one band. Only files of one processing version count: another version may name the filter otherwise.
    """
    found = [file.description for file in files]
    bands = _grouped(files, lambda file: (file.description.version, file.description.version_label))
    if all(len(_known_bands(file.description for file in group)) < 2 for group in bands.values()):
        return list(files)
    return [
        _renamed(
            file,
            clean(f"{about.exposure}-{about.band.name}"),
            f"{about.told_by}, which exposures in other bands have too, and the band, {about.band.name}",
        )
        if about.band.known
        else file
        for file, about in zip(files, found, strict=True)
    ]


def _known_bands(found: Iterable[Description]) -> set[str]:
    return {description.band.name for description in found if description.band.known}


def _why_another(description: Description, keyword: str, starts: bool) -> str:
    """Say which card names an exposure whose first id is that of several exposures, and why that id does not."""
    first = next(iter(description.id_cards.values())).replace(" is ", " ", 1)
    others = "exposures of other starts" if starts else "other exposures"
    return f"{description.id_cards[keyword]}; {first} is shared by {others}"


def by_start(times: Sequence[tuple[str, float]]) -> list[list[int]]:
    """Return which of several files or exposures of one id began at the same time.

    Parameters
    ----------
    times : sequence of (str, float)
        The start (ISO 8601) and the exposure time in seconds of each file; empty and NaN where they are unknown.

    Returns
    -------
    list of list of int
        The indices of the files that began together, in order of the starts; files without a start are left out.
    """
    starts = [seconds(date) if "T" in date else None for date, _ in times]
    if all(start is None for start in starts):  # dates without a time at least distinguish nights
        starts = [seconds(date) for date, _ in times]
    parts: list[list[int]] = []
    last = None
    for start, i in sorted((start, i) for i, start in enumerate(starts) if start is not None):
        exptime = times[i][1]
        gap = max(_AT_ONCE, 0.5 * exptime) if math.isfinite(exptime) else _UNKNOWN_EXPTIME
        if last is None or start - last > gap:
            parts.append([])
            last = start
        parts[-1].append(i)
    return parts


def seconds(date: str) -> float | None:
    """Return an ISO 8601 date in seconds since 1970; None where the text is no date."""
    text = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", date.strip().rstrip("Z"))
    try:
        return (datetime.fromisoformat(text).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    except ValueError:
        return None


def _without_ambiguous_ids(files: Sequence[Found]) -> list[Found]:
    """Name files by their own names where their id is no exposure id, because the keyword may mean something else.

    OBSID is the id of an exposure at some observatories, and of an observing block at others.
    Files that share an OBSID and have no times are one exposure only if their CCDs differ.
    """
    named = []
    for group in _grouped(files, lambda file: (file.description.camera, file.description.exposure)).values():
        found = [file.description for file in group]
        keywords = [description.told_by.partition(" ")[0] for description in found]
        loose = set(keywords) <= {"OBSID", "OBS-ID", "OBS_ID"}
        of_rule = any(
            keyword in description.rule.exposure for keyword, description in zip(keywords, found, strict=True)
        )
        dated = all(seconds(description.date_obs) is not None and "T" in description.date_obs for description in found)
        ccds = {(description.ccd, *sorted(description.detector.items())) for description in found}
        if loose and not of_rule and len(group) > 1 and not dated and len(ccds) < len(group):
            group = [_renamed(f, clean(stem(f.path)) or "unnamed", "the file's name", named=False) for f in group]
        named += group
    return named


def labels(files: Sequence[Found]) -> tuple[str, ...]:
    """Return labels that distinguish the CCDs of an exposure's files where the names of the CCDs do not.

    Parameters
    ----------
    files : sequence of Found
        The files of one exposure.

    Returns
    -------
    tuple of str
        A label for each file; empty where the names of the CCDs in the headers are enough. The
        labels are the values of a card that differs between the files
        (`gpuanom.fits.ccds.names.DETECTOR_CARDS`). Without such a card, the labels are the names of the
        files, where the CCDs have no names.
    """
    chosen = dict.fromkeys(range(len(files)), "")
    groups: dict[str, list[int]] = {}
    for at, file in enumerate(files):
        groups.setdefault(file.description.ccd, []).append(at)
    for name, members in groups.items():
        if len(members) < 2:
            continue
        best = ""
        values: list[str] = []
        for keyword in DETECTOR_CARDS:
            found = [files[at].description.detector.get(keyword, "") for at in members]
            if all(found) and len(set(found)) > max(1, len(set(values))):
                best, values = keyword, found
        stems = [clean(stem(files[at].path)) for at in members]
        if best and best not in PLACES:
            chosen.update(zip(members, values, strict=True))
        elif (best or is_generic(name)) and len(set(stems)) > 1:
            chosen.update(zip(members, stems, strict=True))
    return tuple(chosen[at] for at in range(len(files)))


def _by_place(files: Sequence[Found]) -> list[Found]:
    """Return the files with different ids for files of the same name in different folders or bands.

    Only files without an id in their headers are renamed: ``g/img1.fits`` and ``r/img1.fits``
    become ``g-img1`` and ``r-img1``. Files of the same folder, name and band, packed in two ways,
    stay one exposure.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str], list[Found]]] = {}
    taken: set[tuple[str, str]] = set()
    for file in sorted(files, key=by_path):
        key = file.description.camera, file.description.exposure
        if file.description.named:
            taken.add(key)
        else:
            place = os.path.abspath(file.path.parent), file.description.band.name  # noqa: PTH100 (links are not followed)
            groups.setdefault(key, {}).setdefault(place, []).append(file)
    taken |= {key for key, places in groups.items() if len(places) == 1}
    renamed = [file for file in files if file.description.named]
    for (camera, name), places in groups.items():
        taken_ids = {taken_id for taken_camera, taken_id in taken if taken_camera == camera}
        ids = ids_by_place(name, list(places), taken_ids) if len(places) > 1 else [name]
        taken |= {(camera, exposure) for exposure in ids}
        for exposure, group in zip(ids, places.values(), strict=True):
            renamed += [replace(file, description=replace(file.description, exposure=exposure)) for file in group]
    return renamed


def ids_by_place(name: str, places: Sequence[tuple[str, str]], taken: Collection[str]) -> list[str]:
    """Return different ids for exposures whose files have the same name.

    Parameters
    ----------
    name : str
        The name of the files.
    places : sequence of (str, str)
        For each exposure the absolute path of the folder, and the band.
    taken : collection of str
        Ids of other exposures, which must not be used.

    Returns
    -------
    list of str
        For each exposure the name with as many names of folders before it as are needed, or with
        the band after it; numbered names where that is not enough.
    """
    taken = set(taken)
    folders = [Path(folder).parts[1:] for folder, _ in places]
    deepest = max(len(parts) for parts in folders)
    attempts = [(1, False), (0, True), (1, True), *itertools.product(range(2, deepest + 1), (False, True))]
    for depth, with_band in attempts:
        ids = []
        for parts, (_, band) in zip(folders, places, strict=True):
            words = [*parts[max(0, len(parts) - depth) :], name, band if with_band else ""]
            ids.append(clean("-".join(word for word in words if word)))
        if len(set(ids)) == len(ids) and not taken & set(ids):
            return ids
    numbered = (f"{name}-{n}" for n in itertools.count(1))
    return list(itertools.islice((new_id for new_id in numbered if new_id not in taken), len(places)))


def names_apart(nights: Sequence[Mapping[ExposureKey, Exposure]]) -> list[dict[ExposureKey, str]]:
    """Return new ids for different exposures of several nights that have the same id, where only files' names give it.

    Parameters
    ----------
    nights : sequence of mapping of (camera, exposure) to Exposure
        The exposures of each night.

    Returns
    -------
    list of dict of (camera, exposure) to str
        For each night the exposures that get a new id, made as within one night: the name of the
        folder, or the band, is added to the name of the file.
    """
    found: dict[ExposureKey, dict[tuple[str, str], list[int]]] = {}
    prints: dict[ExposureKey, set[str]] = {}
    certain: set[ExposureKey] = set()
    for i, night in enumerate(nights):
        for key, exposure in night.items():
            prints.setdefault(key, set()).add(exposure.fingerprint)
            if exposure.file_named and exposure.files:
                place = str(absolute(exposure.files[0]).parent), exposure.band
                found.setdefault(key, {}).setdefault(place, []).append(i)
            else:
                certain.add(key)
    names: list[dict[ExposureKey, str]] = [{} for _ in nights]
    taken = set(prints)
    for key, places in sorted(found.items()):
        if key in certain or len(prints[key]) < 2 or len(places) < 2:
            continue
        camera, name = key
        file = next(nights[i][key].files[0] for members in places.values() for i in members)
        taken_ids = {taken_id for taken_camera, taken_id in taken if taken_camera == camera}
        ids = ids_by_place(clean(stem(file)) or name, list(places), taken_ids)
        for new_id, members in zip(ids, places.values(), strict=True):
            taken.add((camera, new_id))
            for i in members:
                names[i][key] = new_id
    return names
