"""Nights that enter a survey and leave it again: the tables are those of a survey that never had the night."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

import gpuanom
from gpuanom.cli import main
from gpuanom.errors import OutputError
from gpuanom.nights.settling import settled
from gpuanom.records import Exposure
from gpuanom.review.opened import open_night
from gpuanom.store.set_aside import Copy, Membership
from gpuanom.store.store import NAME, Store
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, simulations=200)


def score(inputs, folder):
    return gpuanom.score(inputs, folder, settings=SETTINGS, device="cpu")


def merge(inputs, folder, **options):
    gpuanom.merge_nights(inputs, folder, device="cpu", say=options.pop("say", lambda _line: None), **options)
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
    return sorted(map(str, Table.read(folder / "exposures.ecsv")["exposure"]))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Three nights, the second with an exposure of the first and a file that is no image."""
    base = tmp_path_factory.mktemp("base")
    for name, numbers in (("n1", (1, 2)), ("n2", (3, 4)), ("n3", (5,))):
        for number in numbers:
            nights.write(base / name, number, ccds=1)
    (base / "n2" / "bad.fits").write_text("no FITS")
    for name, more in (("n1", []), ("n2", [base / "n1" / "exposure_002.fits"]), ("n3", [])):
        score([base / name, *more], base / f"o_{name}")
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


@pytest.mark.parametrize("by", ["night", "folder", "exposures"])
def test_a_survey_without_a_night_is_one_that_never_had_it(base, tmp_path, by):
    """Compared with a survey that was measured in one run, without the night."""
    merge([base / "o_n1", base / "o_n2", base / "o_n3"], tmp_path / "survey")
    what = {"night": [base / "o_n2"], "folder": [base / "n2"], "exposures": ["3", "4", base / "n2" / "bad.fits"]}[by]
    lines = forget(tmp_path / "survey", what)
    score([base / "n1", base / "n3"], tmp_path / "never")
    assert nights.tables(tmp_path / "survey") == nights.tables(tmp_path / "never")
    if by == "night":
        assert lines == [
            f"night {base / 'o_n2'}: 2 exposures and 1 failed file forgotten; 1 exposure stays, which other nights hold too"
        ]


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


def test_all_nights_can_leave(base, tmp_path):
    merge([base / "o_n1", base / "o_n2"], tmp_path / "survey")
    forget(tmp_path / "survey", base)
    assert ids(tmp_path / "survey") == []
    assert merge([base / "o_n1"], tmp_path / "survey", add=True) == merge([base / "o_n1"], tmp_path / "again")


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
    forget("all", [f"../{base.name}/../{base.name}/o_n3"] if base.parent == tmp_path.parent else base / "o_n3")
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


def test_a_file_that_is_overwritten_by_the_next_exposure(tmp_path):
    path = by_file(tmp_path / "a", 33)
    score(tmp_path / "a", tmp_path / "o_first")
    path.unlink()
    with fits.open(by_file(tmp_path / "a", 34), mode="update") as hdus:
        hdus[0].header["DATE-OBS"] = "2026-01-03T03:04:05"
    score(tmp_path / "a", tmp_path / "o_second")
    merge([tmp_path / "o_first", tmp_path / "o_second"], tmp_path / "both")
    assert ids(tmp_path / "both") == ["img0-2026-01-02T03-04-05", "img0-2026-01-03T03-04-05"]


def test_numbers_that_begin_again_are_told_apart_by_their_starts(base, tmp_path):
    nights.write(tmp_path / "later", 1, ccds=1, **{"DATE-OBS": "2027-01-02T03:04:05"})
    score(tmp_path / "later", tmp_path / "o_later")
    lines = []
    merge([base / "o_n1", tmp_path / "o_later"], tmp_path / "both", say=lines.append)
    score([base / "n1", tmp_path / "later"], tmp_path / "one_run")
    assert ids(tmp_path / "both") == ids(tmp_path / "one_run")
    assert lines[0].startswith("exposure 1 of TESTCAM is another one in each night, by its start: kept as 1-2026")
    forget(tmp_path / "both", tmp_path / "o_later")
    assert nights.tables(tmp_path / "both") == nights.tables(base / "o_n1")


