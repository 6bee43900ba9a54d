"""The report as a file: its contents, what it must not contain, and nights that are hard to show."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.errors import OutputError
from gpuanom.records import Turn
from gpuanom.report import blocks, page, pictures
from gpuanom.review import quicklook as looking
from gpuanom.review.opened import open_night
from gpuanom.review.quicklook import Look, look, quick_look, turned_image
from gpuanom.settings import Settings
from tests import naive, nights, sky
from tests.report import made
from tests.test_cli import run

pytest.importorskip("PIL")

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


class _Blocks(html.parser.HTMLParser):
    """The data blocks of a page, all of its tags, and everything that looks as if a browser would run or fetch it."""

    def __init__(self):
        super().__init__()
        self.blocks, self.tags, self.open = {}, [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.open = dict(attrs).get("id", "")

    def handle_endtag(self, tag):
        if tag == "script":
            self.open = None

    def handle_data(self, data):
        if self.open:
            self.blocks[self.open] = json.loads(data)


def parse(path):
    reader = _Blocks()
    reader.feed(path.read_text(encoding="ascii"))
    return reader


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    nights.night(folder / "in", exposures=5, odd=2)
    (folder / "in" / "bad.fits").write_text("no FITS")
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder


def write(folder, output, **options):
    return page.write_report(open_night(folder), output, select("cpu"), **options)


def test_the_page_holds_the_night(scored, tmp_path):
    assert write(scored / "night", tmp_path / "r.html", cache=False) == []
    blocks = parse(tmp_path / "r.html").blocks
    night = blocks["night"]
    assert len(night["columns"]["exposure"]) == 6
    assert night["pictured"] == [0, 1, 2, 3, 4]
    rows = open_night(scored / "night").exposures
    assert night["columns"]["exposure"] == [row["exposure"] for row in rows]
    for i in night["pictured"]:
        detail = blocks[f"d{i}"]
        assert set(detail["boxes"]) == {"CCD1", "CCD2"}
        assert sum(night["counts"][i][0]) + rows[i]["n_without_orientation"] == rows[i]["n_sources"]
        for columns, n_rows, *lists in detail["stars"].values():
            assert {len(values) for values in lists} == {columns * n_rows}
            assert sum(lists[3]) <= rows[i]["n_stars"]
        assert detail["missing"] == []
    assert night["files"][0][0][1].startswith("file:///")


def test_pictures_are_pictures_of_the_sky(scored, tmp_path):
    from PIL import Image

    write(scored / "night", tmp_path / "r.html", cache=False)
    detail = parse(tmp_path / "r.html").blocks["d0"]
    image = Image.open(io.BytesIO(base64.b64decode(detail["mosaic"].partition(",")[2])))
    assert image.size == tuple(detail["size"])
    assert image.size[0] >= 2 * nights.SHAPE[1]  # a small focal plane must not be binned away
    assert np.asarray(image.convert("L")).std() > 5


def test_nothing_that_could_run_or_be_fetched_but_its_own(scored, tmp_path):
    folder = made.night(tmp_path / "n", len(made.HOSTILE), names=made.HOSTILE, bands=(made.HOSTILE[0],))
    write(folder, tmp_path / "r.html", top=3)
    found = parse(tmp_path / "r.html")
    assert sorted(found.blocks["night"]["columns"]["exposure"]) == sorted(made.HOSTILE)
    scripts = [attrs for tag, attrs in found.tags if tag == "script"]
    assert [attrs for attrs in scripts if attrs.get("type") != "application/json"] == [{}]
    assert not [tag for tag, _ in found.tags if tag in ("img", "iframe", "object", "link", "base", "form", "svg")]
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on") or name in ("style", "src")]
    text = (tmp_path / "r.html").read_text(encoding="ascii")
    assert "window.hacked=1>" not in text
    policy = next(attrs["content"] for tag, attrs in found.tags if "content" in attrs)
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL).group(1)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_the_script_makes_no_markup_and_asks_no_one():
    script = "".join(blocks.part(name) for name in page.SCRIPTS)
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch(", "XMLHttp", "http:"):
        assert word not in script.replace('"http://www.w3.org/2000/svg"', "")
    assert max(len(blocks.part(name).splitlines()) for name in page.SCRIPTS) <= 400  # short enough to read at once


def test_files_that_moved(scored, tmp_path):
    shutil.copytree(scored / "night", tmp_path / "night")
    shutil.copytree(scored / "in", tmp_path / "in")
    gpuanom.score(tmp_path / "in", tmp_path / "moved", settings=SETTINGS, device="cpu")
    shutil.rmtree(tmp_path / "in")
    troubles = write(tmp_path / "moved", tmp_path / "r.html")
    assert len(troubles) == 5
    blocks = parse(tmp_path / "r.html").blocks
    assert blocks["night"]["pictured"] == []
    detail = blocks["d0"]
    assert detail["mosaic"] == ""
    assert "exposure_" in detail["missing"][0]
    assert set(detail["boxes"]) == {"CCD1", "CCD2"}


def test_pictures_are_kept_and_used_again(scored, tmp_path, monkeypatch):
    folder = tmp_path / "night"
    shutil.copytree(scored / "night", folder)
    write(folder, tmp_path / "one.html")
    kept = sorted((folder / page.CACHE).iterdir())
    assert len(kept) == 5
    kept[0].write_text("damaged")
    calls = []
    monkeypatch.setattr(pictures, "look", lambda *a, **k: calls.append(a) or look(*a, **k))
    write(folder, tmp_path / "two.html")
    assert len(calls) == 1
    same = [re.sub(r'"made":"[^"]*"', "", (tmp_path / name).read_text()) for name in ("one.html", "two.html")]
    assert same[0] == same[1]


def test_what_was_killed_goes_on(scored, tmp_path):
    folder = tmp_path / "night"
    shutil.copytree(scored / "night", folder)

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(folder, tmp_path / "r.html", progress=stop)
    assert len(list((folder / page.CACHE).iterdir())) == 2
    assert list(tmp_path.glob("*.html")) == list(tmp_path.glob(".*.partial")) == []


def test_a_ccd_that_cannot_be_shown_costs_no_other(scored, tmp_path, monkeypatch):
    calls = []

    def sometimes(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError("no room")
        return quick_look(*arguments)

    monkeypatch.setattr(looking, "quick_look", sometimes)
    (trouble,) = write(scored / "night", tmp_path / "r.html", cache=False)
    assert "cannot be shown, MemoryError: no room" in trouble
    assert parse(tmp_path / "r.html").blocks["night"]["pictured"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n", [0, 1])
def test_nights_of_next_to_nothing(tmp_path, n):
    folder = made.night(tmp_path / "n", n)
    write(folder, tmp_path / "r.html")
    night = parse(tmp_path / "r.html").blocks["night"]
    assert len(night["columns"]["exposure"]) == n
    assert night["columns"]["status"] == ["alone"] * n


def test_only_the_top_has_pictures(scored, tmp_path):
    write(scored / "night", tmp_path / "r.html", top=2, cache=False)
    found = parse(tmp_path / "r.html").blocks
    rows = open_night(scored / "night").exposures
    last = max(range(5), key=lambda i: (rows[i]["date_obs"], rows[i]["exposure"]))
    assert last > 1
    assert found["night"]["latest"] == last
    assert found["night"]["detailed"] == [0, 1, last]  # the night's last exposure has a picture too
    assert {f"d{i}" for i in range(5)} & found.keys() == {"d0", "d1", f"d{last}"}


def test_many_pictures_have_less_room_each(scored, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "PAGE_BYTES", 5 * (page.DETAIL_BYTES + 14_000))
    write(scored / "night", tmp_path / "r.html", cache=False)
    found = parse(tmp_path / "r.html").blocks
    sizes = [len(found[f"d{i}"]["mosaic"]) + len(found[f"d{i}"]["stamps"]) for i in range(5)]
    assert max(sizes) <= 14_000


def test_labels_that_are_kept_are_in_the_page(scored, tmp_path, capfd):
    folder = tmp_path / "night"
    shutil.copytree(scored / "night", folder)
    (folder / "labels.csv").write_text(
        "exposure,kind,label,analyst\n2,source,prominent,<b>ann</b>\n99,source,normal,x\n"
    )
    code, out, err = run(capfd, "report", folder, "--top", 1)
    assert (code, err) == (0, "")
    assert "6 exposures" in out
    (label,) = parse(folder / "report.html").blocks["night"]["labels"]
    assert (label["exposure"], label["camera"], label["analyst"]) == ("2", "TESTCAM", "<b>ann</b>")


def test_a_page_that_cannot_be_written(scored, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(scored / "night", tmp_path / "file" / "r.html", cache=False)
    code, _, err = run(capfd, "report", tmp_path)
    assert code == 2
    assert "no such store" in err


def test_quick_looks_are_binned_means_of_the_smoothed_image():
    rng = np.random.default_rng(3)
    image = rng.normal(100, 5, (150, 130)).astype(np.float32)
    size = Settings().smooth_size
    for binning in (1, 4, 16):
        ours = quick_look(image, size, binning)
        expected = naive.binned(naive.smooth(image, smooth_size=size), binning)
        assert ours.shape == expected.shape
        inside = (slice(10 // binning + 1, -(10 // binning + 2)),) * 2
        # float32 sums of a hundred pixels and more: a few units of 6e-8 each.
        np.testing.assert_allclose(ours[inside], expected[inside], rtol=1e-5)
    image[40:60, 40:60] = np.nan
    ours = quick_look(image, 10, 4)
    assert np.isnan(ours[12, 12])
    assert np.isfinite(ours[:8]).all()
    assert np.isnan(quick_look(np.full((20, 20), np.nan, dtype=np.float32), 10, 4)).all()


@pytest.mark.parametrize("turn", list(Turn))
def test_pictures_turn_as_orientations_do(turn):
    from gpuanom.backends.cpu.histogram import turned

    y, x = np.mgrid[-20:21, -20:21]
    theta = np.radians(25.0)
    bar = np.exp(-((-x * np.sin(theta) + y * np.cos(theta)) ** 2) / 8 - (x**2 + y**2) / 200).astype(np.float32)
    image = turned_image(bar, turn)
    q = [(image * a).sum() for a in (x * x, y * y, x * y)]
    found = 0.5 * np.arctan2(2 * q[2], q[0] - q[1])
    expected = turned(np.array([theta]), np.array([int(turn)]))[0]
    assert np.degrees(found) == pytest.approx(np.degrees(expected), abs=0.5)


def test_whiskers_lie_along_the_stars(tmp_path):
    image = sky.make(500, 400, sky.stars(30, seed=3, degrees=30.0, ratio=0.6, margin=40), noise=4.0, seed=3)
    plane = fits.ImageHDU(np.array(image), name="CCD1")
    plane.header["SATURATE"] = 60000.0
    hdus = nights.hdus(1, ccds=0)
    hdus.append(plane)
    hdus.writeto(tmp_path / "one.fits")
    gpuanom.score(tmp_path / "one.fits", tmp_path / "night", settings=SETTINGS, device="cpu")
    night = open_night(tmp_path / "night")
    (found,) = night.found.values()
    made_ = pictures.pictures(found, ["CCD1"], night.settings, select("cpu"), most_bytes=100_000)
    assert made_.complete
    (row,) = night.ccds()["TESTCAM", "1"]
    columns, rows, fwhm, e1, e2, n = made_.stars["CCD1"]
    assert sum(n) <= row["n_stars"]
    assert max(n) >= 3
    for k in (k for k in range(columns * rows) if e1[k] is not None):
        # Axis ratio 0.6: e = (1 - 0.36) / (1 + 0.36) = 0.47. The error of a star is about 0.01.
        assert np.degrees(0.5 * np.arctan2(e2[k], e1[k])) == pytest.approx(30, abs=2)
        assert np.hypot(e1[k], e2[k]) == pytest.approx(0.47, abs=0.05)
        assert fwhm[k] == pytest.approx(row["fwhm"], abs=0.3)
    assert 0 < made_.star_scatter < 0.05


def test_several_threads_see_the_same(scored):
    night = open_night(scored / "night")
    exposure = night.found["TESTCAM", "2"]
    one, three = (list(look(exposure, night.settings, select("cpu"), threads=n, stamps=1)) for n in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert isinstance(a, Look)
        assert a.name == b.name
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.sources.stamps, b.sources.stamps)
