"""Exposures of a survey are judged alone, by a null that its store keeps, as `score` judges them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.cli.watch import line
from gpuanom.nights.alerts import NAME as ALERTS
from gpuanom.nights.arrivals import Pace
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.review.opened import plain_rows
from gpuanom.scoring.evidence import null_record, stored_null
from gpuanom.store.reopened import Remembered, ReopenedStore
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build
from gpuanom.tables.judged_alone import judged_alone
from gpuanom.tables.kept_null import read_null
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)
N = 22
"""Exposures of the survey: static patterns need 20 of them, and a null lacks a tenth of them at the third new one."""
KEY = ("TESTCAM", "r")
ODD = 31
"""An exposure with stripes that comes later."""


def striped(folder, number):
    with fits.open(nights.write(folder, number, ccds=1), mode="update") as hdus:
        y, x = np.mgrid[: nights.SHAPE[0], : nights.SHAPE[1]]
        hdus[1].data = hdus[1].data + 8.0 * np.sin(2.0 * np.pi * (x + 0.5 * y) / 16.0)


@pytest.fixture(scope="module", autouse=True)
def small_surveys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_null, "SURVEY", N)
        patch.setattr(stored_null, "LEAST_EXPOSURES", 20)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory, small_surveys):
    """A survey as `score` leaves it, with stripes in its exposure 5, and an exposure of another band."""
    folder = tmp_path_factory.mktemp("survey")
    nights.night(folder / "in", exposures=N - 1, ccds=1)
    (folder / "in" / "exposure_005.fits").unlink()
    striped(folder / "in", 5)
    nights.write(folder / "in", 99, band="g", ccds=1)
    gpuanom.score(folder / "in", folder / "out", settings=QUICK, device="cpu")
    for number in (30, 32, 33, 34):
        nights.write(folder / "later", number, ccds=1)
    striped(folder / "later", ODD)
    return folder


@pytest.fixture
def survey(scored, tmp_path):
    """A copy of the survey."""
    shutil.copytree(scored / "out", tmp_path / "out")
    (tmp_path / "in").mkdir()
    return tmp_path


def arrive(scored, survey, *numbers):
    for number in numbers:
        shutil.copy(scored / "later" / f"exposure_{number:03d}.fits", survey / "in")


def watched(survey, *, ended=False, settings=QUICK, wanted=1):
    """Watch until all exposures are judged; what was told, alerts and messages.

    Where it is `ended`, that is as if by a signal, after so many exposures, or after an alert where 0 are wanted.
    """
    told, alerted, said, pace = [], [], [], Pace(every=0.02, settle=0.0, once=True)

    def scored(about):
        told.append(about)
        if ended and len(told) == wanted:
            pace.stop.set()

    def alert(about):
        alerted.append(about)
        if ended and not wanted:
            pace.stop.set()

    events = WatchEvents(scored=scored, alert=alert, say=said.append, debug=pytest.fail)
    watch(survey / "in", survey / "out", events=events, settings=settings, device="cpu", pace=pace)
    return told, alerted, said


def written(survey):
    return {path.name: path.read_bytes() for path in (survey / "out").glob("*.ecsv")}


def the_null(store, settings=QUICK):
    found = read_null(store, *KEY, settings)
    assert not found.why
    return found.null


def assert_same(row, other):
    """To the printed digits; NumPy's logarithm of one number and of many differ in the last bit, which shows near 0."""
    assert row.keys() == other.keys()
    for name, value in row.items():
        assert value == other[name] or abs(value - other[name]) < 1e-12, name


def the_null_of(survey, settings=QUICK):
    with Store(survey / "out" / NAME, settings, read_only=True) as store:
        return the_null(store, settings)


