"""Files that are compressed as a whole: read, or named with the command that unpacks them; damage, cuts and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.errors import InputError
from gpuanom.fits import discover, read_ccds
from gpuanom.fits.opening import memory_map
from gpuanom.fits.opening.complete import lacking
from gpuanom.fits.opening.file import File
from gpuanom.fits.opening.file_names import SUFFIXES, stem
from gpuanom.fits.opening.first_headers import read_headers
from gpuanom.fits.opening.packed import ARCHIVES
from gpuanom.records import Ccd, CcdFailure
from gpuanom.settings import Settings

PACKERS = {
    "gz": lambda raw: gzip.compress(raw, 1),
    "bz2": lambda raw: bz2.compress(raw, 1),
    "xz": lambda raw: lzma.compress(raw, preset=0),
}
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}


def picture(seed=0):
    return np.random.default_rng(seed).normal(1000, 10, (70, 80)).astype(np.float32)


@pytest.fixture
def raw(write):
    return write("plain/a.fits", (picture(0), {"EXTNAME": "C0"}), (picture(1), {"EXTNAME": "C1"})).read_bytes()


@pytest.fixture(params=PACKERS)
def kind(request):
    return request.param


def test_packed_files_are_read(raw, kind, tmp_path, read):
    (tmp_path / f"a.fits.{kind}").write_bytes(PACKERS[kind](raw))
    items = read(tmp_path / f"a.fits.{kind}")
    for n in range(2):
        np.testing.assert_array_equal(items[f"C{n}"].image, picture(n))


def test_packed_files_are_found_in_folders_and_named_without_their_endings(raw, kind, tmp_path, settings):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"Frame.FITS.{kind.upper()}").write_bytes(PACKERS[kind](raw))
    found = discover([tmp_path / "in"], settings)
    assert [e.exposure for e in found.exposures] == ["Frame"]
    assert f".fits.{kind}" in SUFFIXES
    assert stem(tmp_path / f"frame-1.fits.{kind}") == "frame-1"


def test_several_streams_in_one_file_are_one(raw, kind, tmp_path, read):
    """Parallel compressors (pbzip2, pixz, pigz) write several streams."""
    (tmp_path / "a.fits").write_bytes(PACKERS[kind](raw[:9999]) + PACKERS[kind](raw[9999:]))
    assert isinstance(read(tmp_path / "a.fits")["C1"], Ccd)


def test_masks_may_be_packed_in_another_way(kind, instcal, read, tmp_path):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    packed = mask.with_name(f"{mask.name}.{kind}")
    packed.write_bytes(PACKERS[kind](mask.read_bytes()))
    mask.unlink()
    assert read(path)["S29"].bad[3, 4]


@pytest.mark.parametrize("kept", [0.2, 0.75, 0.99])
def test_a_file_that_is_cut_off_is_corrupt_and_a_watch_waits_for_its_end(raw, kind, kept, tmp_path, settings):
    path = tmp_path / f"a.fits.{kind}"
    whole = PACKERS[kind](raw)
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert NAMES[kind] in lacking(path).reason
    with pytest.raises(InputError, match=f"broken {NAMES[kind]} file") as raised:
        File(path)
    assert raised.value.status == "corrupt"
    path.write_bytes(whole)
    assert lacking(path) is None


def test_a_damaged_byte_is_found(raw, kind, tmp_path):
    path = tmp_path / f"a.fits.{kind}"
    whole = bytearray(PACKERS[kind](raw))
    whole[len(whole) // 2] ^= 8
    path.write_bytes(whole)
    with pytest.raises(InputError, match="broken") as raised:
        File(path)
    assert raised.value.status == "corrupt"
    lacking(path)


@given(data=st.data())
def test_whatever_is_packed_or_damaged_ends_as_a_status(data, tmp_path_factory):
    kind = data.draw(st.sampled_from(sorted(PACKERS)))
    content = data.draw(st.binary(max_size=300)) if data.draw(st.booleans()) else b"SIMPLE  =".ljust(2880)
    whole = bytearray(PACKERS[kind](content))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("p") / f"a.fits.{kind}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for task in (File, read_headers):
        with pytest.raises(InputError) as raised:
            task(path)
        assert raised.value.status in ("corrupt", "unreadable", "no_image")
    lacking(path)
    assert discover([path], Settings()).exposures == ()


def test_a_file_that_unpacks_without_end_is_given_up(kind, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(memory_map, "_MOST_UNPACKED", 10**6)
    path = tmp_path / f"a.fits.{kind}"
    path.write_bytes(PACKERS[kind](b"SIMPLE  =".ljust(5 * 10**6)))
    with pytest.raises(InputError, match="unpacks to more than 1000000 bytes"):
        File(path)
    (failure,) = discover([path], settings).failures
    assert failure.status == "corrupt"  # its header has no END card


FOREIGN = {
    "a.fits.Z": (b"\x1f\x9d\x90" + bytes(100), "packed by compress", "uncompress a.fits.Z"),
    "a.fit.zst": (b"\x28\xb5\x2f\xfd" + bytes(100), "packed by zstd", "unzstd a.fit.zst"),
    "a.fits.lz4": (b"\x04\x22\x4d\x18" + bytes(100), "packed by lz4", "unlz4 a.fits.lz4"),
    "a.fits.lz": (b"LZIP" + bytes(100), "packed by lzip", "lzip -d a.fits.lz"),
    "a.fits.zip": (b"PK\x03\x04" + bytes(100), "packed by zip", "unzip a.fits.zip"),
    "a.fits.fz.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "packed by 7z", "7z x a.fits.fz.7z"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("mixed", [False, True])
def test_other_packings_are_named_with_how_to_unpack_them(name, mixed, tmp_path, write, settings):
    content, what, how = FOREIGN[name]
    folder = write("in/b.fits", data=picture()).parent if mixed else tmp_path / "in"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    for given_ in (folder, folder / name):
        (failure,) = discover([given_], settings).failures
        assert failure.reason.startswith(what)
        assert how in failure.reason
        assert failure.status == "unreadable"


def _archives(folder):
    with zipfile.ZipFile(folder / "notes.zip", "w") as file:
        file.writestr("a.txt", "x")
    for name, mode in (("n.tar", "w"), ("n.tgz", "w:gz"), ("n.tar.bz2", "w:bz2"), ("n.tar.xz", "w:xz")):
        with tarfile.open(folder / name, mode) as file:
            file.addfile(tarfile.TarInfo("a.fits"), io.BytesIO(b""))


def test_archives_among_the_images_are_named_and_cost_nothing(write, settings):
    folder = write("in/b.fits", data=picture()).parent
    _archives(folder)
    found = discover([folder], settings)
    assert len(found.exposures) == 1
    assert found.failures == ()
    assert {s.path.name for s in found.skipped} == {"notes.zip", "n.tar", "n.tgz", "n.tar.bz2", "n.tar.xz"}
    assert all("unpack it: " in s.reason and s.path.name in s.reason for s in found.skipped)


def test_no_ending_is_both_read_and_an_archive():
    assert not set(SUFFIXES) & set(ARCHIVES)
    assert all(suffix == suffix.lower() for suffix in ARCHIVES)


def test_a_packed_file_that_was_let_go_is_unpacked_again(raw, kind, tmp_path, one, settings):
    path = tmp_path / f"a.fits.{kind}"
    path.write_bytes(PACKERS[kind](raw))
    items = []
    for item in read_ccds(one(path), settings):
        memory_map.unmap_idle_files()
        items.append(item)
    assert not any(isinstance(item, CcdFailure) for item in items)
    np.testing.assert_array_equal(items[1].image, picture(1))


def test_a_folder_for_temporary_files_that_is_not_there(raw, tmp_path, monkeypatch):
    """The message must not say that the image does not exist."""
    path = tmp_path / "a.fits.bz2"
    path.write_bytes(PACKERS["bz2"](raw))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"cannot be unpacked to .*none.*TMPDIR") as raised:
        File(path)
    assert raised.value.status == "unreadable"
