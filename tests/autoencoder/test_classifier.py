"""The classifier with labels: it learns, its probabilities come from fits without the exposure, its ROC is right."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

import gpuanom
from gpuanom.autoencoder import classifier, validation
from gpuanom.autoencoder.classifier import FEATURES, Sample
from gpuanom.autoencoder.model import read, save
from gpuanom.cli import main
from gpuanom.errors import InputError, OutputError
from gpuanom.files import write_text
from gpuanom.review.labels import Label
from tests import nights
from tests.autoencoder import made


def sample(n=120, *, shift=2.0, odd=30, seed=0):
    """Random features. In the anomalous exposures, which come first, one latent feature and one other are shifted."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, len(FEATURES)))
    features[:odd, [3, 70]] += shift
    features[5, 10] = np.nan
    truth = np.full(n, 0)
    truth[:odd] = 1
    keys = [("C", str(i)) for i in range(n)]
    return Sample(keys, ["r"] * n, features, {}, "m"), truth


def test_it_learns_and_does_not_see_what_it_is_asked():
    exposures, truth = sample()
    probability = validation.cross_validated(exposures, truth)
    # Two of 81 features are shifted by 2. For three seeds the area was 0.76 to 0.92; the fit to noise accounts for the
    # rest.
    assert validation.roc(probability, truth)[2] > 0.7
    # From pure noise the classifier learns nothing. If a fold were fitted with its own labels, 81 features would give
    # an area near 1.
    noise, truth = sample(shift=0.0)
    assert 0.3 < validation.roc(validation.cross_validated(noise, truth), truth)[2] < 0.7
    fitted = classifier.fit(noise, truth)
    assert validation.roc(fitted.probabilities(noise.features), truth)[2] > 0.9


def test_probabilities_of_new_exposures():
    fitted = classifier.fit(*sample())
    new, truth = sample(seed=1)
    # For three seeds the area was 0.90 to 0.93.
    assert validation.roc(fitted.probabilities(new.features), truth)[2] > 0.8


def test_unlabelled_exposures_are_not_used():
    exposures, truth = sample()
    truth[::7] = -1
    probability = validation.cross_validated(exposures, truth)
    assert np.array_equal(np.isnan(probability), truth == -1)
    spoilt = Sample(exposures.keys, exposures.bands, exposures.features.copy(), {}, "m")
    spoilt.features[truth == -1] = 1e6
    assert np.array_equal(classifier.fit(spoilt, truth).weights, classifier.fit(exposures, truth).weights)


def test_the_order_of_exposures_does_not_matter():
    exposures, truth = sample()
    turned = Sample(exposures.keys[::-1], exposures.bands, exposures.features[::-1], {}, "m")
    a = validation.cross_validated(exposures, truth)
    b = validation.cross_validated(turned, truth[::-1])[::-1]
    # The point at which the optimiser stops depends on the order of sums.
    np.testing.assert_allclose(a, b, atol=1e-3)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_roc_area_is_the_share_of_pairs_in_order(pairs):
    score, truth = np.array([float(s) for s, _ in pairs]), np.array([int(t) for _, t in pairs])
    odd, normal = score[truth == 1], score[truth == 0]
    false, true, area = validation.roc(score, truth)
    assert np.all(np.diff(false) >= 0)
    assert np.all(np.diff(true) >= 0)
    if odd.size and normal.size:
        expected = np.mean((odd[:, None] > normal) + 0.5 * (odd[:, None] == normal))
        assert area == pytest.approx(expected)
        assert (false[-1], true[-1]) == (1.0, 1.0)


def test_no_score_is_the_lowest():
    truth = np.array([1, 1, 0, 0, -1])
    assert validation.roc(np.array([np.nan, 3.0, 1.0, 2.0, 9.0]), truth)[2] == 0.5


