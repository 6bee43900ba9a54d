"""A night that is served for tests, and requests to its server."""

from __future__ import annotations

import http.client
import io
import threading
from contextlib import contextmanager
from urllib.parse import urlencode

import numpy as np

import gpuanom
from gpuanom.report import serve

SETTINGS = gpuanom.Settings(background_points=300, gradient_points=500, sigma_points=1000, simulations=200)


@contextmanager
def serving(night, told=()):
    """A server of an opened night, which in the end must have told of these unforeseen errors."""
    said = []
    with serve.Served(night, night.folder / "report.html", 0, said.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    assert said == list(told)


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


def picture(content):
    """The grey levels of a PNG file; the first row is the lowest one."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))[::-1]
