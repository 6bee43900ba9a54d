"""The pixels of an image HDU: as float32, as the file holds them, or as the whole numbers of a quality plane."""

from __future__ import annotations

import errno
import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import NO_BLANK, BytesOnDisk, GiveRoom, RawImage, RiceImage, Room
from gpuanom.errors import InputError
from gpuanom.fits.decoding.by_astropy.fallback import blanked, through_astropy
from gpuanom.fits.decoding.encoded_images import decode_raw, decode_rice
from gpuanom.fits.decoding.table_header import whole_blank
from gpuanom.fits.decoding.tile_table import read_table
from gpuanom.fits.decoding.tiles import RICE, AstropyOnlyError, Tiles
from gpuanom.fits.headers.hdus import Hdu
from gpuanom.fits.headers.scanned import MOST_COLUMNS, CompressedImageHeader, ScannedHeader
from gpuanom.fits.headers.values import Cards, card, number
from gpuanom.fits.opening.file import File, short
from gpuanom.paths import path_text
from gpuanom.records import FloatImage
from gpuanom.system import is_refusal, refused

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def pixels(file: File, item: Hdu, out: FloatImage | None = None) -> FloatImage:
    """Return the pixels of an HDU as float32; blank pixels become NaN.

    Parameters
    ----------
    file : File
    item : Hdu
        An image HDU of the file.
    out : ndarray, (ny, nx) float32, C-contiguous, optional
        Memory to decode into, which is overwritten.

    Returns
    -------
    ndarray, (ny, nx) float32
        In the image's unit, BSCALE and BZERO applied.

    Raises
    ------
    InputError
        Status ``cube``, ``not_2d`` or ``too_large``; or ``corrupt``: cut off, not decodable, or of
        a size that the file cannot hold; or ``unreadable``: the system refuses to read the file,
        or the file was written to meanwhile.
    """
    with _checked(file, item) as shape:
        image = _decoded(file, item, shape, out)
    if out is None or image is out:
        return image
    out[...] = image
    return out


@contextmanager
def _checked(file: File, item: Hdu) -> Iterator[tuple[int, int]]:
    """Check an HDU before the block that decodes it, and whether the file was written to meanwhile; gives the shape."""
    shape = file.image_shape(item)
    file.check(item)
    try:
        yield shape
    except InputError as error:
        file.refuse_change()  # which explains whatever the error says
        raise _located(file, error, item) from None
    file.refuse_change()


def _decoded(file: File, item: Hdu, shape: tuple[int, int], out: FloatImage | None) -> FloatImage:
    """The pixels of an HDU as float32, in `out` where the decoder can write there."""
    try:
        if not item.compressed:
            return decode_raw(_raw(file, item, shape, _mapped(file, item)), out)
        tiles = _tiles(file, item, shape)
        if tiles.form.code in RICE:
            return decode_rice(tiles.rice(), out)
        return tiles.decode_gzip(np.empty(shape, np.float32) if out is None else out)
    except AstropyOnlyError as error:
        blank = blank_value(item.header) - (_UNSIGNED_PLIO if _is_unsigned_plio(item) else 0)
        return blanked(_by_astropy(file, item, shape, str(error)), blank)


def as_stored(file: File, item: Hdu, room: GiveRoom | None = None) -> RawImage | RiceImage | None:
    """Return an image as the file holds it, for a GPU to decode.

    Parameters
    ----------
    file : File
    item : Hdu
        An image HDU of the file.
    room : callable, optional
        Gives memory that the image is read into; by default, and where KvikIO will read it, it is
        a view into the mapped file.

    Returns
    -------
    RawImage, RiceImage or None
        None where GPU backends do not decode this form of image.

    Raises
    ------
    InputError
        As `pixels`, except for damage within the tiles.
    """
    shape = file.image_shape(item)
    if not is_decoded_by_gpus(item):
        return None
    # Where the backend reads the bytes anyway, its sum of them costs nothing.
    on_device = room is not None and file.plain and sums_on_device.wanted and _is_whole(item, shape)
    direct = goes_direct(file, item, on_device)
    if room is None or direct or not file.plain:
        file.check(item, prefault=not direct, compare=not on_device)
        given = Room(_mapped(file, item))
    else:
        given = file.read(item, room, compare=not on_device)
    wanted = file.expected_datasum(item) if on_device else None
    image: RawImage | RiceImage
    try:
        if item.compressed:
            image = read_table(item.stored.header, shape, given.memory).rice(lent=given.lent, datasum=wanted)
        else:
            image = replace(_raw(file, item, shape, given.memory), lent=given.lent, datasum=wanted)
    except AstropyOnlyError:
        return None
    except InputError as error:
        if on_device:
            file.check(item)  # data that do not add up to their sum are reported as such, as on the host
        raise _located(file, error, item) from None
    return _with_place_on_disk(file, image) if direct else image


