import gzip
import os
import re
import tempfile
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.cameras.rules import CameraRule
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.fits import decode_raw, decode_rice, discover, open_ccds, read_ccds
from gpuanom.records import Ccd, CcdFailure, Turn, Unfit
from gpuanom.settings import Settings


def picture(ny=70, nx=80, seed=0):
    return np.random.default_rng(seed).normal(1000, 10, (ny, nx)).astype(np.float32)


def statuses(items):
    return {name: item.status for name, item in items.items() if isinstance(item, CcdFailure)}


@pytest.mark.parametrize("dtype", ["u1", ">i2", ">i4", ">i8", ">f4", ">f8", "u2", "u4", "i1"])
def test_any_number_type_becomes_native_float32(write, read, dtype):
    data = np.arange(20 * 30).reshape(20, 30) % 100
    ccd = read(write("a.fits", data=data.astype(dtype)))["0"]
    assert ccd.image.dtype == np.dtype("=f4")
    assert ccd.image.flags.c_contiguous
    np.testing.assert_array_equal(ccd.image, data)
    assert (ccd.bad, ccd.turn, ccd.sky_axes) == (None, Turn.NONE, None)
    assert np.isnan(ccd.saturation)


def test_scaled_integers_with_blank(tmp_path, read):
    path = tmp_path / "a.fits"
    _write_raw(path, np.array([[1, 2, -32768, 4]], ">i2"), BSCALE=0.5, BZERO=10.0, BLANK=-32768)
    np.testing.assert_array_equal(read(path)["0"].image, [[10.5, 11.0, np.nan, 12.0]])


@pytest.mark.parametrize("cards", [{"BZERO": "abc"}, {"BSCALE": "1,5"}, {"BZERO": True}, {"BSCALE": "nan"}])
def test_a_scale_that_is_no_number_is_no_scale_of_one(tmp_path, read, cards):
    """Without it the pixels would be other numbers, and the CCD would have a good score all the same."""
    path = tmp_path / "a.fits"
    _write_raw(path, np.array([[1, 2, 3, 4]], ">i2"), **cards)
    (failure,) = read(path).values()
    assert failure.status == "corrupt"
    assert f"[0]: its {next(iter(cards))} card is no number (mend the card" in failure.reason


@pytest.mark.parametrize(("blank", "is_blank"), [(-7.0, True), (-7.5, False), ("none", False)])
def test_a_blank_value_may_be_written_with_a_point(tmp_path, read, blank, is_blank):
    path = tmp_path / "a.fits"
    _write_raw(path, np.array([[1, -7, 3]], ">i2"), BLANK=blank)
    assert np.isnan(read(path)["0"].image[0, 1]) == is_blank


def test_a_compressed_blank_value_may_be_written_with_a_point(tmp_path, read):
    path = tmp_path / "a.fits"
    data = np.arange(6400, dtype=np.int16).reshape(80, 80)
    image = fits.CompImageHDU(data, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header["ZBLANK"] = 17.0
    pixels = read(path)["1"].image
    assert np.isnan(pixels[0, 17])
    assert np.isnan(pixels).sum() == 1


def _write_raw(path, data, **cards):
    """Write a primary image with exactly these stored numbers and cards, which astropy would rescale."""
    bitpix = {"i": 1, "u": 1, "f": -1}[data.dtype.kind] * data.dtype.itemsize * 8
    header = fits.Header({"SIMPLE": True, "BITPIX": bitpix, "NAXIS": data.ndim})
    for axis, size in enumerate(reversed(data.shape), 1):
        header[f"NAXIS{axis}"] = size
    header.update(cards)
    body = data.tobytes()
    path.write_bytes(header.tostring().encode() + body + b"\0" * (-len(body) % 2880))


@pytest.mark.parametrize("cards", [{}, {"BZERO": 32768.0}])
def test_blank_integers_without_scaling(tmp_path, read, cards):
    """Astropy does not scale unsigned 16-bit images with blank pixels."""
    path = tmp_path / "a.fits"
    _write_raw(path, np.array([[1, -7, 3]], ">i2"), BLANK=-7, **cards)
    zero = cards.get("BZERO", 0)
    np.testing.assert_array_equal(read(path)["0"].image, [[1 + zero, np.nan, 3 + zero]])


def test_infinite_and_huge_values_stay_visible(write, read):
    data = np.array([[1.0, np.inf, -np.inf, np.nan, 1e300]])
    np.testing.assert_array_equal(read(write("a.fits", data=data))["0"].image, [[1, np.inf, -np.inf, np.nan, np.inf]])


@pytest.mark.parametrize(
    ("kind", "data"),
    [("RICE_1", np.arange(6400, dtype=np.int16).reshape(80, 80)), ("GZIP_1", np.arange(6400.0).reshape(80, 80)),
     ("GZIP_2", np.arange(6400, dtype=np.int32).reshape(80, 80)), ("RICE_1", picture(80, 80)),
     ("HCOMPRESS_1", np.arange(6400, dtype=np.int32).reshape(80, 80)), ("PLIO_1", np.eye(80, dtype=np.int16))],
)  # fmt: skip
def test_compressed_images_equal_astropys(tmp_path, read, kind, data):
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type=kind, name="c1")]).writeto(path)
    np.testing.assert_array_equal(read(path)["C1"].image, fits.getdata(path, 1).astype(np.float32))


