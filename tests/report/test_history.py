"""The history of nights: sums over exposures against plain loops, the record of CCDs, and the page in a browser."""

from __future__ import annotations

import re
import shutil
import sqlite3
import statistics

import pytest

from gpuanom.errors import OutputError
from gpuanom.nights.merge import merge_nights
from gpuanom.report import history
from gpuanom.review.opened import key_of, open_night
from gpuanom.store.store import NAME
from tests.report import made
from tests.test_cli import run


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Three nights of which the second has odd exposures; the names are not in the order of time."""
    folder = tmp_path_factory.mktemp("history")
    made.night(folder / "z", 24, bands=("r",), day=1)
    made.night(folder / "b", 24, bands=("r",), odd=(3, 9), day=2, names=made.HOSTILE)
    made.night(folder / "a", 24, bands=("r",), camera=made.HOSTILE[1], day=3)
    (folder / "other").mkdir()
    history.write_history(history.scored_nights([folder]), folder / "h.html")
    return folder


def test_trends_are_medians_and_counts_of_the_tables(nights, tmp_path):
    folders = history.scored_nights([nights, nights / "a"])
    assert [folder.name for folder in folders] == ["a", "b", "z"]
    opened = [open_night(folder) for folder in folders]
    found = history.write_history(folders, tmp_path / "h.html")
    assert [night["name"] for night in found["nights"]] == ["z", "b", "a"]
    trends = {found["nights"][t["night"]]["name"]: t for t in found["trends"]}
    for night in opened:
        trend = trends[night.folder.name]
        rows = night.exposures
        assert trend["n"] == 24
        assert trend["verdicts"] == [sum(r["verdict"] == v for r in rows) for v in ("bad", "check", "ok", "")]
        assert trend["n_sources"] == statistics.median(r["n_sources"] for r in rows)
        ccds = night.ccds()
        skies = [statistics.median(c["sky"] for c in ccds[key_of(r)]) for r in rows]
        assert trend["sky"] == pytest.approx(statistics.median(skies), rel=1e-3)  # four digits
        assert trend["fwhm"] is None
    assert trends["b"]["verdicts"][0] + trends["b"]["verdicts"][1] >= 2
    times = found["exposures"]["date_obs"]
    assert times == sorted(times)
    assert len(times) == 72


def test_a_survey_is_the_nights_that_it_holds(nights, tmp_path):
    merge_nights([nights / "z", nights / "b"], tmp_path / "survey")
    found = history.write_history([tmp_path / "survey"], tmp_path / "h.html")
    apart = history.write_history([nights / "z", nights / "b"], tmp_path / "apart.html")
    assert [night["name"][:9] for night in found["nights"]] == ["survey 20"] * 2
    assert [night["time"] for night in found["nights"]] == [night["time"] for night in apart["nights"]]
    assert found["exposures"]["date_obs"] == apart["exposures"]["date_obs"]
    assert found["exposures"]["night"] == apart["exposures"]["night"]
    assert [trend["n"] for trend in found["trends"]] == [trend["n"] for trend in apart["trends"]]


def test_nights_are_told_from_each_other_by_the_hours_of_day():
    evening, morning = "2026-01-01T20:00:00", "2026-01-02T06:00:00"
    # Ten hours of clouds within one night, and another night a day later.
    assert history.nights_of([morning, evening, "", "2026-01-02T21:00:00"]) == [[0, 1, 2], [3]]
    assert history.nights_of([evening, "2026-01-02T04:00:00", "2026-01-01T12:30"]) == [[0, 1, 2]]
    everywhere = [f"2026-01-0{day}T{hour:02d}:00:00" for day in (1, 2, 3) for hour in range(0, 24, 2)]
    assert history.nights_of(everywhere) == [list(range(36))]
    assert history.nights_of(["", "soon"]) == [[0, 1]]
    assert history.nights_of([]) == [[]]


def test_a_ccd_is_often_bad_since_the_first_night_of_its_last_run():
    n = 10
    bad = {"N1": [0, 6, 2, 5, 9], "N2": [9, 9, 0, 0, 0], "N3": [0, 0, 0, 0, None], "N10": [10, 10, None, 10, 10]}
    nights = [{name: [n, counts[i]] for name, counts in bad.items() if counts[i] is not None} for i in range(5)]
    found = {record["ccd"]: record for record in history._record(nights)}
    assert list(found) == ["N10", "N1", "N2", "N3"]  # the worst first
    assert [found[name]["since"] for name in bad] == [3, None, None, 0]
    assert (found["N1"]["bad"], found["N1"]["n"]) == (22, 50)
    assert found["N10"]["shares"] == [1, 1, None, 1, 1]


def test_a_bad_exposure_says_nothing_of_its_ccds(nights):
    night = open_night(nights / "b")
    (bad,) = {row["exposure"]: row for row in night.exposures[:1]}.values()
    assert bad["verdict"] == "bad"
    counts = history._of_folder(night)[0]["ccds"]["TESTCAM"]
    ccds = night.ccds()
    for name in ("1", "2"):
        alone = sum(
            ccd["verdict"] == "bad" and row["verdict"] != "bad"
            for row in night.exposures
            for ccd in ccds[key_of(row)]
            if ccd["ccd"] == name
        )
        assert counts[name] == [24, alone]


def test_what_is_no_night_is_refused(nights, capfd, tmp_path):
    with pytest.raises(OutputError, match="no scored night"):
        history.scored_nights([nights / "other"])
    code, out, err = run(capfd, "history", nights / "other")
    assert (code, out) == (2, "")
    assert "is no scored night and holds none" in err
    code, out, err = run(capfd, "history", nights / "a", "-o", tmp_path / "h.html")
    assert (code, err) == (0, "")
    assert "24 exposures of 1 night" in out


def test_exposures_in_several_nights_are_told(nights, capfd, tmp_path):
    shutil.copytree(nights / "z", tmp_path / "again")
    code, _, err = run(capfd, "history", nights / "z", nights / "b", tmp_path / "again", "-o", tmp_path / "h.html")
    assert (code, err.count("24 exposures are in several of these nights")) == (0, 1)
    assert run(capfd, "history", nights / "z", tmp_path / "again", "-o", tmp_path / "h.html", "-q") == (0, "", "")
    code, out, err = run(capfd, "history", nights, "-o", tmp_path / "h.html")
    assert (code, err) == (0, "")
    assert f"{round((tmp_path / 'h.html').stat().st_size / 1e3)} kB" in out


def test_the_page_of_a_single_day_shows_the_date(nights, visit, tmp_path):
    history.write_history([nights / "z"], tmp_path / "one.html")
    page = (tmp_path / "one.html").read_text()
    (time,) = set(re.findall(r'"time":"(2026-01-01T00:0[^"]*)"', page))
    for start, words in (("05:00:30", "night, 2026-01-01"), (time[-8:], "night")):  # midnight has a tick with the date
        (tmp_path / "one.html").write_text(page.replace(f'"time":"{time}"', f'"time":"2026-01-01T{start}"'))
        tab = visit(tmp_path / "one.html", 1280)
        assert tab.locator("h1").inner_text() == "1 night"
        texts = tab.locator("#history-main svg.chart").first.locator("text").all_text_contents()
        assert words in texts
        assert any(re.fullmatch(r"[0-9]{2}:[0-9]{2}", text) for text in texts)  # beside ticks that are hours
        assert any("2026-01-01" in text for text in texts)


@pytest.mark.parametrize("damage", ["PRAGMA user_version = 1", "UPDATE ccd_columns SET texts = '['"])
def test_a_night_that_cannot_be_opened_costs_no_other_night(nights, capfd, tmp_path, damage):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(nights / name / NAME, tmp_path / name)
    db = sqlite3.connect(tmp_path / "b" / NAME)
    with db:
        db.execute(damage)
    db.close()
    code, out, err = run(capfd, "history", tmp_path)
    assert code == 1
    assert f"night left out: {(tmp_path / 'b' / NAME).resolve()}" in err
    assert "24 exposures of 1 night" in out
    assert '"not_opened":1' in (tmp_path / "history.html").read_text().replace(" ", "")
    (tmp_path / "history.html").unlink()
    code, out, err = run(capfd, "history", tmp_path / "b")
    assert (code, out) == (2, "")
    assert not (tmp_path / "b" / "history.html").exists()


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_page_shows_trends_and_neighbours(nights, visit, width):
    tab = visit(nights / "h.html", width)
    tab.select_option("#camera", "TESTCAM")
    # Two nights of this camera have shares, skies and sources; no stars were measured.
    assert tab.locator("#history-main svg.chart").count() == 4
    assert tab.locator("#history-main circle.night").count() == 8
    tab.select_option("#odd", index=0)
    rows = tab.locator("#neighbours tr")
    assert 7 <= rows.count() <= 12
    assert any(verdict in tab.locator("#neighbours .now").inner_text() for verdict in ("bad", "check"))
    tab.select_option("#camera", made.HOSTILE[1])
    assert tab.locator("#neighbours").count() == 0
    assert tab.evaluate("window.hacked") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_night_of_nothing_has_a_page(visit, tmp_path):
    made.night(tmp_path / "n", 0)
    history.write_history([tmp_path / "n"], tmp_path / "h.html")
    tab = visit(tmp_path / "h.html")
    assert "none" in tab.locator("#history-main").inner_text()
