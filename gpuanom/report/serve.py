"""The report served on this machine alone: the page, and any CCD at full resolution as a picture.

The server listens on 127.0.0.1. A request needs the token of the address that the command prints: neither other users
of the machine nor other pages of the browser know the token. The Host header must name this server, so that no foreign
name that leads to 127.0.0.1 is answered. Only the page and the CCDs of the night can be asked for: no path of a request
ever becomes a path of a file.

Neither many requests nor slow ones use up the machine: few connections are open at a time, a request must come soon,
pictures are made one after the other, and the page is sent from the file as it is read.
"""

from __future__ import annotations

import hmac
import math
import os
import secrets
import socket
import socketserver
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import parse_qs

from gpuanom.errors import InputError, OutputError, printable
from gpuanom.paths import path_text
from gpuanom.report.blocks import frame_of
from gpuanom.report.fullsize import STRETCHES, TILE, CcdImages, Limits, Stretch, grey, png, usual_limits
from gpuanom.report.page import SCRIPTS, title_of
from gpuanom.review.opened import ScoredNight

HOST = "127.0.0.1"
PORT = 8770
"""The usual port. A browser keeps labels for each address, so that the port should stay the same."""

MOST_CONNECTIONS = 32
"""At most so many connections are open at a time; further ones are closed at once."""

ASKING = 10.0
"""Seconds in which a request must have come, however slowly its bytes follow each other."""

SENDING = 60.0
"""Seconds in which a part of an answer must have been sent."""

_PART = 1_000_000
"""Bytes of a part of an answer."""

_SCRIPTS_SERVED = (*SCRIPTS[:-1], "viewer.js", SCRIPTS[-1])

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HTML = "text/html; charset=utf-8"
_POLICIES = {_HTML: "frame-ancestors 'none'"}  # the page holds the rest of its policy
_STRICT_POLICY = "default-src 'none'; frame-ancestors 'none'"


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
        When the server cannot listen on the port.
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
        self.one_picture = threading.Lock()
        """Held while a picture is made."""
        self._say = say
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        self._asking: dict[socket.socket, float] = {}
        """The connections whose requests have not come yet, and when each began."""

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def server_bind(self) -> None:
        """Take the port, without asking the network for the name of this machine as the library does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread, or close the connection where too many are open."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._asking[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection; runs in a thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def _ended(self, request: socket.socket) -> None:
        self._asking.pop(request, None)
        self._room.release()

    def has_come(self, request: socket.socket) -> None:
        """Note that the whole request of a connection has been read."""
        self._asking.pop(request, None)

    def service_actions(self) -> None:
        """End the connections whose requests do not come; the library calls this about twice a second."""
        now = time.monotonic()
        for request, began in list(self._asking.items()):
            if now - began > ASKING:
                self._asking.pop(request, None)
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def tell(self, error: BaseException) -> None:
        """Tell an unforeseen error in one line."""
        self._say(printable(f"a request failed: {type(error).__name__}: {error}"))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of the library
        """Tell what went wrong with a connection; a browser that went away is no error."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.tell(error)