def test_a_gzipped_file(write, read, tmp_path):
    raw = write("b/a.fits", (picture(), {"EXTNAME": "c1"})).read_bytes()
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(raw))
    np.testing.assert_array_equal(read(path)["c1"].image, picture())


def test_ccds_come_in_file_order_with_their_cards(instcal, read):
    items = read(instcal())
    assert list(items) == ["S29", "N4"]
    assert [c.saturation for c in items.values()] == [42000.0, 41000.0]
    for seed, ccd in enumerate(items.values()):
        np.testing.assert_array_equal(ccd.image, picture(seed=seed))
        assert ccd.bad.dtype == np.uint8
        assert ccd.bad[3, 4] == Unfit.BACKGROUND | Unfit.SOURCES | Unfit.GRADIENTS
        assert np.count_nonzero(ccd.bad) == 1


def test_no_mask_reads_no_mask(instcal, read):
    path = instcal()
    path.with_name(path.name.replace("ooi", "ood")).write_text("unreadable")
    assert [c.bad for c in read(path, settings=Settings(mask=False)).values()] == [None, None]


def test_a_mask_in_another_order_is_matched_by_name(instcal, read):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    with fits.open(mask) as hdus:
        hdus[1].data[:] = 3  # code 3 in the mask of S29 means saturated, for the background only
        fits.HDUList([hdus[0], hdus[2], hdus[1]]).writeto(mask, overwrite=True)
    items = read(path)
    assert np.all(items["S29"].bad == Unfit.BACKGROUND)
    assert np.count_nonzero(items["N4"].bad) == 1


def test_a_mask_of_another_shape(instcal, read):
    assert statuses(read(instcal(plane=np.zeros((70, 81), np.int32)))) == {
        "S29": "mask_mismatch",
        "N4": "mask_mismatch",
    }


@pytest.mark.parametrize("damage", ["text", "short", "other names", "fractions"])
def test_a_ccd_is_never_scored_without_the_mask_it_has(instcal, read, damage):
    path = instcal(plane=np.full((70, 80), 0.5, np.float32) if damage == "fractions" else None)
    mask = path.with_name(path.name.replace("ooi", "ood"))
    if damage == "text":
        mask.write_text("no FITS at all")
    elif damage == "short":
        mask.write_bytes(mask.read_bytes()[: 2880 * 2 + 5000])
    elif damage == "other names":
        with fits.open(mask, mode="update") as hdus:
            for hdu in hdus[1:]:
                hdu.header["EXTNAME"] = "X" + hdu.header["EXTNAME"]
    items = read(path)
    assert statuses(items) == {"S29": "mask_unreadable", "N4": "mask_unreadable"}
    assert all("--no-mask" in item.reason and "ood" in item.reason for item in items.values())


def test_lsst_planes_of_the_same_file(write, read):
    planes = np.zeros((70, 80), np.int32)
    planes[1, 2] = 1 << 4
    path = write(
        "calexp.fits",
        (picture(), {"EXTTYPE": "IMAGE", "AR_HDU": 5}),
        (planes, {"EXTTYPE": "MASK", "MP_BAD": 4}),
        (picture(), {"EXTTYPE": "VARIANCE"}),
        INSTRUME="HSC",
    )
    (ccd,) = read(path).values()
    assert np.argwhere(ccd.bad).tolist() == [[1, 2]]


OWN = CameraRule(name="mine", match=(("SHOT", "*"),), mask="bits", mask_hdu="DQ", mask_values=(("1", "bad"),))


def _flagged(column):
    plane = np.zeros((70, 80), np.int32)
    plane[0, column] = 1
    return plane


def _flags(items):
    """For each CCD the flagged columns, or the status of the failure."""
    return {
        name: item.status if isinstance(item, CcdFailure) else np.flatnonzero(item.bad[0]).tolist()
        for name, item in items.items()
    }


