"""Statistics from files to tables: the same bytes whatever measures them, and measured again only where they lack."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, nullcontext

import numpy as np
import pytest
from astropy.table import Table

import gpuanom
from gpuanom.nights.events import Events
from gpuanom.records import Turn, Unfit
from gpuanom.store.store import NAME
from gpuanom.tables.columns import CCD_COLUMNS, EXPOSURE_COLUMNS
from gpuanom.tables.statistic_columns import CCD_STATISTIC_COLUMNS, EXPOSURE_STATISTIC_COLUMNS
from tests import device, nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=300, simulations=200)
PAPER = SETTINGS.replace(statistics=False)
N = 21
"""Enough exposures for static patterns."""


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A night of two CCDs an exposure, one of them missing once, scored in one run by one thread."""
    folder = tmp_path_factory.mktemp("statistics")
    nights.night(folder / "in", exposures=N - 1, odd=2, ccds=2)
    nights.write(folder / "in", N, ccds=1)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu", threads=1)
    return folder


def said_by(*arguments, **options):
    """What a run says, and how many exposures it measures."""
    lines, planned = [], []
    events = Events(say=lines.append, plan=lambda new, _known: planned.append(new))
    gpuanom.score(*arguments, settings=options.pop("settings", SETTINGS), device="cpu", events=events, **options)
    return lines, planned[0]


def test_a_night_has_all_statistics(scored):
    exposures, ccds = (Table.read(scored / "night" / f"{name}.ecsv") for name in ("exposures", "ccds"))
    for column in ("stripe_power", "fwhm", "e1", "row_jitter", "masked_share", "map_rms", "repeat_separation"):
        assert np.count_nonzero(~np.ma.getmaskarray(exposures[column])) > 15, column
    for column in ("glow", "edge", "row_step", "column_step", "stripe_angle", "isophote_alignment"):
        assert np.count_nonzero(~np.ma.getmaskarray(ccds[column])) > 30, column
    assert exposures["fwhm"].unit == exposures["stripe_period"].unit == "pixel"


def test_nothing_depends_on_threads_order_or_restarts(scored, tmp_path):
    files = sorted((scored / "in").iterdir())
    gpuanom.score(files[13:], tmp_path / "night", settings=SETTINGS, device="cpu", threads=3)
    gpuanom.score(files[:4], tmp_path / "night", settings=SETTINGS, device="cpu", threads=2)
    gpuanom.score(files[::-1], tmp_path / "night", settings=SETTINGS, device="cpu", threads=4)
    assert nights.tables(tmp_path / "night") == nights.tables(scored / "night")


def test_merged_shards_have_the_tables_of_one_run(scored, tmp_path):
    for part in (1, 2):
        options = {"settings": SETTINGS, "device": "cpu", "shard": (part, 2)}
        gpuanom.score(scored / "in", tmp_path / f"part{part}", **options)
    merged = tmp_path / "merged"
    gpuanom.merge_nights([tmp_path / "part1", tmp_path / "part2"], merged, settings=SETTINGS, device="cpu")
    assert nights.tables(merged) == nights.tables(scored / "night")


def test_the_papers_profile_has_the_tables_of_before(scored, tmp_path):
    """Not a column, a line of the metadata or a digit more; and Part II changes no digit of the paper's."""
    shutil.copytree(scored / "night", tmp_path / "night")
    assert said_by([], tmp_path / "night", settings=PAPER) == ([], 0)
    gpuanom.score(scored / "in", tmp_path / "paper", settings=PAPER, device="cpu")
    assert nights.tables(tmp_path / "paper") == nights.tables(tmp_path / "night")
    for name, columns, more in (
        ("exposures", EXPOSURE_COLUMNS, EXPOSURE_STATISTIC_COLUMNS),
        ("ccds", CCD_COLUMNS, CCD_STATISTIC_COLUMNS),
    ):
        paper, standard = (Table.read(folder / f"{name}.ecsv") for folder in (tmp_path / "paper", scored / "night"))
        assert paper.colnames == [column.name for column in columns]
        assert set(standard.colnames) - set(paper.colnames) >= {column.name for column in more}
        assert "statistics" not in paper.meta["settings"] + paper.meta["score_settings"]
        keys = [name for name in ("exposure", "ccd") if name in paper.colnames]
        paper.sort(keys)
        standard.sort(keys)
        for column in paper.colnames:
            if column != "note":
                assert list(paper[column]) == list(standard[column]), column


