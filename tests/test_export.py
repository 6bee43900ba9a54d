"""The lists that surveys exchange: which exposures are chosen, the form of the lines, and what has no form."""

from __future__ import annotations

import csv
import io
import os
import re

import numpy as np
import pytest

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.cameras.focalplane import DECAM_NUMBERS, ccd_number, places
from gpuanom.errors import SettingsError
from gpuanom.records import KINDS
from gpuanom.report import history
from gpuanom.review import export, labels
from gpuanom.review.export import Criterion
from gpuanom.review.labels import Label
from gpuanom.review.opened import open_night
from gpuanom.review.regions import regions
from tests import nights
from tests.test_cli import QUICK, run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    nights.night(folder / "in", exposures=6, odd=2, bands=("r", "g"))
    (folder / "in" / "bad.fits").write_text("no FITS")
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder / "night"


@pytest.fixture(scope="module")
def night(folder):
    return open_night(folder)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_an_opened_night_is_what_was_scored(tmp_path, rounds):
    settings = SETTINGS.replace(robust_rounds=rounds)
    nights.night(tmp_path / "in", exposures=9, odd=2, ccds=1)
    theirs = gpuanom.score(tmp_path / "in", tmp_path / "night", settings=settings, device="cpu").tables.exposures
    night = open_night(tmp_path / "night")
    assert night.settings == settings
    assert [row["exposure"] for row in night.exposures] == list(theirs["exposure"])
    outside = 0
    for row in night.exposures:
        # The exposure has one CCD, so that its score is the KL of that CCD.
        for histogram in night.histograms((row["camera"], row["exposure"])):
            share = histogram.counts / histogram.counts.sum()
            filled = share > 0
            with np.errstate(divide="ignore"):
                kl = float(np.sum(share[filled] * np.log(share[filled] / histogram.mean[filled])))
            if np.isinf(kl):  # the counts fall where the reference has none: half a count was spread over its bins
                outside += 1
            else:
                assert kl == pytest.approx(row[f"{histogram.kind}_kl"], rel=1e-6)
    assert outside <= (2 if rounds else 0)


def test_a_night_ranked_against_a_saved_reference_keeps_it(folder, tmp_path):
    gpuanom.make_references([folder]).save(tmp_path / "ref.ecsv")
    gpuanom.score(
        folder.parent / "in", tmp_path / "two", settings=SETTINGS, device="cpu", reference=tmp_path / "ref.ecsv"
    )
    assert len(open_night(tmp_path / "two").exposures) == 7
    assert len(open_night(tmp_path / "two", reference=tmp_path / "ref.ecsv").exposures) == 7


