"""The report served on this machine alone: the page, and any CCD at full resolution as a picture.

The server listens on 127.0.0.1. A request needs the token of the address that the command prints, which other users of
the machine and other pages of the browser do not know, and the name of this server in its Host header, so that no
foreign name can be made to lead here. Nothing but the page and the CCDs of the night can be asked for: no path of a
request ever becomes a path of a file.
"""

from __future__ import annotations

import hmac
import math
import secrets
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gpuanom.errors import InputError, OutputError, printable
from gpuanom.naming import path_text
from gpuanom.report.blocks import frame_of
from gpuanom.report.fullsize import STRETCHES, TILE, CcdImages, Limits, grey, png, usual_limits
from gpuanom.report.page import SCRIPTS, title_of
from gpuanom.review.opened import ScoredNight

HOST = "127.0.0.1"
PORT = 8770
"""The usual port. A browser keeps labels for each address, so that the port should stay the same."""

_SCRIPTS_SERVED = (*SCRIPTS[:-1], "viewer.js", SCRIPTS[-1])

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Served(ThreadingHTTPServer):
    """A server of a night's page, to be run by `serve_forever`.

    Parameters
    ----------
    night : ScoredNight
    page : Path
        The page that `gpuanom.report.page.write_report` wrote.
    port : int, optional
        0 chooses a free one.
    say : callable, optional
        Called with a line on an unforeseen error.

    Raises
    ------
    OutputError
        When the port cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, night: ScoredNight, page: Path, port: int = PORT, say: Callable[[str], None] = lambda _: None
    ) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(f"port {port} of {HOST}: {why} (--port chooses another; 0 a free one)") from None
        self.night, self.page = night, page
        self.images = CcdImages(night)
        self.token = secrets.token_urlsafe(24)
        self._say = say

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of the library
        """Tell an unforeseen error in one line; a browser that went away is no error."""
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError | socket.timeout):
            self._say(printable(f"a request failed: {type(error).__name__}: {error}"))


class _RefusedError(Exception):
    """A request that is not answered as it was meant to be: its status, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Served
    server_version, sys_version = "gpuanom", ""
    timeout = 60.0

    def do_GET(self) -> None:
        """Answer with the page or the picture of a CCD, or say in one line why not."""
        try:
            path, query = self._allowed()
            if path == "/":
                self._answer(
                    HTTPStatus.OK, "text/html; charset=utf-8", served_page(self.server.night, self.server.page)
                )
            elif path == "/ccd":
                picture, headers = self._ccd(query)
                self._answer(HTTPStatus.OK, "image/png", picture, headers)
            else:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except _RefusedError as refused:
            self._say(refused.status, refused.why)
        except (InputError, OutputError) as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except MemoryError:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "out of memory: this CCD is too large to be shown")

    def _allowed(self) -> tuple[str, dict[str, str]]:
        """The path and the query of a request that may be answered."""
        port = self.server.server_port
        names = (f"{HOST}:{port}", f"localhost:{port}")
        if self.headers.get_all("Host", []) not in [[name] for name in names]:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this server answers to {' and '.join(names)} alone")
        path, _, query = self.path.partition("?")
        try:
            found = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the address cannot be read") from None
        given = found.get("token", [])
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.server.token.encode()):
            why = "the token is missing or wrong: open the address that gpuanom report --serve printed last"
            raise _RefusedError(HTTPStatus.FORBIDDEN, why)
        return path, {name: values[-1] for name, values in found.items()}

    def _ccd(self, query: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        """A part of a CCD as a picture, with the size of the CCD and the limits of the stretch as headers."""
        stretch, x, y = query.get("stretch", "asinh"), _whole(query, "x"), _whole(query, "y")
        if stretch not in STRETCHES:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"the stretch is none of {', '.join(STRETCHES)}")
        key, name = (query.get("camera", ""), query.get("exposure", "")), query.get("ccd", "")
        if key not in self.server.night.found:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "this night has no such exposure")
        limits = _limits(query)
        image = self.server.images.image(key, name)
        ny, nx = image.shape
        if x >= nx or y >= ny:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "this part lies beyond the CCD")
        limits = limits or usual_limits(image, stretch)  # type: ignore[arg-type]
        picture = png(grey(image[y : y + TILE, x : x + TILE], stretch, limits))  # type: ignore[arg-type]
        return picture, {"Gpuanom-Size": f"{nx} {ny} {TILE}", "Gpuanom-Limits": f"{limits.low:.7g} {limits.high:.7g}"}

    def _say(self, status: HTTPStatus, why: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{printable(why)}\n".encode("utf-8", "backslashreplace"))

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **(headers or {}), "Content-Type": kind}.items():
            self.send_header(name, value)
        if kind.startswith("text/plain"):
            self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Say in one line why the library refuses a request, and repeat nothing of the request."""
        self.close_connection = True
        self._say(HTTPStatus(code), HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log: addresses hold the token."""


def served_page(night: ScoredNight, page: Path) -> bytes:
    """Return a page of a night as it is served: its data in a frame that may ask the server for CCDs.

    Parameters
    ----------
    night : ScoredNight
    page : Path
        The page that `gpuanom.report.page.write_report` wrote.

    Raises
    ------
    OutputError
        When the page cannot be read, or this version of gpuanom did not write it.
    """
    try:
        content = page.read_bytes()
    except OSError as error:
        raise OutputError(f"{path_text(page)}: cannot be read: {error.strerror} (gpuanom report writes it)") from None
    before, after = (part.encode("ascii") for part in frame_of("page.html", title_of(night), SCRIPTS))
    if not (content.startswith(before) and content.endswith(after) and len(content) >= len(before) + len(after)):
        raise OutputError(f"{path_text(page)}: was not written by this version of gpuanom (gpuanom report writes it)")
    data = content[len(before) : len(content) - len(after)]
    first, last = frame_of("page.html", title_of(night), _SCRIPTS_SERVED, served=True)
    return first.encode("ascii") + data + last.encode("ascii")


def _whole(query: dict[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"{name} is no number of a pixel")
    return int(text)


def _limits(query: dict[str, str]) -> Limits | None:
    """The limits that were given; None where none were."""
    if "low" not in query and "high" not in query:
        return None
    try:
        low, high = (float(query.get(name, "")) for name in ("low", "high"))
    except ValueError:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the limits are no numbers") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high and max(abs(low), abs(high)) < 1e38):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the upper limit is not above the lower one")
    return Limits(low, high)
