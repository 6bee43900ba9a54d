"""Images that are read into memory which somebody lends: the same bytes, and whatever may befall the file meanwhile."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.encoded import RiceImage, Room
from gpuanom.fits import discover, open_ccds
from gpuanom.fits.ccds.pixels import sums_on_device
from gpuanom.fits.opening.checksum import ones_complement_sum, same_sum
from gpuanom.records import CcdFailure
from gpuanom.settings import Settings

SHAPE = (70, 90)


@pytest.fixture
def night(tmp_path):
    """A file with an image of every form that a GPU decodes, and one that it does not, each with DATASUM."""
    image = np.random.default_rng(1).normal(1000, 8, SHAPE)
    rice = {"compression_type": "RICE_1"}
    hdus = [
        fits.ImageHDU(image.astype(np.float32)),
        fits.ImageHDU(image.astype(np.int16)),
        fits.CompImageHDU(image.astype(np.int32), **rice),
        fits.CompImageHDU(image.astype(np.float32), quantize_method=1, dither_seed=1, **rice),
        fits.ImageHDU(image),
    ]
    for number, hdu in enumerate(hdus, 1):
        hdu.header["EXTNAME"] = f"N{number}"
    path = tmp_path / "night.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, checksum="datasum")
    return path


def opened(path):
    (exposure,) = discover([path], Settings()).exposures
    return list(open_ccds(exposure, Settings()))


def lend(lent):
    """A function that lends memory, all of whose bytes are wrong, and notes what was lent."""

    def room(n_bytes):
        lent.append(np.full(n_bytes, 0xA5, np.uint8))
        return Room(lent[-1], lent=True)

    return room


def test_the_bytes_of_the_mapped_file(night):
    lent = []
    for ccd in opened(night):
        mapped, read = ccd.load(encoded=True).image, ccd.load(encoded=True, room=lend(lent)).image
        if isinstance(mapped, np.ndarray):
            np.testing.assert_array_equal(read, mapped)  # 64 bits: decoded on the host
            continue
        assert type(read) is type(mapped)
        assert (mapped.lent, read.lent) == (False, True)
        assert np.shares_memory(read.data, lent[-1])
        before = read.data.size - mapped.data.size  # the rows of the table, for the backend to sum
        np.testing.assert_array_equal(read.data[before:], mapped.data)
        assert same_sum(ones_complement_sum(read.data), read.datasum)
        assert mapped.datasum is None
        if isinstance(read, RiceImage):
            assert before > 0
            np.testing.assert_array_equal(read.start, mapped.start + before)
            for name in ("size", "scale", "zero", "blank"):
                np.testing.assert_array_equal(getattr(read, name), getattr(mapped, name))
    assert len(lent) == 4  # memory is lent for what a GPU decodes, and for nothing else


def test_a_system_that_reads_little_at_a_time(night, monkeypatch):
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, parts, at: preadv(fd, [parts[0][:1000]], at))
    for ccd in opened(night)[:4]:
        image = ccd.load(encoded=True, room=lend([])).image
        assert same_sum(ones_complement_sum(image.data), image.datasum)


def test_a_file_that_is_cut_off_while_it_is_open(night):
    """A mapped file would end the process."""
    ccds = opened(night)
    os.truncate(night, 3 * 2880)
    for ccd in ccds[1:4]:
        failure = ccd.load(encoded=True, room=lend([]))
        assert isinstance(failure, CcdFailure)
        assert failure.status == "corrupt"
        assert "cut off while it was open" in failure.reason


def test_a_file_that_is_cut_off_between_two_reads(night, monkeypatch):
    """In the middle of an image, when its size has been looked at already."""
    ccd = opened(night)[0]
    preadv = os.preadv

    def cut(fd, parts, at):
        n = preadv(fd, [parts[0][:1000]], at)
        os.truncate(night, at + n)
        return n

    monkeypatch.setattr(os, "preadv", cut)
    failure = ccd.load(encoded=True, room=lend([]))
    assert (type(failure), failure.status) == (CcdFailure, "corrupt")
    assert "cut off while it was open" in failure.reason


def test_a_file_that_another_one_replaces(night):
    ccd = opened(night)[0]
    night.with_suffix(".new").write_bytes(night.read_bytes())
    night.with_suffix(".new").replace(night)
    failure = ccd.load(encoded=True, room=lend([]))
    assert (failure.status, "was changed while it was being read" in failure.reason) == ("unreadable", True)


def test_a_disk_that_fails(night, monkeypatch):
    ccd = opened(night)[0]

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fail)
    failure = ccd.load(encoded=True, room=lend([]))
    assert (type(failure), failure.status) == (CcdFailure, "unreadable")
    assert night.name in failure.reason


@pytest.mark.parametrize("number", range(4))
def test_data_that_do_not_add_up(night, number):
    ccds = opened(night)
    with fits.open(night) as hdus:
        start = hdus[number + 1].fileinfo()["datLoc"]
    content = bytearray(night.read_bytes())
    content[start + 1001] ^= 1
    state = night.stat()
    with night.open("r+b") as file:
        file.write(content)
    os.utime(night, ns=(state.st_atime_ns, state.st_mtime_ns))
    for i, ccd in enumerate(ccds[:4]):
        found = ccd.load(encoded=True, room=lend([]))
        if i != number:
            assert same_sum(ones_complement_sum(found.image.data), found.image.datasum)
        elif isinstance(found, CcdFailure):  # a row of a table that makes no sense
            assert "do not add up to its DATASUM" in found.reason
        else:  # left to the backend
            assert not same_sum(ones_complement_sum(found.image.data), found.image.datasum)
        if i == number:
            whole = ccd.load()
            assert (type(whole), whole.status) == (CcdFailure, "corrupt")
            assert "do not add up to its DATASUM" in whole.reason


def test_sums_that_the_host_compares(night, monkeypatch):
    """Where a program keeps sums that do not fit, and where sums are not wanted."""
    (exposure,) = discover([night], Settings(checksum=False)).exposures
    for ccd in list(open_ccds(exposure, Settings(checksum=False)))[:4]:
        assert ccd.load(encoded=True, room=lend([])).image.datasum is None
    monkeypatch.setattr(sums_on_device, "wanted", False)
    for ccd in opened(night)[:4]:
        assert ccd.load(encoded=True, room=lend([])).image.datasum is None
    content = bytearray(night.read_bytes())
    with fits.open(night) as hdus:
        content[hdus[1].fileinfo()["datLoc"] + 5] ^= 1
    night.write_bytes(content)
    assert "do not add up to its DATASUM" in opened(night)[0].load(encoded=True, room=lend([])).reason
