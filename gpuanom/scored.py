"""A night as it was scored, opened again for those who look at it: tables, histograms, references, files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml
from scipy.special import rel_entr

from gpuanom import comparable, ranking, tables
from gpuanom.backend import select
from gpuanom.errors import OutputError
from gpuanom.held import held_exposures
from gpuanom.naming import path_text
from gpuanom.ranking import Dataset
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, KINDS, Doubles, Exposure, Integers
from gpuanom.reference import Reference, References
from gpuanom.schema import believed, open_database
from gpuanom.settings import Settings, decimal
from gpuanom.store import NAME, Store
from gpuanom.tables import Tables

Key = tuple[str, str]
"""Camera and exposure id: what names an exposure in a night."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """One exposure's orientations of one kind beside those of its dataset.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    counts : ndarray, (N,) int64
        All CCDs together.
    mean : ndarray, (N,) float64, or None
        Of the reference, normalised; None where there is nothing to compare with.
    """

    kind: str
    counts: Integers
    mean: Doubles | None

    def noise(self, widths: float = 2.0) -> Doubles:
        """Half the width of the band in which counting noise alone leaves a histogram of as many orientations, (N,)."""
        n = max(int(self.counts.sum()), 1)
        mean = np.full(self.counts.size, 1.0 / self.counts.size) if self.mean is None else self.mean
        return np.asarray(widths * np.sqrt(mean * (1.0 - mean) / n))


@dataclass(frozen=True, eq=False)
class ScoredNight:
    """A night opened again.

    Attributes
    ----------
    folder : Path
    settings : Settings
        What it was measured with, and the scores' own.
    tables : Tables
        As `gpuanom score` wrote them.
    exposures : list of dict
        The rows of the table of exposures as plain values, None for what does not exist.
    datasets : dict
        Stored histograms by camera and band.
    means : dict
        The four references' mean histograms by camera and band, None for those without histograms.
    found : dict of Key to Exposure
        Where each measured exposure's files are.
    """

    folder: Path
    settings: Settings
    tables: Tables
    exposures: list[dict[str, Any]]
    datasets: dict[tuple[str, str], Dataset]
    means: dict[tuple[str, str], tuple[Doubles | None, ...]]
    found: dict[Key, Exposure]
    _place: dict[Key, tuple[tuple[str, str], int]]

    @property
    def reconstructed(self) -> bool:
        """Whether the tables have the columns of an autoencoder."""
        return "autoencoder_mse" in self.tables.exposures.colnames

    def histograms(self, key: Key) -> tuple[Histogram, ...]:
        """The four histograms of an exposure; none of an exposure that could not be measured."""
        if key not in self._place:
            return ()
        dataset, i = self._place[key]
        its = self.datasets[dataset]
        first, last = np.searchsorted(its.owner, (i, i + 1))
        counts = its.counts[first:last].sum(axis=0, dtype=np.int64)
        return tuple(Histogram(kind, counts[k], self.means[dataset][k]) for k, kind in enumerate(KINDS))

    def ccds(self) -> dict[Key, list[dict[str, Any]]]:
        """The rows of the table of CCDs as plain values, by exposure."""
        found: dict[Key, list[dict[str, Any]]] = {}
        for row in plain_rows(self.tables.ccds):
            found.setdefault((row["camera"], row["exposure"]), []).append(row)
        return found

    def identity(self) -> str:
        """A short hash of where the night lies: the same when exposures are added to it or it is ranked again."""
        text = path_text(self.folder.resolve())
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def key_of(row: dict[str, Any]) -> Key:
    """What names the exposure of a table's row."""
    return row["camera"], row["exposure"]


