"""The report in a real browser: it opens without console messages, and keys, sorting and labels work as described."""

from __future__ import annotations

import numpy as np
import pytest

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import KINDS
from gpuanom.report import causes, page
from gpuanom.report.pictures import Pictures
from gpuanom.review import labels
from gpuanom.review.impact import Impact
from gpuanom.review.opened import open_night
from tests import nights
from tests.report import made

pytest.importorskip("PIL")

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    nights.night(folder / "in", exposures=6, odd=2, bands=("r", "g"))
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    (folder / "night" / "labels.csv").write_text("exposure,kind,label,analyst\n1,source,dubious,bob\n")
    page.write_report(open_night(folder / "night"), folder / "night" / "report.html", select("cpu"))
    return folder / "night" / "report.html"


@pytest.fixture(scope="module")
def report_with_model(tmp_path_factory):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'gpuanom[autoencoder]'")
    from gpuanom.autoencoder.model import save
    from tests.autoencoder.made import model

    folder = tmp_path_factory.mktemp("model")
    nights.night(folder / "in", exposures=6, ccds=1, bands=("r", "g"))
    save(model(), folder / "model.pt")
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu", model=folder / "model.pt")
    page.write_report(open_night(folder / "night"), folder / "night" / "report.html", select("cpu"))
    return folder / "night"


def test_errors_of_an_autoencoder_are_a_score(report_with_model, visit):
    tab = visit(report_with_model / "report.html")
    rows = open_night(report_with_model).exposures
    head = tab.locator("#list-head button").all_inner_texts()
    assert "auto\u00adencoder" in head
    tab.click('[data-sort="autoencoder"]')
    order = sorted(rows, key=lambda row: -row["autoencoder_deviation"])
    assert listed(tab) == [row["exposure"] for row in order]
    # The seven columns of numbers stay on one line.
    tops = {box.bounding_box()["y"] for box in tab.locator("#list-head button").all()}
    assert len(tops) == 1
    numbers = tab.locator("table.numbers tr").last.inner_text()
    assert numbers.startswith("autoencoder")
    tab.select_option("#measure", "kl")
    order = sorted(rows, key=lambda row: -row["autoencoder_mse"])
    assert listed(tab) == [row["exposure"] for row in order]


def listed(tab):
    return tab.locator(".row .id").all_inner_texts()


def selected(tab):
    return tab.locator('.row[aria-selected="true"] .id').inner_text()


def test_the_first_exposure_is_shown_with_everything(visit, report):
    tab = visit(report)
    rows = open_night(report.parent).exposures
    assert listed(tab) == [row["exposure"] for row in rows]
    assert tab.locator("#detail h2").inner_text() == rows[0]["exposure"]
    assert tab.locator("#plane img").evaluate("image => image.naturalWidth") > 100
    assert tab.locator("#plane svg rect").count() == 2
    assert tab.locator(".histograms svg.chart").count() == 4
    assert tab.locator(".stamps img").evaluate("image => image.naturalWidth") > 64
    assert "probability" in tab.locator("table.numbers th", has_text="p").first.get_attribute("title")


def test_sorting(visit, report):
    tab = visit(report)
    rows = open_night(report.parent).exposures
    tab.locator('[data-sort="source"]').click()
    by = sorted(rows, key=lambda r: -r["source_deviation"] if r["source_deviation"] is not None else 1e9)
    assert listed(tab) == [r["exposure"] for r in by]
    tab.select_option("#measure", "kl")
    assert listed(tab) == [r["exposure"] for r in sorted(rows, key=lambda r: -r["source_kl"])]
    tab.locator('[data-sort="source"]').click()
    assert listed(tab) == [r["exposure"] for r in sorted(rows, key=lambda r: r["source_kl"])]
    tab.locator('[data-sort="exposure"]').click()
    assert listed(tab) == ["1", "2", "3", "4", "5", "6"]