class _SumsOnDevice:
    """Whether backends that read the bytes of a file compare DATASUM too.

    A program that changes pixels and copies the header leaves a sum that does not fit, which the
    host finds out from the CHECKSUM (`File.check`). Where a CCD of such a file was read again for
    that, the host compares the sums of the files that follow.
    """

    def __init__(self) -> None:
        self.wanted = True

    def no_longer(self) -> None:
        """Compare on the host from now on."""
        self.wanted = False


sums_on_device = _SumsOnDevice()


def _is_whole(item: Hdu, shape: tuple[int, int]) -> bool:
    """Whether a backend is sent all data of an HDU, so that it can sum them."""
    if item.compressed:
        return True
    return item.stored.data_size == math.prod(shape) * abs(int(number(card(item.header, "BITPIX")))) // 8


def _address(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def is_decoded_by_gpus(item: Hdu) -> bool:
    """Whether a GPU backend may decode this form of image; only then is it worth being read as it is stored."""
    if item.compressed:
        return str(card(item.stored.header, "ZCMPTYPE")) in RICE
    return card(item.header, "BITPIX") in (16, 32, -32)


def _mapped(file: File, item: Hdu) -> npt.NDArray[np.uint8]:
    """Return the data of an HDU in the mapped file, which stays mapped for as long as the array exists."""
    return np.frombuffer(file.bytes, np.uint8, item.stored.data_size, item.stored.data_start)


@cache
def _reads_direct() -> bool:
    """Whether KvikIO is installed, by which a GPU reads files without the host."""
    return importlib.util.find_spec("kvikio") is not None


def goes_direct(file: File, item: Hdu, on_device: bool) -> bool:
    """Whether a GPU may read an image's bytes without a check by the host."""
    return _reads_direct() and file.plain and (on_device or card(item.stored.header, "DATASUM") is None)


def _with_place_on_disk(file: File, image: RawImage | RiceImage) -> RawImage | RiceImage:
    """Add the place in the file to an image."""
    offset = _address(image.data) - _address(np.frombuffer(file.bytes, np.uint8))
    return replace(image, on_disk=BytesOnDisk(path_text(file.path), offset, file.is_unchanged))


def numbers(file: File, item: Hdu) -> npt.NDArray[Any]:
    """Return the numbers of a quality plane, bits or codes.

    Parameters
    ----------
    file : File
    item : Hdu
        An image HDU of the file.

    Returns
    -------
    ndarray, (ny, nx)
        Of the type that astropy gives the numbers.

    Raises
    ------
    InputError
        As `pixels`.
    """
    with _checked(file, item) as shape:
        try:
            return _numbers(file, item, shape)
        except AstropyOnlyError as error:
            return _by_astropy(file, item, shape, str(error))


def _numbers(file: File, item: Hdu, shape: tuple[int, int]) -> npt.NDArray[Any]:
    header = item.header
    bitpix, zero = card(header, "BITPIX"), card(header, "BZERO") or 0
    if card(header, "BLANK") is not None or card(header, "BSCALE") not in (None, 1):
        raise AstropyOnlyError("a plane with BSCALE or BLANK")
    unsigned = bitpix in (16, 32) and zero == 2 ** (bitpix - 1)
    if zero and not unsigned:
        raise AstropyOnlyError("a plane with BZERO")
    if not item.compressed:
        raw = _raw(file, item, shape, _mapped(file, item))
        stored: npt.NDArray[Any] = raw.data.view(_TYPES[raw.bitpix]).reshape(shape)
    else:
        stored = _tiles(file, item, shape).integers()
    if unsigned:  # adding half of the range inverts the highest bit
        kind = f"u{bitpix // 8}"
        turned: npt.NDArray[Any] = stored.astype(f"=i{bitpix // 8}").view(kind) ^ np.array(2 ** (bitpix - 1), kind)
        return turned
    return stored.astype(_TYPES[bitpix][-2:] if bitpix == 8 else "=" + _TYPES[bitpix][-2:])


def _raw(file: File, item: Hdu, shape: tuple[int, int], data: npt.NDArray[np.uint8]) -> RawImage:
    """Return an uncompressed image as the file holds it, from the data of its HDU."""
    header = item.header
    bitpix = card(header, "BITPIX")
    if bitpix not in _TYPES or type(bitpix) is not int:
        raise file.corrupt("its BITPIX card makes no sense", item.number)
    scale, zero = (_factor(file, item, keyword, default) for keyword, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    if bitpix == 64 and (scale, zero) != (1.0, 0.0):
        raise AstropyOnlyError("64-bit integers with BSCALE or BZERO")
    size = math.prod(shape) * abs(bitpix) // 8
    if size > item.stored.data_size:
        raise file.corrupt("its pixels are not what its header says", item.number)
    blank = NO_BLANK if bitpix < 0 else whole_blank(card(header, "BLANK"))
    return RawImage(data[:size], shape, bitpix, scale, zero, blank)


def _tiles(file: File, item: Hdu, shape: tuple[int, int]) -> Tiles:
    return read_table(item.stored.header, shape, _mapped(file, item))


def _by_astropy(file: File, item: Hdu, shape: tuple[int, int], reason: str) -> npt.NDArray[Any]:
    """Return the pixels of an HDU as astropy decodes them."""
    raw = file.bytes[item.stored.start : item.stored.end]
    n_pixels = math.prod(shape) if item.compressed else 0
    columns = card(item.stored.header, "TFIELDS")
    # Astropy loops over so many columns.
    if item.compressed and not (type(columns) is int and 0 < columns <= MOST_COLUMNS):
        raise file.corrupt("its TFIELDS card makes no sense", item.number)
    try:
        data = through_astropy(raw, item.number == 0, n_pixels, reason, f"{file.path}[{item.number}]")
    except MemoryError:
        raise
    except Exception as error:  # decoders may raise anything: zlib.error, ValueError, struct.error, TypeError ...
        if is_refusal(error):
            known = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
            remedy = refused(error, file.path).remedy if known else "the next run tries again; fewer --threads may help"
            message = f"its pixels cannot be decoded: {error.strerror}"
            raise InputError(message, file=file.path, hdu=item.number, remedy=remedy) from None
        raise file.corrupt(f"its pixels cannot be read: {short(error)}", item.number) from None
    data = data.reshape(data.shape[-2:]) if math.prod(data.shape[:-2]) == 1 else data  # axes of length one
    if data.shape != shape:
        raise file.corrupt("its pixels are not what its header says", item.number)
    if not _is_unsigned_plio(item):
        return data
    # Unsigned numbers: modulo 2^16, as astropy added BZERO.
    offset = data.dtype.type(_UNSIGNED_PLIO)
    shifted: npt.NDArray[Any] = data ^ offset if data.dtype.kind == "u" else data - offset
    return shifted


_UNSIGNED_PLIO = 2**15
"""CFITSIO adds this number to unsigned 16-bit images before PLIO compression; astropy does not subtract it."""


def _is_unsigned_plio(item: Hdu) -> bool:
    """Whether an image has unsigned 16-bit integers that CFITSIO compressed by PLIO_1."""
    header = item.stored.header
    is_plio = item.compressed and card(header, "ZCMPTYPE") == "PLIO_1"
    return is_plio and card(header, "ZBITPIX") == 16 and card(header, "BZERO") == _UNSIGNED_PLIO


def _located(file: File, error: InputError, item: Hdu) -> InputError:
    """Return the error of a decoder with the file and HDU, which the decoder does not know."""
    if error.file is not None:
        return error
    return file.corrupt(f"its pixels cannot be read: {error.reason}", item.number)


def blank_value(header: ScannedHeader | CompressedImageHeader) -> float:
    """Return BLANK with BSCALE and BZERO applied; NaN where there is none."""
    cards = Cards(header)
    scale, zero = cards.get("BSCALE"), cards.get("BZERO")
    blank = number(cards.get("BLANK"))
    return blank * (1.0 if scale is None else number(scale)) + (0.0 if zero is None else number(zero))


def _factor(file: File, item: Hdu, keyword: str, default: float) -> float:
    """Return BSCALE or BZERO; without the right one the pixels would be other numbers, with a good score."""
    value = card(item.header, keyword)
    if value is None or not str(value).strip():
        return default
    if math.isnan(result := number(value)):
        reason, remedy = f"its {keyword} card is no number", "mend the card, or fetch the file again"
        raise InputError(reason, file=file.path, hdu=item.number, remedy=remedy, status="corrupt")
    return result
