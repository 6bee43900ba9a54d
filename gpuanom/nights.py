"""What is done with measured nights: references made from them, and nights merged into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpuanom import ranking
from gpuanom.errors import OutputError, ReferenceFileError
from gpuanom.reference import DatasetReference, References, merge
from gpuanom.settings import Settings
from gpuanom.store import NAME, Store


def make_references(inputs: Sequence[str | Path]) -> References:
    """References from measured nights and saved references, merged (METHOD.md 5).

    Parameters
    ----------
    inputs : sequence of str or Path
        Folders that `score` made, and files that `References.save` wrote.

    Raises
    ------
    OutputError, ReferenceFileError
        When an input cannot be read, or their settings differ, or an exposure is in two of them.
    """
    parts = []
    for given in inputs:
        path = Path(given)
        parts.append((str(path), _night_references(path) if path.is_dir() else References.load(path)))
    return merge(parts)


def _night_references(folder: Path) -> References:
    with Store(folder / NAME, Settings(), read_only=True) as store:
        recorded, version = store.recorded_settings()
        datasets: list[DatasetReference] = []
        for dataset in store.datasets(int(recorded["bins"])):
            reference = ranking.dataset_reference(dataset)
            if any(kind.n_histograms for kind in reference.kinds):
                datasets.append(reference)
    if not datasets:
        raise ReferenceFileError(f"{folder}: none of its exposures could be measured")
    return References(tuple(datasets), recorded, version)


def save_references(references: References, path: Path) -> None:
    """Write references, complete or not at all.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            references.save(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
