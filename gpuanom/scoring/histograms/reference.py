"""References, the mean normalised histograms that exposures are compared with: merged, saved and read (METHOD.md 5)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gpuanom import arguments, display
from gpuanom.errors import ReferenceFileError
from gpuanom.files import write_text
from gpuanom.paths import absolute, path_text
from gpuanom.records import KINDS, Doubles, Integers
from gpuanom.records.measurements import is_large
from gpuanom.scoring.judged import kept_statistics
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.settings import difference
from gpuanom.version import __version__

if TYPE_CHECKING:
    from astropy.table import Table

FORMAT = "gpuanom reference 1"


@dataclass(frozen=True, eq=False)
class Reference:
    """The sums behind one mean histogram; adding two references merges their datasets.

    Attributes
    ----------
    n_histograms : int
        M, histograms with counts.
    shares : ndarray, (N,) float64
        S_j, the sum of the normalised histograms.
    counts : ndarray, (N,) int64
        C_j, the sum of the histograms.
    inverse_counts : float
        H, the sum of 1/n.
    """

    n_histograms: int
    shares: Doubles
    counts: Integers
    inverse_counts: float

    @classmethod
    def of(cls, counts: Integers, n: Integers | None = None) -> Self:
        """Return the reference of histograms, (m, N) int64; empty histograms are left out, sums run in their order.

        The counts of each histogram, (m,) int64, may be given where they are known.
        """
        n = counts.sum(axis=1) if n is None else n
        if is_large(counts):
            from gpuanom.records.histogram_sums import in_a_row, sum_shares

            shares, sums = np.zeros(counts.shape[1]), np.zeros(counts.shape[1], dtype=np.int64)
            n_histograms = int(sum_shares(*in_a_row(counts), n, shares, sums))
            return cls(n_histograms, shares, sums, float(np.add.reduce(1.0 / n[n > 0])))
        kept = counts[n > 0] if not (n > 0).all() else counts
        total = n[n > 0]
        return cls(
            n_histograms=len(kept),
            shares=np.add.reduce(kept / total[:, None], axis=0),
            counts=kept.sum(axis=0),
            inverse_counts=float(np.add.reduce(1.0 / total)),
        )

    def __add__(self, other: Reference) -> Reference:
        return Reference(
            self.n_histograms + other.n_histograms,
            self.shares + other.shares,
            self.counts + other.counts,
            self.inverse_counts + other.inverse_counts,
        )

    @property
    def has_empty_bin(self) -> bool:
        """Whether some bin has no counts at all."""
        return bool((self.counts == 0).any())

    def mean(self, *, contains: bool) -> Doubles:
        """Return the mean normalised histogram Pbar, (N,) float64.

        Parameters
        ----------
        contains : bool
            Whether the histograms to compare are among those of the reference. If not, and a bin is empty, half a
            count is spread over each bin (METHOD.md 5), so that no score becomes infinite.
        """
        m = float(self.n_histograms)
        if contains or not self.has_empty_bin:
            return np.asarray(self.shares / m)
        spread = 0.5 * m / float(self.counts.sum())
        return np.asarray((self.shares + spread) / (m + spread * self.counts.size))


@dataclass(frozen=True, eq=False)
class DatasetReference:
    """The four references of one dataset and the exposures in them.

    Attributes
    ----------
    camera, band : str
    kinds : tuple of 4 Reference
        In the order of `gpuanom.records.KINDS`.
    exposures : dict of str to str
        Ids of the exposures behind the reference, and a hash of the histograms of each.
    robust_outliers : tuple of 4 frozensets of str
        Of each kind the ids of exposures that robust rounds left out of the sums (METHOD.md 5b).
    size : tuple of 2 ints
        (ny, nx) of the CCDs; only exposures of about this size are compared. (0, 0) where unknown or mixed.
    statistics : Measured or None
        The statistics of the exposures, which tell what is normal (METHOD.md 13); None where they were not kept.
    """

    camera: str
    band: str
    kinds: tuple[Reference, ...]
    exposures: Mapping[str, str]
    robust_outliers: tuple[frozenset[str], ...] = (frozenset(),) * len(KINDS)
    size: tuple[int, int] = (0, 0)
    statistics: Measured | None = None

    def renamed(self, names: Mapping[str, str]) -> DatasetReference:
        """Return the same references with other ids for the exposures."""
        exposures = {names[name]: digest for name, digest in self.exposures.items()}
        robust_outliers = tuple(frozenset(names[name] for name in ids) for ids in self.robust_outliers)
        return replace(self, exposures=exposures, robust_outliers=robust_outliers)


@dataclass(frozen=True, eq=False)
class References:
    """The references of several datasets, made with one set of measurement settings.

    Attributes
    ----------
    datasets : tuple of DatasetReference
        Sorted by camera and band.
    settings : mapping
        `Settings.measurement` of the measurements behind the references.
    version : str
        Version of gpuanom that made the references.
    origin : str
        Absolute path of the file that the references were read from; empty where there is none.
    """

    datasets: tuple[DatasetReference, ...]
    settings: Mapping[str, Any]
    version: str = __version__
    origin: str = ""

    def __repr__(self) -> str:
        named = [f"{d.camera} {d.band}: {display.counted(len(d.exposures), 'exposure')}" for d in self.datasets[:3]]
        more = f"and {display.counted(len(self.datasets) - 3, 'more dataset')}" if len(self.datasets) > 3 else ""
        return display.one_line("References", (*(name.strip() for name in named), more, "" if named else "no dataset"))

    def _repr_html_(self) -> str:
        head = ("camera", "band", "exposures", *(f"histograms of {kind}" for kind in KINDS))
        rows = [(d.camera, d.band, len(d.exposures), *(kind.n_histograms for kind in d.kinds)) for d in self.datasets]
        return display.html_table("References", (f"from {self.origin}" if self.origin else "",), head, rows)

    @cached_property
    def text(self) -> str:
        """The references as ECSV, as `save` writes them."""
        text = io.StringIO()
        self._table().write(text, format="ascii.ecsv")
        return text.getvalue()

    @property
    def fingerprint(self) -> str:
        """A short hash of `text`: equal fingerprints mean the same references."""
        return hashlib.blake2b(self.text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()

    def get(self, camera: str, band: str) -> DatasetReference | None:
        """The reference of one dataset, None when there is none.

        Parameters
        ----------
        camera, band : str
            Names of the dataset.

        Returns
        -------
        DatasetReference or None
            None where there is none.
        """
        return next((d for d in self.datasets if (d.camera, d.band) == (camera, band)), None)

    def require(self, settings: Mapping[str, Any], origin: str) -> None:
        """Check that measurements with these settings can be compared with these references.

        Parameters
        ----------
        settings : mapping
            `Settings.measurement` of the measurements.
        origin : str
            What the message calls the references.

        Raises
        ------
        ReferenceFileError
            When a setting differs; the message names it.
        """
        differs = difference(settings, self.settings)
        if differs:
            raise ReferenceFileError(
                f"{origin}: the reference was made with other settings: {differs}"
                " (score with those settings, or make a reference of nights that were scored with these)"
            )

    def save(self, path: str | Path) -> None:
        """Write as ECSV, one row for each dataset and kind; the file is written whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file to write.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        write_text(Path(path), self.text)

    def _table(self) -> Table:
        from astropy.table import Table

        rows = [(d.camera, d.band, kind, r) for d in self.datasets for kind, r in zip(KINDS, d.kinds, strict=True)]
        bins = int(self.settings["bins"])
        table = Table()
        table["camera"] = np.array([camera for camera, _, _, _ in rows], dtype=np.str_)
        table["band"] = np.array([band for _, band, _, _ in rows], dtype=np.str_)
        table["kind"] = np.array([kind for _, _, kind, _ in rows], dtype=np.str_)
        table["n_histograms"] = np.array([r.n_histograms for *_, r in rows], dtype=np.int64)
        table["inverse_counts"] = np.array([r.inverse_counts for *_, r in rows], dtype=np.float64)
        table["counts"] = np.array([r.counts for *_, r in rows], dtype=np.int64).reshape(len(rows), bins)
        table["shares"] = np.array([r.shares for *_, r in rows], dtype=np.float64).reshape(len(rows), bins)
        for name, text in _DESCRIPTIONS.items():
            table[name].info.description = text
        table.meta = {
            "format": FORMAT,
            "version": self.version,
            "settings": json.dumps(self.settings, sort_keys=True),
            "exposures": json.dumps([[d.camera, d.band, dict(sorted(d.exposures.items()))] for d in self.datasets]),
            "sizes": json.dumps([[d.camera, d.band, *d.size] for d in self.datasets]),
        }
        if any(ids for d in self.datasets for ids in d.robust_outliers):
            robust_outliers = [[d.camera, d.band, [sorted(ids) for ids in d.robust_outliers]] for d in self.datasets]
            table.meta["left_out"] = json.dumps(robust_outliers)
        kept = [[d.camera, d.band, kept_statistics.to_text(d.statistics)] for d in self.datasets if d.statistics]
        if kept:
            table.meta["statistics"] = json.dumps(kept)
        return table

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            A file that `save` wrote.

        Returns
        -------
        gpuanom.References
            Those of the file.

        Raises
        ------
        ReferenceFileError
            When the file cannot be read or is not a reference.
        """
        try:
            text = arguments.path("path", path, ReferenceFileError).read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise ReferenceFileError(
                f"{path}: cannot be read: {error.strerror or error}"
                " (check the path and its permissions; gpuanom reference makes such a file)"
            ) from None
        return cls.from_text(text, path_text(absolute(path)), str(path))

    @classmethod
    def from_text(cls, text: str, origin: str, path: str = "") -> Self:
        """Read `References.text`.

        Parameters
        ----------
        text : str
            What `text` of other references gives.
        origin : str
            The file that the text came from, by its absolute path.
        path : str, optional
            What messages call the file; by default `origin`.

        Returns
        -------
        gpuanom.References
            Those of the text.

        Raises
        ------
        ReferenceFileError
            When the text is not a reference.
        """
        from astropy.table import Table

        path = path or origin
        if not text.startswith("# %ECSV"):
            raise ReferenceFileError(f"{path}: not a reference (gpuanom reference makes one of scored nights)")
        try:
            table = Table.read(text.replace("\r\n", "\n").split("\n"), format="ascii.ecsv")
        except Exception as error:  # the ECSV reader raises many kinds on files that are not ECSV
            raise ReferenceFileError(f"{path}: not a reference: {' '.join(str(error).split())[:120]}") from None
        if table.meta.get("format") != FORMAT:
            raise ReferenceFileError(
                f"{path}: not a reference that this version of gpuanom can read"
                " (gpuanom reference makes one of scored nights)"
            )
        try:
            return cls._from_table(table, origin)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ReferenceFileError(f"{path}: a damaged reference: {' '.join(str(error).split())[:120]}") from None

    @classmethod
    def _from_table(cls, table: Table, origin: str) -> Self:
        settings = json.loads(table.meta["settings"])
        bins = int(settings["bins"])
        members = {(camera, band): dict(ids) for camera, band, ids in json.loads(table.meta["exposures"])}
        rows = {
            (str(row["camera"]), str(row["band"]), str(row["kind"])): Reference(
                int(row["n_histograms"]),
                np.array(row["shares"], dtype=np.float64).reshape(bins),
                np.array(row["counts"], dtype=np.int64).reshape(bins),
                float(row["inverse_counts"]),
            )
            for row in table
        }
        none = (frozenset[str](),) * len(KINDS)
        robust_outliers = {
            (camera, band): tuple(frozenset(map(str, names)) for _, names in zip(KINDS, ids, strict=True))
            for camera, band, ids in json.loads(table.meta.get("left_out", "[]"))
        }
        for row in rows.values():
            if row.n_histograms < 0 or (row.counts < 0).any() or not np.isfinite(row.shares).all():
                raise ValueError("negative or infinite counts")
        sizes = {
            (camera, band): (int(ny), int(nx)) for camera, band, ny, nx in json.loads(table.meta.get("sizes", "[]"))
        }
        statistics = {
            (camera, band): kept_statistics.from_text(text)
            for camera, band, text in json.loads(table.meta.get("statistics", "[]"))
        }
        datasets = [
            DatasetReference(
                camera,
                band,
                tuple(rows[camera, band, kind] for kind in KINDS),
                ids,
                robust_outliers.get((camera, band), none),
                sizes.get((camera, band), (0, 0)),
                statistics.get((camera, band)),
            )
            for (camera, band), ids in sorted(members.items())
        ]
        return cls(tuple(datasets), settings, str(table.meta["version"]), origin)


_DESCRIPTIONS = {
    "n_histograms": "M, histograms with counts",
    "inverse_counts": "H, sum of 1/n over the histograms",
    "counts": "C_j, sum of the histograms",
    "shares": "S_j, sum of the normalised histograms",
}
