"""A scored night, opened again to be looked at: tables, histograms, references, files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from astropy.table import Table

from gpuanom import arguments, display
from gpuanom.backends.choice import select
from gpuanom.errors import InputError, OutputError
from gpuanom.paths import lines_on_idle, path_text
from gpuanom.records import (
    BACKGROUND,
    FLAT_BACKGROUND,
    KINDS,
    Dataset,
    DatasetKey,
    Doubles,
    Exposure,
    ExposureKey,
    Integers,
)
from gpuanom.scoring.histograms.comparison import Comparison
from gpuanom.scoring.histograms.given_references import given_references
from gpuanom.scoring.histograms.reference import References
from gpuanom.settings import Settings
from gpuanom.store.planned import unfinished_line
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.tables import shown
from gpuanom.tables.build import Tables
from gpuanom.tables.plain import PlainTable

Row: TypeAlias = Mapping[str, Any]
"""A row of a table as plain values: None for what is masked or not finite."""
Rows: TypeAlias = Sequence[Row]
RowsOfCcds: TypeAlias = Mapping[ExposureKey, Rows]
"""The rows of the table of CCDs, by exposure."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """The histogram of an exposure's orientations of one kind, and the one that it is compared with.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    counts : ndarray, (N,) int64
        Counts of all CCDs together.
    mean : ndarray, (N,) float64, or None
        The mean normalised histogram of the reference; None where there is nothing to compare with.
    """

    kind: str
    counts: Integers
    mean: Doubles | None

    def __repr__(self) -> str:
        beside = "nothing to compare with" if self.mean is None else "with the mean of the reference"
        return display.one_line("Histogram", (f"n = {int(self.counts.sum())}", beside), self.kind)

    def noise(self) -> Doubles:
        """Return two standard deviations of counting noise in each bin, for as many orientations, (N,)."""
        n = max(int(self.counts.sum()), 1)
        mean = np.full(self.counts.size, 1.0 / self.counts.size) if self.mean is None else self.mean
        return np.asarray(2.0 * np.sqrt(mean * (1.0 - mean) / n))


@dataclass(frozen=True, eq=False)
class ScoredNight:
    """A scored night, opened again.

    Attributes
    ----------
    folder : Path
        Where the night lies.
    settings : Settings
        The settings that the night was measured with, and scored with last.
    tables : Tables
        As `gpuanom score` wrote them.
    exposures : list of dict
        The rows of the table of exposures as plain values, None for what does not exist.
    datasets : dict
        Histograms by camera and band.
    references : dict
        What each dataset was compared with, by camera and band; without datasets that a saved reference does not hold.
    found : dict of ExposureKey to Exposure
        The measured exposures, with the paths of their files.
    saved : References or None
        The saved reference that the night was compared with; None where it was compared with itself.
    n_unmeasured : int
        Exposures that are not measured yet, since a run was ended early.
    """

    folder: Path
    settings: Settings
    tables: Tables
    exposures: list[dict[str, Any]]
    datasets: dict[DatasetKey, Dataset]
    references: dict[DatasetKey, Comparison]
    found: dict[ExposureKey, Exposure]
    _place: dict[ExposureKey, tuple[DatasetKey, int]]
    saved: References | None = None
    n_unmeasured: int = 0

    def __repr__(self) -> str:
        return display.one_line("ScoredNight", self._facts(), path_text(self.folder))

    def _repr_html_(self) -> str:
        exposures, title = self.tables.exposures, f"ScoredNight {path_text(self.folder)}"
        names, rows = shown.first_columns(exposures), shown.first_rows(exposures)
        return display.html_table(title, self._facts(), names, rows, len(exposures))

    def _facts(self) -> list[str]:
        unmeasured = [f"{self.n_unmeasured} not measured yet"] if self.n_unmeasured else []
        return [*shown.facts(*self.tables), *unmeasured]

    def unfinished(self) -> str:
        """Return the line on a night whose run was ended early.

        Returns
        -------
        str
            Empty where all exposures are measured.
        """
        return unfinished_line(self.folder, self.n_unmeasured)

    @property
    def reconstructed(self) -> bool:
        """Whether the tables have the columns of an autoencoder."""
        return "autoencoder_mse" in self.tables.exposures.colnames

    def histograms(self, key: ExposureKey) -> tuple[Histogram, ...]:
        """The four histograms of an exposure; none of an exposure that could not be measured.

        Parameters
        ----------
        key : tuple of (str, str)
            Camera and id of the exposure.

        Returns
        -------
        tuple of Histogram
            In the order of `KINDS`; empty for an exposure that could not be measured.

        Raises
        ------
        InputError
            When the night's table has no such exposure.
        """
        if key not in self._place:
            if all(key_of(row) != key for row in self.exposures):
                raise InputError(f"no exposure {key!r} in {self.folder}", remedy="a key is (camera, exposure)")
            return ()
        dataset, i = self._place[key]
        stored = self.datasets[dataset]
        first, last = np.searchsorted(stored.owner, (i, i + 1))
        counts = stored.counts[first:last].sum(axis=0, dtype=np.int64)
        compared = self.references.get(dataset)
        means = (None,) * len(KINDS) if compared is None else compared.means(i)
        return tuple(Histogram(kind, counts[k], means[k]) for k, kind in enumerate(KINDS))

    def means(self, dataset: DatasetKey) -> tuple[Doubles | None, ...]:
        """The mean histograms that most exposures of a dataset are compared with, once a kind; None without any.

        Parameters
        ----------
        dataset : tuple of (str, str)
            Camera and band.

        Returns
        -------
        tuple of 4 ndarrays, (N,) float64, or None
            Shares that add up to 1, in the order of `KINDS`; None where there is nothing to compare
            with.
        """
        compared = self.references.get(dataset)
        return (None,) * len(KINDS) if compared is None else compared.typical_means

    def ccds(self) -> dict[ExposureKey, list[dict[str, Any]]]:
        """The rows of the table of CCDs as plain values, by exposure.

        Returns
        -------
        dict
            Lists of rows by camera and exposure id; None in place of what is masked or not finite.
        """
        found: dict[ExposureKey, list[dict[str, Any]]] = {}
        for row in plain_rows(self.tables.plain[1]):
            found.setdefault(key_of(row), []).append(row)
        return found

    def identity(self) -> str:
        """A short hash of where the night lies: the same when exposures are added to it or it is ranked again.

        Returns
        -------
        str
            16 hexadecimal digits.
        """
        text = path_text(self.folder.resolve())
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def key_of(row: Row) -> ExposureKey:
    """Return the key of the exposure in a row of a table."""
    return row["camera"], row["exposure"]


def is_named(ccd: Mapping[str, Any]) -> bool:
    """Whether a row of the table of CCDs says of which CCD it is.

    Of what could not be read in a file only the place in the file is known, which stands there in brackets.

    Parameters
    ----------
    ccd : mapping
    """
    return ccd["status"] == "ok" or not str(ccd["ccd"]).startswith("(")


def open_night(
    folder: str | Path,
    *,
    reference: str | Path | References | None = None,
    device: str | int = "cpu",
    relocate: Mapping[str | Path, str | Path] | None = None,
) -> ScoredNight:
    """Open a night that `gpuanom.score` made, as it was scored last.

    Parameters
    ----------
    folder : str or Path
        The output folder of `gpuanom.score`.
    reference : str, Path or References, optional
        The saved reference that the night was scored against. The night keeps it, so that it need not be given; when
        it is given, it must be the same.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    relocate : mapping of str or Path to str or Path, optional
        Folders or files that were moved since they were measured, old paths to new ones.

    Returns
    -------
    ScoredNight
        The night's tables, histograms and references.

    Raises
    ------
    InputError
        When an argument is of a wrong kind.
    OutputError
        When the folder holds no night, or the night was not scored against the reference that is given.
    ReferenceFileError
        When the reference cannot be read.
    DeviceError
        When the device cannot be used.
    """
    folder = arguments.path("folder", folder)
    given = given_references(reference)
    moves = arguments.relocations("relocate", relocate)
    with Store(folder / NAME, Settings(), read_only=True, moves=moves) as store:
        if idle := list(lines_on_idle(store.idle_moves)):
            raise OutputError(f"{folder}: {idle[0]}")
        settings, saved = tables.as_scored_last(store)
        if given is not None:
            named = given.origin if isinstance(reference, References) else str(reference)
            _require_same(folder, given, saved, named or "FILE")
        ranked = tables.ranked(store, settings, select(device), saved)
        found, n_unmeasured = store.measured_exposures(), store.n_unmeasured()
    datasets = ranked.datasets
    return ScoredNight(
        folder=folder,
        settings=settings,
        tables=ranked.tables,
        exposures=list(plain_rows(ranked.tables.plain[0])),
        datasets=datasets,
        references=ranked.references,
        found=found,
        _place={(d.camera, name): (key, i) for key, d in datasets.items() for i, name in enumerate(d.exposures)},
        saved=saved,
        n_unmeasured=n_unmeasured,
    )


def _require_same(folder: Path, given: References, saved: References | None, named: str) -> None:
    """Refuse a reference that the night was not scored against: what is shown would not be what was scored."""
    if saved is not None and given.fingerprint == saved.fingerprint:
        return
    other = "no saved reference" if saved is None else f"another reference ({saved.origin or 'not from a file'})"
    raise OutputError(
        f"{folder}: was scored last against {other}"
        f" (gpuanom score -o {folder} --reference {named} scores it against this one)"
    )


def plain_rows(table: Table | PlainTable) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as mappings of plain values, None for values that are masked or not finite."""
    names = table.colnames
    columns = [table[name].tolist() for name in names]
    for values in zip(*columns, strict=True):
        yield {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in zip(names, values, strict=True)
        }


def is_background(kind: str) -> bool:
    """Whether a kind of score is about the background, which is compared for each CCD."""
    return kind in (KINDS[BACKGROUND], KINDS[FLAT_BACKGROUND])