def test_filtering(visit, report):
    tab = visit(report)
    tab.select_option("#f-dataset", "TESTCAM\nr")
    assert sorted(listed(tab)) == ["2", "4", "6"]
    assert tab.locator("#shown").inner_text() == "3 of 6 exposures"
    tab.fill("#search", "exposure_004")
    assert listed(tab) == ["4"]
    assert selected(tab) == "4"
    tab.fill("#search", "nothing has this")
    assert "no exposure passes" in tab.locator("#list-rows").inner_text()
    assert "no exposure is selected" in tab.locator("#detail").inner_text()
    tab.fill("#search", "")
    tab.select_option("#f-dataset", "")
    tab.fill("#least", "1e9")
    assert listed(tab) == []


def test_labels_by_keyboard_are_saved_read_back_and_imported(visit, report, tmp_path):
    tab = visit(report)
    first = selected(tab)
    tab.keyboard.press("1")
    tab.keyboard.press("t")
    tab.keyboard.press("j")
    second = selected(tab)
    tab.keyboard.press("x")
    tab.keyboard.press("2")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("3")
    tab.keyboard.press("3")  # the label is taken back
    tab.keyboard.press("w")  # no name of an analyst was entered
    assert tab.evaluate("document.activeElement.id") == "analyst"
    tab.keyboard.type('Ann "A", B')
    tab.keyboard.press("Enter")
    with tab.expect_download() as download:
        tab.keyboard.press("w")
    download.value.save_as(tmp_path / "labels.csv")
    found = {(a.exposure, a.kind, a.label, a.reason, a.analyst) for a in labels.read(tmp_path / "labels.csv")}
    who = 'Ann "A", B'
    assert found == {(first, "source", "prominent", "trail", who), (second, "background", "dubious", "", who)}
    assert all(a.time.endswith("Z") for a in labels.read(tmp_path / "labels.csv"))
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#save").inner_text() == "Save 2 labels"  # the browser kept the labels
    night = open_night(report.parent)
    page.write_report(night, report.with_name("again.html"), select("cpu"), top=0)
    tab.goto(report.with_name("again.html").as_uri())  # a report made again of the same night has the labels too
    tab.wait_for_selector("html[data-ready]")
    assert tab.locator("#save").inner_text() == "Save 2 labels"
    other = visit(report)
    assert other.locator("#save").inner_text() == "Save labels"
    other.set_input_files("#load", tmp_path / "labels.csv")
    other.locator("#save", has_text="Save 2 labels").wait_for()
    other.select_option("#f-label", "prominent")
    assert listed(other) == [first]


def test_of_loaded_labels_the_later_moment_counts_and_no_line_is_lost_in_silence(visit, report, tmp_path):
    tab = visit(report)

    def load(*lines):
        (tmp_path / "some.csv").write_text("\n".join(("exposure,camera,kind,label,analyst,time", *lines)))
        tab.evaluate("$('tip').textContent = ''")
        tab.set_input_files("#load", tmp_path / "some.csv")
        tab.locator("#tip", has_text="labels read").wait_for(state="attached")
        return tab.locator("#tip").text_content(), tab.evaluate("[...given.values()].map((one) => one.label)")

    said, kept = load(
        "1,TESTCAM,source,prominent,Ann,2026-01-02T03:00:00-05:00,,",  # 08:00 UTC, and a spreadsheet's empty values
        "2,TESTCAM,source,normal,Ann, jr.,2026-01-02T03:00:00Z",
    )
    assert said.startswith("1 of 1 labels read")
    assert said.endswith("; 1 line has more values than columns: quote a text that holds a comma")
    assert kept == ["prominent"]
    assert load("1,TESTCAM,source,dubious,Ann,2026-01-02T07:59:59")[1] == ["prominent"]
    assert load("1,TESTCAM,source,dubious,Ann,yesterday")[1] == ["prominent"]
    assert load("1,TESTCAM,source,dubious,Ann,2026-01-02 08:00:01")[1] == ["dubious"]


