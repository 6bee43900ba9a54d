"""What the store keeps of exposures: the measurements of their CCDs, failures, and the histograms of a dataset."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpuanom import display
from gpuanom.records.exposures import Exposure
from gpuanom.records.kinds import Doubles, Integers
from gpuanom.records.packed import Columns, packed, unpacked
from gpuanom.records.statistics import CcdStatistics, ExposureStatistics
from gpuanom.set_at_once import set_at_once

_CCD_HEAD = ("CCD", "status", "sky", "sigma", "n_sources", "n_gradients", "reason")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """How well an autoencoder reconstructs the stamps of one CCD (METHOD.md 7).

    Attributes
    ----------
    n_stamps : int
        Number of stamps; stamps that are not finite are left out.
    error : float
        Sum of the stamps' mean squared errors (eq. 9).
    latent : ndarray, (2, n_latent) float64
        Sums over the stamps of the latent features, and of their squares.
    """

    n_stamps: int
    error: float
    latent: Doubles


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdMeasurement:
    """The measurement of one CCD.

    Attributes
    ----------
    name, status, reason : str
        Name of the CCD; ``ok`` or what is wrong, in a word; and what is wrong in a line.
    coefficients : ndarray, (6,) float64
        Of the fitted background: of 1, X, Y, X^2, XY and Y^2, image unit (METHOD.md 1).
    sky, sigma : float
        Value of the polynomial at the centre of the CCD, and noise, in the image's unit.
    n_points, n_sigma_points, n_sources, n_without_orientation, n_isophote, n_gradients : int
        Numbers of usable points of the fit, of sigma and of gradients, and of sources: all,
        without an orientation, and with an isophotal orientation.
    masked_fraction, saturated_fraction : float
        Fractions of the CCD's pixels; `saturated_fraction` is NaN where no saturation level is
        known.
    counts : ndarray, (4, bins) int64
        Histograms in the order of `KINDS`, in focal-plane axes.
    cosine, sine : ndarray, (4,) float64
        Sums of cos 2 theta and sin 2 theta, in focal-plane axes.
    sky_axes : tuple of 4 floats, or None
        CD matrix along the axes of the focal plane (the CCD's turn undone), degrees per pixel;
        None without a WCS.
    reconstruction : Reconstruction or None
        None without an autoencoder, or where the CCD could not be measured.
    shape : tuple of int
        (ny, nx) of the image that was measured; (0, 0) where there was none.
    remark : str
        What the column ``note`` of the exposure should say about reading this CCD.
    statistics : CcdStatistics or None
        None where no statistics are wanted, or where the CCD could not be measured (METHOD.md Part II).
    parts : any record, or None
        What the statistics are made from (`gpuanom.measuring.ccd_statistics`); None once all of them are made.
    """

    name: str
    status: str
    reason: str
    coefficients: Doubles
    sky: float
    sigma: float
    n_points: int
    n_sigma_points: int
    n_sources: int
    n_without_orientation: int
    n_isophote: int
    n_gradients: int
    masked_fraction: float
    saturated_fraction: float
    counts: Integers
    cosine: Doubles
    sine: Doubles
    sky_axes: tuple[float, float, float, float] | None
    reconstruction: Reconstruction | None = None
    shape: tuple[int, int] = (0, 0)
    remark: str = ""
    statistics: CcdStatistics | None = None
    parts: Any = None

    def _row(self) -> tuple[object, ...]:
        """Return what a notebook shows of a CCD, in the order of `_CCD_HEAD`."""
        return self.name, self.status, self.sky, self.sigma, self.n_sources, self.n_gradients, self.reason

    def __repr__(self) -> str:
        if self.status != "ok":
            return display.one_line("CcdMeasurement", (self.status, self.reason), self.name)
        facts = (
            f"sky {display.text(self.sky)}",
            f"sigma {display.text(self.sigma)}",
            display.counted(self.n_sources, "source"),
            display.counted(self.n_gradients, "gradient"),
        )
        return display.one_line("CcdMeasurement", facts, self.name)

    def _repr_html_(self) -> str:
        return display.html_table("CcdMeasurement", (), _CCD_HEAD, [self._row()])


class CcdOutline(Protocol):
    """What is told of a CCD while a run goes on; see `CcdMeasurement`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def n_sources(self) -> int: ...  # noqa: D102


def _none() -> None:
    """Nothing."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """Everything that is kept of one exposure.

    Attributes
    ----------
    exposure : Exposure
        Id, camera, band, date and exposure time.
    ccds : tuple of CcdMeasurement
        In natural order of their names.
    settings : str
        `gpuanom.Settings.fingerprint` of the settings that the exposure was measured with.
    model : str
        Fingerprint of the autoencoder that the stamps went through, empty without one.
    statistics : ExposureStatistics or None
        None where no statistics are wanted (METHOD.md Part II).
    rows : any record, or None
        What the store keeps of CCDs and statistics (`gpuanom.store.prepared_rows`), where the process that measured has
        made it already; None: the store makes it.
    """

    exposure: Exposure
    ccds: tuple[CcdMeasurement, ...]
    settings: str
    model: str = ""
    statistics: ExposureStatistics | None = field(default_factory=_none)  # a plain default would hide `__getattr__`
    rows: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as a few large arrays, see `gpuanom.records.packed`.

        They are bytes on the way: the other process may need nothing but `rows`, and unpacks the rest when it is asked
        for. Beside `rows` the bytes are compressed, since most of their values travel twice then.
        """
        columns = packed(CcdMeasurement, self.ccds)
        found = columns["statistics"]
        columns["statistics"] = [one is not None for one in found]
        of_ccds = packed(CcdStatistics, [one for one in found if one is not None])
        rest = pickle.dumps((columns, of_ccds, self.statistics), protocol=5)
        if self.rows is not None:
            rest = zlib.compress(rest, level=1)
        return _arrived, (self.exposure, rest, self.settings, self.model, self.rows)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """Unpack what has come from another process, when it is asked for."""
            if name not in ("ccds", "statistics"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            rest = self._rest if self.rows is None else zlib.decompress(self._rest)
            columns, of_ccds, statistics = pickle.loads(rest)
            ccds = _unpacked(self.exposure, columns, of_ccds, self.settings).ccds
            self.__dict__.update(ccds=ccds, statistics=statistics)
            return self.__dict__[name]

    @property
    def outline(self) -> Sequence[CcdOutline]:
        """Name, status, reason and number of sources of each CCD; nothing is unpacked for this."""
        outline: Sequence[CcdOutline] = self.ccds if self.rows is None else self.rows.outline
        return outline

    def named(self, exposure: Exposure, settings: str, model: str) -> Measurement:
        """Return the same measurement as one of this exposure, with these fingerprints; nothing is unpacked.

        Parameters
        ----------
        exposure : Exposure
            As the user gave it.
        settings, model : str
            Fingerprints of the settings and of the autoencoder; empty without one.

        Returns
        -------
        Measurement
            Its CCDs and statistics are still packed if they were.
        """
        return _with(self.__dict__ | {"exposure": exposure, "settings": settings, "model": model})

    def _facts(self) -> tuple[str, ...]:
        used = [ccd for ccd in self.ccds if ccd.status == "ok"]
        return (
            f"{self.exposure.camera} {self.exposure.band}".strip(),
            f"{len(used)} of {display.counted(len(self.ccds), 'CCD')} measured",
            display.counted(sum(ccd.n_sources for ccd in used), "source"),
        )

    def __repr__(self) -> str:
        return display.one_line("Measurement", self._facts(), self.exposure.exposure)

    def _repr_html_(self) -> str:
        rows = [ccd._row() for ccd in self.ccds]
        return display.html_table(f"Measurement {self.exposure.exposure}", self._facts(), _CCD_HEAD, rows)


def _arrived(exposure: Exposure, rest: bytes, settings: str, model: str, rows: Any) -> Measurement:
    """The measurement that `Measurement.__reduce__` took apart."""
    return _with({"exposure": exposure, "_rest": rest, "settings": settings, "model": model, "rows": rows})


def _unpacked(exposure: Exposure, columns: Columns, of_ccds: Columns, *others: Any) -> Measurement:
    """A measurement from its columns; files pickled before measurements travelled as bytes name this function, too."""
    found = iter(unpacked(CcdStatistics, of_ccds))
    columns["statistics"] = [next(found) if one_has else None for one_has in columns["statistics"]]
    return Measurement(exposure, tuple(unpacked(CcdMeasurement, columns)), *others)


def _with(attributes: dict[str, Any]) -> Measurement:
    measurement = object.__new__(Measurement)
    measurement.__dict__.update(attributes)
    return measurement


@dataclass(frozen=True)
class Failure:
    """A file or exposure that could not be measured at all.

    Attributes
    ----------
    file : str
        The file at fault, or the exposure's first file.
    camera, band, exposure : str
        As far as they are known.
    status, reason : str
        What is wrong, in a word and in a line.
    """

    file: str
    camera: str
    band: str
    exposure: str
    status: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """The stored histograms of the exposures of one camera and band.

    Attributes
    ----------
    camera, band : str
    exposures : tuple of str
        Ids of the exposures, sorted.
    owner : ndarray, (n_ccd,) int64
        Index of the exposure of each CCD, ascending.
    counts : ndarray, (n_ccd, 4, N) int
        Histograms in the order of `KINDS`; all zero for a CCD without measurements.
    cosine, sine : ndarray, (n_ccd, 4) float64
        Sums of cos 2 theta and sin 2 theta.
    sizes : ndarray, (n_exposures, 2) int64, optional
        (ny, nx) of a typical CCD of each exposure, 0 where unknown. Exposures of different sizes
        are not compared (`gpuanom.scoring`).
    """

    camera: str
    band: str
    exposures: tuple[str, ...]
    owner: Integers
    counts: Integers
    cosine: Doubles
    sine: Doubles
    sizes: Integers | None = None

    @cached_property
    def totals(self) -> Integers:
        """The counts of each histogram, (n_ccd, 4) int64."""
        if not is_large(self.counts):
            return np.asarray(self.counts.sum(axis=2, dtype=np.int64))
        from gpuanom.records.histogram_sums import sum_bins

        totals = np.empty(self.counts.shape[:2], dtype=np.int64)
        sum_bins(np.ascontiguousarray(self.counts).ravel(), self.counts.shape[2], totals.ravel())
        return totals

    @cached_property
    def pooled(self) -> dict[int, Integers]:
        """The sum of each exposure's histograms of a kind, (n_exposures, N) int64, where it was made already."""
        return {}


def is_large(histograms: Integers) -> bool:
    """Whether compiled loops are worth while: there are many histograms, as a store gives them."""
    return len(histograms) >= _MANY and histograms.dtype == np.int32


_MANY = 50_000
"""Loading a compiled loop takes about as long as it saves with so many histograms."""
