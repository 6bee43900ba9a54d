"""Damaged tiles and files give pixels or a clear InputError, in bounded time and memory; no read passes the end.

``python -m tests.fits.fuzz --tiles 100000 --files 2000`` tries many in minutes; the tests try a few.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import mmap
import re
import resource
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from gpuanom.encoded import NO_BLANK, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits import decode_rice, discover, open_ccds
from gpuanom.records import Ccd, CcdFailure
from gpuanom.settings import Settings
from tests.fits.compressed import encode_rice, rice_by_definition

PAGE = mmap.PAGESIZE
SLOWEST = 5.0
"""Seconds that no tile or file may exceed, on a busy machine."""


class Guarded:
    """Memory that ends at a forbidden page: a read or a write past the end ends the process."""

    def __init__(self, most):
        pages = -(-most // PAGE)
        self._map = mmap.mmap(-1, (pages + 1) * PAGE)
        self._all = np.frombuffer(self._map, np.uint8)
        self._end = pages * PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p(self._all.ctypes.data + self._end)
        if libc.mprotect(address, ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, data):
        """A view of the last bytes of the memory, filled with the data."""
        view = self._all[self._end - len(data) : self._end]
        view[:] = np.frombuffer(data, np.uint8)
        return view

    def array(self, shape, dtype):
        """An array in the last bytes of the memory."""
        n = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._all[self._end - n : self._end].view(dtype).reshape(shape)


def _mutated(rng, data):
    """The data with a few bits or bytes changed, or with another length."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.integers(5)
        at = int(rng.integers(len(data))) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and data:
            data[at] = int(rng.integers(256))
        elif kind == 2 and data:
            n = int(rng.integers(1, 40))
            data[at : at + n] = bytes([int(rng.choice([0, 255]))]) * len(data[at : at + n])
        elif kind == 3:
            data = data[: int(rng.integers(len(data) + 1))]
        else:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(data)


def tiles(n, seed=0):
    """Decode damaged tiles; the numbers of decoded and of refused tiles, and the seconds of the slowest."""
    rng = np.random.default_rng(seed)
    source, target = Guarded(2**17), Guarded(2**17)
    bases = []
    for bytepix in (1, 2, 4):
        for spread in (0.3, 4, 60, 3000):
            numbers = rng.normal(0, spread, int(rng.integers(1, 400))).round().astype(np.int64)
            numbers = numbers % 256 if bytepix == 1 else np.clip(numbers, -30000, 30000)
            for blocksize in (16, 32):
                bases.append((bytepix, blocksize, len(numbers), encode_rice(numbers, bytepix, blocksize)))
    decoded = refused = 0
    slowest = 0.0
    k = -1  # the first tile compiles the decoder, and its time does not count
    while k < n:
        bytepix, blocksize, count, data = bases[int(rng.integers(len(bases)))]
        # Two tiles are decoded side by side: some tiles stay intact, so that the damage is in either tile or in both.
        several = int(rng.integers(1, 4))
        raws = [
            rng.bytes(int(rng.integers(60))) if rng.random() < 0.05 else _mutated(rng, data) for _ in range(several)
        ]
        if several > 1:
            raws = [raw if rng.random() < 0.5 else data for raw in raws]
        size = np.array([len(raw) for raw in raws])
        start = np.cumsum(size) - size
        tile = (1, count) if rng.random() < 0.8 else (int(rng.integers(1, 9)), int(rng.integers(1, 700)))
        shape = (several * tile[0], tile[1])
        made = RiceImage(
            data=source.holding(b"".join(raws)), shape=shape, tile=tile, start=start, size=np.maximum(size, 1),
            bytepix=bytepix, blocksize=blocksize, quantised=bytepix == 4,
            dither=int(rng.integers(3)) if bytepix == 4 else 0, seed=int(rng.integers(1, 10001)),
            scale=rng.normal(size=several), zero=rng.normal(size=several),
            blank=np.full(several, NO_BLANK if k % 2 else 3),
        )  # fmt: skip
        believed = rng.random() < 0.9
        if not believed:  # positions and sizes that no reader derives from a file must not be trusted either
            which = int(rng.integers(several))
            start[which] = int(rng.integers(-5, len(made.data) + 5))
            made.size[which] = int(rng.choice([-1, 2**40, len(made.data) + 1, 2**62]))
        begun = time.perf_counter()
        try:
            decode_rice(made, target.array(shape, np.float32))
            decoded += several
            damaged = -1
        except InputError as error:
            refused += several
            found = re.search(rf"tile ([0-9]+) of {several} is damaged", str(error))
            if not found:
                raise
            damaged = int(found[1])
        slowest = max(slowest, time.perf_counter() - begun) if k >= 0 else 0.0
        if k % 100 < several and believed and size.all():
            n_pixels = tile[0] * tile[1]
            wanted = [rice_by_definition(raw, n_pixels, bytepix, blocksize) for raw in raws]
            assert damaged == next((i for i, numbers in enumerate(wanted) if numbers is None), -1)
            if damaged < 0:
                ones = np.ones(several)
                plain = replace(made, dither=0, scale=ones, zero=0 * ones, blank=np.full(several, NO_BLANK))
                np.testing.assert_array_equal(decode_rice(plain).ravel(), np.concatenate(wanted).astype(np.float32))
        k += several
    assert slowest < SLOWEST
    return decoded, refused, slowest


