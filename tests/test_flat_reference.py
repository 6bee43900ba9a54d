"""`--reference flat`: exposures compared with flat histograms, without a verdict."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import KINDS
from gpuanom.review.opened import open_night
from gpuanom.scoring.histograms import ranking
from gpuanom.scoring.histograms.flat_reference import NO_VERDICT, flat_reference, flat_references
from gpuanom.scoring.histograms.given_references import require_reference
from tests import nights
from tests.test_cli import run
from tests.test_reference import BINS, QUICK, exposures_of, night

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


def test_scores_are_those_of_flat_shares():
    """KL, z and p by hand: the flat histogram has no noise, so that f of METHOD.md 5b is 1."""
    dataset = night(np.random.default_rng(1), 4, empty=0.0)
    reference = flat_reference(dataset.camera, dataset.band, BINS)
    scores = ranking.score_dataset(dataset, QUICK, select("cpu"), reference)
    for kind in range(len(KINDS)):
        for i, histograms in enumerate(exposures_of(dataset, kind)):
            kl, x = [], 0.0
            for counts in map(np.array, histograms):
                share = counts / counts.sum()
                kl.append(sum(p * np.log(p * BINS) for p in share.tolist() if p > 0))
                x += 2 * counts.sum() * kl[-1]
            degrees = len(kl) * (BINS - 1)
            # The last bits differ: sums run in another order.
            assert scores[kind].kl[i] == pytest.approx(np.mean(kl), rel=1e-9)
            assert scores[kind].z[i] == pytest.approx((x - degrees) / np.sqrt(2 * degrees), rel=1e-7, abs=1e-7)
            if min(map(sum, histograms)) >= QUICK.sparse_counts * BINS:
                assert scores[kind].p[i] == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A night of three exposures; the stars of number 2 are elongated."""
    folder = tmp_path_factory.mktemp("flat")
    nights.night(folder / "in", exposures=3, ccds=2, odd=2)
    return folder


def test_one_exposure_is_compared_with_flat_histograms(folder, capfd):
    image, one = folder / "in" / "exposure_002.fits", folder / "one"
    code, out, _ = run(capfd, "score", image, "-o", one, "--reference", "flat", "--device", "cpu", "--points", 500)
    assert code == 0
    assert out.splitlines()[0] == "verdicts: 0 bad, 0 check, 0 ok, 1 without a verdict"
    assert "1 exposure: no verdict: flat histograms do not tell what is normal" in out
    (row,) = open_night(one).exposures
    assert row["status"] == "ok"
    assert (row["verdict"], row["evidence"]) == ("", None)
    for kind in KINDS:
        assert None not in [row[f"{kind}_{what}"] for what in ("kl", "z", "p", "angle", "alignment")]
    z = {f"{kind}_kl": row[f"{kind}_z"] for kind in KINDS}
    assert (row["score"], row["z"]) == max(z.items(), key=lambda pair: pair[1])
    tables = nights.tables(one)
    code, _, err = run(capfd, "score", "-o", one)
    assert code == 0
    assert "compared with flat histograms, as it was last" in err
    assert nights.tables(one) == tables
    assert "reference: flat" in tables["exposures.ecsv"].decode()
    other = open_night(one, reference="flat")  # as `report --reference flat` does
    assert other.exposures == open_night(one).exposures


def test_a_folder_or_file_called_flat_is_not_in_the_way(folder, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat").mkdir()
    arguments = ("score", folder / "in" / "exposure_002.fits", "--device", "cpu", "--points", 500, "-o")
    assert run(capfd, *arguments, "one", "--reference", "flat")[0] == 0
    (tmp_path / "flat").rmdir()
    (tmp_path / "flat").write_text("no reference")
    code, _, err = run(capfd, *arguments, "two", "--reference", "./flat")
    assert code == 2
    assert "flat: not a reference" in err


def test_an_elongated_exposure_stands_out_of_a_few(folder):
    found = gpuanom.score(folder / "in", settings=SETTINGS, device="cpu", reference="flat").tables.exposures
    z = dict(zip(found["exposure"], found["isophote_z"], strict=True))
    assert max(z, key=z.get) == "2"
    assert set(found["verdict"]) == {""}
    assert set(found["cause"]) == {NO_VERDICT}


def test_many_exposures_have_no_verdict_either(folder):
    """Twenty exposures would tell what is normal, were they compared with each other."""
    measured = [gpuanom.measure([np.array(nights.image(i))], SETTINGS, "cpu", exposure=str(i)) for i in range(1, 22)]
    tables = gpuanom.rank(measured, SETTINGS, reference="flat")
    assert set(tables.exposures["verdict"]) == {""}
    assert set(tables.ccds["verdict"]) == {""}
    assert "ok" in set(gpuanom.rank(measured, SETTINGS).exposures["verdict"])


def test_flat_histograms_fit_any_settings():
    references = flat_references()
    references.require({"bins": 7}, "the reference")
    require_reference(references, QUICK, "the reference")


def test_another_reference_is_told_from_flat_histograms(folder, tmp_path):
    gpuanom.score(folder / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    with pytest.raises(gpuanom.GpuanomError, match="no saved reference"):
        open_night(tmp_path / "night", reference="flat")
