"""`gpuanom inject` and `gpuanom simulate`: copies of images with an anomaly, and one line for each kind of mistake."""

from __future__ import annotations

import bz2
import io
import lzma
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

pytest.importorskip("galsim")

from gpuanom.simulate import INJECTORS, simulate_night
from tests.commands import run


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    form = {"headers": "decam", "compress": True, "anomalies": []}
    simulate_night(folder / "night", exposures=6, ccds=2, shape=(160, 160), bands=("r",), **form)
    return folder / "night"


def images(folder):
    return sorted(p for p in folder.iterdir() if "_ooi_" in p.name)


def test_injected_stripes_are_found_against_a_reference(night, tmp_path, capfd):
    quick = ("--points", "500")
    one = images(night)[2]
    assert run(capfd, "inject", one, "--anomaly", "stripes:0.5@20", "-o", tmp_path / "odd")[0] == 0
    assert run(capfd, "score", night, "-o", tmp_path / "scored", "-q", *quick)[0] == 0
    assert run(capfd, "reference", tmp_path / "scored", "--output", tmp_path / "ref.ecsv")[0] == 0
    code, _, _ = run(capfd, "score", tmp_path / "odd", "-o", tmp_path / "found", "-q", *quick,
                     "--reference", tmp_path / "ref.ecsv")  # fmt: skip
    assert code == 0
    normal = Table.read(tmp_path / "scored" / "exposures.ecsv")
    found = Table.read(tmp_path / "found" / "exposures.ecsv")
    assert found["background_z"][0] > 2 * max(normal["background_z"])
    # Stripes run perpendicular to the gradients: stripes along 20 degrees give gradients along -70; 1000 points
    # determine the angle to a few degrees.
    assert abs(found["background_angle"][0] + 70) < 8


def test_copies_keep_their_form(night, tmp_path, capfd):
    one, two = images(night)[:2]
    code, _, err = run(capfd, "inject", one, two, "--anomaly", "guiding:6", "-o", tmp_path / "odd")
    assert code == 0
    assert err.count("guiding of 6 along") == 2
    assert sorted(p.name for p in (tmp_path / "odd").iterdir()) == sorted(
        [*(p.name for p in (one, two)), *(p.name.replace("ooi", "ood") for p in (one, two)), "truth.ecsv"]
    )
    with fits.open(one) as before, fits.open(tmp_path / "odd" / one.name) as after:
        assert "gpuanom inject: guiding of 6" in str(after[0].header["HISTORY"])
        for ccd in ("N1", "S1"):
            assert after[ccd].data.dtype.kind == before[ccd].data.dtype.kind
            assert isinstance(after[ccd], fits.CompImageHDU)
            assert not np.array_equal(before[ccd].data, after[ccd].data)
            assert np.median(after[ccd].data) == pytest.approx(np.median(before[ccd].data), rel=0.01)
    truth = Table.read(tmp_path / "odd" / "truth.ecsv")
    assert list(truth["class"]) == ["guiding", "guiding"]
    assert truth["direction"][0] != truth["direction"][1]


def test_the_same_command_gives_the_same_bytes(night, tmp_path, capfd):
    one = images(night)[0]
    for folder in ("a", "b"):
        run(capfd, "inject", one, "--anomaly", "donuts", "-o", tmp_path / folder)
    assert (tmp_path / "a" / one.name).read_bytes() == (tmp_path / "b" / one.name).read_bytes()
    run(capfd, "inject", one, "--anomaly", "donuts", "-o", tmp_path / "c", "--seed", "2")
    assert (tmp_path / "a" / one.name).read_bytes() != (tmp_path / "c" / one.name).read_bytes()


def test_plain_files_of_floats_with_detsec(tmp_path, capfd):
    rng = np.random.default_rng(1)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for c in range(2):
        hdu = fits.ImageHDU(rng.normal(0, 1, (128, 128)).astype(np.float32), name=f"C{c}")
        hdu.data[5, 5] = np.nan
        hdu.header["DETSEC"] = f"[{1 + 128 * c}:{128 + 128 * c},1:128]"
        hdus.append(hdu)
    hdus.writeto(tmp_path / "x.fits")
    assert run(capfd, "inject", tmp_path / "x.fits", "--anomaly", "stripes:5@90/32", "-o", tmp_path / "odd")[0] == 0
    with fits.open(tmp_path / "odd" / "x.fits") as after:
        both = np.hstack([after["C0"].data, after["C1"].data]).astype(float)
        assert after["C0"].data.dtype.kind == "f"
        assert np.isnan(after["C0"].data[5, 5])
    # One wave of 32 pixels runs over both CCDs, for eight periods: its phase does not jump between the CCDs.
    power = np.abs(np.fft.rfft(np.nanmean(both, axis=0)))
    assert np.argmax(power[1:]) + 1 == 8
    assert power[8] == pytest.approx(5 * 128, rel=0.05)


