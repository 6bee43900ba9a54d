"""Compressed images that follow each other in a file, read by one read, against the same images read one by one."""

from __future__ import annotations

import os
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.encoded import RiceImage, Room
from gpuanom.fits import CcdsOnDisk, discover, open_ccds
from gpuanom.fits.ccds import images_together
from gpuanom.fits.ccds.masks import Masks
from gpuanom.fits.ccds.pixels import sums_on_device
from gpuanom.fits.decoding.images_together_loop import read_sound_images
from gpuanom.records import CcdFailure, CcdsTogether
from gpuanom.settings import Settings

SHAPE = (70, 90)
COUNT = 4


def write(path, checksum="datasum", **options):
    rng = np.random.default_rng(1)
    hdus = []
    for number in range(1, COUNT + 1):
        image = rng.normal(1000, 8, SHAPE).astype(options.get("dtype", np.float32))
        how = {"quantize_method": 1, "dither_seed": number} if image.dtype.kind == "f" else {}
        hdus.append(fits.CompImageHDU(image, compression_type=options.get("code", "RICE_1"), **how))
        hdus[-1].header["EXTNAME"] = f"N{number}"
    cards = {name: value for name, value in options.items() if name.isupper()}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards)), *hdus]).writeto(path, checksum=checksum)
    return path


def opened(path):
    (exposure,) = discover([path], Settings()).exposures
    return list(open_ccds(exposure, Settings()))


class Lender:
    """Lends memory, all of whose bytes are wrong, and knows how many bytes were lent each time."""

    def __init__(self):
        self.lent = []

    def __call__(self, n_bytes):
        self.lent.append(n_bytes)
        return Room(np.full(n_bytes, 0xA5, np.uint8), lent=True)


def load_together(ccds, room):
    """The CCDs that were read together, each with its image alone."""
    found = CcdsOnDisk(ccds).load(0, len(ccds), room)
    return apart(found) if isinstance(found, CcdsTogether) else found


def apart(found):
    images, ccds = found.images, []
    assert all(ccd.image.size == 0 for ccd in found.ccds)
    rows = zip(images.start, images.size, images.scale, images.zero, images.seeds, images.sums, strict=True)
    for ccd, (start, size, scale, zero, seed, (first, n_bytes, datasum)) in zip(found.ccds, rows, strict=True):
        assert first % 16 == 0
        heap = int(start.min()) - first if datasum is None else 0  # one image alone is sent without its table
        data = images.data[first + heap : first + n_bytes]
        named = {name: getattr(images, name) for name in ("shape", "tile", "bytepix", "blocksize", "quantised")}
        image = RiceImage(
            data=data, start=start - first - heap, size=size, scale=scale, zero=zero, blank=images.blank, seed=seed,
            dither=images.dither, lent=images.lent, datasum=datasum, **named,
        )  # fmt: skip
        ccds.append(replace(ccd, image=image))
    return ccds


def alone(ccds):
    return [ccd.load(encoded=True, room=Lender()) for ccd in ccds]


def assert_same(got, wanted):
    assert [type(ccd) for ccd in got] == [type(ccd) for ccd in wanted]
    for one, other in zip(got, wanted, strict=True):
        if isinstance(one, CcdFailure):
            assert one == other
            continue
        assert repr(vars(replace(one, image=0))) == repr(vars(replace(other, image=0)))
        assert type(one.image) is type(other.image)
        if isinstance(one.image, np.ndarray):
            assert np.array_equal(one.image, other.image)
            continue
        for field in fields(one.image):
            a, b = getattr(one.image, field.name), getattr(other.image, field.name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b)
            else:
                assert (field.name, a) == (field.name, b)


def change(path, number, place, value):
    """Change bytes of an HDU's data, `place` of them behind the first, and keep the time of the file."""
    with fits.open(path) as hdus:
        start = hdus[number].fileinfo()["datLoc"]
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(start + place)
        file.write(value)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("checksum", ["datasum", False])
@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_the_same_images(tmp_path, monkeypatch, dtype, on_device, checksum):
    monkeypatch.setattr(sums_on_device, "wanted", on_device)
    ccds, lender = opened(write(tmp_path / "night.fits", checksum, dtype=dtype)), Lender()
    got = load_together(ccds, lender)
    assert len(lender.lent) == 1  # one read for all
    assert all(isinstance(ccd.image, RiceImage) and ccd.image.lent for ccd in got)
    assert all((ccd.image.datasum is not None) == (on_device and bool(checksum)) for ccd in got)
    assert_same(got, alone(ccds))


def test_images_far_from_each_other(tmp_path):
    ccds, lender = opened(write(tmp_path / "night.fits")), Lender()
    assert_same(load_together([ccds[2], ccds[0]], lender), alone([ccds[2], ccds[0]]))
    assert_same(load_together(ccds[:1], lender), alone(ccds[:1]))
    assert len(lender.lent) == 3


