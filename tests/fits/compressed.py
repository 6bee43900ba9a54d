"""Compressed images of every kind that is decoded here, made by astropy and by cfitsio, and what both read of them."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.io import fits

SEEDS = (1, 2, 777, 9998, 10000)


def scene(rng, ny, nx, dtype, nans=False):
    """A noisy image with what decoders trip over: cosmic rays, constant rows, zeros, extremes."""
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
    """Keyword arguments of `write`."""
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
    """The pixels as astropy decodes them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return fits.getdata(path, 1).astype(np.float32)


def by_cfitsio(path):
    """The pixels as cfitsio decodes them."""
    import fitsio

    return fitsio.read(str(path), ext=1).astype(np.float32)