def test_an_exposure_of_the_null_is_judged_as_score_judges_it(survey):
    """What is normal is the same, and so are all functions that compare with it."""
    with Store(survey / "out" / NAME, QUICK) as store:
        tables = build.build(store, QUICK, select("cpu"))
        null, device = the_null(store), select("cpu")
        parts = [["5"], ["17"], [str(i) for i in range(1, N) if i not in (5, 17)]]
        alone = [judged_alone(store, [("TESTCAM", i) for i in part], null, QUICK, device) for part in parts]
    rows = {row["exposure"]: row for row in plain_rows(tables.exposures)}
    judged = {row["exposure"]: row for found in alone for row in found.exposures}
    assert len(judged) == N - 1
    for name, row in judged.items():
        assert_same(row, rows[name])
    assert rows["5"]["verdict"] == "bad"
    assert rows["5"]["glow"] is not None  # the static patterns are there
    ccds = {(row["exposure"], row["ccd"]): (row["verdict"], row["cause"]) for row in plain_rows(tables.ccds)}
    for found in alone:
        columns = (found.ccds[name] for name in ("exposure", "ccd", "verdict", "cause"))
        assert all(ccds[name, ccd] == (verdict, cause) for name, ccd, verdict, cause in zip(*columns, strict=True))


def test_new_exposures_are_judged_alone_by_a_null_that_is_named(scored, survey):
    before = written(survey)
    arrive(scored, survey, 30, ODD)
    told, alerted, said = watched(survey, ended=True, wanted=2)
    name = the_null_of(survey).name
    assert name.endswith(f", {N - 1} exposures")
    assert {about["exposure"]: about["verdict"] for about in told} == {"30": "ok", str(ODD): "bad"}
    assert {about["null"] for about in told + alerted} == {name}
    assert [about["exposure"] for about in alerted] == [str(ODD)]  # not exposure 5, which `score` found
    assert said[0] == f"TESTCAM r: judged by {name}"
    assert said[1].startswith("the tables hold the survey as it was ranked before (gpuanom score -o ")
    assert len(said) == 2
    assert written(survey) == before
    assert [json.loads(text)["null"] for text in (survey / "out" / ALERTS).read_text().splitlines()] == [name]
    assert ": bad, stripes" in line(alerted[0])
    assert ": ok, deviation" in line(next(about for about in told if about["verdict"] == "ok"))
    # A watch that ends by itself ranks the survey as `score` does, and makes the null anew.
    (survey / "out" / ALERTS).unlink()  # as if the watch had been killed before it gave the alert
    told, alerted, said = watched(survey)
    assert told == []
    assert [about["exposure"] for about in alerted] == [str(ODD)]
    tables = written(survey)
    assert tables["exposures.ecsv"].count(b"\n") == before["exposures.ecsv"].count(b"\n") + 2
    with Store(survey / "out" / NAME, QUICK, read_only=True) as store:
        null = store.null(*KEY)
    assert the_null_of(survey).members.keys() >= {"30", str(ODD)}
    gpuanom.score([], survey / "out", settings=QUICK, device="cpu")
    assert written(survey) == tables
    with Store(survey / "out" / NAME, QUICK, read_only=True) as store:
        assert store.null(*KEY) == null


def test_the_first_exposures_of_a_band_are_ranked_as_in_a_night(survey):
    nights.write(survey / "in", 40, band="g", ccds=1)
    (about,), _, said = watched(survey, ended=True)
    assert about["early"]
    assert about["n"] == 2
    assert "null" not in about
    assert len(said) == 1


@pytest.mark.parametrize(
    "trouble", ["version", "damaged", *(pytest.param(name, marks=pytest.mark.proof) for name in ("none", "settings"))]
)
def test_a_null_that_cannot_be_used_is_made_anew(scored, survey, trouble):
    settings, path = QUICK, survey / "out" / NAME
    with Store(path, QUICK) as store:
        about, numbers = store.null(*KEY)
        values = json.loads(about)
        if trouble == "none":
            store._db.execute("DROP TABLE nulls")
        elif trouble == "version":
            values["basis"]["version"] = "0.0.1"
            store.keep_null(*KEY, json.dumps(values), numbers)
        elif trouble == "damaged":
            store.keep_null(*KEY, about, numbers[:1000])
        else:
            settings = QUICK.replace(verdict_exposures=15)
    why = {
        "none": "none was kept",
        "version": "another version of gpuanom made it (0.0.1)",
        "settings": "it was made with other settings",
        "damaged": "the one that was kept is damaged",
    }
    arrive(scored, survey, ODD)
    (about,), (given,), said = watched(survey, ended=True, settings=settings)
    assert (about["exposure"], given["exposure"], given["verdict"]) == (str(ODD), str(ODD), "bad")
    assert said[0] == f"TESTCAM r: the null is made anew from {N} exposures ({why[trouble]})"
    assert about["null"] == given["null"] == the_null_of(survey, settings).name
    assert len(said) == 2
    # The alert may have been lost if the watch was killed before it was given: the new null knows that.
    (survey / "out" / ALERTS).unlink()
    alerted = watched(survey, settings=settings, ended=True, wanted=0)[1]
    assert [about["exposure"] for about in alerted] == [str(ODD)]