def test_images_in_another_order_than_in_the_file(tmp_path):
    """One read for all would end before the second of these."""
    ccds, lender = opened(write(tmp_path / "night.fits")), Lender()
    order = [ccds[i] for i in (0, 2, 1)]
    assert_same(load_together(order, lender), alone(order))
    assert len(lender.lent) == 3


def test_much_between_two_images_is_not_read(tmp_path, monkeypatch):
    ccds, lender = opened(write(tmp_path / "night.fits")), Lender()
    order = [ccds[0], ccds[2]]
    assert_same(load_together(order, lender), alone(order))
    assert len(lender.lent) == 1
    monkeypatch.setattr(images_together, "MOST_BETWEEN", 2880)
    assert_same(load_together(order, lender), alone(order))
    assert len(lender.lent) == 3


def test_as_many_images_as_one_read_may_give_are_read_together(tmp_path, monkeypatch):
    ccds = opened(write(tmp_path / "a.fits.fz"))
    monkeypatch.setattr(images_together, "MOST_BETWEEN", 8640)
    largest = max(ccd.load.item.stored.data_size for ccd in ccds)
    monkeypatch.setattr(images_together, "MOST_BYTES", 3 * (largest + 8640))
    together = CcdsOnDisk(ccds)
    assert together.most_of_a_read == 3
    lender = Lender()
    assert isinstance(together.load(0, 3, lender), CcdsTogether)
    assert isinstance(together.load(0, 4, lender), list)
    monkeypatch.setattr(images_together, "MOST_BYTES", 10)
    assert together.most_of_a_read == 1


def test_two_files(tmp_path):
    ccds = [opened(write(tmp_path / f"{name}.fits"))[0] for name in "ab"]
    assert_same(load_together(ccds, Lender()), alone(ccds))


def test_images_that_a_gpu_does_not_decode(tmp_path):
    ccds = opened(write(tmp_path / "night.fits", code="GZIP_1"))
    assert_same(load_together(ccds, Lender()), alone(ccds))


def test_nothing_is_lent_twice_where_all_is_well(tmp_path):
    ccds, lender = opened(write(tmp_path / "night.fits")), Lender()
    with fits.open(tmp_path / "night.fits") as hdus:
        first = hdus[1].fileinfo()["datLoc"]
    load_together(ccds, lender)
    assert 0 <= (tmp_path / "night.fits").stat().st_size - first - lender.lent[0] < 2880


DAMAGE = {
    "a tile before the heap": (4, b"\xff\xff\xff\xff"),
    "a tile behind the heap": (4, b"\x7f\xff\xff\xff"),
    "a tile of too many bytes": (0, b"\x7f\xff\xff\xff"),
    "a tile without bytes": (0, b"\0\0\0\0"),
    "a byte of a scale": (20, b"\x01"),
}