@pytest.mark.parametrize("name", ["rank", "z", "p", "deviation"])
def test_criteria_choose_by_the_tables(night, name):
    values = [row[f"source_{name}"] for row in night.exposures if row[f"source_{name}"] is not None]
    bound = sorted(values)[len(values) // 2]
    chosen = export.choose(night, Criterion(**{name: bound}), ["source"])
    low = name in ("rank", "p")
    assert {k[1] for k in chosen} == {
        row["exposure"]
        for row in night.exposures
        if row[f"source_{name}"] is not None
        and (row[f"source_{name}"] <= bound if low else row[f"source_{name}"] >= bound)
    }


def test_false_discovery_rate_is_benjamini_and_hochbergs(night):
    p = sorted(row[f"{k}_p"] for row in night.exposures for k in KINDS if row[f"{k}_p"] is not None)
    for rate in (0.0, 0.05, 0.5, 1.0):
        passed = [value for i, value in enumerate(p, 1) if value <= rate * i / len(p)]
        limit = max(passed, default=-1.0)
        chosen = export.choose(night, Criterion(fdr=rate))
        assert sum(len(reasons) for reasons in chosen.values()) == sum(value <= limit for value in p)


def test_one_criterion_is_needed():
    for criterion in (Criterion(), Criterion(rank=1, z=3)):
        with pytest.raises(SettingsError, match=r"choose by one of verdict, .*, not by (none of them|.+ and .+)"):
            _ = criterion.name


def test_exclude_table_has_a_row_a_ccd(night):
    chosen = export.choose(night, Criterion(rank=1), ["isophote"])
    rows = list(csv.DictReader(io.StringIO(export.exclude_table(night, chosen))))
    assert list(rows[0]) == ["EXPNUM", "CCDNUM", "REASON", "ANALYST"]
    assert {(r["EXPNUM"], r["CCDNUM"]) for r in rows} == {(e, c) for _, e in chosen for c in ("1", "2")}
    assert all(r["ANALYST"] == "gpuanom" and r["REASON"].startswith("isophote rank=1 z=") for r in rows)


def test_what_could_not_be_read_in_a_file_is_no_ccd_of_lists_and_history(tmp_path):
    nights.night(tmp_path / "in", exposures=3)
    damaged = tmp_path / "in" / "exposure_001.fits"
    data = bytearray(damaged.read_bytes())
    at = data.index(b"XTENSION", data.index(b"XTENSION") + 1)
    data[at : at + 8] = b"XXTENSIO"
    damaged.write_bytes(data)
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    night = open_night(tmp_path / "night")
    assert "(exposure_001.fits[2])" in {row["ccd"] for row in night.ccds()["TESTCAM", "1"]}
    chosen = export.choose(night, Criterion(rank=3), ("background",))
    for listed in (export.exclude_table(night, chosen), export.bad_expid(night, chosen, -100.0)):
        assert "1," in listed or "1-" in listed
        assert "(exposure" not in listed
    found = history.write_history([tmp_path / "night"], tmp_path / "h.html")
    assert [record["ccd"] for record in found["ccds"]["TESTCAM"]] == ["CCD1", "CCD2"]


def test_only_ccds_that_show_it_when_asked(night):
    chosen = export.choose(night, Criterion(rank=1), ["background"])
    z = {(r["exposure"], r["ccd"]): r["background_z"] for rows in night.ccds().values() for r in rows}
    limit = np.median([z[e, c] for e, c in z if ("TESTCAM", e) in chosen])
    lines = export.bad_expid(night, chosen, ccd_z=limit).splitlines()[1:]
    assert {line.split()[0] for line in lines} == {
        f"{e}-{c}" for (e, c), value in z.items() if ("TESTCAM", e) in chosen and value >= limit
    }
    assert all("-" not in line.split()[0] for line in export.bad_expid(night, chosen).splitlines()[1:])


def test_labels_choose_with_their_reason_and_their_analysts(night):
    said = [
        Label("1", "TESTCAM", "source", "prominent", "trail", "ann", "t"),
        Label("1", "TESTCAM", "source", "dubious", "", "bob", "t"),
        Label("2", "TESTCAM", "background", "normal", "", "ann", "t"),
    ]
    chosen = export.choose(night, Criterion(label="dubious"), labels_given=said)
    assert {k[1]: (r[0].text, r[0].analyst) for k, r in chosen.items()} == {"1": ("source trail", "ann bob")}
    assert not export.choose(night, Criterion(label="prominent"), labels_given=said, how="all")
    assert export.choose(night, Criterion(label="prominent"), labels_given=said, how="any")


def test_good_files_are_those_measured_and_not_chosen(night):
    chosen = export.choose(night, Criterion(rank=1), ["source"])
    files = export.good_files(night, chosen).splitlines()
    names = {f"exposure_{int(e):03d}.fits" for _, e in night.found} - {f"exposure_{int(e):03d}.fits" for _, e in chosen}
    assert {file.rsplit("/", 1)[1] for file in files} == names


def test_a_name_that_is_not_utf8_is_in_no_list_of_files(tmp_path, capfd):
    nights.write(tmp_path / "in", 1, name=os.fsdecode(b"bad\xff.fits"))
    nights.write(tmp_path / "in", 2, name="\u00fc.fits")
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    code, out, err = run(capfd, "export", tmp_path / "night", "--format", "list")
    assert (code, out) == (2, "")
    assert "bad\\xff.fits has a name that is not UTF-8, which a list of files cannot hold (rename the file)" in err
    gpuanom.score(tmp_path / "in" / "\u00fc.fits", tmp_path / "other", settings=SETTINGS, device="cpu")
    assert run(capfd, "export", tmp_path / "other", "--format", "list")[1] == f"{tmp_path / 'in'}/\u00fc.fits\n"


def test_regions_hold_every_source_and_its_angle(night, tmp_path):
    chosen = {("TESTCAM", "2"): []}
    ((key, n, missing),) = regions(night, chosen, tmp_path / "reg", select("cpu"))
    row = next(r for r in night.exposures if r["exposure"] == "2")
    assert (key[1], n, missing) == ("2", row["n_sources"], [])
    text = (tmp_path / "reg" / "2_CCD1.reg").read_text()
    angles = [float(a) for a in re.findall(r"ellipse\(.*,(-?[\d.]+)\)", text)]
    assert len(angles) > 2
    assert np.median(angles) == pytest.approx(30, abs=5)


def test_regions_of_single_ccds_are_of_these_alone(night, tmp_path):
    """As the exclude table: of an exposure that was chosen for one CCD, the other CCD is good."""
    chosen = {("TESTCAM", "2"): [export.Reason("verdict", "glow on CCD2", ccds=frozenset(["CCD2"]))]}
    list(regions(night, chosen, tmp_path / "reg", select("cpu")))
    assert [path.name for path in (tmp_path / "reg").iterdir()] == ["2_CCD2.reg"]
    chosen["TESTCAM", "2"].append(export.Reason("source", "source trail"))
    list(regions(night, chosen, tmp_path / "reg", select("cpu")))
    assert sorted(path.name for path in (tmp_path / "reg").iterdir()) == ["2_CCD1.reg", "2_CCD2.reg"]


def test_places_in_the_focal_plane():
    assert (DECAM_NUMBERS["S29"], DECAM_NUMBERS["S4"], DECAM_NUMBERS["N21"], DECAM_NUMBERS["N31"]) == (1, 28, 52, 62)
    assert (ccd_number("DECam", "S29"), ccd_number("MegaCam", "ccd07"), ccd_number("X", "left")) == ("1", "7", "left")
    decam = places("DECam", list(DECAM_NUMBERS))
    # From the DETSEC cards of real headers: lower left corners divided by 2048 and 4096. The first column holds the
    # guiders.
    for name, x, y in (("S29", 1, 2.0), ("N15", 9, 1.5), ("S11", 5, 3.5), ("N26", 11, 2.5), ("N6", 7, 5.0)):
        assert decam[name][:2] == (x - 1, y)
    assert places("DECam", ["1"])["1"] == decam["S29"]
    mega = places("MegaCam", [f"ccd{i:02d}" for i in range(36)])
    assert mega["ccd10"] == (1.0, 2.0, True)
    assert mega["ccd21"] == (3.0, 1.0, False)
    assert len(set(places("other", [str(i) for i in range(7)]).values())) == 7
    assert len(set(places("MegaCam", [f"ccd{i:02d}" for i in range(40)]).values())) == 40
    assert places("other", []) == {}


@pytest.mark.parametrize("ending", ["raw", "desdm", "bin2x2", "raw-bin2x2"])
def test_images_of_other_levels_and_binnings_have_the_same_focal_plane(ending):
    """A CCD of raw images was called by the number of another one in exclude lists."""
    for camera, ccds in (("DECam", list(DECAM_NUMBERS)), ("MegaCam", [f"ccd{i:02d}" for i in range(36)])):
        assert places(f"{camera}-{ending}", ccds) == places(camera, ccds)
        assert [ccd_number(f"{camera}-{ending}", c) for c in ccds] == [ccd_number(camera, c) for c in ccds]


def test_export_from_the_command_line(folder, tmp_path, capfd):
    code, out, err = run(capfd, "export", folder, "--format", "bad_expid", "--rank", 1, "--by", "isophote")
    assert code == 0
    assert out.count("isophote rank=1") == 2
    assert "chosen as bad: 2 of 7 exposures; 1 could not be measured" in err
    code, out, _ = run(capfd, "export", folder, "--format", "list", "--rank", 1, "-o", tmp_path / "good.txt")
    assert (code, out) == (0, "")
    code, _, err = run(capfd, "score", f"@{tmp_path}/good.txt", "-o", tmp_path / "again", *QUICK)
    assert code == 0
    code, _, err = run(capfd, "export", folder, "--format", "regions", "--rank", 1, "-o", tmp_path / "reg")
    assert code == 0
    assert "sources" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--format", "list", "--rank", 1, "--z", 3], "rank, z"),
        (["--format", "regions", "--rank", 1], "--output"),
        (["--format", "list", "--rank", 1, "--by", "stars"], "stars"),
        (["--format", "list", "--label", "prominent"], "holds no labels"),
        (["--format", "list", "--verdict", "bad", "--by", "source"], "--verdict does not"),
        (["--format", "exclude", "--verdict", "bad", "--ccd-z", 5], "--verdict does not"),
        (["--format", "list", "--label", "prominent", "--by", "isophote"], "--by names one of these"),
    ],
)
def test_what_cannot_be_exported_is_said(folder, capfd, arguments, word):
    code, out, err = run(capfd, "export", folder, *arguments)
    assert (code, out) == (2, "")
    assert word in err


def test_labels_of_the_night_are_used(folder, capfd):
    labels.write(folder / labels.NAME, [Label("3", "TESTCAM", "source", "prominent", "double", "ann", "t")])
    try:
        code, out, _ = run(capfd, "export", folder, "--format", "exclude", "--label", "prominent")
    finally:
        (folder / labels.NAME).unlink()
    assert code == 0
    assert "3,1,source double,ann" in out
