"""Different exposures with the same id, scored folder after folder into one output: none takes the place of another."""

from __future__ import annotations

import shutil

import pytest
from astropy.io import fits

import gpuanom
from gpuanom.fits.discover import discover
from gpuanom.settings import Settings
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=100)


def changed(source, folder, **cards):
    """A copy of a night with other cards in the headers that have them; without a card where the value is None."""
    shutil.copytree(source, folder)
    for path in folder.glob("*.fits"):
        with fits.open(path, mode="update") as hdus:
            for hdu in hdus:
                for keyword, value in cards.items():
                    if value is None:
                        hdu.header.remove(keyword, ignore_missing=True)
                    elif keyword in hdu.header:
                        hdu.header[keyword] = value
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of four exposures; the same ids in another band, in another night, and with no ids but their files'."""
    base = tmp_path_factory.mktemp("nights")
    for i in range(1, 5):
        nights.write(base / "first", i, **{"DATE-OBS": f"2026-01-02T03:0{i}:00"})
    changed(base / "first", base / "band", FILTER="g")
    for i in range(1, 5):
        nights.write(base / "later", i, **{"DATE-OBS": f"2026-03-05T03:0{i}:00"})
    changed(base / "first", base / "unnamed", EXPNUM=None, INSTRUME=None)
    changed(base / "first", base / "unnamed-g", EXPNUM=None, INSTRUME=None, FILTER="g")
    return base


def score(folders, out, say=None):
    events = gpuanom.Events(say=say.append) if say is not None else None
    return gpuanom.score(folders, out, settings=QUICK, device="cpu", events=events)


def table(out):
    return (out / "exposures.ecsv").read_bytes()


PAIRS = [("first", "band"), ("first", "later"), ("unnamed", "unnamed-g")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_folder_after_folder_gives_the_tables_of_one_run(night, tmp_path, first, second):
    together = score([night / first, night / second], tmp_path / "one")
    assert together.n_exposures == 8
    assert set(together.tables.exposures["status"]) == {"ok"}
    said = []
    score(night / first, tmp_path / "two", said)
    score(night / second, tmp_path / "two", said)
    assert table(tmp_path / "one") == table(tmp_path / "two")
    told = [line for line in said if "dropped" in line]
    assert len(told) == 1
    assert told[0].startswith("4 exposures, such as ")
    assert ": dropped, their files are exposures of other ids now, such as " in told[0]
    for again in (second, first):  # nothing is measured anew, and no id goes back to what one folder alone would give
        said.clear()
        score(night / again, tmp_path / "two", said)
        assert not any("measured again" in line for line in said), said
        assert table(tmp_path / "one") == table(tmp_path / "two")


@pytest.mark.parametrize(("first", "second", "new"), [(*PAIRS[0], "-g"), (*PAIRS[1], "-2026"), (*PAIRS[2], "-g")])
def test_an_exposure_whose_files_are_gone_keeps_its_place(night, tmp_path, first, second, new):
    shutil.copytree(night / first, tmp_path / "gone")
    before = score(tmp_path / "gone", tmp_path / "out")
    shutil.rmtree(tmp_path / "gone")
    for _ in range(2):
        after = score(night / second, tmp_path / "out")
        assert after.n_exposures == 8
        rows = {str(row["exposure"]): row for row in after.tables.exposures}
        for name in before.tables.exposures["exposure"]:
            assert rows[name]["file"].startswith(str(tmp_path / "gone"))
            (other,) = (key for key in rows if key.startswith(f"{name}{new}"))
            assert rows[other]["file"].startswith(str(night / second))
            assert f"its id was {name}, which another exposure has" in rows[other]["note"]


def test_the_same_exposures_processed_again_elsewhere_take_their_place(night, tmp_path):
    """Of one start and band, in other files: the exposure is the same, and a line says that it is measured again."""
    shutil.copytree(night / "first", tmp_path / "gone")
    score(tmp_path / "gone", tmp_path / "out")
    shutil.rmtree(tmp_path / "gone")
    said = []
    after = score(changed(night / "first", tmp_path / "new", SATURATE=50000.0), tmp_path / "out", said)
    assert after.n_exposures == 4
    assert "4 exposures: measured again, the files changed" in said


def test_exposures_that_are_dropped_are_counted(night, tmp_path):
    folder = changed(night / "first", tmp_path / "in")
    score(folder, tmp_path / "out")
    for path in folder.glob("*.fits"):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["OBSTYPE"] = "flat"
    nights.write(tmp_path / "other", 9)
    said = []
    score([folder, tmp_path / "other"], tmp_path / "out", said)
    dropped = [line for line in said if "dropped" in line]
    assert len(dropped) == 1
    assert dropped[0].endswith("dropped, their files fail now, are left out or belong to other exposures")


def test_files_of_several_bands_are_an_exposure_for_each_band(night):
    found = discover([night / "first", night / "band"], Settings()).exposures
    assert sorted((e.exposure, e.band) for e in found) == sorted(
        (f"{n}-{band}", band) for n in range(1, 5) for band in ("g", "r")
    )
    assert all(len(e.files) == 1 for e in found)


def test_merge_keeps_the_exposures_of_all_bands(night, tmp_path):
    for name in ("first", "band"):
        score(night / name, tmp_path / name)
    said = []
    merged = gpuanom.merge_nights([tmp_path / "first", tmp_path / "band"], tmp_path / "both", say=said.append)
    found = sorted(zip(merged.exposures["exposure"], merged.exposures["band"], strict=True))
    assert found == sorted((f"{n}-{band}", band) for n in range(1, 5) for band in ("g", "r"))
    assert any("exposures with different bands have this id, and are called 1-" in line for line in said), said
