"""Files that a program writes to, in place, after their headers were read: no pixels are taken from them.

Only the host's decoders are asked here, which read mapped bytes; `test_read_into_memory.py` and
`test_images_together.py` have the reads for a GPU.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.fits import discover, open_ccds
from gpuanom.fits.opening.file import File
from gpuanom.records import Ccd, CcdFailure
from gpuanom.settings import Settings

SHAPE = (70, 90)
FORMS = ("plain", "RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1")
CHANGED = "was changed while it was being read"


def write(path, form, seed=1):
    numbers = np.random.default_rng(seed).integers(900, 1100, SHAPE, dtype=np.int16)
    ccd = fits.ImageHDU(numbers) if form == "plain" else fits.CompImageHDU(numbers, compression_type=form)
    plane = fits.ImageHDU(np.eye(*SHAPE, dtype=np.uint8), name="MASK")
    ccd.header["EXTNAME"] = "CHIP"
    fits.HDUList([fits.PrimaryHDU(), ccd, plane]).writeto(path, overwrite=True)
    return path


def opened(path):
    (exposure,) = discover([path], Settings()).exposures
    (ccd,) = open_ccds(exposure, Settings())
    return ccd


def written_to(path):
    """The same length and other bytes, as a program leaves them that writes in place."""
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(state.st_size - 2881)
        file.write(b"\1")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


@pytest.mark.parametrize("form", FORMS)
def test_before_and_during_the_decoding(tmp_path, monkeypatch, form):
    path = write(tmp_path / "e.fits", form)
    assert isinstance(opened(path).load(), Ccd)
    ccd = opened(path)
    written_to(path)
    failure = ccd.load()
    assert isinstance(failure, CcdFailure)
    assert (failure.status, CHANGED in failure.reason, str(path) in failure.reason) == ("unreadable", True, True)
    ccd, check = opened(path), File.check

    def written_to_after(file, item, **options):
        check(file, item, **options)
        written_to(path)

    monkeypatch.setattr(File, "check", written_to_after)
    failure = ccd.load()
    assert (failure.status, CHANGED in failure.reason) == ("unreadable", True)


def test_what_is_damaged_by_the_change_is_not_called_damaged(tmp_path):
    """The next run reads the file again; damage would be believed until the file changes."""
    path = write(tmp_path / "e.fits", "RICE_1")
    ccd = opened(path)
    data = bytearray(path.read_bytes())
    data[-4000:] = b"\xff" * 4000
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(0, 0))
    failure = ccd.load()
    assert (failure.status, CHANGED in failure.reason) == ("unreadable", True)


def test_only_the_mask_is_written_to(tmp_path, monkeypatch):
    path = write(tmp_path / "e.fits", "plain")
    ccd, check = opened(path), File.check
    assert ccd.load().bad is not None

    def written_to_after_the_image(file, item, **options):
        check(file, item, **options)
        if item.number == 2:
            written_to(path)

    monkeypatch.setattr(File, "check", written_to_after_the_image)
    failure = opened(path).load()
    assert (failure.status, CHANGED in failure.reason) == ("mask_unreadable", True)


def test_another_file_in_its_place_and_no_file(tmp_path):
    path = write(tmp_path / "e.fits", "RICE_1")
    ccd = opened(path)
    write(tmp_path / "new.fits", "RICE_1", seed=2).replace(path)
    assert CHANGED in ccd.load().reason
    ccd = opened(path)
    path.unlink()  # mapped bytes stay what they were
    assert isinstance(ccd.load(), Ccd)


def test_a_packed_file_has_been_unpacked_already(tmp_path):
    path = write(tmp_path / "e.fits.gz", "plain")
    ccd = opened(path)
    os.utime(path, ns=(0, 0))
    assert isinstance(ccd.load(), Ccd)
