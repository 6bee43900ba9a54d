"""The served report: who is answered, with what, and the viewer of CCDs in a real browser."""

from __future__ import annotations

import http.client
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.errors import OutputError
from gpuanom.report import fullsize, page, serve
from gpuanom.report.fullsize import Limits, grey, png, usual_limits
from gpuanom.review import labels, marked
from gpuanom.review.opened import open_night
from tests import nights
from tests.test_cli import run

pytest.importorskip("PIL")

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    nights.night(folder / "in", exposures=3)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    page.write_report(open_night(folder / "night"), folder / "night" / "report.html", select("cpu"))
    return folder / "night"


@contextmanager
def serving(folder):
    said = []
    with serve.Served(open_night(folder), folder / "report.html", 0, said.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    assert said == []


@pytest.fixture(scope="module")
def server(night):
    with serving(night) as server:
        yield server


def ask(server, path="/", *, token=None, method="GET", host=None, **query):
    """The status, the headers and the content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    given = {"token": server.token if token is None else token, **query}
    try:
        connection.putrequest(method, f"{path}?{urlencode(given)}", skip_host=True)
        for name in [f"127.0.0.1:{server.server_port}"] if host is None else host:
            connection.putheader("Host", name)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask_ccd(server, **query):
    return ask(server, "/ccd", **{"camera": "TESTCAM", "exposure": "1", "ccd": "CCD2", **query})


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", server.address)
    with pytest.raises(OutputError, match=f"port {server.server_port} of 127.0.0.1: .* \\(--port"):
        serve.Served(server.night, server.page, server.server_port)


@pytest.mark.parametrize("path", ["/", "/ccd", "/report.html", "/favicon.ico"])
def test_without_the_token_nothing_is_answered(server, path):
    for token in ("", "x", server.token[:-1], f"{server.token}x", "\u00e9"):
        status, headers, content = ask(server, path, token=token)
        assert status == 403
        assert b"token" in content
        assert len(content) < 200
        assert headers["Content-Type"].startswith("text/plain")
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", f"{path}?token={server.token}&token={server.token}")
    assert connection.getresponse().status == 403
    connection.close()


def test_another_host_name_is_refused(server):
    port = server.server_port
    assert ask(server, host=[f"localhost:{port}"])[0] == 200
    two = [f"127.0.0.1:{port}", "evil.example"]
    for host in ([f"evil.example:{port}"], ["127.0.0.1"], two, [], [""], ["127.0.0.1:1"]):
        status, _, content = ask(server, host=host)
        assert status == 403
        assert b"alone" in content


@pytest.mark.parametrize(
    "path",
    ["/report.html", "/../report.html", "/%2e%2e/measurements.sqlite", "//", "/ccd/", "/ccd/../measurements.sqlite",
     "/etc/passwd", "http://127.0.0.1/", "/.", "/labels.csv", "/report/"],
)  # fmt: skip
def test_no_other_path_is_answered(server, path):
    status, _, content = ask(server, path)
    # Python's server takes several slashes at the beginning for one.
    assert (status, content) == (404, b"there is nothing at this address\n") or (path == "//" and status == 200)


def test_other_methods_are_refused_in_one_line(server):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "<script>"):
        status, headers, content = ask(server, method=method)
        assert status == 501
        assert content == b"Not Implemented\n"
        assert "Python" not in headers["Server"]


def test_the_page_may_ask_its_server_and_nobody_else(server, night):
    status, headers, content = ask(server)
    assert status == 200
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    text, plain = content.decode("ascii"), (night / "report.html").read_text(encoding="ascii")
    assert "connect-src 'self'; " in text
    assert "connect-src" not in plain
    assert "/ccd?" in text
    assert "/ccd?" not in plain
    data = re.compile(r'<script type="application/json".*</script>', re.DOTALL)
    assert data.search(text).group().split("<script>")[0] == data.search(plain).group().split("<script>")[0]


def test_a_page_of_another_version_or_none_is_one_line(night, tmp_path):
    shutil.copytree(night, tmp_path / "night")
    with serving(tmp_path / "night") as server:
        path = tmp_path / "night" / "report.html"
        path.write_text(path.read_text().replace("Contact sheet", "Another version"))
        status, _, content = ask(server)
        assert status == 503
        assert b"was not written by this version of gpuanom" in content
        path.unlink()
        status, _, content = ask(server)
        assert status == 503
        assert content.count(b"\n") == 1
        assert b"cannot be read: No such file" in content


def picture(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))[::-1]


@pytest.mark.parametrize("stretch", ["asinh", "linear"])
def test_the_picture_is_the_ccd_with_the_stretch(server, night, stretch):
    status, headers, content = ask_ccd(server, stretch=stretch, low="990.5", high="1.2e3")
    assert status == 200
    with fits.open(night.parent / "in" / "exposure_001.fits") as hdus:
        pixels = hdus["CCD2"].data.astype(np.float64)
    ny, nx = pixels.shape
    assert headers["Gpuanom-Size"] == f"{nx} {ny} 4096"
    assert headers["Gpuanom-Limits"] == "990.5 1200"
    share = np.clip((pixels - 990.5) / (1200 - 990.5), 0, 1)
    share = share if stretch == "linear" else np.arcsinh(10 * share) / np.arcsinh(10)
    # Half a grey level of rounding, and float32.
    np.testing.assert_allclose(picture(content), 255 * share, atol=0.51)


def test_the_usual_limits_are_those_of_zscale(server):
    headers = ask_ccd(server, stretch="linear")[1]
    low, high = map(float, headers["Gpuanom-Limits"].split())
    assert 900 < low < 1000 < high < 1200
    assert float(ask_ccd(server)[1]["Gpuanom-Limits"].split()[1]) >= high


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf, -3e38])
def test_limits_of_images_of_one_value(value):
    image = np.full((30, 20), value, dtype=np.float32)
    for stretch in ("asinh", "linear"):
        low, high = usual_limits(image, stretch)
        assert low < high
        assert grey(image, stretch, Limits(low, high)).shape == (30, 20)


def test_pixels_that_are_no_numbers_are_black():
    image = np.array([[np.nan, np.inf, -np.inf, 1.0, 0.0]], dtype=np.float32)
    assert grey(image, "linear", Limits(0.0, 1.0)).tolist() == [[0, 255, 0, 255, 0]]


def test_parts_of_a_large_ccd(server, monkeypatch):
    monkeypatch.setattr(serve, "TILE", 100)
    options = {"low": 900, "high": 1100, "stretch": "linear"}
    ny, nx = nights.SHAPE
    rows = [
        np.hstack([picture(ask_ccd(server, x=x, y=y, **options)[2]) for x in range(0, nx, 100)])
        for y in range(0, ny, 100)
    ]
    monkeypatch.undo()
    np.testing.assert_array_equal(np.vstack(rows), picture(ask_ccd(server, **options)[2]))


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ({"exposure": "9"}, 404, "no such exposure"),
        ({"camera": "../x"}, 404, "no such exposure"),
        ({"exposure": "1\x00"}, 404, "no such exposure"),
        ({"ccd": "CCD9"}, 503, "no CCD CCD9 in the files of exposure 1"),
        ({"ccd": "<b>\n\u202e\x1b[31m"}, 503, "no CCD <b>"),
        ({"stretch": "log"}, 400, "none of asinh, linear"),
        ({"x": "-1"}, 400, "x is no number"),
        ({"y": "1e3"}, 400, "y is no number"),
        ({"x": "99999"}, 400, "beyond the CCD"),
        ({"low": "1"}, 400, "no numbers"),
        ({"low": "nan", "high": "1"}, 400, "not above"),
        ({"low": "2", "high": "1"}, 400, "not above"),
        ({"low": "-1e300", "high": "1e300"}, 400, "not above"),
    ],
)
def test_impossible_wishes_are_one_line(server, query, status, word):
    found, headers, content = ask_ccd(server, **query)
    assert found == status
    assert word in content.decode()
    assert content.count(b"\n") == 1
    assert b"\x1b" not in content
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_no_request_costs_nothing(server):
    end = b"\r\n\r\n"
    host = f"HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}".encode() + end
    for sent in (end, b"GET" + end, b"\xff\xfe\x00" * 99 + end, b"GET /" + b"a" * 70_000 + b" " + host,
                 b"GET /?token=%ff " + host, b"GET /?" + b"b=1&" * 50 + b" " + host):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as talk:
            talk.sendall(sent)
            talk.shutdown(socket.SHUT_WR)
            answer = b""
            while more := talk.recv(65536):
                answer += more
        assert b"Traceback" not in answer
        assert b"aaaa" not in answer
    assert ask(server)[0] == 200


def test_files_that_are_gone_or_damaged_are_one_line(night, tmp_path):
    shutil.copytree(night.parent, tmp_path / "all")
    gpuanom.score(tmp_path / "all" / "in", tmp_path / "all" / "night2", settings=SETTINGS, device="cpu")
    folder = tmp_path / "all" / "night2"
    with serving(folder) as server:
        assert ask_ccd(server)[0] == 200
        (tmp_path / "all" / "in" / "exposure_002.fits").unlink()
        status, _, content = ask_ccd(server, exposure="2")
        assert status == 503
        assert b"exposure_002.fits" in content
        assert content.count(b"\n") == 1
        path = tmp_path / "all" / "in" / "exposure_003.fits"
        path.write_bytes(path.read_bytes()[:-100_000])
        status, _, content = ask_ccd(server, exposure="3")
        assert status == 503
        assert b"exposure_003.fits" in content
        assert content.count(b"\n") == 1
        path.write_bytes(b"no FITS")
        status, _, content = ask_ccd(server, exposure="3", ccd="CCD1")
        assert status == 503
        assert content.count(b"\n") == 1


def test_few_ccds_are_kept_in_memory(night, monkeypatch):
    images = fullsize.CcdImages(open_night(night), keep=2)
    opened, real = [], fullsize.open_ccds
    monkeypatch.setattr(fullsize, "open_ccds", lambda *a: opened.append(a[0].exposure) or real(*a))
    for exposure in ("1", "2", "1", "3", "1", "2"):
        images.image(("TESTCAM", exposure), "CCD1")
    assert opened == ["1", "2", "3", "2"]
    assert png(np.zeros((2, 3), dtype=np.uint8)).startswith(b"\x89PNG")


def test_the_command_prints_the_address(night, capfd, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(serve.Served, "serve_forever", interrupted)
    code, out, err = run(capfd, "report", night, "--serve", "--port", 0, "-q")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"serving .*report.html at http://127.0.0.1:\d+/\?token=[\w-]{32} until Ctrl-C\n", out)
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, out, err = run(capfd, "report", night, "--serve", "--port", other.getsockname()[1], "-q")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"gpuanom: port \d+ of 127.0.0.1: .* \(--port chooses another; 0 a free one\)\n", err)


@pytest.mark.proof
def test_the_command_serves_until_it_is_interrupted(night):
    command = [sys.executable, "-m", "gpuanom", "report", str(night), "--serve", "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            port, token = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+) until Ctrl-C", line).groups()
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
            connection.request("GET", f"/?token={token}")
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


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
def test_a_ccd_is_shown_moved_zoomed_and_marked(open_tab, server, width, height):
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


def test_a_click_on_a_ccd_opens_it_there(open_tab, server):
    tab = open_tab(server.address)
    area = tab.locator("#plane svg").bounding_box()
    tab.mouse.click(area["x"] + 0.25 * area["width"], area["y"] + 0.5 * area["height"])
    tab.locator("#viewer-said", has_text="pixels").wait_for()
    ny, nx = nights.SHAPE
    # The two CCDs stand side by side.
    assert tab.evaluate("shownCcd.name") == "CCD1"
    assert tab.evaluate("shownCcd.centre") == pytest.approx([nx / 2, ny / 2], abs=0.05 * nx)


@pytest.mark.proof
def test_the_viewer_says_what_cannot_be_read(open_tab, night, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(night.parent / "in" / "exposure_001.fits", tmp_path / "in")
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    page.write_report(open_night(tmp_path / "night"), tmp_path / "night" / "report.html", select("cpu"))
    open_tab.expected += ["503", "ERR_CONNECTION_REFUSED"]
    with serving(tmp_path / "night") as server:
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
    page.write_report(open_night(tmp_path / "night"), tmp_path / "night" / "report.html", select("cpu"))
    with serving(tmp_path / "night") as server:
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
