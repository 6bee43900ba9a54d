"""Files of every kind through the GPU: pixels are sent as stored and decoded there; the tables are the CPU's."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.ccds.pixels import sums_on_device
from tests import device, nights

RULE = CameraRule(name="test", match=(("INSTRUME", "TESTCAM"),), trim=("DATASEC",))
QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200, cameras=(RULE,))


def plane(kind, image, name):
    """An HDU of one kind, as a camera or a pipeline may have stored the image."""
    whole = np.clip(np.round(image), 0, 60000)
    rice = {"compression_type": "RICE_1", "name": name}
    match kind:
        case "float32":
            hdu = fits.ImageHDU(image, name=name)
        case "uint16":
            hdu = fits.ImageHDU(whole.astype(np.uint16), name=name)
        case "int32 scaled":
            hdu = fits.ImageHDU(whole.astype(np.int32), name=name)
            hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 3.0
        case "float64":
            hdu = fits.ImageHDU(image.astype(np.float64), name=name)
        case "rice uint16":
            hdu = fits.CompImageHDU(whole.astype(np.uint16), **rice)
        case "rice dither 1":
            hdu = fits.CompImageHDU(image, quantize_method=1, dither_seed=7, **rice)
        case "rice dither 2":
            hdu = fits.CompImageHDU(image, quantize_method=2, dither_seed=9999, tile_shape=(16, 50), **rice)
        case "gzip":
            hdu = fits.CompImageHDU(image, compression_type="GZIP_2", quantize_level=0.0, name=name)
        case "overscan":
            padded = np.pad(image, ((0, 0), (20, 12)), constant_values=5.0)
            hdu = fits.ImageHDU(padded, name=name)
            hdu.header["DATASEC"] = f"[21:{20 + image.shape[1]},1:{image.shape[0]}]"
    return hdu


KINDS = (
    *("float32", "uint16", "int32 scaled", "float64", "rice uint16", "rice dither 1", "rice dither 2", "gzip"),
    "overscan",
)


@pytest.fixture
def mixed(tmp_path):
    """Exposures whose CCDs are stored in every way and have the same shape, so that they form one stack on a GPU."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(1, 4):
        primary = fits.PrimaryHDU()
        for key, value in {"INSTRUME": "TESTCAM", "EXPNUM": number, "FILTER": "r", "OBSTYPE": "object"}.items():
            primary.header[key] = value
        planes = []
        for i, kind in enumerate(KINDS):
            image = np.array(nights.image(100 * number + i, degrees=30.0 if number == 2 else None))
            if i % 2:
                image[50:53, 60:90] = 1000.0  # rows and blocks without noise
            planes.append(plane(kind, image, kind.replace(" ", "_").upper()))
        fits.HDUList([primary, *planes]).writeto(folder / f"e{number}.fits")
    return tmp_path


def test_every_kind_of_file_is_decoded_on_the_device_as_on_the_host(mixed, monkeypatch):
    cpu = gpuanom.score(mixed / "in", mixed / "cpu", settings=QUICK, device="cpu")
    assert not cpu.failed
    with device.installed():
        from gpuanom.backends.gpu import prepare, rice

        decoded = []
        monkeypatch.setattr(prepare, "pixels", lambda *a, whole=prepare.pixels: (decoded.append("raw"), whole(*a))[1])
        monkeypatch.setattr(
            rice.TileUpload, "add", lambda *a, whole=rice.TileUpload.add: (decoded.append("rice"), whole(*a))[1]
        )
        gpu = gpuanom.score(mixed / "in", mixed / "gpu", settings=QUICK, device="0")
    assert not gpu.failed
    # float32, uint16 and int32 images are sent as stored, and so are three RICE images; float64 images, GZIP images and
    # images with overscan are decoded by the host.
    assert (decoded.count("raw"), decoded.count("rice")) == (3 * 3, 3 * 3)
    assert nights.tables(mixed / "gpu") == nights.tables(mixed / "cpu")


