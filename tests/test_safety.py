"""A small part of `tests.crash` and `tests.fuzz_score`, which run for any length of time."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from tests import fuzz_score

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.proof)])
def test_runs_that_end_early_lose_nothing(kills):
    command = [sys.executable, "-m", "tests.crash", "--kills", str(kills), "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"    {kills} ended early" in done.stdout


@pytest.mark.parametrize("files", [6, pytest.param(60, marks=pytest.mark.proof)])
def test_damaged_files_end_as_scores_or_statuses(files):
    # Ten times the limit of the full version, since a busy machine is no fault of gpuanom.
    counts, failed, _, _ = fuzz_score.fuzz(files, seed=3, slowest=10 * fuzz_score.SLOWEST)
    assert not failed
    assert sum(counts[word] for word in ("ok", "partial")) > files // 12
    assert counts["unusable"] > files // 12


def _cards(*cards):
    return "".join(c.ljust(80) for c in (*cards, "END")).encode().ljust(2880)


SIDE = 1_000_000
PLAIN = _cards(
    "SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2",
    f"NAXIS1  = {SIDE:20}", f"NAXIS2  = {SIDE:20}",
)  # fmt: skip


def _plain(path):
    path.write_bytes(PLAIN + bytes(2880))


def _sparse(path):
    """A file of the length that its header claims; holes in the file take no room."""
    path.write_bytes(PLAIN)
    with path.open("r+b") as file:
        file.truncate(2880 + 4 * SIDE * SIDE)


def _packed(path):
    hdu = fits.CompImageHDU(np.arange(5600, dtype=np.int16).reshape(70, 80), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    content = path.read_bytes()
    for axis, n in (("1", 80), ("2", 70)):
        old, new = (f"ZNAXIS{axis} = {value:20}".encode() for value in (n, SIDE))
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)


def _zipped(path):
    path.write_bytes(gzip.compress(PLAIN + bytes(2880)))


@pytest.mark.parametrize("how", [_plain, _sparse, _packed, _zipped], ids=lambda f: f.__name__[1:])
def test_a_header_of_a_million_million_pixels_is_refused_before_anything_is_allocated(tmp_path, how):
    try:
        how(tmp_path / "e1.fits")
    except OSError as error:
        pytest.skip(f"no such file can be made here: {error}")
    gpuanom.score(_small(tmp_path), device="cpu", threads=1)  # everything that is imported and compiled once
    tracemalloc.start()
    try:
        night = gpuanom.score(tmp_path / "e1.fits", device="cpu", threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (row,) = night.tables.exposures
    assert row["status"] == "unusable"
    assert "1000000 x 1000000" in row["note"] or "cut off" in row["note"]
    # The tables of one exposure take some hundred kB; the header claims 4 TB, of which a row takes 4 MB.
    assert peak < 4e6


def _small(folder):
    path = folder / "small" / "e2.fits"
    path.parent.mkdir()
    fits.PrimaryHDU(np.random.default_rng(1).normal(100, 5, (70, 80)).astype(np.float32)).writeto(path)
    return path
