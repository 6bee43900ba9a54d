"""The few headers that show what a file is, read without the pixels."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from gpuanom.errors import FETCH_AGAIN, InputError, corrupt
from gpuanom.fits.headers.scanned import ScannedHeader
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening import packed
from gpuanom.system import patiently, refused

BLOCK = 2880
"""Number of bytes of a block, of which FITS files consist (FITS 4.0, section 3.1)."""

Bytes = TypeVar("Bytes", int, npt.NDArray[np.int64])

_MOST_BLOCKS = 2000  # 72,000 cards, far more than any real header has: a damaged file is not read to its end
_MOST_HDUS = 1000


def whole_blocks(n_bytes: Bytes) -> Bytes:
    """Return a number of bytes with the padding that fills the last block."""
    return n_bytes + -n_bytes % BLOCK


class OwnTableError(InputError):
    """A FITS table that gpuanom wrote, which is no image."""


def read_headers(path: Path) -> tuple[ScannedHeader, ScannedHeader | None]:
    """Read the primary header and, where the primary has no pixels, that of the first image extension.

    Parameters
    ----------
    path : Path
        A FITS file, plain or packed as a whole by gzip, bzip2 or xz.

    Returns
    -------
    primary : ScannedHeader
    extension : ScannedHeader or None
        None where the primary HDU holds the first image. For a tile-compressed image, the header
        of its table.

    Raises
    ------
    InputError
        Status ``unreadable`` (the system refuses to read the file; the file is empty, no FITS file
        or packed in another format), ``corrupt`` (a header is cut off or makes no sense) or
        ``no_image``. An `OwnTableError` for a table that gpuanom wrote.
    """
    try:
        return patiently(lambda: _read(path))
    except InputError:
        raise
    except OSError as error:
        raise refused(error, path) from None
    except ValueError as error:  # the path holds a null character
        raise InputError(f"cannot be read: {error}", file=path, remedy="check the path") from None


def _read(path: Path) -> tuple[ScannedHeader, ScannedHeader | None]:
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe might wait for ever
        raise InputError("no regular file", file=path, remedy="leave it out of the input")
    with path.open("rb") as plain:
        head = plain.read(packed.HEAD)
        plain.seek(0)
        packed.refuse_foreign(path, head)
        how = packed.packing(head)
        if not how:
            return _two_headers(plain, path)
        try:
            with packed.unpacked(plain, how) as stream:
                return _two_headers(stream, path)
        except Exception as error:
            if not packed.shows_damage(error):
                raise
            raise corrupt(f"broken {how} file: {error or type(error).__name__}", path) from None


def _two_headers(stream: BinaryIO, path: Path) -> tuple[ScannedHeader, ScannedHeader | None]:
    primary = _next_header(stream, path, 0)
    if primary is None:
        raise InputError("empty file", file=path, remedy=FETCH_AGAIN)
    if _is_image(primary, path, 0):
        return primary, None
    header = primary
    by_gpuanom = _by_gpuanom(primary)
    for number in range(1, _MOST_HDUS):
        n_bytes = data_bytes(header, path, number - 1)
        stream.seek(whole_blocks(n_bytes), 1)
        following = _next_header(stream, path, number)
        if following is None:
            break
        header = following
        by_gpuanom = by_gpuanom or _by_gpuanom(header)
        if _is_image(header, path, number):
            return primary, header
    if by_gpuanom:
        raise OwnTableError("a table that gpuanom wrote", file=path, status="no_image")
    raise InputError("no image HDU", file=path, remedy="only FITS images can be scored", status="no_image")


def _by_gpuanom(header: ScannedHeader) -> bool:
    return str(card(header, "CREATOR")).startswith("gpuanom")


def _next_header(stream: BinaryIO, path: Path, number: int) -> ScannedHeader | None:
    blocks: list[bytes] = []
    for _ in range(_MOST_BLOCKS):
        block = stream.read(BLOCK)
        if not blocks:
            if not block.strip(b"\0 "):
                return None
            if number == 0 and not block.startswith(b"SIMPLE  ="):
                raise InputError("not a FITS file", file=path, remedy="leave it out of the input")
            if number and not block.startswith(b"XTENSION"):
                return None  # FITS allows special records after the last HDU
        if len(block) < BLOCK:
            raise corrupt("its header is cut off", path, number)
        blocks.append(block)
        if _ends(block):
            return parse_header(b"".join(blocks), path, number)
    raise corrupt("its header has no END card", path, number)


def _ends(block: bytes) -> bool:
    """Whether a block holds the END card."""
    return any(block[at : at + 80].rstrip() == b"END" for at in range(0, len(block), 80))


def parse_header(text: bytes, path: Path, number: int) -> ScannedHeader:
    """Parse the header of an HDU.

    Parameters
    ----------
    text : bytes
        The header as the file holds it.
    path : Path
    number : int
        File and number of the HDU, for the error.

    Raises
    ------
    InputError
        Status ``corrupt``: the header makes no sense.
    """
    header = ScannedHeader(text)
    if header.unusual:
        try:
            _ = header.astropy
        except Exception as error:  # parsing a damaged header may raise anything
            raise corrupt(f"its header makes no sense: {error}", path, number) from None
    return header


def whole_card(header: ScannedHeader, keyword: str, path: Path, number: int, default: int) -> int:
    """Return the whole number of a card: from 0, except for BITPIX.

    Parameters
    ----------
    header : ScannedHeader
    keyword : str
    path : Path
    number : int
        File and number of the HDU, for the error.
    default : int
        Returned where the header has no such card.

    Raises
    ------
    InputError
        Status ``corrupt``: the card holds something else.
    """
    value = card(header, keyword)
    if value is None and keyword not in header:
        return default
    if type(value) is not int or (value < 0 and keyword != "BITPIX"):
        raise corrupt(f"its {keyword} card is no whole number", path, number)
    return value


def axis_lengths(header: ScannedHeader, path: Path, number: int, prefix: str = "") -> tuple[int, ...]:
    """Return NAXIS1, NAXIS2 ... of a header.

    Parameters
    ----------
    header : ScannedHeader
    path : Path
    number : int
        File and number of the HDU, for the error.
    prefix : str, optional
        ``Z`` for ZNAXIS1, ZNAXIS2 ... of a tile-compressed image.

    Returns
    -------
    tuple of int
        Empty where NAXIS is 0.

    Raises
    ------
    InputError
        Status ``corrupt``: a card is no whole number from 0.
    """
    count = whole_card(header, f"{prefix}NAXIS", path, number, 0)
    if count > 999:
        raise corrupt(f"{count} axes", path, number)
    return tuple(whole_card(header, f"{prefix}NAXIS{axis}", path, number, 0) for axis in range(1, count + 1))


def data_bytes(header: ScannedHeader, path: Path, number: int) -> int:
    """Return the number of bytes of an HDU's data, without padding, by its header (FITS 4.0, section 4.4.1).

    Parameters
    ----------
    header : ScannedHeader
    path : Path
    number : int
        File and number of the HDU, for the error.

    Raises
    ------
    InputError
        Status ``corrupt``: a card is no whole number from 0.
    """
    pixels = 1
    sizes = axis_lengths(header, path, number)
    for size in sizes:
        pixels *= size
    if not sizes:
        return 0
    bits = abs(whole_card(header, "BITPIX", path, number, 8))
    groups = whole_card(header, "GCOUNT", path, number, 1)
    return bits // 8 * groups * (whole_card(header, "PCOUNT", path, number, 0) + pixels)


def _is_image(header: ScannedHeader, path: Path, number: int) -> bool:
    """Whether an HDU holds an image with pixels, plain or tile-compressed."""
    compressed = card(header, "ZIMAGE") is True
    kind = card(header, "XTENSION") if number else "IMAGE"
    if not compressed and kind != "IMAGE":
        return False
    sizes = axis_lengths(header, path, number, "Z" if compressed else "")
    return bool(sizes) and all(sizes)
