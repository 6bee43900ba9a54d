"""Bad input: one clear line or a status, no traceback, no silent good score, and no loss of other exposures."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from tests import nights, sky
from tests.commands import run

QUICK = gpuanom.Settings(gradient_points=500, sigma_points=1000, simulations=200)
BAD = "exposure_099.fits"


def _single(data, **cards):
    hdu = fits.PrimaryHDU(data)
    about = {"INSTRUME": "TESTCAM", "EXPNUM": 99, "FILTER": "r", **cards}
    for name, value in about.items():
        hdu.header[name] = value
    return hdu


def _truncated(path):
    nights.write(path.parent, 99, path.name)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 6 // 10)


def _garbage_inside(path):
    nights.write(path.parent, 99, path.name)
    content = bytearray(path.read_bytes())
    content[2880 + 80 * 2 : 2880 + 80 * 7] = random.Random(1).randbytes(400)
    path.write_bytes(content)


def _compressed_garbage(path):
    hdu = fits.CompImageHDU(np.array(nights.image(1)), name="CCD1", compression_type="RICE_1", quantize_level=4)
    fits.HDUList([nights.hdus(99, ccds=0)[0], hdu]).writeto(path)
    content = bytearray(path.read_bytes())
    content[-2880 * 3 : -2880] = b"\xff" * (2880 * 2)
    path.write_bytes(content)


def _claims_a_terabyte(path):
    card = "SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2"
    size = "NAXIS1  =              1000000", "NAXIS2  =              1000000", "END"
    path.write_bytes("".join(c.ljust(80) for c in (*card, *size)).ljust(2880).encode() + b"\0" * 2880)


def _nan(_path=None):
    return np.full((128, 128), np.nan, np.float32)


WRITERS = {
    "empty file": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("this is not FITS\n" * 400),
    "truncated": _truncated,
    "garbage in a header": _garbage_inside,
    "garbage in compressed data": _compressed_garbage,
    "header of a terabyte": _claims_a_terabyte,
    "no image": lambda p: fits.HDUList([_single(None)]).writeto(p),
    "table only": lambda p: fits.HDUList(
        [_single(None), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])]
    ).writeto(p),
    "1-D": lambda p: _single(np.arange(10_000.0)).writeto(p),
    "3-D": lambda p: _single(np.zeros((3, 100, 100))).writeto(p),
    "1 x 1": lambda p: _single(np.ones((1, 1))).writeto(p),
    "smaller than a stamp": lambda p: _single(np.array(nights.image(1)[:63, :63])).writeto(p),
    "all NaN": lambda p: _single(_nan()).writeto(p),
    "all infinite": lambda p: _single(np.full((128, 128), np.inf, np.float32)).writeto(p),
    "constant": lambda p: _single(np.full((128, 128), 5.5, np.float32)).writeto(p),
    "all zero": lambda p: _single(np.zeros((128, 128), np.int16)).writeto(p),
    "BLANK everywhere": lambda p: _single(np.full((128, 128), -7, np.int16), BLANK=-7).writeto(p),
}


@pytest.mark.parametrize("what", WRITERS)
def test_bad_file_has_a_status_and_costs_nothing_else(tmp_path, what):
    nights.night(tmp_path / "in", exposures=4)
    good = gpuanom.score([tmp_path / "in"], settings=QUICK).tables.exposures
    WRITERS[what](tmp_path / "in" / BAD)
    said = []
    night = gpuanom.score([tmp_path / "in"], settings=QUICK, events=gpuanom.Events(say=said.append, debug=pytest.fail))
    rows = night.tables.exposures
    bad = rows[[str(f).endswith(BAD) for f in rows["file"]]]
    assert len(bad) == 1
    assert bad["status"][0] not in ("ok", "")
    used = bad["n_ccd_used"][0]
    if what in ("truncated", "garbage in a header", "garbage in compressed data") and used:
        assert bad["status"][0] == "partial" or bad["n_ccd_used"][0] < bad["n_ccd"][0] or what != "truncated"
    else:
        assert np.ma.is_masked(bad["source_kl"][0])
        assert np.ma.is_masked(bad["background_kl"][0])
        assert len(night.failed) == 1
        assert "\n" not in night.failed[0][1]
        others = rows[[not str(f).endswith(BAD) for f in rows["file"]]]
        for name in ("source_kl", "background_kl", "isophote_z"):
            assert list(others[name]) == list(good[name])


@pytest.mark.parametrize("kind", ["int64", ">i4", "uint16", "float64", "scaled", "compressed", "gzip"])
def test_every_way_to_store_pixels_gives_the_same_scores(tmp_path, kind):
    for i in (1, 2, 3):
        pixels = np.round(nights.image(i)).astype(np.int32)
        hdu = fits.PrimaryHDU(pixels if kind in ("scaled", "compressed", "gzip") else pixels.astype(kind))
        for folder in ("plain", kind):
            (tmp_path / folder).mkdir(exist_ok=True)
        fits.PrimaryHDU(pixels.astype(np.float32)).writeto(tmp_path / "plain" / f"e{i}.fits")
        name = tmp_path / kind / (f"e{i}.fits.gz" if kind == "gzip" else f"e{i}.fits")
        if kind == "scaled":
            hdu.scale("int16", bzero=1000)
        if kind == "compressed":
            hdu = fits.CompImageHDU(pixels, compression_type="RICE_1")
        hdu.writeto(name)
    plain = gpuanom.score([tmp_path / "plain"], settings=QUICK).tables.exposures
    other = gpuanom.score([tmp_path / kind], settings=QUICK).tables.exposures
    if kind == "compressed":  # the image is in HDU 1, so that its CCD has another id and other random points
        assert list(other["status"]) == list(plain["status"])
        return
    for name in plain.colnames:
        if name != "file":
            assert list(map(str, plain[name])) == list(map(str, other[name])), name


def test_missing_ccd_is_scored_with_what_is_there(tmp_path):
    nights.night(tmp_path / "in", exposures=4, ccds=3)
    (tmp_path / "in" / "exposure_002.fits").unlink()
    nights.write(tmp_path / "in", 2, ccds=2)
    rows = gpuanom.score([tmp_path / "in"], settings=QUICK).tables.exposures
    used = {str(e): int(n) for e, n in zip(rows["exposure"], rows["n_ccd_used"], strict=True)}
    assert used == {"1": 3, "2": 2, "3": 3, "4": 3}


def test_two_files_with_one_exposure_and_ccd(tmp_path):
    nights.night(tmp_path / "in", exposures=3)
    nights.write(tmp_path / "in", 2, "copy.fits")
    night = gpuanom.score([tmp_path / "in"], settings=QUICK)
    row = night.tables.exposures[night.tables.exposures["exposure"] == "2"]
    assert row["n_ccd"][0] == 4
    assert row["n_ccd_used"][0] == 2
    assert row["status"][0] == "partial"
    assert "duplicate" in [str(s) for s in night.tables.ccds["status"]]


def test_exposures_without_sources_have_a_background_score_and_say_so(tmp_path):
    (tmp_path / "in").mkdir()
    for i in (1, 2, 3):
        _single(np.array(sky.make(128, 128, noise=5.0, seed=i)), EXPNUM=i).writeto(tmp_path / "in" / f"e{i}.fits")
    rows = gpuanom.score([tmp_path / "in"], settings=QUICK.replace(threshold=30.0)).tables.exposures
    assert list(rows["status"]) == ["no_sources"] * 3
    assert all(rows["n_sources"] == 0)
    assert not any(np.ma.getmaskarray(rows["background_kl"]))
    assert all(np.ma.getmaskarray(rows["source_kl"]))


def test_hostile_header_values_stay_harmless(tmp_path):
    nights.night(tmp_path / "in", exposures=2)
    for i, text in enumerate(["../../../etc/x", "<script>alert(1)</script>", "'; DROP TABLE exposures; --", "a" * 68]):
        nights.write(tmp_path / "in", 10 + i, EXPNUM=text, FILTER=text)
    night = gpuanom.score([tmp_path / "in"], tmp_path / "out", settings=QUICK)
    assert len(night.tables.exposures) == 6
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "ccds.ecsv",
        "exposures.ecsv",
        "measurements.sqlite",
    ]
    assert not [p for p in tmp_path.iterdir() if p.name not in ("in", "out")]


def _score_within(limit, command):
    """The standard error of a command that must not write any file beyond a size."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=8)

    def command(out):
        return [sys.executable, "-m", "gpuanom", "score", str(tmp_path / "in"), "-o", str(tmp_path / out), "-q"]

    # An empty store takes 32 kB, and a store of eight exposures 40 kB: the disk is full while the store is made, then
    # while an exposure is added, then while a table is written.
    assert "the same command goes on" in _score_within(10_000, command("out"))
    assert "the same command goes on" in _score_within(38_000, command("out"))
    assert run(capfd, *command("out")[3:])[0] == 0
    whole = nights.tables(tmp_path / "out")
    assert "repeat the command" in _score_within(5_000, command("out"))
    assert nights.tables(tmp_path / "out") == whole
    assert run(capfd, *command("whole")[3:])[0] == 0
    assert nights.tables(tmp_path / "whole") == whole