@pytest.mark.parametrize("number", [1, 3, 4])
@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("on_device", [True, False])
def test_damage_is_told_as_for_one_image(tmp_path, monkeypatch, what, number, on_device):
    """The tile is the last of an image, so that the next image begins soon behind."""
    monkeypatch.setattr(sums_on_device, "wanted", on_device)
    place, value = DAMAGE[what]
    path = write(tmp_path / "night.fits")
    ccds = opened(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        row = hdus[number].header["NAXIS1"]
    change(path, number, (SHAPE[0] - 1) * row + place, value)
    got, wanted = load_together(ccds, Lender()), alone(ccds)
    if what != "a byte of a scale" or not on_device:
        assert [i for i, ccd in enumerate(got, 1) if isinstance(ccd, CcdFailure)] == [number]
    assert_same(got, wanted)


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("number", [1, 4])
def test_a_tile_may_end_with_its_heap_and_not_a_byte_later(tmp_path, number, beyond):
    path = write(tmp_path / "night.fits", checksum=False)
    ccds = opened(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        header = hdus[number].header
        rows, gap = header["NAXIS1"] * header["NAXIS2"], header.get("THEAP", 0)
        room = rows + header["PCOUNT"] - max(gap, rows)  # of the heap
    change(path, number, header["NAXIS1"], struct.pack(">ii", room - 100, 100 + beyond))
    got = load_together(ccds, Lender())
    assert [i for i, ccd in enumerate(got, 1) if isinstance(ccd, CcdFailure)] == [number] * beyond
    assert_same(got, alone(ccds))


@pytest.mark.parametrize("trouble", [None, "cut off", "not readable"])
def test_bytes_that_memory_held_before_never_count(tmp_path, trouble):
    """Memory is lent again and again, and may hold the very images that the system does not give this time."""
    path = write(tmp_path / "night.fits", checksum=False)
    with fits.open(path, disable_image_compression=True) as hdus:
        header, begin, span = hdus[1].header, hdus[1].fileinfo()["datLoc"], hdus[1].fileinfo()["datSpan"]
    row, n_tiles = header["NAXIS1"], header["NAXIS2"]
    end = begin + row * n_tiles + header["PCOUNT"]
    memory = np.frombuffer(path.read_bytes()[begin:end], np.uint8).copy()
    assert end <= begin + span
    if trouble == "cut off":
        os.truncate(path, end - 1)
    file = os.open(path, os.O_WRONLY if trouble == "not readable" else os.O_RDONLY)
    try:
        start, size, scale, zero = (np.zeros((1, n_tiles), kind) for kind in "qqdd")
        where = np.array([(begin, end)]), row, row * n_tiles, 0, 4, -1, -1
        assert read_sound_images(file, memory, *where, start, size, scale, zero) == (trouble is None)
    finally:
        os.close(file)


OTHERS = {
    "whole numbers": {"quantize_level": 0},
    "other tiles": {"tile_shape": (2, 90), "quantize_method": 1},
    "another code": {"compression_type": "GZIP_2", "quantize_method": 1},
    # The tables of these have the same columns as those of the others.
    "another dither": {"quantize_method": 2},
    "no dither": {"quantize_method": -1},
}


@pytest.mark.parametrize("what", OTHERS)
def test_an_image_of_another_form_between(tmp_path, what):
    """Such an image is none of the group, and all are read."""
    path = write(tmp_path / "night.fits")
    with fits.open(path) as hdus:
        image = hdus[2].data.astype(np.int32 if what == "whole numbers" else np.float32)
        hdus[2] = fits.CompImageHDU(
            image, name="N2", **{"compression_type": "RICE_1", "dither_seed": 2, **OTHERS[what]}
        )
        hdus.writeto(tmp_path / "mixed.fits", checksum=True)
    ccds, lender = opened(tmp_path / "mixed.fits"), Lender()
    got = load_together(ccds, lender)
    assert not any(isinstance(ccd, CcdFailure) for ccd in got)
    assert_same(got, alone(ccds))


def test_a_file_that_is_cut_off(tmp_path):
    path = write(tmp_path / "night.fits")
    ccds = opened(path)
    with fits.open(path) as hdus:
        end = hdus[3].fileinfo()["datLoc"] + 100
    os.truncate(path, end)
    got = load_together(ccds, Lender())
    assert [isinstance(ccd, CcdFailure) for ccd in got[2:]] == [True, True]
    assert_same(got, alone(ccds))


def test_a_file_that_is_written_to_while_it_is_read(tmp_path):
    """The headers are those of the file before: the pixels are refused, as for one image."""
    path = write(tmp_path / "night.fits", checksum=False)
    ccds = opened(path)
    several = CcdsOnDisk(ccds)
    assert isinstance(several.load(0, 2, Lender()), CcdsTogether)
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(state.st_size - 2880)
        file.write(b"!")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    got = several.load(2, 4, Lender())
    assert isinstance(got, list)
    assert all("was changed while it was being read" in ccd.reason for ccd in got)
    assert_same(got, alone(ccds[2:]))


def test_a_file_that_is_written_to_during_the_read_of_one_image(tmp_path, monkeypatch):
    path = write(tmp_path / "night.fits", checksum=False)
    (ccd, *_), plain = opened(path), os.preadv

    def read(*arguments):
        n = plain(*arguments)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return n

    monkeypatch.setattr(os, "preadv", read)
    failure = ccd.load(encoded=True, room=Lender())
    assert isinstance(failure, CcdFailure)
    assert f"{path}" in failure.reason
    assert "was changed while it was being read" in failure.reason
    assert "the next run reads it again" in failure.reason


def test_a_file_that_is_cut_off_behind_the_images(tmp_path):
    """What is said of an image does not depend on which images are read with it."""
    path = write(tmp_path / "night.fits")
    ccds = opened(path)
    several = CcdsOnDisk(ccds)
    os.truncate(path, path.stat().st_size - 2880)
    got = several.load(0, 2, Lender())
    assert_same(got if isinstance(got, list) else apart(got), alone(ccds[:2]))


CARDS = {"INSTRUME": "DECam", "PROCTYPE": "InstCal", "PLVER": "V4.8", "FILTER": "r", "EXPNUM": 7}


def test_masks_of_ccds_that_are_read_together(tmp_path, monkeypatch):
    """A CCD with a mask, one whose mask says nothing, and one whose plane is missing: that one costs no other."""
    path = write(tmp_path / "c4d_200101_010101_ooi_r_v1.fits.fz", **CARDS)
    planes = []
    for number in (1, 2, 4):
        values = np.zeros(SHAPE, np.int32)
        values[3:9, 5] = 1 if number == 1 else 0
        planes.append(fits.CompImageHDU(values, name=f"N{number}", compression_type="RICE_1"))
    mask = tmp_path / path.name.replace("_ooi_", "_ood_")
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(CARDS)), *planes]).writeto(mask)
    (exposure,) = discover([tmp_path], Settings()).exposures
    assert exposure.masks == (mask,)
    ccds = list(open_ccds(exposure, Settings()))
    decoded = []
    plain = Masks.bad
    monkeypatch.setattr(
        Masks, "bad", lambda self, item, *more: (decoded.append(item.number), plain(self, item, *more))[1]
    )
    several = CcdsOnDisk(ccds)
    assert decoded == []  # a mask is as large as its CCD: it is read when the CCD is
    found = several.load(0, 2, Lender())
    assert decoded == [1, 2]
    assert isinstance(found, CcdsTogether)
    assert [None if ccd.bad is None else int((ccd.bad > 0).sum()) for ccd in found.ccds] == [6, None]
    got = load_together(ccds, Lender())
    assert [isinstance(ccd, CcdFailure) for ccd in got] == [False, False, True, False]
    for one, other in zip(got, alone(ccds), strict=True):
        if isinstance(one, CcdFailure):
            assert one == other
        else:
            assert np.array_equal(one.bad, other.bad) if one.bad is not None else other.bad is None


