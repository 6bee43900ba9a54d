"""What a user gets of the verdict: tables, summary, lists, alerts, and references that judge a single exposure."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from rich.console import Console

import gpuanom
from gpuanom.cli import evaluate, show
from gpuanom.cli.summary import print_summary, print_verdicts
from gpuanom.errors import ReferenceFileError
from gpuanom.nights.alerts import alert, notice
from gpuanom.nights.merge import make_references
from gpuanom.review import export, known_anomalies
from gpuanom.review.evaluate import JUDGED
from gpuanom.review.export import Criterion
from gpuanom.review.opened import open_night
from gpuanom.scoring.histograms.given_references import merge
from gpuanom.scoring.histograms.reference import References
from gpuanom.scoring.judged import kept_statistics
from gpuanom.tables.columns import VERDICT_COLUMNS
from tests import nights
from tests.test_cli import run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A night of 22 exposures; the background of exposure 5 has slanted stripes, as high as the noise."""
    folder = tmp_path_factory.mktemp("verdict")
    nights.night(folder / "in", exposures=22, ccds=1)
    with fits.open(folder / "in" / "exposure_005.fits", mode="update") as hdus:
        y, x = np.mgrid[: nights.SHAPE[0], : nights.SHAPE[1]]
        hdus[1].data = hdus[1].data + 8.0 * np.sin(2.0 * np.pi * (x + 0.5 * y) / 16.0)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder


@pytest.fixture(scope="module")
def night(folder):
    return open_night(folder / "night")


def test_the_striped_exposure_is_first_and_says_why(night):
    first, *others = night.exposures
    assert (first["exposure"], first["verdict"]) == ("5", "bad")
    assert "stripes" in first["cause"]
    assert first["evidence"] > max(row["evidence"] for row in others)
    assert not [row["exposure"] for row in others if row["verdict"] == "bad"]
    ranks = {"bad": 0, "check": 1, "ok": 2}
    order = [(ranks[row["verdict"]], -row["evidence"]) for row in night.exposures]
    assert order == sorted(order)


def test_ccds_of_a_bad_exposure_are_bad(night):
    ccds = night.ccds()
    assert {row["verdict"] for row in ccds["TESTCAM", "5"]} == {"bad"}
    assert all("stripes" in row["cause"] for row in ccds["TESTCAM", "5"])


def test_the_papers_profile_has_no_verdict(folder, tmp_path):
    paper = gpuanom.Settings.from_profile("paper").replace(gradient_points=500, sigma_points=1000)
    found = gpuanom.score(folder / "in", tmp_path / "night", settings=paper, device="cpu").tables
    assert not {column.name for column in VERDICT_COLUMNS} & set(found.exposures.colnames)
    assert "verdict" not in found.ccds.colnames
    assert "bad_evidence" not in str(found.exposures.meta)
    with pytest.raises(gpuanom.GpuanomError, match="has no verdicts"):
        export.choose(open_night(tmp_path / "night"), Criterion(verdict="bad"))


def test_the_summary_begins_with_the_verdicts(folder, capfd):
    code, out, _ = run(capfd, "score", "-o", folder / "night")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("verdicts: 1 bad, ")
    assert "bad  5 TESTCAM r" in lines[1]
    assert "stripes" in lines[1]


def test_an_exposure_is_shown_with_what_its_verdict_rests_on(folder, night, capfd):
    _, out, _ = run(capfd, "show", folder / "night", "5")
    lines = out.splitlines()
    row = next(row for row in night.exposures if row["exposure"] == "5")
    assert lines[1].startswith("bad: stripes")
    expected = f"{row['deviation']:.1f} robust standard deviations from what is expected"
    assert lines[2] == f"{row['score']} stands out most, {expected}"
    ccds = [ccd for ccd in night.ccds()[row["camera"], "5"] if ccd["verdict"] in ("bad", "check")]
    told = [line for line in lines[3:10] if line.startswith(("CCD ", "all "))]
    assert told in ([f"all {row['n_ccd']} CCDs: bad"], [f"CCD {c['ccd']}: {c['verdict']}, {c['cause']}" for c in ccds])
    here, usual = next(line.split()[1:] for line in lines if line.startswith("stripe_power"))
    assert float(here) == round(row["stripe_power"], 1) > 3 * float(usual)
    fine = next(row for row in night.exposures if row["verdict"] == "ok")
    assert "stands out most" not in run(capfd, "show", folder / "night", fine["exposure"])[1]


def test_the_reasons_for_no_verdict_name_their_datasets(capsys):
    rows = [
        ("A", "r", "", "no verdict: few"),
        ("A", "g", "", "no verdict: few"),
        ("A", "r", "ok", ""),
        ("B", "", "", "x"),
    ]
    rows += [(camera, "i", "", "no verdict: 1 exposure, and a verdict needs 20") for camera in "BCDE"]
    table = Table(rows=rows, names=("camera", "band", "verdict", "cause"))
    print_verdicts(table, Console(width=200))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2 exposures of A r, A g: no verdict: few",
        "1 exposure of B: x",
        "4 exposures of B i, C i, D i and 1 more: no verdict: 1 exposure each, and a verdict needs 20",
        "for verdicts, score more exposures together (gpuanom merge joins scored nights), or give --reference",
        "",
    ]


