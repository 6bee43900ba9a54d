"""Nights that enter a survey and leave it again: the tables are those of a survey that never had the night."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.io import fits

import gpuanom
from gpuanom.cli import main
from gpuanom.errors import OutputError
from gpuanom.files import partial_path
from gpuanom.review.opened import open_night
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build, writing
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, simulations=200)
PLAIN = SETTINGS.replace(statistics=False)
"""Without the statistics of METHOD.md Part II, for tests of ids and paths."""
NIGHTS = (("n1", ()), ("n2", ("n1/exposure_002.fits",)), ("n3", ()))
"""The nights of most tests, and what they hold beside their folders."""
CSV = {"formats": "csv", "device": "cpu"}
"""Tables as CSV, which takes half the time of ECSV."""


def score(inputs, folder, settings=PLAIN):
    return gpuanom.score(inputs, folder, settings=settings, **CSV)


def merge(inputs, folder, say=lambda _line: None, **options):
    gpuanom.merge_nights(inputs, folder, say=say, **CSV, **options)
    return nights.tables(folder)


def forget(survey, what, **options):
    lines = []
    gpuanom.forget_nights(survey, what, device="cpu", say=lines.append, **options)
    return lines


def run(capfd, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out, err


def ids(folder):
    return sorted(file_of(folder))


def file_of(folder):
    """The first file of each exposure."""
    with (folder / "exposures.csv").open() as rows:
        return {row["exposure"]: Path(row["file"]) for row in csv.DictReader(rows)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Three nights, the second with an exposure of the first and a file that is no image."""
    base = tmp_path_factory.mktemp("base")
    for name, numbers in (("n1", (1, 2)), ("n2", (3, 4)), ("n3", (5,))):
        for number in numbers:
            nights.write(base / name, number, ccds=1)
    (base / "n2" / "bad.fits").write_text("no FITS")
    for name, more in NIGHTS:
        score([base / name, *(base / file for file in more)], base / f"o_{name}")
    return base


@pytest.fixture(scope="module")
def with_statistics(base):
    """Two of these nights, scored with the statistics of METHOD.md Part II."""
    for name, more in NIGHTS[:2]:
        score([base / name, *(base / file for file in more)], base / f"s_{name}", SETTINGS)
    return base


@pytest.fixture(scope="module")
def versions(base):
    """One exposure in three versions of the processing, in nights of one exposure more each."""
    for i, version in enumerate(("V4.8", "V4.9", "V10.1")):
        name = f"v{i}"
        nights.write(base / name, 7, ccds=1, PROCTYPE="InstCal", PLVER=version, degrees=10.0 * i)
        nights.write(base / name, 20 + i, ccds=1)
        score(base / name, base / f"o_{name}")
    return base


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


def by_file(folder, seed):
    path = nights.write(folder, seed, name="img0.fits", ccds=1)
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["EXPNUM"]
    return path


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


def moved(tmp_path):
    """A night that was scored on one disk, and whose images lie on another one now."""
    disk1, disk2 = tmp_path / "disk1", tmp_path / "disk2"
    for number in (1, 2):
        nights.write(disk1 / "n", number, ccds=1)
    score(disk1 / "n", tmp_path / "o_n")
    shutil.move(disk1, disk2)
    return disk1, disk2


def test_a_night_that_was_moved_to_another_disk(versions, tmp_path, capfd):
    disk1, disk2 = moved(tmp_path)
    move = ("--relocate", f"{disk1}={disk2}", "--relocate", "/nowhere=/else")
    words = ("merge", tmp_path / "o_n", versions / "o_v0", "-o", tmp_path / "all", "--format", "csv", *move)
    code, _, err = run(capfd, *words)
    assert (code, err) == (0, "no stored path begins with /nowhere: nothing was relocated from there to /else\n")
    score([disk2 / "n", versions / "v0"], tmp_path / "fresh")
    assert nights.tables(tmp_path / "all") == nights.tables(tmp_path / "fresh")
    # Copies that lost their dates were measured again at the new place: one exposure, not two.
    for file in (disk2 / "n").iterdir():
        file.touch()
    score(disk2 / "n", tmp_path / "o_again")
    merge([tmp_path / "o_n", tmp_path / "o_again"], tmp_path / "both", relocate={disk1: disk2})
    assert nights.tables(tmp_path / "both") == nights.tables(tmp_path / "o_again")


