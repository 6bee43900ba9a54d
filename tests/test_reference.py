"""References, robust rounds, scores and ranks of datasets (METHOD.md 5, 5b) against naive.py, and by hand."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.errors import ReferenceFileError
from gpuanom.records import BACKGROUND, KINDS, SOURCE, Dataset
from gpuanom.scoring.histograms.comparison import dataset_reference
from gpuanom.scoring.histograms.given_references import merge
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.scoring.histograms.reference import DatasetReference, Reference, References
from gpuanom.settings import Settings

BINS = 18
QUICK = Settings(simulations=100)

counts_of = st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=30)


def parts(reference):
    return reference.n_histograms, reference.shares, reference.counts, reference.inverse_counts


def assert_same(reference, expected, *, exact_counts=True):
    """Sums of up to a few thousand shares below 1: rounding errors of 1e-16 each, relative to a sum of that size."""
    M, S, C, H = expected
    assert reference.n_histograms == M
    np.testing.assert_allclose(reference.shares, S, rtol=1e-13)
    np.testing.assert_array_equal(reference.counts, C)
    assert reference.inverse_counts == pytest.approx(H, rel=1e-13)


def night(rng, n_exposures, *, ccds=3, n=400, empty=0.1, odd=(), bins=BINS):
    """A dataset of one camera and band: some CCDs have no counts, and some exposures are anomalous."""
    owner = np.repeat(np.arange(n_exposures), ccds)
    truth = rng.dirichlet(np.full(bins, 20.0))
    counts = np.zeros((owner.size, 4, bins), np.int64)
    for i, e in enumerate(owner):
        p = 0.7 * truth + 0.3 * (np.arange(bins) == e % bins) if e in odd else truth
        for kind in range(4):
            counts[i, kind] = rng.multinomial(rng.integers(1, n), p) if rng.random() > empty else 0
    ids = tuple(f"e{i:04d}" for i in range(n_exposures))
    angles = rng.normal(0, 10, (2, owner.size, 4))
    return Dataset("camera", "r", ids, owner, counts, angles[0], angles[1])


def exposures_of(dataset, kind):
    """The input of naive.py: a list of histograms for each exposure; of sources only one, the sum over the CCDs."""
    lists = []
    for e in range(len(dataset.exposures)):
        histograms = dataset.counts[dataset.owner == e, kind].tolist()
        lists.append(histograms if kind >= BACKGROUND else [np.sum(histograms, axis=0).tolist()])
    return lists


# What a reference stores


@given(counts_of)
def test_a_reference_matches_naive(rows):
    assert_same(Reference.of(np.array(rows, np.int64)), naive.reference(rows))


def test_by_hand():
    reference = Reference.of(np.array([[1, 3], [0, 0], [2, 0]], np.int64))
    assert parts(reference)[0] == 2
    assert reference.shares.tolist() == [1.25, 0.75]
    assert reference.counts.tolist() == [3, 3]
    assert reference.inverse_counts == 0.75
    assert reference.mean(contains=True).tolist() == [0.625, 0.375]


@given(counts_of, counts_of)
def test_merging_is_adding(a, b):
    one, other = (Reference.of(np.array(rows, np.int64)) for rows in (a, b))
    assert_same(one + other, naive.reference(a + b))
    assert_same(other + one, naive.reference(a + b))


@given(counts_of, st.randoms(use_true_random=False))
def test_the_order_is_of_no_account(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert_same(Reference.of(np.array(shuffled, np.int64)), naive.reference(rows))


def test_only_empty_histograms_make_an_empty_reference():
    reference = Reference.of(np.zeros((3, 5), np.int64))
    assert (reference.n_histograms, reference.inverse_counts) == (0, 0)
    assert_same(reference + Reference.of(np.ones((2, 5), np.int64)), naive.reference([[1] * 5] * 2))


# Empty bins


@given(counts_of.filter(lambda rows: any(map(sum, rows))), st.booleans())
def test_means_match_naive(rows, contains):
    M, S, C, _ = naive.reference(rows)
    expected, spread = naive.mean_histogram(M, S, C, contained=contains)
    reference = Reference.of(np.array(rows, np.int64))
    np.testing.assert_allclose(reference.mean(contains=contains), expected, rtol=1e-13)
    assert reference.mean(contains=contains).sum() == pytest.approx(1, abs=1e-14)
    assert spread == (reference.has_empty_bin and not contains)
    assert contains or reference.mean(contains=False).min() > 0


def test_the_rule_for_empty_bins_by_hand():
    """M = 2 and C = 8, so that half a count is 0.125 of a histogram: (S + 0.125) / (2 + 3 x 0.125)."""
    reference = Reference.of(np.array([[2, 2, 0], [1, 3, 0]], np.int64))
    np.testing.assert_allclose(reference.mean(contains=False), np.array([0.875, 1.375, 0.125]) / 2.375, rtol=1e-15)
    assert reference.mean(contains=True).tolist() == [0.375, 0.625, 0]


def test_a_histogram_in_a_bin_that_the_reference_lacks_has_a_finite_score(backend):
    """The scores also say that half a count was spread over the bins."""
    rng = np.random.default_rng(1)
    before, after = night(rng, 5, empty=0), night(rng, 4, empty=0)
    before.counts[:, :, 7] = 0
    renamed = Dataset("camera", "r", tuple("abcd"), after.owner, after.counts, after.cosine, after.sine)
    saved = dataset_reference(before)
    for kind, scores in enumerate(score_dataset(renamed, QUICK, backend, saved)):
        assert np.isfinite(scores.kl).all()
        assert scores.spread.all()
        M, S, C, _ = naive.reference([h for e in exposures_of(before, kind) for h in e])
        mean, spread = naive.mean_histogram(M, S, C, contained=False)
        assert spread
        expected = [np.mean([naive.kl(h, mean) for h in of_exposure]) for of_exposure in exposures_of(renamed, kind)]
        np.testing.assert_allclose(scores.kl, expected, rtol=1e-12)
    assert not any(s.spread.any() for s in score_dataset(before, QUICK, backend))


# Datasets


def check_dataset(backend, dataset, settings=QUICK):
    """Compare KL, rank, floor, z and deviation of every kind with naive.py."""
    for kind, scores in enumerate(score_dataset(dataset, settings, backend)):
        exposures = exposures_of(dataset, kind)
        fraction, least = settings.robust_fraction, settings.robust_minimum
        rounds = settings.robust_rounds
        members = naive.robust_members(exposures, dataset.exposures, rounds, fraction=fraction, minimum=least)
        expected = naive.exposure_scores(exposures, members)
        np.testing.assert_allclose(scores.kl, [math.nan if s is None else s for s in expected], rtol=1e-11, atol=1e-15)
        divergences = [None if math.isnan(s) else float(s) for s in scores.kl]
        assert [r or None for r in scores.rank.tolist()] == naive.ranks(divergences, dataset.exposures)
        M, _, _, H = naive.reference([h for i in sorted(members) for h in exposures[i]])
        for i, ccds in enumerate(exposures):
            assert scores.n[i] == sum(map(sum, ccds))
            full = [h for h in ccds if sum(h)]
            if not full:
                assert math.isnan(scores.z[i])
                assert math.isnan(scores.p[i])
                continue
            X, floors = 0.0, []
            mean, spread = naive.mean_histogram(
                *naive.reference([h for k in sorted(members) for h in exposures[k]])[:3], contained=i in members
            )
            assert scores.spread[i] == spread
            for h in full:
                f = naive.noise_factor(sum(h), M, H, contained=i in members)
                X += naive.statistic(sum(h), naive.kl(h, mean), f)
                floors.append(naive.floor(sum(h), len(h), f))
            degrees = len(full) * (len(full[0]) - 1)
            # X adds terms of 2 n KL, each accurate to about 1e-14 n.
            assert scores.z[i] == pytest.approx(naive.z_score(X, degrees), rel=1e-9, abs=1e-9)
            assert scores.floor[i] == pytest.approx(np.mean(floors), rel=1e-12)
            if all(sum(h) >= settings.sparse_counts * len(h) for h in full):
                assert scores.p[i] == pytest.approx(naive.chi2_tail(X, degrees), rel=1e-7, abs=1e-300)
        for a, b in zip(scores.deviation, naive.deviations(divergences), strict=True):
            assert math.isnan(a) if b is None else a == pytest.approx(b, rel=1e-8, abs=1e-8)
        if kind >= BACKGROUND:
            alone = [h for e in exposures for h in e]
            assert np.isnan(scores.ccd_kl).tolist() == [not sum(h) for h in alone]


@pytest.mark.parametrize("n", [30, 400, 5000])
@pytest.mark.parametrize("n_exposures", [2, 3, 11])
def test_datasets_match_naive(backend, n_exposures, n):
    check_dataset(backend, night(np.random.default_rng(n_exposures + n), n_exposures, n=n))


@pytest.mark.proof(rounds=2)
@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("n_exposures", [3, 4, 9, 10, 11, 24, 70])
def test_robust_rounds_match_naive(backend, n_exposures, rounds):
    """A tenth of 70 is 7, although 0.1 * 70 is slightly more in floating point; with 3 exposures all stay."""
    rng = np.random.default_rng(n_exposures)
    dataset = night(rng, n_exposures, ccds=2, odd=range(0, n_exposures, 6))
    check_dataset(backend, dataset, QUICK.replace(robust_rounds=rounds))


@pytest.mark.parametrize(("fraction", "minimum"), [(0.0, 3), (0.35, 3), (0.5, 8), (0.29, 1)])
def test_other_robust_settings(backend, fraction, minimum):
    settings = QUICK.replace(robust_rounds=2, robust_fraction=fraction, robust_minimum=minimum)
    check_dataset(backend, night(np.random.default_rng(3), 12, odd=(2, 5, 6)), settings)


def test_a_robust_reference_lowers_the_normal_scores(backend):
    """A contaminated reference raises every score; the normal scores fall when the anomalous exposures are left out."""
    dataset = night(np.random.default_rng(8), 20, n=3000, empty=0, odd=(3, 11))
    plain, robust = (score_dataset(dataset, QUICK.replace(robust_rounds=r), backend)[SOURCE] for r in (0, 2))
    normal = [i for i in range(20) if i not in (3, 11)]
    assert np.median(robust.kl[normal]) < np.median(plain.kl[normal])
    assert set(np.argsort(-robust.kl)[:2].tolist()) == {3, 11}


def test_ties_rank_by_exposure_id(backend):
    dataset = night(np.random.default_rng(8), 6, ccds=1, empty=0)
    dataset.counts[[1, 4]] = dataset.counts[2]
    for scores in score_dataset(dataset, QUICK, backend):
        first = scores.rank[1]
        assert scores.rank[[1, 2, 4]].tolist() == [first, first + 1, first + 2]


def test_exposures_without_counts_have_no_rank(backend):
    dataset = night(np.random.default_rng(8), 6, empty=0)
    dataset.counts[dataset.owner == 2] = 0
    check_dataset(backend, dataset)
    scores = score_dataset(dataset, QUICK, backend)[SOURCE]
    assert scores.rank[2] == 0
    assert sorted(scores.rank.tolist()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", range(4))
def test_one_exposure_has_nothing_to_compare_with(backend, kind):
    """This holds even if the exposure has many CCDs."""
    scores = score_dataset(night(np.random.default_rng(1), 1, ccds=9, empty=0), QUICK, backend)[kind]
    assert np.isnan([scores.kl[0], scores.z[0], scores.p[0], scores.floor[0], scores.deviation[0]]).all()
    assert scores.rank[0] == 0
    assert scores.n[0] > 0


def test_one_exposure_with_counts_among_empty_ones_has_no_score_either(backend):
    dataset = night(np.random.default_rng(1), 3, empty=0)
    dataset.counts[dataset.owner != 1] = 0
    assert all(np.isnan(s.kl).all() for s in score_dataset(dataset, QUICK, backend))


def test_equal_exposures_score_0_and_have_no_deviation(backend):
    dataset = night(np.random.default_rng(1), 5, ccds=1, empty=0)
    dataset.counts[:] = dataset.counts[0]
    for scores in score_dataset(dataset, QUICK, backend):
        assert np.abs(scores.kl).max() < 1e-14
        assert scores.rank.tolist() == [1, 2, 3, 4, 5]


def test_a_saved_reference_of_the_same_night_gives_the_same_scores(backend):
    dataset = night(np.random.default_rng(4), 8)
    fresh, saved = score_dataset(dataset, QUICK, backend), dataset_reference(dataset)
    for a, b in zip(fresh, score_dataset(dataset, QUICK, backend, saved), strict=True):
        np.testing.assert_array_equal(a.kl, b.kl)
        np.testing.assert_array_equal(a.z, b.z)
        np.testing.assert_array_equal(a.p, b.p)


# Saved and merged references


def references_of(dataset, settings=QUICK):
    return References((dataset_reference(dataset),), settings.measurement())


def test_what_is_saved_is_read_back_to_the_bit(tmp_path):
    before = references_of(night(np.random.default_rng(4), 8))
    before.save(tmp_path / "reference.ecsv")
    after = References.load(tmp_path / "reference.ecsv")
    assert after.settings == before.settings
    assert after.datasets[0].exposures == before.datasets[0].exposures
    for a, b in zip(before.datasets[0].kinds, after.datasets[0].kinds, strict=True):
        for x, y in zip(parts(a), parts(b), strict=True):
            np.testing.assert_array_equal(x, y)


def test_merged_nights_are_one_night():
    rng = np.random.default_rng(4)
    first, second = night(rng, 8), night(rng, 5)
    ids = tuple(f"x{i}" for i in range(5))
    second = Dataset("camera", "r", ids, second.owner, second.counts, second.cosine, second.sine)
    merged = merge([("a", references_of(first)), ("b", references_of(second))]).datasets[0]
    assert merged.exposures.keys() == {*first.exposures, *ids}
    for kind in range(len(KINDS)):
        rows = [h for d in (first, second) for e in exposures_of(d, kind) for h in e]
        assert_same(merged.kinds[kind], naive.reference(rows))


def test_bands_are_kept_apart():
    dataset = night(np.random.default_rng(4), 8)
    other = Dataset("camera", "g", *(getattr(dataset, n) for n in ("exposures", "owner", "counts", "cosine", "sine")))
    merged = merge([("a", references_of(dataset)), ("b", references_of(other))])
    assert [d.band for d in merged.datasets] == ["g", "r"]


def test_an_exposure_never_counts_twice():
    dataset = night(np.random.default_rng(4), 8)
    with pytest.raises(ReferenceFileError, match="e0000"):
        merge([("a", references_of(dataset)), ("b", references_of(dataset))])


def test_other_settings_are_refused_by_name():
    dataset = night(np.random.default_rng(4), 8)
    with pytest.raises(ReferenceFileError, match="threshold"):
        merge([("a", references_of(dataset)), ("b", references_of(dataset, QUICK.replace(threshold=10.0)))])


@pytest.mark.parametrize("text", ["", "no table\n", "# %ECSV 1.0\n# ---\n# datatype: []\n", "\x00\xff"])
def test_files_that_are_no_references(tmp_path, text):
    path = tmp_path / "reference.ecsv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ReferenceFileError, match=r"reference\.ecsv"):
        References.load(path)
    with pytest.raises(ReferenceFileError, match=r"cannot be read: .* \(check the path .*\)"):
        References.load(tmp_path / "missing.ecsv")


def test_a_reference_of_other_settings_names_them_and_the_remedy():
    saved = References((), QUICK.measurement())
    words = (
        r"ref\.ecsv: the reference was made with other settings: threshold .* there, 10\.0 here \(score with those .*\)"
    )
    with pytest.raises(ReferenceFileError, match=words):
        saved.require(QUICK.replace(threshold=10.0).measurement(), "ref.ecsv")


def test_a_reference_of_nothing_scores_nothing(backend):
    empty = Reference.of(np.zeros((2, BINS), np.int64))
    saved = DatasetReference("camera", "r", (empty,) * 4, {"x": ""})
    assert all(np.isnan(s.kl).all() for s in score_dataset(night(np.random.default_rng(4), 3), QUICK, backend, saved))
