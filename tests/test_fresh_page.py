"""The page that a watch keeps fresh: made as exposures come, made once more at the end, never in the watch's way."""

from __future__ import annotations

import re
import shutil

import pytest

import gpuanom
from gpuanom.errors import GpuanomError, OutputError
from gpuanom.nights import fresh_page
from tests import nights
from tests.report import made
from tests.report.test_page import parse
from tests.test_cli import run
from tests.test_watch import once, until, watched

pytest.importorskip("PIL")


def night_of(folder):
    return parse(folder / "report.html").blocks["night"]


def text_of(path):
    return path.read_text() if path.exists() else ""


def test_the_page_reloads_itself_until_the_watch_ends(tmp_path):
    folder, said = made.night(tmp_path / "n", 3), []
    page = fresh_page.page_of(folder, 0, 1, said.append)
    page.refresh(idle=True)
    assert night_of(folder)["reload"] == fresh_page.RELOAD
    page.finish()
    assert night_of(folder)["reload"] is None
    assert said == [f"page: {folder / 'report.html'}"]


@pytest.mark.proof
def test_the_page_follows_the_night_and_stops_reloading_at_its_end(tmp_path):
    nights.night(tmp_path / "made", exposures=3, ccds=1)
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"

    def arrive(i):
        shutil.copy(tmp_path / "made" / f"exposure_00{i}.fits", tmp_path / "in" / ".part")
        (tmp_path / "in" / ".part").rename(tmp_path / "in" / f"exposure_00{i}.fits")

    with watched(tmp_path / "in", out, "--report", "--report-top", "1", settle=0.0) as process:
        for i in (1, 3):
            arrive(i)
            until(lambda i=i: f"exposure_00{i}.fits" in text_of(out / "report.html"))
            found = night_of(out)
            assert found["reload"] == fresh_page.RELOAD
            # The exposure that came last is the last one by its time, and has a picture though --report-top is 1.
            assert found["columns"]["exposure"][found["latest"]] == str(i)
            assert found["latest"] in found["pictured"]
        arrive(2)
        until(lambda: len(process.lines) == 3)
    found = night_of(out)
    assert found["reload"] is None
    assert sorted(found["columns"]["exposure"]) == ["1", "2", "3"]
    assert found["columns"]["exposure"][found["latest"]] == "3"
    assert sum(line == f"page: {out / 'report.html'}\n" for line in process.said) == 1


def test_without_the_option_there_is_no_page(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    once(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "report.html").exists()
    with pytest.raises(GpuanomError, match="report is -1"):
        once(tmp_path / "in", tmp_path / "out", report=-1)


def test_a_page_that_cannot_be_made_is_told_once_and_costs_nothing(tmp_path, monkeypatch):
    nights.night(tmp_path / "in", exposures=3, ccds=1)
    calls = []

    def fail(*_, **__):
        calls.append(1)
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(fresh_page, "write_report", fail)
    told, _, said = once(tmp_path / "in", tmp_path / "out", report=2)
    assert len(told) == 3
    assert len(calls) >= 2
    assert [line for line in said if "page" in line] == ["the page cannot be made: ZeroDivisionError: a b; tried again"]


def test_a_fits_file_of_that_name_is_kept(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=1)
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "in" / "exposure_001.fits", tmp_path / "out" / "report.html")
    before = (tmp_path / "out" / "report.html").read_bytes()
    gpuanom.score(tmp_path / "in", tmp_path / "out", device="cpu", threads=1)
    code, _, err = run(capfd, "watch", tmp_path / "in", "-o", tmp_path / "out", "--once", "--report")
    assert code == 2
    assert re.fullmatch(r"gpuanom: .*report.html: is a FITS file and is not replaced .*\n", err.splitlines(True)[-1])
    assert (tmp_path / "out" / "report.html").read_bytes() == before


def test_pages_leave_time_for_measurements(tmp_path, monkeypatch):
    written, now = [], [0.0]
    monkeypatch.setattr(fresh_page, "open_night", lambda folder: folder)
    monkeypatch.setattr(fresh_page.time, "monotonic", lambda: now[0])

    def write(*_, **__):
        written.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(fresh_page, "write_report", write)
    said = []
    page = fresh_page.FreshPage(tmp_path, 5, 1, said.append)
    for _ in range(60):  # exposures wait all the time, and each takes a second
        page.changed()
        page.refresh(idle=False)
        now[0] += 1.0
    assert written == [0.0, 22.0, 44.0]  # 2 of 22 seconds
    page.refresh(idle=True)
    assert len(written) == 4
    page.refresh(idle=True)  # nothing has changed
    assert len(written) == 4

    def fail(*_, **__):
        written.append(now[0])
        raise OutputError("no room")

    monkeypatch.setattr(fresh_page, "write_report", fail)
    page.changed()
    for _ in range(60):
        page.refresh(idle=True)  # tried again after a minute only
        now[0] += 1.0
    assert len(written) == 5
    page.refresh(idle=True)
    assert len(written) == 6
    assert said == [f"page: {tmp_path / 'report.html'}", "the page cannot be made: no room; tried again"]
