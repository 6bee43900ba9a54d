"""A night from end to end: resumed runs, changed files and settings, references, kills; the tables byte for byte."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

import gpuanom
from gpuanom.store.store import NAME
from tests import nights

QUICK_VALUES = {"gradient_points": 500, "sigma_points": 1000, "simulations": 200}
QUICK = gpuanom.Settings(**QUICK_VALUES)


class Said(gpuanom.Events):
    """Events that remember every message and every measured exposure."""

    def __init__(self):
        self.lines, self.measured = [], []
        super().__init__(say=self.lines.append, done=lambda e, _m, _s: self.measured.append(e.exposure))


def score(folder, out, **options):
    said = Said()
    night = gpuanom.score([folder], out, **{"settings": QUICK, "events": said, **options})
    return night, said


@pytest.fixture
def small(tmp_path):
    nights.night(tmp_path / "in", exposures=6, bands=("g", "r"), odd=3)
    return tmp_path


def test_tables_have_what_is_promised(small):
    night, _ = score(small / "in", small / "out")
    wanted = "exposure camera band date_obs exptime file n_ccd n_ccd_used n_sources n_without_orientation n_isophote"
    wanted = [*wanted.split(), "n_gradients", "worst_ccd", "status"]
    for kind in ("source", "isophote", "background", "flat_background"):
        wanted += [f"{kind}_{n}" for n in ["kl", "floor", "z", "p", "rank", "deviation", "angle", "alignment"]]
    exposures, ccds = night.tables
    assert set(wanted) <= set(exposures.colnames)
    wanted = "exposure ccd status sky sigma n_sources masked_fraction saturated_fraction n_gradients background_kl"
    wanted += " background_z background_angle background_alignment source_angle source_alignment"
    assert set(wanted.split()) <= set(ccds.colnames)
    assert all(column.description for table in night.tables for column in table.columns.values())
    assert str(exposures["source_angle"].unit) == "deg"
    assert str(exposures["exptime"].unit) == "s"
    assert exposures["exposure"][0] == "3"
    assert len(exposures) == 6
    assert len(ccds) == 12
    for band in ("g", "r"):
        ranks = exposures["source_rank"][exposures["band"] == band]
        assert sorted(ranks) == [1, 2, 3]


def test_order_of_inputs_and_threads_change_nothing(small):
    files = sorted((small / "in").iterdir())
    reference = None
    for i, (paths, threads) in enumerate([(files, 1), (files[::-1], 3), ([small / "in", *files[2:4]], 2)]):
        gpuanom.score(paths, small / f"out{i}", settings=QUICK, threads=threads)
        reference = reference or nights.tables(small / f"out{i}")
        assert nights.tables(small / f"out{i}") == reference


def test_resume_measures_only_what_is_new(small):
    later = small / "in" / "exposure_006.fits"
    later.rename(small / "later.fits")
    _, said = score(small / "in", small / "out")
    assert len(said.measured) == 5
    (small / "later.fits").rename(later)
    _, said = score(small / "in", small / "out")
    assert said.measured == ["6"]
    _, said = score(small / "in", small / "out")
    assert said.measured == []
    score(small / "in", small / "whole")
    assert nights.tables(small / "out") == nights.tables(small / "whole")


def test_changed_file_is_measured_again_and_said(small):
    score(small / "in", small / "out")
    path = small / "in" / "exposure_002.fits"
    path.unlink()
    nights.write(small / "in", 2, band="g", degrees=70.0)
    night, said = score(small / "in", small / "out")
    assert said.measured == ["2"]
    assert any("exposure 2: measured again, the files changed" in line for line in said.lines)
    assert len(night.tables.exposures) == 6


def test_changed_settings_are_measured_again_and_said(small):
    score(small / "in", small / "out")
    _, said = score(small / "in", small / "out", settings=QUICK.replace(threshold=10.0))
    assert len(said.measured) == 6
    assert any("the settings changed" in line for line in said.lines)
    score(small / "in", small / "fresh", settings=QUICK.replace(threshold=10.0))
    assert nights.tables(small / "out") == nights.tables(small / "fresh")


def test_settings_of_the_score_alone_measure_nothing_again(small):
    score(small / "in", small / "out")
    night, said = score(small / "in", small / "out", settings=QUICK.replace(robust_rounds=1))
    assert said.measured == []
    assert night.tables.exposures.meta["robust_rounds"] == 1


def test_folder_of_other_settings_is_refused(small):
    score(small / "in", small / "out")
    (small / "in" / "exposure_001.fits").rename(small / "gone.fits")
    before = (small / "out" / NAME).read_bytes()
    with pytest.raises(gpuanom.OutputError, match=r"threshold 4\.0 there, 9\.0 here"):
        score(small / "in", small / "out", settings=QUICK.replace(threshold=9.0))
    assert (small / "out" / NAME).read_bytes() == before
    night, _ = score(small / "in", small / "out", settings=QUICK.replace(threshold=9.0), existing="overwrite")
    assert len(night.tables.exposures) == 5


def test_existing_fail(small):
    score(small / "in", small / "out", existing="fail")
    with pytest.raises(gpuanom.OutputError, match="holds a night already"):
        score(small / "in", small / "out", existing="fail")


def test_night_grows_over_several_inputs_and_ranks_without_any(small):
    files = sorted((small / "in").iterdir())
    gpuanom.score(files[:3], small / "out", settings=QUICK)
    gpuanom.score(files[3:], small / "out", settings=QUICK)
    night = gpuanom.score([], small / "out", settings=QUICK)
    assert len(night.tables.exposures) == 6
    score(small / "in", small / "whole")
    assert nights.tables(small / "out") == nights.tables(small / "whole")


def test_regrouped_files_leave_no_ghosts(small):
    for i in (1, 3, 5):
        nights.write(small / "in", i, f"v2_{i}.fits", PLVER="V2")
    rule = {"mine": {"match": {"INSTRUME": "TESTCAM"}, "version": ["PLVER"]}}
    settings = gpuanom.Settings.from_mapping({**QUICK_VALUES, "cameras": rule})
    newest, _ = score(small / "in", small / "out", settings=settings)
    apart, said = score(small / "in", small / "out", settings=settings.replace(versions="apart"))
    assert len(newest.tables.exposures) == 6
    # Files without PLVER have no version: they keep the plain id, and the others get ids with their versions.
    assert len(apart.tables.exposures) == 9
    again, said = score(small / "in", small / "out", settings=settings)
    assert any("dropped" in line for line in said.lines)
    assert sorted(again.tables.exposures["exposure"]) == sorted(newest.tables.exposures["exposure"])


def test_failure_is_listed_and_forgotten_when_mended(small):
    path = small / "in" / "exposure_004.fits"
    good = path.read_bytes()
    path.write_bytes(b"no FITS at all")
    night, _ = score(small / "in", small / "out")
    assert night.failed[0][0].endswith("exposure_004.fits")
    row = night.tables.exposures[night.tables.exposures["file"] == str(path)]
    assert row["status"][0] != "ok"
    assert np.ma.is_masked(row["source_kl"][0])
    path.write_bytes(good)
    night, said = score(small / "in", small / "out")
    assert said.measured == ["4"]
    assert not night.failed
    assert len(night.tables.exposures) == 6


def test_overwrite_without_anything_to_score_keeps_the_night(small):
    score(small / "in", small / "out")
    before = nights.tables(small / "out")
    for paths in ([], [small / "typo"]):
        with pytest.raises(gpuanom.InputError, match="no exposure among the inputs"):
            gpuanom.score(paths, small / "out", settings=QUICK, existing="overwrite")
    gpuanom.score([], small / "out", settings=QUICK)
    assert nights.tables(small / "out") == before


def test_edited_header_leaves_no_ghost(small):
    from astropy.io import fits

    score(small / "in", small / "out")
    fits.setval(small / "in" / "exposure_002.fits", "EXPNUM", value=22)
    night, said = score(small / "in", small / "out")
    assert sorted(night.tables.exposures["exposure"]) == ["1", "22", "3", "4", "5", "6"]
    assert any("exposure 2 TESTCAM: dropped" in line for line in said.lines)


def test_exposure_whose_file_fails_now_leaves_no_good_row(small):
    score(small / "in", small / "out")
    path = small / "in" / "exposure_002.fits"
    path.write_bytes(path.read_bytes()[:1000])
    night, _ = score(small / "in", small / "out")
    rows = night.tables.exposures[[str(f).endswith("exposure_002.fits") for f in night.tables.exposures["file"]]]
    assert len(rows) == 1
    assert rows["status"][0] != "ok"


def test_failures_of_files_that_are_gone_are_forgotten(small):
    (small / "in" / "odd  name.fits").write_text("no FITS")
    night = gpuanom.score([small / "in", small / "typo.fits"], small / "out", settings=QUICK)
    assert len(night.failed) == 2
    (small / "in" / "odd  name.fits").unlink()
    nights.write(small / "in", 7, "odd  name.fits")
    night, _ = score(small / "in", small / "out")
    assert not night.failed
    assert len(night.tables.exposures) == 7


def test_ccd_files_of_one_exposure_given_in_two_runs_are_all_measured(tmp_path):
    for exposure in (1, 2, 3):
        for ccd in range(3):
            name = f"e{exposure}_{ccd}.fits"
            hdus = nights.hdus(exposure, ccds=1)
            hdus[1].name = f"CCD{ccd}"
            (tmp_path / "in").mkdir(exist_ok=True)
            hdus.writeto(tmp_path / "in" / name)
    files = sorted((tmp_path / "in").iterdir())
    gpuanom.score(files[:4], tmp_path / "out", settings=QUICK)
    night = gpuanom.score(files[4:], tmp_path / "out", settings=QUICK)
    assert list(night.tables.exposures["n_ccd_used"]) == [3, 3, 3]
    gpuanom.score(files, tmp_path / "whole", settings=QUICK)
    assert nights.tables(tmp_path / "out") == nights.tables(tmp_path / "whole")


def test_only_what_could_not_be_read_is_tried_again(small):
    nights.write(small / "in", 2, "again.fits", band="g")
    score(small / "in", small / "out")
    night, said = score(small / "in", small / "out")
    assert said.measured == []
    assert "duplicate" in list(night.tables.ccds["status"])
    with closing(sqlite3.connect(small / "out" / NAME)) as db, db:
        db.execute("UPDATE ccds SET status = 'unreadable' WHERE exposure = '3' AND position = 0")
    db.close()
    _, said = score(small / "in", small / "out")
    assert said.measured == ["3"]


def test_robust_rounds_do_not_go_with_a_saved_reference(small):
    score(small / "in", small / "out")
    references = gpuanom.make_references([small / "out"])
    with pytest.raises(gpuanom.SettingsError, match="robust_rounds"):
        score(small / "in", small / "out", reference=references, settings=QUICK.replace(robust_rounds=1))


def test_names_that_are_no_utf8(small):
    (small / "in" / "exposure_001.fits").rename(small / "in" / os.fsdecode(b"caf\xe9.fits"))
    night, _ = score(small / "in", small / "out")
    assert len(night.tables.exposures) == 6
    assert not night.failed


def test_of_two_runs_at_once_one_is_refused(small):
    command = [sys.executable, "-m", "gpuanom", "score", str(small / "in"), "-o", str(small / "out"), "--threads", "1"]
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert 0 in codes
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "another gpuanom run" in text


def test_two_runs_on_one_night_are_refused(small):
    score(small / "in", small / "out")
    other = sqlite3.connect(small / "out" / NAME)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(gpuanom.OutputError, match="another gpuanom run"):
        score(small / "in", small / "out")
    other.close()


@pytest.mark.parametrize("content", [b"not a database, but a text of some length" * 50, None])
def test_store_that_is_not_ours_is_left_alone(small, content):
    (small / "out").mkdir()
    path = small / "out" / NAME
    if content is None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE mine (x)")
        db.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(gpuanom.OutputError):
        score(small / "in", small / "out")
    assert path.read_bytes() == content


def test_reference_of_the_night_itself_gives_the_same_scores(small):
    night, _ = score(small / "in", small / "out")
    references = gpuanom.make_references([small / "out"])
    path = small / "ref.ecsv"
    references.save(path)
    again, _ = score(small / "in", small / "out", reference=path)
    for name in night.tables.exposures.colnames:
        if name not in ("note", "status", "cause"):
            assert list(map(str, again.tables.exposures[name])) == list(map(str, night.tables.exposures[name])), name
    # Both are too small for verdicts, and each says so of itself.
    assert set(night.tables.exposures["cause"]) == {
        "no verdict: 3 exposures of this camera, band and CCD size, and a verdict needs 20"
    }
    assert set(again.tables.exposures["cause"]) == {
        "no verdict: the reference keeps the statistics of 3 exposures, and a verdict needs those of 20"
    }


def test_references_merge_as_their_nights_do(small):
    files = sorted((small / "in").iterdir())
    gpuanom.score(files[:3], small / "a", settings=QUICK)
    gpuanom.score(files[3:], small / "b", settings=QUICK)
    score(small / "in", small / "whole")
    merged = gpuanom.make_references([small / "a", small / "b"])
    whole = gpuanom.make_references([small / "whole"])
    for m, w in zip(merged.datasets, whole.datasets, strict=True):
        assert (m.camera, m.band, m.exposures) == (w.camera, w.band, w.exposures)
        for a, b in zip(m.kinds, w.kinds, strict=True):
            assert a.n_histograms == b.n_histograms
            assert np.array_equal(a.counts, b.counts)
            # Sums in another order change only the last bits.
            assert np.allclose(a.shares, b.shares, rtol=1e-14, atol=0)
    with pytest.raises(gpuanom.ReferenceFileError, match="is in an earlier input too"):
        gpuanom.make_references([small / "a", small / "whole"])


def test_nights_merge_as_one_run(small):
    files = sorted((small / "in").iterdir())
    (small / "in" / "bad.fits").write_text("no FITS")
    gpuanom.score(files[:4], small / "a", settings=QUICK)
    gpuanom.score([*files[3:], small / "in" / "bad.fits"], small / "b", settings=QUICK)
    gpuanom.merge_nights([small / "a", small / "b"], small / "ab", settings=QUICK)
    score(small / "in", small / "whole")
    assert nights.tables(small / "ab") == nights.tables(small / "whole")
    with pytest.raises(gpuanom.OutputError, match="holds a night already"):
        gpuanom.merge_nights([small / "a"], small / "ab")
    gpuanom.score(files[:2], small / "c", settings=QUICK.replace(seed=2))
    with pytest.raises(gpuanom.OutputError, match="seed 2 there, 1 here"):
        gpuanom.merge_nights([small / "a", small / "c"], small / "ac")
    (small / "in" / "exposure_001.fits").unlink()
    nights.write(small / "in", 1, band="r", degrees=10.0)
    gpuanom.score(files[:1], small / "d", settings=QUICK)
    gpuanom.merge_nights([small / "a", small / "d"], small / "ad", settings=QUICK)
    gpuanom.score(files[:4], small / "changed", settings=QUICK)
    assert nights.tables(small / "ad") == nights.tables(small / "changed")


def test_ranking_again_takes_the_settings_of_the_measurement(small):
    rule = {"mine": {"match": {"INSTRUME": "TESTCAM"}, "camera": "Mine"}}
    settings = gpuanom.Settings.from_mapping({**QUICK_VALUES, "cameras": rule})
    score(small / "in", small / "out", settings=settings)
    again = gpuanom.score([], small / "out", settings=gpuanom.Settings(robust_rounds=1, simulations=200))
    assert set(again.tables.exposures["camera"]) == {"Mine"}
    assert again.tables.exposures.meta["robust_rounds"] == 1
    with pytest.raises(gpuanom.OutputError, match="bins 18 there, 9 here"):
        gpuanom.score([], small / "out", settings=settings.replace(bins=9))


def test_reference_made_with_other_settings_is_refused(small):
    score(small / "in", small / "out", settings=QUICK.replace(bins=12))
    gpuanom.make_references([small / "out"]).save(small / "ref.ecsv")
    with pytest.raises(gpuanom.ReferenceFileError, match="bins 12 there, 18 here"):
        score(small / "in", small / "other", reference=small / "ref.ecsv")


def test_reference_without_the_dataset_is_said(small):
    gpuanom.score([small / "in" / "exposure_001.fits", small / "in" / "exposure_003.fits"], small / "r", settings=QUICK)
    references = gpuanom.make_references([small / "r"])
    night, _ = score(small / "in", small / "out", reference=references)
    status = {
        str(e): str(s)
        for e, s in zip(night.tables.exposures["exposure"], night.tables.exposures["status"], strict=True)
    }
    assert [status[e] for e in "246"] == ["no_reference"] * 3
    assert "no_reference" not in [status[e] for e in "135"]


def test_single_exposure_is_scored_against_a_reference_and_not_alone(small):
    alone = gpuanom.score([small / "in" / "exposure_001.fits"], settings=QUICK)
    assert list(alone.tables.exposures["status"]) == ["alone"]
    assert np.ma.is_masked(alone.tables.exposures["background_kl"][0])
    score(small / "in", small / "out")
    against = gpuanom.score(
        [small / "in" / "exposure_001.fits"], settings=QUICK, reference=gpuanom.make_references([small / "out"])
    )
    assert against.tables.exposures["status"][0] == "ok"
    assert against.tables.exposures["background_kl"][0] > 0


@pytest.mark.parametrize(
    "content", ["", "a b c\n1 2 3\n", "# %ECSV 1.0\n# ---\n# datatype: []\n# schema: astropy-2.0\n"]
)
def test_file_that_is_no_reference(tmp_path, content):
    path = tmp_path / "ref.ecsv"
    path.write_text(content)
    with pytest.raises(gpuanom.ReferenceFileError, match=r"ref\.ecsv"):
        gpuanom.References.load(path)


@pytest.mark.parametrize("suffix", ["csv", "fits", "parquet", "ecsv"])
def test_formats_hold_the_same_rows(small, suffix):
    from astropy.table import Table

    if suffix == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    night, _ = score(small / "in", small / "out", formats=["ecsv", suffix])
    path = small / "out" / f"exposures.{suffix}"
    if suffix == "parquet":  # astropy would need pandas too, to read the file
        back = Table(parquet.read_table(path).to_pydict())
    else:
        back = Table.read(path, format={"csv": "ascii.csv", "fits": "fits", "ecsv": "ascii.ecsv"}[suffix])
    assert [str(e) for e in back["exposure"]] == [str(e) for e in night.tables.exposures["exposure"]]
    assert np.array_equal(
        np.ma.filled(np.ma.asarray(back["isophote_kl"], float), -1),
        np.ma.filled(np.ma.asarray(night.tables.exposures["isophote_kl"]), -1),
    )


def test_no_input_is_an_exposure(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(gpuanom.InputError, match="no exposure among the inputs"):
        gpuanom.score([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
