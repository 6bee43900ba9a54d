"""What the validation tries: every class of anomalies, at strengths that the commands take; its pool of exposures."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("galsim")

from gpuanom.simulate import INJECTORS, parse
from gpuanom.simulate.sky import drawn_with

PROFILING = Path(__file__).parents[2] / "profiling"


@pytest.fixture(scope="module")
def scripts():
    """The scripts `validation`, `realistic`, `pool` and `verdict_page`; they set numbers of threads when imported."""
    names = ("validation", "realistic", "pool", "verdict_page")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROFILING)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            patch.setenv(name, "1")
        yield {name: importlib.import_module(name) for name in names}


def test_every_class_is_tried_at_strengths_that_the_commands_take(scripts):
    strengths = scripts["validation"].STRENGTHS
    assert {key.partition("/")[0] for key in strengths} == set(INJECTORS)
    for key, some in strengths.items():
        assert list(some) == sorted(set(some))
        name, _, size = key.partition("/")
        for strength in some:
            (anomaly,) = parse(f"{name}:{strength}{'/' + size if size else ''}")
            assert anomaly.amplitude == strength
    assert set(scripts["verdict_page"].RIGHT) == set(INJECTORS)


def test_normal_exposures_vary_and_follow_from_their_numbers(scripts):
    """Sky and density threefold, a quarter with cirrus, one in 25 with a trail; each exposure the same every time."""
    realistic = scripts["realistic"]
    camera = realistic.Camera(4, (96, 96), 5)
    every = [realistic.weather(camera, number) for number in range(1, 1501)]
    conditions = [about.conditions for about in every]
    for values, factor in (
        ([c.sky for c in conditions], 3.0),
        ([c.density for c in conditions], 3.0),
        ([c.fwhm for c in conditions], 1.9),
    ):
        assert max(values) / min(values) == pytest.approx(factor, rel=0.15)
    # 1500 draws settle shares of 4% and 25% to 0.5% and 1.1%.
    assert sum(about.trail is not None for about in every) / 1500 == pytest.approx(0.04, abs=0.02)
    assert sum(about.transparency < 1 for about in every) / 1500 == pytest.approx(0.25, abs=0.045)
    again = realistic.weather(camera, 7)
    assert (again.conditions.sky, again.trail, again.direction) == (every[6].conditions.sky, every[6].trail,
                                                                   every[6].direction)  # fmt: skip


def test_four_ccds_that_share_drawn_stamps_have_stars_of_their_own_places(scripts, monkeypatch):
    """Sources elongated radially, most in the corners: each star is as one that is drawn for its CCD alone."""
    realistic = scripts["realistic"]
    camera = realistic.Camera(7, (256, 240), 5, four_together=True)  # squares of four, two and one CCD
    about = realistic.weather(camera, 3)
    anomaly = realistic.anomaly_of(camera, "astigmatism", 0.3, about)
    one_left_out = dataclasses.replace(anomaly, shown=(0, 1, 2, 3, 4, 6))
    conditions = dataclasses.replace(about.conditions, anomaly=one_left_out)
    drawn = []
    draw_library = realistic.draw_library
    monkeypatch.setattr(realistic, "draw_library", lambda *some: drawn.append(some) or draw_library(*some))
    libraries = realistic._libraries(camera, conditions)
    # The CCD without the anomaly, one of two in its square, has a library to itself.
    assert len(drawn) == 4
    assert len(realistic.scenes(camera, about, one_left_out)) == 7
    monkeypatch.setattr("gpuanom.simulate.stamps.CELLS", 1)
    for place in camera.places:
        alone = draw_library(drawn_with(conditions, place), place, np.random.default_rng(1)).stars[0, 0]
        shared = libraries[place.number].stars
        assert shared.shape[:2] == (1, 1)
        # A CCD's middle and the middle of its quarter of a square are 14 pixels apart.
        assert np.abs(shared[0, 0] - alone).max() < 0.06 * alone.max()


def test_a_pool_goes_on_where_it_stopped(scripts, tmp_path, monkeypatch):
    """Also where its last record was cut short; each exposure is there once, and all numbers are different."""
    pool = scripts["pool"]
    monkeypatch.setattr(pool, "ONE_KIND", ())
    file = tmp_path / "pool"

    def run(normals, odd):
        words = [str(file), "--normals", str(normals), "--odd", str(odd), "--ccds", "1", "--shape", "64,64"]
        monkeypatch.setattr(sys, "argv", ["pool.py", *words])
        pool.main()
        return pool.read(file)

    _, two, end = run(2, 0)
    assert sorted(what.number for what in two) == [1, 2]
    assert end == file.stat().st_size
    file.write_bytes(file.read_bytes()[:-7])
    assert len(pool.read(file)[1]) == 1
    _, three, _ = run(3, 0)
    assert sorted(what.number for what in three) == [1, 2, 3]
    sky = {what.number: measurement.ccds[0].sky for what, measurement in three.items()}
    assert sky[2] == two[pool.What(2)].ccds[0].sky != sky[3]
    monkeypatch.setattr(sys, "argv", ["pool.py", str(file), "--seed", "5"])
    with pytest.raises(SystemExit, match="holds another pool"):
        pool.main()
    every = pool.wanted(250, 3, [2, 3])
    assert len({what.number for what in every}) == len(every) == 250 + 3 * 2 * len(pool.v.STRENGTHS)


def test_causes_are_read_without_numbers_and_places(scripts):
    page = scripts["verdict_page"]
    assert page.in_short("stripes of 20 px along 35 deg on N4") == "stripes"
    assert page.in_short("repeated images 41 px apart; streak") == "repeated images"
    assert page.in_short("donut or out of focus") == "donut or out of focus"
    assert page.in_short("uneven background on N4") == "uneven background"
    assert page.in_short("") == "none"
    assert page.is_right("repeats/70", "repeated images 71 px apart")
    assert not page.is_right("stripes/6", "row jitter")