def with_masks(tmp_path, what):
    """CCDs and their masks: all plain, all unusual, or that of the second CCD unusual or damaged."""
    path = write(tmp_path / "c4d_200101_010101_ooi_r_v1.fits.fz", **CARDS)
    rng = np.random.default_rng(2)
    kind = {"8 bits": np.uint8, "16 bits": np.int16}.get(what, np.int32)
    planes = []
    for number in range(1, COUNT + 1):
        values = rng.choice([0, 0, 0, 1, 3, 5, 8, 12], SHAPE).astype(kind) * (number != 3)
        options = {"compression_type": "RICE_1"}
        values = values.astype(np.uint16) if what == "unsigned" else values
        if number == 2:
            values[5, 6:9] += 64 * (what == "bits")
            values = values[:50] if what == "other shape" else values
            options["compression_type"] = "GZIP_1" if what == "other code" else "RICE_1"
        planes.append(fits.CompImageHDU(values, name=f"N{number}", **options))
        if what == "blank":
            planes[-1].header["BLANK"] = 5
    mask = tmp_path / path.name.replace("_ooi_", "_ood_")
    cards = CARDS | ({"PLVER": "V3.4"} if what == "old" else {})
    checksum = "datasum" if what != "damaged tile" else False
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards)), *planes]).writeto(mask, checksum=checksum)
    if what == "damaged tile":
        change(mask, 2, 0, b"\0\0\0\1")
    if what == "wrong sum":
        whole = mask.read_bytes()
        at = whole.index(b"DATASUM = '", whole.index(b"EXTNAME = 'N2")) + 11
        mask.write_bytes(whole[:at] + (b"1" if whole[at : at + 1] != b"1" else b"2") + whole[at + 1 :])
    (exposure,) = discover([tmp_path], Settings()).exposures
    assert exposure.masks == (mask,)
    return list(open_ccds(exposure, Settings()))


PLAIN_MASKS = ["32 bits", "16 bits", "8 bits", "bits", "old"]


@pytest.mark.parametrize(
    "what", [*PLAIN_MASKS, "unsigned", "other shape", "other code", "blank", "wrong sum", "damaged tile"]
)
@pytest.mark.parametrize("on_device", [True, False])
def test_masks_that_are_read_together_are_those_that_are_read_one_by_one(tmp_path, monkeypatch, what, on_device):
    monkeypatch.setattr(sums_on_device, "wanted", on_device)
    ccds = with_masks(tmp_path, what)
    one_by_one, wanted = [], alone(ccds)
    plain = Masks.bad
    monkeypatch.setattr(Masks, "bad", lambda self, *given: (one_by_one.append(given), plain(self, *given))[1])
    got = load_together(ccds, Lender())
    assert bool(one_by_one) == (what not in PLAIN_MASKS)
    failed = [isinstance(ccd, CcdFailure) for ccd in wanted]
    is_wrong = what in ("other shape", "wrong sum", "damaged tile")
    assert failed == [what == "blank", what == "blank" or is_wrong, False, what == "blank"]
    for one, other in zip(got, wanted, strict=True):
        if isinstance(other, CcdFailure):
            assert one == other
        else:
            assert (one.bad is None) == (other.bad is None) == (one.name == "N3")
            assert one.bad is None or np.array_equal(one.bad, other.bad)
