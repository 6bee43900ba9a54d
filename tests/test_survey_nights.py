"""Nights that enter a survey and leave it again: the tables are those of a survey that never had the night."""

from __future__ import annotations

import csv
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.cli import main
from gpuanom.errors import OutputError
from gpuanom.nights.forget import taken_out
from gpuanom.nights.gathering import gather, resettle
from gpuanom.nights.settling import settled
from gpuanom.records import CcdMeasurement, Exposure, Failure, Measurement
from gpuanom.review.opened import open_night
from gpuanom.store.recorded_settings import ScoringRecord
from gpuanom.store.set_aside import Copy, Membership
from gpuanom.store.store import NAME, Store
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, simulations=200)
PLAIN = SETTINGS.replace(statistics=False)
"""Without the statistics of METHOD.md Part II, for what depends on ids and paths alone."""
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
    for name, more in (("n1", []), ("n2", [base / "n1" / "exposure_002.fits"]), ("n3", [])):
        score([base / name, *more], base / f"o_{name}", SETTINGS)
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
def test_a_survey_without_a_night_is_one_that_never_had_it(base, tmp_path, by):
    """Compared with a survey that was measured in one run, without the night."""
    merge([base / "o_n1", base / "o_n2", base / "o_n3"], tmp_path / "survey")
    what = {"night": [base / "o_n2"], "folder": [base / "n2"], "exposures": ["3", "4", base / "n2" / "bad.fits"]}[by]
    lines = forget(tmp_path / "survey", what)
    score([base / "n1", base / "n3"], tmp_path / "never", SETTINGS)
    assert nights.tables(tmp_path / "survey") == nights.tables(tmp_path / "never")
    if by == "night":
        assert lines == [
            f"night {base / 'o_n2'}: 2 exposures and 1 failed file forgotten;"
            " 1 exposure stays, which other nights hold too"
        ]


@pytest.mark.proof
def test_a_night_can_be_added_to_a_survey_and_leave_it_again(base, tmp_path):
    survey = tmp_path / "survey"
    before = merge([base / "o_n1", base / "o_n3"], survey)
    with pytest.raises(OutputError, match="holds a night already"):
        merge([base / "o_n2"], survey)
    after = merge([base / "o_n2"], survey, add=True)
    score([base / "n1", base / "n2", base / "n3"], tmp_path / "whole", SETTINGS)
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
    score(tmp_path / "later", tmp_path / "o_later", SETTINGS)
    lines = []
    merge([base / "o_n1", tmp_path / "o_later"], tmp_path / "both", say=lines.append)
    assert ids(tmp_path / "both") == ["1-2026-01-02T03_04_05", "1-2027-01-02T03_04_05", "2"]
    assert lines[-1].startswith("exposure 1 of TESTCAM is another one in each night, by its start: kept as 1-2026")
    forget(tmp_path / "both", tmp_path / "o_later")
    assert nights.tables(tmp_path / "both") == nights.tables(base / "o_n1")


def test_the_newest_version_is_taken_and_the_older_ones_come_back(versions, tmp_path):
    lines = []
    merge([versions / f"o_v{i}" for i in (2, 0, 1)], tmp_path / "survey", say=lines.append)
    assert lines == ["exposure 7 of TESTCAM: version V10.1 is taken, V4.8, V4.9 set aside"]
    assert file_of(tmp_path / "survey")["7"].parent.name == "v2"
    # What is set aside goes along when the survey is merged again.
    merge([tmp_path / "survey"], tmp_path / "again")
    for survey in ("survey", "again"):
        forget(tmp_path / survey, versions / "o_v2")
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
    assert lines == ["exposure 7 of TESTCAM: its versions are kept apart as 7-V4.8, 7-V4.9, 7-V10.1"]
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
        with Store(tmp_path / f"o_v{i}" / NAME, SETTINGS) as store, store._transaction() as db:
            db.execute("DROP TABLE versions")
    lines = []
    merge([tmp_path / "o_v1", tmp_path / "o_v0"], tmp_path / "survey", say=lines.append)
    assert lines == ["exposure 7 of TESTCAM: version V4.9 is taken, V4.8 set aside"]


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
    score([base / "n3", bad], tmp_path / "o_x", SETTINGS)
    with Store(tmp_path / "o_x" / NAME, SETTINGS) as store, store._transaction() as db:
        db.execute("UPDATE failures SET reason = 'another reason'")
    merge([base / "o_n2", tmp_path / "o_x"], tmp_path / "survey")
    with Store(tmp_path / "survey" / NAME, SETTINGS) as store:
        assert [f.reason for f in store.failures()] == ["another reason"]
    forget(tmp_path / "survey", tmp_path / "o_x")
    assert nights.tables(tmp_path / "survey") == merge([base / "o_n2"], tmp_path / "never")
    # What failed in another way since then is no matter of the nights any more.
    with Store(tmp_path / "survey" / NAME, SETTINGS) as store:
        (failure,) = store.failures()
        store.add_failure(replace(failure, reason="a new reason"))
    forget(tmp_path / "survey", base / "o_n2")
    with Store(tmp_path / "survey" / NAME, SETTINGS) as store:
        assert [f.reason for f in store.failures()] == ["a new reason"]


