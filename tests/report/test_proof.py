"""The drawn maps and steps are those of the store less the static patterns, and what was found in them is marked."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest

from gpuanom.backends.choice import select
from gpuanom.records import CcdStatistics, Exposure, ExposureStatistics, Measurement, Turn
from gpuanom.report import page
from gpuanom.report.pictures import Pictures
from gpuanom.report.proof import Residuals, coloured, proof
from gpuanom.review.opened import open_night
from gpuanom.settings import Settings
from gpuanom.statistics import background_map
from gpuanom.statistics.listed import NAMES
from gpuanom.store.store import NAME, Store
from tests.report import made

pytest.importorskip("PIL")

SHAPE, CELLS, ODD = (384, 320), (12, 10), "7"
AT = (9, 2)
"""The cell of the glow, and a step at the row of index 5."""


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """25 exposures of two CCDs with static maps; exposure 7 has a glow and a step on CCD 2."""
    folder = tmp_path_factory.mktemp("proof") / "n"
    folder.mkdir()
    rng = np.random.default_rng(5)
    settings = Settings()
    static = rng.normal(0, 0.3, (2, *CELLS))
    row_steps, column_steps = rng.normal(0, 1, (2, 19)), rng.normal(0, 1, (2, 15))
    y, x = np.mgrid[: CELLS[0], : CELLS[1]]
    glow = 1.5 * np.exp(-((y - AT[0]) ** 2 + (x - AT[1]) ** 2) / 4)
    with Store(folder / NAME, settings) as store:
        for i in range(25):
            name = str(i)
            exposure = Exposure(
                exposure=name, camera="TESTCAM", band="r", date_obs="2026-01-02T03:04:05", exptime=90.0,
                files=(folder / f"gone_{i}.fits",), masks=(None,), fingerprint=f"f{i}", rule="any",
            )  # fmt: skip
            ccds = []
            for c in range(2):
                odd = name == ODD and c == 1
                steps = row_steps[c] + rng.normal(0, 0.2, 19)
                steps[5] += 20.0 if odd else 0.0
                cells = background_map.encoded((static[c] + (glow if odd else 0.0)).astype(np.float32)[None])[0]
                kept = CcdStatistics(
                    np.full(len(NAMES.ccds), np.nan, np.float32), cells, steps.astype(np.float32),
                    column_steps[c].astype(np.float32),
                )  # fmt: skip
                # The sky is under 5 sigma, so that the pattern is in sigma.
                plain = made.ccd(str(c + 1), rng, settings.bins)
                ccds.append(replace(plain, statistics=kept, sky=10.0, sigma=5.0, shape=SHAPE))
            of_exposure = ExposureStatistics(NAMES, np.full(len(NAMES.exposures), np.nan, np.float32))
            store.add(Measurement(exposure, tuple(ccds), settings.fingerprint(), "", of_exposure))
    return open_night(folder), glow


def residuals(opened):
    row = next(row for row in opened.exposures if row["exposure"] == ODD)
    return row, Residuals(opened).of(row, opened.ccds())


def shown(turn=Turn.NONE):
    return Pictures("", (1, 1), {}, "", [], {}, None, [], False, {name: [*SHAPE, int(turn)] for name in ("1", "2")})


def test_what_is_left_is_what_was_added(night):
    _, found = residuals(night[0])
    # Maps are stored in steps of 0.02 sigma; the median of 25 equal maps is one of them.
    np.testing.assert_allclose(found["2"].map, night[1], atol=0.0201)
    np.testing.assert_allclose(found["1"].map, 0.0, atol=1e-6)
    # Scatter of 0.2, and the median over 25 of it.
    assert found["2"].row_steps[5] == pytest.approx(20.0, abs=1.0)
    assert np.abs(np.delete(found["2"].row_steps, 5)).max() < 1.0
    np.testing.assert_allclose(found["2"].column_steps, 0.0, atol=1e-6)


@pytest.mark.parametrize("turn", list(Turn))
def test_the_brightest_place_is_marked_where_the_picture_shows_it(night, turn):
    from PIL import Image

    row, found = residuals(night[0])
    ccds = [{"ccd": "1", "glow": 0.1}, {"ccd": "2", "glow": 1.4}]
    drawn = proof(found, shown(turn), row, ccds, "glow")
    assert drawn["ccd"] == "2"
    ((x, y),) = drawn["marks"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn["map"].partition(",")[2]))).convert("RGB"))
    assert image.shape[:2] == tuple(reversed(drawn["size"]))
    blue = image[::-1, :, 2].astype(float)
    of_ccd = np.zeros(blue.shape, dtype=bool)
    left, bottom, width, height = drawn["boxes"]["2"]
    of_ccd[bottom : bottom + height, left : left + width] = True
    # The brightest cell is the one with the least blue, but for the blur of a compressed picture.
    found_y, found_x = np.unravel_index(np.argmin(np.where(of_ccd, blue, 255.0)), blue.shape)
    assert (abs(found_x - x), abs(found_y - y)) <= (1, 1)
    assert drawn["side"] == 32
    assert drawn["steps"] is None


def test_the_largest_step_is_marked(night):
    row, found = residuals(night[0])
    drawn = proof(found, shown(), row, [{"ccd": "1", "row_step": 1.0}, {"ccd": "2", "row_step": 9.0}], "row_step")
    steps = drawn["steps"]
    assert (drawn["ccd"], steps["axis"], steps["largest"]) == ("2", "row", 5)
    assert steps["places"][5] == 48 + 5 * 16
    assert steps["heights"][5] == max(abs(v) for v in steps["heights"])
    assert drawn["marks"] == []


def test_an_edge_is_marked_by_its_sharpest_cells(night):
    row, found = residuals(night[0])
    drawn = proof(found, shown(), row, [{"ccd": "1"}, {"ccd": "2", "edge": 1.0}], "edge")
    # The map has as many cells as count for an edge.
    assert len(drawn["marks"]) == CELLS[0] * CELLS[1] == background_map.EDGE_CELLS
    assert proof({}, shown(), row, [], "edge") is None
    assert proof(found, Pictures("", (1, 1), {}, "", [], {}, None, [], False), row, [], "edge") is None


def test_colours_have_a_sign():
    found = coloured(np.array([[-1.0, 0.0, 2.0, np.nan]], dtype=np.float32), 1.0)
    assert found[0].tolist() == [[0, 114, 178], [255, 255, 255], [193, 74, 0], [128, 128, 128]]


def test_the_page_draws_what_was_found(night, visit, tmp_path, monkeypatch):
    opened, _ = night
    row = next(row for row in opened.exposures if row["exposure"] == ODD)
    row.update(verdict="check", cause="glow on 2", evidence=30.0, score="glow_worst_ccd", deviation=9.0)
    opened.exposures.sort(key=lambda other: other["exposure"] != ODD)
    monkeypatch.setattr(page, "pictures", lambda *_, **__: shown())
    page.write_report(opened, tmp_path / "r.html", select("cpu"), top=1)
    tab = visit(tmp_path / "r.html", 1280)
    assert "what is left of the sky" in tab.locator(".proof h3").inner_text()
    assert tab.locator(".proof img").evaluate("image => image.naturalWidth") > 20
    assert "the circle is the brightest place, on CCD 2" in tab.locator(".proof").inner_text()
    # The picture's y axis points down, and CCD 2 is to the right of CCD 1, behind a gap of two cells.
    circle = tab.locator(".found-place")
    at = [float(circle.get_attribute(name)) for name in ("cx", "cy")]
    assert at == [CELLS[1] + 2 + AT[1] + 0.5, CELLS[0] - AT[0] - 0.5]
    tab.keyboard.press("h")
    assert circle.count() == 0
    row.update(cause="stripes of 96 px along 20 deg", stripe_period=96.0, stripe_angle=20.0)
    page.write_report(opened, tmp_path / "stripes.html", select("cpu"), top=1)
    tab = visit(tmp_path / "stripes.html", 1920)
    ends = [f"l.{end}.baseVal.value" for end in ("x1", "y1", "x2", "y2")]
    lines = tab.locator(".on-map .ruler:not(.edge)").evaluate_all(f"lines => lines.map((l) => [{', '.join(ends)}])")
    x1, y1, x2, y2 = np.array(lines).T
    angle = np.radians(20.0)
    np.testing.assert_allclose(np.arctan2(y1 - y2, x2 - x1), angle, atol=0.005)
    across = (x1 + x2) / 2 * np.sin(angle) + (y1 + y2) / 2 * np.cos(angle)
    # 96 pixels are three cells; places have two decimals.
    np.testing.assert_allclose(np.diff(across), 3.0, atol=0.03)
    assert "check" in tab.locator(".judged").get_attribute("class")
