"""Nights with several exposure times: a short exposure is no worse for being short, and is never judged unsaid."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.scoring.evidence import exposure_times, null_record
from gpuanom.scoring.evidence.evidence import evidence
from gpuanom.scoring.evidence.exposure_times import LEAST, find
from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.judged.kept_statistics import from_text, to_text
from gpuanom.scoring.verdict.judge import judge
from gpuanom.settings import Settings
from gpuanom.tables.verdicts import null_of
from tests.test_verdict import _night

RATIO = Settings().exposure_time_ratio
NAN = float("nan")


def found(*groups):
    """Times of a night, given as pairs of a number of exposures and seconds."""
    return np.repeat([seconds for _, seconds in groups], [n for n, _ in groups]).astype(np.float64)


def times_of(seconds):
    return find({"exptime": np.asarray(seconds, dtype=np.float64)}, RATIO)


def night(*groups, seed=1):
    """A night under a steady sky: it and the number of sources follow from the exposure time."""
    seconds, rng = found(*groups), np.random.default_rng(seed)
    n = seconds.size
    every, share = _night(n, 4, seed), np.nan_to_num(seconds, nan=300.0) / 300.0
    sky = 1000.0 * share * np.exp(rng.normal(0.0, 0.08, n))
    columns = {
        "sky": sky[every.owner] * np.exp(rng.normal(0.0, 0.003, 4 * n)),
        "sigma": np.sqrt(sky + 36.0)[every.owner] * np.exp(rng.normal(0.0, 0.003, 4 * n)),
    }
    changed = {name: every.grid.medians(values) for name, values in columns.items()}
    changed["n_sources"] = rng.poisson(2000.0 * np.sqrt(share) * np.exp(rng.normal(0.0, 0.05, n))).astype(np.float64)
    # The KL of a histogram of fewer sources is larger by chance.
    changed["source_kl"] = every.exposures["source_kl"] / np.sqrt(share)
    exposures = {**every.exposures, **changed, "exptime": seconds}
    return dataclasses.replace(every, exposures=exposures, ccds={**every.ccds, **columns})


@pytest.mark.parametrize("seconds", [30.0, 100.0, 150.0])
@pytest.mark.parametrize("n_short", [LEAST, 25])
def test_short_exposures_are_judged_by_what_is_normal_for_them(n_short, seconds):
    verdicts = [judge(night((60, 300.0), (n_short, seconds), seed=seed))[0] for seed in range(4)]
    short = [(v.verdict[i], v.cause[i]) for v in verdicts for i in range(60, 60 + n_short)]
    assert sum(verdict != "ok" for verdict, _ in short) <= 0.06 * len(short), short
    assert all(f"{seconds:g} s" in note for note in verdicts[0].note[60:])
    assert not any(verdicts[0].note[:60])


def test_an_anomaly_of_a_short_exposure_is_found():
    measured = night((60, 300.0), (LEAST + 1, 30.0))
    measured.exposures["isophote_kl"][-1] *= 1e3
    verdicts = judge(measured)[0]
    assert (verdicts.verdict[-1], verdicts.cause[-1][:9]) == ("bad", "elongated")


def test_a_rare_exposure_time_has_no_verdict_and_says_why():
    measured = night((60, 300.0), (3, 30.0))
    verdicts, null = judge(measured)
    assert verdicts.verdict[60:] == [""] * 3
    assert verdicts.reason[60].startswith("no verdict: exposed for 30 s, most exposures for 300 s")
    assert np.isnan(verdicts.evidence[60:]).all()
    assert set(verdicts.ccd_verdict[np.isin(measured.owner, [60, 61, 62])].tolist()) == {""}
    # The long ones are judged as without the short ones, as far as these tell what is normal for CCDs.
    assert null.n_exposures == 60
    assert verdicts.verdict[:60].count("ok") >= 57


def test_a_night_of_one_time_is_judged_as_if_no_time_were_known():
    measured = night((40, 300.0), (20, 250.0))
    nameless = {name: values for name, values in measured.exposures.items() if name != "exptime"}
    without = judge(dataclasses.replace(measured, exposures=nameless))[0]
    verdicts = judge(measured)[0]
    assert verdicts.evidence.tobytes() == without.evidence.tobytes()
    assert verdicts.ccd_evidence.tobytes() == without.ccd_evidence.tobytes()
    assert (verdicts.verdict, verdicts.cause, verdicts.note) == (without.verdict, without.cause, without.note)


def test_the_setting_judges_all_times_together():
    measured = night((60, 300.0), (LEAST, 30.0))
    together = judge(measured, Settings(exposure_time_ratio=1000.0))[0]
    assert set(together.cause[60:]) == {"dark sky"}
    assert not any(together.note)


def test_too_few_exposures_of_a_frequent_time_give_no_verdict():
    verdicts, null = judge(night((18, 300.0), (4, 30.0)))
    assert null is None
    assert set(verdicts.reason) == {"no verdict: 18 exposures of a frequent exposure time, and a verdict needs 20"}


def test_where_every_time_is_rare_all_are_judged_together_and_told_so():
    verdicts, _ = judge(night(*((3, 2.0**k) for k in range(10))))
    assert "" not in verdicts.verdict
    assert all("all times are judged together" in note for note in verdicts.note)


def test_an_unknown_time_counts_as_the_most_frequent_one():
    verdicts, null = judge(night((40, 300.0), (10, 30.0), (2, NAN)))
    assert null.times.counts.tolist() == [42, 10]
    assert verdicts.verdict[50:].count("bad") == 0
    assert "unknown" in verdicts.note[50]
    assert times_of([NAN, 0.0, -5.0]).low.size == 0


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [
        (np.linspace(80.0, 300.0, 40), [40]),  # times that were chosen by the conditions
        (found((60, 300.0), (8, 200.0)), [68]),
        (found((60, 300.0), (LEAST, 199.0)), [60, LEAST]),
        (found((60, 300.0), (25, 30.0), (3, 5.0)), [60, 25]),
        (found((60, 60.0), (LEAST, 30.0), (1, 45.0)), [61, LEAST]),  # one between two groups joins the nearer one
        (found((3, 300.0), (2, 30.0)), []),
    ],
)
def test_which_times_are_alike(seconds, counts):
    assert times_of(seconds).counts.tolist() == counts


@given(seconds=st.lists(st.sampled_from([1.0, 30.0, 45.0, 60.0, 90.0, 300.0, 400.0, NAN]), min_size=1, max_size=90),
       data=st.data())  # fmt: skip
def test_groups_do_not_depend_on_the_order(seconds, data):
    order = data.draw(st.permutations(range(len(seconds))))
    here, there = times_of(seconds), times_of([seconds[i] for i in order])
    assert [np.asarray(value).tolist() for value in here] == [np.asarray(value).tolist() for value in there]
    group = here.group_of(np.array(seconds))
    assert np.bincount(group[group >= 0]).tolist()[: here.low.size] == here.counts.tolist() or not here.low.size


def test_a_null_judges_one_exposure_as_it_was_judged_among_all():
    measured = night((60, 300.0), (10, 30.0), (2, 5.0))
    null, together = fit(measured)
    for i in (0, 65, 71):
        alone = evidence(null, measured.part(np.array([i])))
        np.testing.assert_allclose(alone.of_exposures, together.of_exposures[i : i + 1], rtol=1e-9)
    text, arrays = null_record._null_text(null), null_record._null_arrays(null)
    again = null_record._null(text, arrays)
    assert again.times.group_of(np.array([300.0, 30.0, 5.0, NAN])).tolist() == [0, 1, -1, 0]
    assert evidence(again, measured).of_exposures.tobytes() == together.of_exposures.tobytes()


def test_exposures_of_a_rare_time_are_compared_with_none():
    group = np.array([0, 1, -1, 0])
    moved = exposure_times.moved(np.array([[1.0, 2.0, 3.0, 4.0]]), group, np.array([[0.0, 0.5]]))
    np.testing.assert_array_equal(moved, [[1.0, 1.5, NAN, 4.0]])


def test_exposures_of_a_rare_time_tell_nothing_of_what_is_normal():
    every = night((40, 300.0), (9, 3.0), (9, 30.0), seed=2)
    rare = np.arange(every.n_exposures) >= 40
    # Their sky is fainter than any other, and their CCDs differ as no others do.
    every.exposures["sky"][rare] = 0.1
    for values in every.ccds.values():
        values[rare[every.owner]] *= np.random.default_rng(3).lognormal(0.0, 3.0, 4 * 18)
    alone = every.part(np.flatnonzero(~rare))
    (null, found), (expected_null, expected) = fit(every), fit(alone)
    assert (null.n_exposures, null.sky, null.conditions) == (40, "sky", expected_null.conditions)
    np.testing.assert_array_equal(found.of_exposures[~rare], expected.of_exposures)
    np.testing.assert_array_equal(found.of_ccds[~rare[every.owner]], expected.of_ccds)


def test_a_kept_null_knows_that_all_times_were_judged_together():
    null, _ = fit(night(*((3, 2.0**k) for k in range(10))))
    again = null_record._null(null_record._null_text(null), null_record._null_arrays(null))
    assert again.times.are_mixed
    assert null.times.are_mixed


def test_a_reference_of_too_few_exposures_of_a_frequent_time_gives_no_null():
    def saved(*groups):
        return SimpleNamespace(statistics=night(*groups), camera="CAM", size=(512, 512))

    assert null_of(saved((18, 300.0), (4, 30.0)), Settings()) is None
    assert null_of(saved((22, 300.0)), Settings()).n_exposures == 22


def test_references_keep_the_times_and_gather_rare_ones():
    nights = [night((30, 300.0), (LEAST // 2, 30.0), seed=seed) for seed in (1, 2)]
    first, second = (from_text(to_text(measured)) for measured in nights)
    assert fit(first)[0].times.counts.tolist() == [30]
    assert fit(first.joined(second))[0].times.counts.tolist() == [60, LEAST]
    # A reference that was made before times were kept.
    old = dataclasses.replace(first, exposures={n: v for n, v in first.exposures.items() if n != "exptime"})
    assert not fit(old)[0].times.low.size
    assert exposure_times.COLUMN in old.joined(second).exposures
