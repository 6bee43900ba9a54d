"""Images decoded in a separate process: an image that ends this process, or keeps it busy for ever, is damaged."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gpuanom import system
from gpuanom.fits import discover, read_ccds
from gpuanom.fits.decoding.by_astropy import process as astropy_process
from gpuanom.records import Ccd, CcdFailure

PIXELS = np.random.default_rng(1).integers(0, 5000, (64, 70)).astype(np.int32)


@pytest.fixture
def path(tmp_path):
    """An image that only astropy can read."""
    hdu = fits.CompImageHDU(PIXELS, name="C1", compression_type="HCOMPRESS_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


@pytest.fixture(autouse=True)
def _own():
    """Each test begins without a decoder process, and leaves none behind."""
    astropy_process._end_all()
    yield
    astropy_process._end_all()


def load(path, settings):
    (exposure,) = discover([path], settings).exposures
    (item,) = read_ccds(exposure, settings)
    return item


def test_one_process_decodes_one_image_after_another(path, settings):
    for _ in range(3):
        item = load(path, settings)
        assert isinstance(item, Ccd)
        assert np.array_equal(item.image, PIXELS)
        assert len(astropy_process._idle) == 1
    with ThreadPoolExecutor(4) as pool:
        for item in pool.map(lambda _: load(path, settings), range(12)):
            assert np.array_equal(item.image, PIXELS)
    assert 1 <= len(astropy_process._idle) <= 4


def test_an_image_of_too_many_pixels_leaves_nothing_for_the_next_one(tmp_path):
    """The pixels that nobody wants would be taken for the answer to the next request, and fill the pipe until then.

    The time limit is that of users: a shorter one runs out on a busy machine, where a process needs seconds to start.
    """
    image = np.random.default_rng(2).integers(0, 2**20, (300, 310)).astype(np.int32)
    hdu = fits.CompImageHDU(image, name="C1", compression_type="HCOMPRESS_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "large.fits")
    raw = (tmp_path / "large.fits").read_bytes()[2880:]
    assert len(raw) > 2**17  # more than a pipe holds
    with pytest.raises(ValueError, match="more than its header says"):
        astropy_process.decode_isolated(raw, False, image.size - 1)
    assert np.array_equal(astropy_process.decode_isolated(raw, False, image.size), image)


ENDS = {
    "import os; os.kill(os.getpid(), 11)": ("corrupt", "cannot be read: its decoder was ended by signal 11"),
    """import sys; sys.stdout.write('{"shape": [1000000, 1000000], "dtype": "<f8"}\\n'); sys.stdout.flush()
sys.stdin.read()""": ("corrupt", "cannot be read: its pixels are more than its header says"),
    # The following cases say nothing about the image: something else ended the decoder, or the machine is slow.
    "import os; os.kill(os.getpid(), 9)": ("unreadable", "cannot be decoded: its decoder was ended by signal 9"),
    "raise SystemExit(3)": ("unreadable", "cannot be decoded: its decoder ended: 3"),
    "import time; time.sleep(1000)": ("unreadable", "cannot be decoded: its decoder did not end within 1 s"),
    "print('no JSON', flush=True); input()": ("unreadable", "cannot be decoded: its decoder ended: 0"),
    # On a busy machine a decoder needs a while to end.
    "import sys, time; print('no JSON', flush=True); sys.stdin.buffer.read(); time.sleep(1); raise SystemExit(4)": (
        "unreadable", "cannot be decoded: its decoder ended: 4",
    ),
    "import os, time; os.close(1); time.sleep(1); os.kill(os.getpid(), 11)": (
        "corrupt", "cannot be read: its decoder was ended by signal 11",
    ),
    """import sys; print('{"error": "no memory", "errno": 12}', flush=True); sys.stdin.read()""": (
        "unreadable", "cannot be decoded: no memory (free some memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", ENDS)
def test_only_what_the_bytes_show_is_damage_when_a_decoder_fails(path, settings, tmp_path, monkeypatch, program):
    (tmp_path / "fails.py").write_text(program)
    status, reason = ENDS[program]
    with monkeypatch.context() as patch:
        patch.setattr(astropy_process.process_program, "__file__", str(tmp_path / "fails.py"))
        patch.setattr(system, "PAUSES", (0.01, 0.01))
        if "sleep(1000)" in program:
            patch.setattr(astropy_process, "SECONDS", 1.0)
        item = load(path, settings)
        assert isinstance(item, CcdFailure)
        assert item.status == status
        assert f"{path}[1]: its pixels {reason}" in item.reason
        astropy_process._end_all()
    assert isinstance(load(path, settings), Ccd)


def test_a_decoder_that_cannot_be_started_is_tried_again(path, settings, monkeypatch):
    """Too many open files or processes: first for a moment, then without end."""
    started = subprocess.Popen
    refusals = iter([OSError(errno.EMFILE, "Too many open files"), OSError(errno.EAGAIN, "Try again")])

    def popen(*arguments, **options):
        for refusal in refusals:
            raise refusal
        return started(*arguments, **options)

    monkeypatch.setattr(system, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(astropy_process.subprocess, "Popen", popen)
    assert isinstance(load(path, settings), Ccd)
    astropy_process._end_all()
    refusals = iter([OSError(errno.EMFILE, "Too many open files")] * 9)
    item = load(path, settings)
    assert (item.status, "Too many open files (raise the limit: ulimit -n" in item.reason) == ("unreadable", True)


def test_damaged_streams(path, settings):
    """Some of these streams end astropy's decoder by a signal (tests.fuzz_score), depending on astropy's version."""
    whole = path.read_bytes()
    start = 3 * 2880
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(25):
        data = bytearray(whole)
        for at in rng.integers(start, len(whole), 20):
            data[at] = int(rng.integers(256))
        path.write_bytes(data)
        item = load(path, settings)
        seen.add(type(item))
        assert isinstance(item, Ccd) or item.status == "corrupt"
    assert CcdFailure in seen or Ccd in seen


def test_a_table_of_a_million_million_columns_is_not_counted_to(path, settings):
    """Found by tests.fuzz_score: astropy starts a loop of as many steps as TFIELDS says."""
    content = path.read_bytes()
    old = next(content[at : at + 80] for at in range(0, len(content), 80) if content[at : at + 8] == b"TFIELDS ")
    path.write_bytes(content.replace(old, b"TFIELDS =        1000000000000".ljust(80)))
    item = load(path, settings)
    assert (item.status, "TFIELDS" in item.reason) == ("corrupt", True)
    assert not astropy_process._idle  # no decoder was started


PROGRAM = """
import os, sys, pathlib
from gpuanom import system
from gpuanom.fits import discover, read_ccds
from gpuanom.fits.decoding.by_astropy import process as astropy_process
from gpuanom.settings import Settings
def load():
    (exposure,) = discover([sys.argv[1]], Settings()).exposures
    (item,) = read_ccds(exposure, Settings())
    return item.image.sum()
first = load()
parents = astropy_process._idle[0].pid
child = os.fork()
if not child:
    os._exit(0 if load() == first and astropy_process._idle[0].pid != parents else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert load() == first
print(astropy_process._idle[0].pid, flush=True)
if sys.argv[2]:
    os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [0, signal.SIGKILL])
def test_it_goes_with_whoever_started_it_and_is_not_shared(path, number):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(path), str(int(number) or "")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-int(number), "")
    process = Path("/proc") / done.stdout.strip()
    end = time.monotonic() + 60
    while process.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not process.exists()
