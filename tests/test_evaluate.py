"""True-positive rates by hand, recall of lists, the paper's lists, and labels through the command line."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace

import pytest
from astropy.table import Table

import gpuanom
from gpuanom.errors import InputError
from gpuanom.review import analysts, evaluate, known_anomalies, labels
from gpuanom.review.known_anomalies import KnownAnomaly
from gpuanom.review.labels import Label
from gpuanom.review.opened import open_night
from tests import nights
from tests.test_cli import run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)
N = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    nights.night(folder / "in" / "w9p9p9", exposures=N, odd=2, ccds=1)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder / "night"


@pytest.fixture(scope="module")
def night(folder):
    return open_night(folder)


def said(night, grades, kind="source", analyst="ann"):
    """Labels of the exposures in the order of rank: the first grade is for rank 1."""
    by_rank = {row[f"{kind}_rank"]: row["exposure"] for row in night.exposures}
    return [Label(by_rank[i], "TESTCAM", kind, g, "", analyst, "t") for i, g in enumerate(grades, 1) if g]


def test_rates_by_hand(night):
    grades = ["prominent", "dubious", "normal", "prominent", None, "normal"]
    rates = evaluate.true_positive_rates(night, said(night, grades), fraction=0.5, bins=3)
    bins = rates["TESTCAM", "r", "source"]
    assert [(b.n, b.labelled, b.prominent, b.dubious) for b in bins] == [(2, 2, 1, 1), (2, 2, 1, 0), (2, 1, 0, 0)]
    assert [b.prominent_rate for b in bins] == [0.5, 0.5, 0.0]
    assert [b.dubious_rate for b in bins] == [1.0, 0.5, 0.0]
    assert [b.first for b in bins] == pytest.approx([0.0, 100 * 2 / N, 100 * 4 / N])
    assert bins[-1].last == pytest.approx(50.0)
    assert math.isnan(rates["TESTCAM", "r", "background"][0].prominent_rate)


def test_a_tenth_of_a_small_night_is_rounded_up(night):
    bins = evaluate.true_positive_rates(night, said(night, ["prominent"]))["TESTCAM", "r", "source"]
    assert [b.n for b in bins] == [1, 1]


def test_analysts_apart(night):
    both = said(night, ["prominent"]) + said(night, ["normal"], analyst="bob")
    rates = {
        how: evaluate.true_positive_rates(night, both, how=how, fraction=0.01)["TESTCAM", "r", "source"][0]
        for how in analysts.CONSENSUS
    }
    assert {how: b.prominent for how, b in rates.items()} == {"any": 1, "majority": 0, "all": 0}
    table = evaluate.rates_table({"any": evaluate.true_positive_rates(night, both)})
    assert set(table["analysts"]) == {"any"}
    assert len(evaluate.rates_table({})) == 0


def test_recall_and_ranks(night):
    first = next(row["exposure"] for row in night.exposures if row["source_rank"] == 1)
    last = next(row["exposure"] for row in night.exposures if row["source_rank"] == N)
    listed = [KnownAnomaly(first, "", 1, "source", "mine", ""), KnownAnomaly(last, "", 1, "source", "mine", "")]
    listed.append(KnownAnomaly("999", "", 1, "", "mine", ""))
    found = known_anomalies.recall(night, listed, kinds=("source",))
    assert [r.by for r in found] == [("source",), (), ()]
    assert found[1].ranks["source"] == (N, N)
    assert found[2].key is None
    assert (
        known_anomalies.recall(night, [KnownAnomaly(first, "", 1, "background", "", "")], kinds=("source",))[0].by == ()
    )


def test_a_field_stands_for_its_exposures(night):
    found = known_anomalies.recall(night, [KnownAnomaly("", "W9P9P9", 14, "", "field", "")])
    assert len(found) == 14
    assert sum(r.key is None for r in found) == 14 - N
    assert known_anomalies.recall(night, [KnownAnomaly("", "w9p9", 1, "", "field", "")])[0].key is None


def test_a_number_is_not_the_beginning_of_another(night):
    (found,) = known_anomalies.recall(night, [KnownAnomaly("1", "", 1, "", "", "")])
    assert found.key == ("TESTCAM", "1")  # not 10, 11, 12


def test_zeros_before_a_number_say_nothing(night):
    (found,) = known_anomalies.recall(night, [KnownAnomaly("007", "", 1, "", "", "")])
    assert found.key == ("TESTCAM", "7")


def test_an_id_that_is_not_there_or_that_fits_several_is_explained(night):
    (found,) = known_anomalies.recall(night, [KnownAnomaly("0999", "", 1, "", "", "")])
    assert found.key is None
    assert "exposure 0999 is not in" in known_anomalies.nearest(night, "0999")
    assert known_anomalies.nearest(night, "0999").endswith("10, 11, 12")
    held = night.found["TESTCAM", "7"]
    other = replace(
        night, found={**night.found, ("TESTCAM", "7p"): held, ("OTHER", "12"): held, ("TESTCAM", "07"): held}
    )
    for name, key in (("7", ("TESTCAM", "7")), ("007", None), ("12", None)):
        (found,) = known_anomalies.recall(other, [KnownAnomaly(name, "", 1, "", "", "")])
        assert found.key == key
    assert known_anomalies.nearest(other, "007") == "exposure 007 could be any of 07, 7, 7p: none was taken"
    assert "12 of OTHER, 12 of TESTCAM" in known_anomalies.nearest(other, "12")


def test_the_papers_lists():
    known = known_anomalies.read_known("cfhtlens")
    groups = {g: [k for k in known if k.group == g] for g in ("known", "new")}
    assert sum(k.n for k in groups["known"]) == 13
    assert sum(k.n for k in groups["known"] if k.paper == "found") == 12
    assert [k.exposure for k in groups["known"] if k.paper == "missed"] == ["792436"]
    assert len(groups["new"]) == 10
    assert {k.kind for k in groups["new"]} == {"source"}


def test_columns_of_the_rates_have_names_of_their_own(folder, tmp_path, capfd):
    said = tmp_path / "ann.csv"
    said.write_text("exposure,kind,label\n" + "".join(f"{i},source,dubious\n" for i in range(1, 13)))
    code, out, _ = run(capfd, "evaluate", folder, "--labels", said)
    (head,) = [line for line in out.splitlines() if "prominent" in line and "band" in line]
    names = re.split(r" {2,}", head.strip())
    assert code == 0
    assert len(set(names)) == len(names)
    assert names[-5:] == ["prominent", "with dubious", "rate", "rate with dubious", "rate by bin"]
    for more in ((), ("--known", "cfhtlens")):
        code, out, err = run(capfd, "evaluate", folder, "--labels", said, "-q", *more)
        assert (code, out, "give --figure or --table too" in err) == (2, "", True)
        table = tmp_path / "rates.csv"
        table.unlink(missing_ok=True)
        code, out, _ = run(capfd, "evaluate", folder, "--labels", said, "-q", "--table", table, *more)
        assert (code, out, table.exists()) == (0, "", True)


def test_the_truth_of_a_simulated_night_is_a_list(folder, night, tmp_path, capfd):
    rows = [("1", "r", "none", "none"), ("2", "r", "background", "stripes"), ("9999", "r", "source", "donuts")]
    path = tmp_path / "truth.ecsv"
    Table(rows=rows, names=("exposure", "band", "kind", "class")).write(path, format="ascii.ecsv")
    assert known_anomalies.read_known(path) == [
        KnownAnomaly("2", "", 1, "background", "stripes", ""), KnownAnomaly("9999", "", 1, "source", "donuts", "")
    ]  # fmt: skip
    code, out, _ = run(capfd, "evaluate", folder, "--known", path)
    assert code == 0
    assert "stripes: " in out
    # The night has too few exposures for verdicts.
    told = "verdicts on the known anomalies of this night: 0 bad, 0 check, 0 ok, 1 without a verdict"
    assert told in " ".join(out.split())
    Table(rows=rows, names=("exposure", "band", "kind", "what")).write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(InputError, match="has the columns exposure, kind and class; class missing"):
        known_anomalies.read_known(path)
    path.write_text("# %ECSV 1.0\nnone")
    with pytest.raises(InputError, match="cannot be read as ECSV"):
        known_anomalies.read_known(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("id\n1\n", "exposure is missing .the line is 'id'"),
        ("exposure,n\n1,x\n", "line 2: n 'x' is no number"),
        ("exposure,n\n1,0\n", "line 2: n '0' is no number"),
        ("exposure,n\n1,99999999999999\n", "line 2: n '9"),
        ("# mine\n\nexposure,kind\n1,source\n# more\n1,stars\n", "line 6: kind 'stars'"),
        ("exposure,kind\n,source\n", "line 2: neither an exposure"),
        ("exposure,kind\n1,source,3\n", "line 2: more values than columns"),
        ('exposure,kind\n"1,source\n', "line 2: unexpected end of data"),
    ],
)
def test_lists_that_make_no_sense(tmp_path, text, word):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        known_anomalies.read_known(tmp_path / "list.csv")
    with pytest.raises(InputError, match="cannot be read"):
        known_anomalies.read_known(tmp_path / "none.csv")


def test_label_and_evaluate_from_the_command_line(night, folder, tmp_path, capfd):
    code, out, _ = run(capfd, "label", folder)
    assert code == 0
    assert out.startswith("no labels (make some in the page of gpuanom report")
    code, _, err = run(capfd, "evaluate", folder)
    assert code == 2
    assert "no labels" in err
    labels.write(tmp_path / "ann.csv", said(night, ["prominent", "normal"]))
    labels.write(tmp_path / "bob.csv", [*said(night, ["prominent", "dubious"], analyst="bob")])
    code, out, _ = run(capfd, "label", folder, tmp_path / "ann.csv", tmp_path / "bob.csv")
    assert code == 0
    assert "ann: 2 labels (1 prominent, 0 dubious, 1 normal)" in out
    assert "ann and bob agree on 50% of 2 in common" in out
    code, out, err = run(capfd, "evaluate", folder, "--table", tmp_path / "t.csv", "--known", "cfhtlens")
    assert code == 0
    assert "majority of 2 analysts" in out
    assert "known: 0 of 13 in the highest 10%; 13 are not in" in out
    assert "the paper finds 12" in out
    assert "prominent_rate" in (tmp_path / "t.csv").read_text()
    (tmp_path / "eve.csv").write_text("exposure,kind,label\n4711,source,normal\n")
    code, _, err = run(capfd, "label", folder, tmp_path / "eve.csv")
    assert code == 1
    assert "exposure 4711 is not in" in err
    code, _, err = run(capfd, "label", folder, "--replace")
    assert code == 2


def test_labels_of_a_night_ranked_against_a_saved_reference(folder, tmp_path, capfd):
    gpuanom.make_references([folder]).save(tmp_path / "ref.ecsv")
    gpuanom.score(
        folder.parent / "in", tmp_path / "two", settings=SETTINGS, device="cpu", reference=tmp_path / "ref.ecsv"
    )
    (tmp_path / "ann.csv").write_text("exposure,kind,label\n1,source,normal\n")
    assert run(capfd, "label", tmp_path / "two", tmp_path / "ann.csv")[0] == 0
    # The night keeps the reference against which it was scored.
    code, told, _ = run(capfd, "evaluate", tmp_path / "two")
    assert code == 0
    assert run(capfd, "evaluate", tmp_path / "two", "--reference", tmp_path / "ref.ecsv")[:2] == (0, told)


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_figure_is_drawn(night, folder, tmp_path, capfd, suffix):
    pytest.importorskip("matplotlib")
    labels.write(tmp_path / "ann.csv", said(night, ["prominent", "normal"]))
    figure = tmp_path / f"rates.{suffix}"
    code, _, _ = run(capfd, "evaluate", folder, "--labels", tmp_path / "ann.csv", "--figure", figure)
    assert code == 0
    assert figure.stat().st_size > 5000
    code, _, err = run(capfd, "evaluate", folder, "--labels", tmp_path / "ann.csv", "--figure", tmp_path / "a.xyz")
    assert code == 2
    assert "a.xyz" in err


def test_replacing_labels_by_those_of_another_night_keeps_what_is_there(night, folder, tmp_path, capfd):
    scored = tmp_path / "night"
    shutil.copytree(folder, scored)
    labels.write(scored / labels.NAME, said(night, ["prominent", "normal"]))
    before = (scored / labels.NAME).read_bytes()
    (tmp_path / "other.csv").write_text("exposure,kind,label\n4711,source,normal\n")
    (tmp_path / "empty.csv").write_text("exposure,kind,label\n")
    for name in ("other.csv", "empty.csv"):
        code, _, err = run(capfd, "label", scored, tmp_path / name, "--replace")
        assert code == 2
        assert "the kept labels stay" in err
        assert (scored / labels.NAME).read_bytes() == before
    # One label of this night is enough to replace the others.
    (tmp_path / "other.csv").write_text("exposure,kind,label\n4711,source,normal\n1,source,normal\n")
    assert run(capfd, "label", scored, tmp_path / "other.csv", "--replace")[0] == 1
    assert [one.exposure for one in labels.kept(scored)] == ["1"]


def test_a_time_that_cannot_be_read_is_told(folder, tmp_path, capfd):
    scored = tmp_path / "night"
    shutil.copytree(folder, scored)
    (tmp_path / "ann.csv").write_text("exposure,kind,label,time\n1,source,normal,1/2/2026 3:04\n2,source,normal,\n")
    code, _, err = run(capfd, "label", scored, tmp_path / "ann.csv")
    assert code == 0
    assert err.count("exposure") == 1
    assert "exposure 1: '1/2/2026 3:04' is no time as 2026-01-02T03:04:05Z" in err


def test_what_cannot_be_evaluated_is_refused(folder, tmp_path, capfd):
    """A figure without labels, and a score that the night does not have, which ended as "not found" and no figure."""
    (tmp_path / "known.csv").write_text("exposure,kind\n1,source\n")
    scored = tmp_path / "night"
    shutil.copytree(folder, scored)
    (scored / labels.NAME).unlink(missing_ok=True)
    known = ("evaluate", scored, "--known", tmp_path / "known.csv")
    for given, words in (
        (
            ("--figure", tmp_path / "r.png", "--table", tmp_path / "r.csv"),
            "--figure and --table show labels, and there",
        ),
        (("--by", "source,autoencoder"), "was scored without an autoencoder (gpuanom score -o"),
        (("--by", "autoencoder", "--score", "z"), "an autoencoder's errors have no z (give --score kl"),
    ):
        code, out, err = run(capfd, *known, *given)
        assert (code, out) == (2, "")
        assert words in err
    image = min((folder.parent / "in").rglob("*.fits"))
    gpuanom.score(image, tmp_path / "flat", settings=SETTINGS, device="cpu", reference="flat")
    code, out, err = run(
        capfd, "evaluate", tmp_path / "flat", "--known", tmp_path / "known.csv", "--score", "deviation"
    )
    assert (code, out) == (2, "")
    assert "no exposure has a deviation to rank by (of --score, try kl, z)" in err
