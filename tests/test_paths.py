"""Nights measured with relative paths can be opened from every folder, moved with their images, and merged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

import gpuanom
from gpuanom.autoencoder import drawn_stamps
from gpuanom.backends.choice import select
from gpuanom.cli.given_path import STORE
from gpuanom.fits.exposures.grouping import names_apart
from gpuanom.records import Exposure
from gpuanom.review.opened import open_night
from gpuanom.review.quicklook import look
from gpuanom.store.store import NAME
from tests import nights
from tests.commands import run

QUICK = {"background_points": 200, "sigma_points": 300, "gradient_points": 500, "simulations": 200}
SETTINGS = gpuanom.Settings(**QUICK)
FLAGS = ("--background-points", "200", "--sigma-points", "300", "--points", "500", "--device", "cpu")


def by_file(folder, n, seed):
    """A folder of exposures that are identified only by their file names: img0.fits, img1.fits ..."""
    for i in range(n):
        path = nights.write(folder, seed + i, name=f"img{i}.fits", ccds=1)
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["EXPNUM"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two nights with equal file names, each measured from its own folder with relative paths."""
    base = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        for n, seed in (("n1", 50), ("n2", 60)):
            by_file(base / n, 2, seed)
            gpuanom.score(n, f"o_{n}", settings=SETTINGS, device="cpu")
    return base


