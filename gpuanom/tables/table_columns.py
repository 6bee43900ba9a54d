"""Which columns the tables of a night have: more where there are verdicts, statistics, an autoencoder, a classifier."""

from __future__ import annotations

from collections.abc import Sequence

from gpuanom.tables.columns import (
    AUTOENCODER_COLUMNS,
    CCD_AUTOENCODER_COLUMNS,
    CCD_COLUMNS,
    CCD_VERDICT_COLUMNS,
    CLASSIFIER_COLUMNS,
    EXPOSURE_COLUMNS,
    VERDICT_COLUMNS,
    Column,
)
from gpuanom.tables.statistic_columns import CCD_STATISTIC_COLUMNS, EXPOSURE_STATISTIC_COLUMNS


def columns_of_tables(
    *, statistics: bool, autoencoder: bool, verdict: bool = False, classifier: bool = False
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Return the columns of the tables of exposures and of CCDs.

    Parameters
    ----------
    statistics, autoencoder, verdict, classifier : bool
        Whether the tables have the columns of statistics, of an autoencoder, of verdicts, and of a classifier.

    Returns
    -------
    exposures, ccds : tuple of Column
    """
    of_exposures, of_ccds = EXPOSURE_COLUMNS, CCD_COLUMNS
    if verdict:
        of_exposures, of_ccds = _with_verdict(of_exposures), _with_verdict(of_ccds)
    if statistics:
        of_exposures = _with_more(of_exposures, EXPOSURE_STATISTIC_COLUMNS)
        of_ccds = _with_more(of_ccds, CCD_STATISTIC_COLUMNS)
    if autoencoder:
        of_exposures, of_ccds = _with_autoencoder(of_exposures), _with_autoencoder(of_ccds)
    return _with_more(of_exposures, CLASSIFIER_COLUMNS) if classifier else of_exposures, of_ccds


def _with_verdict(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of exposures, or of CCDs, with those of the verdict after the names."""
    place = next(i for i, column in enumerate(columns) if column.name in ("date_obs", "status"))
    more = VERDICT_COLUMNS if columns[place].name == "date_obs" else CCD_VERDICT_COLUMNS
    return (*columns[:place], *more, *columns[place:])


def _with_more(columns: Sequence[Column], more: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of exposures, or of CCDs, with more columns before the last ones.

    Parameters
    ----------
    columns : sequence of Column
        `EXPOSURE_COLUMNS` or `CCD_COLUMNS`, possibly with more columns already.
    more : sequence of Column
        They come before `worst_ccd`, or before `reason`.

    Returns
    -------
    tuple of Column
    """
    place = next(i for i, column in enumerate(columns) if column.name in ("worst_ccd", "reason"))
    return (*columns[:place], *more, *columns[place:])


def _with_autoencoder(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of exposures, or of CCDs, with those of an autoencoder among them."""
    of_ccds = columns[-1].name == "reason"
    return _with_more(columns, CCD_AUTOENCODER_COLUMNS if of_ccds else AUTOENCODER_COLUMNS)