@pytest.mark.parametrize(
    ("order", "flags"),
    [
        ("C1 D1 C2 D2", {"C1": [1], "C2": [2]}),
        ("C1:1 C2:2 D1:1 D2:2", {"C1": [1], "C2": [2]}),
        ("C2:2 D1:1 C1:1 D2:2", {"C1": [1], "C2": [2]}),
        ("D1:1 C1:1 D2:2 C2:2", {"C1": [1], "C2": [2]}),
        ("C1:1 D1:1 C2:1 D2:1", {"C1": [1], "C2": [2]}),  # EXTVER counts separately for each EXTNAME
        ("C1:1 D1:11 C2:2 D2:12", {"C1": [1], "C2": [2]}),  # two separate counts
        ("C1:1 C2:2 D1:1", {"C1": [1], "C2": "mask_unreadable"}),
        ("C1 C2 D1 D2", {"C1": "mask_unreadable", "C2": "mask_unreadable"}),
        ("D1 C1 D2 C2", {"C1": "mask_unreadable", "C2": "mask_unreadable"}),
        ("C1 D1 D2", {"C1": "mask_unreadable"}),
        ("C1 C2 D2", {"C1": "mask_unreadable", "C2": [2]}),
        ("D1 C1", {"C1": [1]}),
        ("C1", {"C1": "mask_unreadable"}),
    ],
)
def test_every_ccd_has_its_own_plane_of_the_same_file(write, read, order, flags):
    extensions = []
    for entry in order.split():
        what, _, version = entry.partition(":")
        header = {"EXTNAME": what if what[0] == "C" else "DQ"} | ({"EXTVER": int(version)} if version else {})
        extensions.append((picture() if what[0] == "C" else _flagged(int(what[1])), header))
    path = write("a.fits", *extensions, SHOT="x")
    items = read(path, settings=Settings(cameras=(OWN,)))
    assert _flags(items) == flags
    assert all("--no-mask" in i.reason and "a.fits" in i.reason for i in items.values() if isinstance(i, CcdFailure))
    assert all(i.bad is None for i in read(path, settings=Settings(cameras=(OWN,), mask=False)).values())


def test_a_calexp_without_its_plane_is_said(write, read):
    path = write("calexp.fits", (picture(), {"EXTTYPE": "IMAGE", "AR_HDU": 5}), (picture(), {"EXTTYPE": "VARIANCE"}))
    (item,) = read(path).values()
    assert (item.status, "no MASK HDU" in item.reason) == ("mask_unreadable", True)
    (item,) = read(path, settings=Settings(mask=False)).values()
    assert isinstance(item, Ccd)


def test_a_mask_that_is_trimmed_already_lies_as_it_is(write, read):
    """The image has an overscan and its mask has none: flags are neither moved nor turned."""
    raw = np.full((75, 96), -1, np.float32)
    raw[4:74, 10:90] = picture()
    plane = np.zeros((70, 80), np.int32)
    plane[0, 0] = plane[0, 7] = plane[3, 0] = plane[69, 5] = plane[20, 79] = 1
    camera = CameraRule.from_mapping(OWN.name, OWN.to_mapping() | {"trim": ["DATASEC"]})
    path = write("a.fits", (raw, {"EXTNAME": "C1", "DATASEC": "[11:90,5:74]"}), (plane, {"EXTNAME": "DQ"}), SHOT="x")
    ccd = read(path, settings=Settings(cameras=(camera,)))["C1"]
    np.testing.assert_array_equal(ccd.image, picture())
    np.testing.assert_array_equal(ccd.bad != 0, plane != 0)


def test_trimmed_and_joined_with_its_mask(write, read):
    wanted = picture(60, 40)
    raw = np.full((65, 60), -1, np.float32)
    raw[5:, 10:30], raw[5:, 35:55] = wanted[:, :20], wanted[:, 20:]
    plane = np.zeros(raw.shape, np.int32)
    plane[5, 35] = 1
    camera = CameraRule(
        name="mine", trim=("DATASECA+DATASECB",), mask="bits", mask_hdu="DQ", mask_values=(("1", "bad"),)
    )
    cards = {"DATASECA": "[36:55,6:65]", "DATASECB": "[11:30,6:65]"}
    path = write("a.fits", (raw, {"EXTNAME": "c1"} | cards), (plane, {"EXTNAME": "DQ"}))
    ccd = read(path, settings=Settings(cameras=(CameraRule(name="first", match=(("NO", "x"),)), *_as(camera))))["c1"]
    np.testing.assert_array_equal(ccd.image, wanted)
    assert np.argwhere(ccd.bad).tolist() == [[0, 20]]


def _as(rule):
    """The rule, made to match every file with an extension called C1."""
    return (CameraRule.from_mapping(rule.name, rule.to_mapping() | {"match": {"EXTNAME": "C1"}}),)