def test_the_summary_names_what_is_bad_and_then_what_is_to_check(capsys):
    rows = [(str(i), "A", "r", "check", "few sources", 7.0 - 0.1 * i) for i in range(11)]
    rows += [("x", "A", "r", "bad", "stripes", 30.0), ("y", "A", "r", "ok", "", 0.1)]
    table = Table(rows=rows, names=("exposure", "camera", "band", "verdict", "cause", "evidence"))
    print_verdicts(table, Console(width=200))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "verdicts: 1 bad, 11 check, 1 ok"
    assert lines[1].split()[:2] == ["bad", "x"]
    assert lines[1].endswith("stripes (evidence 30)")
    assert [line.split()[:2] for line in lines[2:11]] == [["check", str(i)] for i in range(9)]
    assert lines[11] == "and 2 more; the column `verdict` of the tables has all"


def test_a_merged_night_is_told_by_its_verdicts(folder, tmp_path, capfd):
    _, scored, _ = run(capfd, "score", "-o", folder / "night")
    code, out, _ = run(capfd, "merge", folder / "night", "-o", tmp_path / "merged")
    assert code == 0
    assert out.splitlines()[:2] == scored.splitlines()[:2]


def test_small_nights_say_why_they_have_no_verdict(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=3, ccds=1)
    code, out, _ = run(capfd, "score", tmp_path / "in", "-o", tmp_path / "night", "--device", "cpu")
    assert code == 0
    assert out.splitlines()[0] == "verdicts: 0 bad, 0 check, 0 ok, 3 without a verdict"
    assert "3 exposures: no verdict: 3 exposures of this camera, band and CCD size, and a verdict needs 20" in out


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_narrow_terminal_cuts_no_number_short(folder, night, width, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    scored = gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    print_summary(scored, console)
    show._print(night, night.exposures[0], console)
    truth = folder / "truth.csv"
    truth.write_text("exposure,list,field,paper\n5,stripes,a long name of a field,\n")
    found = known_anomalies.recall(
        night, known_anomalies.read_known(str(truth)), kinds=JUDGED[:4], score="kl", fraction=0.1
    )
    monkeypatch.setattr(evaluate, "summary_console", lambda: console)
    evaluate._print_recall(night, found, 0.1)
    out, _ = capfd.readouterr()
    assert max(map(len, out.splitlines())) <= width
    assert " of 22 " in out
    assert not re.search(r"\d…|dev…|…\s", out)


def test_exposures_without_a_measured_ccd_do_not_tell_what_is_normal(folder, tmp_path, capfd):
    # 19 whole exposures, and 3 that are cut off before their first pixel: too few, although there are 22 files.
    for path in sorted((folder / "in").iterdir()):
        (tmp_path / "in").mkdir(exist_ok=True)
        number = int(path.stem.rpartition("_")[2])
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes()[: 6000 if number in (7, 8, 9) else None])
    night = gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    assert list(night.tables.exposures["status"]).count("unusable") == 3
    assert set(night.tables.exposures["verdict"]) == {""}
    assert set(night.tables.exposures["cause"]) == {
        "no verdict: 19 exposures of this camera, band and CCD size, and a verdict needs 20",
        "no verdict: none of its CCDs could be measured",
    }
    # Nor do they in a saved reference.
    make_references(tmp_path / "night").save(tmp_path / "ref.ecsv")
    reference = References.load(tmp_path / "ref.ecsv")
    one = gpuanom.score(folder / "in" / "exposure_006.fits", None, settings=SETTINGS, device="cpu", reference=reference)
    assert list(one.tables.exposures["cause"]) == [
        "no verdict: the reference keeps the statistics of 19 exposures, and a verdict needs those of 20"
    ]


def test_a_damaged_exposure_does_not_change_the_verdicts_on_the_others(folder, night, tmp_path):
    (tmp_path / "in").mkdir()
    for path in (folder / "in").iterdir():
        (tmp_path / "in" / path.name).symlink_to(path)
    nights.write(tmp_path / "in", 99, ccds=1)
    damaged = tmp_path / "in" / "exposure_099.fits"
    damaged.write_bytes(damaged.read_bytes()[:6000])
    found = gpuanom.score(tmp_path / "in", None, settings=SETTINGS, device="cpu").tables.exposures
    assert found["cause"][found["exposure"] == "99"] == ["no verdict: none of its CCDs could be measured"]
    whole = [(row["exposure"], row["verdict"], row["evidence"]) for row in found if row["exposure"] != "99"]
    assert whole == [(row["exposure"], row["verdict"], row["evidence"]) for row in night.exposures]


