"""A browser for the tests of the report, and a night that is served."""

from __future__ import annotations

import os
import shutil

import pytest

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.report import page
from gpuanom.review.opened import open_night
from tests import nights
from tests.report.served import SETTINGS, serving

CHROMIUM = os.environ.get("GPUANOM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """A scored night with its page; tests leave it as it is."""
    pytest.importorskip("PIL")
    folder = tmp_path_factory.mktemp("serve")
    nights.night(folder / "in", exposures=3)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu", formats="csv")
    page.write_report(open_night(folder / "night"), folder / "night" / "report.html", select("cpu"))
    return folder / "night"


@pytest.fixture(scope="module")
def server(night):
    with serving(open_night(night)) as server:
        yield server


@pytest.fixture(scope="package")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright (pip install playwright) to drive it with"
    )
    if not CHROMIUM:
        pytest.skip("no chromium (apt-get install chromium, or name one in GPUANOM_CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page without a network; in the end the page must have logged nothing and requested nothing."""
    yield from visits(browser)


@pytest.fixture(scope="module")
def visit_for_several(browser):
    """The same for a page that several tests share."""
    yield from visits(browser)


def visits(browser):
    contexts, said = [], []

    def open_page(path, width=1366, height=768):
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else said.append(r.url))
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