def test_a_section_that_makes_no_sense(write, read):
    path = write(
        "a.fits", (picture(), {"EXTNAME": "S1", "DATASEC": "[1:90,1:60]"}), (picture(), {"EXTNAME": "S2"}),
        INSTRUME="DECam", PROCTYPE="RAW", EXPNUM=1,
    )  # fmt: skip
    items = read(
        path, settings=Settings(cameras=(CameraRule(name="r", match=(("PROCTYPE", "RAW"),), trim=("DATASEC",)),))
    )
    assert statuses(items) == {"S1": "bad_section"}
    assert isinstance(items["S2"], Ccd)


def test_guide_and_focus_sensors_are_not_read(write, read):
    cards = {"INSTRUME": "DECam", "PROCTYPE": "RAW", "EXPNUM": 1}
    path = write("a.fits", *((picture(), {"EXTNAME": n}) for n in ("S1", "FS1", "N31", "FN4")), **cards)
    assert list(read(path)) == ["S1", "N31"]
    only = write("b/b.fits", (picture(), {"EXTNAME": "FS1"}), **cards)
    (failure,) = read(only).values()
    assert (failure.status, "focus" in failure.reason) == ("no_image", True)


def test_planes_are_no_ccds(write, read):
    names = ("SCI1", "MASK", "VARIANCE", "WEIGHT", "DQ", "ERR", "MSK", "WGT")
    path = write("a.fits", *((picture(), {"EXTNAME": n}) for n in names))
    assert list(read(path)) == ["SCI1"]


def test_hdus_without_names_go_by_number(write, read):
    path = write("a.fits", *((picture(), {}) for _ in range(2)), (picture(), {"EXTNAME": "SCI"}))
    assert list(read(path)) == ["1", "2", "3"]


def test_an_empty_extension_is_no_ccd(write, read):
    assert list(read(write("a.fits", (None, {"EXTNAME": "X"}), (picture(), {"EXTNAME": "Y"})))) == ["Y"]


@pytest.mark.parametrize(
    ("shape", "status"), [((50,), "not_2d"), ((2, 30, 40), "cube"), ((3, 1, 30, 40), "cube"), ((40, 1, 30), "cube")]
)
def test_other_dimensions_than_two(write, read, shape, status):
    path = write("a.fits", (np.zeros(shape, np.float32), {"EXTNAME": "X"}), (picture(), {"EXTNAME": "Y"}))
    items = read(path)
    assert statuses(items) == {"X": status}
    assert "2-D image" in items["X"].reason
    assert isinstance(items["Y"], Ccd)


CODES = ("", "RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1")
# PLIO holds integers only.
FORMS = [(code, dtype) for code in CODES for dtype in (np.int16, np.float32) if (code, dtype) != ("PLIO_1", np.float32)]


@pytest.mark.parametrize("axes", [(1,), (1, 1)], ids=["NAXIS3", "NAXIS4"])
@pytest.mark.parametrize(("code", "dtype"), FORMS)
def test_axes_of_length_one_are_left_out(tmp_path, settings, code, dtype, axes):
    """The pixels are those of an image without these axes: plain and compressed, decoded here and as sent to a GPU."""
    image = np.random.default_rng(3).integers(0, 900, (30, 40)).astype(dtype)
    deep = image.reshape(*axes, *image.shape)
    if not code:
        hdu, wanted = fits.ImageHDU(deep), image.astype(np.float32)
    else:
        tile = (30, 40) if code == "HCOMPRESS_1" else (1, 40)
        wanted = _read_back(fits.CompImageHDU(image, compression_type=code, tile_shape=tile), tmp_path)
        hdu = fits.CompImageHDU(deep, compression_type=code, tile_shape=(*axes, *tile))
    hdu.name = "X"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    (exposure,) = discover([tmp_path / "a.fits"], settings).exposures
    (item,) = open_ccds(exposure, settings)
    assert item.shape == (30, 40)
    np.testing.assert_array_equal(item.load().image, wanted)
    stored = item.load(encoded=True).image
    if isinstance(stored, RawImage):
        np.testing.assert_array_equal(decode_raw(stored), wanted)
    elif isinstance(stored, RiceImage):
        np.testing.assert_array_equal(decode_rice(stored), wanted)


def _read_back(hdu, tmp_path):
    """The pixels of an image without further axes, written by the same program."""
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits") as hdus:
        return hdus[1].data.astype(np.float32)


def test_one_pixel_is_read(write, read):
    assert read(write("a.fits", data=np.ones((1, 1), np.float32)))["0"].image.shape == (1, 1)