def test_others_labels_show_when_asked(visit, report):
    tab = visit(report)
    tab.fill("#search", "exposure_001")
    tab.locator("#list-scroll").focus()
    assert "bob" not in tab.locator(".labels").inner_text()
    tab.keyboard.press("a")
    assert "bob: dubious" in tab.locator(".labels").inner_text()


def test_views_and_help_by_keyboard(visit, report):
    tab = visit(report)
    tab.keyboard.press("v")
    tab.locator("#sheet img").nth(5).wait_for()
    tab.keyboard.press("ArrowRight")
    now = tab.locator('.cell[aria-selected="true"] .cap span').first.inner_text().split()[0]
    tab.keyboard.press("v")
    assert tab.locator("#dataset svg.chart").count() == 4
    tab.locator("#dataset circle").first.click(force=True)
    assert tab.locator("#detail").is_visible()
    for _ in range(3):
        tab.keyboard.press("v")
    assert tab.locator("#course").is_visible()
    tab.keyboard.press("v")
    assert tab.locator("#detail").is_visible()
    tab.keyboard.press("?")
    assert tab.locator("dialog").is_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("z")
    assert "large" in tab.locator("#plane").get_attribute("class")
    tab.keyboard.press("Escape")
    assert now


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = made.night(tmp_path_factory.mktemp("judged") / "n", 60, bands=("r",), ccds=("1", "2", "3", "4"), odd=(30,))
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), cache=False)
    return folder / "r.html"


def test_the_help_begins_at_its_beginning(visit, judged):
    tab = visit(judged, 1280, 600)
    tab.keyboard.press("?")
    assert tab.locator("#help").is_visible()
    assert tab.evaluate("document.getElementById('help').scrollTop") == 0


@pytest.mark.parametrize("n", [5, 24])
def test_the_ids_of_exposures_that_are_named_by_their_files_can_be_read(visit, tmp_path, n):
    names = [f"image_{i:03d}_wmHM" for i in range(n)]
    folder = made.night(tmp_path / "n", n, bands=("r",), names=names)
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), cache=False)
    tab = visit(folder / "r.html", 1280, 800)
    cut = "[...document.querySelectorAll('{}')].filter((b) => b.scrollWidth > b.clientWidth).map((b) => b.textContent)"
    assert tab.locator(".row .id").first.inner_text() in names
    assert tab.evaluate(cut.format(".row .id")) == []
    assert tab.evaluate(cut.format("#list-head button")) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_verdicts_are_shapes_and_words(visit, judged, width, height):
    tab = visit(judged, width, height)
    rows = open_night(judged.parent).exposures
    odd = rows[0]
    assert odd["exposure"] == "845030"
    assert odd["verdict"] == "bad"
    first = tab.locator(".row").first
    assert first.inner_text().split("\n")[0].strip() == "\u2716 bad"
    assert odd["cause"] in first.inner_text()
    assert odd["date_obs"][11:] in first.inner_text()
    box = tab.locator(".judged")
    assert odd["cause"] in box.inner_text()
    assert "bad" in box.get_attribute("class").split()
    impact = tab.locator(".impact").inner_text()
    assert "unknown" in impact  # this night has no shapes of stars
    assert f"{100 * odd['n_sources'] / sum(r['n_sources'] for r in rows):.1f}%" in impact
    # The exposure opens at what its verdict is about.
    (about, outline) = causes.trigger(odd)
    assert tab.locator(".labels [aria-pressed=true]").first.inner_text() == about
    assert tab.locator("#t-outline").input_value() == outline
    # No heading of the list is cut off, and the page is no wider than the window.
    heads = "[...document.querySelectorAll('#list-head button')]"
    assert tab.evaluate(f"{heads}.filter((b) => b.scrollWidth > b.clientWidth).map((b) => b.textContent)") == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.keyboard.press("j")
    assert tab.locator(".judged .verdict").inner_text().strip() == f"\u25cf {rows[1]['verdict']}"
    tab.keyboard.press("?")
    assert "check: unusual" in tab.locator("dialog").inner_text()


