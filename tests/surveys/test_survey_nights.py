"""Nights that enter a survey and leave it again: the tables are those of a survey that never had the night."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from astropy.io import fits

from gpuanom.errors import OutputError
from gpuanom.review.opened import open_night
from gpuanom.store.store import NAME, Store
from tests import nights
from tests.surveys.common import PLAIN, SETTINGS, by_file, file_of, forget, ids, merge, score


@pytest.mark.parametrize(
    "by", ["night", *(pytest.param(by, marks=pytest.mark.proof) for by in ("folder", "exposures"))]
)
def test_a_survey_without_a_night_is_one_that_never_had_it(with_statistics, tmp_path, by):
    """Compared with a survey that was measured in one run, without the night; also after it is scored again."""
    base, survey = with_statistics, tmp_path / "survey"
    merge([base / "s_n1", base / "s_n2"], survey)
    what = {"night": [base / "s_n2"], "folder": [base / "n2"], "exposures": ["3", "4", base / "n2" / "bad.fits"]}[by]
    lines = forget(survey, what)
    score([base / "n1"], tmp_path / "never", SETTINGS)
    assert nights.tables(survey) == nights.tables(tmp_path / "never")
    if by == "night":
        assert lines == [
            f"night {base / 's_n2'}: 2 exposures and 1 failed file forgotten;"
            " 1 exposure stays, which other nights hold too"
        ]
        for table in survey.glob("*.csv"):
            table.unlink()
        score([], survey, SETTINGS)
        assert nights.tables(survey) == nights.tables(tmp_path / "never")


@pytest.mark.proof
def test_a_night_can_be_added_to_a_survey_and_leave_it_again(base, tmp_path):
    survey = tmp_path / "survey"
    before = merge([base / "o_n1", base / "o_n3"], survey)
    with pytest.raises(OutputError, match="holds a night already"):
        merge([base / "o_n2"], survey)
    after = merge([base / "o_n2"], survey, add=True)
    score([base / "n1", base / "n2", base / "n3"], tmp_path / "whole")
    assert after == nights.tables(tmp_path / "whole")
    forget(survey, base / "o_n2")
    assert nights.tables(survey) == before
    # What was measured into the survey itself stays when a night that holds it too leaves.
    merge([base / "o_n2"], tmp_path / "whole", add=True)
    assert nights.tables(tmp_path / "whole") == after
    forget(tmp_path / "whole", base / "o_n2")
    assert nights.tables(tmp_path / "whole") == after


@pytest.mark.proof
def test_all_nights_can_leave(base, tmp_path):
    merge([base / "o_n1", base / "o_n2"], tmp_path / "survey")
    forget(tmp_path / "survey", base)
    assert ids(tmp_path / "survey") == []
    assert merge([base / "o_n1"], tmp_path / "survey", add=True) == merge([base / "o_n1"], tmp_path / "again")


@pytest.mark.proof
def test_a_night_in_a_merged_night_leaves_and_so_does_the_merged_night(base, tmp_path):
    merge([base / "o_n1", base / "o_n2"], tmp_path / "both")
    merge([tmp_path / "both", base / "o_n3"], tmp_path / "survey")
    shutil.copytree(tmp_path / "survey", tmp_path / "other")
    forget(tmp_path / "survey", base / "o_n2")
    assert nights.tables(tmp_path / "survey") == merge([base / "o_n1", base / "o_n3"], tmp_path / "never")
    forget(tmp_path / "other", tmp_path / "both")
    assert nights.tables(tmp_path / "other") == merge([base / "o_n3"], tmp_path / "third")


def test_paths_of_all_forms_name_one_night(base, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(base / "o_n1")
    monkeypatch.chdir(base)
    lines = []
    found = merge(
        ["o_n1", base / "o_n1", tmp_path / "link", "../" + base.name + "/o_n3"], tmp_path / "all", say=lines.append
    )
    assert len([line for line in lines if "is named twice" in line]) == 2
    assert found == merge([base / "o_n1", base / "o_n3"], tmp_path / "plain")
    monkeypatch.chdir(tmp_path)
    forget("all", base / ".." / base.name / "o_n3")
    assert nights.tables(tmp_path / "all") == merge([base / "o_n1"], tmp_path / "first")


def test_equal_file_names_get_their_folders_and_lose_them_again(tmp_path):
    for n, seed in (("a", 31), ("b", 32)):
        by_file(tmp_path / n, seed)
        score(tmp_path / n, tmp_path / f"o_{n}")
    merge([tmp_path / "o_a", tmp_path / "o_b"], tmp_path / "survey")
    assert ids(tmp_path / "survey") == ["a-img0", "b-img0"]
    # The same files once more, under the ids that they had before: nothing is counted twice.
    merge([tmp_path / "survey", tmp_path / "o_a"], tmp_path / "again")
    assert ids(tmp_path / "again") == ["a-img0", "b-img0"]
    forget(tmp_path / "survey", tmp_path / "o_b")
    assert nights.tables(tmp_path / "survey") == nights.tables(tmp_path / "o_a")


@pytest.mark.proof
def test_a_file_that_is_overwritten_by_the_next_exposure(tmp_path):
    path = by_file(tmp_path / "a", 33)
    score(tmp_path / "a", tmp_path / "o_first")
    path.unlink()
    with fits.open(by_file(tmp_path / "a", 34), mode="update") as hdus:
        hdus[0].header["DATE-OBS"] = "2026-01-03T03:04:05"
    score(tmp_path / "a", tmp_path / "o_second")
    merge([tmp_path / "o_first", tmp_path / "o_second"], tmp_path / "both")
    assert ids(tmp_path / "both") == ["img0-2026-01-02T03_04_05", "img0-2026-01-03T03_04_05"]


def test_numbers_that_begin_again_are_told_apart_by_their_starts(base, tmp_path):
    nights.write(tmp_path / "later", 1, ccds=1, **{"DATE-OBS": "2027-01-02T03:04:05"})
    score(tmp_path / "later", tmp_path / "o_later")
    lines = []
    merge([base / "o_n1", tmp_path / "o_later"], tmp_path / "both", say=lines.append)
    assert ids(tmp_path / "both") == ["1-2026-01-02T03_04_05", "1-2027-01-02T03_04_05", "2"]
    assert lines[-1].startswith(
        "exposure 1 of TESTCAM: exposures with different starts have this id, and are called 1-2026"
    )
    would = forget(tmp_path / "both", tmp_path / "o_later", dry_run=True)
    lines = forget(tmp_path / "both", tmp_path / "o_later")
    assert lines[-1] == "exposure 1-2026-01-02T03_04_05 of TESTCAM is called 1 again"
    assert [w.replace("would be", "is") for w in would] == [
        w.replace("exposure forgotten", "exposure is forgotten") for w in lines
    ]
    assert nights.tables(tmp_path / "both") == nights.tables(base / "o_n1")


def test_the_newest_version_is_taken_and_the_older_ones_come_back(versions, tmp_path):
    lines = []
    merge([versions / f"o_v{i}" for i in (2, 0, 1)], tmp_path / "survey", say=lines.append)
    assert lines == ["exposure 7 of TESTCAM: version V10.1 is ranked, and set aside: V4.8, V4.9"]
    assert file_of(tmp_path / "survey")["7"].parent.name == "v2"
    # What is set aside goes along when the survey is merged again.
    merge([tmp_path / "survey"], tmp_path / "again")
    for survey in ("survey", "again"):
        lines = forget(tmp_path / survey, versions / "o_v2")
        assert lines[-1] == "exposure 7 of TESTCAM: version V4.9 is ranked again"
        assert file_of(tmp_path / survey)["7"].parent.name == "v1"
    assert nights.tables(tmp_path / "survey") == nights.tables(tmp_path / "again")
    assert nights.tables(tmp_path / "survey") == merge([versions / "o_v0", versions / "o_v1"], tmp_path / "never")
    forget(tmp_path / "survey", [versions / "o_v1"])
    assert nights.tables(tmp_path / "survey") == nights.tables(versions / "o_v0")


@pytest.mark.proof
def test_versions_can_be_kept_apart(versions, tmp_path):
    lines = []
    merge([versions / f"o_v{i}" for i in range(3)], tmp_path / "survey", versions="apart", say=lines.append)
    assert ids(tmp_path / "survey") == ["20", "21", "22", "7-V10.1", "7-V4.8", "7-V4.9"]
    assert lines == ["exposure 7 of TESTCAM: the versions are kept apart as 7-V4.8, 7-V4.9, 7-V10.1"]
    forget(tmp_path / "survey", "7-V4.9")
    assert ids(tmp_path / "survey") == ["20", "21", "22", "7-V10.1", "7-V4.8"]
    forget(tmp_path / "survey", [versions / "o_v2", versions / "o_v1"])
    assert ids(tmp_path / "survey") == ["20", "7"]
    one = open_night(tmp_path / "survey")
    assert one.settings.versions == "apart"
    assert one.found["TESTCAM", "7"].points_id == "7"


def test_stores_that_do_not_know_their_versions_ask_the_files(versions, tmp_path):
    for i in range(2):
        shutil.copytree(versions / f"o_v{i}", tmp_path / f"o_v{i}")
        with Store(tmp_path / f"o_v{i}" / NAME, PLAIN) as store, store._transaction() as db:
            db.execute("DROP TABLE versions")
    lines = []
    merge([tmp_path / "o_v1", tmp_path / "o_v0"], tmp_path / "survey", say=lines.append)
    assert lines == ["exposure 7 of TESTCAM: version V4.9 is ranked, and set aside: V4.8"]


@pytest.mark.proof
def test_failures_of_the_other_night_come_back(base, tmp_path):
    bad = base / "n2" / "bad.fits"
    score([base / "n3", bad], tmp_path / "o_x")
    with Store(tmp_path / "o_x" / NAME, PLAIN) as store, store._transaction() as db:
        db.execute("UPDATE failures SET reason = 'another reason'")
    merge([base / "o_n2", tmp_path / "o_x"], tmp_path / "survey")
    with Store(tmp_path / "survey" / NAME, PLAIN) as store:
        assert [f.reason for f in store.failures()] == ["another reason"]
    forget(tmp_path / "survey", tmp_path / "o_x")
    assert nights.tables(tmp_path / "survey") == merge([base / "o_n2"], tmp_path / "never")
    # What failed in another way since then is no matter of the nights any more.
    with Store(tmp_path / "survey" / NAME, PLAIN) as store:
        (failure,) = store.failures()
        store.add_failure(replace(failure, reason="a new reason"))
    forget(tmp_path / "survey", base / "o_n2")
    with Store(tmp_path / "survey" / NAME, PLAIN) as store:
        assert [f.reason for f in store.failures()] == ["a new reason"]


@pytest.mark.proof
def test_exposures_measured_again_leave_nothing_behind(versions, tmp_path):
    merge([versions / "o_v0", versions / "o_v1"], tmp_path / "survey")
    score([versions / "v2"], tmp_path / "survey")
    forget(tmp_path / "survey", versions / "o_v1")
    with Store(tmp_path / "survey" / NAME, PLAIN, read_only=True) as store:
        places = {(c.number, c.exposure.exposure): c.exposure.files[0].parent.name for c in store.copies()}
        assert places == {(0, "7"): "v2", (0, "20"): "v0", (0, "22"): "v2"}


@pytest.mark.proof
def test_a_scored_night_that_was_never_merged_names_its_exposures(base, tmp_path):
    score([base / "n1", base / "n3"], tmp_path / "survey")
    forget(tmp_path / "survey", base / "o_n3")
    assert nights.tables(tmp_path / "survey") == nights.tables(base / "o_n1")
