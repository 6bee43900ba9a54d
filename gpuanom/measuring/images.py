"""Images in memory, of any kind that people hold them in, converted to the CCDs that the steps need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gpuanom.arguments import is_several, shown, text, whole_number
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError, printable
from gpuanom.records import Ccd, Turn, Unfit

ALL_STEPS = int(Unfit.BACKGROUND | Unfit.SOURCES | Unfit.GRADIENTS)


def as_ccds(ccds: Iterable[Any] | Mapping[str, Any]) -> list[Ccd]:
    """Convert the images of an exposure to CCDs, and check each.

    Parameters
    ----------
    ccds : iterable of array_like or Ccd, or mapping of names to them
        Images without a name are called 1, 2, ... in their order.

    Returns
    -------
    list of Ccd

    Raises
    ------
    InputError
        When an image cannot be used, two images have the same name, or there is no image.
    """
    if isinstance(ccds, str | bytes | os.PathLike):
        raise InputError(f"ccds is {shown(ccds)} but must be a list of arrays (gpuanom.score measures files)")
    if isinstance(ccds, Ccd) or _is_ccddata(ccds) or (isinstance(ccds, np.ndarray) and ccds.ndim == 2):
        raise InputError("an exposure is a list of CCDs, even if it has one: measure([image])")
    if not is_several(ccds):
        raise InputError(f"ccds is {shown(ccds)} but must be a list of arrays")
    if isinstance(ccds, Mapping):
        given = [(text("the name of a CCD", name), ccd) for name, ccd in ccds.items()]
        records = [replace(as_ccd(ccd, name), name=name) for name, ccd in given]
    else:
        records = [as_ccd(ccd, str(i)) for i, ccd in enumerate(ccds, 1)]
    if not records:
        raise InputError("an exposure without CCDs cannot be measured")
    names = [ccd.name for ccd in records]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two CCDs are named '{min(twice)}'")
    return records


def as_ccd(given: Any, name: str) -> Ccd:
    """Convert an image to a CCD: float32, native byte order, C-contiguous; copied only if it is not that already.

    Parameters
    ----------
    given : array_like, (ny, nx), or Ccd
        With a mask, where it is a `numpy.ma` array, an `astropy.nddata.NDData` or a `Ccd`: booleans mark pixels that
        are bad for every step.
    name : str
        Name of the CCD, unless it is a `Ccd` and has one.

    Returns
    -------
    Ccd

    Raises
    ------
    InputError
        When the image is not 2-D or not of real numbers, or the mask differs in shape or does not hold `Unfit` bits.
    """
    if not isinstance(given, Ccd):
        pixels, mask = _pixels_and_mask(given, name)
        return Ccd(name, _image(pixels, name), mask)
    name = text("the name of a CCD", given.name)
    if isinstance(given.image, RawImage | RiceImage):
        raise InputError(f"CCD {name}: its image must be an array of pixels, not {type(given.image).__name__}")
    pixels, masked = _pixels_and_mask(given.image, name)
    image = _image(pixels, name)
    bad = masked if given.bad is None else _bits(given.bad, image.shape, name)
    if given.bad is not None and masked is not None:
        bad = np.maximum(bad, masked)  # a pixel that is masked has all bits
    try:
        saturation = float("nan") if given.saturation is None else float(given.saturation)
        axes = None if given.sky_axes is None else tuple(np.asarray(given.sky_axes, dtype=np.float64).ravel().tolist())
    except (TypeError, ValueError):
        raise InputError(f"CCD {name}: saturation and sky_axes must be numbers") from None
    if axes is not None and len(axes) != 4:
        raise InputError(f"CCD {name}: sky_axes must be the four numbers CD1_1, CD1_2, CD2_1, CD2_2")
    turn = whole_number(given.turn)
    if turn not in list(Turn):
        raise InputError(f"CCD {name}: turn is {shown(given.turn)} but must be a gpuanom.Turn")
    return Ccd(name, image, bad, saturation, Turn(turn), axes)


def _image(pixels: Any, name: str) -> Any:
    """Pixels as the steps need them."""
    image = _array(pixels, name, "image")
    if image.ndim != 2:
        raise InputError(f"CCD {name}: a CCD is a 2-D image, {_wrong_image(pixels, image)}", status="not_2d")
    if image.dtype.kind not in "iuf":
        hint = " (is it a mask?)" if image.dtype.kind == "b" else ""
        raise InputError(f"CCD {name}: pixels must be real numbers, not {image.dtype}{hint}")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(image, dtype=np.float32)


def _wrong_image(pixels: Any, image: np.ndarray[Any, Any]) -> str:
    """In words, what was given instead of a 2-D image."""
    if hasattr(pixels, "header") and hasattr(type(pixels), "data"):
        return "this is an HDU of a file: give its pixels, hdu.data (gpuanom.score reads files, with masks and trims)"
    if image.dtype.kind not in "biufc":
        return f"this is {shown(pixels)}"
    return f"this array has shape {image.shape}"


def _array(values: Any, name: str, role: str) -> np.ndarray[Any, Any]:
    """Convert anything array-like to an array of plain numbers; a `Quantity` loses its unit."""
    if hasattr(values, "header") and hasattr(type(values), "data"):
        return np.empty((), dtype=object)  # an HDU would be listed byte by byte
    try:
        return np.asarray(values)
    except Exception as error:  # whatever the object's own conversion raises
        why = printable(str(error))[:100]
        raise InputError(
            f"CCD {name}: its {role} ({type(values).__name__}) cannot be read as an array: {why}"
        ) from None


def _pixels_and_mask(given: Any, name: str) -> tuple[Any, Any]:
    """Separate pixels from the mask that comes with them; the mask as `Unfit` bits, or None."""
    if isinstance(given, np.ma.MaskedArray):
        mask = np.ma.getmask(given)
        return given.data, None if mask is np.ma.nomask else _bits(mask, given.shape, name)
    if hasattr(given, "unmasked") and hasattr(given, "mask"):  # astropy's Masked
        return given.unmasked, _bits(np.asarray(given.mask) != 0, np.shape(given.unmasked), name)
    if not _is_ccddata(given):
        return given, None
    pixels, mask = given.data, given.mask
    if mask is None or mask is np.ma.nomask:
        return pixels, None
    # As in numpy.ma, every value other than zero masks its pixel.
    return pixels, _bits(_array(mask, name, "mask") != 0, np.shape(pixels), name)


def _is_ccddata(given: Any) -> bool:
    """Whether an image is an astropy NDData; astropy.nddata is imported only where it may be one."""
    if not all(hasattr(given, name) for name in ("uncertainty", "meta", "mask")):
        return False
    from astropy.nddata import NDData

    return isinstance(given, NDData)


def _bits(mask: Any, shape: tuple[int, ...], name: str) -> Any:
    """Convert a mask of booleans or of `Unfit` bits to `Unfit` bits."""
    bad = _array(mask, name, "mask")
    if bad.ndim == 0:
        bad = np.broadcast_to(bad, shape)
    if bad.shape != shape:
        raise InputError(f"CCD {name}: its mask has shape {bad.shape}, its image {shape}")
    if bad.dtype == np.bool_:
        bad = bad * np.uint8(ALL_STEPS)
    if bad.dtype.kind not in "iu" or (bad.size and not 0 <= int(bad.min()) <= int(bad.max()) <= ALL_STEPS):
        raise InputError(f"CCD {name}: a mask holds booleans, or `gpuanom.Unfit` bits from 0 to {ALL_STEPS}")
    return np.ascontiguousarray(bad, dtype=np.uint8)
