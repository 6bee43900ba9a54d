"""What a worker prepares for the store is what the store would have made itself, and the rest comes unpacked late."""

from __future__ import annotations

import gc
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_packed_records import CASES, EXPOSURE, require_same

from gpuanom import Settings
from gpuanom.records import ExposureStatistics, Measurement, StatisticNames, measurements
from gpuanom.store.forgetting import Forgetting
from gpuanom.store.prepared_rows import prepared_rows
from gpuanom.store.store import Store

STATISTICS = ExposureStatistics(StatisticNames(1, ("a",), ("b", "c", "d")), np.array([2.5], "f4"))


def measured(case):
    return Measurement(EXPOSURE, tuple(CASES[case]), "settings", "model", STATISTICS)


def travelled(measurement):
    """The measurement as it comes from a worker."""
    return pickle.loads(pickle.dumps(replace(measurement, rows=prepared_rows(measurement)), protocol=5))


def kept(measurement):
    """All rows of a store with this measurement."""
    with Store(None, Settings()) as store:
        store.add(measurement)
        tables = [name for (name,) in store._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: store._db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


@pytest.mark.parametrize("case", CASES)
def test_the_store_keeps_the_same_of_prepared_rows(case):
    measurement = measured(case)
    found = kept(travelled(measurement))
    assert found == kept(measurement)
    assert len(found["ccds"]) == len(CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_beside_prepared_rows(case):
    measurement, arrived = measured(case), travelled(measured(case))
    require_same(replace(arrived, rows=None), measurement)


def test_nothing_is_unpacked_to_store_an_exposure_and_to_tell_of_it():
    arrived = travelled(replace(measured("one is lost"), model=""))
    other = replace(EXPOSURE, exposure="8", files=(Path("8.fits"),))
    arrived = arrived.named(other, "other settings", "")
    told = [(c.name, c.status, c.reason, c.n_sources) for c in arrived.outline]
    assert told == [(c.name, c.status, c.reason, c.n_sources) for c in measured("one is lost").ccds]
    with Store(None, Settings()) as store:
        store.add(arrived)
        assert list(store.measured_exposures()) == [("C", "8")]
    assert not {"ccds", "statistics"} & vars(arrived).keys()
    assert len(arrived.ccds) == 3
    assert arrived.settings == "other settings"
    with pytest.raises(AttributeError, match="no attribute 'counts'"):
        _ = arrived.counts


def test_an_exposure_is_forgotten_in_a_table_that_came_later():
    with Store(None, Settings()) as store:
        store.add(measured("one"))
        forget = Forgetting(store._db)
        forget("C", "another")
        store._db.execute("CREATE TABLE aside_exposures AS SELECT 0 AS copy, * FROM exposures")
        store._db.execute("DELETE FROM exposures")
        forget("C", "7")
        assert store._db.execute("SELECT count(*) FROM aside_exposures").fetchone() == (0,)


def test_an_exposure_that_was_sent_takes_no_more_memory():
    """The client of a cluster sends each exposure of a night once, and keeps them all."""
    sent, fresh = replace(EXPOSURE), replace(EXPOSURE)
    assert pickle.loads(pickle.dumps(sent, protocol=5)) == sent
    assert [type(found) for found in gc.get_referents(sent)] == [type(found) for found in gc.get_referents(fresh)]


def test_a_measurement_that_an_earlier_version_pickled_is_read(monkeypatch):
    """Files of measurements are kept for months."""
    measurement = replace(measured("one"), statistics=None)
    columns, of_ccds, _ = pickle.loads(measurement.__reduce__()[1][1])
    earlier = (measurements._unpacked, (EXPOSURE, columns, of_ccds, "settings", "model", None))
    monkeypatch.setattr(Measurement, "__reduce__", lambda _self: earlier)
    kept_then = pickle.dumps(measurement)
    monkeypatch.undo()
    require_same(pickle.loads(kept_then), measurement)


@pytest.mark.parametrize("n", [0, 1, 37, 38, 39, 76, 77, 200])
def test_each_ccd_has_its_row(n):
    """Several are kept by one statement."""
    (ccd,) = CASES["one"]
    ccds = tuple([replace(ccd, name=f"N{i}", n_sources=i) for i in range(n)])
    rows = kept(Measurement(EXPOSURE, ccds, "settings", ""))["ccds"]
    wanted = prepared_rows(Measurement(EXPOSURE, ccds, "settings", "")).ccds
    # SQLite keeps no NaN.
    wanted = [[None if value != value else value for value in row] for row in wanted]
    assert rows == [(*EXPOSURE.key, i, *row) for i, row in enumerate(wanted)]