def test_filters_by_verdict_and_cause(visit, judged):
    tab = visit(judged, 1280)
    rows = open_night(judged.parent).exposures
    for chosen, names in (("bad check", ("bad", "check")), ("ok", ("ok",)), ("none", ("",))):
        tab.select_option("#f-verdict", chosen)
        assert tab.locator("#shown").inner_text() == f"{sum(r['verdict'] in names for r in rows)} of 60 exposures"
    tab.select_option("#f-verdict", "")
    (cause,) = causes.causes_in(rows[0]["cause"])
    tab.select_option("#f-cause", cause)
    assert listed(tab) == [r["exposure"] for r in rows if cause in r["cause"]]
    tab.select_option("#f-cause", "")
    tab.fill("#search", rows[0]["cause"][:9].upper())
    assert rows[0]["exposure"] in listed(tab)


def test_bars_of_all_scores_have_one_scale(visit, judged):
    tab = visit(judged, 1280)
    assert tab.locator('[data-sort="source"]').count() == 0
    tab.keyboard.press("l")
    rows = open_night(judged.parent).exposures
    most = max(r[f"{kind}_deviation"] for r in rows for kind in KINDS)
    bars = tab.locator(".row").first.locator(".bar").evaluate_all("bars => bars.map(bar => bar.style.backgroundSize)")
    expected = [100 * max(0.0, rows[0][f"{kind}_deviation"] / most) ** 0.5 for kind in KINDS]
    # Numbers of the page have four digits.
    assert [float(bar.partition("%")[0]) for bar in bars[1:]] == pytest.approx(expected, abs=0.1)
    tab.keyboard.press("l")
    assert tab.locator('[data-sort="source"]').count() == 0


def test_whiskers_are_as_long_as_the_ellipticity_and_its_scale_say(visit, tmp_path, monkeypatch):
    boxes = {"1": [0, 0, 100, 200], "2": [102, 0, 100, 200]}
    # e = 0.06 along 45 degrees, less than three errors, no stars; one cell of 0.02 along -90 degrees.
    stars = {
        "1": [1, 3, [3.0, 3.1, None], [0.0, 0.004, None], [0.06, 0.0, None], [100, 100, 2]],
        "2": [1, 1, [3.3], [-0.02], [0.0], [100]],
    }
    shown = Pictures("", (202, 200), boxes, "", [], stars, 0.02, [], False)
    monkeypatch.setattr(page, "pictures", lambda *_, **__: shown)
    monkeypatch.setattr(page.impact, "usual_ellipticity", lambda _: {"1": [0.0, 0.05], "2": [0.0, 0.0]})
    folder = made.night(tmp_path / "n", 2, bands=("r",))
    night = open_night(folder)
    first = (night.exposures[0]["camera"], night.exposures[0]["exposure"])
    left = Impact(0.03, -0.04, 0.01, 0.025, 0.00125, 0.5, 0.25)
    monkeypatch.setattr(page.impact, "impacts", lambda *_: {first: left})
    page.write_report(night, folder / "r.html", select("cpu"))
    tab = visit(folder / "r.html", 1280)
    assert tab.locator(".impact dd").all_inner_texts() == ["0.0500 \u00b1 0.0100", "0.0250", "0.0013", "50%", "25%"]
    ends = [f"l.{end}.baseVal.value" for end in ("x2", "x1", "y1", "y2")]
    lines = f"lines => lines.map((l) => [{ends[0]} - {ends[1]}, {ends[2]} - {ends[3]}])"

    def lengths():
        found = tab.locator("#plane line.whisker:has(title)").evaluate_all(lines)
        (bar,) = tab.locator("#plane line.whisker:not(.edge):not(:has(title))").evaluate_all(lines)
        span = float(tab.locator("#plane .scale-text").text_content().removeprefix("e = "))
        return [(span * np.hypot(x, y) / bar[0], np.degrees(np.arctan2(y, x)) % 180) for x, y in found]

    # Places of lines have two decimals.
    assert lengths() == [pytest.approx((0.06, 45), rel=1e-2), pytest.approx((0.02, 90), rel=1e-2)]
    assert "2 of 3 cells significant" in tab.locator(".tools").inner_text()
    assert tab.locator("table.ccds").count() == 0
    tab.locator("details:has(summary:has-text('CCD'))").locator("summary").click()
    tab.locator("table.ccds").wait_for()
    assert tab.locator(".small-map").count() == 3
    assert tab.locator(".small-map").first.locator("rect:has(title)").count() == 3
    tab.keyboard.press("u")
    # 0.06 - 0.05, and (0.004, -0.05), which lies along -42.7 degrees.
    left = [(0.01, 45), (np.hypot(0.004, 0.05), 137.3), (0.02, 90)]
    assert lengths() == [pytest.approx(of_cell, rel=1e-2) for of_cell in left]
    tab.keyboard.press("m")
    assert tab.locator("#plane line.whisker").count() == 0


