"""What is done with measured nights: references made from them, and nights merged into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpuanom import ranking, tables
from gpuanom.backend import select
from gpuanom.errors import OutputError, ReferenceFileError
from gpuanom.reference import DatasetReference, References, merge
from gpuanom.settings import Settings, difference
from gpuanom.store import NAME, Store
from gpuanom.tables import Tables


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
        parts.append((str(path), _night_references(path) if _is_folder(path) else References.load(path)))
    return merge(parts)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


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
    references.save(path)


def merge_nights(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    settings: Settings | None = None,
    formats: Sequence[str] = ("ecsv",),
    device: str = "auto",
) -> Tables:
    """Merge measured nights into a new one and rank all their exposures together.

    Parameters
    ----------
    inputs : sequence of str or Path
        Folders that `score` made, measured with the same settings.
    output : str or Path
        Folder of the merged night; it must not hold one.
    settings : Settings, optional
        Those of the score; the measurement's are the nights'.
    formats : sequence of str, optional
    device : str, optional

    Returns
    -------
    Tables
        The same, byte for byte when written, as if all had been scored in one run.

    Raises
    ------
    OutputError
        When an input holds no night, settings differ, one exposure was measured from different files, or the output
        holds a night already.
    """
    folder = Path(output)
    path = folder / NAME
    if path.exists():
        raise OutputError(f"{folder}: holds a night already (choose another --output)")
    backend = select(device)
    recorded, origin = None, ""
    for given in inputs:
        with Store(Path(given) / NAME, Settings(), read_only=True) as store:
            if not store.known():
                continue  # a small share of a night, or one of failures only
            theirs, _ = store.recorded_settings()
        if recorded is not None and (differs := difference(recorded, theirs)):
            raise OutputError(f"{given}: was measured with other settings than {origin}: {differs}")
        recorded, origin = theirs, str(given)
    if recorded is None:
        raise OutputError("no input holds a measured exposure")
    effective = (settings or Settings()).with_measurement(recorded)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for output: {error.strerror}") from None
    try:
        with Store(path, effective) as merged:
            for given in inputs:
                with Store(Path(given) / NAME, effective, read_only=True) as store:
                    merged.copy_from(store)
            result = tables.build(merged, effective, backend)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    tables.write(result, folder, formats)
    return result
