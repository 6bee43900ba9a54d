"""The served report: which requests are answered, and with what."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.errors import OutputError
from gpuanom.report import fullsize, serve
from gpuanom.report.fullsize import Limits, grey, png, usual_limits
from gpuanom.review.opened import open_night
from tests import nights
from tests.report.served import ask, ask_ccd, picture, serving
from tests.test_cli import run

pytest.importorskip("PIL")


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
     "/etc/passwd", "http://127.0.0.1/", "/.", "/labels.csv", "/report/", "/..\\report.html", "/%5c..%5creport.html",
     "/%00", "/ccd%00", "/..%2freport.html", "/./ccd"],
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
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert int(headers["Content-Length"]) == len(content)
    text, plain = content.decode("ascii"), (night / "report.html").read_text(encoding="ascii")
    assert "connect-src 'self'; " in text
    assert "connect-src" not in plain
    assert "/ccd?" in text
    assert "/ccd?" not in plain
    data = re.compile(r'<script type="application/json".*</script>', re.DOTALL)
    assert data.search(text).group().split("<script>")[0] == data.search(plain).group().split("<script>")[0]


def test_a_page_of_another_version_or_none_is_one_line(server, night, tmp_path):
    shutil.copytree(night, tmp_path / "night")
    with serving(replace(server.night, folder=tmp_path / "night")) as server:
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
        os.mkfifo(path)  # is not waited for
        assert b"was not written by this version" in ask(server)[2]


def test_a_page_that_is_replaced_is_sent_as_it_was(server, night, monkeypatch):
    monkeypatch.setattr(serve, "_PART", 1000)
    whole = ask(server)[2]
    with serve.opened_page(server.night, night / "report.html") as (size, parts):
        first = next(parts)
        (night / "report.html").rename(night / "before.html")
        (night / "report.html").write_text("another page")
        sent = first + b"".join(parts)
    (night / "before.html").replace(night / "report.html")
    assert sent == whole
    assert size == len(whole)


@pytest.mark.parametrize("stretch", ["asinh", "linear"])
def test_the_picture_is_the_ccd_with_the_stretch(server, night, stretch):
    status, headers, content = ask_ccd(server, stretch=stretch, low="990.5", high="1.2e3")
    assert status == 200
    with fits.open(night.parent / "in" / "exposure_001.fits") as hdus:
        pixels = hdus["CCD2"].data.astype(np.float64)
    ny, nx = pixels.shape
    assert headers["Gpuanom-Size"] == f"{nx} {ny} 4096"
    assert headers["Gpuanom-Limits"] == "990.5 1200"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    share = np.clip((pixels - 990.5) / (1200 - 990.5), 0, 1)
    share = share if stretch == "linear" else np.arcsinh(10 * share) / np.arcsinh(10)
    # Half a grey level of rounding, and float32.
    np.testing.assert_allclose(picture(content), 255 * share, atol=0.51)


def test_the_usual_limits_are_those_of_zscale(server):
    headers = ask_ccd(server, stretch="linear")[1]
    low, high = map(float, headers["Gpuanom-Limits"].split())
    assert 900 < low < 1000 < high < 1200
    assert float(ask_ccd(server)[1]["Gpuanom-Limits"].split()[1]) >= high


def test_limits_are_given_with_all_their_digits(server):
    """The other parts of a CCD are asked for with the limits of the first part: they must not become equal."""
    query = {"low": "1000000.0625", "high": "1000000.125"}
    status, headers, _ = ask_ccd(server, **query)
    assert status == 200
    assert [float(v) for v in headers["Gpuanom-Limits"].split()] == [1000000.0625, 1000000.125]


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
    # Limits whose difference is 0 in float32.
    assert grey(image, "asinh", Limits(0.0, 1e-60)).tolist() == [[0, 255, 0, 255, 0]]


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


def test_an_unforeseen_error_is_one_line_for_both_sides(server, monkeypatch):
    def fail(*_):
        raise ValueError("one\ntwo")

    with serving(server.night, ["a request failed: ValueError: one two"]) as server:
        monkeypatch.setattr(server.images, "image", fail)
        status, _, content = ask_ccd(server)
    assert status == 500
    assert content == b"an unforeseen error: the terminal of gpuanom report --serve names the error\n"


def test_slow_requests_are_ended(server, monkeypatch):
    monkeypatch.setattr(serve, "ASKING", 0.05)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as talk:
        talk.sendall(b"GET /?tok")
        assert talk.recv(100) in (b"", b"HTTP/1.0 40")  # within 20 seconds, though nothing more is sent
    monkeypatch.undo()
    assert ask(server)[0] == 200


def test_many_connections_are_not_all_answered(server, monkeypatch):
    monkeypatch.setattr(serve, "MOST_CONNECTIONS", 3)
    with serving(server.night) as server:
        idle = [socket.create_connection(("127.0.0.1", server.server_port), timeout=20) for _ in range(3)]
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(server)
        for talk in idle:
            talk.close()
        while len(server._asking) > 0:
            pass
        assert ask(server)[0] == 200
        assert ask_ccd(server)[0] == 200


def test_files_that_are_gone_or_damaged_are_one_line(night, tmp_path):
    shutil.copytree(night.parent, tmp_path / "all")
    moved = {night.parent / "in": tmp_path / "all" / "in"}
    with serving(open_night(night, relocate=moved)) as server:
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


def test_few_ccds_are_kept_in_memory(server, monkeypatch):
    opened, real = [], fullsize.open_ccds
    monkeypatch.setattr(fullsize, "open_ccds", lambda *a: opened.append(a[0].exposure) or real(*a))
    n_bytes = 4 * nights.SHAPE[0] * nights.SHAPE[1]
    images = fullsize.CcdImages(server.night, most_bytes=2 * n_bytes)
    for exposure in ("1", "2", "1", "3", "1", "2"):
        images.image(("TESTCAM", exposure), "CCD1")
    assert opened == ["1", "2", "3", "2"]
    # A CCD that is larger than the limit is kept alone.
    images = fullsize.CcdImages(server.night, most_bytes=1)
    for exposure in ("1", "1", "2", "1"):
        images.image(("TESTCAM", exposure), "CCD1")
    assert opened[4:] == ["1", "2", "1"]
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
