"""Sources that are no stars: an exposure full of hot pixels has as many sources as any other, and is not ok."""

from __future__ import annotations

import numpy as np
import pytest

import gpuanom
from tests import sky

N, ODD = 30, 7
SETTINGS = gpuanom.Settings(background_points=200, sigma_points=1000, gradient_points=1000)


def hot(image):
    """One pixel of 300 holds some thousand electrons more."""
    rng = np.random.default_rng(5)
    found = rng.random(image.shape) < 1 / 300
    return np.where(found, image + rng.exponential(3000.0, image.shape), image)


def lost(image):
    """Three pixels of ten have no value, all over the CCD."""
    return np.where(np.random.default_rng(5).random(image.shape) < 0.3, np.nan, image)


def measured(number, change=np.asarray):
    """An exposure of one CCD with stars."""
    image = change(sky.make(384, 400, sky.stars(60, seed=number, ratio=0.9, margin=32), noise=8.0, seed=number))
    ccds = [gpuanom.Ccd("1", np.asarray(image, dtype=np.float32))]
    return gpuanom.measure(ccds, SETTINGS, "cpu", exposure=str(number), camera="C", band="r")


@pytest.fixture(scope="module")
def normal():
    return [measured(number) for number in range(N) if number != ODD]


@pytest.mark.parametrize("change", [hot, lost])
def test_sources_that_are_no_stars_make_an_exposure_bad(normal, change):
    table = gpuanom.rank([*normal, measured(ODD, change)], SETTINGS, device="cpu").exposures
    rows = {int(row["exposure"]): row for row in table}
    assert rows[ODD]["verdict"] == "bad"
    assert rows[ODD]["cause"] == "few stars among the sources"
    assert rows[ODD]["score"] == "sources_per_star"
    assert sum(row["verdict"] != "ok" for number, row in rows.items() if number != ODD) <= 1
