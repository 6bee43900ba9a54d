"""Launches of the correct kernels in demo.cu, each with the result that NumPy gives.

Run as a script, this file launches all of them in a process that may run under a sanitizer.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

OPTIONS = ("--std=c++17", "--fmad=false")


def module(name: str):
    """A .cu file of this folder, compiled for the device."""
    import cupy

    return cupy.RawModule(code=(Path(__file__).parent / name).read_text(), options=OPTIONS)


def tile_max(k):
    import cupy

    for n, ny, nx in [(1, 32, 32), (2, 33, 70), (3, 31, 129)]:
        image = np.random.default_rng(nx).standard_normal((n, ny, nx)).astype(np.float32)
        tiles = (n, -(-ny // 32), -(-nx // 32))
        out = cupy.empty(tiles, cupy.float32)
        k((tiles[2], tiles[1], n), (32, 32), (cupy.asarray(image), out, np.int32(ny), np.int32(nx)))
        padded = np.full((n, tiles[1] * 32, tiles[2] * 32), -np.inf, np.float32)
        padded[:, :ny, :nx] = image
        assert np.array_equal(out.get(), padded.reshape(n, tiles[1], 32, tiles[2], 32).max(axis=(2, 4)))


def _sum(k, width):
    import cupy

    for n in (1, 31, 32, 33, 255, 256, 257):
        values = np.arange(n) + 0.5
        blocks = -(-n // width)
        out = cupy.empty(blocks)
        k((blocks,), (width,), (cupy.asarray(values), out, np.int32(n)))
        assert out.get().sum() == values.sum()


def sum_of_128(k):
    _sum(k, 128)


def sum_of_64(k):
    _sum(k, 64)


def histogram(k):
    import cupy

    bins, n = 100, 500
    bin = np.random.default_rng(1).integers(0, bins, n).astype(np.int32)
    counts = cupy.zeros(bins, cupy.uint64)
    k((4,), (128,), (cupy.asarray(bin), counts, np.int32(bins), np.int32(n)), shared_mem=4 * bins)
    assert np.array_equal(counts.get(), np.bincount(bin, minlength=bins))


def lanes(k):
    import cupy

    value = np.arange(64, dtype=np.int32)
    out = cupy.empty((64, 12), cupy.int32)
    k((1,), (64,), (cupy.asarray(value), out))
    lane, warp = value % 32, value - value % 32
    expected = np.empty((64, 12), np.int32)
    expected[:, 0] = warp + 5
    expected[:, 1] = np.where(lane + 3 < 32, value + 3, value)
    expected[:, 2] = np.where(lane % 8 >= 3, value - 3, value)
    expected[:, 3] = value ^ 1
    expected[:, 4] = np.uint32(0xAAAAAAAA).astype(np.int32)
    expected[:, 5] = warp == 0
    expected[:, 6] = 1
    expected[:, 7] = (0x11111111 << (value % 4)).astype(np.uint32).astype(np.int32)
    expected[:, 8] = 32
    expected[:, 9:11] = 1
    expected[:, 11] = np.where(lane < 16, warp + 2, -1)
    assert np.array_equal(out.get(), expected)


def atomics(k):
    import cupy

    n = 300
    values = np.random.default_rng(2).integers(-50, 50, n).astype(np.int32)
    i, u = cupy.zeros(3, cupy.int32), cupy.zeros(2, cupy.uint32)
    many, f, d = cupy.zeros(1, cupy.uint64), cupy.zeros(1, cupy.float32), cupy.zeros(2, cupy.float64)
    k((3,), (128,), (cupy.asarray(values), i, u, many, f, d, np.int32(n)))
    assert i.get().tolist() == [values.sum(), min(0, values.min()), values.max()]
    assert u.get().tolist() == [np.bitwise_or.reduce(1 << (values.astype(np.int64) & 31)), n]
    assert many.get()[0] == (values.astype(np.int64).view(np.uint64) << np.uint64(32)).max()
    assert f.get()[0] == values.sum()
    assert d.get().tolist() == [values.sum(), values.sum()]


def arithmetic(k):
    import cupy

    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(64), rng.standard_normal(64)
    c = -a * b  # values that a fused multiply-add would round differently
    out = cupy.empty((64, 16))
    k((1,), (64,), (cupy.asarray(a), cupy.asarray(b), cupy.asarray(c), out))
    got = out.get()
    assert np.all(got[:, :2] == 0), "a product and a sum were contracted"
    assert np.array_equal(got[:, 2], got[:, 3])
    assert np.any(got[:, 2] != 0)
    fixed = [0.5 + 1 + 3 + 2.5, 8 + 40 + 4 + 41 + 31 + 63, 2 - 3 - 2 + 3, 2**31 - 1, 4.0]
    assert np.array_equal(got[:, 4:9], np.tile(fixed, (64, 1)))
    assert np.array_equal(got[:, 9], a)
    assert np.all(got[:, 10] == 0x44332211)
    assert np.all(got[:, 11] == 1.0)
    assert np.all(got[:, 12] == 2**31)
    assert np.all(got[:, 13] == 1)
    assert np.all(got[:, 14] == 4 + 5 - 1)
    assert np.array_equal(got[:, 15], 1.0 + np.arange(64) % 4 + 2 + 1)


def vectors(k):
    import cupy

    n = 33
    rng = np.random.default_rng(4)
    values, add = rng.random((n, 4), np.float32), rng.random(n, np.float32)
    keep, shorts = rng.random(n) < 0.5, rng.integers(-(2**15), 2**15, n).astype(">i2")
    out, swapped = cupy.empty((n, 4), cupy.float32), cupy.empty(n, cupy.int16)
    raw = cupy.asarray(shorts.view(np.uint8))
    for extra in (None, cupy.asarray(add)):
        k((2,), (32,), (cupy.asarray(values), out, extra, cupy.asarray(keep), raw, swapped, np.int32(n)))
        expected = np.where(keep[:, None], values[:, ::-1], 0)
        expected[:, 0] += 0 if extra is None else keep * add
        assert np.array_equal(out.get(), expected)
        assert np.array_equal(swapped.get(), shorts)


def scale(k):
    import cupy

    values = np.arange(100, dtype=np.float32)
    out = cupy.empty(100, cupy.float32)
    k((math.ceil(100 / 32),), (32,), (np.float32(2), cupy.asarray(values), out, np.int32(100)))
    assert np.array_equal(out.get(), 2 * values)


DEMOS = [tile_max, sum_of_128, sum_of_64, histogram, lanes, atomics, arithmetic, vectors, scale]

if __name__ == "__main__":
    kernels = module("demo.cu")
    for demo in DEMOS:
        demo(kernels.get_function(demo.__name__))
    sys.stdout.write(f"{len(DEMOS)} demos\n")
