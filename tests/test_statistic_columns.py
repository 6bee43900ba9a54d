"""The statistics that are listed, and their columns in the tables: the whole list, and the numbers against loops."""

from __future__ import annotations

import importlib
import pkgutil

import astropy.units as u
import numpy as np
import pytest

from gpuanom import statistics as wing
from gpuanom.records import DatasetStatistics
from gpuanom.scoring.judged import static_pattern
from gpuanom.statistics import listed
from gpuanom.statistics.spectrum import BANDS
from gpuanom.tables import statistic_columns
from gpuanom.tables.columns import CCD_COLUMNS, EXPOSURE_COLUMNS
from gpuanom.tables.statistic_columns import CCD_STATISTIC_COLUMNS, EXPOSURE_STATISTIC_COLUMNS, STRIPES

CCD_NAMES = (*listed.NAMES.ccds, *static_pattern.NAMES)
EVERY = (*listed.CCD_STATISTICS, *listed.EXPOSURE_STATISTICS, *static_pattern.CCD_STATISTICS)
NOT_SHOWN = {
    **{f"{name}_{band}": "tables show the band with the largest power" for name in STRIPES for band in range(BANDS)},
    "pattern_rms": "kept with glow and edge, which it helps to understand; map_rms says the same to a reader",
}
"""Statistics that are kept and not shown, and why."""


def test_every_module_that_has_statistics_is_in_the_list():
    modules = [importlib.import_module(f"gpuanom.statistics.{m.name}") for m in pkgutil.iter_modules(wing.__path__)]
    modules.remove(listed)
    for name, chosen in (("CCD_STATISTICS", listed.CCD_MODULES), ("EXPOSURE_STATISTICS", listed.EXPOSURE_MODULES)):
        assert {m.__name__ for m in modules if getattr(m, name, ())} == {m.__name__ for m in chosen}


def test_every_statistic_has_a_unit_and_a_meaning_and_one_place():
    for statistic in EVERY:
        u.Unit(statistic.unit)
        assert len(statistic.description) > 10, statistic.name
    for names in (CCD_NAMES, listed.NAMES.exposures):
        assert len(set(names)) == len(names)


def test_every_statistic_has_a_column_or_a_reason_why_not():
    of_ccds = {column.name for column in CCD_STATISTIC_COLUMNS}
    of_exposures = {column.name for column in EXPOSURE_STATISTIC_COLUMNS}
    for name in CCD_NAMES:
        assert (name in of_ccds) != (name in NOT_SHOWN), name
    for name in listed.NAMES.exposures:
        assert (name in of_exposures) != (name in NOT_SHOWN), name
    made = {*STRIPES, "fwhm_arcsec", "isophote_angle", "isophote_alignment"}
    assert of_ccds - made <= set(CCD_NAMES)
    # What an exposure has from its CCDs is said in its description.
    from_ccds = of_exposures - made - set(listed.NAMES.exposures)
    assert from_ccds == {*statistic_columns.LARGEST, "streak_angle"}
    for column in EXPOSURE_STATISTIC_COLUMNS:
        assert ("largest of its CCDs" in column.description) == (column.name in statistic_columns.LARGEST)
    for columns, more in ((EXPOSURE_COLUMNS, of_exposures), (CCD_COLUMNS, of_ccds)):
        assert not {column.name for column in columns} & more
    for column in (*EXPOSURE_STATISTIC_COLUMNS, *CCD_STATISTIC_COLUMNS):
        u.Unit(column.unit)
        assert column.description


def dataset(n_ccds, seed=1):
    """Random statistics of exposures with these numbers of CCDs, a fifth of them NaN."""
    rng = np.random.default_rng(seed)

    def values(n, names):
        found = rng.normal(size=(n, len(names))).astype(np.float32)
        found[rng.random(found.shape) < 0.2] = np.nan
        return found

    n, total = len(n_ccds), sum(n_ccds)
    return DatasetStatistics(
        camera="c",
        band="r",
        exposures=tuple(str(i) for i in range(n)),
        owner=np.repeat(np.arange(n), n_ccds),
        ccds=tuple(f"ccd{j}" for k in n_ccds for j in range(k)),
        exposure_names=listed.NAMES.exposures,
        ccd_names=CCD_NAMES,
        exposure_values=values(n, listed.NAMES.exposures),
        ccd_values=values(total, CCD_NAMES),
        measured=np.ones(n, dtype=bool),
        fingerprints=("",) * n,
        patterns=lambda _i: [],
    )


@pytest.mark.parametrize("n_ccds", [(3, 1, 0, 4), (0,), (), (2, 0)])
def test_columns_are_what_loops_find(n_ccds):
    given = dataset(n_ccds)
    given.ccd_values[1:2, [given.ccd_names.index(f"stripe_power_{band}") for band in range(12)]] = np.nan
    arcsec = np.where(np.arange(given.owner.size) % 3 == 1, np.nan, 0.2 + 0.1 * np.arange(given.owner.size))
    shown = statistic_columns.shown(given, arcsec)
    assert {c.name for c in EXPOSURE_STATISTIC_COLUMNS} <= set(shown.exposures)
    assert {c.name for c in CCD_STATISTIC_COLUMNS} - {"isophote_angle", "isophote_alignment"} <= set(shown.ccds)
    for of, n in ((shown.exposures, len(n_ccds)), (shown.ccds, given.owner.size)):
        get = given.of_exposures if of is shown.exposures else given.of_ccds
        for i in range(n):
            best = None
            for band in range(12):
                power = float(get(f"stripe_power_{band}")[i])
                if power == power and (best is None or power > float(get(f"stripe_power_{best}")[i])):
                    best = band
            for name in STRIPES:
                expected = np.nan if best is None else get(f"{name}_{best}")[i]
                np.testing.assert_equal(of[name][i], np.float64(expected))
    for i in range(len(n_ccds)):
        mine = np.flatnonzero(given.owner == i)
        for name in statistic_columns.LARGEST:
            finite = [float(shown.ccds[name][j]) for j in mine if np.isfinite(shown.ccds[name][j])]
            np.testing.assert_equal(shown.exposures[name][i], max(finite, default=np.nan))
        streaks = [j for j in mine if np.isfinite(shown.ccds["streak"][j])]
        longest = max(streaks, key=lambda j: (shown.ccds["streak"][j], -j), default=None)
        expected = np.nan if longest is None else shown.ccds["streak_angle"][longest]
        np.testing.assert_equal(shown.exposures["streak_angle"][i], expected)
        side = next((arcsec[j] for j in mine if np.isfinite(arcsec[j])), np.nan)
        np.testing.assert_equal(shown.exposures["fwhm_arcsec"][i], given.of_exposures("fwhm")[i].astype(float) * side)
    np.testing.assert_array_equal(shown.ccds["fwhm_arcsec"], given.of_ccds("fwhm").astype(float) * arcsec)


def test_the_side_of_a_pixel_is_the_root_of_its_area():
    scale, angle = 0.27 / 3600.0, np.radians(30.0)
    turned = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axes = np.array([turned.ravel(), [np.nan] * 4, [0.0] * 4])
    found = statistic_columns.pixel_side(axes)
    assert found[0] == pytest.approx(0.27, rel=1e-12)  # rounding of a few operations
    assert np.isnan(found[1:]).all()