class _RefusedError(Exception):
    """A request that gets another answer than the one that was asked for: the status, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Served
    server_version, sys_version = "gpuanom", ""
    timeout = SENDING
    begun = False
    """Whether the answer has begun, so that no other answer can be given."""

    def do_GET(self) -> None:
        """Answer with the page or the picture of a CCD, or say in one line why not."""
        self.server.has_come(self.connection)
        try:
            path, query = self._allowed()
            if path == "/":
                with opened_page(self.server.night, self.server.page) as (size, parts):
                    self._answer(HTTPStatus.OK, _HTML, size, parts)
            elif path == "/ccd":
                picture, headers = self._ccd(query)
                parts = (picture[at : at + _PART] for at in range(0, len(picture), _PART))
                self._answer(HTTPStatus.OK, "image/png", len(picture), parts, headers)
            else:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            if self.begun:
                raise
            self._excuse(error)

    def _excuse(self, error: Exception) -> None:
        """Answer with the reason why a request cannot be answered as it should."""
        if isinstance(error, _RefusedError):
            self._say(error.status, error.why)
        elif isinstance(error, InputError | OutputError):
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        elif isinstance(error, MemoryError):
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "out of memory: this CCD is too large to be shown")
        else:
            self.server.tell(error)
            why = "an unforeseen error: the terminal of gpuanom report --serve names the error"
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, why)

    def _allowed(self) -> tuple[str, dict[str, str]]:
        """The path and the query of a request that may be answered."""
        port, given = self.server.server_port, self.headers.get_all("Host", [])
        names = [f"{HOST}:{port}", f"localhost:{port}"]
        without_port = [HOST, "localhost"] if port == 80 else []  # browsers leave out the usual port of http
        if len(given) != 1 or given[0] not in names + without_port:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this server answers to {' and '.join(names)} alone")
        path, _, query = self.path.partition("?")
        try:
            found = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the address cannot be read") from None
        tokens = found.get("token", [])
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), self.server.token.encode()):
            why = "the token is missing or wrong: open the address that gpuanom report --serve printed last"
            raise _RefusedError(HTTPStatus.FORBIDDEN, why)
        return path, {name: values[-1] for name, values in found.items()}

    def _ccd(self, query: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        """A part of a CCD as a picture, with the size of the CCD and the limits of the stretch as headers."""
        x, y = _whole(query, "x"), _whole(query, "y")
        if query.get("stretch", "asinh") not in STRETCHES:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"the stretch is none of {', '.join(STRETCHES)}")
        stretch = cast("Stretch", query.get("stretch", "asinh"))
        key, name = (query.get("camera", ""), query.get("exposure", "")), query.get("ccd", "")
        if key not in self.server.night.found:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "this night has no such exposure")
        limits = _limits(query)
        with self.server.one_picture:
            image = self.server.images.image(key, name)
            ny, nx = image.shape
            if x >= nx or y >= ny:
                raise _RefusedError(HTTPStatus.BAD_REQUEST, "this part lies beyond the CCD")
            limits = limits or usual_limits(image, stretch)
            picture = png(grey(image[y : y + TILE, x : x + TILE], stretch, limits))
        # All digits: the limits of the other parts of the CCD must be the same.
        return picture, {"Gpuanom-Size": f"{nx} {ny} {TILE}", "Gpuanom-Limits": f"{limits.low:.17g} {limits.high:.17g}"}

    def _say(self, status: HTTPStatus, why: str) -> None:
        line = f"{printable(why)}\n".encode("utf-8", "backslashreplace")
        self._answer(status, "text/plain; charset=utf-8", len(line), [line])

    def _answer(
        self,
        status: HTTPStatus,
        kind: str,
        size: int,
        parts: Iterator[bytes] | list[bytes],
        headers: dict[str, str] | None = None,
    ) -> None:
        self.begun = True
        self.send_response(status)
        policy = _POLICIES.get(kind, _STRICT_POLICY)
        about = {"Content-Type": kind, "Content-Length": str(size), "Content-Security-Policy": policy}
        for name, value in {**_HEADERS, **about, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Say in one line why the library refuses a request, and repeat nothing of the request."""
        self.close_connection = True
        self._say(HTTPStatus(code), HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log: addresses hold the token."""


@contextmanager
def opened_page(night: ScoredNight, page: Path) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open a page of a night as it is served: its data in a frame that may ask the server for CCDs.

    A page that is replaced in the meantime is read to its end as it was.

    Parameters
    ----------
    night : ScoredNight
    page : Path
        The page that `gpuanom.report.page.write_report` wrote.

    Yields
    ------
    size : int
        Number of bytes.
    parts : iterator of bytes
        The bytes, read as they are asked for.

    Raises
    ------
    OutputError
        When the page cannot be read, or this version of gpuanom did not write it.
    """
    try:
        # Without O_NONBLOCK, a named pipe of that name would be waited for.
        file = open(page, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"{path_text(page)}: cannot be read: {error.strerror} (gpuanom report writes it)") from None
    with file:
        before, after = (part.encode("ascii") for part in frame_of("page.html", title_of(night), SCRIPTS))
        begin, end = len(before), _size(file) - len(after)
        if not (begin <= end and file.read(begin) == before and file.seek(end) == end and file.read() == after):
            raise OutputError(
                f"{path_text(page)}: was not written by this version of gpuanom (gpuanom report writes it)"
            )
        file.seek(begin)
        frame = frame_of("page.html", title_of(night), _SCRIPTS_SERVED, served=True)
        first, last = (part.encode("ascii") for part in frame)
        data = (file.read(min(_PART, end - at)) for at in range(begin, end, _PART))
        yield len(first) + end - begin + len(last), chain([first], data, [last])


def _size(file: IO[bytes]) -> int:
    """The bytes of a regular file; none of a pipe or device."""
    about = os.fstat(file.fileno())
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


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
