"""The viewer of CCDs at full resolution, of a served page, in a real browser."""

from __future__ import annotations

import re
import shutil
import time

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.report import page
from gpuanom.review import labels, marked
from gpuanom.review.opened import open_night
from tests import nights
from tests.report.served import SETTINGS, ask_ccd, picture, serving

pytest.importorskip("PIL")


@pytest.fixture
def open_tab(browser):
    """Opens an address; in the end the page must have asked its own server alone, and logged nothing unexpected."""
    contexts, said, asked, expected = [], [], [], []

    def open_page(address, width=1366, height=768):
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        tab.wait_for_selector("html[data-ready]")
        return tab

    open_page.expected = expected
    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not any(word in text for word in expected)] == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def until(tab, expression):
    """Wait until an expression holds in the page, whose policy allows no `wait_for_function`."""
    end = time.monotonic() + 30
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(20)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), pytest.param(1920, 1080, marks=pytest.mark.proof)])
def test_a_ccd_is_shown_moved_zoomed_marked_and_opened_by_a_click(open_tab, server, width, height):
    open_tab.expected.append("willReadFrequently")  # the browser's advice on how this test reads the canvas
    tab = open_tab(server.address, width, height)
    tab.locator(".row .id").get_by_text("1", exact=True).click()
    tab.select_option("#ccd-chosen", "CCD2")
    tab.click("#full")
    ny, nx = nights.SHAPE
    tab.locator("#viewer-said", has_text=f"{nx} x {ny} pixels").wait_for()
    low = float(tab.locator("#viewer-low").input_value())
    assert 900 < low < 1000
    # The grey level in the middle of a pixel is that of the served picture.
    levels = picture(ask_ccd(server)[2])
    tab.evaluate("shownCcd.scale = 16; shownCcd.centre = [100.5, 60.5]; drawCcd()")
    middle = (
        "(() => { const c = $('viewer-canvas'); "
        "return c.getContext('2d').getImageData(c.width >> 1, c.height >> 1, 1, 1).data[0]; })()"
    )
    assert tab.evaluate(middle) == levels[60, 100]
    # A line on the row is drawn in yellow on black.
    row = (
        "(() => { const c = $('viewer-canvas'); "
        "return [...c.getContext('2d').getImageData(0, c.height >> 1, c.width, 1).data]; })()"
    )
    tab.evaluate("drawShape($('viewer-canvas').getContext('2d'), shownCcd, ['line', 'trail', 80, 61, 120, 61])")
    drawn = np.array(tab.evaluate(row)).reshape(-1, 4)[:, :3]
    # Yellow has little blue, and the picture is grey. The line is 640 pixels long, half of it gaps.
    assert 150 < (drawn[:, 0] - drawn[:, 2] > 100).sum() < 500
    tab.evaluate("drawCcd()")
    # Dragged by three pixels to the left and two up.
    box = tab.locator("#viewer-canvas").bounding_box()
    x, y = box["x"] + box["width"] // 2, box["y"] + box["height"] // 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 30, y - 10)
    tab.mouse.move(x - 48, y - 32)
    tab.mouse.up()
    assert tab.evaluate("shownCcd.centre") == pytest.approx([103.5, 58.5])
    assert tab.evaluate(middle) == levels[58, 103]
    tab.keyboard.press("p")
    tab.mouse.click(x, y)
    (place,) = tab.evaluate("placesOf(labelOf(shownCcd.i, state.kind).places)")
    # The middle of the canvas is hit to a pixel of the screen, 1/16 of one of the CCD.
    assert place[0] == "CCD2"
    assert place[1:] == pytest.approx([104.0, 59.0], abs=0.1)
    before = tab.evaluate("shownCcd.scale")
    tab.mouse.wheel(0, -300)
    until(tab, f"shownCcd.scale > {before}")
    tab.keyboard.press("0")
    assert tab.evaluate("shownCcd.scale") < 16
    tab.select_option("#viewer-stretch", "linear")
    tab.locator("#viewer-said", has_text="pixels").wait_for()
    assert tab.evaluate("shownCcd.asked") == 2
    tab.fill("#viewer-low", "950")
    tab.locator("#viewer-low").press("Tab")
    until(tab, "shownCcd.limits && shownCcd.limits[0] === 950")
    tab.locator("#viewer-close").focus()
    tab.keyboard.press("j")  # another exposure is not chosen behind the viewer
    tab.keyboard.press("Escape")
    assert tab.locator("#viewer").count() == 0
    assert tab.locator("#detail h2").inner_text() == "1"
    assert tab.locator(".mark-place:not(.edge)").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # A click on a CCD of the picture opens this CCD there.
    tab.keyboard.press("p")
    area = tab.locator("#plane svg").bounding_box()
    tab.mouse.click(area["x"] + 0.25 * area["width"], area["y"] + 0.5 * area["height"])
    tab.locator("#viewer-said", has_text="pixels").wait_for()
    # The two CCDs stand side by side.
    assert tab.evaluate("shownCcd.name") == "CCD1"
    assert tab.evaluate("shownCcd.centre") == pytest.approx([nx / 2, ny / 2], abs=0.05 * nx)


