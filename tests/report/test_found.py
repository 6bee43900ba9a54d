"""The shapes of what was found lie where the images have it, in pixels of the CCD that count from 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import Turn
from gpuanom.report.found import found_shapes
from gpuanom.report.pictures import Pictures, pictures
from gpuanom.report.proof import Residual
from gpuanom.review.opened import open_night
from tests import nights, sky

pytest.importorskip("PIL")

NY, NX = 384, 320


def shown(turn=Turn.NONE, trails=None):
    frames = {"1": [NY, NX, int(turn), 0]}
    return Pictures("", (1, 1), {}, "", [], {}, None, [], False, frames, trails=trails or {})


def residual(cells, rows=None):
    return {"1": Residual(cells, np.zeros(19) if rows is None else rows, np.zeros(15))}


def test_the_circle_of_a_glow_lies_on_its_brightest_cell():
    y, x = np.mgrid[:12, :10]
    cells = np.exp(-((y - 9.0) ** 2 + (x - 2.0) ** 2) / 4)
    found = found_shapes(residual(cells), shown(), {"cause": "glow on 1"}, [{"ccd": "1", "cause": "", "glow": 3.0}])
    # Cells of 32 pixels: the third begins after 64 pixels, the tenth after 288.
    assert found == {"1": [["circle", "glow", 64 + 16.5, 288 + 16.5, 96]]}


def test_the_line_of_a_step_lies_between_the_rows():
    rows = np.zeros(19)
    rows[5] = -20.0  # at row 48 + 5 x 16: rows 1 to 128 are below, rows from 129 on are above
    ccd = {"ccd": "1", "cause": "amplifier step", "row_step": 20.0, "column_step": 1.0}
    found = found_shapes(residual(np.zeros((12, 10)), rows), shown(), {"cause": ""}, [ccd])
    assert found == {"1": [["line", "row step", 0.5, 128.5, 320.5, 128.5]]}


@pytest.mark.parametrize("turn", list(Turn))
def test_lines_of_stripes_have_their_period_and_direction(turn):
    from gpuanom.backends.cpu.histogram import turned

    own = math.radians(35.0)
    (angle,) = np.degrees(turned(np.array([own]), np.array([int(turn)])))
    ccd = {"ccd": "1", "cause": "stripes of 20 px along 35 deg", "stripe_period": 20.0, "stripe_angle": float(angle)}
    lines = found_shapes({}, shown(turn), {"cause": ""}, [ccd])["1"]
    assert len(lines) == 7
    across = []
    for _, _, x1, y1, x2, y2 in lines:
        assert (math.degrees(math.atan2(y2 - y1, x2 - x1)) + 90) % 180 - 90 == pytest.approx(35.0, abs=0.1)
        across.append((y1 - 0.5 - NY / 2) * math.cos(own) - (x1 - 0.5 - NX / 2) * math.sin(own))
    # Ends are rounded to 0.1 pixels.
    np.testing.assert_allclose(np.diff(np.sort(across)), 20.0, atol=0.2)


def test_nothing_is_drawn_on_ccds_of_which_nothing_is_known():
    assert found_shapes({}, shown(), {"cause": "glow"}, [{"ccd": "1", "cause": "", "glow": 3.0}]) == {}
    assert found_shapes({}, shown(), {"cause": "glow"}, [{"ccd": "2", "cause": "glow", "glow": 3.0}]) == {}
    assert found_shapes({}, shown(trails={"2": [10.0, 0.0]}), {}, []) == {}
    assert found_shapes({}, shown(trails={"1": [10.0, 5000.0]}), {}, []) == {}


def test_a_trail_is_found_again_where_it_is(tmp_path):
    """A raw image with overscan on its left, so that pixels of the CCD are not those of the file."""
    degrees, distance, left, ny, nx = 28.0, 60.0, 24, 800, 700
    image = np.array(sky.make(ny, nx, sky.stars(30, seed=3, margin=20), noise=4.0, seed=3))
    y, x = np.mgrid[:ny, :nx]
    off = (y + 0.5 - ny / 2) * math.cos(math.radians(degrees)) - (x + 0.5 - nx / 2) * math.sin(math.radians(degrees))
    image += 60.0 * np.exp(-((off - distance) ** 2) / (2 * 1.5**2))
    plane = fits.ImageHDU(np.hstack([np.full((ny, left), 7.0), image]).astype(np.float32), name="CCD1")
    plane.header["DATASEC"] = f"[{left + 1}:{left + nx},1:{ny}]"
    plane.header["SATURATE"] = 60000.0
    hdus = nights.hdus(1, ccds=0)
    hdus.append(plane)
    hdus.writeto(tmp_path / "one.fits")
    gpuanom.score(tmp_path / "one.fits", tmp_path / "night", device="cpu")
    night = open_night(tmp_path / "night")
    ((key, exposure),) = night.found.items()
    (row,) = night.ccds()[key]
    assert row["streak"] > 0
    made = pictures(exposure, ["CCD1"], night.settings, select("cpu"), most_bytes=50_000, trails=["CCD1"])
    assert made.origins == {"CCD1": [0, 1, 0]}
    assert made.layouts == [[[0, 0, nx, ny, left, 0]]]
    ((what, name, *ends),) = found_shapes({}, made, row, [row])["CCD1"]
    assert (what, name) == ("line", "trail")
    for px, py in ((ends[0], ends[1]), (ends[2], ends[3])):
        across = (py - 0.5 - ny / 2) * math.cos(math.radians(degrees)) - (px - 0.5 - nx / 2) * math.sin(
            math.radians(degrees)
        )
        # Lines are found in bins of 8 or 16 pixels.
        assert across == pytest.approx(distance, abs=16.0)