def _as_nobody(folder, queue):
    """Score as an ordinary user; everything is imported first, since that user may not read this Python's folders."""
    gpuanom.score([folder / "good"], folder / "warm", settings=QUICK)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        night = gpuanom.score([folder / "in"], settings=QUICK)
        queue.put((list(map(str, night.tables.exposures["status"])), night.failed))
    except BaseException as error:
        queue.put(repr(error))
    try:
        gpuanom.score([folder / "in"], folder / "locked" / "out", settings=QUICK)
    except BaseException as error:
        queue.put((type(error).__name__, str(error)))


def test_files_and_folders_without_permission(tmp_path):
    nights.night(tmp_path / "good", exposures=2)
    nights.night(tmp_path / "in", exposures=3)
    (tmp_path / "in" / "exposure_002.fits").chmod(0)
    (tmp_path / "locked").mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o005)
        if folder.name.startswith("pytest-of"):
            break
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_as_nobody, args=(tmp_path, queue))
    process.start()
    statuses, failed = queue.get(timeout=120)
    kind, text = queue.get(timeout=120)
    process.join()
    assert sorted(statuses) == ["ok", "ok", "unreadable"]
    assert failed[0][0].endswith("exposure_002.fits")
    assert "ermission" in failed[0][1]
    assert kind == "OutputError"
    assert "ermission" in text


