"""Marked places, regions and the command for DS9, in a real browser: all in image coordinates of the file."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import Turn
from gpuanom.report import page, pictures
from gpuanom.review import labels, marked
from gpuanom.review.opened import open_night
from gpuanom.review.quicklook import turned_image
from tests import nights
from tests.report.served import SETTINGS

pytest.importorskip("PIL")

LEFT = 24
"""Columns of overscan on the left of each image."""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Exposures with overscan, each of which a trail crosses on CCD1, it is said; one file has an apostrophe."""
    folder = tmp_path_factory.mktemp("places")
    for path in nights.night(folder / "in", exposures=3):
        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus[1:]:
                ny, nx = hdu.data.shape
                hdu.data = np.hstack([np.full((ny, LEFT), 7, dtype=hdu.data.dtype), hdu.data])
                hdu.header["DATASEC"] = f"[{LEFT + 1}:{LEFT + nx},1:{ny}]"
            hdus.writeto(path, overwrite=True)
    (folder / "in" / "exposure_002.fits").rename(folder / "in" / "it's 2.fits")
    (folder / "in" / "exposure_003.fits").rename(folder / "in" / "bad [x]$(3).fits")
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        made = pictures.pictures
        patch.setattr(page, "pictures", lambda *a, **k: replace(made(*a, **k), trails={"CCD1": [0.0, 10.0]}))
        page.write_report(open_night(folder / "night"), folder / "night" / "report.html", select("cpu"), cache=False)
    return folder / "night" / "report.html"


@pytest.fixture(scope="module")
def shared(visit_for_several, report):
    """A tab with the report, for tests that label nothing."""
    return visit_for_several(report)


def choose(tab, exposure):
    tab.locator(".row .id").get_by_text(exposure, exact=True).click()
    assert tab.locator("#detail h2").inner_text() == exposure


def click_ccd(tab, name, u, v):
    """Click a CCD at shares of its width and height, from the lower left."""
    x, y, w, tall = tab.evaluate(f"read(`d${{state.now}}`).boxes[{name!r}]")
    width, height = tab.evaluate("read(`d${state.now}`).size")
    area = tab.locator("#plane svg").bounding_box()
    at = area["x"] + (x + u * w) / width * area["width"], area["y"] + (height - y - v * tall) / height * area["height"]
    tab.mouse.click(*at)


def test_marked_places_are_kept_with_the_label_saved_and_read_back(visit, report, tmp_path):
    tab = visit(report)
    choose(tab, "1")
    tab.keyboard.press("p")
    click_ccd(tab, "CCD2", 0.25, 0.75)
    click_ccd(tab, "CCD1", 0.5, 0.5)
    assert tab.locator(".mark-place:not(.edge)").count() == 2
    assert "2 places marked" in tab.locator(".ccd-tools").inner_text()
    click_ccd(tab, "CCD1", 0.5, 0.5)  # a click on a mark takes it away
    assert tab.locator(".mark-place:not(.edge)").count() == 1
    tab.keyboard.press("s")  # a reason keeps the places
    tab.fill("#analyst", "ann")
    with tab.expect_download() as download:
        tab.click("#save")
    download.value.save_as(tmp_path / "labels.csv")
    (label,) = labels.read(tmp_path / "labels.csv")
    assert (label.exposure, label.label, label.reason) == ("1", "prominent", "stripes")
    (place,) = marked.from_text(label.places)
    ny, nx = nights.SHAPE
    # A click hits a pixel of the screen, which is at most a pixel of the CCD here.
    assert place.ccd == "CCD2"
    assert (place.x, place.y) == pytest.approx((LEFT + 0.25 * nx + 0.5, 0.75 * ny + 0.5), abs=1.5)
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    choose(tab, "1")
    assert tab.locator(".mark-place:not(.edge)").count() == 1
    other = visit(report)
    text = (tmp_path / "labels.csv").read_text().replace("CCD2 ", "CCD2 1 1; a b c d; %ff 1 2; CCD2 ")
    (tmp_path / "odd.csv").write_text(text)
    other.set_input_files("#load", tmp_path / "odd.csv")
    other.locator("#save", has_text="Save 1 label").wait_for()
    choose(other, "1")
    # Of the places that were written by hand, one is a place, and lies in the overscan.
    assert other.locator(".mark-place:not(.edge)").count() == 1
    assert other.evaluate("placesOf(labelOf(state.now, 'source').places).length") == 2