def open_night(
    folder: Path, *, reference: Path | None = None, robust_rounds: int | None = None, device: str = "cpu"
) -> ScoredNight:
    """Open a night that `gpuanom score` made.

    Parameters
    ----------
    folder : Path
    reference : Path, optional
        The saved reference that the night was ranked against.
    robust_rounds : int, optional
        By default as the tables in the folder were ranked.
    device : str, optional

    Raises
    ------
    OutputError
        When the folder holds no night, or its tables were ranked against a saved reference and none is given.
    ReferenceFileError
        When the reference cannot be read or was made with other settings.
    """
    path = folder / NAME
    ranked = _ranked_how(folder)
    if reference is None and ranked.get("reference") == "saved":
        raise OutputError(f"{folder}: was ranked against a saved reference (give the same --reference)")
    settings = Settings(robust_rounds=int(ranked.get("robust_rounds", 0) if robust_rounds is None else robust_rounds))
    with Store(path, settings, read_only=True) as store:
        if store.known():
            recorded, _ = store.recorded_settings()
            settings = settings.with_measurement(recorded)
    saved = None if reference is None else References.load(reference)
    if saved is not None:
        tables.require_reference(saved, settings, str(reference))
    with Store(path, settings, read_only=True) as store:
        built = tables.build(store, settings, select(device), saved)
        datasets = {(d.camera, d.band): d for d in store.datasets(settings.bins)}
    return ScoredNight(
        folder=folder,
        settings=settings,
        tables=built,
        exposures=list(plain_rows(built.exposures)),
        datasets=datasets,
        means={key: _means(dataset, saved, settings) for key, dataset in datasets.items()},
        found=_found(path),
        _place={(d.camera, name): (key, i) for key, d in datasets.items() for i, name in enumerate(d.exposures)},
    )


def _ranked_how(folder: Path) -> dict[str, Any]:
    """What the night's own table says of its ranking; nothing where there is no such table."""
    lines = []
    try:
        with (folder / "exposures.ecsv").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.startswith("# "):
                    break
                lines.append(line[2:])
        return dict(get_header_from_yaml(lines)["meta"]) if lines else {}
    except (OSError, KeyError, TypeError, ValueError):
        return {}  # a table of someone else's making, or none: the store says all the rest


def _means(dataset: Dataset, saved: References | None, settings: Settings) -> tuple[Doubles | None, ...]:
    """The mean histograms that a dataset is compared with, one a kind: those of its exposures of the usual size."""
    dataset = comparable.usual(dataset)
    if saved is not None:
        known = saved.get(dataset.camera, dataset.band)
        references: tuple[Reference, ...] = () if known is None else known.kinds
    elif settings.robust_rounds:
        references = tuple(_robust(dataset, kind, settings) for kind in KINDS)
    else:
        references = ranking.dataset_reference(dataset).kinds
    if not references:
        return (None,) * len(KINDS)
    return tuple(r.mean(contains=saved is None) if r.n_histograms else None for r in references)


def _robust(dataset: Dataset, kind: str, settings: Settings) -> Reference:
    """The reference without the most anomalous exposures, as the scores' last round has it (METHOD.md 5b)."""
    n_exposures = len(dataset.exposures)
    histograms, owner = dataset.counts[:, KINDS.index(kind)].astype(np.int64), dataset.owner
    if not is_background(kind):
        pooled = np.zeros((n_exposures, histograms.shape[1]), dtype=np.int64)
        np.add.at(pooled, owner, histograms)
        histograms, owner = pooled, np.arange(n_exposures)
    n = histograms.sum(axis=1)
    histograms, owner, n = histograms[n > 0], owner[n > 0], n[n > 0]
    n_of = np.bincount(owner, minlength=n_exposures)
    scored = int(np.count_nonzero(n_of))
    out = min(math.ceil(decimal(settings.robust_fraction) * scored), max(0, scored - settings.robust_minimum))
    members = np.ones(n_exposures, dtype=bool)
    reference = Reference.of(histograms)
    for _ in range(settings.robust_rounds if scored > 1 else 0):
        kl = np.empty(len(n))
        for contains in (True, False):
            some = members[owner] == contains
            share = histograms[some] / n[some, None]
            kl[some] = rel_entr(share, reference.mean(contains=contains)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.where(n_of > 0, np.bincount(owner, kl, minlength=n_exposures) / n_of, -np.inf)
        members = np.ones(n_exposures, dtype=bool)
        members[np.argsort(-score, kind="stable")[:out]] = False
        reference = Reference.of(histograms[members[owner]])
    return reference


def _found(path: Path) -> dict[Key, Exposure]:
    """The files of every measured exposure."""
    with believed(path), closing(open_database(path, read_only=True)) as db:
        return held_exposures(db)


def plain_rows(table: Table) -> Iterator[dict[str, Any]]:
    """The rows of a table as mappings of plain values: None for what is masked or not finite."""
    names = table.colnames
    columns = [table[name].tolist() for name in names]
    for values in zip(*columns, strict=True):
        yield {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in zip(names, values, strict=True)
        }


def is_background(kind: str) -> bool:
    """Whether a kind of score is one of the background's, which are compared CCD by CCD."""
    return kind in (KINDS[BACKGROUND], KINDS[FLAT_BACKGROUND])