def _bases(folder):
    """Small files of every kind, as bytes."""
    rng = np.random.default_rng(1)
    image = rng.normal(100, 5, (64, 70)).astype(np.float32)
    image[5] = 7
    whole = rng.integers(0, 4000, (64, 70))
    cards = fits.Header({"INSTRUME": "TESTCAM", "EXPNUM": 7, "NEXTEND": 2})
    kinds = {
        "plain": lambda n: fits.ImageHDU(image, name=n),
        "u16": lambda n: fits.ImageHDU(whole.astype(np.uint16), name=n),
        "rice": lambda n: fits.CompImageHDU(image, name=n, compression_type="RICE_1", quantize_level=4),
        "rice2": lambda n: fits.CompImageHDU(
            image, name=n, compression_type="RICE_1", quantize_method=2, tile_shape=(16, 31)
        ),
        "rice16": lambda n: fits.CompImageHDU(whole.astype(np.uint16), name=n, compression_type="RICE_1"),
        "gzip1": lambda n: fits.CompImageHDU(whole.astype(np.int32), name=n, compression_type="GZIP_1"),
        "gzip2": lambda n: fits.CompImageHDU(image, name=n, compression_type="GZIP_2"),
    }
    bases = []
    for kind, maker in kinds.items():
        for checksum in (False, True):
            path = folder / f"base_{kind}.fits"
            hdus = fits.HDUList([fits.PrimaryHDU(header=cards), maker("C1"), maker("C2")])
            hdus.writeto(path, overwrite=True, checksum=checksum)
            bases.append((path.read_bytes(), ".fits"))
            path.unlink()
    bases.append((gzip.compress(bases[0][0], 1), ".fits.gz"))
    return bases


def _mutated_file(rng, data):
    kind = rng.integers(4)
    if kind == 0:
        return _mutated(rng, data)
    data = bytearray(data)
    if kind == 1:  # a number in a card
        for _ in range(int(rng.integers(1, 4))):
            at = 80 * int(rng.integers(len(data) // 80)) + 10
            value = rng.choice([-1, 0, 1, 2, 3, 7, 255, 2**15, 2**31 - 1, 2**31, 2**40, 2**63, 10**18])
            digits = str(value).encode()
            if data[at - 2 : at] == b"= ":
                data[at : at + 20] = digits.rjust(20)
    elif kind == 2:  # four bytes anywhere, for example in a descriptor of a table
        at = 4 * int(rng.integers(len(data) // 4))
        data[at : at + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "big")
    else:  # a block lost or repeated
        at = 2880 * int(rng.integers(len(data) // 2880 + 1))
        block = data[at : at + 2880]
        data[at : at + 2880] = b"" if rng.random() < 0.5 else block + block
    return bytes(data)


def files(n, seed=0):
    """Read damaged files; the numbers of CCDs with pixels and of failures, and the seconds of the slowest file."""
    rng = np.random.default_rng(seed)
    settings = Settings()
    read = failed = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bases = _bases(folder)
        for k in range(n + len(bases)):  # the first files are intact, and their reading compiles the decoders
            data, ending = bases[int(rng.integers(len(bases)))] if k >= len(bases) else bases[k]
            path = folder / f"damaged_{k}{ending}"
            path.write_bytes(_mutated_file(rng, data) if k >= len(bases) else data)
            begun = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = discover([path], settings)
                for exposure in found.exposures:
                    for item in open_ccds(exposure, settings):
                        for encoded in (False, True):
                            ccd = item if isinstance(item, CcdFailure) else item.load(encoded=encoded)
                            if isinstance(ccd, CcdFailure):
                                failed += 1
                                assert path.name in ccd.reason, ccd
                                assert "\n" not in ccd.reason
                            else:
                                assert isinstance(ccd, Ccd)
                                assert encoded or ccd.image.shape == item.shape
                                read += 1
            slowest = max(slowest, time.perf_counter() - begun) if k >= len(bases) else 0.0
            path.unlink()
    assert slowest < SLOWEST
    return read, failed, slowest


def main():
    """Read this many tiles and files, and report the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, many in (("tiles", tiles), ("files", files)):
        count = getattr(options, what)
        good, refused, slowest = many(count, options.seed)
        print(f"{count} {what}: {good} read, {refused} refused, the slowest {slowest * 1000:.0f} ms", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak // 1024} MB ({(peak - before) // 1024} MB above that of the imports)")


if __name__ == "__main__":
    main()
