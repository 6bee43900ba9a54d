"""The header of each HDU of a file: where it ends, how many bytes of data follow, and which image they hold."""

from __future__ import annotations

import sys
from itertools import takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import numpy as np

from gpuanom.fits.cards import CompressedImage, Scanned, find_end
from gpuanom.fits.hdu_form import TABLES, HduForm, claimed_shape, forms_of
from gpuanom.fits.hdus import FileHeaders, Hdu, Unit
from gpuanom.fits.headers import card, number
from gpuanom.fits.layouts import Layout
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


def headers_ahead(file: File, reader: HeaderReader, start: int) -> list[tuple[Unit, HduForm]]:
    """Return the HDUs from `start` on, and their forms, as long as their headers are plainly those of the standard.

    They are read by one native call in a run on a GPU, which has what the call needs; otherwise none is read here.
    """
    if "gpuanom.fits.sound_images" not in sys.modules or reader.file is None:
        return []
    from gpuanom.fits.header_walk import walk_headers

    memory, found = workspace("headers", (_MOST_AHEAD,), np.uint8), np.empty((_MOST_HDUS_AHEAD, 5), np.int64)
    rows = found[: walk_headers(reader.file, memory, start, file.size, found)].tolist()
    text = memory[: rows[-1][1] + rows[-1][2]].tobytes() if rows else b""
    units: list[Unit] = []
    layout: Layout | None = None
    for begin, first, length, size, same in rows:
        header = Scanned(text[first : first + length], layout if same else None)
        layout = header.layout
        if header.unusual:
            break
        units.append(Unit(begin, begin + length + -length % BLOCK, size, header))
    forms = forms_of(FileHeaders(*[unit.header for unit in units]))
    known = takewhile(itemgetter(1), zip(units, forms, strict=True))
    return cast("list[tuple[Unit, HduForm]]", list(known))


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


def image_in(file: File, index: int, unit: Unit, form: HduForm | None, primary: Scanned) -> Hdu | None:
    """Return the image in an HDU; None where there is none, or none with pixels."""
    header = unit.header
    if form is not None:
        if not form.shape:
            return None
        image = CompressedImage(header) if form.compressed else header
        return Hdu(index, image, primary, unit, form.shape, form.bits)
    found = _image_header(file, header, index)
    if found is None:
        return None
    shape = claimed_shape(found)
    if shape is None:
        raise file.corrupt("its NAXIS cards make no sense", index)
    return Hdu(index, found, primary, unit, shape, number(card(found, "BITPIX"))) if shape else None


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
