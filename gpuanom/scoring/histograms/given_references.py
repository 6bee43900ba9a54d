"""References as users give them: by a file, by the word "flat", or several of them joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gpuanom import arguments
from gpuanom.errors import ReferenceFileError
from gpuanom.paths import FLAT
from gpuanom.records import Dataset
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.flat_reference import FlatReferences, flat_reference, flat_references
from gpuanom.scoring.histograms.reference import DatasetReference, References
from gpuanom.settings import Settings


def merge(parts: Iterable[tuple[str, References]], say: Callable[[str], None] = lambda _line: None) -> References:
    """Merge several references into one.

    Parameters
    ----------
    parts : iterable of (str, References)
        What messages call each, and the references.
    say : callable, optional
        Takes a line where statistics are lost: a dataset keeps them only if all its parts do.

    Returns
    -------
    merged : References

    Raises
    ------
    ReferenceFileError
        When their settings differ, or one exposure is in two of them (it would count twice).
    """
    merged: dict[tuple[str, str], DatasetReference] = {}
    settings: Mapping[str, Any] | None = None
    for origin, part in parts:
        settings = part.settings if settings is None else settings
        part.require(settings, origin)
        for d in part.datasets:
            key = (d.camera, d.band)
            if key not in merged:
                merged[key] = d
                continue
            twice = merged[key].exposures.keys() & d.exposures.keys()
            if twice:
                raise ReferenceFileError(
                    f"{origin}: exposure {min(twice)} of {d.camera} {d.band} is in an earlier input too "
                    f"({len(twice)} such; leave one of the inputs out)"
                )
            size = merged[key].size
            if all(size) and all(d.size) and not comparable.are_alike(size[0] * size[1], d.size[0] * d.size[1]):
                raise ReferenceFileError(
                    f"{origin}: {d.camera} {d.band} has CCDs of {d.size[1]} x {d.size[0]} pixels, an earlier input of "
                    f"{size[1]} x {size[0]} (they are not compared with each other: make a reference of each)"
                )
            kinds = tuple(a + b for a, b in zip(merged[key].kinds, d.kinds, strict=True))
            robust_outliers = tuple(a | b for a, b in zip(merged[key].robust_outliers, d.robust_outliers, strict=True))
            exposures = {**merged[key].exposures, **d.exposures}
            size = size if all(size) else d.size
            before, added = merged[key].statistics, d.statistics
            statistics = None if before is None or added is None else before.joined(added)
            if (before is None) != (added is None):
                lacking, other = ("an earlier input", origin) if before is None else (origin, "an earlier input")
                say(
                    f"{lacking} keeps no statistics of {' '.join(key).strip()}, so that those of {other} are dropped:"
                    " the merged reference gives no verdicts on this dataset"
                )
            merged[key] = DatasetReference(d.camera, d.band, kinds, exposures, robust_outliers, size, statistics)
    if settings is None:
        raise ReferenceFileError("no input holds a reference or a night")
    return References(tuple(merged[key] for key in sorted(merged)), settings)


def given_references(value: object) -> References | None:
    """Return references that are given as such, as the file that they were saved to, or as "flat"; None means none.

    The word "flat" means flat histograms, also where a file has this name: such a file is given by a longer path.

    Raises
    ------
    InputError
        When it is something else.
    ReferenceFileError
        When the file is no reference.
    """
    if value is None or isinstance(value, References):
        return value
    path = arguments.path("reference", value)
    return flat_references() if str(path) == FLAT else References.load(path)


def kept_references(text: str, origin: str) -> References:
    """Return the references that a night was compared with, from the text that the night keeps of them.

    Parameters
    ----------
    text : str
        `References.text`.
    origin : str
        What messages call the text.

    Raises
    ------
    ReferenceFileError
        When the text is damaged.
    """
    return flat_references() if text == FLAT else References.from_text(text, origin)


def reference_of(references: References | None, dataset: Dataset) -> DatasetReference | None:
    """Return what references hold for a dataset, None where there is nothing.

    Parameters
    ----------
    references : References or None
    dataset : Dataset
    """
    if isinstance(references, FlatReferences):
        return flat_reference(dataset.camera, dataset.band, dataset.counts.shape[-1])
    return None if references is None else references.get(dataset.camera, dataset.band)


def require_reference(references: References, settings: Settings, origin: str) -> None:
    """Check that a saved reference fits these settings.

    Parameters
    ----------
    references : References
    settings : Settings
    origin : str
        What messages call the references.

    Raises
    ------
    ReferenceFileError
        When a setting differs, which the message names, or the references hold no dataset.
    """
    references.require(settings.measurement(), origin)
    if not references.datasets and not isinstance(references, FlatReferences):
        raise ReferenceFileError(f"{origin}: holds no dataset (gpuanom reference makes a reference of scored nights)")
