"""Which of several statistics that stand out names the cause: reasons of physics, not the largest evidence."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpuanom.scoring.evidence import cause_choice, light_patches
from gpuanom.scoring.judged.judged_statistics import BACKGROUND, EVERY
from gpuanom.scoring.verdict.judge import judge

SCRIPT = Path(__file__).parent.parent / "profiling" / "verdict_thresholds.py"
CCDS, ODD = 9, 40
WORST = CCDS * ODD + 3
"""The CCD C3 of the exposure that is made odd."""


@pytest.fixture(scope="module")
def night():
    """150 exposures of 9 CCDs in which nothing is wrong."""
    spec = importlib.util.spec_from_file_location("verdict_thresholds", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.noise(np.random.default_rng(2), 150, CCDS)


def changed(night, of_exposure=None, of_ccds=None, which=slice(WORST, WORST + 1)):
    """The night with statistics of the odd exposure, and of some of its CCDs, multiplied by factors."""
    exposures, ccds = dict(night.exposures), dict(night.ccds)
    for name, factor in (of_exposure or {}).items():
        exposures[name] = exposures[name].copy()
        exposures[name][ODD] *= factor
    for name, factor in (of_ccds or {}).items():
        # From the median, so that the CCD stands out by the factor whatever its noise is.
        ccds[name] = ccds[name].copy()
        ccds[name][which] = factor * np.median(ccds[name])
    return dataclasses.replace(night, exposures=exposures, ccds=ccds)


def with_ellipticity(night, size):
    e1, e2 = night.exposures["e1"].copy(), night.exposures["e2"].copy()
    e1[ODD], e2[ODD] = 0.0, size
    return dataclasses.replace(night, exposures={**night.exposures, "e1": e1, "e2": e2, "ellipticity_angle": 0 * e1})


def verdict(night):
    found = judge(night)[0]
    return found.verdict[ODD], found.cause[ODD]


@pytest.mark.parametrize(
    ("factors", "cause"),
    [
        ({"kurtosis": 1e-6}, "out of focus or coma"),
        ({"kurtosis": 1e-6, "fwhm": 1e3}, "donut or out of focus"),
        ({"kurtosis": 1e6}, "elongated or doubled"),
        # The rim of a large donut is seen as several pieces.
        ({"kurtosis": 1e6, "fwhm": 1e3}, "donut or out of focus"),
    ],
)
def test_a_donut_is_flat_and_wide(night, factors, cause):
    assert verdict(changed(night, factors)) == ("bad", cause)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_drawn_out_stars_have_another_kurtosis_but_a_direction(night, factor):
    found = judge(with_ellipticity(changed(night, {"kurtosis": factor}), 30.0))[0]
    assert found.score[ODD] == "kurtosis"
    assert (found.verdict[ODD], found.cause[ODD]) == ("bad", "elongated along 0 deg")


def test_a_slight_ellipticity_does_not_name_the_cause_of_what_stands_out_much_more(night):
    # Six standard deviations beside sixty in the logarithm: less than a quarter of the evidence.
    found = verdict(with_ellipticity(changed(night, {"kurtosis": 1e-24}), 6.0))
    assert found == ("bad", "out of focus or coma")


@pytest.mark.parametrize(
    ("ellipticity", "cause"), [(0.0, "elongated or doubled"), (20.0, "repeated images 8 px apart")]
)
def test_close_images_repeat_along_a_direction(night, ellipticity, cause):
    """The rim of a donut repeats in every direction."""
    odd = with_ellipticity(changed(night, {"kurtosis": 1e9, "repeat_evidence": 1e9}), ellipticity)
    exposures = {**odd.exposures, "repeat_separation": np.full(150, 8.0)}
    assert verdict(dataclasses.replace(odd, exposures=exposures)) == ("bad", cause)


def test_a_pattern_on_one_ccd_does_not_excuse_what_is_wrong_with_all_stars(night):
    with_edge = changed(night, of_ccds={"edge": 1e6})
    assert verdict(with_edge) == ("check", "ring or ghost on C3")
    found = judge(with_ellipticity(with_edge, 60.0))[0]
    assert (found.verdict[ODD], found.cause[ODD]) == ("bad", "elongated along 0 deg")
    assert found.ccd_cause[WORST] == "ring or ghost on C3"


@pytest.mark.parametrize(
    ("factors", "cause"),
    [
        # An amplifier is brighter: a step along one axis, sharp as an edge, and two levels, which look like noise.
        ({"sigma": 1e9, "edge": 1e6, "column_step": 1e4}, "amplifier step on C3"),
        ({"sigma": 1e9, "edge": 1e6, "row_step": 1e4}, "amplifier step on C3"),
        # An amplifier without light: besides, the CCD is darker than the others.
        ({"sigma": 1e9, "edge": 1e6, "column_step": 1e4, "sky": 1e-4}, "dead amplifier on C3"),
        ({"sigma": 1e9, "fwhm": 1e9, "column_step": 1e4, "sky": 1e-4}, "dead amplifier on C3"),
        # The edges of a ghost run along both axes.
        ({"sigma": 1e9, "edge": 1e6, "row_step": 1e4, "column_step": 2e4}, "ring or ghost on C3"),
        # A glow has edges where it is steep, and brightens the sky.
        ({"sigma": 1e9, "edge": 1e6, "row_step": 1e4, "column_step": 2e4, "sky": 1e4}, "glow or bright sky on C3"),
        ({"sigma": 1e9, "sky": 1e-6}, "shadow or dark sky on C3"),
        ({"sigma": 1e9, "masked_patch": 1e4}, "ring or ghost, or a bright star on C3"),
        ({"sigma": 1e9}, "noise on C3"),
        # A disc of light makes the background uneven in all directions; stripes do in one.
        ({"sigma": 1e9, "stripe_power_6": 1e8, "masked_patch": 1e4}, "ring or ghost, or a bright star on C3"),
        ({"sigma": 1e9, "row_jitter": 1e9, "masked_patch": 1e4}, "ring or ghost, or a bright star on C3"),
        ({"sigma": 1e9, "row_jitter": 1e9, "column_jitter": 1e8, "map_rms": 1e4}, "uneven background on C3"),
        # Fine stripes beside a bright star.
        ({"stripe_power_6": 1e9, "masked_patch": 1e4}, "stripes of 20 px on C3"),
        ({"sigma": 1e9, "stripe_power_6": 1e8, "edge": 1e4, "masked_patch": 1e5}, "ring or ghost on C3"),
        ({"stripe_power_6": 1e8, "sigma": 1e6, "masked_patch": 1e4, "background_kl": 1e6}, "stripes of 20 px on C3"),
        ({"stripe_power_6": 1e6, "edge": 1e8, "flat_background_kl": 1e5}, "stripes of 20 px on C3"),
        # The mask of bright pixels cuts off the crests of strong stripes, which adds shorter periods.
        ({"stripe_power_4": 1e6, "stripe_power_6": 1e7, "edge": 1e8, "background_kl": 1e5}, "stripes of 40 px on C3"),
        ({"stripe_power_4": 1e2, "stripe_power_6": 1e7, "edge": 1e8, "background_kl": 1e5}, "stripes of 20 px on C3"),
    ],
)
def test_a_ccd_is_named_by_what_few_causes_raise(night, factors, cause):
    odd = changed(night, of_ccds=factors)
    periods = {f"stripe_period_{band}": np.full(150 * CCDS, period) for band, period in ((4, 40.0), (6, 20.0))}
    found = judge(dataclasses.replace(odd, ccds={**odd.ccds, **periods}))[0]
    assert (found.verdict[ODD], found.cause[ODD]) == ("check", cause)
    assert found.ccd_cause[WORST] == cause
    assert found.ccd_verdict[WORST] == "bad"


def test_words_tell_on_which_side_a_ccd_of_an_exposure_is(night):
    """Three CCDs are dark, so that the exposure is bad: the CCD that stands out most is dark, not bright."""
    found = judge(changed(night, of_ccds={"sky": 1e-6}, which=slice(CCDS * ODD, CCDS * ODD + 3)))[0]
    assert found.verdict[ODD] == "bad"
    assert found.cause[ODD].startswith("shadow or dark sky on C")


def test_a_bright_sky_shows_the_steps_of_all_ccds(night):
    whole = slice(CCDS * ODD, CCDS * (ODD + 1))
    odd = changed(night, {"sky": 1e4}, {"column_step": 1e2, "sigma": 1e2}, whole)
    assert verdict(odd) == ("bad", "bright sky")


@pytest.mark.parametrize(
    ("factors", "angle", "cause"),
    [
        ({"stripe_power_5": 1e3}, 1.0, "stripes of 32 px along 1 deg"),
        ({"stripe_power_5": 1e3}, 88.0, "stripes of 32 px along 88 deg"),
        # Neighbouring bands may show the same stripes; random levels have power at every period.
        ({"stripe_power_5": 1e3, "stripe_power_6": 1e3}, 1.0, "stripes of 32 px along 1 deg"),
        ({"stripe_power_5": 1e3, "stripe_power_8": 9e2}, 1.0, "row jitter"),
        ({"stripe_power_5": 1e3}, 30.0, "row jitter"),
        # The maps, in which the longest periods are seen, do not tell stripes from jitter.
        ({"stripe_power_1": 1e3}, 1.0, "row jitter"),
        ({}, 1.0, "row jitter"),
    ],
)
def test_stripes_along_rows_are_no_jitter(night, factors, angle, cause):
    odd = changed(night, factors, {"row_jitter": 1e15}, slice(CCDS * ODD, CCDS * (ODD + 1)))
    of_stripes = {f"stripe_{what}_{band}": np.full(150, value) for band in (1, 5, 6)
                  for what, value in (("period", 32.0), ("angle", angle))}  # fmt: skip
    assert verdict(dataclasses.replace(odd, exposures={**odd.exposures, **of_stripes})) == ("bad", cause)


@pytest.mark.parametrize(
    ("of_bands", "named"),
    [
        # A night of 140 exposures of 9 CCDs: stripes of 0.2 and 0.3, fringes, tree rings.
        ({5: 55.0, 6: 3.0, 7: 2.0}, "stripe_power_5"),
        ({5: 66.0, 6: 8.0, 2: 1.0}, "stripe_power_5"),
        ({4: 11.0, 8: 7.0, 3: 5.0}, ""),
        ({6: 22.0, 5: 11.0, 8: 3.0}, ""),
        ({6: 26.0, 8: 3.0}, ""),
        ({6: 24.0}, ""),
        # The maps, in which the longest periods are seen, do not tell stripes from waves.
        ({1: 90.0}, ""),
    ],
)
@pytest.mark.parametrize("chosen", ["background_kl", "flat_background_kl", "flat_background_vector"])
def test_stripes_of_one_period_are_named_in_place_of_a_direction(of_bands, named, chosen):
    names = [judged.name for judged in BACKGROUND]
    evidence = np.zeros((len(names), 1))
    evidence[names.index(chosen)] = 560.0
    for band, value in of_bands.items():
        evidence[names.index(f"stripe_power_{band}")] = value
    row = cause_choice.stripes_of_one_period(BACKGROUND, evidence, np.array([names.index(chosen)]), {}, 6.0)
    assert names[row[0]] == (named or chosen)


def test_waves_are_no_stripes():
    """The vectors of the background's orientations change over the focal plane, as those of stripes do not."""
    names = [judged.name for judged in BACKGROUND]
    waves = names.index("flat_background_gradient")
    evidence = np.zeros((len(names), 1))
    evidence[waves], evidence[names.index("stripe_power_5")] = 560.0, 66.0
    assert cause_choice.stripes_of_one_period(BACKGROUND, evidence, np.array([waves]), {}, 6.0) == [waves]