@pytest.mark.proof
def test_exposures_measured_again_leave_nothing_behind(versions, tmp_path):
    merge([versions / "o_v0", versions / "o_v1"], tmp_path / "survey")
    score([versions / "v2"], tmp_path / "survey")
    forget(tmp_path / "survey", versions / "o_v1")
    with Store(tmp_path / "survey" / NAME, SETTINGS, read_only=True) as store:
        places = {(c.number, c.exposure.exposure): c.exposure.files[0].parent.name for c in store.copies()}
        assert places == {(0, "7"): "v2", (0, "20"): "v0", (0, "22"): "v2"}


@pytest.mark.proof
def test_a_scored_night_that_was_never_merged_names_its_exposures(base, tmp_path):
    score([base / "n1", base / "n3"], tmp_path / "survey", SETTINGS)
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


def test_an_id_of_two_cameras_needs_the_camera(tmp_path):
    for camera in ("ONE", "TWO"):
        nights.write(tmp_path / "in", 1, name=f"{camera}.fits", camera=camera, ccds=1)
    score(tmp_path / "in", tmp_path / "survey")
    with pytest.raises(OutputError, match=r"several cameras have an exposure 1 \(choose one with --camera: ONE, TWO"):
        forget(tmp_path / "survey", "1")
    forget(tmp_path / "survey", "1", camera="TWO")
    assert file_of(tmp_path / "survey")["1"].name == "ONE.fits"


@dataclass(frozen=True, eq=False)
class Drawn(Copy):
    """A copy whose pixels are those of its fingerprint."""

    def content(self, *, only_pixels=False):
        return f"{self.exposure.fingerprint} {only_pixels}".encode()

    def rows(self, _table):
        return []


def copy(name, position, fingerprint, label="", *, date="", by_file=False):
    file = Path(f"/data/{position}/{name}.fits")
    version = (tuple(map(int, label[1:])), "", (), "")
    e = Exposure(name, "C", "r", date, 30.0, (file,), (None,), fingerprint, "any", (), by_file)
    return Drawn(None, 0, replace(e, version=version, version_label=label), (Membership(position, (f"/o{position}",)),))


def placed(copies, versions="newest"):
    """The ids of copies by the positions of their nights; in brackets, if they are set aside."""
    found, _ = settled(copies, versions, lambda e: (e.version, e.version_label))
    ranked = [p.exposure for p in found if p.ranked]
    assert len(set(ranked)) == len(ranked)
    return {p.copy.nights[0].position: p.exposure if p.ranked else f"({p.exposure})" for p in found}


EARLY, LATE = "2026-01-01T00:00:00", "2026-02-01T00:00:00"
CASES = [
    # the copies; their ids with the newest version ranked, and with versions kept apart
    ([copy("1", 0, "a", date=EARLY), copy("1", 1, "b", date=LATE)], {0: f"1-{EARLY}", 1: f"1-{LATE}"}, None),
    ([copy("1", 0, "a", "V1"), copy("1", 1, "b", "V2")], {0: "(1)", 1: "1"}, {0: "1-V1", 1: "1-V2"}),
    ([copy("1", 0, "a", "V2"), copy("1", 1, "b", "V1")], {0: "1", 1: "(1)"}, {0: "1-V2", 1: "1-V1"}),
    ([copy("1", 0, "a"), copy("1", 1, "b")], {0: "(1)", 1: "1"}, {0: "0-1", 1: "1-1"}),
    ([copy("1", 0, "a", "V1"), copy("1", 1, "b")], {0: "1", 1: "(1)"}, {0: "1-V1", 1: "1"}),
    ([copy("1", 0, "a"), copy("1", 1, "b", by_file=True)], {0: "1", 1: "1-1"}, None),
    ([copy("1", 0, "a", by_file=True), copy("1", 1, "a", by_file=True)], {0: "1"}, None),
    (
        [copy("1", 0, "a", by_file=True), copy("1", 1, "b", by_file=True), copy("0-1", 2, "c")],
        {0: "0-1-r", 1: "1-1-r", 2: "0-1"},
        None,
    ),
]