@pytest.mark.proof
def test_commands_find_images_on_another_disk(tmp_path, capfd):
    disk1, disk2 = moved(tmp_path)
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 1
    move = ("--relocate", f"{disk1}={disk2}")
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png", *move)[0] == 0
    assert run(capfd, "report", tmp_path / "o_n", "--no-cache", "-q", *move)[0] == 0
    code, out, _ = run(
        capfd, "export", tmp_path / "o_n", "--format", "list", "--rank", "1", "--by", "background", *move
    )
    assert {Path(line).parent for line in out.splitlines()} == {disk2 / "n"}
    code, _, err = run(capfd, "report", tmp_path / "o_n", "--relocate", f"{disk2}={disk1}")
    assert (code, "no stored path begins with" in err) == (2, True)
    # A run keeps the new places, so that no command needs to be told again.
    assert run(capfd, "score", "-q", "-o", tmp_path / "o_n", *move)[0] == 0
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 0


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


def test_the_command_says_what_it_does_and_changes_nothing_in_a_dry_run(base, tmp_path, capfd):
    survey = tmp_path / "survey"
    gpuanom.merge_nights([base / "o_n1", base / "o_n3"], survey, formats=["csv", "ecsv"], device="cpu")
    before = {path: path.read_bytes() for path in survey.iterdir()}
    code, out, err = run(capfd, "forget", survey, base / "o_n3", "2", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"night {base / 'o_n3'}: 1 exposure would be forgotten",
        "exposure 2: 1 exposure would be forgotten",
    ]
    assert {path: path.read_bytes() for path in survey.iterdir()} == before
    code, out, _ = run(capfd, "forget", survey, base / "o_n3")
    assert (code, out.splitlines()[-1]) == (0, f"2 exposures in {survey}")
    assert len((survey / "exposures.csv").read_text().splitlines()) == 3
    for words, why in (
        (
            ("forget", survey, "nothing"),
            "the survey holds no exposure, night or folder nothing (it holds the nights",
        ),
        (("forget", survey, "1", base / "o_n3"), "holds none of the exposures of this night"),
        (("forget", tmp_path, "1"), "there is no such store"),
        (("forget", survey, "1", "--camera", "Other"), "no exposure, night or folder 1"),
        (("forget", survey, ""), "holds an empty name"),
        (("forget", survey, "a" * 300), "no exposure, night or folder a"),
        (("merge", base / "o_n1", "-o", tmp_path / "x", "--relocate", "nothing"), "'nothing' is not OLD=NEW"),
    ):
        code, _, err = run(capfd, *words)
        assert code == 2
        assert why in err
    assert ids(survey) == ["1", "2"]  # nothing is forgotten where one name is wrong


def test_names_that_stand_for_the_same_exposures(base, tmp_path):
    merge([base / "o_n1", base / "o_n3"], tmp_path / "survey")
    lines = forget(tmp_path / "survey", ["5", "5", base / "o_n3", base / "n3"])
    assert lines == [
        "exposure 5: 1 exposure forgotten",
        *(f"{name}: nothing more forgotten, after the names before"
          for name in ("exposure 5", f"night {base / 'o_n3'}", f"what lies in {base / 'n3'}")),
    ]  # fmt: skip
    assert nights.tables(tmp_path / "survey") == nights.tables(base / "o_n1")