def test_hostile_names_are_text(visit, tmp_path):
    folder = made.night(tmp_path / "<b>n&'\"", 9, names=made.HOSTILE, camera=made.HOSTILE[1], bands=(made.HOSTILE[0],))
    (folder / "labels.csv").write_text(f"exposure,kind,label,analyst\n845008,source,normal,{made.HOSTILE[1]}\n")
    page.write_report(open_night(folder), folder / "r.html", select("cpu"))
    tab = visit(folder / "r.html")
    for _ in range(9):
        tab.keyboard.press("1")
        tab.keyboard.press("a")
        tab.keyboard.press("j")
    for _ in range(2):
        tab.keyboard.press("v")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("h1").inner_text() == "<b>n&'\""
    assert tab.locator("#save").inner_text() == "Save 9 labels"


def test_hostile_headers_and_file_names_are_text_all_the_way(visit, tmp_path):
    evil = "</script><img src=x onerror=window.hacked=1>"
    for i in (1, 2, 3):
        name = f"{i}<img src=x onerror=window.hacked=1>'\"&amp;.fits"
        nights.write(tmp_path / "in", i, name, EXPNUM=f"{evil}{i}", band=f"{evil} b", camera="<b onclick=1>", ccds=1)
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    page.write_report(open_night(tmp_path / "night"), tmp_path / "r.html", select("cpu"))
    tab = visit(tmp_path / "r.html")
    assert tab.locator("#plane img").evaluate("image => image.naturalWidth") > 100
    assert "img src=x onerror" in tab.locator("#detail h2").inner_text()
    for key in ("1", "j", "v", "v", "v", "v"):
        tab.keyboard.press(key)
    assert tab.evaluate("window.hacked") is None
    assert "onerror" in tab.locator(".files a").inner_text()


@pytest.mark.parametrize("n", [0, 1])
def test_nights_of_next_to_nothing(visit, tmp_path, n):
    folder = made.night(tmp_path / "n", n)
    page.write_report(open_night(folder), folder / "r.html", select("cpu"))
    tab = visit(folder / "r.html")
    assert len(listed(tab)) == n
    for key in ("j", "1", "v", "v", "v", "n", "k", "z"):
        tab.keyboard.press(key)
    if n:
        assert "no picture" in tab.locator("#detail").inner_text()


def test_five_thousand_exposures_are_a_few_rows(visit, tmp_path):
    folder = made.night(tmp_path / "n", 5000, ccds=("1",))
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), top=5, cache=False)
    tab = visit(folder / "r.html")
    assert tab.locator("#shown").inner_text() == "5000 of 5000 exposures"
    assert len(listed(tab)) < 60
    tab.keyboard.press("End")
    assert tab.locator('.row[aria-selected="true"]').is_visible()
    tab.keyboard.press("v")
    tab.keyboard.press("v")
    assert tab.locator("#dataset circle").count() == 15_000