@pytest.mark.parametrize(("copies", "newest", "apart"), CASES)
def test_each_case_has_an_id_and_none_is_refused(copies, newest, apart):
    newest = {position: name.replace(":", "_") for position, name in newest.items()}
    assert placed(copies) == placed(copies[::-1]) == newest
    assert placed(copies, "apart") == (apart or newest)
    assert placed(copies[:1]) == {0: "1"}


def drawn_night(path, rng):
    """A store of a few exposures of few ids, so that nights hold the same ones, versions of them, and other ones."""
    with Store(path, PLAIN) as store:
        for name in rng.choice(["1", "2", "img0", "img1"], size=3, replace=False):
            by_file = str(name).startswith("img")
            place, version = rng.choice(["/a", "/b"]), int(rng.integers(0, 3))
            start = rng.choice(["2026-01-01T00:00:00", "2026-02-01T00:00:00"]) if not by_file else ""
            label = f"V{version}" if version else ""
            e = Exposure(
                str(name), "C", "r", str(start), 30.0, (Path(f"{place}/{name}.fits"),), (None,),
                f"{name} {place} {start} {version}", "any", (), by_file,
                version=((version,) if version else (), "", (), ""), version_label=label,
            )  # fmt: skip
            counts = np.random.default_rng(len(e.fingerprint) + 7 * version).integers(0, 9, (4, PLAIN.bins))
            ccd = CcdMeasurement("S1", "ok", "", np.zeros(6), 1.0, 1.0, 9, 9, 9, 0, 9, 9, 0.0, 0.0, counts,
                                 np.zeros(4), np.zeros(4), None, (100, 100))  # fmt: skip
            store.add(Measurement(e, (ccd,), PLAIN.fingerprint()))
        if rng.random() < 0.5:
            store.add_failure(Failure("/a/bad.fits", "", "", "bad.fits", "corrupt", f"reason {rng.integers(3)}"))


def all_rows(path):
    """Everything that a store says of its exposures and failures, without the numbers of what is set aside."""
    with Store(path, PLAIN, read_only=True) as store:
        copies = store.copies()
        rows = [(bool(c.number), c.exposure, {n[1] for n in c.nights}, c.content()) for c in copies]
        return sorted(rows, key=repr), store.failures()


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(6, 60))])
def test_whatever_the_nights_hold_one_that_leaves_leaves_no_trace(tmp_path, seed):
    """The whole store is compared with one that the other nights were merged into, in one step or one after another."""
    rng = np.random.default_rng(seed)
    folders = [tmp_path / f"o{i}" for i in range(4)]
    for folder in folders:
        folder.mkdir()
        drawn_night(folder / NAME, rng)
    versions = str(rng.choice(["newest", "apart"]))

    def gathered(name, given):
        path = tmp_path / name / NAME
        path.parent.mkdir()
        for start in range(0, len(given), 2):
            with ExitStack() as opened, Store(path, PLAIN) as merged:
                stores = [
                    (f, opened.enter_context(Store(f / NAME, PLAIN, read_only=True))) for f in given[start : start + 2]
                ]
                gather(merged, stores, PLAIN.replace(versions=versions), lambda _line: None)
                merged.record_scoring(ScoringRecord(PLAIN.replace(versions=versions).scoring()))
        return path

    survey = gathered("survey", folders)
    gone = rng.choice(4, size=int(rng.integers(1, 4)), replace=False)
    forget_nights = [folders[i] for i in gone]
    with Store(survey, PLAIN) as store:
        left = taken_out(store, survey.parent, forget_nights, None, lambda _line: None, "forgotten")
        resettle(store, left.copies, left.failed, (), PLAIN.replace(versions=versions), lambda _line: None)
    rest = [folder for folder in folders if folder not in forget_nights]
    assert all_rows(survey) == all_rows(gathered("never", rest))