def test_the_newest_version_is_taken_and_the_older_ones_come_back(versions, tmp_path):
    given = [versions / f"o_v{i}" for i in (2, 0, 1)]
    lines = []
    merge(given, tmp_path / "survey", say=lines.append)
    assert lines == ["exposure 7 of TESTCAM: version V10.1 is taken, V4.8, V4.9 set aside"]
    file = dict(
        zip(*(Table.read(tmp_path / "survey" / "exposures.ecsv")[c] for c in ("exposure", "file")), strict=True)
    )
    assert Path(file["7"]).parent.name == "v2"
    # What is set aside goes along when the survey is merged again.
    merge([tmp_path / "survey"], tmp_path / "again")
    for survey in ("survey", "again"):
        forget(tmp_path / survey, versions / "o_v2")
        score([versions / "v0", versions / "v1"], tmp_path / f"never_{survey}")
        remarks = Table.read(tmp_path / f"never_{survey}" / "exposures.ecsv")["note"]
        assert any("V4.8 left out" in str(note) for note in remarks)  # one run tells it; the stores did not know
        assert nights.tables(tmp_path / survey) == merge(
            [versions / "o_v0", versions / "o_v1"], tmp_path / f"m_{survey}"
        )
    forget(tmp_path / "survey", [versions / "o_v1"])
    assert nights.tables(tmp_path / "survey") == nights.tables(versions / "o_v0")


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


def test_a_night_that_was_moved_to_another_disk(base, tmp_path, capfd):
    disk1, disk2 = tmp_path / "disk1", tmp_path / "disk2"
    for number in (1, 2):
        nights.write(disk1 / "n", number, ccds=1)
    score(disk1 / "n", tmp_path / "o_n")
    shutil.move(disk1, disk2)
    code, _, err = run(
        capfd, "merge", tmp_path / "o_n", base / "o_n3", "-o", tmp_path / "all", "--relocate", f"{disk1}={disk2}"
    )
    assert (code, err) == (0, "")
    score([disk2 / "n", base / "n3"], tmp_path / "fresh")
    assert nights.tables(tmp_path / "all") == nights.tables(tmp_path / "fresh")
    # The store of the night itself still names the old disk, until a run says otherwise.
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 1
    move = ("--relocate", f"{disk1}={disk2}")
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png", *move)[0] == 0
    assert run(capfd, "report", tmp_path / "o_n", "--no-cache", "-q", *move)[0] == 0
    code, out, _ = run(capfd, "export", tmp_path / "o_n", "--format", "list", *move)
    assert out.splitlines() == [str(disk2 / "n" / f"exposure_00{i}.fits") for i in (1, 2)]
    code, _, err = run(capfd, "report", tmp_path / "o_n", "--relocate", f"{disk2}={disk1}")
    assert (code, "no stored path begins with" in err) == (2, True)
    assert run(capfd, "score", "-q", "-o", tmp_path / "o_n", *move)[0] == 0
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 0
    # Copies that lost their dates were measured again at the new place: one exposure, not two.
    score(disk2 / "n", tmp_path / "before")
    for file in (disk2 / "n").iterdir():
        file.touch()
    score(disk2 / "n", tmp_path / "o_again")
    merge([tmp_path / "before", tmp_path / "o_again"], tmp_path / "both")
    assert nights.tables(tmp_path / "both") == nights.tables(tmp_path / "o_again")


def test_failures_of_the_other_night_come_back(base, tmp_path):
    bad = base / "n2" / "bad.fits"
    score([base / "n3", bad], tmp_path / "o_x")
    with Store(tmp_path / "o_x" / NAME, SETTINGS) as store, store._transaction() as db:
        db.execute("UPDATE failures SET reason = 'another reason'")
    merge([base / "o_n2", tmp_path / "o_x"], tmp_path / "survey")
    with Store(tmp_path / "survey" / NAME, SETTINGS) as store:
        assert [f.reason for f in store.failures()] == ["another reason"]
    forget(tmp_path / "survey", tmp_path / "o_x")
    assert nights.tables(tmp_path / "survey") == merge([base / "o_n2"], tmp_path / "never")


def test_exposures_measured_again_leave_nothing_behind(versions, tmp_path):
    merge([versions / "o_v0", versions / "o_v1"], tmp_path / "survey")
    score([versions / "v2"], tmp_path / "survey")
    forget(tmp_path / "survey", versions / "o_v1")
    with Store(tmp_path / "survey" / NAME, SETTINGS, read_only=True) as store:
        assert {(c.number, c.exposure.exposure) for c in store.copies()} == {(0, "7"), (0, "20"), (0, "22")}