def test_a_second_file_of_one_ccd_is_a_duplicate(write, read, tmp_path):
    for n in (1, 2, 3):
        write(f"{n}.fits", data=picture(seed=n), EXPNUM=1, EXTNAME="N3")
    items = read(tmp_path)
    assert list(items) == ["N3", "N3 (2)", "N3 (3)"]
    assert statuses(items) == {"N3 (2)": "duplicate", "N3 (3)": "duplicate"}
    np.testing.assert_array_equal(items["N3"].image, picture(seed=1))
    assert "2.fits[0]" in items["N3 (2)"].reason


@pytest.mark.parametrize("cut", [1, 100, 20000])
def test_a_file_cut_off_in_its_pixels_loses_only_those(write, read, cut):
    path = write("a.fits", *((picture(seed=n), {"EXTNAME": f"C{n}"}) for n in range(3)))
    raw = path.read_bytes()
    pad = -(70 * 80 * 4) % 2880
    path.write_bytes(raw[: len(raw) - pad - cut])
    items = read(path)
    assert statuses(items) == {"C2": "corrupt"}
    assert f"{path}[3]: cut off: {cut} bytes" in items["C2"].reason
    assert isinstance(items["C0"], Ccd)


def test_a_file_cut_off_in_a_header_says_so(write, read):
    path = write("a.fits", *((picture(seed=n), {"EXTNAME": f"C{n}"}) for n in range(2)))
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"XTENSION") + 500])
    items = read(path)
    assert isinstance(items["C0"], Ccd)
    assert list(statuses(items).values()) == ["corrupt"]


def test_a_header_in_the_middle_that_makes_no_sense(write, read):
    path = write("a.fits", *((picture(seed=n), {"EXTNAME": f"C{n}"}) for n in range(3)))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"XTENSION", raw.index(b"XTENSION") + 10)
    raw[at + 80 : at + 160] = b"BITPIX  = 'nonsense'".ljust(80)
    path.write_bytes(raw)
    items = read(path)
    assert isinstance(items["C0"], Ccd)
    assert "corrupt" in statuses(items).values()


@pytest.mark.parametrize("kept", [0.3, 0.75, 0.99])
def test_a_truncated_gzip(write, read, tmp_path, kept):
    noise = np.random.default_rng(1).normal(size=(200, 200)).astype(np.float32)
    raw = write("b/a.fits", (noise, {"EXTNAME": "C0"}), (noise, {"EXTNAME": "C1"})).read_bytes()
    path = tmp_path / "a.fits.gz"
    packed = gzip.compress(raw)
    path.write_bytes(packed[: int(len(packed) * kept)])
    items = read(path)
    assert statuses(items) == {"(a.fits.gz)": "corrupt"}


def _gzipped(path, raw):
    """A gzip file whose data are stored uncompressed, so that a flipped bit changes the image and nothing else."""
    path.write_bytes(gzip.compress(raw, compresslevel=0))
    return path


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
def test_a_gzip_file_that_fails_its_crc_gives_nothing(write, read, tmp_path, where):
    good = write("b/a.fits", *((picture(seed=n), {"EXTNAME": f"C{n}"}) for n in range(3))).read_bytes()
    path = _gzipped(tmp_path / "a.fits.gz", good)
    assert statuses(read(path)) == {}
    raw = bytearray(path.read_bytes())
    at = raw.index(picture(seed=1).astype(">f4").tobytes()[:400]) + int(20000 * where)
    raw[at] ^= 4
    path.write_bytes(raw)
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        gzip.decompress(raw)
    items = read(path)
    assert statuses(items) == {"(a.fits.gz)": "corrupt"}
    assert "CRC" in items["(a.fits.gz)"].reason
    assert str(path) in items["(a.fits.gz)"].reason
    assert "fetch it again" in items["(a.fits.gz)"].reason