def test_gzipped_and_damaged_files(night, tmp_path, capfd):
    """A damaged file does no harm to other files; a .gz file stays a gzip file, without a date."""
    rng = np.random.default_rng(1)
    for name in ("a.fits.gz", "b.fits"):
        fits.PrimaryHDU(rng.normal(100, 5, (96, 96)).astype(np.float32)).writeto(tmp_path / name)
    fits.PrimaryHDU(np.zeros((20, 20), np.float32)).writeto(tmp_path / "small.fits")
    whole = (tmp_path / "b.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(whole[: len(whole) // 2])
    code, _, err = run(
        capfd, "inject", *sorted(tmp_path.glob("*.fits*")), "--anomaly", "clouds", "-o", tmp_path / "odd"
    )
    assert code == 1
    assert "b.fits" in err
    assert "small.fits: no CCD of a size that is scored" in err
    assert sorted(p.name for p in (tmp_path / "odd").iterdir()) == ["a.fits.gz", "truth.ecsv"]
    assert (tmp_path / "odd" / "a.fits.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert fits.getdata(tmp_path / "odd" / "a.fits.gz").shape == (96, 96)


@pytest.mark.parametrize(("suffix", "magic"), [("bz2", b"BZh"), ("xz", b"\xfd7zXZ")])
def test_other_packed_files_are_packed_again(tmp_path, capfd, suffix, magic):
    plain = tmp_path / "a.fits"
    fits.PrimaryHDU(np.random.default_rng(1).normal(100, 5, (96, 96)).astype(np.float32)).writeto(plain)
    packed = tmp_path / f"a.fits.{suffix}"
    packer = {"bz2": bz2, "xz": lzma}[suffix]
    packed.write_bytes(packer.compress(plain.read_bytes()))
    code, _, _ = run(capfd, "inject", packed, "--anomaly", "clouds", "-o", tmp_path / "odd")
    assert code == 0
    written = (tmp_path / "odd" / packed.name).read_bytes()
    assert written.startswith(magic)
    assert fits.getdata(io.BytesIO(packer.decompress(written))).shape == (96, 96)  # astropy 7.0 unpacks no xz


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--anomaly", "strips"), "unknown anomaly 'strips'"),
        ((), "Missing option '--anomaly' (gpuanom inject --list prints all anomalies)"),
        (("--anomaly", "stripesx2"), "leave the count out"),
        (("--anomaly", "stripes:-1"), "a strength [sky noise"),
        (("--anomaly", "stripes:2000"), "above 0, up to 1000"),
    ],
)
def test_wrong_anomalies_are_one_line(night, tmp_path, capfd, arguments, words):
    code, out, err = run(capfd, "inject", images(night)[0], *arguments, "-o", tmp_path / "odd")
    assert code == 2
    assert out == ""
    assert words in err
    assert not (tmp_path / "odd").exists()


def test_nothing_is_overwritten(night, tmp_path, capfd):
    one = images(night)[0]
    before = one.read_bytes()
    code, _, err = run(capfd, "inject", one, "--anomaly", "stripes", "-o", night)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already (give a new folder)" in err
    assert one.read_bytes() == before


def test_what_is_no_image_is_said(tmp_path, capfd):
    (tmp_path / "bad.fits").write_text("no FITS")
    code, _, err = run(capfd, "inject", tmp_path / "bad.fits", "--anomaly", "stripes", "-o", tmp_path / "odd")
    assert code == 2
    assert "bad.fits" in err
    code, _, err = run(capfd, "inject", tmp_path / "nowhere", "--anomaly", "stripes", "-o", tmp_path / "odd")
    assert code == 2
    assert "nowhere" in err


def test_the_list_names_every_anomaly(capfd):
    code, out, _ = run(capfd, "inject", "--list")
    assert code == 0
    for words in ("elongation", "shear added to the PSF", "donuts", "pixels across", "period", "separation"):
        assert words in out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(INJECTORS)
    for injector, first, second in zip(INJECTORS.values(), lines[::2], lines[1::2], strict=True):
        assert f"[{injector.unit}]" in first
        assert injector.help in second


def test_the_page_about_simulated_nights_names_every_class():
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
    listed = re.findall(r"^- \*\*(?:Sources|Background|Electronics)\*\*: ([^*]*?)\.$", page, flags=re.MULTILINE)
    assert sorted(name for words in listed for name in re.findall(r"[a-z]+", words.replace(" and ", " "))) == sorted(
        INJECTORS
    )


def test_simulate_takes_the_folder_either_way(tmp_path, capfd):
    small = ("--exposures", "3", "--ccds", "1", "--shape", "64,64", "--anomalies", "stripes:0.5@30,donuts")
    code, out, _ = run(capfd, "simulate", "--output", tmp_path / "a", *small)
    assert code == 0
    assert "stripes of 0.5 along 30 deg" in out
    assert "donuts of 16" in out
    code, _, err = run(capfd, "simulate", *small)
    assert code == 2
    assert "give the folder to write once" in err
    code, out, _ = run(capfd, "simulate", tmp_path / "b", *small[:-1], "none")
    assert "0 of them anomalous" in out
    code, _, err = run(capfd, "simulate", tmp_path / "c", *small[:-1], "stripesx3")
    assert (code, err.count("\n")) == (2, 1)
