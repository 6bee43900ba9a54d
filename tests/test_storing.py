"""Exposures that come fast share a transaction of the store; none is said to be done before it is kept for good."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing

import pytest

import gpuanom
from gpuanom.backends.cpu import CpuBackend
from gpuanom.errors import OutputError
from gpuanom.fits import discover
from gpuanom.measuring.threads import Threads
from gpuanom.nights import storing
from gpuanom.nights.events import Events
from gpuanom.records import Failure
from gpuanom.store.store import Store
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Exposures, and what was measured of them; the third is a failure."""
    folder = tmp_path_factory.mktemp("night")
    nights.night(folder, exposures=6, ccds=1)
    with Threads(QUICK, [CpuBackend()], 2, print) as works:
        found = list(works.measured(discover([folder], QUICK).exposures))
    exposure = found[2][0]
    failure = Failure(str(exposure.files[0]), exposure.camera, exposure.band, exposure.exposure, "corrupt", "cut off")
    found[2] = (exposure, failure, 0.1)
    return found


class Given:
    """Measures nothing: gives what was measured before, and then perhaps fails."""

    def __init__(self, found, error=None, fast=True):
        self.found, self.error, self.fast = found, error, fast

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def is_behind(self):
        return self.left > 0

    def measured(self, _exposures):
        for i, result in enumerate(self.found, start=1):
            self.left = len(self.found) - i if self.fast else 0
            yield result
        if self.error is not None:
            raise self.error


def kept(path):
    """The exposures that another process would find, or that would be left after a kill."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM exposures").fetchone()[0]


def run(path, found, *, error=None, every=1000.0, fast=True):
    """Fill a store, and return the exposures that were said to be done."""
    done = []
    with pytest.MonkeyPatch.context() as patch, Store(path, QUICK) as store:
        patch.setattr(storing, "EVERY", every)
        events = Events(done=lambda exposure, *_: done.append(exposure.exposure))
        try:
            storing.fill(store, [], Given(found, error, fast), events)
        finally:
            patch.undo()
    return done


def commits(monkeypatch):
    """A list that grows by one with each transaction of several exposures."""
    made = []
    commit = Store.commit
    monkeypatch.setattr(Store, "commit", lambda self: (made.append(self._together), commit(self))[1])
    return made


def test_fast_exposures_share_transactions(tmp_path, measured, monkeypatch):
    made = commits(monkeypatch)
    done = run(tmp_path / "s.sqlite", measured)
    assert done == [exposure.exposure for exposure, _, _ in measured]
    assert sum(made) == 2  # the first exposure is kept at once, the others together
    assert kept(tmp_path / "s.sqlite") == 5


@pytest.mark.parametrize("how", [{"fast": False}, {"every": 0.0}])
def test_exposures_that_nothing_waits_behind_are_kept_at_once(tmp_path, measured, monkeypatch, how):
    """Also if the next one then takes for ever; and with many behind, each once the time is up."""
    made = commits(monkeypatch)
    run(tmp_path / "s.sqlite", measured, **how)
    assert sum(made) == len(measured)


def test_the_last_exposures_are_kept_whatever_waits_behind_them(tmp_path, measured, monkeypatch):
    """The end of a process is no measurement, and waits in the same queue."""
    monkeypatch.setattr(Given, "is_behind", lambda _self: True)
    assert run(tmp_path / "s.sqlite", measured) == [exposure.exposure for exposure, _, _ in measured]
    assert kept(tmp_path / "s.sqlite") == 5


def test_the_store_is_that_of_single_transactions(tmp_path, measured):
    contents = []
    for name, every in (("one.sqlite", 0.0), ("together.sqlite", 1000.0)):
        run(tmp_path / name, measured, every=every)
        with closing(sqlite3.connect(tmp_path / name)) as db:
            contents.append(list(db.iterdump()))
    assert contents[0] == contents[1]


def test_whatever_ends_the_run_what_was_measured_is_kept(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(Given, "is_behind", lambda _self: True)
    path = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        run(path, measured, error=KeyboardInterrupt())
    assert kept(path) == 5


def test_nothing_is_said_to_be_done_that_a_kill_would_lose(tmp_path, measured, monkeypatch):
    """A store that is locked for others is looked at by its own connection, outside of any transaction."""
    path, seen = tmp_path / "s.sqlite", []
    with Store(path, QUICK) as store:
        monkeypatch.setattr(storing, "EVERY", 1000.0)
        events = Events(done=lambda *_: seen.append((store._db.in_transaction, store.n_exposures())))
        storing.fill(store, [], Given(measured), events)
    assert seen == [(False, 1), *[(False, 5)] * 5]


def test_an_exposure_that_cannot_be_kept_costs_no_other(tmp_path, measured, monkeypatch):
    path = tmp_path / "s.sqlite"
    add, n = Store._forget, []

    def failing(self, db, *key):
        n.append(key)
        add(self, db, *key)
        if len(n) == 4:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "_forget", failing)
    with pytest.raises(OutputError, match="disk I/O error"):
        run(path, measured)
    assert kept(path) == 2  # of the three before, one is a failure


def test_the_first_error_is_the_one_that_is_said(tmp_path, measured, monkeypatch):
    said = []

    def failing(_self):
        said.append(OutputError(f"error {len(said) + 1}"))
        raise said[-1]

    monkeypatch.setattr(Store, "commit", failing)
    with pytest.raises(OutputError, match="error 1"):
        run(tmp_path / "s.sqlite", measured)
    assert len(said) == 2


def test_a_transaction_that_sqlite_gave_up(tmp_path, measured):
    """A full disk may end the transaction as a whole: the error is the disk's, and what was kept before stays."""
    path = tmp_path / "s.sqlite"
    with Store(path, QUICK) as store:
        store.add(measured[0][1])
        store.begin()
        store.add(measured[1][1])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store._db.execute("CREATE TABLE more AS SELECT a.* FROM ccds a, ccds b, ccds c, ccds d, ccds e, ccds f")
        store._db.execute("ROLLBACK" if store._db.in_transaction else "SELECT 1")
        with pytest.raises(OutputError, match="no transaction is active"):
            store.commit()
        store._db.execute("PRAGMA max_page_count = 1000000")
        store.add(measured[3][1])
    assert kept(path) == 2


def test_what_could_not_be_committed_is_not_said_to_be_done(measured, tmp_path, monkeypatch):
    """A disk that is full at the end of a transaction takes none of its exposures."""
    path, done = tmp_path / "measurements.sqlite", []
    monkeypatch.setattr(storing, "EVERY", 0.0)
    events = Events(done=lambda exposure, *_: done.append(exposure.exposure))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store(path, QUICK) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
        try:
            with pytest.raises(OutputError, match="disk"):
                storing.fill(store, [], Given(measured), events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(done) == kept(path)