def test_a_scored_night_that_was_never_merged_names_its_exposures(base, tmp_path):
    score([base / "n1", base / "n3"], tmp_path / "survey")
    forget(tmp_path / "survey", base / "o_n3")
    assert nights.tables(tmp_path / "survey") == nights.tables(base / "o_n1")


def test_the_command_says_what_it_does_and_changes_nothing_in_a_dry_run(base, tmp_path, capfd):
    survey = tmp_path / "survey"
    merge([base / "o_n1", base / "o_n3"], survey, formats=["csv", "ecsv"])
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
            "no exposure, night or folder of this survey is called nothing (it holds the nights",
        ),
        (("forget", survey, "1", base / "o_n3"), "holds none of the exposures of this night"),
        (("forget", tmp_path, "1"), "there is no such store"),
        (("forget", survey, "1", "--camera", "Other"), "no exposure, night or folder"),
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
    with pytest.raises(OutputError, match=r"exposure 1 is one of several cameras \(--camera ONE, TWO"):
        forget(tmp_path / "survey", "1")
    forget(tmp_path / "survey", "1", camera="TWO")
    assert list(Table.read(tmp_path / "survey" / "exposures.ecsv")["camera"]) == ["ONE"]


def copy(name, position, fingerprint="f", *, date="", version=(), label="", file_named=False, file=None, band="r"):
    file = file or f"/data/{position}/{name}.fits"
    version = (tuple(version), "", (), "")
    e = Exposure(name, "C", band, date, 30.0, (Path(file),), (None,), fingerprint, "any", (), file_named,
                 version=version, version_label=label)  # fmt: skip
    found = Copy(None, 0, e, (Membership(position, (f"/o{position}",)),))
    object.__setattr__(found, "content", lambda only_pixels=False: fingerprint.encode())
    object.__setattr__(found, "n_measured", lambda: 1)
    object.__setattr__(found, "has", lambda _table: True)
    return found


def placed(copies, versions="newest"):
    found, _ = settled(copies, versions, lambda e: (e.version, e.version_label))
    assert sorted(p.copy.nights for p in found) == sorted(c.nights for c in copies)
    ranked = [p.exposure for p in found if p.ranked]
    assert len(set(ranked)) == len(ranked)
    return {p.copy.nights[0].position: p.exposure if p.ranked else f"({p.exposure})" for p in found}


@pytest.mark.parametrize(
    ("case", "ranked", "apart"),
    [
        ("a number that begins again", {0: "1-2026-01-01T00-00-00", 1: "1-2026-02-01T00-00-00"}, None),
        ("versions", {0: "(1)", 1: "1"}, {0: "1-V1", 1: "1-V2"}),
        ("the newer version first", {0: "1", 1: "(1)"}, {0: "1-V2", 1: "1-V1"}),
        ("no version", {0: "(1)", 1: "1"}, {0: "0-1", 1: "1-1"}),
        ("one of them without a version", {0: "1", 1: "(1)"}, {0: "1-V1", 1: "1"}),
        ("named by file and by header", {0: "1", 1: "1-1"}, None),
        ("an id that is taken", {0: "0-i", 1: "1-i", 2: "0-i-2"}, None),
    ],
)  # fmt: skip
def test_each_case_has_an_id_and_none_is_refused(case, ranked, apart):
    copies = {
        "a number that begins again": [copy("1", 0, "a", date="2026-01-01T00:00:00"), copy("1", 1, "b", date="2026-02-01T00:00:00")],
        "versions": [copy("1", 0, "a", version=[1], label="V1"), copy("1", 1, "b", version=[2], label="V2")],
        "the newer version first": [copy("1", 0, "a", version=[2], label="V2"), copy("1", 1, "b", version=[1], label="V1")],
        "no version": [copy("1", 0, "a"), copy("1", 1, "b")],
        "one of them without a version": [copy("1", 0, "a", version=[1], label="V1"), copy("1", 1, "b")],
        "named by file and by header": [copy("1", 0, "a"), copy("1", 1, "b", file_named=True)],
        "an id that is taken": [copy("i", 0, "a", file_named=True), copy("i", 1, "b", file_named=True), copy("0-i", 2, "c")],
    }[case]  # fmt: skip
    if case == "an id that is taken":
        found = placed(copies)
        assert found[2] == "0-i"
        assert len(set(found.values())) == 3
        return
    assert placed(copies) == ranked
    assert placed(copies, "apart") == (apart or ranked)
    assert placed(copies[:1]) == {0: "1"}
