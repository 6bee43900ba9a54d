"""Which files belong to one exposure, and how its CCDs are named."""

import gzip

import numpy as np
import pytest

from gpuanom.fits import discover, open_ccds
from gpuanom.records import CcdFailure


def image(seed=0):
    return np.random.default_rng(seed).normal(1000, 10, (70, 80)).astype(np.float32)


@pytest.fixture
def night(tmp_path, settings):
    """For each exposure the names of its files and of its CCDs; failures by their status."""

    def finder():
        found = discover([tmp_path], settings)
        assert found.failures == ()
        return {
            e.exposure: (
                [f.name for f in e.files],
                [c.status if isinstance(c, CcdFailure) else c.name for c in open_ccds(e, settings)],
            )
            for e in found.exposures
        }

    return finder


@pytest.mark.parametrize("number", [0, -1, "", "0", "none", 0.0])
def test_a_number_that_is_none_falls_back_to_obsid_then_date_then_name(write, night, number):
    for i in range(2):
        write(f"o{i}.fits", data=image(i), EXPNUM=number, OBSID=f"x{i}", INSTRUME="A")
        write(f"d{i}.fits", data=image(i), EXPNUM=number, INSTRUME="B", **{"DATE-OBS": f"2020-01-01T00:0{i}:00"})
        write(f"n{i}.fits", data=image(i), EXPNUM=number, INSTRUME="C")
    names = set(night())
    if number == "":  # a blank card counts as missing: the name of the file is then the id
        assert names == {"o0", "o1", "d0", "d1", "n0", "n1"}
    else:
        assert names == {"x0", "x1", "2020-01-01T00_00_00", "2020-01-01T00_01_00", "n0", "n1"}


def test_a_number_that_starts_again_each_night(write, night):
    for day in (1, 2):
        for n in (1, 2):
            date = {"DATE-OBS": f"2020-01-0{day}T00:0{n}:00", "EXPTIME": 30.0}
            write(f"{day}/a{n}.fits", data=image(n + 10 * day), EXPNUM=n, **date)
    found = night()
    assert len(found) == 4
    assert all(ccds == ["0"] for _, ccds in found.values())


def test_ccds_of_one_exposure_may_start_a_moment_apart(write, night):
    for n in (1, 2):
        date = {"DATE-OBS": f"2020-01-01T00:00:00.{n}", "EXPTIME": 30.0}
        write(f"c{n}.fits", data=image(n), EXPNUM=7, EXTNAME=f"c{n}", **date)
    assert night() == {"7": (["c1.fits", "c2.fits"], ["c1", "c2"])}


def test_an_id_that_counts_ccds_too(write, night):
    for exposure in (412037, 412038):
        for ccd in (9, 10):
            date = {"DATE-OBS": f"2015-02-20T00:47:{exposure % 100}.127", "EXPTIME": 10.0}
            name = f"x{exposure}{ccd:02d}.fits"
            write(name, data=image(ccd), EXPID=100 * exposure + ccd, CCDNUM=ccd, INSTRUME="C", **date)
    assert {name: ccds for name, (_, ccds) in night().items()} == {"412037": ["9", "10"], "412038": ["9", "10"]}


@pytest.mark.parametrize(
    "cards",
    [("CHIPID", "R11_S20", "R11_S21"), ("RCID", 3, 4), ("DETECTOR", "EEV1", "EEV2"), ("IMAGEID", 1, 2),
     ("CCDNAME", "a", "b"), ("DETNAM", "W1", "W2"), ("AMPNAME", "A", "B"), ("HIERARCH ESO DET CHIP NAME", "x", "y")],
)  # fmt: skip
def test_a_card_tells_the_ccds_of_several_files_apart(write, night, cards):
    keyword, *values = cards
    for n, value in enumerate(values):
        # The pixels are equal, so that only the card can decide.
        write(f"f{n}.fits", data=image(), EXPNUM=1, **{keyword: value})
    assert night()["1"][1] == [str(value) for value in values]


def test_segments_of_several_ccds(write, night):
    for chip in ("R11_S20", "R11_S21"):
        segments = [(image(), {"EXTNAME": f"Segment1{n}"}) for n in range(2)]
        write(f"{chip}.fits", *segments, OBSID="MC_1", CHIPID=chip)
    chips = [f"{chip}-Segment1{n}" for chip in ("R11_S20", "R11_S21") for n in range(2)]
    assert night() == {"MC_1": (["R11_S20.fits", "R11_S21.fits"], chips)}


@pytest.mark.parametrize("extname", [None, "CHIP"])
def test_names_of_files_are_the_last_resort(write, night, extname):
    for n in (1, 2):
        write(f"x_c{n}.fits", data=image(n), EXPNUM=1, **({"EXTNAME": extname} if extname else {}))
    assert night()["1"][1] == ["x_c1", "x_c2"]


def test_one_file_packed_in_two_ways_stays_a_duplicate(write, night):
    path = write("a.fits", data=image(), EXPNUM=1)
    path.with_name("b.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.with_name("a.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert night()["1"][1] == ["a", "duplicate", "duplicate"]


@pytest.mark.parametrize("versions", [(1, 2, 3), (None, 2, 3), (None, None, None), (1, 1, 2)])
def test_extensions_of_one_name(write, night, versions):
    heads = [{"EXTNAME": "CHIP"} | ({} if v is None else {"EXTVER": v}) for v in versions]
    write("a.fits", *((image(n), head) for n, head in enumerate(heads)))
    assert night()["a"][1] == ["CHIP-1", "CHIP-2", "CHIP-3"]


def test_an_obsid_of_a_block_is_no_exposure(write, night):
    for n in range(3):
        write(f"a{n}.fits", data=image(n), OBSID="block7", CHIPID="only")
    assert set(night()) == {"a0", "a1", "a2"}


def test_labels_that_a_store_does_not_hold_are_found_again(write, tmp_path, settings):
    import dataclasses

    for n in (1, 2):
        write(f"x_c{n}.fits", data=image(n), EXPNUM=1)
    (exposure,) = discover([tmp_path], settings).exposures
    again = dataclasses.replace(exposure, labels=None)
    assert [c.name for c in open_ccds(again, settings)] == [c.name for c in open_ccds(exposure, settings)]