def test_edges_on_all_ccds_are_no_ring(night):
    """Waves have edges, too, and lie on all CCDs."""
    odd = changed(night, {"stripe_power_1": 1e5}, {"edge": 1e4}, slice(CCDS * ODD, CCDS * (ODD + 1)))
    found = judge(odd)[0]
    assert (found.verdict[ODD], found.score[ODD]) == ("bad", "edge_typical_ccd")
    assert found.cause[ODD] == "stripes"
    odd = changed(night, {}, {"edge": 1e4}, slice(CCDS * ODD, CCDS * (ODD + 1)))
    assert verdict(odd) == ("bad", "uneven background")


def test_the_most_precise_statistic_with_enough_evidence_is_chosen():
    precise = np.repeat([[0], [1], [1], [2], [3]], 5, axis=1)
    evidence = np.array(
        [
            [100.0, 100.0, 100.0, 100.0, 20.0],
            [24.0, 25.0, 30.0, -1.0, -1.0],
            [-1.0, 25.0, 31.0, -1.0, 9.0],
            [0.0, 0.0, 24.0, 26.0, -1.0],
            [9.0, 9.0, 9.0, 11.0, -1.0],
        ]
    )
    strongest = np.zeros(5, dtype=np.int64)
    found = cause_choice.most_precise(evidence, strongest, precise, 10.0, sure=False)
    assert found.tolist() == [0, 1, 2, 3, 0]
    found = cause_choice.most_precise(evidence, strongest, precise, 10.0, sure=True)
    assert found.tolist() == [0, 1, 2, 4, 0]
    nothing = np.zeros((0, 5))
    assert cause_choice.most_precise(nothing, strongest, nothing.astype(np.int64), 10.0, sure=True) is strongest


