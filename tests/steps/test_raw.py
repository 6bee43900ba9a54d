"""The bytes of an uncompressed FITS image to pixels on the device, by the launcher beside the step `prepare`."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.encoded import NO_BLANK, RawImage
from tests import device


@pytest.fixture(params=["gpu"])
def launcher(request):
    with device.installed():
        from gpuanom.backends.gpu import prepare

        yield prepare


def raw_image(numbers, **meaning):
    """An image of stored numbers, as the bytes of a file."""
    data = np.frombuffer(numbers.astype(numbers.dtype.newbyteorder(">")).tobytes(), np.uint8)
    bitpix = 8 * numbers.dtype.itemsize * (-1 if numbers.dtype.kind == "f" else 1)
    return RawImage(data=data, shape=numbers.shape, bitpix=bitpix, **meaning)


def expected(numbers, bscale=1.0, bzero=0.0, blank=NO_BLANK):
    """The definition, pixel by pixel."""
    found = np.empty(numbers.shape, np.float32)
    with np.errstate(all="ignore"):
        for at, number in np.ndenumerate(numbers):
            if numbers.dtype.kind == "i" and int(number) == blank:
                found[at] = np.nan
            elif numbers.dtype.kind == "f" and (bscale, bzero) == (1.0, 0.0):
                found[at] = number
            else:
                found[at] = np.float32(np.float64(number) * bscale + bzero)
    return found


def same_bits(actual, wanted):
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(wanted))
    finite = ~np.isnan(wanted)
    np.testing.assert_array_equal(actual[finite].view(np.uint32), wanted[finite].view(np.uint32))


def numbers_of(bitpix, shape, seed=0):
    rng = np.random.default_rng(seed)
    if bitpix == -32:
        numbers = rng.normal(0, 1e4, shape).astype(np.float32)
        numbers.flat[:7] = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-42, 3e38]
        return numbers
    dtype = {16: np.int16, 32: np.int32}[bitpix]
    limits = np.iinfo(dtype)
    numbers = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    numbers.flat[:5] = [limits.min, limits.max, 0, -1, 258]
    return numbers


@pytest.mark.parametrize("shape", [(1, 7), (16, 16), (3, 257), (31, 33)])
@pytest.mark.parametrize("meaning", [{}, {"bzero": 32768.0}, {"bscale": -0.1, "bzero": 1e-3}, {"bscale": 1e-48}])
@pytest.mark.parametrize("blank", [NO_BLANK, -1, -(2**31)])
@pytest.mark.parametrize("bitpix", [16, 32, -32])
def test_pixels(launcher, bitpix, shape, meaning, blank):
    import cupy

    numbers = numbers_of(bitpix, shape)
    image = raw_image(numbers, blank=blank, **meaning)
    out = cupy.empty(shape, np.float32)
    launcher.pixels(cupy.asarray(image.data), image, out)
    same_bits(out.get(), expected(numbers, blank=blank, **meaning))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32])
def test_files_that_astropy_writes(launcher, tmp_path, dtype):
    import cupy

    pixels = np.arange(6 * 11).reshape(6, 11).astype(dtype)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", do_not_scale_image_data=True) as file:
        header, at = file[0].header, file[0].fileinfo()["datLoc"]
        size = pixels.size * abs(header["BITPIX"]) // 8
        bscale, bzero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    data = np.fromfile(tmp_path / "a.fits", np.uint8)
    image = RawImage(data[at : at + size], pixels.shape, header["BITPIX"], bscale, bzero)
    # The whole file lies on the device: data begin at multiples of 2880 bytes.
    out = cupy.empty(pixels.shape, np.float32)
    launcher.pixels(cupy.asarray(data)[at : at + size], image, out)
    np.testing.assert_array_equal(out.get(), pixels.astype(np.float32))


def test_one_buffer_serves_the_ccds_of_a_stack(launcher):
    """All CCDs go through the same buffer while bytes of the CCD before may still wait; no other CCD changes."""
    import cupy

    from gpuanom.backends.gpu.staging import Staging

    shape, staging = (13, 21), Staging()
    sorts = [(16, {"bzero": 32768.0}), (32, {"blank": 0}), (-32, {}), (16, {"bscale": 0.5})]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stack = cupy.full((6, *shape), -7.0, np.float32)
        slot = cupy.empty(4 * shape[0] * shape[1], np.uint8)
        wanted = np.full(stack.shape, -7.0, np.float32)
        for place, (bitpix, meaning) in zip([4, 0, 1, 3], sorts, strict=True):
            numbers = numbers_of(bitpix, shape, seed=place)
            image = raw_image(numbers, **meaning)
            raw = slot[: image.data.size]
            staging.upload(image.data, raw)
            launcher.pixels(raw, image, stack[place])
            wanted[place] = expected(numbers, **meaning)
        same_bits(stack.get(), wanted)


def test_what_the_device_does_not_convert_is_refused(launcher):
    import cupy

    image = raw_image(np.zeros((3, 4), np.int16))
    raw, out = cupy.asarray(image.data), cupy.empty((3, 4), np.float32)
    with pytest.raises(ValueError, match="BITPIX 8 is converted on the host"):
        launcher.pixels(raw, RawImage(image.data, (3, 4), 8), out)
    with pytest.raises(ValueError, match="24 bytes are not 3 x 4 pixels of 32 bits"):
        launcher.pixels(raw, RawImage(image.data, (3, 4), 32), out)
    with pytest.raises(ValueError, match="3 x 4 pixels into an array"):
        launcher.pixels(raw, image, cupy.empty((4, 3), np.float32))
    with pytest.raises(ValueError, match="multiple of 4"):
        launcher.pixels(cupy.asarray(np.zeros(25, np.uint8))[1:], image, out)