def test_a_gzip_file_is_unpacked_once_and_leaves_nothing(write, one, settings, tmp_path, monkeypatch):
    raw = write("b/a.fits", *((picture(seed=n), {"EXTNAME": f"C{n}"}) for n in range(3))).read_bytes()
    path = _gzipped(tmp_path / "a.fits.gz", raw)
    exposure = one(path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    opened = []
    plain = gzip.open
    monkeypatch.setattr(gzip, "open", lambda *a, **k: opened.append(a) or plain(*a, **k))
    stream = read_ccds(exposure, settings)
    next(stream)
    assert list(scratch.iterdir()) == []
    assert len(list(stream)) == 2
    assert len(opened) == 1


def test_no_room_to_unpack(write, one, settings, tmp_path, monkeypatch):
    path = _gzipped(tmp_path / "a.fits.gz", write("b/a.fits", data=picture()).read_bytes())
    exposure = one(path)
    real = tempfile.NamedTemporaryFile

    def full(*args, **kwargs):
        file = real(*args, **kwargs)
        monkeypatch.setattr(file, "write", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    (failure,) = read_ccds(exposure, settings)
    assert (failure.status, "TMPDIR" in failure.reason) == ("unreadable", True)


def _summed(path, kind, *, checksum=True):
    """Two CCDs whose headers have DATASUM and CHECKSUM; each extension is a plain or a compressed image."""
    data = np.random.default_rng(0).integers(0, 1000, (80, 81)).astype(np.int32)
    made = [fits.ImageHDU(data) if kind == "plain" else fits.CompImageHDU(data, compression_type=kind) for _ in "01"]
    for n, hdu in enumerate(made):
        hdu.header["EXTNAME"] = f"C{n}"
    fits.HDUList([fits.PrimaryHDU(), *made]).writeto(path, checksum=True if checksum else "datasum")
    return data


def _damage(path, hdu=1):
    """Flip a bit near the end of the data of an HDU."""
    with fits.open(path, disable_image_compression=True) as hdus:
        header = hdus[hdu].header
        assert "DATASUM" in header
        at = hdus[hdu].fileinfo()["datLoc"] + header["NAXIS1"] * header["NAXIS2"] + header.get("PCOUNT", 0) - 9
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("kind", ["plain", "RICE_1", "GZIP_2"])
def test_data_that_do_not_add_up_to_their_datasum(tmp_path, read, kind, checksum):
    path = tmp_path / "a.fits"
    data = _summed(path, kind, checksum=checksum)
    assert statuses(read(path)) == {}
    _damage(path)
    items = read(path)
    assert statuses(items) == {"C0": "corrupt"}
    reason = f"{path}[1]: damaged: its data do not add up to its DATASUM (fetch it again; if a program changed the"
    assert items["C0"].reason.startswith(reason)
    assert "--no-checksum" in items["C0"].reason
    np.testing.assert_array_equal(items["C1"].image, data)


def test_a_datasum_that_was_copied_with_a_header_says_nothing(tmp_path, read):
    """Cut-outs keep the sums of the whole image; their CHECKSUM does not fit the changed header."""
    path = tmp_path / "a.fits"
    _summed(path, "plain")
    with fits.open(path) as hdus:
        header = hdus[1].header.copy()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(picture(), header)]).writeto(path, overwrite=True)
    assert "DATASUM" in fits.getheader(path, 1)
    assert statuses(read(path)) == {}


def test_a_datasum_that_is_no_number_is_none(write, read):
    """Found by tests.fuzz_score."""
    path = write("a.fits", (picture(), {"EXTNAME": "C0", "DATASUM": "x"}))
    content = path.read_bytes()
    card = b"DATASUM = 1E400".ljust(80)
    path.write_bytes(re.sub(rb"DATASUM = .{70}", lambda _: card, content))
    assert statuses(read(path)) == {}


def test_a_damaged_mask_is_unreadable(instcal, read):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    with fits.open(mask) as hdus:
        hdus.writeto(mask, overwrite=True, checksum=True)
    assert statuses(read(path)) == {}
    _damage(mask)
    assert statuses(read(path)) == {"S29": "mask_unreadable"}


@pytest.mark.parametrize("kind", ["plain", "RICE_1", "GZIP_2"])
@pytest.mark.parametrize("beyond", [*range(-3, 8), 80, 2879])
def test_a_file_cut_off_near_an_hdus_end(tmp_path, read, kind, beyond):
    """The cut lies between the padding and the first bytes of a header; at the boundary only NEXTEND shows the cut."""
    path = tmp_path / "a.fits"
    data = [np.random.default_rng(n).integers(0, 1000, (80, 83)).astype(np.int32) for n in range(3)]
    made = [fits.ImageHDU(d) if kind == "plain" else fits.CompImageHDU(d, compression_type=kind) for d in data]
    for n, hdu in enumerate(made):
        hdu.header["EXTNAME"] = f"C{n}"
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"NEXTEND": 3})), *made]).writeto(path)
    assert statuses(read(path)) == {}
    with fits.open(path) as hdus:
        end = hdus[3].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[: end + beyond])
    items = read(path)
    assert statuses(items) == {"(a.fits[3])": "corrupt"}
    assert [name for name, item in items.items() if isinstance(item, Ccd)] == ["C0", "C1"]
    if not beyond:
        assert "2 extensions, its NEXTEND says 3" in items["(a.fits[3])"].reason


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"\0" * 2880, ""),
        (b" " * 5760, ""),
        (b"\0" * 100, "corrupt"),
        (b"junk".ljust(2880), "corrupt"),
        (b"\0" * 2880 + b"x" * 2880, "corrupt"),
    ],
)
def test_what_follows_the_last_hdu(write, read, more, status):
    path = write("a.fits", (picture(), {"EXTNAME": "C0"}))
    path.write_bytes(path.read_bytes() + more)
    items = read(path)
    assert statuses(items) == ({"(a.fits[2])": status} if status else {})
    assert isinstance(items["C0"], Ccd)