def test_steps_of_one_axis_need_both_axes_to_be_compared():
    steps = {"row_step": np.array([0.0, 2.0, 2.0, np.nan]), "column_step": np.array([3.0, 1.5, 0.5, 1.0])}
    assert cause_choice.steps_of_one_axis(steps, 4).tolist() == [True, False, True, True]
    assert cause_choice.steps_of_one_axis({"row_step": np.zeros(4)}, 4).all()


def test_little_noise_on_all_ccds_is_that_of_a_dark_sky(night):
    """Exposures of a tenth of the time had a "dead amplifier" on no CCD in particular."""
    rng = np.random.default_rng(4)
    short = np.arange(10, 16)
    sky = np.exp(rng.normal(7.0, 0.1, night.n_exposures))
    sky[short] /= 10.0
    of_ccds = np.repeat(sky, CCDS) * np.exp(rng.normal(0.0, 0.01, night.owner.size))
    ccds = {**night.ccds, "sky": of_ccds, "sigma": np.sqrt(of_ccds) * np.exp(rng.normal(0.0, 0.01, of_ccds.size))}
    exposures = {**night.exposures, "sky": sky, "sigma": np.sqrt(sky)}
    found = judge(dataclasses.replace(night, exposures=exposures, ccds=ccds))[0]
    assert {found.verdict[i] for i in short} == {"bad"}
    assert {found.cause[i] for i in short} == {"dark sky"}


