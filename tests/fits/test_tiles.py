"""Compressed images to the bit: equal to astropy and to cfitsio, and to the image in the form that is sent to a GPU."""

from __future__ import annotations

import logging
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits import decode_raw, decode_rice, discover, open_ccds
from gpuanom.fits.ccds.pixels import as_stored, numbers, pixels
from gpuanom.fits.decoding.table_header import table_form
from gpuanom.fits.opening.file import File
from gpuanom.records import Ccd, CcdOnDisk
from tests.fits import compressed


def equal_bits(a, b):
    """Whether two float32 images have the same bits, with any NaN equal to any other."""
    nan = np.isnan(a)
    return np.array_equal(nan, np.isnan(b)) and np.array_equal(a[~nan].view(np.uint32), b[~nan].view(np.uint32))


def first_image(path):
    file = File(path)
    (item,) = file.hdus()
    return file, item


def check(path):
    """Compare our pixels with both references, and the form that is sent to a GPU with our pixels."""
    file, item = first_image(path)
    ours = pixels(file, item)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert equal_bits(ours, compressed.by_astropy(path))
    with_cfitsio = pytest.importorskip("fitsio") and compressed.by_cfitsio(path)
    assert equal_bits(ours, with_cfitsio)
    stored = as_stored(file, item)
    if isinstance(stored, RiceImage):
        into = np.full(ours.shape, 7, np.float32)
        assert decode_rice(stored, into) is into
        assert equal_bits(into, ours)
    return ours


@pytest.mark.parametrize("number", [pytest.param(i, marks=pytest.mark.proof if i >= 30 else ()) for i in range(60)])
def test_random_images_equal_astropys_and_cfitsios(tmp_path, number):
    pytest.importorskip("fitsio")
    rng = np.random.default_rng(number)
    for k in range(4):
        check(compressed.write(tmp_path / f"{k}.fits", **compressed.random_case(rng)))


@pytest.mark.parametrize("writer", ["astropy", "fitsio"])
@pytest.mark.parametrize("dither", [0, 1, 2])
@pytest.mark.parametrize("seed", compressed.SEEDS)
def test_tiles_longer_than_the_table_of_random_numbers(tmp_path, writer, dither, seed):
    pytest.importorskip("fitsio")
    case = {
        "writer": writer, "code": "RICE_1", "dtype": "f4", "shape": (5, 23000), "tile": (2, 23000), "dither": dither,
        "seed": seed, "level": 4.0, "lossless": False, "nans": True, "random": seed,
    }  # fmt: skip
    check(compressed.write(tmp_path / "a.fits", **case))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4"])
