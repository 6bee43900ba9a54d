"""A night is opened with the settings of its last scoring, whatever opens it and whatever the format of its tables."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from astropy.table import Table

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.errors import OutputError
from gpuanom.nights import score as pipeline
from gpuanom.review.opened import open_night
from gpuanom.scoring.histograms import comparison
from gpuanom.settings import PROFILES
from gpuanom.store.set_aside import Placed
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from tests import nights
from tests.commands import run

ROBUST = {"robust_rounds": 2, "robust_fraction": 0.35, "robust_minimum": 2, "sparse_counts": 4, "simulations": 300}
SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, **ROBUST)
"""Every setting of the scores differs from its default."""


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A night of two datasets that was scored with unusual settings."""
    folder = tmp_path_factory.mktemp("scored")
    nights.night(folder / "in", exposures=10, odd=3, ccds=1, bands=("r", "g"))
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder


@pytest.fixture
def night(scored, tmp_path):
    """A copy of that night, which tests may change."""
    shutil.copytree(scored / "night", tmp_path / "night")
    return tmp_path / "night"


def scores(table):
    """The numbers of a table of exposures, NaN where there is none."""
    names = [name for name in table.colnames if table[name].dtype.kind in "if"]
    return {name: np.ma.filled(table[name].astype(float), np.nan) for name in names}


def assert_equal(a, b):
    assert list(a["exposure"]) == list(b["exposure"])
    theirs = scores(b)
    for name, values in scores(a).items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def test_an_opened_night_has_the_scores_of_its_tables(scored):
    written = Table.read(scored / "night" / "exposures.ecsv")
    night = open_night(scored / "night")
    assert night.settings == SETTINGS
    assert_equal(night.tables.exposures, written)
    assert json.loads(written.meta["score_settings"]) == SETTINGS.scoring()


@pytest.mark.parametrize("form", ["csv", "fits", "parquet"])
def test_the_tables_format_does_not_matter(night, form):
    """A night is opened with the settings in its store."""
    for path in night.glob("*.ecsv"):
        path.unlink()
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gpuanom.score([], night, formats=[form], device="cpu")
    assert open_night(night).settings == SETTINGS
    if form == "fits":
        meta = Table.read(night / "exposures.fits").meta
        assert json.loads(meta["SCORESET"]) == SETTINGS.scoring()
        assert json.loads(meta["SETTINGS"]) == SETTINGS.measurement()


def test_every_command_speaks_of_the_night_as_it_was_scored(scored, night, capfd):
    rows = Table.read(scored / "night" / "exposures.ecsv")
    worst = rows[rows["background_rank"] == 1][0]
    code, out, _ = run(capfd, "show", night, worst["exposure"])
    assert code == 0
    assert f"{worst['background_kl']:.4f}" in out
    code, out, _ = run(capfd, "export", night, "--format", "bad_expid", "--by", "background", "--rank", "1")
    assert code == 0
    assert f"rank=1 z={worst['background_z']:.1f}" in out
    code, _, _ = run(capfd, "report", night, "--top", "0", "-q")
    assert code == 0
    assert f'"robust_rounds":{ROBUST["robust_rounds"]}' in (night / "report.html").read_text()
    code, _, _ = run(capfd, "merge", night, "-o", night.parent / "merged")
    assert code == 0
    assert nights.tables(night.parent / "merged") == nights.tables(scored / "night")


def test_scoring_again_changes_what_is_recorded_and_keeps_the_rest(night, capfd):
    assert run(capfd, "score", "-o", night, "--robust-rounds", "1", "-q")[0] == 0
    assert open_night(night).settings == SETTINGS.replace(robust_rounds=1)
    assert run(capfd, "score", "-o", night, "-q")[0] == 0
    assert open_night(night).settings == SETTINGS.replace(robust_rounds=1)
    code, _, err = run(capfd, "score", "-o", night)
    assert code == 0
    assert "robust_rounds 1" in err
    assert run(capfd, "score", "-o", night, "--profile", "paper", "-q")[0] == 0
    assert open_night(night).settings.scoring() == gpuanom.Settings.from_profile("paper").scoring()


def test_a_profile_of_score_settings_is_recorded_whole(night):
    robust = {name: value for name, value in PROFILES["robust"].items() if name != "threshold"}
    gpuanom.score([], night, settings=SETTINGS.replace(**robust), device="cpu")
    assert {name: getattr(open_night(night).settings, name) for name in robust} == robust


def test_the_robust_reference_is_one_and_the_same(scored, tmp_path):
    """A night that is scored against its own robust reference has the scores that the robust rounds gave."""
    references = gpuanom.make_references([scored / "night"])
    assert any(ids for d in references.datasets for ids in d.robust_outliers)
    references.save(tmp_path / "ref.ecsv")
    kept = gpuanom.References.load(tmp_path / "ref.ecsv")
    assert [d.robust_outliers for d in kept.datasets] == [d.robust_outliers for d in references.datasets]
    shutil.copytree(scored / "night", tmp_path / "night")
    gpuanom.score([], tmp_path / "night", settings=SETTINGS.replace(robust_rounds=0), reference=kept, device="cpu")
    assert_equal(open_night(tmp_path / "night").tables.exposures, open_night(scored / "night").tables.exposures)


