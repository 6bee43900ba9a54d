"""Which measurements of several nights are one exposure, what each exposure is called, and which version is ranked.

The rules are those of one run over all files (`gpuanom.fits.exposures.grouping`), as far as the stores know what the
headers say. The answer depends on the measurements, on the order of their nights, and, where versions and measurements
are equally good, on which image files are still there. It does not depend on how a survey came to be: a survey that a
night has left is as if that night had never been in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gpuanom.fits.exposures.from_files import NO_BAND
from gpuanom.fits.exposures.grouping import by_start, ids_by_place
from gpuanom.fits.headers.values import clean
from gpuanom.fits.opening.file_names import stem
from gpuanom.natural_order import natural_key
from gpuanom.paths import absolute, exists
from gpuanom.records import Exposure, ExposureKey, Version
from gpuanom.store.set_aside import Copy, Placed

Copies = list[Copy]

_MOST_LINES = 3
"""So many lines of one kind are told; the others are counted."""


def placed_copies(
    copies: Sequence[Copy], versions: str, version_of: Callable[[Exposure], tuple[Version, str]]
) -> tuple[list[Placed], list[str]]:
    """Say under which id each copy belongs, and whether it is ranked.

    Parameters
    ----------
    copies : sequence of Copy
        All measurements of all nights.
    versions : {"newest", "apart"}
        Of several processing versions of an exposure, rank the newest, or all of them.
    version_of : callable
        Tells the processing version of an exposure, as something to sort by and as a text; asked only where an
        exposure was measured from several files.

    Returns
    -------
    placed : list of Placed
        Copies that differ in nothing have become one.
    lines : list of str
        What a user should know: new ids, and which version is taken.
    """
    groups = _groups(copies)
    taken = set(groups)
    placed: list[Placed] = []
    renamed: list[str] = []
    chosen: list[str] = []
    for key, group in sorted(groups.items(), key=lambda item: (item[0][0], natural_key(item[0][1]))):
        exposures = _exposures(key, group, taken, version_of)
        if len(exposures) > 1:
            how = "starts" if len(_by_date(group)) > 1 else "bands"
            how = "places" if all(c.exposure.file_named for c in group) else how
            ids = ", ".join(exposures)
            renamed.append(
                f"exposure {key[1]}{_of(key[0])}: exposures with different {how} have this id, and are called {ids}"
            )
        for name, members in exposures.items():
            different = _different(members)
            if len(different) == 1:
                placed.append(Placed(different[0], name, ranked=True))
            else:
                placed += _of_versions(key[0], name, different, versions, version_of, taken, chosen)
    lines = [*few_lines(renamed, "exposures of equal names"), *few_lines(chosen, "exposures in several versions")]
    return placed, lines


def _groups(copies: Sequence[Copy]) -> dict[ExposureKey, Copies]:
    """The copies by camera and the id under which they were measured; the same files are one exposure in any case."""
    of_files: dict[tuple[str, str, tuple[Path, ...]], dict[str, None]] = {}
    ranked_together: set[tuple[str, str, tuple[Path, ...]]] = set()
    ids_in_store: dict[tuple[int, str, str, tuple[Path, ...]], str] = {}
    ordered = sorted(copies, key=_order)
    for copy in ordered:
        e = copy.exposure
        files = e.camera, e.fingerprint, e.files
        of_files.setdefault(files, {})[e.points_id] = None
        if not copy.number and ids_in_store.setdefault((id(copy.db), *files), e.points_id) != e.points_id:
            ranked_together.add(files)  # one store holds them as two exposures
    groups: dict[ExposureKey, Copies] = {}
    for copy in ordered:
        e = copy.exposure
        files = e.camera, e.fingerprint, e.files
        name = e.points_id if files in ranked_together else next(reversed(of_files[files]))  # that of the last night
        groups.setdefault((e.camera, name), []).append(copy)
    return groups


def _order(copy: Copy) -> tuple[int, str, int]:
    """The order of copies: that of the last night that each comes from."""
    return max(copy.nights).position, copy.exposure.exposure, copy.number


def _exposures(
    key: ExposureKey, group: Copies, taken: set[ExposureKey], version_of: Callable[[Exposure], tuple[Version, str]]
) -> dict[str, Copies]:
    """The different exposures among copies with the same id, by their new ids."""
    camera, name = key
    named = _by_date([c for c in group if not c.exposure.file_named])
    places = _places([c for c in group if c.exposure.file_named])
    if len(named) + len(places) == 1:
        found = {name: next(iter([*named, *places.values()]))}
    else:
        ids = []
        if places:
            file = next(iter(places.values()))[0].exposure.files[0]
            of_camera = {taken_id for taken_camera, taken_id in taken if taken_camera == camera}
            ids = ids_by_place(clean(stem(file)) or name, list(places), of_camera)
        found = {_free(camera, new, taken): members for new, members in zip(ids, places.values(), strict=True)}
        for part in named:
            start = _start(part)
            new = name if len(named) == 1 or not start else _free(camera, clean(f"{name}-{start}"), taken)
            found[new] = part
    exposures: dict[str, Copies] = {}
    for new, members in found.items():
        # A file that only its name identifies may have been overwritten by another exposure.
        parts = _by_date(members)
        for part in parts:
            start = _start(part)
            alone = len(parts) == 1 or not start
            of_start = new if alone else _free(camera, clean(f"{new}-{start}"), taken)
            bands = _by_band(part, version_of)
            for band, of_band in bands.items():
                both = len(bands) > 1 and band
                exposures[_free(camera, clean(f"{of_start}-{band}"), taken) if both else of_start] = of_band
    return exposures


def _by_band(copies: Copies, version_of: Callable[[Exposure], tuple[Version, str]]) -> dict[str, Copies]:
    """The copies by band, which is empty where it is unknown; all together where only other versions name another."""
    bands: dict[str, Copies] = {}
    for copy in copies:
        e = copy.exposure
        bands.setdefault("" if NO_BAND in e.remarks else e.band, []).append(copy)
    if len(bands.keys() - {""}) > 1:
        of_version: dict[object, set[str]] = {}
        for band, members in bands.items():
            for copy in members:
                of_version.setdefault(version_of(copy.exposure), set()).add(band)
        if any(len(named - {""}) > 1 for named in of_version.values()):
            return bands
    return {"": copies}


def _by_date(copies: Copies) -> list[Copies]:
    """The copies that began together; those without a date belong to the others, or are an exposure of their own."""
    parts = [
        [copies[i] for i in part] for part in by_start([(c.exposure.date_obs, c.exposure.exptime) for c in copies])
    ]
    dated = {id(c) for part in parts for c in part}
    undated = [c for c in copies if id(c) not in dated]
    if len(parts) == 1:
        return [[*parts[0], *undated]]
    return [*parts, *([undated] if undated else [])]


def _start(copies: Copies) -> str:
    return min(c.exposure.date_obs for c in copies)


def _free(camera: str, wanted: str, taken: set[ExposureKey]) -> str:
    """An id that no other exposure has: the wanted one, or with a number; it is taken from now on."""
    name, n = wanted, 1
    while (camera, name) in taken:
        n += 1
        name = f"{wanted}-{n}"
    taken.add((camera, name))
    return name


def _places(copies: Copies) -> dict[tuple[str, str], Copies]:
    """Exposures that only their files name, by folder and band; a file that was moved with its date is one exposure."""
    found: dict[tuple[str, str], Copies] = {}
    place_of: dict[str, tuple[str, str]] = {}
    for copy in copies:
        e = copy.exposure
        place = place_of.setdefault(e.fingerprint, (str(absolute(e.files[0]).parent) if e.files else "", e.band))
        found.setdefault(place, []).append(copy)
    return found


def _different(members: Copies) -> Copies:
    """The copies that differ; copies that are equal in everything become one, which comes from all their nights."""
    if len(members) == 1:
        return members
    found: dict[bytes, Copy] = {}
    for copy in members:
        content = copy.content()
        known = found.get(content)
        # What the store itself ranks stays where it is.
        first = copy if known is None or (known.number, known.nights) > (copy.number, copy.nights) else known
        nights = {*copy.nights, *(known.nights if known is not None else ())}
        found[content] = replace(first, nights=tuple(sorted(nights)))
    return list(found.values())


def _of_versions(
    camera: str,
    name: str,
    copies: Copies,
    versions: str,
    version_of: Callable[[Exposure], tuple[Version, str]],
    taken: set[ExposureKey],
    chosen: list[str],
) -> list[Placed]:
    """Place the copies of one exposure that were measured from different files, or differently."""
    about = {id(c): version_of(c.exposure) for c in copies}

    def rank(copy: Copy) -> tuple[object, ...]:
        complete = copy.n_measured(), copy.has("statistics"), copy.has("autoencoder")
        return about[id(copy)][0], *complete, all(map(exists, copy.exposure.files)), _order(copy)

    if versions == "newest":
        best = max(copies, key=rank)
        lines = _on_newest(camera, name, copies, best, about)
        chosen += lines
        return [Placed(c, name, ranked=c is best) for c in copies]
    classes: dict[object, Copies] = {}
    for copy in copies:
        label = about[id(copy)][1]
        classes.setdefault(label or copy.content(only_pixels=True), []).append(copy)
    ids = _ids_of_versions(camera, name, classes, taken)
    if len(ids) > 1:
        chosen.append(f"exposure {name}{_of(camera)}: the versions are kept apart as {', '.join(ids)}")
    placed = []
    for new, members in zip(ids, classes.values(), strict=True):
        best = max(members, key=rank)
        placed += [Placed(c, new, ranked=c is best) for c in members]
    return placed


def _ids_of_versions(camera: str, name: str, classes: dict[object, Copies], taken: set[ExposureKey]) -> list[str]:
    """The ids of versions that are kept apart: with their names, or with those of their folders."""
    if len(classes) == 1:
        return [name]
    nameless = [members[0].exposure for label, members in classes.items() if not isinstance(label, str)]
    places = [(str(absolute(e.files[0]).parent) if e.files else "", e.band) for e in nameless]
    of_camera = {taken_id for taken_camera, taken_id in taken if taken_camera == camera}
    plain = iter(ids_by_place(name, places, of_camera) if len(nameless) > 1 else [name])
    ids = []
    for label in classes:
        new = clean(f"{name}-{label}") if isinstance(label, str) else next(plain)
        ids.append(new if new == name else _free(camera, new, taken))
    return ids


def _on_newest(
    camera: str, name: str, copies: Copies, best: Copy, about: dict[int, tuple[Version, str]]
) -> Iterable[str]:
    """A line on which version was taken; none where the same files were measured several times."""
    others = [c for c in copies if c is not best and c.exposure.fingerprint != best.exposure.fingerprint]
    if not others:
        return
    version, label = about[id(best)]
    if all(about[id(c)][0] < version for c in others):
        left = ", ".join(sorted({about[id(c)][1] or "a version without a name" for c in others}))
        yield f"exposure {name}{_of(camera)}: version {label} is ranked, and set aside: {left}"
    else:
        file = best.exposure.files[0] if best.exposure.files else ""
        yield (
            f"exposure {name}{_of(camera)} was measured from different files, and no version says which are newer:"
            f" the measurement of more CCDs, or else the one of the later night, is ranked: {file}"
        )


def _of(camera: str) -> str:
    return f" of {camera}" if camera else ""


def few_lines(lines: Sequence[str], noun: str) -> list[str]:
    """Return the first lines, and a line that counts the others.

    Parameters
    ----------
    lines : sequence of str
    noun : str
        A noun in the plural for what the lines are about.
    """
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more {noun}, treated in the same way"] if more > 0 else [])]