def test_integers_of_the_whole_range(tmp_path, dtype):
    """Differences of more bits than the integers have, and blocks that are stored uncoded."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    image = rng.integers(info.min, info.max, (40, 67), dtype=dtype, endpoint=True)
    image[3, ::2], image[3, 1::2] = info.min, info.max
    image[5] = info.max
    image[6, 30] = info.min
    image[10:20] = rng.choice(np.array([info.min, info.min + 1, info.max], dtype), (10, 67))
    for tile in ((1, 67), (7, 64), (40, 67)):
        path = tmp_path / f"{tile[0]}.fits"
        hdu = fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        np.testing.assert_array_equal(check(path), image.astype(np.float32))


@pytest.mark.parametrize(
    ("fs", "height"), [(0, 5_000_000), (0, 57), (0, 58), (0, 120), (2, 1000), (5, 3000), (12, 10**7)]
)
def test_cosmic_rays_in_quiet_blocks(tmp_path, fs, height):
    """Differences with runs of zeros that are much longer than a window."""
    image = np.random.default_rng(fs).integers(0, 1 + (1 << fs), (9, 200)).astype(np.int32)
    image[np.arange(9), np.arange(9) * 20] += height
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1")]).writeto(path)
    np.testing.assert_array_equal(check(path), image.astype(np.float32))


@pytest.mark.parametrize("blocksize", [8, 16, 32, 64, 100])
def test_other_blocks(tmp_path, blocksize):
    """These tiles are made by hand, since no available writer uses other block sizes than 32."""
    image = np.random.default_rng(1).normal(0, 20, (6, 333)).round().astype(np.int64)
    tiles = [_rice(row, blocksize) for row in image]
    start = np.concatenate([[0], np.cumsum([len(t) for t in tiles])[:-1]]).astype(np.int64)
    made = RiceImage(
        data=np.frombuffer(b"".join(tiles), np.uint8), shape=image.shape, tile=(1, 333), start=start,
        size=np.array([len(t) for t in tiles]), bytepix=4, blocksize=blocksize, quantised=False, dither=0, seed=1,
        scale=np.ones(6), zero=np.zeros(6), blank=np.full(6, 2**62),
    )  # fmt: skip
    np.testing.assert_array_equal(decode_rice(made), image)
    with pytest.raises(InputError, match="tile 5 of 6 is damaged"):
        decode_rice(replace(made, size=made.size - [0, 0, 0, 0, 0, 2]))


def _rice(row, blocksize, fs=4):
    """A Rice-coded tile of 32-bit integers, straight from the definition."""
    bits = f"{int(row[0]) & 0xFFFFFFFF:032b}"
    differences = np.diff(row, prepend=row[0])
    for at in range(0, len(row), blocksize):
        bits += f"{fs + 1:05b}"
        for d in differences[at : at + blocksize]:
            v = int(2 * d if d >= 0 else -2 * d - 1)
            bits += "0" * (v >> fs) + "1" + f"{v & ((1 << fs) - 1):0{fs}b}"
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("code", ["HCOMPRESS_1", "PLIO_1"])
def test_what_is_unusual_goes_through_astropy_and_is_said(tmp_path, caplog, code):
    image = np.random.default_rng(0).integers(0, 1000, (64, 64)).astype(np.int16)
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type=code)]).writeto(path)
    file, item = first_image(path)
    with caplog.at_level(logging.INFO, "gpuanom"):
        np.testing.assert_array_equal(pixels(file, item), image)
    assert code in caplog.text
    assert f"{path}[1]" in caplog.text
    assert as_stored(file, item) is None


UNUSUAL = [
    (code, dtype)
    for code in ("PLIO_1", "HCOMPRESS_1")
    for dtype in ("u1", "i1", "i2", "u2", "i4", "u4", "f4")
    if code != "PLIO_1" or dtype not in ("u4", "f4")  # CFITSIO writes no such image
]


@pytest.mark.parametrize(("code", "dtype"), UNUSUAL)
def test_what_goes_through_astropy_is_what_cfitsio_reads(tmp_path, code, dtype):
    """CFITSIO adds 32768 to unsigned 16-bit images before PLIO compression, which astropy does not subtract again."""
    import fitsio

    kind = np.dtype(dtype)
    image = np.zeros((60, 70), kind)
    image[3:9], image[20], image[30, 5] = (40000, 7, 65535) if dtype == "u2" else (100, 9, 1)
    if kind.kind == "f":
        image += np.random.default_rng(0).normal(0, 1, image.shape).astype(kind)
    path = tmp_path / "a.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(image, compress=code.removesuffix("_1"), tile_dims=(20, 35), qlevel=16)
    file, item = first_image(path)
    wanted = fitsio.read(str(path), ext=1)
    np.testing.assert_array_equal(pixels(file, item), wanted.astype(np.float32))
    if kind.kind != "f":
        np.testing.assert_array_equal(wanted, image)
        values = numbers(file, item)
        np.testing.assert_array_equal(values, wanted)
        assert values.dtype.kind == kind.kind


def test_blank_pixels_of_an_unsigned_plio_image(tmp_path):
    """BLANK is a stored number, and CFITSIO compares it as such; PLIO stores the values, so BLANK is a value here."""
    import fitsio

    image = np.zeros((60, 70), np.uint16)
    image[3:9], image[20] = 40000, 7
    path = tmp_path / "a.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(image, compress="PLIO", header={"BLANK": 7})
    np.testing.assert_array_equal(np.isnan(pixels(*first_image(path))), image == 7)


def test_usual_images_do_not_need_astropy(tmp_path, caplog):
    caplog.set_level(logging.INFO, "gpuanom")
    rng = np.random.default_rng(3)
    for k in range(20):
        path = compressed.write(tmp_path / f"{k}.fits", **(compressed.random_case(rng) | {"writer": "astropy"}))
        pixels(*first_image(path))
    assert caplog.text == ""


@pytest.mark.parametrize("dtype", ["u1", ">i2", ">i4", ">i8", ">f4", ">f8"])
@pytest.mark.parametrize(("scale", "zero"), [(1.0, 0.0), (1.0, 32768.0), (0.37, -12.5), (1e-30, 1e5), (3e30, 0.0)])
def test_scaled_numbers_are_rounded_once(dtype, scale, zero):
    """float32(float64(stored) BSCALE + BZERO), which differs from astropy's float32 arithmetic for 16-bit integers."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        stored = np.concatenate([rng.normal(0, 1e3, 995), [np.nan, np.inf, -np.inf, 0.0, -0.0]]).astype(kind)
    else:
        info = np.iinfo(kind)
        stored = rng.integers(info.min, info.max, 1000, dtype=np.int64, endpoint=True).astype(kind)
        stored[7] = 55
    bitpix = kind.itemsize * 8 * (-1 if kind.kind == "f" else 1)
    raw = RawImage(stored.view(np.uint8), (20, 50), bitpix, scale, zero, 55)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = (stored.astype(np.float64) * scale + zero).astype(np.float32)
        if (scale, zero) == (1.0, 0.0):
            wanted = stored.astype(np.float32)
    if kind.kind != "f":
        wanted[stored == 55] = np.nan
    for data in (raw.data, np.concatenate([[np.uint8(0)], raw.data])[1:]):  # aligned in memory or not
        assert equal_bits(decode_raw(replace(raw, data=data)).ravel(), wanted)