@pytest.mark.parametrize("at", ["write", pytest.param("build", marks=pytest.mark.proof)])
def test_an_interrupt_leaves_a_survey_as_it_was_and_the_command_can_be_repeated(base, tmp_path, monkeypatch, at):
    survey, store = tmp_path / "survey", tmp_path / "survey" / NAME

    def interrupted(*_):
        raise KeyboardInterrupt

    def broken(command, *arguments, **options):
        with monkeypatch.context() as patch:
            if at == "build":
                patch.setattr(build, "build", interrupted)
            else:
                patch.setattr(writing, "write_table", interrupted)
            with pytest.raises(KeyboardInterrupt):
                command(*arguments, **options)

    broken(merge, [base / "o_n1"], survey)
    assert not survey.exists() or not [path for path in survey.iterdir() if "sqlite" in path.name]
    # A run that was killed leaves a store that is not whole.
    survey.mkdir(exist_ok=True)
    shutil.copy(base / "o_n3" / NAME, partial_path(store))
    merge([base / "o_n1"], survey)
    assert nights.tables(survey) == nights.tables(base / "o_n1")
    assert sorted(path.name for path in survey.iterdir()) == ["ccds.csv", "exposures.csv", NAME]
    before = rows(survey)
    broken(merge, [base / "o_n3"], survey, add=True)
    assert rows(survey) == before
    merge([base / "o_n3"], survey, add=True)
    before = rows(survey)
    broken(forget, survey, "1")
    assert rows(survey) == before
    forget(survey, ["1", "5"])
    score([base / "n1" / "exposure_002.fits"], tmp_path / "never")
    assert nights.tables(survey) == nights.tables(tmp_path / "never")


def rows(folder):
    """All rows of a store."""
    with closing(sqlite3.connect(folder / NAME)) as db:
        return list(db.iterdump())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE nights SET position = 'x' WHERE night LIKE '%o_v1%'",
        "UPDATE nights SET night = '7'",
        *(pytest.param(f"UPDATE {damage}", marks=pytest.mark.proof) for damage in (
            "versions SET version = '[1]'", "aside_versions SET version = '[[\"x\"], 1, [2], 3]'",
            "aside_exposures SET copy = 'x'", "aside_exposures SET copy = 0", "aside_exposures SET files = '[1]'",
            "aside_exposures SET histograms = 'a'", "aside_exposures SET camera = NULL",
            "aside_exposures SET exposure = x'00ff'",
        )),
        pytest.param("DROP TABLE aside_exposures; CREATE TABLE aside_exposures (copy)", marks=pytest.mark.proof),
    ],
)  # fmt: skip
def test_a_damaged_survey_is_one_line_and_left_as_it_is(versions, tmp_path, capfd, damage):
    survey = tmp_path / "survey"
    merge([versions / "o_v0", versions / "o_v1"], survey)
    with closing(sqlite3.connect(survey / NAME)) as db:
        db.executescript(damage)
    before = rows(survey)
    for words in (("forget", survey, versions / "o_v1"), ("merge", versions / "o_v2", "-o", survey, "--add"),
                  ("merge", survey, "-o", tmp_path / "other")):  # fmt: skip
        code, out, err = run(capfd, *words)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gpuanom: {survey / NAME}: ")
        assert "unexpected" not in err
    assert rows(survey) == before
    assert not (tmp_path / "other" / NAME).exists()


def test_a_survey_that_grows_keeps_the_formats_of_its_tables_and_knows_its_moved_files(base, tmp_path, capfd):
    shutil.copytree(base / "o_n1", tmp_path / "survey")
    move = ("--relocate", f"{base / 'n1'}=/elsewhere")
    move += ("--relocate", "/nowhere=/else")
    code, _, err = run(capfd, "merge", base / "o_n3", "-o", tmp_path / "survey", "--add", *move)
    assert (code, err) == (0, "no stored path begins with /nowhere: nothing was relocated from there to /else\n")
    assert sorted(path.name for path in tmp_path.joinpath("survey").iterdir()) == ["ccds.csv", "exposures.csv", NAME]
    assert {str(path.parent) for path in file_of(tmp_path / "survey").values()} == {"/elsewhere", str(base / "n3")}


def test_an_id_of_two_cameras_needs_the_camera(tmp_path):
    for camera in ("ONE", "TWO"):
        nights.write(tmp_path / "in", 1, name=f"{camera}.fits", camera=camera, ccds=1)
    score(tmp_path / "in", tmp_path / "survey")
    with pytest.raises(OutputError, match=r"several cameras have an exposure 1 \(choose one with --camera: ONE, TWO"):
        forget(tmp_path / "survey", "1")
    forget(tmp_path / "survey", "1", camera="TWO")
    assert file_of(tmp_path / "survey")["1"].name == "ONE.fits"