@pytest.fixture
def moved(base, tmp_path):
    """Both nights with their images, moved to another folder."""
    shutil.copytree(base, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    # The copied nights name the files of the original, which still exist: those are renamed, as if they had been moved.
    for n in ("n1", "n2"):
        (base / n).rename(base / f"{n}.away")
    yield tmp_path / "after"
    for n in ("n1", "n2"):
        (base / f"{n}.away").rename(base / n)


def test_reports_and_lists_from_another_folder(base, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(capfd, "report", base / "o_n1", "--no-cache", "-o", tmp_path / "r.html")[0] == 0
    assert "data:image" in (tmp_path / "r.html").read_text()
    code, out, _ = run(capfd, "export", base / "o_n1", "--format", "list", "--rank", "1", "--by", "background")
    assert code == 0
    assert [Path(line).parent for line in out.splitlines()] == [base / "n1"]
    assert run(capfd, "show", base / "o_n1", "img0", "-o", tmp_path / "p.png")[0] == 0
    assert run(capfd, "export", base / "o_n1", "--format", "regions", "--rank", "1", "-o", tmp_path / "regions")[0] == 0
    found, _ = drawn_stamps.candidates([base / "o_n1"])
    assert all(file.is_file() for candidate in found for file in candidate.exposure.files)


def test_the_tables_name_files_that_can_be_found(base):
    assert sorted(Table.read(base / "o_n1" / "exposures.ecsv")["file"]) == [
        str(base / "n1" / f"img{i}.fits") for i in range(2)
    ]


def test_scoring_again_from_another_folder_measures_nothing_again(base, tmp_path, monkeypatch):
    shutil.copytree(base / "o_n1", tmp_path / "o_n1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    events = gpuanom.Events(plan=lambda new, known: planned.append((new, known)))
    planned = []
    gpuanom.score(base / "n1", tmp_path / "o_n1", settings=SETTINGS, device="cpu", events=events)
    assert planned == [(0, 2)]


def test_failures_of_relative_paths_are_not_forgotten_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    nights.write(tmp_path / "in", 1, ccds=1)
    (tmp_path / "in" / "bad.fits").write_text("no FITS")
    monkeypatch.chdir(tmp_path)
    assert len(gpuanom.score("in", "night", settings=SETTINGS, device="cpu").failed) == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    night = gpuanom.score("../in/exposure_001.fits", "../night", settings=SETTINGS, device="cpu")
    assert [Path(name).name for name, _ in night.failed] == ["bad.fits"]


def test_a_night_that_moved_with_its_images_still_opens(moved):
    """Where the paths lead nowhere, files are looked for beside the store; the next run stores the new paths."""
    found = open_night(moved / "o_n1").found
    assert {file for e in found.values() for file in e.files} == {moved / "n1" / f"img{i}.fits" for i in range(2)}
    gpuanom.score([], moved / "o_n1", device="cpu")
    (moved / "o_n1").rename(moved / "deeper")
    found = open_night(moved / "deeper").found
    assert all(file.is_file() for e in found.values() for file in e.files)
    gpuanom.merge_nights([moved / "deeper", moved / "o_n2"], moved / "both", device="cpu")
    assert all(file.is_file() for e in open_night(moved / "both").found.values() for file in e.files)


def test_nights_of_equal_file_names_merge(base, tmp_path, capfd):
    code, out, err = run(capfd, "merge", base / "o_n1", base / "o_n2", "-o", tmp_path / "both")
    assert code == 0
    assert "\n4 exposures in " in out
    assert "n1-img0, n2-img0" in err
    merged = Table.read(tmp_path / "both" / "exposures.ecsv")
    with_one_run = gpuanom.score([base / "n1", base / "n2"], settings=SETTINGS, device="cpu").tables.exposures
    assert sorted(merged["exposure"]) == sorted(with_one_run["exposure"])
    for n in ("n1", "n2"):
        alone = {row["exposure"]: row for row in Table.read(base / f"o_{n}" / "exposures.ecsv")}
        for row in merged:
            if row["exposure"].startswith(n):
                was = alone[row["exposure"].removeprefix(f"{n}-")]
                assert [row[c] for c in ("file", "n_sources", "n_gradients", "background_angle")] == [
                    was[c] for c in ("file", "n_sources", "n_gradients", "background_angle")
                ]
    planned = []
    events = gpuanom.Events(plan=lambda new, known: planned.append((new, known)))
    gpuanom.score([base / "n1", base / "n2"], tmp_path / "both", settings=SETTINGS, device="cpu", events=events)
    assert planned == [(0, 4)]


def test_an_exposure_of_another_id_keeps_its_points(base, tmp_path):
    """The sources are found again as at the measurement, whatever the exposure's id is, even after two mergings."""
    gpuanom.merge_nights([base / "o_n1", base / "o_n2"], tmp_path / "both", device="cpu")
    gpuanom.merge_nights([tmp_path / "both"], tmp_path / "again", device="cpu")
    alone, again = open_night(base / "o_n1"), open_night(tmp_path / "again")
    exposure = again.found["TESTCAM", "n1-img0"]
    assert (exposure.exposure, exposure.points_id) == ("n1-img0", "img0")
    (before,) = look(alone.found["TESTCAM", "img0"], SETTINGS, select("cpu"), stamps=1000)
    (after,) = look(exposure, SETTINGS, select("cpu"), stamps=1000)
    assert before.sources.stamp_snr.tolist() == after.sources.stamp_snr.tolist() != []


def test_references_and_training_keep_exposures_of_equal_names_apart(base):
    (dataset,) = gpuanom.make_references([base / "o_n1", base / "o_n2"]).datasets
    assert sorted(dataset.exposures) == ["n1-img0", "n1-img1", "n2-img0", "n2-img1"]
    found, _ = drawn_stamps.candidates([base / "o_n1", base / "o_n2"])
    assert [c.exposure.exposure for c in found] == ["n1-img0", "n1-img1", "n2-img0", "n2-img1"]
    assert [c.exposure.points_id for c in found] == ["img0", "img1", "img0", "img1"]


def test_exposures_that_their_headers_name_are_one_exposure(tmp_path):
    """Of two exposures with the same number, start and version, the one of the later night is ranked."""
    for n in ("a", "b"):
        nights.write(tmp_path / n, 7, ccds=1)
        gpuanom.score(tmp_path / n, tmp_path / f"o_{n}", settings=SETTINGS, device="cpu")
    lines = []
    merged = gpuanom.merge_nights(
        [tmp_path / "o_a", tmp_path / "o_b"], tmp_path / "both", device="cpu", say=lines.append
    )
    assert list(merged.exposures["file"]) == [str(tmp_path / "b" / "exposure_007.fits")]
    assert lines[0].startswith("exposure 7 of TESTCAM was measured from different files, and no version says which")


def exposure(name, file, fingerprint, *, band="r", file_named=True):
    return Exposure(name, "C", band, "", 1.0, (Path(file),), (None,), fingerprint, "any", (), file_named)


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (("/a/n1/img.fits", "/a/n2/img.fits"), ("n1-img", "n2-img")),
        (("/a/x/img.fits", "/b/x/img.fits"), ("a-x-img", "b-x-img")),
        # One file that was changed between the two nights: it is one exposure.
        (("/a/x/img.fits", "/a/x/img.fits"), ()),
    ],
)
def test_ids_follow_the_rule_of_one_run(files, ids):
    held = [{("C", "img"): exposure("img", file, str(i))} for i, file in enumerate(files)]
    assert [name for ids_of_night in names_apart(held) for name in ids_of_night.values()] == list(ids)


def test_the_same_exposure_in_two_nights_keeps_its_name():
    same = {("C", "img"): exposure("img", "/a/n1/img.fits", "1")}
    assert names_apart([same, same]) == [{}, {}]


@pytest.mark.parametrize("command", ["score", "watch"])
def test_a_file_that_was_moved_after_it_was_measured_is_found_where_it_is(tmp_path, capfd, command):
    flags = [*FLAGS, *(("--once", "--settle", "0") if command == "watch" else ())]
    for i in (1, 2, 3):
        nights.write(tmp_path / "in", i, ccds=1)
    kept = tmp_path / "in" / "deeper"
    kept.mkdir()
    assert run(capfd, command, tmp_path / "in", "-o", tmp_path / "out", *flags)[0] == 0
    file = next((tmp_path / "in").glob("*2.fits"))
    file.rename(kept / file.name)
    code, _, err = run(capfd, command, tmp_path / "in", "-o", tmp_path / "out", *flags)
    assert code == 0
    assert "1 measured exposure was moved: the new places of the files are kept" in err
    assert "measured again" not in err
    run(capfd, command, tmp_path / "in", "-o", tmp_path / "fresh", *flags)
    for name in ("exposures.ecsv", "ccds.ecsv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_a_picture_of_images_that_were_moved_names_the_option(tmp_path, capfd):
    nights.write(tmp_path / "in", 1, ccds=1)
    run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out", *FLAGS)
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    _, _, err = run(capfd, "show", tmp_path / "out", "1", "-o", tmp_path / "p.png")
    assert "does not exist any more (restore the file, or give --relocate OLD=NEW where its folder was moved)" in err
    assert run(capfd, "show", tmp_path / "out", "1", "-o", tmp_path / "p.png", "--relocate",
               f"{tmp_path / 'in'}={tmp_path / 'elsewhere'}")[0] == 0  # fmt: skip


def test_one_exposure_of_other_settings_is_counted_in_the_singular(tmp_path, capfd):
    for i in (1, 2):
        nights.write(tmp_path / "in", i, ccds=1)
    run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out", *FLAGS)
    (next((tmp_path / "in").glob("*2.fits"))).unlink()
    code, _, err = run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out", "--threshold", "6", *FLAGS)
    assert code == 2
    assert "holds 1 exposure not among the inputs and measured with other settings: threshold" in err


COMMANDS_OF_A_NIGHT = ["report", "show", "tables", "label", "evaluate", "export", "merge", "forget", "history", "train"]


@pytest.mark.parametrize("command", [*COMMANDS_OF_A_NIGHT, "reference"])
@pytest.mark.parametrize("name", ["measurements.sqlite", "exposures.ecsv"])
def test_a_file_of_a_scored_night_in_place_of_its_folder_is_refused_with_the_folder(base, command, name, capfd):
    more = {"show": ("1",), "forget": ("1",), "export": ("--format", "list"), "merge": ("-o", base / "new")}
    more |= dict.fromkeys(("reference", "train"), ("-o", base / "new"))
    code, _, err = run(capfd, command, base / "o_n1" / name, *more.get(command, ()))
    assert code == 2
    assert f"{name} is a file of a scored night: give the folder {base / 'o_n1'}" in err
    assert not (base / "new").exists()


def test_the_name_of_a_nights_file_is_the_stores():
    assert STORE == NAME


def test_a_reference_that_lies_in_a_scored_night_is_a_reference(base, tmp_path, capfd):
    shutil.copytree(base / "o_n1", tmp_path / "night")
    assert run(capfd, "reference", tmp_path / "night", "-o", tmp_path / "night" / "ref.ecsv")[0] == 0
    assert run(capfd, "reference", tmp_path / "night" / "ref.ecsv", "-o", tmp_path / "again.ecsv")[0] == 0


@pytest.mark.parametrize("command", ["score", "explain", "simulate"])
def test_a_folder_that_does_not_exist_any_more_is_told_in_a_line(tmp_path, monkeypatch, capfd, command):
    nights.night(tmp_path / "in", exposures=1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    given = {"score": ("../in", "-o", "../out", "--device", "cpu"), "explain": ("../in",), "simulate": ("new",)}
    code, _, err = run(capfd, command, *given[command])
    assert code in (1, 2)
    assert "unexpected" not in err
    assert command != "score" or "the current folder does not exist any more (change to another folder)" in err