def test_a_plane_that_is_cut_off_is_said(write, read):
    path = write("a.fits", (picture(), {"EXTNAME": "C0"}), (picture(), {"EXTNAME": "WEIGHT"}))
    path.write_bytes(path.read_bytes()[:-9000])
    assert statuses(read(path)) == {"(a.fits[2])": "corrupt"}


def test_one_ccd_taken_out_of_a_file_keeps_its_nextend(write, read):
    assert statuses(read(write("a.fits", (picture(), {"EXTNAME": "C0"}), NEXTEND=4))) == {}


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_corrupt_tiles(tmp_path, read, kind):
    data = np.random.default_rng(0).integers(0, 1000, (80, 80)).astype(np.int32)
    path = tmp_path / "a.fits.fz"
    fits.HDUList(
        [fits.PrimaryHDU(), *(fits.CompImageHDU(data, compression_type=kind, name=f"C{n}") for n in range(2))]
    ).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        heap = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
        end = heap + hdus[1].header["PCOUNT"]
    raw = bytearray(path.read_bytes())
    assert raw[heap:end].strip(b"\xff")
    raw[heap:end] = b"\xff" * (end - heap)
    path.write_bytes(raw)
    items = read(path)
    np.testing.assert_array_equal(items["C1"].image, data)
    if kind != "RICE_1":  # any bits are a valid Rice code, so that only a checksum could show the damage
        assert statuses(items) == {"C0": "corrupt"}


def test_tile_offsets_beyond_the_heap(tmp_path, read):
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(picture(), name="C0")]).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1].fileinfo()["datLoc"]
    raw = bytearray(path.read_bytes())
    raw[table : table + 8] = (2**31 - 1).to_bytes(4, "big") * 2
    path.write_bytes(raw)
    assert statuses(read(path)) == {"C0": "corrupt"}


@pytest.mark.parametrize("packed", [False, True, "gz"])
@pytest.mark.parametrize("side", [30_000, 1_000_000])
def test_a_claim_that_no_such_file_can_hold_is_refused_before_allocation(tmp_path, settings, packed, side):
    path = tmp_path / ("a.fits.gz" if packed == "gz" else "a.fits")
    hdu = fits.CompImageHDU(picture(), name="C0") if packed is True else fits.ImageHDU(picture(), name="C0")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    raw = gzip.decompress(path.read_bytes()) if packed == "gz" else path.read_bytes()
    prefix = b"Z" if packed is True else b""
    for axis, size in ((b"1", b"80"), (b"2", b"70")):
        old = (prefix + b"NAXIS" + axis).ljust(8) + b"= " + size.rjust(20)
        assert old in raw
        raw = raw.replace(old, (prefix + b"NAXIS" + axis).ljust(8) + b"= " + str(side).encode().rjust(20))
    path.write_bytes(gzip.compress(raw) if packed == "gz" else raw)
    (exposure,) = discover([path], settings).exposures
    tracemalloc.start()
    items = list(read_ccds(exposure, settings))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [i.status for i in items] == ["corrupt"]
    # The file has 0.03 MB and claims 4 GB or 4 TB. The remaining memory is astropy's bookkeeping.
    assert peak < 20e6