def test_a_compressed_ccd_too_large_for_the_device_costs_no_other(tmp_path, monkeypatch):
    """With the limit of compressed images, which was lower than that of others, and ended the whole exposure."""
    header = fits.Header({"INSTRUME": "TESTCAM", "EXPNUM": 7, "FILTER": "r", "OBSTYPE": "object"})
    ny, nx = nights.SHAPE
    images = [nights.image(1), nights.image(2, shape=(ny + 1, nx)), nights.image(3)]
    planes = [plane("rice uint16", np.array(image), f"CCD{i}") for i, image in enumerate(images)]
    (tmp_path / "in").mkdir()
    fits.HDUList([fits.PrimaryHDU(header=header), *planes]).writeto(tmp_path / "in" / "e.fits")
    with device.installed():
        from gpuanom.backends.gpu import rice

        monkeypatch.setattr(rice, "MOST_PIXELS", ny * nx)
        found = gpuanom.score(tmp_path / "in", tmp_path / "gpu", settings=QUICK, device="0")
    assert not found.failed
    assert list(found.tables.ccds["status"]) == ["ok", "too_large", "ok"]
    assert "--device cpu" in found.tables.ccds["reason"][1]


def test_a_damaged_tile_costs_its_ccd_and_has_the_hosts_words(mixed):
    """The device finds the damage; the message with file, HDU and tile comes from the host."""
    path = mixed / "in" / "e2.fits"
    with fits.open(path, mode="update") as hdus:
        hdus["FLOAT32"].add_datasum()
    with fits.open(path, disable_image_compression=True) as hdus:
        broken = hdus["FLOAT32"].fileinfo()["datLoc"]
        number = next(i for i, hdu in enumerate(hdus) if hdu.name == "RICE_UINT16")
        about = hdus.info(output=False)
        assert about
        start = hdus[number].fileinfo()["datLoc"] + hdus[number].header["NAXIS1"] * hdus[number].header["NAXIS2"]
        for key in ("DATASUM", "CHECKSUM"):
            assert key not in hdus[number].header
    data = bytearray(path.read_bytes())
    data[broken + 1000] ^= 1  # an earlier CCD that cannot be read leaves no gap in the stack
    data[start + 400 : start + 460] = b"\xff" * 60  # fields of 5 bits beyond the largest value
    path.write_bytes(data)
    cpu = gpuanom.score(mixed / "in", mixed / "cpu", settings=QUICK, device="cpu")
    with device.installed():
        gpu = gpuanom.score(mixed / "in", mixed / "gpu", settings=QUICK, device="0")
    ccds = gpu.tables.ccds
    (note,) = ccds["reason"][(ccds["exposure"] == "2") & (ccds["ccd"] == "RICE_UINT16")]
    assert f"e2.fits[{number}]" in note
    assert "tile" in note
    unread = ccds[(ccds["exposure"] == "2") & (ccds["status"] != "ok")]
    assert sorted(unread["ccd"]) == ["FLOAT32", "RICE_UINT16"]
    assert nights.tables(mixed / "gpu") == nights.tables(mixed / "cpu")
    assert list(cpu.tables.ccds["status"]) == list(ccds["status"])


def test_with_kvikio_plain_files_are_read_straight_to_the_device(mixed, monkeypatch):
    """All files are, except those that the host must process: other forms, sections, and failed reads."""
    with fits.open(mixed / "in" / "e3.fits", mode="update") as hdus:
        hdus["FLOAT32"].add_datasum()
    gpuanom.score(mixed / "in", mixed / "cpu", settings=QUICK, device="cpu")
    with device.installed():
        kvikio = pytest.importorskip("kvikio", reason="needs KvikIO: the extra direct12 or direct13")
        if not hasattr(kvikio, "opened"):
            pytest.skip("counts what the stand-in for KvikIO opened; the real one is installed")

        from gpuanom.backends.gpu import gpudirect

        monkeypatch.setattr(gpudirect, "MIN_BYTES", 1)
        kvikio.opened.clear()
        gpuanom.score(mixed / "in", mixed / "direct", settings=QUICK, device="0")
        assert len(kvikio.opened) == 3 * 6
        assert {path for path, _, _ in kvikio.opened} == {str(p) for p in (mixed / "in").iterdir()}
        # A file system that does not support direct reads, and a read that ends early.
        monkeypatch.setattr(kvikio.CuFile, "read", lambda *_a, **_k: 10)
        gpuanom.score(mixed / "in", mixed / "short", settings=QUICK, device="0")
        monkeypatch.setattr(kvikio.CuFile, "read", lambda *_a, **_k: 1 / 0)
        gpuanom.score(mixed / "in", mixed / "failing", settings=QUICK, device="0")
    for name in ("direct", "short", "failing"):
        assert nights.tables(mixed / name) == nights.tables(mixed / "cpu"), name


