"""The header of each HDU of a file: where it ends, how many bytes of data follow, and which image they hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import compress, count, repeat, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import numpy as np

from gpuanom.errors import InputError
from gpuanom.fits.headers.card_places import Layout, as_text, layout_of
from gpuanom.fits.headers.hdus import FileHeaders, Hdu, StoredHdu
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader, find_end
from gpuanom.fits.headers.values import card, number
from gpuanom.fits.opening.file_ending import too_few_extensions, wrong_ending
from gpuanom.fits.opening.first_headers import BLOCK, data_bytes, whole_blocks, whole_card
from gpuanom.fits.opening.hdu_form import TABLES, HduForm, claimed_shape, form_of, forms_of
from gpuanom.fits.opening.memory_map import HeaderReader
from gpuanom.records.attributes import attributes
from gpuanom.system import patiently
from gpuanom.workspace import workspace

if TYPE_CHECKING:
    from gpuanom.fits.opening.file import File

_MOST_HDUS = 10_000
_MOST_HEADER = 2000 * BLOCK  # 72,000 cards: no real header comes near
_FIRST_STEP = 8 * BLOCK  # most headers are shorter
_MOST_AHEAD, _MOST_HDUS_AHEAD = 2**21, 256  # headers of an exposure that are read by one call
_HEADER_STEP = 40 * BLOCK  # the search for END starts again with each step


def list_hdus(file: File, reader: HeaderReader) -> Iterator[Hdu | InputError]:
    """Yield the image HDUs of a file; see `gpuanom.fits.opening.file.File.hdus`."""
    primary: ScannedHeader | None = None
    last: StoredHdu | None = None
    index = start = 0
    while start < file.size and index < _MOST_HDUS:
        try:
            text = header_at(file, reader, start)
        except InputError as error:
            yield error.at(file.path, index)
            return
        if text is None:
            break  # FITS allows special records after the last HDU
        data_start = start + whole_blocks(len(text))
        if not text or data_start > file.size:
            if last is None:
                yield file.corrupt("its header cannot be read: it is cut off", index)
                return
            break
        header = ScannedHeader(text)
        primary = primary or header
        try:
            form = form_of(header) if index else None
            size = data_size(file, header, index, form)
            last = StoredHdu(start, data_start, size, header)
            image = image_in(file, index, last, form, primary)
            if image is not None:
                yield image
        except InputError as error:
            yield error
            if last is None or last.start != start:  # the start of the next HDU is unknown
                return
        start = whole_blocks(last.end)
        index += 1
        if index == 1:
            if ahead := headers_ahead(file, reader, start):
                yield from _images_of(ahead, index, primary)
                index, last = index + len(ahead), ahead[-1][0]
            start = whole_blocks(last.end)
    error_at_end = wrong_ending(file, index, None if last is None else last.end)
    error_at_end = error_at_end or too_few_extensions(file, index, primary)
    if error_at_end:
        yield error_at_end


def headers_ahead(file: File, reader: HeaderReader, start: int) -> list[tuple[StoredHdu, HduForm]]:
    """Return the HDUs from `start` on, and their forms, as long as their headers are plainly those of the standard.

    They are read by one native call in a run on a GPU, which has what the call needs; otherwise none is read here.
    """
    if "gpuanom.fits.decoding.images_together_loop" not in sys.modules or reader.file is None:
        return []
    from gpuanom.fits.opening.hdu_list_loop import walk_headers

    memory, found = workspace("headers", (_MOST_AHEAD,), np.uint8), np.empty((_MOST_HDUS_AHEAD, 5), np.int64)
    rows = found[: walk_headers(reader.file, memory, start, file.size, found)]
    starts, firsts, lengths, sizes, are_same = rows.T
    data_starts, ends = starts + whole_blocks(lengths), (firsts + lengths).tolist()
    whole = memory[: ends[-1] if ends else 0].tobytes()
    layouts: list[Layout] = []
    for first, end, same in zip(firsts.tolist(), ends, are_same.tolist(), strict=True):
        layout = layouts[-1] if same else layout_of(whole[first:end])
        if layout.unusual:
            break
        layouts.append(layout)
    texts = map(as_text(whole).__getitem__, map(slice, firsts.tolist(), ends))
    headers = list(map(ScannedHeader, texts, layouts))
    forms = forms_of(FileHeaders(*headers))
    stored = map(StoredHdu, starts.tolist(), data_starts.tolist(), sizes.tolist(), headers)
    known = takewhile(itemgetter(1), zip(stored, forms, strict=False))
    return cast("list[tuple[StoredHdu, HduForm]]", list(known))


def _images_of(ahead: list[tuple[StoredHdu, HduForm]], first: int, primary: ScannedHeader) -> Iterator[Hdu]:
    """Return the images in HDUs from `headers_ahead`, of which the first has that number."""
    stored, forms = zip(*ahead, strict=True)
    shapes, bitpix, compressed = attributes(forms, "shape", "bitpix", "compressed")
    pairs = zip(stored, compressed, strict=True)
    headers = [CompressedImageHeader(hdu.header) if is_table else hdu.header for hdu, is_table in pairs]
    hdus = map(Hdu, count(first), headers, repeat(primary), stored, shapes, bitpix, compressed)
    return compress(hdus, shapes)  # without those that have no pixels


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


def data_size(file: File, header: ScannedHeader, index: int, form: HduForm | None) -> int:
    """Return the bytes of an HDU's data; the form is that of the header, if that is known."""
    if form is None:
        return data_bytes(header, file.path, index)
    if form.pixels is None:
        return 0
    return form.group_bytes * (whole_card(header, "PCOUNT", file.path, index, 0) + form.pixels)


def image_in(file: File, index: int, stored: StoredHdu, form: HduForm | None, primary: ScannedHeader) -> Hdu | None:
    """Return the image in an HDU; None where there is none, or none with pixels."""
    header = stored.header
    if form is not None:
        if not form.shape:
            return None
        image = CompressedImageHeader(header) if form.compressed else header
        return Hdu(index, image, primary, stored, form.shape, form.bitpix, form.compressed)
    found = _image_header(file, header, index)
    if found is None:
        return None
    shape = claimed_shape(found)
    if shape is None:
        raise file.corrupt("its NAXIS cards make no sense", index)
    compressed = isinstance(found, CompressedImageHeader)
    return Hdu(index, found, primary, stored, shape, number(card(found, "BITPIX")), compressed) if shape else None


def _image_header(file: File, header: ScannedHeader, index: int) -> ScannedHeader | CompressedImageHeader | None:
    """Return the header of the image in an HDU; None where the HDU has no image."""
    if not index:
        return header if card(header, "SIMPLE") is True else None
    kind = card(header, "XTENSION")
    if kind in TABLES and card(header, "ZIMAGE"):
        return CompressedImageHeader(header)
    if "ZIMAGE" in header:
        raise file.corrupt("its header makes no sense", index)
    return header if kind == "IMAGE" else None
