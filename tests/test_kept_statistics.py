"""The statistics in a store: read back bit for bit, copied, forgotten, and small enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpuanom
from gpuanom.backends import pattern_layout
from gpuanom.errors import OutputError
from gpuanom.records import (
    NO_CELL,
    CcdStatistics,
    Exposure,
    ExposureStatistics,
    Measurement,
    StatisticNames,
)
from gpuanom.scoring.judged import static_pattern
from gpuanom.statistics import listed
from gpuanom.store.set_aside import Placed
from gpuanom.store.store import NAME, Store
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500)
NAMES = StatisticNames(1, ("a", "b", "c"), ("d", "e"))
_MEASURED = gpuanom.measure([nights.image(1)], SETTINGS.replace(statistics=False), "cpu").ccds[0]


def made(name, n_ccds=3, names=NAMES, seed=0, shape=(5, 7), steps=(4, 6), band="r"):
    """An exposure whose statistics are random numbers, NaN among them; the second CCD could not be measured."""
    rng = np.random.default_rng(seed)

    def values(n):
        found = rng.normal(size=n).astype(np.float32)
        found[rng.random(n) < 0.2] = np.nan
        return found

    ccds = []
    for i in range(n_ccds):
        cells = rng.integers(NO_CELL, 128, shape).astype(np.int8)
        rows, columns = (values(n).astype(np.float16).astype(np.float32) for n in steps)
        statistics = CcdStatistics(values(len(names.ccds)), cells, rows, columns)
        ccds.append(replace(_MEASURED, name=f"ccd{i + 1}", statistics=statistics))
    if n_ccds > 1:
        ccds[1] = replace(ccds[1], status="constant", statistics=None)
    exposure = Exposure(name, "c", band, "", float("nan"), (), (), f"files of {name}", "")
    kept = ExposureStatistics(names, values(len(names.exposures)))
    return Measurement(exposure, tuple(ccds), SETTINGS.fingerprint(), statistics=kept)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / NAME, SETTINGS) as store:
        yield store


def test_statistics_are_read_back_bit_for_bit(store):
    several = [made("10", seed=1), made("9", n_ccds=1, seed=2, shape=(0, 0), steps=(0, 3)), made("2", seed=3)]
    for measurement in several:
        store.add(measurement)
    store.add(made("5", band="g"))
    found = store.statistics("c", "r", NAMES)
    in_order = sorted(several, key=lambda m: int(m.exposure.exposure))
    assert found.exposures == ("2", "9", "10") == store.datasets(18)[1].exposures
    assert found.owner.tolist() == [0, 0, 0, 1, 2, 2, 2] == store.datasets(18)[1].owner.tolist()
    assert found.ccds == ("ccd1", "ccd2", "ccd3", "ccd1", "ccd1", "ccd2", "ccd3")
    assert found.measured.all()
    row = 0
    for i, measurement in enumerate(in_order):
        assert found.exposure_values[i].tobytes() == measurement.statistics.values.tobytes()
        patterns = found.patterns(i)
        assert len(patterns) == len(measurement.ccds)
        for ccd, pattern in zip(measurement.ccds, patterns, strict=True):
            if ccd.statistics is None:
                assert np.isnan(found.ccd_values[row]).all()
                assert pattern.map.size == pattern.row_steps.size == pattern.column_steps.size == 0
            else:
                assert found.ccd_values[row].tobytes() == ccd.statistics.values.tobytes()
                for name in ("map", "row_steps", "column_steps"):
                    np.testing.assert_array_equal(getattr(pattern, name), getattr(ccd.statistics, name))
            row += 1
    np.testing.assert_array_equal(found.of_exposures("b"), found.exposure_values[:, 1])
    np.testing.assert_array_equal(found.of_ccds("e"), found.ccd_values[:, 1])


def test_nan_and_zero_have_one_pattern_of_bits(store):
    """The same number must be the same bytes, whichever backend made it."""
    odd = made("1", n_ccds=1)
    values = np.array([np.float32(np.nan), -0.0, 0.0], dtype=np.float32)
    values.view(np.uint32)[0] |= 0x80000001  # another NaN
    store.add(replace(odd, statistics=ExposureStatistics(NAMES, values)))
    plain = np.array([np.nan, 0.0, 0.0], dtype=np.float32)
    assert store.statistics("c", "r", NAMES).exposure_values.tobytes() == plain.tobytes()


def test_steps_beyond_the_range_of_float16_are_the_largest(store):
    odd = made("1", n_ccds=1)
    rows = np.array([1e9, -1e9, 1 / 3, np.nan], dtype=np.float32)
    store.add(replace(odd, ccds=(replace(odd.ccds[0], statistics=replace(odd.ccds[0].statistics, row_steps=rows)),)))
    kept = store.statistics("c", "r", NAMES).patterns(0)[0].row_steps
    np.testing.assert_array_equal(kept, np.array([65504.0, -65504.0, np.float16(1 / 3), np.nan], np.float32))


def test_an_exposure_of_61_ccds_takes_at_most_256_kib(tmp_path):
    """CCDs of DECam, 4094 x 2046 pixels, whose maps have as many cells as a map may have, with all statistics."""
    size = 64, 32
    assert pattern_layout.map_shape(4094, 2046) == size
    assert size[0] * size[1] == pattern_layout.MOST_MAP_CELLS
    steps = tuple(pattern_layout.step_places(n).size for n in (4094, 2046))
    sizes = []
    for with_statistics in (False, True):
        path = tmp_path / f"{with_statistics}.sqlite"
        with Store(path, SETTINGS) as store:
            for i in range(10):
                measurement = made(str(i), 61, listed.NAMES, seed=i, shape=size, steps=steps)
                store.add(measurement if with_statistics else replace(measurement, statistics=None))
                beyond = np.zeros((61, len(static_pattern.NAMES)), dtype=np.float32)
                if with_statistics:
                    store.keep_pattern_values("c", "f" * 16, {str(i): beyond})
        sizes.append(path.stat().st_size)
    grown = (sizes[1] - sizes[0]) / 10
    assert 150 * 1024 < grown < 256 * 1024


def test_an_exposure_without_statistics_has_rows_of_nan(store):
    store.add(replace(made("1"), statistics=None))
    store.add(made("2", names=StatisticNames(2, NAMES.exposures, NAMES.ccds)))
    store.add(made("3"))
    found = store.statistics("c", "r", NAMES)
    assert found.measured.tolist() == [False, False, True]
    assert np.isnan(found.exposure_values[:2]).all()
    assert np.isnan(found.ccd_values[:6]).all()
    assert found.ccds == ("ccd1", "ccd2", "ccd3") * 3
    assert found.patterns(0) == found.patterns(1) == []
    known = store.known()
    assert [known["c", name].statistics for name in "13"] == ["", NAMES.text]
    assert known["c", "2"].statistics not in ("", NAMES.text)


def test_statistics_are_forgotten_with_their_exposure(store):
    store.add(made("1"))
    store.add(replace(made("1"), statistics=None))
    assert not store.statistics("c", "r", NAMES).measured.any()
    store.add(made("1"))
    store.remove({("c", "1")})
    assert store.known() == {}
    store.add(replace(made("1"), statistics=None))
    assert not store.statistics("c", "r", NAMES).measured.any()
    store.add(made("2"))
    store.clear()
    assert store.statistics("c", "r", NAMES).exposures == ()


@pytest.mark.parametrize("column", ["fingerprint", "settings"])
def test_statistics_of_changed_files_or_settings_are_passed_over(store, column):
    """An older gpuanom that measures an exposure again leaves the row of statistics as it is."""
    store.add(made("1"))
    store._db.execute(f"UPDATE exposures SET {column} = 'other'")
    assert not store.statistics("c", "r", NAMES).measured.any()
    assert store.known()["c", "1"].statistics == ""


def test_statistics_are_copied_with_their_exposures(store, tmp_path):
    store.add(made("1", seed=5))
    with Store(None, SETTINGS) as other:
        other.rearrange([Placed(copy, "n-1", ranked=True) for copy in store.copies()], (), [store])
        found, there = (s.statistics("c", "r", NAMES) for s in (other, store))
        assert found.exposures == ("n-1",)
        assert found.ccd_values.tobytes() == there.ccd_values.tobytes()
        for a, b in zip(found.patterns(0), there.patterns(0), strict=True):
            np.testing.assert_array_equal(a.map, b.map)


@pytest.mark.parametrize("column", ["exposure_values", "ccd_values", "maps", "steps", "shapes", "ccds"])
def test_damaged_statistics_are_said_in_a_line(store, column):
    store.add(made("1"))
    store._db.execute(f"UPDATE statistics SET {column} = x'5b5d5d'")
    with pytest.raises(OutputError, match="damaged"):
        store.statistics("c", "r", NAMES).patterns(0)


def test_an_old_store_without_the_table_can_be_read(tmp_path):
    with Store(tmp_path / NAME, SETTINGS) as store:
        store.add(made("1"))
        store._db.execute("DROP TABLE statistics")
    with Store(tmp_path / NAME, SETTINGS, read_only=True) as store:
        assert store.known()["c", "1"].statistics == ""
        found = store.statistics("c", "r", NAMES)
        assert found.exposures == ("1",)
        assert found.patterns(0) == []
    with Store(tmp_path / NAME, SETTINGS) as store:
        store.add(made("1"))
        assert store.statistics("c", "r", NAMES).measured.all()
