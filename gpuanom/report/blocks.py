"""The frame of a page: its parts, its blocks of data, and the policy that allows its very script and nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, TextIO

from gpuanom.errors import printable


def part(name: str) -> str:
    """A part of the page, as it is shipped; in ASCII, so that the browser computes the same hash of it."""
    return resources.files("gpuanom.report").joinpath(name).read_text(encoding="ascii")


def policy(style: str, script: str, served: bool = False) -> str:
    """The page's security policy: it may show data and run this very script, and nothing else.

    A page that is served may also ask its own server.
    """
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    asks = "connect-src 'self'; " if served else ""
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; {asks}"
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )


def short(value: Any) -> Any:
    """Return a number with the digits that a page needs, and anything else as it is."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def block(file: TextIO, name: str, value: Any) -> None:
    """Write a block of data: JSON in which nothing can end the block or be taken for markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    file.write(f'<script type="application/json" id="{name}">{text}</script>\n')


def frame_of(frame: str, title: str, scripts: Sequence[str], *, served: bool = False) -> tuple[str, str]:
    """Return a page without its data: what stands before the blocks of data, and what follows them.

    Parameters
    ----------
    frame : str
        Name of the HTML file with the frame of the page.
    title : str
        Title of the page; it may hold any characters.
    scripts : sequence of str
        Names of the files of the script, in the order in which one needs another.
    served : bool, optional
        Whether the page is served, and may ask its own server.

    Returns
    -------
    tuple of 2 str
    """
    style, script = part("page.css"), "".join(part(name) for name in scripts)
    before, after = part(frame).split("{{data}}")
    fills = {
        "{{title}}": html.escape(printable(title), quote=True).encode("ascii", "xmlcharrefreplace").decode(),
        "{{policy}}": policy(style, script, served),
        "{{style}}": style,
    }
    if served:  # else the browser would ask the server for an icon
        before = before.replace("<title>", '<link rel="icon" href="data:,">\n<title>')
    for mark, text in fills.items():
        before = before.replace(mark, text)
    return before, after.replace("{{script}}", script)


def begin(file: TextIO, frame: str, title: str, scripts: Sequence[str]) -> str:
    """Write a page up to the place where the blocks of data belong.

    Parameters
    ----------
    file : file
    frame, title, scripts
        As for `frame_of`.

    Returns
    -------
    str
        The rest of the page, to be written after the data.
    """
    before, after = frame_of(frame, title, scripts)
    file.write(before)
    return after
