"""The DATASUM of bytes on the device, by the launcher beside the step `prepare`, against the host's sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuanom.fits.opening.checksum import fold_carry
from tests import device


@pytest.fixture(params=["gpu"])
def launcher(request):
    with device.installed():
        from gpuanom.backends.gpu import checksum

        yield checksum


def expected(data):
    """The definition, word by word (FITS 4.0, appendix J)."""
    padded = bytes(data) + bytes(-len(data) % 4)
    return fold_carry(sum(int.from_bytes(padded[i : i + 4], "big") for i in range(0, len(padded), 4)))


def damaged(launcher, images, sums, n_ccd=None, places=None):
    """Which CCDs are marked, for images that lie one behind the other at multiples of 16 bytes."""
    import cupy

    places = range(len(images)) if places is None else places
    begins = np.concatenate([[0], np.cumsum([-(-len(image) // 16) * 16 for image in images])]).astype(int)
    data = np.full(begins[-1] + 16, 0xA5, np.uint8)  # bytes between the images must not count
    for begin, image in zip(begins, images, strict=False):
        data[begin : begin + len(image)] = image
    marked = cupy.full(n_ccd or len(images), -1, np.int32)
    wanted = [(p, int(b), len(i), s) for p, b, i, s in zip(places, begins, images, sums, strict=False)]
    launcher.compare_sums(cupy.asarray(data), wanted, marked)
    return marked.get().tolist()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 4095, 4096, 4099, 2880 * 60])
def test_every_size(launcher, size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    right = expected(data)
    assert damaged(launcher, [data, data, data], [right, (right + 1) % 2**32, right]) == [-1, 0, -1]


def test_every_bit_counts(launcher):
    data = np.random.default_rng(3).integers(0, 256, 39, np.uint8)
    images = [data] + [np.array(data) for _ in range(39 * 8)]
    for bit, image in enumerate(images[1:]):
        image[bit // 8] ^= np.uint8(1 << bit % 8)
    assert damaged(launcher, images, [expected(data)] * len(images)) == [-1] + [0] * (39 * 8)


def test_both_forms_of_zero(launcher):
    """A sum with all bits set equals 0."""
    zeros, ones = np.zeros(40, np.uint8), np.full(40, 255, np.uint8)
    assert damaged(launcher, [zeros, zeros, ones, ones], [0, 2**32 - 1, 0, 2**32 - 1]) == [-1, -1, -1, -1]


def test_only_the_places_of_images_are_marked(launcher):
    data = np.ones(100, np.uint8)
    assert damaged(launcher, [data, data], [1, 2], n_ccd=5, places=[3, 1]) == [-1, 0, -1, 0, -1]


def test_more_images_than_threads_of_a_block(launcher):
    images = [np.full(4, i % 256, np.uint8) for i in range(300)]
    sums = [expected(image) for image in images]
    sums[299] += 1
    assert damaged(launcher, images, sums) == [-1] * 299 + [0]


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_bytes(images, other):
    with device.installed():
        from gpuanom.backends.gpu import checksum

        arrays = [np.frombuffer(image, np.uint8) for image in images]
        sums = [expected(image) for image in images]
        sums[-1] = other
        wrong = expected(images[-1]) % (2**32 - 1) != other % (2**32 - 1)
        assert damaged(checksum, arrays, sums) == [-1] * (len(images) - 1) + [0 if wrong else -1]


@pytest.mark.parametrize(
    ("row", "what"), [((0, 8, 4, 0), "byte 8"), ((0, 16, 33, 0), "33 bytes"), ((2, 0, 4, 0), "place 2")]
)
def test_a_launcher_that_asks_for_what_is_not_there(launcher, row, what):
    import cupy

    with pytest.raises(ValueError, match=what):
        launcher.compare_sums(cupy.zeros(48, np.uint8), [row], cupy.full(2, -1, np.int32))