def test_lists_hold_what_is_bad(folder, night, capfd):
    code, out, _ = run(capfd, "export", folder / "night", "--format", "bad_expid")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["5"]
    chosen = export.choose(night, Criterion(verdict="bad,check"))
    wanted = {row["exposure"] for row in night.exposures if row["verdict"] in ("bad", "check")}
    assert {key[1] for key, reasons in chosen.items() if reasons[0].ccds is None} == wanted


def test_a_ccd_is_listed_as_a_ccd(night):
    chosen = {("TESTCAM", "7"): [export.Reason("verdict", "glow on CCD1", ccds=frozenset(["CCD1"]))]}
    assert export.bad_expid(night, chosen).splitlines()[1:] == ["7-CCD1 glow on CCD1"]
    assert len(export.exclude_table(night, chosen).splitlines()) == 2
    assert "exposure_007" in export.good_files(night, chosen)
    assert "7" not in export.visit_list(chosen)


def test_alerts_are_given_of_bad_exposures(night):
    rows = {row["exposure"]: row for row in night.exposures}
    given = alert(rows["5"], notice(rows["5"], 22, 10), 5.0)
    assert given is not None
    assert (given["verdict"], given["cause"]) == ("bad", rows["5"]["cause"])
    usual = next(row for row in night.exposures if row["verdict"] == "ok")
    assert alert(usual, notice(usual, 22, 10), -10.0) is None


def test_a_reference_leaves_out_what_is_not_ok_and_judges_one_exposure(folder, night, tmp_path):
    said = []
    reference = make_references(folder / "night", say=said.append)
    (dataset,) = reference.datasets
    out = {row["exposure"] for row in night.exposures if row["verdict"] != "ok"}
    assert "5" in out
    assert set(dataset.exposures) == {row["exposure"] for row in night.exposures} - out
    assert f"{len(out)} of 22 exposures left out" in said[0]
    assert len(make_references(folder / "night", keep_all=True).datasets[0].exposures) == 22
    reference.save(tmp_path / "ref.ecsv")
    read = References.load(tmp_path / "ref.ecsv")
    assert read.text == reference.text
    for number, verdict in ((5, "bad"), (6, "ok")):
        one = tmp_path / f"one{number}"
        one.mkdir()
        (one / "x.fits").symlink_to(folder / "in" / f"exposure_{number:03d}.fits")
        found = gpuanom.score(one, tmp_path / f"night{number}", settings=SETTINGS, device="cpu", reference=read)
        assert list(found.tables.exposures["verdict"]) == [verdict]


def test_merging_references_joins_their_statistics(folder):
    (dataset,) = make_references(folder / "night").datasets
    other = make_references(folder / "night")
    renamed = dataset.renamed({name: f"other {name}" for name in dataset.exposures})
    both = merge([("a", other), ("b", References((renamed,), other.settings))]).datasets[0].statistics
    n = dataset.statistics.n_exposures
    assert both.n_exposures == 2 * n
    for half in (np.arange(n), np.arange(n, 2 * n)):
        assert kept_statistics.to_text(both.part(half)) == kept_statistics.to_text(dataset.statistics)


def test_a_reference_with_statistics_of_another_version_gives_no_verdict(folder, monkeypatch, tmp_path):
    make_references(folder / "night").save(tmp_path / "ref.ecsv")
    assert References.load(tmp_path / "ref.ecsv").datasets[0].statistics is not None
    monkeypatch.setattr(kept_statistics, "NAMES", replace(kept_statistics.NAMES, version=0))
    read = References.load(tmp_path / "ref.ecsv")
    assert read.datasets[0].statistics is None
    one = [folder / "in" / "exposure_005.fits"]
    found = gpuanom.score(one, tmp_path / "night", settings=SETTINGS, device="cpu", reference=read)
    assert list(found.tables.exposures["verdict"]) == [""]


def test_statistics_that_one_reference_lacks_are_dropped_with_a_line(folder):
    whole = make_references(folder / "night")
    (dataset,) = whole.datasets
    renamed = dataset.renamed({name: f"other {name}" for name in dataset.exposures})
    bare = References((replace(renamed, statistics=None),), whole.settings)
    for parts, words in (
        ([("a", whole), ("b", bare)], "b keeps no statistics of TESTCAM r, so that those of an earlier input"),
        ([("b", bare), ("a", whole)], "an earlier input keeps no statistics of TESTCAM r, so that those of a are"),
    ):
        said = []
        assert merge(parts, said.append).datasets[0].statistics is None
        assert [line.startswith(words) for line in said] == [True]
    said = []
    merge([("a", whole), ("b", References((renamed,), whole.settings))], said.append)
    merge([("b", bare)], said.append)
    assert not said


@pytest.mark.parametrize("damage", ["owner", "exposures", "ccds"])
def test_damaged_statistics_of_a_reference_are_refused(folder, tmp_path, damage):
    reference = make_references(folder / "night")
    path = tmp_path / "ref.ecsv"
    reference.save(path)
    text = path.read_text()
    place = text.index(damage, text.index("statistics:"))
    path.write_text(text[: place + len(damage)] + "x" + text[place + len(damage) :])
    with pytest.raises(ReferenceFileError, match=r"damaged|not a reference"):
        References.load(path)