def test_a_click_that_marks_nothing_enlarges(shared):
    tab = shared
    choose(tab, "1")
    click_ccd(tab, "CCD1", 0.5, 0.5)
    assert "large" in tab.locator("#plane").get_attribute("class")
    tab.keyboard.press("Escape")
    tab.keyboard.press("b")
    assert "--serve" in tab.locator("#tip").inner_text()
    assert tab.locator("#full").count() == 0
    assert tab.evaluate("given.size") == 0


def test_the_regions_are_in_coordinates_of_the_file(visit, report, tmp_path):
    tab = visit(report)
    choose(tab, "1")
    tab.select_option("#ccd-chosen", "CCD1")
    tab.keyboard.press("p")
    click_ccd(tab, "CCD1", 0.5, 0.25)
    with tab.expect_download() as download:
        tab.click("#regions")
    assert download.value.suggested_filename == "1_CCD1.reg"
    download.value.save_as(tmp_path / "one.reg")
    head, about, image, trail, point = (tmp_path / "one.reg").read_text().splitlines()
    assert head == "# Region file format: DS9 version 4.1"
    assert about.endswith("exposure 1, CCD CCD1")
    assert image == "image"
    ny, nx = nights.SHAPE
    # A horizontal trail, 10 pixels above the middle.
    middle = ny / 2 + 10.5
    assert trail == f"line({LEFT + 0.5},{middle:g},{LEFT + nx + 0.5},{middle:g}) # color=yellow text={{trail}}"
    x, y = map(
        float, re.fullmatch(r"point\(([\d.]+),([\d.]+)\) # point=cross color=red text={prominent}", point).groups()
    )
    assert (x, y) == pytest.approx((LEFT + nx / 2 + 0.5, ny / 4 + 0.5), abs=1.5)
    assert tab.locator('#plane line[data-found="trail"]').count() == 2


def test_the_command_for_ds9_names_the_hdu_and_quotes_the_file(shared, report):
    tab = shared
    choose(tab, "1")
    tab.select_option("#ccd-chosen", "CCD2")
    tab.keyboard.press("9")
    folder = report.parent.parent / "in"
    assert tab.locator("#ds9-command").input_value() == f"ds9 '{folder}/exposure_001.fits[2]' -zscale"
    choose(tab, "2")
    tab.select_option("#ccd-chosen", "CCD1")
    tab.click("#ds9")
    expected = f"ds9 '{folder}/it'\\''s 2.fits[1]' -zscale -regions 2_CCD1.reg"
    assert tab.locator("#ds9-command").input_value() == expected
    choose(tab, "3")
    tab.click("#ds9")
    assert "no command" in tab.locator("#tip").inner_text()
    assert not tab.locator("#ds9-command").is_visible()


def test_pixels_are_where_the_picture_shows_them(shared):
    """Against the function that turns the pictures, for each way in which a CCD can be turned."""
    tab = shared
    rows, columns = 5, 7
    for turn in Turn:
        for upside_down in (0, 1):
            image = np.zeros((rows, columns), dtype=np.float32)
            image[3, 1] = 1.0  # the pixel (2, 4) when counted from 1
            shown = turned_image(image, turn)
            shown = shown[::-1, ::-1] if upside_down else shown
            ((v, u),) = np.argwhere(shown > 0)
            height, width = shown.shape
            frame = f"[{rows}, {columns}, {int(turn)}, {upside_down}]"
            pixel = tab.evaluate(f"toCcd({frame}, {(u + 0.5) / width}, {(v + 0.5) / height})")
            assert pixel == pytest.approx([2, 4])
            detail = f"{{frames: {{N: {frame}}}, boxes: {{N: [10, 20, {width}, {height}]}}, size: [100, 100]}}"
            assert tab.evaluate(f"toPicture({detail}, 'N', 2, 4)") == pytest.approx([10 + u + 0.5, 80 - v - 0.5])
    # An image with overscan between its amplifiers: two parts of 100 x 50 pixels, which begin in columns 10 and 140
    # of the file, two rows up.
    layout = "[[0, 0, 100, 50, 10, 2], [100, 0, 100, 50, 140, 2]]"
    for pixel, in_file in (([1, 1], [11, 3]), ([100, 50], [110, 52]), ([101, 1], [141, 3]), ([200, 7], [240, 9])):
        assert tab.evaluate(f"toFile({layout}, {pixel[0]}, {pixel[1]})") == in_file
        assert tab.evaluate(f"fromFile({layout}, {in_file[0]}, {in_file[1]})") == pixel
    assert tab.evaluate(f"fromFile({layout}, 120, 9)") is None
    assert tab.evaluate("toFile([], 3, 4)") == [3, 4]
