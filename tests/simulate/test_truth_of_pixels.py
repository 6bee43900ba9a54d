"""The pixels agree with truth.ecsv: every class, through the commands, and `inject` agrees with `simulate`.

There are three nights with the same seed: a normal night, a night with every class on half of the CCDs, and the normal
night with every class injected. Equal seeds give equal conditions, so that CCDs without the anomaly must be equal to
the last bit.
"""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy import ndimage

pytest.importorskip("galsim")

from gpuanom.cli import main
from gpuanom.errors import SettingsError
from gpuanom.simulate import INJECTORS, CcdPlace, choose_ccds, parse, simulate_night
from gpuanom.simulate.detector import BAD_COLUMN

CCDS, SIDE = 2, 160
STRENGTHS = {"elongation": 0.25, "astigmatism": 0.6, "tilt": 0.6, "trails": 1, "shadow": 0.3, "ring": 20,
             "crosstalk": 0.3}  # fmt: skip
"""Strengths far above the noise, so that pixels can be compared; patterns without an entry have 8 times the default."""


def words(name):
    """The class on half of the CCDs; along 30 degrees if the class has a direction."""
    injector = INJECTORS[name]
    strong = injector.default * (8 if injector.pattern else 1)
    return f"{name}:{STRENGTHS.get(name, strong):g}{'@30' if injector.directed else ''}%50"


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Folders of the normal night and of the anomalous night, and the injected truth and folder of each class."""
    folder = tmp_path_factory.mktemp("nights")
    many = ("--exposures", len(INJECTORS) + 1, "--ccds", CCDS, "--shape", f"{SIDE},{SIDE}", "--headers", "decam")
    many = (*many, "--processes", 1)  # a further process takes longer to start than its half of the night
    every = ",".join(words(name) for name in INJECTORS)
    assert run("simulate", folder / "normal", *many, "--anomalies", "none") == 0
    assert run("simulate", folder / "odd", *many, "--anomalies", every) == 0
    truth = Table.read(folder / "odd" / "truth.ecsv")
    files = sorted(path.name for path in (folder / "normal").iterdir() if "_ooi_" in path.name)
    injected = {}
    for row, name in zip(truth, files, strict=True):
        if row["class"] != "none":
            output = folder / f"injected-{row['class']}"
            anomaly = ("--anomaly", words(row["class"]))
            assert run("inject", folder / "normal" / name, *anomaly, "-o", output, "--fwhm", 3.8) == 0
            injected[str(row["class"])] = (name, output)
    return folder, truth, injected


def ccds(path):
    with fits.open(path) as hdus:
        return {hdu.name: np.asarray(hdu.data, dtype=np.float64) for hdu in hdus[1:]}


def row_of(truth, name):
    (row,) = truth[truth["class"] == name]
    return row


@pytest.mark.parametrize("name", INJECTORS)
def test_the_ccds_of_the_truth_table_are_those_that_changed(nights, name):
    folder, truth, injected = nights
    row = row_of(truth, name)
    file, output = injected[name]
    normal, odd, real = (ccds(where / file) for where in (folder / "normal", folder / "odd", output))
    assert len(normal) == CCDS
    changed = [ccd for ccd in normal if not np.array_equal(normal[ccd], odd[ccd])]
    assert len(changed) == CCDS // 2
    assert str(row["ccds"]).split() == changed
    assert [ccd for ccd in normal if not np.array_equal(normal[ccd], real[ccd])] == changed
    wanted = parse(words(name))[0]
    assert row["amplitude"] == wanted.amplitude
    assert row["kind"] == INJECTORS[name].kind
    assert np.array_equal(row["direction"], wanted.direction, equal_nan=True)
    table = Table.read(output / "truth.ecsv")
    assert len(table) == 1
    for column in ("exposure", "band", "class", "amplitude", "direction", "size", "ccds"):
        assert str(table[0][column]) == str(row[column])


@pytest.mark.parametrize("name", INJECTORS)
def test_simulate_and_inject_change_the_pixels_alike(nights, name):
    """The change made by simulate, projected on the change that inject makes to the same CCDs.

    The bounds allow for these differences. inject measures the unit of a pattern, the noise, which is 10 to 15% above
    that of the sky on CCDs with so many sources. Convolutions are compared where sources are bright, since a
    convolution draws new noise. A shear is compared by shape, see `shape_of`: a Moffat function that is convolved with
    a Gaussian line is less elongated than one that is drawn with the shear, by up to a third.
    """
    folder, truth, injected = nights
    injector, (file, output) = INJECTORS[name], injected[name]
    mask = file.replace("_ooi_", "_ood_")
    normal, odd, real = (ccds(where / file) for where in (folder / "normal", folder / "odd", output))
    codes = [ccds(folder / night / mask) for night in ("normal", "odd")]
    ours, theirs = [], []
    for ccd in str(row_of(truth, name)["ccds"]).split():
        # simulate adds saturation, bleeding, cosmic rays and bad columns after the scene; inject finds them in the
        # image.
        away = (codes[0][ccd] > 0) | (codes[1][ccd] > 0)
        if injector.echo:
            away |= away[:, ::-1]
        if name == "trails":  # inject spreads the charge of a hot column over the whole column
            away |= (codes[0][ccd] == BAD_COLUMN).any(axis=0)
        if injector.spread or injector.dim or injector.echo:
            away = ndimage.binary_dilation(away, iterations=14)
            away[:14], away[-14:], away[:, :14], away[:, -14:] = True, True, True, True
        light = normal[ccd] - np.median(normal[ccd])
        if injector.shear:
            ours.append(shape_of(odd[ccd], away) - shape_of(normal[ccd], away))
            theirs.append(shape_of(real[ccd], away) - shape_of(normal[ccd], away))
            continue
        if injector.spread:
            away |= ~ndimage.binary_dilation(light > 10 * math.sqrt(1200), iterations=3)
        ours.append((odd[ccd] - normal[ccd])[~away])
        theirs.append((real[ccd] - normal[ccd])[~away])
    a, b = np.concatenate(ours), np.concatenate(theirs)
    slope, alike = (a @ b) / (b @ b), (a @ b) / math.sqrt((a @ a) * (b @ b))
    low, high, least = (
        (0.7, 1.7, 0.85)
        if injector.shear
        else (0.85, 1.15, 0.85)
        if injector.spread
        else (0.8, 1.1, 0.7)
        if injector.pattern or injector.brightens
        else (0.95, 1.05, 0.9)
    )
    assert low < slope < high
    assert alike > least


def shape_of(image, away):
    """The elongation of the mean source, from the autocorrelation of the light: (q11 - q22, 2 q12) / (q11 + q22)."""
    light = np.where(away, 0, np.clip(image - np.median(image), 0, None))
    spectrum = np.abs(np.fft.fft2(light, (2 * SIDE, 2 * SIDE))) ** 2
    correlation = np.fft.fftshift(np.fft.ifft2(spectrum).real)[SIDE - 8 : SIDE + 9, SIDE - 8 : SIDE + 9]
    correlation = correlation - correlation.min()
    y, x = np.mgrid[-8:9, -8:9]
    total = (correlation * (x * x + y * y)).sum()
    return np.array([(correlation * (x * x - y * y)).sum(), 2 * (correlation * x * y).sum()]) / total


def places(n=4, side=128):
    """A square grid of CCDs, in the layout of simulate."""
    columns = math.ceil(math.sqrt(n))
    middle = (columns * (side + 40) - 40) / 2
    corners = [((c % columns) * (side + 40) - middle, (c // columns) * (side + 40) - middle) for c in range(n)]
    return [CcdPlace((side, side), corner, middle, c, n) for c, corner in enumerate(corners)]


@pytest.mark.parametrize("name", INJECTORS)
@pytest.mark.parametrize(("share", "expected"), [("%25", 1), ("%50", 2), ("%1", 1), ("", None)])
def test_the_ccds_that_show_it_are_reached_by_its_pattern(name, share, expected):
    """This must hold for any seed: a track may run between the CCDs, an arc beside the CCD that was chosen first."""
    injector = INJECTORS[name]
    for seed in range(8):
        (anomaly,) = parse(f"{name}{'@0' if injector.directed else ''}{share}")
        settled = choose_ccds(dataclasses.replace(anomaly, seed=seed), places())
        assert len(settled.shown) == (expected or (1 if injector.single else 4))
        function = injector.pattern or injector.shade
        if function:
            crests = [function(settled, places()[c]).max() for c in settled.shown]
            # A crest between two pixels loses 3% of a streak; 5% of a glow may be left on a CCD, and half of a shadow.
            assert max(crests) > 0.04
            if expected:
                assert min(crests) > 0.04


def test_a_pattern_that_reaches_no_ccd_is_refused(tmp_path):
    for text in ("ring/2000", "arc/90000"):
        with pytest.raises(SettingsError, match="lies outside every CCD"):
            simulate_night(tmp_path / "night", exposures=2, ccds=1, shape=(64, 64), anomalies=[text])
        assert not (tmp_path / "night").exists()


def test_what_is_too_faint_to_change_a_pixel_is_not_in_the_truth_table(tmp_path, capfd):
    small = ("--exposures", "2", "--ccds", "1", "--shape", "64,64")
    assert run("simulate", tmp_path / "night", *small, "--anomalies", "stripes:1e-9") == 0
    assert "too faint to change a pixel" in capfd.readouterr().err
    truth = Table.read(tmp_path / "night" / "truth.ecsv")
    assert list(truth["class"]) == ["none", "none"]
    one = tmp_path / "night" / "sim_000001.fits"
    assert run("inject", one, "--anomaly", "stripes:1e-9", "-o", tmp_path / "odd") == 2
    assert "too faint to change a pixel" in capfd.readouterr().err
    assert list((tmp_path / "odd").iterdir()) == []


def test_counts_and_all_mean_so_many_exposures(tmp_path):
    truth = simulate_night(tmp_path, exposures=8, ccds=2, shape=(64, 64), anomalies=["donuts%50x3", "clouds"])
    assert sorted(truth["class"]) == ["clouds", *["donuts"] * 3, *["none"] * 4]
    assert sorted(len(row["ccds"].split()) for row in truth if row["class"] == "donuts") == [1, 1, 1]


def test_two_anomalies_on_one_exposure_are_two_rows(tmp_path, capfd):
    simulate_night(tmp_path / "night", exposures=2, ccds=2, shape=(64, 64), anomalies=["donuts:8"])
    odd, both = tmp_path / "odd", tmp_path / "both"
    images = sorted((tmp_path / "night").glob("*.fits"))
    assert run("inject", *images, "--anomaly", "stripes:3@10%50", "-o", odd) == 0
    assert run("inject", *sorted(odd.glob("*.fits")), "--anomaly", "clouds", "-o", both) == 0
    first = str(Table.read(tmp_path / "night" / "truth.ecsv")["class"][0])
    truth = Table.read(both / "truth.ecsv")
    assert [str(c) for c in truth["class"][truth["exposure"] == "1"]] == [
        *[first] * (first != "none"),
        "stripes",
        "clouds",
    ]
    assert len(truth) == 5
    assert [len(row["ccds"].split()) for row in truth if row["class"] == "stripes"] == [1, 1]


def test_ccds_without_the_anomaly_are_copied_as_they_are(tmp_path):
    """So are CCDs compressed with loss, which a second compression would change; outdated checksums are removed."""
    rng = np.random.default_rng(1)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for c in range(4):
        hdus.append(fits.CompImageHDU(rng.normal(100, 5, (96, 96)).astype(np.float32), name=f"C{c}", quantize_level=4))
    hdus.writeto(tmp_path / "x.fits.fz", checksum=True)
    assert run("inject", tmp_path / "x.fits.fz", "--anomaly", "stripes:5@90%25", "-o", tmp_path / "odd") == 0
    (shown,) = Table.read(tmp_path / "odd" / "truth.ecsv")["ccds"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with (
            fits.open(tmp_path / "x.fits.fz") as before,
            fits.open(tmp_path / "odd" / "x.fits.fz", checksum=True) as after,
        ):
            for c in range(4):
                same = np.array_equal(before[f"C{c}"].data, after[f"C{c}"].data)
                assert same == (f"C{c}" != shown)