def test_an_image_beyond_all_cameras_is_refused_even_if_its_bytes_are_there(tmp_path, read):
    """An image of 2.5 Gpix of 1 byte in a sparse file, which takes no room on disk."""
    path = tmp_path / "a.fits"
    _write_raw(path, np.zeros((1, 1), np.uint8))
    raw = path.read_bytes()
    for axis in (b"NAXIS1", b"NAXIS2"):
        raw = raw.replace(axis + b"  =" + b"1".rjust(21), axis + b"  =" + b"50000".rjust(21))
    path.write_bytes(raw[:2880])
    os.truncate(path, 2880 + -(-(50_000**2) // 2880) * 2880)
    items = read(path)
    # The bytes of this file are in order.
    assert statuses(items) == {"0": "too_large"}
    assert "50000 x 50000" in items["0"].reason


def test_a_file_that_goes_away_between_finding_and_reading(write, one, settings):
    path = write("a.fits", data=picture())
    exposure = one(path)
    path.unlink()
    (failure,) = read_ccds(exposure, settings)
    assert (failure.status, "restore" in failure.reason) == ("unreadable", True)


def test_a_file_that_becomes_another(write, one, settings):
    path = write("a.fits", data=picture())
    exposure = one(path)
    path.write_text("hello")
    (failure,) = read_ccds(exposure, settings)
    assert failure.status == "corrupt"


def test_hostile_names_do_not_reach_the_terminal(write, read):
    path = write("a.fits", data=picture())
    raw = path.read_bytes().replace(b"END".ljust(80), b"EXTNAME = '\x1b[31m../x'".ljust(80) + b"END".ljust(80), 1)
    path.write_bytes(raw[:2880] + raw[2880 + 80 :] if len(raw) % 2880 else raw)
    for name in read(path):
        assert name.isprintable()
        assert "/" not in name


def test_files_are_closed_when_the_stream_is_dropped(instcal, one, settings):
    """An open file would raise ResourceWarning here, and warnings are errors."""
    stream = read_ccds(one(instcal()), settings)
    assert next(stream).name == "S29"
    stream.close()


def test_memory_holds_one_ccd(write, one, settings):
    ny, nx, n = 1000, 1000, 8
    path = write("a.fits", *((np.zeros((ny, nx), np.float32), {"EXTNAME": f"C{k}"}) for k in range(n)))
    exposure = one(path)
    tracemalloc.start()
    for ccd in read_ccds(exposure, settings):
        assert ccd.image.shape == (ny, nx)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The bytes of the file and their float32 copy, while the caller still holds the CCD before: 3 images, not 8.
    assert peak < 3.5 * ny * nx * 4


def test_our_silence_ends_with_the_call(instcal, one, settings):
    before = list(warnings.filters)
    for _ in read_ccds(one(instcal()), settings):
        assert list(warnings.filters) == before
    assert list(warnings.filters) == before


def test_many_threads_read_at_once(tmp_path, write, settings):
    """Every file makes astropy warn of extra bytes; no warning and no warning filter may be left behind."""
    paths = [write(f"{n}.fits", data=picture(seed=n), EXPNUM=n) for n in range(8)]
    for path in paths:
        path.write_bytes(path.read_bytes() + b"\xff" * 100)  # astropy warns of extra bytes after the last HDU
    exposures = discover(paths, settings).exposures
    before = list(warnings.filters)
    failures = []

    def work(exposure):
        try:
            for _ in range(10):
                assert [type(c) for c in read_ccds(exposure, settings)] == [Ccd, CcdFailure]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(e,)) for e in exposures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(warnings.filters) == before


@pytest.mark.real
def test_every_real_file_reads_as_astropy_reads_it(real_data, all_fits):
    """Each file is read alone, so that no version of an exposure is left out; pixels are compared with getdata."""
    settings = Settings()
    ccds = 0
    for path in all_fits(real_data):
        for exposure in discover([path], settings).exposures:
            for item in read_ccds(exposure, settings):
                assert isinstance(item, Ccd), item
                ccds += 1
                if exposure.rule != "LCO":
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        wanted = np.asarray(fits.getdata(path), dtype=np.float32)
                    np.testing.assert_array_equal(item.image, wanted)
    assert ccds >= 60


@pytest.mark.real
def test_a_real_multi_amplifier_file_is_trimmed(real_data, read):
    path = real_data / "lco_raw" / "mef_raw_test_frame.fits"
    items = read(path)
    assert list(items) == ["1", "2", "3", "4"]
    for number, ccd in enumerate(items.values(), 1):
        np.testing.assert_array_equal(ccd.image, fits.getdata(path, number)[:512, :512].astype(np.float32))
        assert ccd.saturation == 40000.0


@pytest.mark.real
def test_real_masks_flag_what_they_hold(real_data, read):
    folder = real_data / "decam_cutouts"
    path = folder / "testcase6__c4d_150110_053718_ooi_z_ls9.S4.fits"
    (ccd,) = read(path).values()
    codes = fits.getdata(folder / path.name.replace("ooi", "ood"))
    # Codes 3 and 4, saturated and bleed trail, are bad for the background only.
    np.testing.assert_array_equal(ccd.bad, np.where(codes > 0, Unfit.BACKGROUND, 0))


@pytest.mark.real
def test_a_real_calexp_takes_its_own_planes(real_data, read):
    path = real_data / "hsc_suprime_sdss" / "act-img.fits"
    (ccd,) = read(path).values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's float image has a BLANK card
        mask = fits.getdata(path, 2)
    bad, cosmic = (mask & 1) != 0, (mask & 8) != 0
    np.testing.assert_array_equal((ccd.bad & Unfit.GRADIENTS) != 0, bad | ((mask & 128) != 0))
    np.testing.assert_array_equal((ccd.bad & Unfit.SOURCES) != 0, bad | cosmic | ((mask & 128) != 0))