def evidence_of(**values):
    """L of all statistics of exposures, of one exposure."""
    result = np.full((len(EVERY), 1), -1.0)
    for row, judged in enumerate(EVERY):
        result[row] = values.pop(judged.name, -1.0)
    assert not values
    return result


@pytest.mark.parametrize(
    ("values", "same_ccd", "several", "expected"),
    [
        # Exposures of nights of 60 and 150 (`gpuanom simulate`): crosstalk of 0.003, of 0.02; a ghost on one CCD.
        ({"crosstalk": 35.8, "crosstalk_masked": 31.1, "crosstalk_worst_ccd": 26.5}, True, True, False),
        ({"crosstalk": 5.5, "crosstalk_masked": 75.3, "sigma_typical_ccd": 3.2}, True, True, False),
        ({"crosstalk": 10.1, "crosstalk_worst_ccd": 9.8, "masked_patch_worst_ccd": 15.7}, True, True, True),
        ({"crosstalk": 16.6, "crosstalk_worst_ccd": 18.6, "masked_patch_worst_ccd": 15.8}, True, True, True),
        ({"crosstalk": 16.6, "crosstalk_worst_ccd": 18.6, "masked_patch_worst_ccd": 15.8}, True, False, False),
        ({"crosstalk": 16.6, "crosstalk_worst_ccd": 18.6, "masked_patch_worst_ccd": 15.8}, False, True, False),
        ({"crosstalk": 16.6, "crosstalk_worst_ccd": 18.6, "masked_patch_worst_ccd": 5.0}, True, True, False),
        # A bright star and its ghosts.
        ({"crosstalk": 35.8, "crosstalk_worst_ccd": 26.5, "masked_patch_worst_ccd": 12.0}, True, True, False),
        # Discs on all CCDs.
        ({"crosstalk": 37.8, "sigma_typical_ccd": 61.6, "crosstalk_worst_ccd": 4.0}, False, True, True),
        ({"crosstalk": 37.8, "sigma_worst_ccd": 61.6, "crosstalk_worst_ccd": 4.0}, False, True, True),
    ],
)
def test_light_on_a_part_of_a_ccd_is_no_crosstalk(values, same_ccd, several, expected):
    names = [judged.name for judged in EVERY]
    worst_ccd = np.zeros((len(EVERY), 1), dtype=np.int64)
    worst_ccd[names.index("masked_patch_worst_ccd")] = not same_ccd
    found = light_patches.is_no_crosstalk(EVERY, evidence_of(**values), worst_ccd, np.array([several]), 6.0)
    assert found.tolist() == [expected]