def test_an_existing_night_is_measured_again_only_where_statistics_are_missing(scored, tmp_path):
    files = sorted((scored / "in").iterdir())
    gpuanom.score(files[:9], tmp_path / "night", settings=PAPER, device="cpu")
    gpuanom.score(files[9:], tmp_path / "night", settings=SETTINGS, device="cpu")
    lines, planned = said_by([], tmp_path / "night")
    assert planned == 0  # without the files, the night is ranked as it is
    lines, planned = said_by(files, tmp_path / "night")
    assert planned == 9
    (line,) = lines
    assert line.startswith("9 exposures: measured again, statistics of patterns, shapes and repeated stars are missing")
    assert nights.tables(tmp_path / "night") == nights.tables(scored / "night")
    assert said_by(files, tmp_path / "night") == ([], 0)


def test_statistics_of_another_version_are_measured_again(scored, tmp_path):
    shutil.copytree(scored / "night", tmp_path / "night")
    with closing(sqlite3.connect(tmp_path / "night" / NAME)) as db, db:
        db.execute("UPDATE statistics SET names = '[0, [], []]' WHERE exposure = '3'")
    db.close()
    lines, planned = said_by(scored / "in", tmp_path / "night")
    assert planned == 1
    assert lines == [
        "exposure 3: measured again, statistics of patterns, shapes and repeated stars are of another version"
        " (--profile paper does not need them)"
    ]
    assert nights.tables(tmp_path / "night") == nights.tables(scored / "night")


def odd_ccds():
    """CCDs of every kind that a night may hold."""
    masked = np.zeros(nights.SHAPE, np.uint8)
    masked[::3] = 7
    half = nights.image(4).copy()
    half[:, : half.shape[1] // 2] = np.nan
    return [
        gpuanom.Ccd("a", nights.image(1), saturation=1100.0),
        gpuanom.Ccd("b", nights.image(2), masked),
        gpuanom.Ccd("constant", np.full(nights.SHAPE, 5.0, np.float32)),
        gpuanom.Ccd("turned", nights.image(3, shape=(130, 100)), turn=Turn.QUARTER),
        gpuanom.Ccd("half", half),
        gpuanom.Ccd("all masked", nights.image(5), np.full(nights.SHAPE, 7, np.uint8)),
        gpuanom.Ccd("tiny", nights.image(6)[:20, :30]),
        gpuanom.Ccd("small", nights.image(7)[:64, :70]),
        gpuanom.Ccd("saturated", np.where(np.arange(192) < 150, np.float32(9e4), nights.image(8)), saturation=6e4),
    ]


@pytest.mark.parametrize("on", ["cpu", "0"])
def test_a_mostly_saturated_ccd_adds_no_repeated_stars(on):
    """Its saturated pixels are masked, and the rest of it has a background, sources and maxima; but it is unusable."""
    image = np.array(nights.image(8))
    saturated = np.broadcast_to(np.arange(image.shape[1]) < 100, image.shape)
    image[saturated] = 9e4
    spoilt = gpuanom.Ccd("b", image, saturated * np.uint8(Unfit.BACKGROUND | Unfit.SOURCES), saturation=6e4)
    sound = [gpuanom.Ccd("a", nights.image(1), saturation=6e4), gpuanom.Ccd("c", nights.image(2), saturation=6e4)]
    with device.installed() if on == "0" else nullcontext():
        for good in (sound, []):
            found = gpuanom.measure([*good, spoilt], SETTINGS, on, exposure="e")
            assert [ccd.status for ccd in found.ccds if ccd.name == "b"] == ["saturated"]
            empty = gpuanom.Ccd("b", np.zeros(nights.SHAPE, np.float32))
            expected = gpuanom.measure([*good, empty], SETTINGS, on, exposure="e")
            np.testing.assert_array_equal(found.statistics.values, expected.statistics.values)


def test_ccds_that_cannot_be_measured_have_no_statistics_and_spoil_none():
    ccds = odd_ccds()
    measured = gpuanom.measure(ccds, SETTINGS, "cpu", exposure="e")
    for ccd in measured.ccds:
        assert (ccd.statistics is None) == (ccd.status != "ok"), ccd.name
        assert ccd.parts is None
    turned = gpuanom.measure(ccds[::-1], SETTINGS, "cpu", exposure="e")
    np.testing.assert_array_equal(turned.statistics.values, measured.statistics.values)
    alone = gpuanom.measure([c for c in ccds if c.name in ("constant", "tiny", "all masked")], SETTINGS, "cpu")
    assert alone.statistics is not None
    assert gpuanom.measure(ccds, PAPER, "cpu").statistics is None
    table = gpuanom.rank([measured], SETTINGS, device="cpu")
    assert len(table.ccds) == len(ccds)
