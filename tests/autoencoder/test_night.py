"""`score --model` from end to end: resumed, read again, merged, in shares; the tables are the same byte for byte."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import gpuanom
from gpuanom.autoencoder.model import load, save
from gpuanom.backends.choice import select
from gpuanom.cli import main
from gpuanom.errors import InputError, OutputError
from gpuanom.nights import storing
from gpuanom.nights.merge import merge_nights
from gpuanom.review.opened import open_night
from gpuanom.store.store import NAME
from gpuanom.tables.columns import AUTOENCODER_COLUMNS
from gpuanom.tables.table_columns import columns_of_tables
from tests import device, nights
from tests.autoencoder import made

NEW = [column.name for column in AUTOENCODER_COLUMNS]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    nights.night(folder / "in", exposures=8, bands=("g", "r"), odd=3)
    save(made.model(), folder / "model.pt")
    save(made.model(seed=1), folder / "other.pt")
    save(made.model(size=32), folder / "small.pt")
    return folder


@pytest.fixture(scope="module")
def whole(inputs):
    """A night that was scored with a model in one run."""
    score(inputs, inputs / "whole", model=inputs / "model.pt")
    return inputs / "whole"


@pytest.fixture(scope="module")
def plain(inputs):
    """A night that was scored without a model in one run; copied by tests that go on with one."""
    score(inputs, inputs / "plain")
    return inputs / "plain"


def copied(night, folder):
    """A copy of a scored night, to be changed."""
    shutil.copytree(night, folder, dirs_exist_ok=True)
    return folder


class Said(gpuanom.Events):
    """Events that remember every message and every measured exposure."""

    def __init__(self):
        self.lines, self.done_, self.again = [], [], []
        super().__init__(
            say=self.lines.append, done=lambda e, _m, _s: self.done_.append(e.exposure), stamps=self.again.append
        )


def score(inputs, out, paths=None, **options):
    said = Said()
    paths = [inputs / "in"] if paths is None else paths
    night = gpuanom.score(paths, out, **{"settings": made.QUICK, "device": "cpu", "events": said, **options})
    return night, said


def names_of(*, autoencoder):
    """The names of all columns of the two tables."""
    tables = columns_of_tables(statistics=True, autoencoder=autoencoder, verdict=True)
    return tuple([column.name for column in columns] for columns in tables)


def test_tables_have_what_is_promised(inputs, whole):
    night = open_night(whole)
    exposures, ccds = night.tables
    assert (exposures.colnames, ccds.colnames) == names_of(autoencoder=True)
    assert set(NEW) <= set(exposures.colnames)
    assert {"n_stamps", "autoencoder_mse"} <= set(ccds.colnames)
    assert exposures.meta["autoencoder"] == load(inputs / "model.pt").fingerprint
    assert list(exposures["n_stamps"]) == list(exposures["n_sources"])
    for row in exposures:
        rows = ccds[ccds["exposure"] == row["exposure"]]
        mean = np.sum(rows["n_stamps"] * rows["autoencoder_mse"]) / np.sum(rows["n_stamps"])
        assert row["autoencoder_mse"] == pytest.approx(mean, rel=1e-6)  # seven printed digits
    for band in ("g", "r"):
        rows = exposures[exposures["band"] == band]
        rows = rows[np.argsort(rows["autoencoder_rank"])]
        assert list(rows["autoencoder_rank"]) == list(range(1, len(rows) + 1))
        assert np.all(np.diff(rows["autoencoder_mse"]) <= 0)


def test_without_a_model_the_tables_are_as_ever(inputs, whole, tmp_path):
    plain, said = score(inputs, tmp_path)
    assert not said.again
    assert (plain.tables.exposures.colnames, plain.tables.ccds.colnames) == names_of(autoencoder=False)
    assert "autoencoder" not in plain.tables.exposures.meta
    # All columns that both tables have are equal, and in the same order.
    with_model, _ = score(inputs, whole, [])
    for a, b in zip(plain.tables, with_model.tables, strict=True):
        for name in a.colnames:
            assert a[name].tolist() == b[name].tolist(), name


def test_a_measured_night_only_needs_its_stamps_read_again(inputs, whole, plain, tmp_path, monkeypatch):
    copied(plain, tmp_path)
    monkeypatch.setattr(type(select("cpu")), "gradients", lambda *_: pytest.fail("gradients were taken again"))
    _, said = score(inputs, tmp_path, [], model=inputs / "model.pt")
    assert said.again == [8]
    assert nights.tables(tmp_path) == nights.tables(whole)
    _, said = score(inputs, tmp_path, [], model=inputs / "model.pt")
    assert not said.again
    assert not said.done_


def test_ranking_again_keeps_the_columns(inputs, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    score(inputs, tmp_path / "copy", [])
    assert nights.tables(tmp_path / "copy") == nights.tables(whole)


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.proof), 3])
def test_threads_shares_and_interruptions_do_not_matter(inputs, whole, tmp_path, threads, monkeypatch):
    monkeypatch.setattr(storing, "EVERY", 0.0)  # a run that ends early has kept what was done, and no more
    model = inputs / "model.pt"
    parts = [tmp_path / f"part{k}" for k in (1, 2, 3)]
    for k, part in enumerate(parts, start=1):
        score(inputs, part, model=model, shard=(k, 3), threads=threads)
    merge_nights(parts, tmp_path / "merged", settings=made.QUICK)
    assert nights.tables(tmp_path / "merged") == nights.tables(whole)

    class EnoughError(Exception):
        pass

    def enough(_exposure, _result, _seconds):
        done.append(1)
        if len(done) == 3:
            raise EnoughError

    for paths in (None, []):  # the run ends while exposures are measured, and while stamps are read again
        done = []
        with pytest.raises(EnoughError):
            score(inputs, tmp_path / "cut", paths, model=model, threads=threads, events=gpuanom.Events(done=enough))
        if paths is None:
            score(inputs, tmp_path / "cut", threads=threads)
    score(inputs, tmp_path / "cut", model=model, threads=threads)
    assert nights.tables(tmp_path / "cut") == nights.tables(whole)


def test_given_inputs_are_those_that_are_read_again(inputs, plain, tmp_path):
    copied(plain, tmp_path)
    _, said = score(inputs, tmp_path, [inputs / "in" / "exposure_002.fits"], model=inputs / "model.pt")
    assert said.again == [1]
    exposures = open_night(tmp_path).tables.exposures
    assert exposures["exposure"][~exposures["autoencoder_mse"].mask].tolist() == ["2"]
    assert exposures["n_stamps"].mask.sum() == 7


def test_errors_of_two_models_do_not_mix(inputs, whole, tmp_path):
    copied(whole, tmp_path)
    path = [inputs / "in" / "exposure_002.fits"]
    _, said = score(inputs, tmp_path, path, model=inputs / "other.pt")
    assert "autoencoder_mse of 8 exposures was another model's: dropped" in said.lines
    exposures = open_night(tmp_path).tables.exposures
    assert exposures.meta["autoencoder"] == load(inputs / "other.pt").fingerprint
    assert np.count_nonzero(~exposures["autoencoder_mse"].mask) == 1


def test_nights_of_two_models_do_not_merge(inputs, whole, tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1, camera="OTHER")
    score(inputs, tmp_path / "second", [tmp_path / "in"], model=inputs / "other.pt")
    with pytest.raises(OutputError, match=r"another model than an earlier input \(score one of them again"):
        merge_nights([whole, tmp_path / "second"], tmp_path / "merged")
    score(inputs, tmp_path / "second", [tmp_path / "in"], existing="overwrite")
    merge_nights([whole, tmp_path / "second"], tmp_path / "merged")
    exposures = open_night(tmp_path / "merged").tables.exposures
    assert np.count_nonzero(exposures["autoencoder_mse"].mask) == 2


def test_changed_and_missing_files_are_named_and_keep_what_was_measured(inputs, tmp_path, capsys):
    shutil.copytree(inputs / "in", tmp_path / "in")
    score(inputs, tmp_path / "out", [tmp_path / "in"])
    before = open_night(tmp_path / "out").tables.exposures
    (tmp_path / "in" / "exposure_004.fits").unlink()
    nights.write(tmp_path / "in", 14, name="exposure_004.fits")
    (tmp_path / "in" / "exposure_005.fits").unlink()
    arguments = ["score", "-o", str(tmp_path / "out"), "--model", str(inputs / "model.pt"), "--device", "cpu", "-q"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "exposure 4 TESTCAM g: no autoencoder_mse: its files have changed" in told
    assert "exposure_005.fits" in told
    after = open_night(tmp_path / "out").tables.exposures
    assert len(after) == len(before) == 8
    masked = after["exposure"][after["autoencoder_mse"].mask].tolist()
    assert sorted(masked) == ["4", "5"]
    for name in before.colnames:
        assert before[name].tolist() == after[name].tolist()


def test_exposures_measured_again_lose_their_errors(inputs, tmp_path):
    shutil.copytree(inputs / "in", tmp_path / "in")
    score(inputs, tmp_path / "out", [tmp_path / "in"], model=inputs / "model.pt")
    (tmp_path / "in" / "exposure_004.fits").unlink()
    nights.write(tmp_path / "in", 4, name="exposure_004.fits", degrees=20.0)
    score(inputs, tmp_path / "out", [tmp_path / "in"])
    exposures = open_night(tmp_path / "out").tables.exposures
    assert exposures["exposure"][exposures["autoencoder_mse"].mask].tolist() == ["4"]


def _without_the_table(folder):
    with closing(sqlite3.connect(folder / NAME)) as db, db:
        db.execute("DROP TABLE autoencoder")
    db.close()


def test_stores_from_before_there_were_models(inputs, whole, plain, tmp_path):
    """Such stores are read as they are, stay as they are, and get the table when they are written to."""
    copied(plain, tmp_path / "old")
    _without_the_table(tmp_path / "old")
    before = nights.tables(tmp_path / "old")
    bytes_before = (tmp_path / "old" / NAME).read_bytes()
    assert open_night(tmp_path / "old").tables.exposures.colnames == names_of(autoencoder=False)[0]
    assert (tmp_path / "old" / NAME).read_bytes() == bytes_before
    shutil.copytree(tmp_path / "old", tmp_path / "again")
    score(inputs, tmp_path / "again", [])
    assert nights.tables(tmp_path / "again") == before
    merge_nights([tmp_path / "old"], tmp_path / "merged", settings=made.QUICK)
    assert nights.tables(tmp_path / "merged") == before
    score(inputs, tmp_path / "old", [], model=inputs / "model.pt")
    assert nights.tables(tmp_path / "old") == nights.tables(whole)


def test_values_that_an_older_gpuanom_left_behind_do_not_count(whole, tmp_path):
    """An older gpuanom does not know the table: it measures an exposure again and leaves the exposure's row in that
    table.
    """
    copied(whole, tmp_path)
    with closing(sqlite3.connect(tmp_path / NAME)) as db, db:
        db.execute("UPDATE exposures SET fingerprint = 'new files' WHERE exposure = '2'")
        db.execute("DELETE FROM exposures WHERE exposure = '3'")
    db.close()
    exposures = open_night(tmp_path).tables.exposures
    assert exposures["exposure"][exposures["autoencoder_mse"].mask].tolist() == ["2"]


def test_on_the_device_as_on_the_cpu(inputs, tmp_path):
    few = sorted((inputs / "in").iterdir())[:3]  # the test device is slow
    with device.installed():
        score(inputs, tmp_path / "gpu", few, model=inputs / "model.pt", device="0")
    score(inputs, tmp_path / "cpu", few, model=inputs / "model.pt")
    assert nights.tables(tmp_path / "gpu") == nights.tables(tmp_path / "cpu")


def test_a_model_of_other_stamps(inputs, tmp_path):
    with pytest.raises(InputError, match=r"small\.pt: was trained on stamps of 32 x 32 pixels, these are of 64 x 64"):
        score(inputs, tmp_path, model=inputs / "small.pt")
    assert not (tmp_path / NAME).exists()
    _, said = score(inputs, tmp_path, model=inputs / "model.pt", settings=made.QUICK.replace(threshold=10.0))
    assert any("was trained on stamps of other settings: threshold 4.0 and not 10.0" in line for line in said.lines)


def test_a_model_of_another_camera_is_told(inputs, tmp_path):
    datasets = [{"camera": "OTHERCAM", "band": "r", "exposures": 8, "validation_exposures": 2, "stamps": 100}]
    for name, of_camera in (("other", datasets), ("same", [{"camera": "TESTCAM"}, *datasets]), ("odd", "TESTCAM")):
        save(made.model(datasets=of_camera), tmp_path / f"{name}.pt")
        _, said = score(inputs, tmp_path / "out", model=tmp_path / f"{name}.pt")
        told = [line for line in said.lines if "was trained on exposures of OTHERCAM, and not of TESTCAM" in line]
        assert len(told) == (name == "other")


def test_exposures_without_sources_have_no_error(inputs, tmp_path):
    shutil.copytree(inputs / "in", tmp_path / "in")
    nights.write(tmp_path / "in", 20, ccds=1, OBJECT="blank")
    night, _ = score(
        inputs, tmp_path / "out", [tmp_path / "in"], model=inputs / "model.pt",
        settings=made.QUICK.replace(threshold=1e6),
    )  # fmt: skip
    exposures = night.tables.exposures
    assert set(exposures["n_stamps"]) == {0}
    assert exposures["autoencoder_mse"].mask.all()
    assert exposures["autoencoder_rank"].mask.all()


def test_summary_lists_the_worst_reconstructed(inputs, whole, capsys):
    with pytest.raises(SystemExit):
        main(["score", "-o", str(whole), "--device", "cpu"])
    told = capsys.readouterr().out
    assert "reconstruction of stamps: the 8 most anomalous of 8" in told
