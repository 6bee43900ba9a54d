"""A classifier that learnt from the labels of one night, applied to another: one more statistic of the verdict."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import gpuanom
from gpuanom.autoencoder import classifier
from gpuanom.autoencoder.model import load, save
from gpuanom.backends.choice import select
from gpuanom.errors import InputError, OutputError
from gpuanom.nights.merge import make_references
from gpuanom.review.opened import open_night
from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.tables.classified import FEATURES, PROBABILITY, Classifier
from tests import nights
from tests.autoencoder import made
from tests.test_cli import run

SETTINGS = made.QUICK.replace(few_sources=0)
"""The CCDs of these nights have six stars."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A night of 22 exposures, the last elongated; a model; and a classifier that takes elongated sources for odd."""
    folder = tmp_path_factory.mktemp("applied")
    nights.night(folder / "in", exposures=22, ccds=1, odd=22)
    save(made.model(), folder / "model.pt")
    fingerprint = load(folder / "model.pt").fingerprint
    weights = np.where([name in ("isophote_z", "source_z") for name in FEATURES], 2.0, 0.0)
    one = np.ones(len(FEATURES))
    for name, of in (("classifier.pt", fingerprint), ("other.pt", "another")):
        classifier.save(Classifier(0.0 * one, one, weights, -3.0, of), folder / name, {})
    score(folder, folder / "out")
    return folder


def score(folder, out, paths=None, models=("model.pt", "classifier.pt"), **options):
    said = []
    options = {"settings": SETTINGS, "device": "cpu", "events": gpuanom.Events(say=said.append), **options}
    model = [folder / name for name in models] or None
    return gpuanom.score([folder / "in"] if paths is None else paths, out, model=model, **options), said


def test_the_tables_hold_what_the_classifier_says(folder):
    """The same as by the features that a training takes from the tables."""
    night = open_night(folder / "out")
    with Store(folder / "out" / NAME, gpuanom.Settings(), read_only=True) as store:
        sample = classifier._sample(store, select("cpu"))
        kept = Classifier.from_text(store.classifier(), "a night")
    expected = dict(zip(sample.keys, kept.probabilities(sample.features), strict=True))
    found = {(row["camera"], row["exposure"]): row[PROBABILITY] for row in night.exposures}
    assert found == {key: pytest.approx(value, rel=1e-6) for key, value in expected.items()}  # seven printed digits
    assert night.tables.exposures.meta["classifier"] == kept.fingerprint


def test_its_answer_is_one_statistic_among_others(folder):
    with Store(folder / "out" / NAME, gpuanom.Settings(), read_only=True) as store:
        settings, _ = tables.as_scored_last(store)
        ranked = tables.ranked(store, settings, select("cpu"))
    (measured,), (dataset,) = ranked.measured.values(), ranked.datasets.values()
    null, evidence = fit(measured, settings)
    assert {"classifier", "autoencoder", "isophote_kl"} < set(null.statistics)
    of_classifier = evidence.of_statistics[null.statistics.index("classifier")]
    logit = measured.exposures["classifier_logit"]
    assert np.argmax(of_classifier) == np.argmax(logit)
    table = open_night(folder / "out").tables.exposures
    shown = dict(zip(table["exposure"], table[PROBABILITY], strict=True))
    # Seven printed digits.
    assert [shown[name] for name in dataset.exposures] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)
    (reference,) = make_references(folder / "out").datasets
    assert not {"autoencoder_mse", "classifier_logit"} & set(reference.statistics.exposures)


def test_every_command_gives_the_same_tables(folder, tmp_path, capfd):
    before = nights.tables(folder / "out")
    code, _, _ = run(capfd, "score", "-o", folder / "out", "--device", "cpu")
    assert code == 0
    assert nights.tables(folder / "out") == before
    score(folder, tmp_path / "apart", models=("model.pt",))
    score(folder, tmp_path / "apart", [], models=("classifier.pt",))
    assert nights.tables(tmp_path / "apart") == before
    score(folder, tmp_path / "first", shard=(1, 2))
    score(folder, tmp_path / "second", shard=(2, 2))
    gpuanom.merge_nights([tmp_path / "first", tmp_path / "second"], tmp_path / "both", device="cpu")
    assert nights.tables(tmp_path / "both") == before


def test_nights_of_two_classifiers_merge_without_one(folder, tmp_path):
    score(folder, tmp_path / "first", shard=(1, 2))
    score(folder, tmp_path / "second", shard=(2, 2), models=("model.pt",))
    said = []
    merged = gpuanom.merge_nights(
        [tmp_path / "first", tmp_path / "second"], tmp_path / "both", device="cpu", say=said.append
    )
    assert "not scored with one classifier" in said[-1]
    assert PROBABILITY not in merged.exposures.colnames


def test_another_autoencoder_takes_the_classifier_away(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    save(made.model(seed=1), tmp_path / "new.pt")
    _, said = score(folder, tmp_path / "out", [], models=[tmp_path / "new.pt"])
    assert "the classifier that this night was scored with learnt with another autoencoder: dropped" in said
    night, _ = score(folder, tmp_path / "out", [], models=["model.pt"])
    assert PROBABILITY not in night.tables.exposures.colnames


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["classifier.pt"], "this night is scored without an autoencoder .give both"),
        (["model.pt", "other.pt"], "autoencoder another, and this night is scored with another one"),
        (["model.pt", "model.pt"], "a second autoencoder"),
        (["model.pt", "classifier.pt", "other.pt"], "a second classifier"),
    ],
)
def test_models_that_do_not_fit_are_refused(folder, tmp_path, models, words):
    with pytest.raises(InputError, match=words):
        score(folder, tmp_path / "new", models=models)
    assert not list((tmp_path / "new").glob("*.ecsv"))


@pytest.mark.parametrize("damage", ["", "{", '{"features": []}', '{"features": null, "bias": 1}'])
def test_a_damaged_classifier_is_one_line(damage):
    with pytest.raises(OutputError, match="a night: the classifier that it keeps cannot be used"):
        Classifier.from_text(damage, "a night")