def test_encoded_and_decoded_ccds_are_the_same(tmp_path, settings):
    rng = np.random.default_rng(0)
    image = rng.normal(100, 5, (70, 90)).astype(np.float32)
    image[10] = 3
    hdus = [
        fits.CompImageHDU(image, name="RICE", compression_type="RICE_1", quantize_level=4),
        fits.CompImageHDU(image, name="GZIP", compression_type="GZIP_2", quantize_level=4),
        fits.ImageHDU(image, name="F32"),
        fits.ImageHDU(image.astype(np.uint16), name="U16"),
        fits.ImageHDU(image.astype(np.float64), name="F64"),
    ]
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    (exposure,) = discover([path], settings).exposures
    kinds = {"RICE": RiceImage, "GZIP": np.ndarray, "F32": RawImage, "U16": RawImage, "F64": np.ndarray}
    for item in open_ccds(exposure, settings):
        assert isinstance(item, CcdOnDisk)
        plain, stored = item.load(), item.load(encoded=True)
        assert isinstance(stored.image, kinds[item.name])
        assert plain.image.shape == item.shape
        decoder = {RiceImage: decode_rice, RawImage: decode_raw, np.ndarray: np.asarray}[kinds[item.name]]
        assert equal_bits(decoder(stored.image), plain.image)
        if item.name == "RICE":
            assert [tile for tile, _ in stored.image.decoded] == [10]


def test_what_two_tables_say_alike_is_understood_once(tmp_path):
    """What a table is read from decides, not its dithering seed, the name of its HDU or the length of its tiles."""
    image = np.random.default_rng(5).normal(100, 3, (20, 30)).astype(np.float32)

    def form(name, **changes):
        how = {"compression_type": "RICE_1", "quantize_level": 4.0, "quantize_method": 1, "tile_shape": (1, 30)}
        hdu = fits.CompImageHDU(image, name=name, **{**how, **changes})
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"{name}.fits")
        _, item = first_image(tmp_path / f"{name}.fits")
        return table_form(item.stored.header, image.shape)

    first = form("A", dither_seed=3)
    assert form("B", dither_seed=777) is first
    assert (first.dither, first.tile, first.bitpix) == (1, (1, 30), -32)
    others = [form("C", quantize_method=2), form("D", tile_shape=(2, 30)), form("E", quantize_method=-1)]
    assert [(other.dither, other.tile) for other in others] == [(2, (1, 30)), (1, (2, 30)), (0, (1, 30))]


def test_loading_from_many_threads_and_into_given_memory(tmp_path, settings):
    images = [np.random.default_rng(n).normal(100, 5, (200, 90)).astype(np.float32) for n in range(6)]
    hdus = [fits.CompImageHDU(im, name=f"C{n}", compression_type="RICE_1") for n, im in enumerate(images)]
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    (exposure,) = discover([path], settings).exposures
    items = list(open_ccds(exposure, settings))
    wanted = [item.load().image for item in items]
    wrong = []

    def work():
        out = np.empty((200, 90), np.float32)
        for _ in range(10):
            for item, image in zip(items, wanted, strict=True):
                ccd = item.load(out=out)
                if not (isinstance(ccd, Ccd) and np.shares_memory(ccd.image, out) and np.array_equal(out, image)):
                    wrong.append(item.name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.real
def test_real_compressed_files_equal_cfitsios(real_data, all_fits):
    fitsio = pytest.importorskip("fitsio")
    count = 0
    for path in all_fits(real_data):
        with fits.open(path) as hdus, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each HDU is examined when it is asked for
            numbers = [n for n, hdu in enumerate(hdus) if isinstance(hdu, fits.CompImageHDU)]
        if not numbers:
            continue
        file = File(path)
        for item in file.hdus():
            if item.number in numbers:
                count += 1
                ours = pixels(file, item)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert equal_bits(ours, fits.getdata(path, item.number).astype(np.float32)), path
                assert equal_bits(ours, fitsio.read(str(path), ext=item.number).astype(np.float32)), path
    assert count >= 10
