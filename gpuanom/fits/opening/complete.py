"""Whether a file is complete by its own headers: a file that is still being written must not be read as if complete.

The file is read, not mapped to memory: a mapped file that another program cuts off would end this
process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gpuanom.errors import InputError
from gpuanom.fits.headers.scanned import ScannedHeader, find_end
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening import packed
from gpuanom.fits.opening.first_headers import BLOCK, data_bytes, whole_blocks

_MOST_BLOCKS = 2000
_MOST_HDUS = 10_000
_CHUNK = 2**18


class Lack(NamedTuple):
    """What is missing from a file.

    Attributes
    ----------
    reason : str
        What is missing, in a few words.
    certain : bool
        False where the file may be complete: a CCD that was copied out of a file keeps the NEXTEND
        of the original, and zeros may follow the last HDU.
    """

    reason: str
    certain: bool = True


def lacking(path: Path) -> Lack | None:
    """Return what is missing from a FITS file.

    Only headers are read, no pixels; a packed file is read to its end.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Lack or None
        None where nothing is missing. Also None where the file is damaged so that more bytes
        cannot mend it, or where the system refuses to read it: reading the file later reports
        this.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < 2:
                return Lack("it is empty" if not size else "it has only begun")
            how = packed.packing(stream.read(packed.HEAD))
            return _of_packed(stream, how) if how else _of_hdus(stream, size, path)
    except (OSError, ValueError):  # ValueError: the path holds a null character
        return None


def _of_packed(stream: BinaryIO, how: str) -> Lack | None:
    stream.seek(0)
    try:
        with packed.unpacked(stream, how) as content:
            while content.read(_CHUNK):
                pass
    except EOFError:
        return Lack(f"the end of its {how} stream is missing")
    except Exception as error:
        if not packed.shows_damage(error):
            raise
    return None


def _of_hdus(stream: BinaryIO, size: int, path: Path) -> Lack | None:
    promised: object = None
    start = index = 0
    while start < size and index < _MOST_HDUS:
        text = _header(stream, start, b"XTENSION" if index else b"SIMPLE  =")
        if isinstance(text, str):
            if text != _ZEROS:
                return Lack(f"HDU {index}: {text}")
            return Lack("zeros stand where an HDU may follow" if index else text, certain=not index)
        if text is None:
            break
        header = ScannedHeader(text)
        try:
            count = data_bytes(header, path, index)
        except InputError:
            return None  # damaged
        if not index:
            promised = card(header, "NEXTEND")
        end = start + len(text) + count
        if end > size:
            return Lack(f"HDU {index}: {end - size} bytes are missing")
        start = whole_blocks(end)
        if start > size:
            return Lack(f"HDU {index}: its padding is missing")
        index += 1
    if type(promised) is int and index - 1 < promised:
        return Lack(f"it has {index - 1} extensions, its NEXTEND says {promised}", certain=index != 2)
    return None


_ZEROS = "it is not written yet"


def _header(stream: BinaryIO, start: int, first: bytes) -> bytes | str | None:
    """Return the blocks of a header; in words why the header is not complete; or None where there is no header."""
    stream.seek(start)
    text = b""
    for _ in range(_MOST_BLOCKS):
        block = stream.read(BLOCK)
        if not text and not block.startswith(first):
            if not block.strip(b"\0"):
                return _ZEROS
            return "its header is cut off" if first.startswith(block) else None
        if len(block) < BLOCK:
            return "its header is cut off"
        text += block
        if find_end(text, 0, len(text)) >= 0:
            return text
    return None