@pytest.mark.proof
def test_the_viewer_says_what_cannot_be_read(open_tab, night, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(night.parent / "in" / "exposure_001.fits", tmp_path / "in")
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    night = open_night(tmp_path / "night")
    page.write_report(night, tmp_path / "night" / "report.html", select("cpu"))
    open_tab.expected += ["503", "ERR_CONNECTION_REFUSED"]
    with serving(night) as server:
        tab = open_tab(server.address)
        shutil.rmtree(tmp_path / "in")
        tab.click("#full")
        tab.locator("#viewer-said", has_text="exposure_00").wait_for()
        tab.keyboard.press("Escape")
    tab.keyboard.press("b")
    tab.locator("#viewer-said", has_text="the server does not answer").wait_for()


def test_hostile_names_are_text_in_the_viewer_and_in_regions(open_tab, tmp_path):
    evil = "<img src=x onerror=window.hacked=1>"
    path = nights.write(tmp_path / "in", 1, "1.fits", EXPNUM=f"1{evil}\"'", camera="<b onclick=1>", ccds=2)
    with fits.open(path, memmap=False) as hdus:
        hdus[1].name = "N4;%ff 1 2\"'</script>"
        hdus.writeto(path, overwrite=True)
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    opened = open_night(tmp_path / "night")
    page.write_report(opened, tmp_path / "night" / "report.html", select("cpu"))
    with serving(opened) as server:
        tab = open_tab(server.address)
        name = next(ccd for ccd in tab.locator("#ccd-chosen option").all_inner_texts() if "N4" in ccd.upper())
        tab.select_option("#ccd-chosen", name)
        tab.click("#full")
        tab.locator("#viewer-said", has_text="pixels").wait_for()
        assert name in tab.locator("#viewer strong").inner_text()
        tab.keyboard.press("p")
        box = tab.locator("#viewer-canvas").bounding_box()
        tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.keyboard.press("Escape")
        assert tab.locator(".mark-place:not(.edge)").count() == 1
        with tab.expect_download() as download:
            tab.click("#regions")
        assert re.fullmatch(r"[A-Za-z0-9._-]+\.reg", download.value.suggested_filename)
        download.value.save_as(tmp_path / "one.reg")
        lines = (tmp_path / "one.reg").read_text().splitlines()
        assert sum(line.startswith("point(") for line in lines) == 1
        assert (
            len([line for line in lines if not line.startswith(("#", "image", "point", "line", "box", "circle"))]) == 0
        )
        tab.fill("#analyst", "ann")
        with tab.expect_download() as download:
            tab.click("#save")
        download.value.save_as(tmp_path / "labels.csv")
        (label,) = labels.read(tmp_path / "labels.csv")
        (place,) = marked.from_text(label.places)
        assert place.ccd == name
        tab.click("#view-night")
        assert tab.evaluate("window.hacked") is None
