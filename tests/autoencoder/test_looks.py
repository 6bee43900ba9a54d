"""Reconstruction errors in the places where scores are judged and shown: `evaluate`, `show` and the report."""

from __future__ import annotations

import numpy as np
import pytest

import gpuanom
from gpuanom.autoencoder.model import save
from gpuanom.backends.choice import select
from gpuanom.cli import main
from gpuanom.report.page import write_report
from gpuanom.review import evaluate, known_anomalies
from gpuanom.review.known_anomalies import KnownAnomaly
from gpuanom.review.labels import Label
from gpuanom.review.opened import open_night
from gpuanom.tables.columns import AUTOENCODER_COLUMNS
from tests import nights
from tests.autoencoder import made
from tests.report.test_page import parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looks")
    nights.night(folder / "in", exposures=10, ccds=1)
    save(made.model(), folder / "model.pt")
    gpuanom.score(folder / "in", folder / "out", settings=made.QUICK, device="cpu", model=folder / "model.pt")
    gpuanom.score(folder / "in", folder / "plain", settings=made.QUICK, device="cpu")
    return folder


def by_rank(folder):
    rows = open_night(folder / "out").exposures
    return {row["autoencoder_rank"]: row["exposure"] for row in rows}


def test_rates_of_the_errors(folder):
    night = open_night(folder / "out")
    ranked = by_rank(folder)
    said = [Label(ranked[1], "TESTCAM", "source", "prominent", "", "ann", "t")]
    said += [Label(ranked[2], "TESTCAM", "source", "normal", "", "ann", "t")]
    for score in ("kl", "deviation"):
        bins = evaluate.true_positive_rates(night, said, score=score, fraction=0.2, bins=2)
        assert [b.prominent for b in bins["TESTCAM", "r", "autoencoder"]] == [1, 0]
        assert [b.labelled for b in bins["TESTCAM", "r", "autoencoder"]] == [1, 1]
    assert ("TESTCAM", "r", "autoencoder") not in evaluate.true_positive_rates(night, said, score="z")
    plain = open_night(folder / "plain")
    assert ("TESTCAM", "r", "autoencoder") not in evaluate.true_positive_rates(plain, said)


def test_recall_by_the_errors(folder):
    night = open_night(folder / "out")
    known = [KnownAnomaly(by_rank(folder)[1], "", 1, "source", "known", "")]
    (found,) = known_anomalies.recall(night, known, kinds=("autoencoder",))
    assert found.by == ("autoencoder",)
    assert found.ranks["autoencoder"] == (1, 10)


def test_figure_and_text(folder, tmp_path, capsys):
    ranked = by_rank(folder)
    (tmp_path / "l.csv").write_text(f"exposure,kind,label\n{ranked[1]},source,prominent\n")
    (tmp_path / "known.csv").write_text(f"exposure,kind\n{ranked[1]},source\n")
    with pytest.raises(SystemExit) as ended:
        main(
            ["evaluate", str(folder / "out"), "--labels", str(tmp_path / "l.csv"), "--figure", str(tmp_path / "f.png")]
            + ["--known", str(tmp_path / "known.csv"), "--by", "autoencoder"]
        )
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "autoencoder" in told
    assert "known: 1 of 1 in the highest 10%" in told
    with pytest.raises(SystemExit):
        main(["show", str(folder / "out"), ranked[1]])
    assert "stamps: mse 0." in capsys.readouterr().out


def test_the_report_has_its_columns_only_where_there_are_any(folder, tmp_path):
    pages = {}
    for name in ("out", "plain"):
        write_report(open_night(folder / name), tmp_path / f"{name}.html", select("cpu"), top=1, cache=False)
        pages[name] = parse(tmp_path / f"{name}.html").blocks
    night = pages["out"]["night"]
    assert night["scores"] == [*night["kinds"], "autoencoder"]
    assert {c.name for c in AUTOENCODER_COLUMNS} <= set(night["columns"])
    assert sorted(night["columns"]["autoencoder_rank"]) == list(range(1, 11))
    assert night["ccd_columns"][-1] == "autoencoder_mse"
    (row,) = pages["out"]["d0"]["ccds"]
    # The error of one CCD, with four digits.
    assert row[-1] == pytest.approx(night["columns"]["autoencoder_mse"][0], rel=1e-3)
    plain = pages["plain"]["night"]
    assert plain["scores"] == plain["kinds"]
    assert "autoencoder_mse" not in plain["columns"]
    assert np.all([len(row) == len(plain["ccd_columns"]) for row in pages["plain"]["d0"]["ccds"]])
