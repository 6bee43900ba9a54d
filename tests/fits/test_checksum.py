"""DATASUM and CHECKSUM cards as the FITS standard defines them, and the option that ignores outdated sums."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.settings import Settings
from tests import nights

QUICK = Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 1000, (70, 80)).astype(np.int16)


def _statuses(items):
    return {getattr(item, "status", "ok") for item in items.values()}


def _with_card(path, keyword, value):
    """Replace the text of a card in place."""
    raw = path.read_bytes()
    at = raw.rindex(keyword.ljust(8).encode() + b"=")
    path.write_bytes(raw[:at] + f"{keyword:8}= {value}".ljust(80).encode() + raw[at + 80 :])


@pytest.mark.parametrize(
    ("value", "defined"),
    [("''", False), ("'      '", False), ("'-5     '", False), ("-5", False), ("T", False), ("'4294967296'", False),
     ("'1.5'", False), ("'none'", False), ("'0       '", True), ("0", True), ("'123     '", True), ("123", True)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "RICE_1"])
def test_a_sum_that_is_not_defined_says_nothing(tmp_path, read, kind, value, defined):
    path = tmp_path / "a.fits"
    hdu = fits.ImageHDU(picture()) if kind == "plain" else fits.CompImageHDU(picture(), compression_type=kind)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum="datasum")
    assert _statuses(read(path)) == {"ok"}
    _with_card(path, "DATASUM", value)
    assert _statuses(read(path)) == {"corrupt" if defined else "ok"}


@pytest.mark.parametrize("value", ["'0'", "'4294967295'"])
def test_all_bits_set_is_another_zero(tmp_path, read, value):
    """Sums are in ones' complement, so that all bits set is another form of zero."""
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((70, 80), np.int16)).writeto(path, checksum="datasum")
    _with_card(path, "DATASUM", value)
    assert _statuses(read(path)) == {"ok"}


def test_a_blank_checksum_does_not_excuse_a_wrong_datasum(tmp_path, read):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(picture()).writeto(path, checksum=True)
    _with_card(path, "DATASUM", "'123     '")
    _with_card(path, "CHECKSUM", "'                '")
    assert _statuses(read(path)) == {"corrupt"}


def test_the_sums_of_the_image_before_it_was_compressed_are_not_those_of_its_table(tmp_path, read):
    path = tmp_path / "a.fits"
    hdu = fits.CompImageHDU(picture(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with fits.open(path, disable_image_compression=True, mode="update") as hdus:
        hdus[1].header["ZDATASUM"] = "123"
        hdus[1].header["ZHECKSUM"] = "abcdabcdabcdabcd"
    assert _statuses(read(path)) == {"ok"}


@pytest.fixture
def stale(tmp_path):
    """A night with one exposure whose pixels were changed in place, while its checksums were not."""
    paths = nights.night(tmp_path / "in", exposures=3)
    for path in paths:
        with fits.open(path, mode="update", checksum=True) as hdus:
            for hdu in hdus:
                hdu.add_checksum()
    raw = bytearray(paths[1].read_bytes())
    raw[len(raw) - 5000] ^= 1
    paths[1].write_bytes(raw)
    return tmp_path


def score(folder, **changes):
    said = []
    night = gpuanom.score(
        folder / "in", folder / "out", settings=QUICK.replace(**changes), device="cpu", threads=1,
        events=gpuanom.Events(done=lambda exposure, _r, _s: said.append(exposure.exposure)),
    )  # fmt: skip
    return night, said


def test_what_was_refused_is_read_when_the_switch_is_given(stale):
    night, measured = score(stale)
    (group,) = night.left_out
    assert (group.status, group.n_ccds, group.lost) == ("corrupt", 1, True)
    assert "--no-checksum" in group.reason
    assert sorted(measured) == ["1", "2", "3"]  # in the order in which they were read
    assert score(stale)[1] == []  # a damaged CCD is not read again
    night, measured = score(stale, checksum=False)
    assert (night.left_out, measured) == ((), ["2"])
    assert score(stale)[1] == []
    assert score(stale, checksum=False)[1] == []


def test_sound_files_are_measured_alike_with_and_without(tmp_path):
    nights.night(tmp_path / "in", exposures=3)
    before = score(tmp_path)[0].tables
    night, measured = score(tmp_path, checksum=False)
    assert measured == []
    for name, column in before.ccds.columns.items():
        assert list(column) == list(night.tables.ccds[name]), name
    assert "checksum" not in Settings().measurement()


def test_other_damage_is_not_tried_again_with_the_switch(tmp_path):
    path = nights.write(tmp_path / "in", 1)
    path.write_bytes(path.read_bytes()[:-9000])
    assert score(tmp_path)[0].left_out[0].status == "corrupt"
    assert score(tmp_path, checksum=False)[1] == []


def test_a_masks_stale_sum_names_the_switch_too(instcal, read):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    with fits.open(mask) as hdus:
        hdus.writeto(mask, overwrite=True, checksum="datasum")
    _with_card(mask, "DATASUM", "'123     '")
    failures = [item for item in read(path).values() if hasattr(item, "status")]
    assert [item.status for item in failures] == ["mask_unreadable"]
    assert "--no-checksum" in failures[0].reason
    assert "--no-mask" in failures[0].reason
    assert _statuses(read(path, settings=Settings(checksum=False))) == {"ok"}