def test_the_reports_reference_is_the_scores_own(scored):
    night = open_night(scored / "night")
    with Store(scored / "night" / NAME, SETTINGS, read_only=True) as store:
        for dataset in store.datasets(SETTINGS.bins):
            for i, name in enumerate(dataset.exposures):
                made = comparison.compared_with(dataset, SETTINGS, select("cpu"))
                for mean, histogram in zip(made.means(i), night.histograms((dataset.camera, name)), strict=True):
                    np.testing.assert_array_equal(mean, histogram.mean)


def test_a_saved_reference_is_kept_with_the_night(scored, night, tmp_path, capfd):
    """The file of the reference may be gone; another reference is refused."""
    plain = SETTINGS.replace(robust_rounds=0)
    gpuanom.make_references([night]).save(tmp_path / "ref.ecsv")
    gpuanom.score([], night, settings=plain, reference=tmp_path / "ref.ecsv", device="cpu")
    written = Table.read(night / "exposures.ecsv")
    assert (written.meta["reference"], written.meta["reference_file"]) == ("saved", "ref.ecsv")
    assert open_night(night, reference=tmp_path / "ref.ecsv").settings == plain
    (tmp_path / "ref.ecsv").unlink()
    assert_equal(open_night(night).tables.exposures, written)
    gpuanom.score([], night, device="cpu")  # with the settings of the last scoring
    assert_equal(Table.read(night / "exposures.ecsv"), written)
    gpuanom.score([], night, settings=plain, device="cpu")
    gpuanom.make_references([night]).save(tmp_path / "other.ecsv")
    code, _, err = run(capfd, "show", night, "1", "--reference", tmp_path / "other.ecsv")
    assert code == 2
    assert "was scored last against no saved reference" in err


def test_nights_scored_differently_merge_as_the_paper_does_and_it_is_said(scored, night, tmp_path):
    file = nights.write(tmp_path, 77, ccds=1)
    gpuanom.score(file, tmp_path / "other", settings=SETTINGS.replace(robust_rounds=1), device="cpu")
    said = []
    gpuanom.merge_nights([night, tmp_path / "other"], tmp_path / "both", device="cpu", say=said.append)
    assert "robust_rounds 1 there, 2 here" in said[0]
    assert open_night(tmp_path / "both").settings.scoring() == gpuanom.Settings().scoring()


def test_a_store_that_does_not_say_how_it_was_scored_is_refused_in_one_line(night, capfd):
    with closing(sqlite3.connect(night / NAME)) as db, db:
        db.execute("DROP TABLE about")
    db.close()
    for words in (("show", night, "1"), ("report", night), ("export", night, "--format", "list", "--rank", "1")):
        code, _, err = run(capfd, *words)
        assert code == 2
        assert "older gpuanom" in err
        assert err.count("\n") == 1
    with pytest.raises(OutputError, match="gpuanom score -o"):
        gpuanom.make_references([night])
    gpuanom.score([], night, settings=SETTINGS, device="cpu")
    assert open_night(night).settings == SETTINGS


def test_a_run_that_was_killed_before_its_tables_can_be_opened(scored, tmp_path):
    """The settings of the scores are in the store from the beginning of a run."""
    with Store(tmp_path / NAME, SETTINGS) as store, Store(scored / "night" / NAME, SETTINGS, read_only=True) as other:
        store.rearrange([Placed(copy, copy.exposure.exposure, ranked=True) for copy in other.copies()], (), [other])
    assert open_night(tmp_path).settings == SETTINGS


def test_only_a_store_that_is_written_to_records_how_it_was_scored(night):
    with Store(night / NAME, SETTINGS, read_only=True) as store:
        tables.build(store, SETTINGS.replace(robust_rounds=5), select("cpu"))
    assert open_night(night).settings == SETTINGS


@pytest.mark.parametrize(("changed", "n_checks"), [(False, 1), (True, 2)])
def test_a_store_that_is_scored_again_is_checked_once_unless_it_changes(night, monkeypatch, changed, n_checks):
    checked, recorded = [], pipeline.as_before

    def changed_meanwhile(*arguments):
        found = recorded(*arguments)
        if changed:
            (night / NAME).touch()
        return found

    monkeypatch.setattr(pipeline, "as_before", changed_meanwhile)
    monkeypatch.setattr("gpuanom.store.schema._require_sound", lambda _db, path: checked.append(path))
    gpuanom.score(output=night, device="cpu")
    assert len(checked) == n_checks


def test_the_datasets_of_a_night_are_counted(night):
    with Store(night / NAME, gpuanom.Settings(), read_only=True) as store:
        assert [(band, n) for (_, band), n in store.dataset_sizes().items()] == [("g", 5), ("r", 5)]
        assert store.dataset_keys() == list(store.dataset_sizes())
