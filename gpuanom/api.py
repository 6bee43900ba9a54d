"""The Python API for arrays: measure CCDs in memory, and rank measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gpuanom import tables
from gpuanom.backend import select
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.measuring import measure_ccds
from gpuanom.records import Ccd, Exposure, Measurement, Unfit
from gpuanom.reference import References
from gpuanom.settings import Settings
from gpuanom.store import Store
from gpuanom.tables import Tables

ALL_STEPS = int(Unfit.BACKGROUND | Unfit.SOURCES | Unfit.GRADIENTS)


def measure(
    ccds: Iterable[npt.ArrayLike | Ccd],
    settings: Settings | None = None,
    device: str = "auto",
    *,
    exposure: str = "exposure",
    camera: str = "",
    band: str = "",
) -> Measurement:
    """Measure one exposure whose CCDs are in memory.

    Parameters
    ----------
    ccds : iterable of array_like, (ny, nx), or Ccd
        Images in any numeric type and byte order, in any linear unit; NaN, infinite and masked (`numpy.ma`) pixels are
        bad. `Ccd` records carry names, masks and more; plain arrays are named 1, 2, 3 ...
    settings : Settings, optional
    device : str, optional
        ``auto``, ``cpu`` or a GPU's number.
    exposure : str, optional
        Id of the exposure: with the CCDs' names and the seed it decides the random points.
    camera, band : str, optional
        The dataset that it is to be compared with.

    Returns
    -------
    Measurement
        Its CCDs have a status each; one that cannot be measured does not keep the others from it.

    Raises
    ------
    InputError
        When an array is not a 2-D image of real numbers, or two CCDs have one name.

    Examples
    --------
    >>> import numpy as np, gpuanom
    >>> sky = np.random.default_rng(1).normal(1000.0, 30.0, (512, 512))
    >>> measured = gpuanom.measure([sky])
    >>> measured.ccds[0].status, round(measured.ccds[0].sigma)
    ('ok', 30)
    """
    if isinstance(ccds, np.ndarray) and ccds.ndim == 2:
        raise InputError("an exposure is a list of CCDs, even if it has one: measure([image])")
    records = [checked(ccd) if isinstance(ccd, Ccd) else as_ccd(ccd, str(i)) for i, ccd in enumerate(ccds, 1)]
    names = [ccd.name for ccd in records]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two CCDs are named '{min(twice)}'")
    settings = settings or Settings()
    about = Exposure(
        exposure=exposure,
        camera=camera,
        band=band,
        date_obs="",
        exptime=float("nan"),
        files=(),
        masks=(),
        fingerprint="",
        rule="",
    )
    return Measurement(about, measure_ccds(exposure, records, settings, select(device)), settings.fingerprint())


def as_ccd(array: npt.ArrayLike, name: str) -> Ccd:
    """An array as a CCD: float32, native byte order, C-contiguous; copied only if it is not that already.

    Raises
    ------
    InputError
        When it is not a 2-D image of real numbers.
    """
    if isinstance(array, np.ma.MaskedArray):
        return checked(Ccd(name, array.data, np.ma.getmaskarray(array) * np.uint8(ALL_STEPS)))
    image = np.asarray(array)
    if image.ndim != 2:
        raise InputError(f"CCD {name}: a CCD is a 2-D image, this array has shape {image.shape}", status="not_2d")
    if image.dtype.kind not in "iufb":
        raise InputError(f"CCD {name}: pixels must be real numbers, not {image.dtype}")
    with np.errstate(over="ignore"):
        return Ccd(name, np.ascontiguousarray(image, dtype=np.float32))


def checked(ccd: Ccd) -> Ccd:
    """A CCD record as the steps need it: image and mask of the right types and of one shape.

    A mask of booleans marks pixels that are bad for every step.

    Raises
    ------
    InputError
        When the image is not a 2-D image of real numbers, or the mask is not of its shape or holds no `Unfit` bits.
    """
    if isinstance(ccd.image, RawImage | RiceImage):
        raise InputError(f"CCD {ccd.name}: its image must be an array of pixels, not {type(ccd.image).__name__}")
    image = as_ccd(ccd.image, ccd.name).image
    if ccd.bad is None:
        return replace(ccd, image=image)
    bad = np.asarray(ccd.bad)
    if bad.shape != image.shape:
        raise InputError(f"CCD {ccd.name}: its mask has shape {bad.shape}, its image {image.shape}")
    if bad.dtype == np.bool_:
        bad = bad * np.uint8(ALL_STEPS)
    if bad.dtype.kind not in "iu" or (bad.size and not 0 <= int(bad.min()) <= int(bad.max()) <= ALL_STEPS):
        raise InputError(f"CCD {ccd.name}: a mask holds booleans, or `gpuanom.Unfit` bits from 0 to {ALL_STEPS}")
    return replace(ccd, image=image, bad=np.ascontiguousarray(bad, dtype=np.uint8))


def rank(
    measurements: Sequence[Measurement],
    settings: Settings | None = None,
    reference: References | None = None,
    device: str = "auto",
) -> Tables:
    """Score and rank measured exposures against each other, or against a saved reference.

    Parameters
    ----------
    measurements : sequence of Measurement
        With distinct ids within a camera.
    settings : Settings, optional
        Those they were measured with.
    reference : References, optional
    device : str, optional

    Returns
    -------
    Tables
        Of exposures and of CCDs, most anomalous exposures first.

    Raises
    ------
    InputError
        When two measurements have one camera and id, or were made with other settings.
    ReferenceFileError
        When the reference was made with other settings.
    """
    settings = settings or Settings()
    if reference is not None:
        reference.require(settings.measurement(), "reference")
    seen: set[tuple[str, str]] = set()
    with Store(None, settings) as store:
        for measurement in measurements:
            key = (measurement.exposure.camera, measurement.exposure.exposure)
            if key in seen:
                raise InputError(f"two measurements are of exposure '{key[1]}' (give each its own `exposure`)")
            if measurement.settings != settings.fingerprint():
                raise InputError(f"exposure {key[1]} was measured with other settings than these (give rank the same)")
            seen.add(key)
            store.add(measurement)
        return tables.build(store, settings, select(device), reference)
