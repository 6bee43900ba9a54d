"""The night's course and its last exposure; the page that reloads itself and keeps what was chosen."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from gpuanom.backends.choice import select
from gpuanom.records import KINDS
from gpuanom.report import course, page
from gpuanom.report.pictures import Pictures, data_url, encoded_picture
from gpuanom.review.opened import open_night
from gpuanom.scoring.histograms.reference import DatasetReference, References
from gpuanom.scoring.judged.statistics_table import Measured
from tests.report import made
from tests.report.test_page import parse

pytest.importorskip("PIL")


def reference(n, **columns):
    """A reference of one dataset with these statistics."""
    measured = Measured(n, {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()})
    return References((DatasetReference("TESTCAM", "r", (None,) * len(KINDS), {}, statistics=measured),), {})


def test_the_limits_are_percentiles_of_the_reference(tmp_path):
    night = open_night(made.night(tmp_path / "n", 4, bands=("g", "r")))
    assert course.limits(night) == [{}, {}]
    values = np.arange(101.0)
    kept = reference(101, fwhm=values, e1=0.3 * values, e2=-0.4 * values, sky=[*values[:9], *[np.nan] * 92])
    of_g, of_r = course.limits(replace(night, saved=kept))
    assert of_g == {}
    # The sky is known of 9 exposures, which are too few; ellipticities are 0.5 times 0 to 100.
    assert of_r == {"fwhm": [2.5, 50.0, 97.5], "ellipticity": [1.25, 25.0, 48.75]}


def test_the_last_exposure_is_the_one_that_began_last(tmp_path):
    night = open_night(made.night(tmp_path / "n", 12, bands=("g",)))
    assert night.exposures[course.latest(night)]["exposure"] == "845011"
    rows = [{**row, "date_obs": ""} for row in night.exposures]
    assert rows[course.latest(replace(night, exposures=rows))]["exposure"] == "845011"
    assert course.latest(open_night(made.night(tmp_path / "none", 0))) is None


@pytest.mark.parametrize(("width", "height"), [(1280, 800), pytest.param(1920, 1080, marks=pytest.mark.proof)])
def test_the_course_of_a_night(visit, tmp_path, monkeypatch, width, height):
    folder = made.night(tmp_path / "n", 30, bands=("r",), ccds=("1", "2"), odd=(20,))
    monkeypatch.setattr(page, "limits", lambda _: [{"n_sources": [100.0, 200.0, 400.0], "sky": [90.0, 100.0, 110.0]}])
    picture = data_url(encoded_picture(np.arange(20_000, dtype=np.uint8).reshape(100, 200), [80], 20_000))
    drawn = Pictures(picture, (200, 100), {}, "", [], {}, None, [], False)
    monkeypatch.setattr(page, "pictures", lambda *_, **__: drawn)
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), top=1)
    tab = visit(folder / "r.html", width, height)
    tab.click("#view-night")
    assert "845029" in tab.locator(".last h2").inner_text()
    # The last exposure has a picture beside the most anomalous one, and the picture is large.
    assert tab.evaluate("NIGHT.pictured.length") == 2
    assert tab.locator("#last-picture").evaluate("image => image.naturalWidth") == 200
    assert tab.locator("#last-picture").bounding_box()["width"] > 500
    # Verdicts, sky and number of sources; this night has no shapes of stars.
    assert tab.locator("#course .charts h3").all_inner_texts() == [
        "verdicts: their evidence",
        "sky, median over the CCDs, image unit",
        "number of sources",
    ]
    assert tab.locator("#course .usual").count() == 2
    assert "from 90 to 110, the middle at 100" in tab.locator("#course .usual title").first.text_content()
    bad = tab.locator("#course path.course.bad")
    rows = open_night(folder).exposures
    assert bad.count() == 3 * sum(row["verdict"] == "bad" for row in rows)
    for chart in tab.locator("#course svg.chart").all():
        assert chart.locator(".course").count() == 30
    # The band of the reference lies where its limits are: the sky of the night is about 100.
    band = tab.locator("#course .usual").first.bounding_box()
    points = tab.locator("#course svg.chart").nth(1).locator(".course").all()
    heights = [point.bounding_box()["y"] for point in points]
    assert band["y"] < min(heights) < max(heights) < band["y"] + band["height"]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bad.first.dispatch_event("click")
    assert tab.locator("#detail h2").inner_text() == rows[0]["exposure"]
    tab.click("#view-night")
    tab.locator("#last-open").click()
    assert tab.locator("#detail h2").inner_text() == "845029"
    assert tab.locator("#hold").count() == 0  # this page does not reload itself


def write(folder, n, reload):
    made.night(folder, n, bands=("r",))
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), cache=False, reload=reload)


@pytest.mark.proof
def test_the_page_reloads_itself(visit, tmp_path):
    write(tmp_path / "n", 3, 0.5)
    tab = visit(tmp_path / "n" / "r.html")
    with tab.expect_navigation():
        pass


def test_a_page_that_reloads_itself_keeps_what_was_chosen(visit, tmp_path):
    """The page reloads itself when the test says that the time has come."""
    folder = tmp_path / "n"
    write(folder, 12, 1000.0)
    tab = visit(folder / "r.html")
    assert tab.locator("#course").is_visible()  # a night that is watched opens at its course
    assert tab.locator("#hold").inner_text().endswith("UTC: reloads itself")
    tab.click("#view-list")
    tab.fill("#search", "84500")
    tab.locator("#list-scroll").focus()
    tab.locator(".row .id").get_by_text("845007", exact=True).click()
    tab.keyboard.press("2")
    tab.keyboard.press("l")
    scores = tab.locator("#scores").get_attribute("aria-pressed")
    assert tab.locator("#shown").inner_text() == "10 of 12 exposures"
    write(folder, 13, 1000.0)
    with tab.expect_navigation():
        tab.evaluate("reloadIfFree()")
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#shown").inner_text() == "10 of 13 exposures"
    assert tab.locator("#detail h2").inner_text() == "845007"
    assert tab.locator("#search").input_value() == "84500"
    assert tab.locator("#scores").get_attribute("aria-pressed") == scores
    assert tab.locator("#save").inner_text() == "Save 1 label"
    assert "dubious" in tab.locator('.labels [aria-pressed="true"]').nth(1).inner_text()
    # The page waits while somebody types, and when it is told to wait.
    tab.evaluate("window.same = true")
    tab.focus("#search")
    tab.evaluate("reloadIfFree()")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.same")
    tab.click("#hold")
    assert tab.locator("#hold").inner_text().endswith("waits")
    tab.evaluate("reloadIfFree()")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.same")
    # What was kept makes no sense any more, or the page is the last one: it opens as at first.
    tab.evaluate("sessionStorage.setItem(PAGE_SHELF, '{\"fields\":7}')")
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#course").is_visible()
    write(folder, 14, None)
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#hold").count() == 0
    assert tab.locator("#list").is_visible()


def test_whoever_reads_the_page_reads_a_whole_one(tmp_path):
    folder = made.night(tmp_path / "n", 10)
    night, path = open_night(folder), folder / "r.html"
    page.write_report(night, path, select("cpu"), cache=False, reload=1.0)
    over = threading.Event()

    def write_on():
        for _ in range(5):
            page.write_report(night, path, select("cpu"), cache=False, reload=1.0)
        over.set()

    writer = threading.Thread(target=write_on)
    writer.start()
    n = 0
    while not over.is_set() or n == 0:
        text = path.read_text(encoding="ascii")
        assert text.startswith("<!DOCTYPE html>")
        assert text.endswith("</html>\n")
        n += 1
    writer.join()
    assert n > 5
    assert parse(path).blocks["night"]["reload"] == 1.0


def test_a_night_whose_run_was_ended_says_so_beside_its_name(tmp_path, visit):
    night = open_night(made.night(tmp_path / "n", 4))
    for n, said in ((0, ""), (2, "; 2 not measured yet, since a run was ended early")):
        page.write_report(replace(night, n_unmeasured=n), tmp_path / "report.html", select("cpu"), top=0)
        assert visit(tmp_path / "report.html").locator("#night-about").text_content() == f"4 exposures{said}"
