"""Compressed images of every kind that gpuanom decodes, as astropy and cfitsio write and read them."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.io import fits

SEEDS = (1, 2, 777, 9998, 10000)


def scene(rng, ny, nx, dtype, nans=False):
    """A noisy image with features that are hard for decoders: cosmic rays, constant rows, zeros, extreme values."""
    dtype = np.dtype(dtype)
    noise = 10 ** rng.uniform(-1, 2.5)
    image = rng.normal(1000, noise, (ny, nx))
    for _ in range(int(rng.integers(0, 4))):
        image[rng.integers(ny), rng.integers(nx)] += rng.choice([3e4, 5e4, -900])
    if rng.random() < 0.3:
        image[rng.integers(ny)] = 123
    if rng.random() < 0.3:
        image[rng.integers(ny), : nx // 2] = 0
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        if rng.random() < 0.2:
            image = rng.integers(info.min, info.max, (ny, nx), dtype=np.int64, endpoint=True)
        return np.clip(np.round(image), info.min, info.max).astype(dtype)
    if nans:
        image[rng.random((ny, nx)) < 0.05] = np.nan
    return image.astype(dtype)


def random_case(rng):
    """Random keyword arguments for `write`."""
    writer = str(rng.choice(["astropy", "fitsio"]))
    code = str(rng.choice(["RICE_1", "RICE_1", "GZIP_1", "GZIP_2"]))
    kinds = ["u1", "i2", "u2", "i4", "f4", "f4", "f4", "f8"]
    dtype = str(rng.choice(kinds))
    ny, nx = (int(n) for n in rng.integers(1, 90, 2))
    shape = rng.choice(["rows", "any", "all"])
    tile = {"rows": (1, nx), "any": tuple(int(rng.integers(1, n + 1)) for n in (ny, nx)), "all": (ny, nx)}[str(shape)]
    return {
        "writer": writer, "code": code, "dtype": dtype, "shape": (ny, nx), "tile": tile,
        "dither": int(rng.choice([0, 1, 2])), "seed": int(rng.choice(SEEDS)), "level": float(rng.choice([1, 4, 16])),
        "lossless": bool(rng.random() < 0.2) and code != "RICE_1", "nans": bool(rng.random() < 0.4),
        "random": int(rng.integers(2**31)),
    }  # fmt: skip


def write(path, *, writer, code, dtype, shape, tile, dither, seed, level, lossless, nans, random):
    """Write the image of a case."""
    image = scene(np.random.default_rng(random), *shape, dtype, nans)
    if writer == "fitsio":
        import fitsio

        how = {0: fitsio.NO_DITHER, 1: fitsio.SUBTRACTIVE_DITHER_1, 2: fitsio.SUBTRACTIVE_DITHER_2}[dither]
        with fitsio.FITS(str(path), "rw", clobber=True) as file:
            file.write(
                image, compress=code, tile_dims=list(tile), qlevel=0 if lossless else level, qmethod=how,
                dither_seed=seed,
            )  # fmt: skip
    else:
        how = {0: -1, 1: 1, 2: 2}[dither]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdu = fits.CompImageHDU(
                image, compression_type=code, tile_shape=tile, quantize_method=how, dither_seed=seed,
                quantize_level=0.0 if lossless else level,
            )  # fmt: skip
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


def by_astropy(path):
    """The pixels as decoded by astropy."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return fits.getdata(path, 1).astype(np.float32)


def by_cfitsio(path):
    """The pixels as decoded by cfitsio."""
    import fitsio

    return fitsio.read(str(path), ext=1).astype(np.float32)


FORMS = {1: (3, 6, 8), 2: (4, 14, 16), 4: (5, 25, 32)}
"""FSBITS, FSMAX and the number of literal bits, by BYTEPIX."""


def encode_rice(numbers, bytepix, blocksize):
    """A Rice-coded tile from the definition (FITS 4.0, section 10.4.1), with codes of nearly the least length."""
    fs_bits, fs_most, width = FORMS[bytepix]
    numbers = [int(n) for n in numbers]
    bits = f"{numbers[0] % (1 << width):0{width}b}"
    last = numbers[0]
    differences = []
    for n in numbers:
        d = n - last
        differences.append(2 * d if d >= 0 else -2 * d - 1)
        last = n
    for at in range(0, len(numbers), blocksize):
        block = differences[at : at + blocksize]
        if not any(block):
            bits += "0" * fs_bits
            continue
        fs = max(0, int(sum(block) / len(block) / 2 + 1).bit_length() - 1)
        if fs >= fs_most:
            bits += f"{fs_most + 1:0{fs_bits}b}" + "".join(f"{v % (1 << width):0{width}b}" for v in block)
            continue
        bits += f"{fs + 1:0{fs_bits}b}"
        for v in block:
            bits += "0" * (v >> fs) + "1" + (f"{v & ((1 << fs) - 1):0{fs}b}" if fs else "")
    n_bytes = -(-len(bits) // 8)
    return int(bits.ljust(8 * n_bytes, "0"), 2).to_bytes(n_bytes, "big")


def rice_by_definition(data, n, bytepix, blocksize):
    """The n integers of a tile, decoded bit by bit; None where the tile is damaged."""
    fs_bits, fs_most, width = FORMS[bytepix]
    bits = "".join(f"{byte:08b}" for byte in data)
    if len(bits) < width:
        return None
    last, p = int(bits[:width], 2), width
    numbers = []
    for at in range(0, n, blocksize):
        count = min(blocksize, n - at)
        if p + fs_bits > len(bits):
            return None
        fs, p = int(bits[p : p + fs_bits], 2) - 1, p + fs_bits
        if fs > fs_most:
            return None
        for _ in range(count):
            v = 0
            if fs == fs_most:
                if p + width > len(bits):
                    return None
                v, p = int(bits[p : p + width], 2), p + width
            elif fs >= 0:
                one = bits.find("1", p)
                if one < 0 or one + 1 + fs > len(bits):
                    return None
                v = ((one - p) << fs) | int("0" + bits[one + 1 : one + 1 + fs], 2)
                p = one + 1 + fs
            v %= 1 << 32
            last += v // 2 if v % 2 == 0 else -(v + 1) // 2
            numbers.append(last % (1 << width))
    half = 1 << (width - 1)
    return np.array([m - 2 * half if bytepix > 1 and m >= half else m for m in numbers])
