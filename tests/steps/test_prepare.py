"""A stack holds its CCDs unchanged and in order: image, mask and saturation level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpuanom.encoded import RiceImages
from gpuanom.fits.opening.checksum import ones_complement_sum
from gpuanom.records import NO_PIXELS, Ccd, CcdsTogether
from tests import sky, tiles


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (64, 64), (65, 130)])
@pytest.mark.parametrize("masked", [(), (0,), (1,), (0, 2)])
@pytest.mark.parametrize("n_ccd", [1, 3])
def test_stack_is_its_ccds(backend, shape, masked, n_ccd):
    ny, nx = shape
    ccds = [
        Ccd(
            str(i),
            sky.make(ny, nx, sky.dots([(0, 0, np.nan)]), noise=5.0, seed=i),
            sky.bad_plane(ny, nx, fraction=0.3, seed=i) if i in masked else None,
            saturation=float("nan") if i == 1 else 1000.0 + i,
        )
        for i in range(n_ccd)
    ]
    stack = backend.prepare(iter(ccds), n_ccd + 2)
    assert stack.shape == (n_ccd, ny, nx)
    np.testing.assert_array_equal(backend.to_host(stack.images), np.stack([ccd.image for ccd in ccds]))
    np.testing.assert_array_equal(
        backend.to_host(stack.saturation), np.array([ccd.saturation for ccd in ccds], np.float32)
    )
    if any(ccd.bad is not None for ccd in ccds):
        blank = np.zeros(shape, np.uint8)
        planes = np.stack([blank if c.bad is None else c.bad for c in ccds])
        np.testing.assert_array_equal(backend.to_host(stack.bad), planes)
    else:
        assert stack.bad is None


def together():
    """Three CCDs that were read together, one of them with a mask; and the same CCDs, each with its image alone."""
    rng, shape = np.random.default_rng(3), (6, 9)
    codes = [[tiles.encode(row) for row in rng.integers(0, 99, shape).tolist()] for _ in range(3)]
    images = [
        tiles.image_of(code, shape, (1, shape[1]), dither=1, seed=10 * i + 7, scale=0.5 + i, zero=i, gap=b"?" * i)
        for i, code in enumerate(codes)
    ]
    # What lies between the images, such as headers, is sent too. Each begins at a multiple of 16.
    data = b"".join(image.data.tobytes().ljust(2880, b"!") for image in images)
    wanted = [ones_complement_sum(image.data) for image in images]
    given = RiceImages(
        data=np.frombuffer(data, np.uint8),
        start=np.array([image.start + 2880 * i for i, image in enumerate(images)]),
        size=np.array([image.size for image in images]),
        scale=np.array([image.scale for image in images]),
        zero=np.array([image.zero for image in images]),
        seeds=[image.seed for image in images],
        sums=[(2880 * i, image.data.size, wanted[i]) for i, image in enumerate(images)],
        blank=images[0].blank,
        **{name: getattr(images[0], name) for name in FORM},
    )
    bad = [None, sky.bad_plane(*shape, fraction=0.5, seed=1), None]
    ccds = [Ccd(str(i), NO_PIXELS, bad[i], saturation=100.0 + i) for i in range(3)]
    alone = [replace(ccd, image=replace(image, datasum=s)) for ccd, image, s in zip(ccds, images, wanted, strict=True)]
    return CcdsTogether(ccds, given), alone


FORM = ("shape", "tile", "bytepix", "blocksize", "quantised", "dither", "lent")


def test_ccds_that_were_read_together(backend):
    several, alone = together()
    if not backend.takes_encoded:
        with pytest.raises(TypeError, match="read together"):
            backend.prepare([several], 3)
        return
    one = alone[0]
    stack, wanted = backend.prepare([one, several, one], 5), backend.prepare([one, *alone, one], 5)
    for name in ("images", "bad", "saturation", "damaged"):
        np.testing.assert_array_equal(
            *(backend.to_host(getattr(s, name)).tobytes() for s in (stack, wanted)), err_msg=name
        )
    assert backend.to_host(stack.damaged).tolist() == [-1] * 5
    assert len(np.unique(backend.to_host(stack.images), axis=0)) == 3


def test_sums_of_ccds_that_were_read_together(backend):
    several, _ = together()
    if not backend.takes_encoded:
        pytest.skip("pixels only")
    first, second, third = several.images.sums
    wrong = replace(several.images, sums=[first, (*second[:2], second[2] ^ 1), third])
    stack = backend.prepare([replace(several, images=wrong)], 3)
    assert backend.to_host(stack.damaged).tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1, 1, 0]}, "ZDITHER0 0"),
        ({"start": np.full((3, 6), 3 * 2880)}, "outside the data"),
        ({"size": np.full((3, 6), -1)}, "outside the data"),
        ({"scale": np.ones(6)}, "numbers for other than 6 tiles"),
        ({"blank": np.zeros((3, 6), np.int64)}, "numbers for other than 6 tiles"),
    ],
)
def test_what_no_reader_gives_is_refused(backend, changes, message):
    several, _ = together()
    if not backend.takes_encoded:
        pytest.skip("pixels only")
    with pytest.raises(ValueError, match=message):
        backend.prepare([replace(several, images=replace(several.images, **changes))], 3)