@pytest.mark.parametrize("truth", [[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
def test_missing_scores_are_tied_whatever_their_order(truth):
    assert validation.roc(np.full(4, np.nan), np.array(truth))[2] == 0.5
    one = np.where(np.arange(4) == truth.index(1), 5.0, np.nan)
    assert validation.roc(one, np.array(truth))[2] == 0.75


@pytest.mark.parametrize(("odd", "normal"), [(4, 50), (50, 4), (0, 0)])
def test_too_few_labels(odd, normal):
    exposures, _ = sample()
    truth = np.full(120, -1)
    truth[:odd], truth[odd : odd + normal] = 1, 0
    for what in (classifier.fit, validation.cross_validated):
        with pytest.raises(InputError, match=f"{odd} prominent and {normal} normal exposures are labelled: too few"):
            what(exposures, truth)


def test_grades():
    def label(exposure, kind, grade):
        return Label(str(exposure), "C", kind, grade, "", "ann", "t")

    said = [
        label(1, "source", "prominent"),
        label(1, "background", "normal"),
        label(2, "source", "normal"),
        label(3, "source", "dubious"),
        label(3, "background", "normal"),
        label(9, "source", "normal"),
    ]
    truth, strangers = classifier.grades(said, [("C", str(i)) for i in range(1, 5)])
    assert truth.tolist() == [1, 0, -1, -1]
    assert [s.exposure for s in strangers] == ["9"]


def test_a_classifier_s_file(tmp_path):
    exposures, truth = sample()
    fitted = classifier.fit(exposures, truth)
    classifier.save(fitted, tmp_path / "c.pt", {"roc_area": {"classifier": 0.5}})
    with pytest.raises(OutputError, match="is a trained model and is not replaced"):
        write_text(tmp_path / "c.pt", "another output of this name")
    again = classifier.load(tmp_path / "c.pt")
    assert np.array_equal(again.probabilities(exposures.features), fitted.probabilities(exposures.features))
    assert again.model == "m"
    save(made.model(size=16), tmp_path / "m.pt")
    with pytest.raises(InputError, match="not a classifier"):
        classifier.load(tmp_path / "m.pt")
    with pytest.raises(InputError, match="it holds a 'classifier'"):
        gpuanom.autoencoder.model.load(tmp_path / "c.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    nights.night(folder / "in", exposures=12, ccds=1)
    for i in range(21, 28):
        nights.write(folder / "in", i, ccds=1, degrees=30.0)
    save(made.model(), folder / "model.pt")
    gpuanom.score(folder / "in", folder / "out", settings=made.QUICK, device="cpu", model=folder / "model.pt")
    lines = [f"{i},source,{'prominent' if i > 20 else 'normal'}" for i in (*range(1, 12), *range(21, 27))]
    (folder / "labels.csv").write_text("\n".join(["exposure,kind,label", *lines, "99,source,normal"]) + "\n")
    return folder


def supervised(*arguments, code=0):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--supervised", *map(str, arguments)])
    assert ended.value.code == code


def test_from_the_command_line(folder, tmp_path, capsys):
    supervised(folder / "out", "-o", tmp_path / "c.pt", "--labels", folder / "labels.csv")
    told = capsys.readouterr().err
    assert "labelled: 6 prominent, 11 normal; 5 folds" in told
    assert "1 labels belong to no exposure of these nights" in told
    assert "classifier (cross-validated)" in told
    table = Table.read(tmp_path / "c.exposures.ecsv")
    assert len(table) == 19
    assert np.count_nonzero(table["cross_validated"]) == 17
    assert sorted(table["exposure"][~table["cross_validated"]]) == ["12", "27"]
    assert list(table["probability"]) == sorted(table["probability"], reverse=True)
    areas = dict(Table.read(tmp_path / "c.roc.ecsv").iterrows())
    # 17 labels of exposures of three sources teach little, but enough to show that every source is elongated.
    assert areas["classifier"] > 0.5
    assert set(areas) == {"classifier", *classifier.SCORES}
    assert (tmp_path / "c.roc.png").exists()
    about = read(tmp_path / "c.pt")[1]
    assert about["labelled"] == {"prominent": 6, "normal": 11}
    assert about["roc_area"]["classifier"] == areas["classifier"]
    assert json.dumps(about)


def test_analysts_who_contradict_each_other_are_told(folder, tmp_path, capsys):
    bob = tmp_path / "bob.csv"
    lines = [f"{i},source,normal" for i in range(21, 27)]
    bob.write_text("\n".join(["exposure,kind,label", *lines[:1], "1,source,dubious"]) + "\n")
    both = ("--labels", folder / "labels.csv", "--labels", bob)
    supervised(folder / "out", "-o", tmp_path / "c.pt", *both)
    told = capsys.readouterr().err
    assert "analysts contradict each other on 1 label: " in told
    assert "exposure 21 TESTCAM, source: bob normal, labels prominent; trained as normal" in told
    assert "labelled: 5 prominent, 12 normal" in told


def test_a_label_without_its_camera_is_no_second_analysts():
    said = [
        Label("1", "", "source", "normal", "", "ann", "2026-01-01"),
        Label("1", "C", "source", "prominent", "", "ann", "2026-01-02"),
    ]
    assert list(classifier.grades(said, [("C", "1")])[0]) == [1]


def test_the_help_names_the_files_that_are_written(folder, tmp_path, capsys):
    supervised(folder / "out", "-o", tmp_path / "classifier.pt", "--labels", folder / "labels.csv", "-q")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    written = {path.name for path in tmp_path.iterdir()}
    assert len(written) == 4
    assert written <= set(re.findall(r"[\w.]+\w", told))


def test_labels_that_the_night_keeps(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["label", str(folder / "out"), str(folder / "labels.csv")])
    try:
        supervised(folder / "out", "-o", tmp_path / "c.pt", "-q")
    finally:
        (folder / "out" / "labels.csv").unlink()
    assert (tmp_path / "c.pt").exists()


def test_bad_input_is_one_line(folder, tmp_path, capsys):
    def error():
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        return line

    supervised(folder / "out", "-o", tmp_path / "c.pt", code=2)
    assert error() == "gpuanom: no labels (give --labels, or import them: gpuanom label)"
    gpuanom.score(folder / "in", tmp_path / "plain", settings=made.QUICK, device="cpu")
    supervised(tmp_path / "plain", "-o", tmp_path / "c.pt", "--labels", folder / "labels.csv", code=2)
    assert "was scored without an autoencoder (gpuanom score -o" in error()
    supervised(folder / "out", folder / "out", "-o", tmp_path / "c.pt", "--labels", folder / "labels.csv", code=2)
    assert "is in two of the nights" in error()
    (tmp_path / "few.csv").write_text("exposure,kind,label\n1,source,prominent\n2,source,normal\n")
    supervised(folder / "out", "-o", tmp_path / "c.pt", "--labels", tmp_path / "few.csv", code=2)
    assert "1 prominent and 1 normal exposures are labelled: too few" in error()
    with pytest.raises(OutputError, match="no such store"):
        classifier.sample([tmp_path / "none"], None)