def test_crosstalk_of_all_ccds_is_bad_though_one_ccd_stands_out(night):
    """A false alarm of one CCD excused the exposure: it was to check, and its other CCDs were ok."""
    odd = changed(night, of_ccds={"stripe_power_11": 1e9})
    assert verdict(odd) == ("check", "stripes on C3")
    crosstalk = odd.exposures["crosstalk"].copy()
    crosstalk[ODD] += 1e3 * np.abs(crosstalk).max()
    found = judge(dataclasses.replace(odd, exposures={**odd.exposures, "crosstalk": crosstalk}))[0]
    assert (found.verdict[ODD], found.cause[ODD]) == ("bad", "crosstalk")
    assert found.ccd_cause[WORST] == "stripes on C3"
    assert set(found.ccd_verdict[CCDS * ODD : CCDS * (ODD + 1)]) == {"bad"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"crosstalk": 35.8, "crosstalk_worst_ccd": 26.5}, True),
        ({"crosstalk_masked": 35.8, "crosstalk_worst_ccd": 26.5}, True),
        ({"crosstalk": 15.0}, False),
        # As much on one CCD: a disc of light.
        ({"crosstalk": 35.8, "crosstalk_worst_ccd": 36.0}, False),
        ({"crosstalk_masked": 35.8, "masked_patch_worst_ccd": 36.0}, False),
    ],
)
def test_crosstalk_of_all_ccds_has_more_evidence_than_that_of_one(values, expected):
    assert light_patches.is_of_all_ccds(EVERY, evidence_of(**values), 20.0).tolist() == [expected]


@pytest.mark.parametrize(
    ("chosen", "values", "expected"),
    [
        # Discs on all CCDs, and on half of them; a night of 80 exposures.
        ("stripe_power_6", {"masked_patch_typical_ccd": 21.4}, "masked_patch_typical_ccd"),
        ("stripe_power_6", {"edge_worst_ccd": 63.4, "masked_patch_worst_ccd": 12.0}, "edge_worst_ccd"),
        ("stripe_power_6", {"masked_patch_typical_ccd": 9.9}, "stripe_power_6"),
        ("stripe_power_6", {"masked_patch_typical_ccd": 21.4, "sigma_typical_ccd": 20.0}, "stripe_power_6"),
        # Stripes have a direction.
        ("stripe_power_6", {"masked_patch_typical_ccd": 21.4, "flat_background_vector": 30.0}, "stripe_power_6"),
        ("row_jitter_typical_ccd", {"masked_patch_typical_ccd": 21.4}, "row_jitter_typical_ccd"),
    ],
)
def test_stripes_without_a_direction_are_light_in_places(chosen, values, expected):
    names = [judged.name for judged in EVERY]
    evidence = evidence_of(**{chosen: 95.1, "sigma_typical_ccd": 36.4, **values})
    found = light_patches.patches_of_exposures(EVERY, evidence, np.array([names.index(chosen)]))
    assert names[found[0]] == expected


def test_a_ccd_that_is_not_judged_alone_is_named_the_same_way():
    """The statistics of other CCDs do not count."""
    names = [judged.name for judged in EVERY]
    others = {"masked_patch_worst_ccd": 15.0, "map_rms_worst_ccd": 20.0, "sigma_worst_ccd": 11.0}
    evidence = evidence_of(stripe_power_6_worst_ccd=40.0, **others)
    worst_ccd = np.zeros((len(EVERY), 1), dtype=np.int64)
    chosen = np.array([names.index("stripe_power_6_worst_ccd")])
    found = light_patches.patches_of_worst_ccds(EVERY, evidence, worst_ccd, chosen)
    assert names[found[0]] == "masked_patch_worst_ccd"
    worst_ccd[names.index("masked_patch_worst_ccd")] = 1
    found = light_patches.patches_of_worst_ccds(EVERY, evidence, worst_ccd, chosen)
    assert names[found[0]] == "map_rms_worst_ccd"
    worst_ccd[names.index("map_rms_worst_ccd")] = 1
    assert light_patches.patches_of_worst_ccds(EVERY, evidence, worst_ccd, chosen).tolist() == chosen.tolist()
    assert light_patches.patches_of_worst_ccds(EVERY, evidence, worst_ccd, np.array([-1])).tolist() == [-1]