def test_a_null_that_lacks_a_tenth_of_its_dataset_is_made_anew(scored, survey):
    arrive(scored, survey, 30, 32)
    assert len(watched(survey, ended=True, wanted=2)[2]) == 2
    arrive(scored, survey, 33)
    said = watched(survey, ended=True)[2]
    assert "(the old one differs by 3 exposures by now)" in said[0]
    assert len(the_null_of(survey).members) == N + 2
    arrive(scored, survey, 34)
    (about,), _, _ = watched(survey, ended=True)
    assert about["null"].endswith(f"{N + 2} exposures")


def test_nights_keep_no_null(tmp_path, monkeypatch, scored):
    with closing(sqlite3.connect(scored / "out" / NAME)) as db, db:
        assert db.execute("SELECT count(*) FROM nulls").fetchone() == (1,)
    monkeypatch.setattr(stored_null, "SURVEY", N + 1)
    shutil.copytree(scored / "out", tmp_path / "out")
    with Store(tmp_path / "out" / NAME, QUICK) as store:
        store._db.execute("DROP TABLE nulls")
        build.build(store, QUICK, select("cpu"))
        assert store.null(*KEY) is None
        store.rearrange([], [])
        store.clear()


def test_nulls_go_when_the_exposures_behind_them_go(survey):
    with Store(survey / "out" / NAME, QUICK) as store:
        record = store.null(*KEY)
        store.clear()
        assert store.null(*KEY) is None
        store.keep_null(*KEY, *record)
        store.rearrange([], [])
        assert store.null(*KEY) is None


def test_a_record_holds_all_of_a_null(survey):
    with Store(survey / "out" / NAME, QUICK) as store:
        record = store.null(*KEY)
    null = null_record.from_record(*record)
    again = null_record.to_record(null)
    assert again[0] == record[0]
    assert null.patterns
    assert null_record.to_record(null_record.from_record(*again)) == again
    assert null_record.from_record(*null_record.to_record(replace(null, alerts_pending=("7",)))).alerts_pending == (
        "7",
    )


def test_a_store_that_is_opened_again_remembers_what_no_one_else_has_changed(survey, monkeypatch):
    """What is remembered is always what a store that remembers nothing reads."""
    path, memory = survey / "out" / NAME, Remembered()
    asked = []
    real = gpuanom.store.schema._require_sound
    monkeypatch.setattr(gpuanom.store.schema, "_require_sound", lambda db, p: (asked.append(p), real(db, p)))

    def both():
        with ReopenedStore(path, QUICK, memory) as store:
            found = store.known()
        asked_for = len(asked)
        with Store(path, QUICK, read_only=True) as store:
            assert found == store.known()
        asked.clear()
        return asked_for

    assert (both(), both()) == (1, 0)
    with ReopenedStore(path, QUICK, memory) as store:
        store.known()
        store.remove({("TESTCAM", "3")})
        store.add_failure(gpuanom.records.Failure("f", "TESTCAM", "r", "4", "corrupt", "x"))
        with suppress(RuntimeError), store._transaction():
            store._forget("TESTCAM", "6")
            raise RuntimeError  # the exposure is held again
        store._forget("TESTCAM", "8")
    assert both() == 0
    with Store(path, QUICK) as store:  # another program
        store.remove({("TESTCAM", "9")})
    asked.clear()
    assert both() == 1
