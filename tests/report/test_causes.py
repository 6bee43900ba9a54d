"""Every cause that a verdict can name opens the page at what shows the cause."""

from __future__ import annotations

import math

from gpuanom.report import causes, ccds
from gpuanom.scoring.judged.judged_statistics import EVERY
from gpuanom.scoring.verdict.cause_words import words


def test_every_cause_opens_at_a_number_that_the_page_has():
    assert set(causes.TRIGGERS) == causes.named_causes()
    for about, outline in causes.TRIGGERS.values():
        assert about in ("source", "background")
        assert outline in ccds.OUTLINES
        assert outline in ccds.SHOWN or outline == "ellipticity"


def test_causes_are_found_in_the_words_of_a_verdict():
    values = {f"{name}_{band}": 31.7 for name in ("stripe_period", "stripe_angle") for band in range(12)}
    values |= {"repeat_separation": 41.0, "ellipticity_angle": -3.0, "source_angle": 4.0, "isophote_angle": 5.0}
    for judged in EVERY:
        for sign in (1.0, -1.0):
            for filled, ccd in ((values, "N4; glow"), ({}, "")):
                text = judged.below if sign < 0 and judged.below else judged.above
                found = causes.causes_in(words(judged, sign, filled, ccd) + "; streak")
                assert found[0] == causes.without_numbers(text)
                assert found[-1] == "streak"


def test_what_names_no_cause_opens_at_nothing():
    assert causes.causes_in("no verdict: 6 exposures of this camera, band and CCD size, and a verdict needs 20") == []
    assert causes.trigger({"cause": ""}) is None
    assert causes.trigger({}) is None
    assert causes.trigger({"cause": "amplifier step on N4", "row_step": 9.0, "column_step": 2.0}).outline == "row_step"
    assert causes.trigger({"cause": "glow; streak"}).outline == "glow"


def test_the_colours_of_ccds_end_at_percentiles():
    rows = [{"background_z": float(i), "sky": 100.0 + i, "e1": 0.3, "e2": 0.4, "glow": None} for i in range(101)]
    scales = ccds.scales({("A", "1"): rows, ("B", "1"): [{"sky": 1e6, "background_z": 1e6}]}, "A")
    assert scales["background_z"] == [0.0, 98.0]
    assert scales["sky"] == [102.0, 198.0]
    assert scales["ellipticity"] == [0.0, 0.5]
    assert "glow" not in scales
    assert ccds.scales({("A", "1"): [{"sky": 0.0}]})["sky"] == [0.0, 1.0]  # no colours without a range
    assert ccds.outline_value({"e1": 0.3, "e2": None}, "ellipticity") is None
    assert math.isclose(ccds.outline_value({"e1": 0.03, "e2": 0.04}, "ellipticity"), 0.05)