def test_focus_sensors_in_files_of_their_own_are_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    for exposure in (1, 2):
        for detector in (0, 1, 104):
            cards = {"INSTRUME": "Hyper Suprime-Cam", "EXP-ID": f"HSCA90402{exposure}00", "FILTER01": "HSC-i"}
            hdu = _single(np.array(nights.image(10 * exposure + detector)), **cards, **{"DET-ID": detector})
            hdu.writeto(tmp_path / "in" / f"HSCA90402{exposure}{detector:03d}.fits")
    rows = gpuanom.score(tmp_path / "in", settings=QUICK).tables.exposures
    assert list(rows["n_ccd"]) == [2, 2]
    assert list(rows["status"]) == ["ok", "ok"]
    for file in (tmp_path / "in").glob("*00[01].fits"):
        file.unlink()
    rows = gpuanom.score(tmp_path / "in", settings=QUICK).tables.exposures
    assert list(rows["status"]) == ["unusable", "unusable"]


def test_damaged_mask_file_is_no_exposure(tmp_path):
    nights.night(tmp_path / "in", exposures=2)
    (tmp_path / "in" / "c4d_150110_053718_ood_z_v1.fits").write_text("<html>")
    assert not gpuanom.score(tmp_path / "in", settings=QUICK).failed


@pytest.mark.parametrize("spoilt", ["constant", "saturated"])
def test_a_band_without_any_usable_exposure_costs_the_others_nothing(tmp_path, capfd, spoilt):
    """As many as a verdict needs, so that there is one to be refused."""
    nights.night(tmp_path / "in", exposures=2, bands=("r",), ccds=1)
    for number in range(100, 120):
        level = 100.0 if spoilt == "constant" else 60000.0
        hdu = _single(np.full((128, 128), level, np.float32), EXPNUM=number, FILTER="g", SATURATE=60000.0)
        hdu.writeto(tmp_path / "in" / f"{number}.fits")
    points = ("--points", "500", "--sigma-points", "1000", "--device", "cpu")
    code, out, err = run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out", *points)
    assert code == 1
    assert "status of 22 exposures: 2 ok, 20 unusable" in out, err
    night = gpuanom.open_night(tmp_path / "out")
    assert [str(row["status"]) for row in night.exposures].count("ok") == 2