def test_with_kvikio_a_file_that_is_written_to_meanwhile_is_read_by_the_next_run(mixed, monkeypatch):
    """What the device read by itself may be newer than the headers; nothing on the host has seen these bytes."""
    path = mixed / "in" / "e2.fits"
    with device.installed():
        kvikio = pytest.importorskip("kvikio", reason="needs KvikIO: the extra direct12 or direct13")
        if not hasattr(kvikio, "opened"):
            pytest.skip("looks at what the stand-in for KvikIO opened; the real one is installed")

        from gpuanom.backends.gpu import gpudirect

        monkeypatch.setattr(gpudirect, "MIN_BYTES", 1)
        read, before = kvikio.CuFile.read, path.stat().st_mtime_ns

        def touched(file, *arguments, **options):
            n = read(file, *arguments, **options)
            if kvikio.opened[-1][0] == str(path):
                os.utime(path, ns=(0, before + 1))
            return n

        monkeypatch.setattr(kvikio.CuFile, "read", touched)
        first = gpuanom.score(mixed / "in", mixed / "out", settings=QUICK, device="0").tables.ccds
        monkeypatch.undo()
        second = gpuanom.score(mixed / "in", mixed / "out", settings=QUICK, device="0").tables.ccds
    of_file = first["exposure"] == "2"
    assert {"unreadable"} == set(first["status"][of_file])
    assert all("was changed while it was being read" in reason for reason in first["reason"][of_file])
    assert {"ok"} == set(first["status"][~of_file]) == set(second["status"])


def test_pairs_of_maxima_hold_none_of_a_ccd_whose_file_is_written_to_meanwhile(tmp_path, monkeypatch):
    """The maxima of a stack are counted together; what is left of the stack is measured once more without that CCD."""
    for number in range(1, 4):
        header = {"INSTRUME": "TESTCAM", "EXPNUM": 7, "FILTER": "r", "OBSTYPE": "object"}
        image = fits.ImageHDU(np.array(nights.image(number)), name=f"CCD{number}")
        (tmp_path / "in").mkdir(exist_ok=True)
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), image]).writeto(tmp_path / "in" / f"c{number}.fits")
    shutil.copytree(tmp_path / "in", tmp_path / "two")
    (tmp_path / "two" / "c2.fits").unlink()
    two = gpuanom.score(tmp_path / "two", tmp_path / "cpu", settings=QUICK, device="cpu").tables.exposures
    path = tmp_path / "in" / "c2.fits"
    with device.installed():
        kvikio = pytest.importorskip("kvikio", reason="needs KvikIO: the extra direct12 or direct13")
        if not hasattr(kvikio, "opened"):
            pytest.skip("looks at what the stand-in for KvikIO opened; the real one is installed")

        from gpuanom.backends.gpu import gpudirect

        monkeypatch.setattr(gpudirect, "MIN_BYTES", 1)
        read, before = kvikio.CuFile.read, path.stat().st_mtime_ns

        def touched(file, *arguments, **options):
            n = read(file, *arguments, **options)
            if kvikio.opened[-1][0] == str(path):
                os.utime(path, ns=(0, before + 1))
            return n

        monkeypatch.setattr(kvikio.CuFile, "read", touched)
        sums_on_device.wanted = True
        found = gpuanom.score(tmp_path / "in", tmp_path / "gpu", settings=QUICK, device="0").tables
    assert sums_on_device.wanted
    assert list(found.ccds["status"]) == ["ok", "unreadable", "ok"]
    columns = [name for name in two.colnames if name.startswith(("repeat_", "e1", "fwhm", "n_sources"))]
    assert len(columns) > 8
    for name in columns:
        assert str(found.exposures[name][0]) == str(two[name][0]), name


