"""Plots draw into the Axes that they are given; unusual numbers draw nothing and never fail."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from gpuanom.review import plots  # noqa: E402
from gpuanom.review.evaluate import Bin  # noqa: E402
from gpuanom.review.mosaic import GAP, mosaic, usual_names  # noqa: E402
from gpuanom.review.opened import Histogram  # noqa: E402


@pytest.fixture
def ax():
    figure = Figure()
    yield figure.add_subplot()
    figure.canvas.draw()  # everything in the axes can be drawn


def test_ccds_stay_at_their_places_where_an_exposure_lacks_one():
    image = np.ones((10, 12), dtype=np.float32)
    four = ["CCD1", "CCD2", "CCD3", "CCD4"]
    whole = mosaic("other", [(name, image) for name in four], four)
    of_ccds = {("other", str(i)): [{"ccd": name, "status": "ok"} for name in four] for i in range(3)}
    of_ccds["other", "3"] = [{"ccd": name, "status": "ok"} for name in ("CCD1", "CCD3", "extra")]
    of_ccds["other", "4"] = [{"ccd": "CCD1", "status": "ok"}, {"ccd": "(x.fits[2])", "status": "corrupt"}]
    usual = usual_names(of_ccds)["other"]
    assert usual == four
    for kept in (["CCD1", "CCD3", "CCD4"], ["CCD2"], ["CCD4", "CCD1"]):
        for listed in (kept, [*kept, "(x.fits[2])"]):
            found = mosaic("other", [(name, image) for name in kept], listed, usual)
            assert found.image.shape == whole.image.shape
            assert found.boxes == {name: whole.boxes[name] for name in kept}
    # A CCD that could not be measured has a name and a place, as before.
    found = mosaic("other", [("CCD1", image)], ["CCD1", "CCD4"], usual)
    assert found.boxes == {name: whole.boxes[name] for name in ("CCD1", "CCD4")}
    assert mosaic("other", [("CCD3", image)], ["CCD3"]).boxes == {"CCD3": (0, 0, 12, 10)}


def test_orientations_draw_shares_reference_and_noise(ax):
    counts = np.arange(18) * 10
    histogram = Histogram("source", counts, np.full(18, 1 / 18))
    plots.orientations(ax, histogram, angle=33.0)
    shares = [patch.get_data().values for patch in ax.patches]
    assert any(np.allclose(values, counts / counts.sum()) for values in shares)
    assert histogram.noise() == pytest.approx(2.0 * np.sqrt((1 / 18) * (17 / 18) / counts.sum()))
    assert "preferred: 33 deg" in [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("mean", [None, np.full(18, 1 / 18)])
def test_orientations_of_nothing(ax, mean):
    plots.orientations(ax, Histogram("source", np.zeros(18, dtype=np.int64), mean), angle=float("nan"))


def test_whiskers_lie_along_their_angle(ax):
    plots.whiskers(ax, [0, 10, 20], [0, 0, 0], [0, 90, np.nan], [2, 4, 1], scale=2.0)
    first, second = ax.collections[0].get_segments()
    assert first == pytest.approx(np.array([[-2, 0], [2, 0]]))
    assert second == pytest.approx(np.array([[10, -4], [10, 4]]), abs=1e-9)
    plots.whiskers(ax, [], [], [], [])


def test_focal_plane_outlines_every_ccd(ax):
    images = [("S29", np.ones((8, 4), dtype=np.float32)), ("S30", np.full((8, 4), np.nan, dtype=np.float32))]
    picture = mosaic("DECam", images, ["S29", "S30", "S31"])
    assert set(picture.boxes) == {"S29", "S30", "S31"}
    _, y, width, height = picture.boxes["S30"]
    assert (width, height) == (4, 8)
    assert y - picture.boxes["S29"][1] == 8 + GAP
    plots.focal_plane(ax, picture, {"S29": 100.0, "S30": float("nan")})
    assert len(ax.patches) == 3


def test_a_ccd_mounted_upside_down_is_turned():
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    picture = mosaic("MegaCam", [("ccd00", image), ("ccd27", image)])
    for name, expected in (("ccd00", image[::-1, ::-1]), ("ccd27", image)):
        x, y, width, height = picture.boxes[name]
        assert (picture.image[y : y + height, x : x + width] == expected).all()


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, 1.0], [5.0, 5.0]])
def test_mosaics_of_anything_have_limits(values):
    looks = [("1", np.array([values], dtype=np.float32))] if values else []
    low, high = mosaic("x", looks).limits
    assert np.isfinite([low, high]).all()
    assert low < high


def test_distributions_and_scatters(ax):
    masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    plots.score_distribution(ax, {"g": masked, "r": [np.nan]}, threshold=3.0)
    assert sum(patch.get_data().values.sum() for patch in ax.patches) == 2
    plots.score_distribution(ax, {})
    plots.score_against(ax, masked, [1, 2, 3], xlabel="sky")
    plots.stamp(ax, np.zeros((64, 64), dtype=np.float32), text="30 sigma")


def test_true_positive_rates_stack_dubious_on_prominent(ax):
    plots.true_positive_rate(ax, [Bin(0.0, 1.0, 10, 10, 4, 2), Bin(1.0, 2.0, 10, 0, 0, 0)], title="r")
    heights = [patch.get_height() for patch in ax.patches]
    assert heights == pytest.approx([0.4, 0.0, 0.2, 0.0])
