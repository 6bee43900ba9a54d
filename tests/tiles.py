"""Tile-compressed images for the tests: written by astropy, by cfitsio or here, taken apart, and decoded slowly.

Nothing here imports the decoders of the package. The slow decoder follows the text of the format bit by bit (FITS 4.0,
section 10): it gives the truth for damaged tiles, and for block sizes that no program writes.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.encoded import NO_BLANK, RiceImage

try:
    import fitsio
except ImportError:
    fitsio = None

# For each BYTEPIX the bits of the field, and the largest fs.
FIELDS = {1: (3, 6), 2: (4, 14), 4: (5, 25)}
TYPES = {1: np.uint8, 2: np.int16, 4: np.int32}
EXACT_ZERO = -2147483646
DITHERS = {"NO_DITHER": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}


class DamagedError(Exception):
    """The bytes of a tile are no valid code of its pixels."""


# Codes


def encode(numbers, bytepix=4, blocksize=32, fs=None):
    """The RICE_1 code of integers, with the same fs for all blocks, or with nearly the best fs for each block."""
    bits_of_field, largest = FIELDS[bytepix]
    width = 8 * bytepix
    numbers = [int(n) % 2**width for n in numbers]
    code = f"{numbers[0]:0{width}b}"
    last = numbers[0]
    for first in range(0, len(numbers), blocksize):
        mapped = []
        for n in numbers[first : first + blocksize]:
            d = (n - last + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)
            mapped.append(2 * d if d >= 0 else -2 * d - 1)
            last = n
        chosen = fs
        if chosen is None:
            mean = sum(mapped) // len(mapped)
            chosen = -1 if not any(mapped) else min(largest, max(0, (mean // 2 + 1).bit_length() - 1))
        code += f"{chosen + 1:0{bits_of_field}b}"
        for v in mapped:
            if chosen == largest:
                code += f"{v:0{width}b}"
            elif chosen >= 0:
                low = f"{v & ((1 << chosen) - 1):0{chosen}b}" if chosen else ""
                code += "0" * (v >> chosen) + "1" + low
    code += "0" * (-len(code) % 8)
    return int(code, 2).to_bytes(len(code) // 8, "big")


def decode(data, n, bytepix=4, blocksize=32):
    """The n integers of the bytes of a tile; DamagedError where the bytes are no valid code."""
    code = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def read(count):
        nonlocal at
        at += count
        if at > len(code):
            raise DamagedError("the code runs past its end")
        return int(code[at - count : at] or "0", 2)

    bits_of_field, largest = FIELDS[bytepix]
    width = 8 * bytepix
    if len(data) < bytepix:
        raise DamagedError("no first number")
    last = read(width)
    found = []
    while len(found) < n:
        fs = read(bits_of_field) - 1
        if fs > largest:
            raise DamagedError("no such field")
        for _ in range(min(blocksize, n - len(found))):
            v = 0
            if fs == largest:
                v = read(width)
            elif fs >= 0:
                one = code.find("1", at)
                if one < 0:
                    raise DamagedError("zeros up to the end")
                zeros, at = one - at, one + 1
                v = ((zeros << fs) | read(fs)) % 2**32
            last += v // 2 if v % 2 == 0 else -(v + 1) // 2
            found.append(last % 2**width)
    return [q if bytepix == 1 or q < 2 ** (width - 1) else q - 2**width for q in found]


# Pixels


def random_numbers():
    """The table of the standard (FITS 4.0, appendix I), checked in the way that the standard asks for."""
    found, seed = [], 1.0
    for _ in range(10000):
        t = 16807.0 * seed
        seed = t - 2147483647.0 * int(t / 2147483647.0)
        found.append(np.float32(seed / 2147483647.0))
    assert seed == 1043618065.0
    return found


RANDOM = random_numbers()


def pixels(numbers, tile, image):
    """The pixels from the integers of a tile."""
    scale, zero, blank = image.scale[tile], image.zero[tile], image.blank[tile]
    s = (tile + image.seed - 1) % 10000
    k = int(RANDOM[s] * np.float32(500))
    found = []
    with np.errstate(all="ignore"):
        for q in numbers:
            if image.dither:
                value = (np.float64(q) - np.float64(RANDOM[k]) + 0.5) * scale + zero
                k += 1
                if k == 10000:
                    s = (s + 1) % 10000
                    k = int(RANDOM[s] * np.float32(500))
            else:
                value = np.float64(q) * scale + zero
            if q == blank:
                value = np.nan
            elif image.dither == 2 and q == EXACT_ZERO:
                value = 0.0
            found.append(np.float32(value))
    return found


@dataclass(frozen=True)
class Place:
    """The position of the pixels of a tile in the image."""

    y: int
    x: int
    rows: int
    columns: int

    @property
    def slices(self):
        return slice(self.y, self.y + self.rows), slice(self.x, self.x + self.columns)


def places(shape, tile):
    """The positions of the tiles of an image, in FITS order."""
    return [
        Place(y, x, min(tile[0], shape[0] - y), min(tile[1], shape[1] - x))
        for y in range(0, shape[0], tile[0])
        for x in range(0, shape[1], tile[1])
    ]


def decode_image(image):
    """The pixels of an image, and the numbers of its damaged tiles, whose pixels are NaN."""
    found, damaged = np.full(image.shape, np.nan, np.float32), []
    ready = dict(image.decoded)
    for number, place in enumerate(places(image.shape, image.tile)):
        code = image.data[image.start[number] : image.start[number] + image.size[number]].tobytes()
        try:
            values = ready.get(number)
            if values is None:
                q = decode(code, place.rows * place.columns, image.bytepix, image.blocksize)
                values = np.array(pixels(q, number, image), np.float32)
            found[place.slices] = np.reshape(values, (place.rows, place.columns))
        except DamagedError:
            damaged.append(number)
    return found, damaged


# Images of hand-made tiles


def image_of(
    codes,
    shape,
    tile,
    *,
    bytepix=4,
    blocksize=32,
    dither=0,
    seed=1,
    scale=1.0,
    zero=0.0,
    blank=NO_BLANK,
    gap=b"",
    decoded=(),
):
    """A RiceImage of these codes in sequence, with `gap` in front of each; None stands for tiles in `decoded`."""
    data, start, size = b"", [], []
    for code in codes:
        data += gap
        start.append(len(data))
        size.append(len(code or b""))
        data += code or b""
    n = len(codes)
    return RiceImage(
        data=np.frombuffer(data, np.uint8),
        shape=shape,
        tile=tile,
        start=np.array(start, np.int64),
        size=np.array(size, np.int64),
        bytepix=bytepix,
        blocksize=blocksize,
        quantised=bool(dither),
        dither=dither,
        seed=seed,
        scale=np.broadcast_to(np.asarray(scale, float), n).copy(),
        zero=np.broadcast_to(np.asarray(zero, float), n).copy(),
        blank=np.broadcast_to(np.asarray(blank, np.int64), n).copy(),
        decoded=tuple(decoded),
    )


# Files


def by_astropy(path, image, tile, *, level=4.0, dither=1, seed=1):
    """Let astropy write an image; returns the image as astropy reads it."""
    method = {0: -1, 1: 1, 2: 2}[dither]
    options = (
        {"quantize_level": level, "quantize_method": method, "dither_seed": seed} if image.dtype.kind == "f" else {}
    )
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile, **options)
    hdu.writeto(path, overwrite=True)
    return read(path)


def by_cfitsio(path, image, tile, *, level=4.0, dither=1, seed=1):
    """Let cfitsio write an image; returns the image as astropy reads it."""
    if fitsio is None:
        pytest.skip("needs fitsio: pip install fitsio")
    method = next(name for name, number in DITHERS.items() if number == dither)
    options = {"qlevel": level, "qmethod": method, "dither_seed": seed} if image.dtype.kind == "f" else {}
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(image, compress="rice", tile_dims=list(tile), **options)
    return read(path)


def by_hand(path, image, bitpix):
    """Write a hand-made image of integers or floats as a file that astropy and cfitsio can read."""
    codes = [image.data[s : s + n] for s, n in zip(image.start, image.size, strict=True)]
    columns = [fits.Column("COMPRESSED_DATA", "1PB()", array=np.array([*codes, None], dtype=object)[:-1])]
    if image.quantised:
        columns += [fits.Column("ZSCALE", "1D", array=image.scale), fits.Column("ZZERO", "1D", array=image.zero)]
    header = fits.Header()
    cards = {
        "ZIMAGE": True, "ZTENSION": "IMAGE", "ZBITPIX": bitpix, "ZNAXIS": 2, "ZNAXIS1": image.shape[1],
        "ZNAXIS2": image.shape[0], "ZPCOUNT": 0, "ZGCOUNT": 1, "ZTILE1": image.tile[1], "ZTILE2": image.tile[0],
        "ZCMPTYPE": "RICE_1", "ZNAME1": "BLOCKSIZE", "ZVAL1": image.blocksize, "ZNAME2": "BYTEPIX",
        "ZVAL2": image.bytepix,
    }  # fmt: skip
    if image.quantised:
        cards |= {
            "ZQUANTIZ": f"SUBTRACTIVE_DITHER_{image.dither}",
            "ZDITHER0": image.seed,
            "ZBLANK": int(image.blank[0]),
        }
    header.update(cards)
    fits.BinTableHDU.from_columns(columns, header=header).writeto(path, overwrite=True)
    return read(path)


def read(path):
    """A compressed image as astropy reads it, float32; cfitsio, if it is installed, must read the same."""
    with fits.open(path) as file:
        found = np.asarray(file[1].data).astype(np.float32)
    if fitsio is not None:
        np.testing.assert_array_equal(fitsio.read(str(path), ext=1).astype(np.float32), found)
    return found


def take_apart(path):
    """The first extension of a file as a RiceImage, with the table read by hand."""
    with fits.open(path, disable_image_compression=True) as file:
        header, data_at = file[1].header.copy(), file[1].fileinfo()["datLoc"]
    content = np.fromfile(path, np.uint8)
    n_rows, n_row_bytes = header["NAXIS2"], header["NAXIS1"]
    at, columns = 0, {}
    rows = content[data_at : data_at + n_rows * n_row_bytes].reshape(n_rows, n_row_bytes)
    for i in range(1, header["TFIELDS"] + 1):
        kind = re.match(r"1?([PQDEJ])", header[f"TFORM{i}"])[1]
        dtype = {"P": ">i4", "Q": ">i8", "D": ">f8", "E": ">f4", "J": ">i4"}[kind]
        width = np.dtype(dtype).itemsize * (2 if kind in "PQ" else 1)
        columns[header[f"TTYPE{i}"]] = np.ascontiguousarray(rows[:, at : at + width]).view(dtype)
        at += width
    heap_at = header.get("THEAP", n_rows * n_row_bytes)
    heap = content[data_at + heap_at : data_at + n_rows * n_row_bytes + header["PCOUNT"]]
    shape = header["ZNAXIS2"], header["ZNAXIS1"]
    tile = header.get("ZTILE2", 1), header.get("ZTILE1", shape[1])
    options = {header[f"ZNAME{i}"]: header[f"ZVAL{i}"] for i in range(1, 9) if f"ZNAME{i}" in header}
    quantised = "ZSCALE" in columns
    sizes, starts = np.ascontiguousarray(columns["COMPRESSED_DATA"].T, np.int64)
    decoded = []
    for number, place in enumerate(places(shape, tile)):
        if sizes[number] == 0:
            size, start = columns["GZIP_COMPRESSED_DATA"][number]
            plain = gzip.decompress(heap[start : start + size].tobytes())
            decoded.append((number, np.frombuffer(plain, ">f4").astype(np.float32).reshape(place.rows, place.columns)))
    blank = header.get("ZBLANK", header.get("BLANK"))
    blanks = columns["ZBLANK"][:, 0] if "ZBLANK" in columns else [NO_BLANK if blank is None else blank] * n_rows
    return RiceImage(
        data=heap,
        shape=shape,
        tile=tile,
        start=starts,
        size=sizes,
        bytepix=options.get("BYTEPIX", 4),
        blocksize=options.get("BLOCKSIZE", 32),
        quantised=quantised,
        dither=DITHERS[header.get("ZQUANTIZ", "NO_DITHER")] if quantised else 0,
        seed=header.get("ZDITHER0", 1),
        scale=columns["ZSCALE"][:, 0].astype(float) if quantised else np.full(n_rows, float(header.get("BSCALE", 1))),
        zero=columns["ZZERO"][:, 0].astype(float) if quantised else np.full(n_rows, float(header.get("BZERO", 0))),
        blank=np.asarray(blanks, np.int64),
        decoded=tuple(decoded),
    )
