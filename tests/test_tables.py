"""Tables: what each row says of its exposure beside the scores."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import gpuanom
from gpuanom.tables.dataset_columns import position_angles
from gpuanom.tables.garbage_collection import without_garbage_collection
from tests import nights, sky

QUICK = gpuanom.Settings(gradient_points=500, sigma_points=1000, simulations=200)


@pytest.mark.parametrize("angle", [-60.0, 0.0, 30.0, 90.0])
@pytest.mark.parametrize("rotation", [0.0, 25.0, -110.0])
@pytest.mark.parametrize("parity", [-1, 1])
def test_position_angle_is_astropys(angle, rotation, parity):
    """Compared with the WCS: the bearing from one point to another point along the direction."""
    from astropy.wcs import WCS

    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    cd = 7e-5 * np.array([[parity * c, s], [-parity * s, c]])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cd = [150.0, 2.0], [100.0, 100.0], cd
    step = 20 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    a, b = wcs.pixel_to_world(*(99 - step)), wcs.pixel_to_world(*(99 + step))
    (found,) = position_angles(np.array([angle]), cd.reshape(1, 4))
    difference = (found - a.position_angle(b).deg + 90) % 180 - 90
    # Over 40 pixels at a declination of 2 degrees the meridians converge by less than 0.001 degrees.
    assert abs(difference) < 0.001


def test_worst_ccd_is_the_one_with_the_pattern():
    measured = []
    for i in range(5):
        ccds = [sky.make(128, 128, noise=5.0, seed=10 * i + j) for j in range(3)]
        if i == 2:
            ccds[1] = sky.make(128, 128, sky.stripes(12.0, 40.0, 20.0), noise=5.0, seed=99)
        records = [gpuanom.Ccd(f"ccd{j}", image) for j, image in enumerate(ccds)]
        measured.append(gpuanom.measure(records, QUICK, exposure=str(i)))
    exposures, ccds = gpuanom.rank(measured, QUICK)
    assert exposures["exposure"][0] == "2"
    assert exposures["worst_ccd"][0] == "ccd1"
    z = ccds[(ccds["exposure"] == "2")]["background_z"]
    assert np.argmax(z) == 1


def test_ids_are_in_natural_order_where_scores_tie():
    image = nights.image(1)
    measured = [gpuanom.measure([image], QUICK, exposure=f"e{i}", camera="c") for i in (10, 9, 2)]
    # Points differ by exposure, and so do scores; without scores (one exposure in a band) the ids alone decide the
    # order.
    apart = [
        gpuanom.measure([image], QUICK, exposure=m.exposure.exposure, camera="c", band=str(i))
        for i, m in enumerate(measured)
    ]
    assert list(gpuanom.rank(apart, QUICK).exposures["exposure"]) == ["e2", "e9", "e10"]


def test_exposure_without_gradients_is_not_called_alone():
    holes = np.array(nights.image(5))
    holes[::15] = np.nan
    holes[:, ::15] = np.nan
    images = [nights.image(1), nights.image(2), nights.image(3), holes]
    measured = [gpuanom.measure([image], QUICK, exposure=str(i)) for i, image in enumerate(images)]
    exposures = gpuanom.rank(measured, QUICK).exposures
    row = exposures[exposures["exposure"] == "3"]
    assert row["n_gradients"][0] == 0
    assert row["status"][0] == "no_gradients"


def test_exposure_against_a_reference_of_itself_alone_has_no_score(tmp_path):
    nights.night(tmp_path / "in", exposures=1)
    gpuanom.score([tmp_path / "in"], tmp_path / "out", settings=QUICK)
    references = gpuanom.make_references([tmp_path / "out"])
    exposures = gpuanom.score([tmp_path / "in"], settings=QUICK, reference=references).tables.exposures
    assert exposures["status"][0] == "alone"
    assert np.ma.is_masked(exposures["background_kl"][0])


def test_changed_exposure_is_not_what_the_reference_contains(tmp_path):
    """The reference has the id, but other histograms: there is no infinite score and no crash."""
    nights.night(tmp_path / "in", exposures=4, ccds=1)
    nights.write(tmp_path / "in", 9, ccds=1)
    gpuanom.score([tmp_path / "in"], tmp_path / "out", settings=QUICK)
    references = gpuanom.make_references([tmp_path / "out"])
    (tmp_path / "in" / "exposure_009.fits").unlink()
    nights.write(tmp_path / "in", 9, ccds=6, degrees=80.0)
    exposures = gpuanom.score([tmp_path / "in"], settings=QUICK, reference=references).tables.exposures
    row = exposures[exposures["exposure"] == "9"]
    assert row["status"][0] == "ok"
    for kind in ("source", "isophote", "background"):
        assert np.isfinite(row[f"{kind}_kl"][0])
        assert np.isfinite(row[f"{kind}_z"][0])


def test_no_circles_of_objects_are_looked_for_while_tables_are_made(monkeypatch):
    seen = []

    @without_garbage_collection()
    def make(error=None):
        seen.append(gc.isenabled())
        if error:
            raise error

    make()
    with pytest.raises(ValueError, match="broken"):
        make(ValueError("broken"))
    assert seen == [False, False]
    assert gc.isenabled()
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    with without_garbage_collection(freeze=True):
        pass
    assert frozen == [False]
    assert gc.isenabled()
