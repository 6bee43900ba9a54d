"""What the store keeps of an exposure's CCDs and statistics, as the values of its columns.

To make these values takes longer than to write them. A worker of a cluster makes them where it has measured the
exposure, so that the one process that writes only writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpuanom.records import Measurement
from gpuanom.records.attributes import attributes
from gpuanom.store.ccd_columns import columns_of
from gpuanom.store.exposure_rows import ccd_rows, remarks_on_ccds, typical_size
from gpuanom.store.statistics import statistics_row

Row = tuple[Any, ...]
_N_SOURCES = 13
"""Where the number of sources stands in `ccd_rows`."""


class Outline(NamedTuple):
    """What is told of a CCD while a run goes on."""

    name: str
    status: str
    reason: str
    n_sources: int


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """The values of an exposure that follow from its CCDs and its statistics (see `gpuanom.store.schema`).

    Attributes
    ----------
    remarks : list of str
        Remarks on its CCDs.
    size : tuple of 2 ints
        (ny, nx) of a typical CCD.
    histograms, sums : bytes
        The blobs of the table `exposures`.
    ccds : list of tuple
        The columns of the table `ccds` from `name` on, for each CCD.
    columns : tuple of (str, bytes)
        `texts` and `numbers` of the table `ccd_columns`.
    statistics : tuple or None
        The columns of the table `statistics` from `names` on; None for an exposure without statistics.
    """

    remarks: list[str]
    size: tuple[int, int]
    histograms: bytes
    sums: bytes
    ccds: list[Row]
    columns: tuple[str, bytes]
    statistics: Row | None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without the names of the attributes."""
        values = (self.remarks, self.size, self.histograms, self.sums, self.ccds, self.columns, self.statistics)
        return PreparedRows, values

    @property
    def outline(self) -> list[Outline]:
        """See `gpuanom.records.Measurement.outline`."""
        return [Outline(row[0], row[1], row[2], row[_N_SOURCES]) for row in self.ccds]


def prepared_rows(measurement: Measurement) -> PreparedRows:
    """Make what the store keeps of the CCDs and statistics of an exposure.

    Parameters
    ----------
    measurement : Measurement
    """
    ccds = measurement.ccds
    counts, cosine, sine = attributes(ccds, "counts", "cosine", "sine")
    return PreparedRows(
        remarks_on_ccds(ccds),
        typical_size(ccds),
        np.array(counts, dtype="<i4").tobytes(),
        np.stack([np.array(cosine, dtype="<f8"), np.array(sine, dtype="<f8")], axis=-1).tobytes(),
        ccd_rows(ccds),
        columns_of(ccds),
        statistics_row(measurement),
    )