def with_sums(path):
    """Give every HDU of a file its DATASUM and CHECKSUM."""
    with fits.open(path, disable_image_compression=True, do_not_scale_image_data=True) as hdus:
        hdus.writeto(path.with_suffix(".new"), checksum=True)
    path.with_suffix(".new").replace(path)


def place_of(path, name):
    """First byte of the data of an HDU, and its number."""
    with fits.open(path, disable_image_compression=True) as hdus:
        number = hdus.index_of(name)
        return hdus[number].fileinfo()["datLoc"], number


@pytest.fixture
def summed(mixed):
    """The same exposures with sums; what the host may have learnt of sums in another test is forgotten."""
    for path in (mixed / "in").iterdir():
        with_sums(path)
    sums_on_device.wanted = True
    yield mixed
    sums_on_device.wanted = True


def both(folder):
    """The tables of the CPU, and of the device with the number of sums that it compared."""
    cpu = gpuanom.score(folder / "in", folder / "cpu", settings=QUICK, device="cpu")
    with device.installed(), pytest.MonkeyPatch.context() as patch:
        from gpuanom.backends.gpu import checksum, prepare, rice

        compared = []

        def noted(data, wanted, damaged):
            compared.extend(wanted)
            checksum.compare_sums(data, wanted, damaged)

        for module in (prepare, rice):
            patch.setattr(module, "compare_sums", noted)
        gpu = gpuanom.score(folder / "in", folder / "gpu", settings=QUICK, device="0")
    assert nights.tables(folder / "gpu") == nights.tables(folder / "cpu")
    assert list(gpu.tables.ccds["reason"]) == list(cpu.tables.ccds["reason"])
    return gpu.tables.ccds, len(compared)


def test_sums_are_compared_on_the_device(summed):
    ccds, n_compared = both(summed)
    assert set(ccds["status"]) == {"ok"}
    assert n_compared == 3 * 6


def test_data_that_do_not_add_up_have_the_hosts_words(summed):
    """Damage in an uncompressed image, in tiles, and in a row of the table of tiles."""
    damage = {"FLOAT32": 1000, "RICE_DITHER_1": 6, "RICE_UINT16": 9000, "RICE_DITHER_2": 40}
    numbers = {}
    for name, offset in damage.items():
        path = summed / "in" / "e2.fits"
        start, numbers[name] = place_of(path, name)
        data = bytearray(path.read_bytes())
        data[start + offset] ^= 1
        path.write_bytes(data)
    ccds, _ = both(summed)
    for row in ccds[ccds["exposure"] == "2"]:
        assert row["status"] == ("corrupt" if row["ccd"] in damage else "ok"), row["ccd"]
        if row["ccd"] in damage:
            assert f"e2.fits[{numbers[row['ccd']]}]" in row["reason"]
            assert "do not add up to its DATASUM" in row["reason"]


def test_a_program_that_changed_pixels_and_kept_the_header(summed):
    """The host finds such a CCD sound, and compares the sums of what follows, so that no CCD is read twice for long."""
    for path in (summed / "in").iterdir():
        data = bytearray(path.read_bytes())
        for name in ("FLOAT32", "RICE_DITHER_1"):
            start, _ = place_of(path, name)
            at = data.rindex(b"DATASUM = '", 0, start) + 11
            data[at : at + 5] = b"12345"
        path.write_bytes(data)
    ccds, n_compared = both(summed)
    assert set(ccds["status"]) == {"ok"}
    assert not sums_on_device.wanted
    assert 0 < n_compared <= 3 * 6  # all exposures may be on the device before the first one is known to be changed
    for name in ("cpu", "gpu"):
        shutil.rmtree(summed / name)
    ccds, n_compared = both(summed)
    assert set(ccds["status"]) == {"ok"}
    assert n_compared == 0
