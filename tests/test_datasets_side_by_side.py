"""The datasets of a survey, scored side by side: the same tables, on no more threads than there are cores."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import gpuanom
from gpuanom.digits import printed_rows, printed_values
from gpuanom.scoring.evidence import stored_null
from gpuanom.scoring.judged.exposure_loops import keep_largest
from gpuanom.side_by_side import side_by_side
from gpuanom.store.file_places import lists_of
from gpuanom.store.schema import open_database
from gpuanom.system import reuse_memory
from gpuanom.tables import dataset_ranking
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))


def test_datasets_scored_by_threads_give_the_same_tables(tmp_path, monkeypatch, two_cores):
    nights.night(tmp_path / "in", exposures=4, bands=("r", "i"))
    gpuanom.score(tmp_path / "in", tmp_path / "out", settings=SETTINGS, device="cpu")
    files = [tmp_path / "out" / f"{name}.ecsv" for name in ("exposures", "ccds")]
    expected = [file.read_bytes() for file in files]
    both, threads = threading.Barrier(2, timeout=60), set()

    def compared_with(*arguments):
        both.wait()  # one thread alone would wait for ever
        threads.add(threading.get_ident())
        return compared(*arguments)

    compared = dataset_ranking.compared_with
    monkeypatch.setattr(dataset_ranking, "compared_with", compared_with)
    monkeypatch.setattr(stored_null, "SURVEY", 2)
    gpuanom.score((), tmp_path / "out", device="cpu")
    assert [file.read_bytes() for file in files] == expected
    assert len(threads) == 2


def test_two_threads_get_their_own_answers_from_one_connection(tmp_path):
    """Python 3.12 and 3.13 mix up the answers where a connection keeps its statements (python/cpython#118172)."""
    db = open_database(tmp_path / "measurements.db", read_only=False)
    db.execute("CREATE TABLE numbers (owner INTEGER, number INTEGER)")
    db.executemany("INSERT INTO numbers VALUES (?, ?)", [(owner, n) for owner in range(2) for n in range(20)])
    wrong = []

    def ask(owner):
        for _ in range(3000):
            found = db.execute("SELECT owner, number FROM numbers WHERE owner = ?", (owner,)).fetchall()
            wrong.extend(row for row in found if row[0] != owner)

    threads = [threading.Thread(target=ask, args=(owner,)) for owner in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.close()
    assert not wrong


def test_items_of_items_are_worked_on_by_no_more_threads_than_cores(two_cores):
    lock, running, most = threading.Lock(), [0], [0]

    def leaf(_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    side_by_side(lambda _: side_by_side(leaf, range(5)), range(3))
    assert most[0] == 2
    # A thread whose neighbour has ended has both cores for its items.
    together = threading.Barrier(2, timeout=60)
    side_by_side(lambda n: side_by_side(lambda _: together.wait(), range(2)) if n else None, [1])
    assert len(side_by_side(lambda _: threading.Event().wait(0.01) or threading.get_ident(), range(6), most=1)) == 6


def test_rows_are_rounded_where_they_are_put_in_order(monkeypatch):
    values = np.random.default_rng(4).lognormal(0, 20, 5000)
    values[::17], values[5], values[6] = np.nan, 0.0, 1234567.5
    rows = np.random.default_rng(5).integers(0, values.size, 9000)
    expected = printed_values(values)[rows]
    for many in (10**9, 100):
        monkeypatch.setattr("gpuanom.digits._MANY", many)
        np.testing.assert_array_equal(printed_rows(values, rows).view(np.int64), expected.view(np.int64))


def test_the_largest_evidence_is_kept_as_numpy_rounds():
    rng = np.random.default_rng(6)
    found = rng.lognormal(0, 3, (30, 4000))
    found[3] = found[2] + 4e-7 * rng.standard_normal(4000)  # equal when they are rounded, mostly
    found[4] = found[2] * (1 + 1e-16)
    found[:, :50] *= 1e12
    found[rng.random(found.shape) < 0.1] = np.nan
    found[:, 60], found[7, 61] = np.nan, np.inf
    largest, best, statistic = np.full(4000, -np.inf), np.full(4000, -np.inf), np.zeros(4000, dtype=np.int64)
    for row, values in enumerate(found):
        keep_largest(values, row, largest, best, statistic)
    rounded = np.round(np.where(np.isnan(found), -1.0, found), 6)
    np.testing.assert_array_equal(statistic, rounded.argmax(axis=0))
    np.testing.assert_array_equal(best, rounded.max(axis=0))
    np.testing.assert_array_equal(largest, np.where(np.isnan(found), -np.inf, found).max(axis=0))


def test_lists_of_texts_are_read_in_one_go():
    assert lists_of(['["a", "b"]', "[]"]) == [("a", "b"), ()]
    for damaged in (['["a"], ["b"]'], ['"a"'], ["[1]"], ["{}"], [""]):
        with pytest.raises(ValueError):  # of several kinds
            lists_of(damaged)


def test_the_memory_of_a_process_is_reused_where_the_c_library_can(monkeypatch):
    called = []
    monkeypatch.setattr("ctypes.CDLL", lambda _: type("C", (), {"mallopt": lambda *options: called.append(options)}))
    reuse_memory()
    assert called == [(-4, 0), (-8, 1), (-1, 2**31 - 1)]
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    reuse_memory()
