"""The header of each HDU of a file: where it ends, how many bytes of data follow, and which image they hold."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gpuanom.fits.cards import CompressedImage, Scanned, find_end
from gpuanom.fits.hdu_form import TABLES, HduForm, claimed_shape, forms_of
from gpuanom.fits.hdus import FileHeaders
from gpuanom.fits.headers import card, number
from gpuanom.fits.mapping import HeaderReader
from gpuanom.fits.scan import BLOCK, data_bytes, whole_card
from gpuanom.system import patiently
from gpuanom.workspace import workspace

if TYPE_CHECKING:
    from gpuanom.fits.mapped import File

_MOST_HEADER = 2000 * BLOCK  # 72,000 cards: no real header comes near
_FIRST_STEP = 8 * BLOCK  # most headers are shorter
_MOST_AHEAD, _MOST_HDUS_AHEAD = 2**21, 256  # headers of an exposure that are read by one call
_HEADER_STEP = 40 * BLOCK  # the search for END starts again with each step


class HeaderAhead(NamedTuple):
    """A header that was read with others, its form, and the number of bytes of its data."""

    header: Scanned
    form: HduForm
    size: int


def headers_ahead(file: File, reader: HeaderReader, start: int) -> dict[int, HeaderAhead]:
    """Return the headers from `start` on that are plainly those of the standard, by their first bytes in the file.

    They are read by one native call in a run on a GPU, which has what the call needs; otherwise none is read here.
    """
    if "gpuanom.fits.sound_images" not in sys.modules or reader.file is None:
        return {}
    from gpuanom.fits.header_walk import walk_headers

    memory, found = workspace("headers", (_MOST_AHEAD,), np.uint8), np.empty((_MOST_HDUS_AHEAD, 5), np.int64)
    rows = found[: walk_headers(reader.file, memory, start, file.size, found)].tolist()
    text = memory[: rows[-1][1] + rows[-1][2]].tobytes() if rows else b""
    headers: list[Scanned] = []
    for _, first, length, _, same in rows:
        headers.append(Scanned(text[first : first + length], headers[-1].layout if same else None))
    several = zip(rows, headers, forms_of(FileHeaders(*headers)), strict=True)
    return {row[0]: HeaderAhead(h, form, row[3]) for row, h, form in several if form is not None and not h.unusual}


def header_at(file: File, reader: HeaderReader, start: int) -> bytes | None:
    """Return the header at `start` with its END card; empty without that card, None where no HDU begins there."""
    most = min(start + _MOST_HEADER, file.size)
    text, step = b"", _FIRST_STEP
    while start + len(text) < most:
        at, stop = start + len(text), min(start + len(text) + step, most)
        try:
            text += patiently(lambda at=at, stop=stop: reader.read(at, stop))  # type: ignore[misc]
        except OSError as error:
            raise file.refused(error, stop, None) from None
        if start and text[:8] != b"XTENSION":
            return None
        end = find_end(text, 0, len(text))
        if end >= 0:
            return text[:end]
        step = _HEADER_STEP
    return b""


def data_size(file: File, header: Scanned, index: int, form: HduForm | None) -> int:
    """Return the bytes of an HDU's data; the form is that of the header, if that is known."""
    if form is None:
        return data_bytes(header, file.path, index)
    if form.pixels is None:
        return 0
    return form.group_bytes * (whole_card(header, "PCOUNT", file.path, index, 0) + form.pixels)


def image_in(
    file: File, header: Scanned, index: int, form: HduForm | None
) -> tuple[Scanned | CompressedImage | None, tuple[int, ...], float]:
    """Return the header of the image in an HDU, the shape that it claims, and its BITPIX; None without an image."""
    if form is not None:
        return CompressedImage(header) if form.compressed else header, form.shape, form.bits
    image = _image_header(file, header, index)
    if image is None:
        return None, (), math.nan
    shape = claimed_shape(image)
    if shape is None:
        raise file.corrupt("its NAXIS cards make no sense", index)
    return image, shape, number(card(image, "BITPIX"))


def _image_header(file: File, header: Scanned, index: int) -> Scanned | CompressedImage | None:
    """Return the header of the image in an HDU; None where the HDU has no image."""
    if not index:
        return header if card(header, "SIMPLE") is True else None
    kind = card(header, "XTENSION")
    if kind in TABLES and card(header, "ZIMAGE"):
        return CompressedImage(header)
    if "ZIMAGE" in header:
        raise file.corrupt("its header makes no sense", index)
    return header if kind == "IMAGE" else None
