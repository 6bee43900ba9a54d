"""The Python API for arrays: measure CCDs in memory, and rank measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpuanom import arguments
from gpuanom.backends.choice import select
from gpuanom.errors import InputError
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.measuring.images import as_ccds
from gpuanom.records import Exposure, Measurement
from gpuanom.scoring.reference import References, given_references
from gpuanom.settings import Settings
from gpuanom.store.store import Store
from gpuanom.tables import build as tables
from gpuanom.tables.build import Tables


def measure(
    ccds: Iterable[Any] | Mapping[str, Any],
    settings: Settings | Mapping[str, Any] | None = None,
    device: str | int = "auto",
    *,
    exposure: str | int = "exposure",
    camera: str = "",
    band: str = "",
) -> Measurement:
    """Measure one exposure whose CCDs are in memory.

    Parameters
    ----------
    ccds : iterable of array_like, (ny, nx), or Ccd; or mapping of names to them
        Images in any numeric type and byte order, in any linear unit, as they are: nothing is trimmed. NaN and infinite
        pixels are bad, and so are those that the mask of a `numpy.ma` array, of astropy's `CCDData` and `NDData` or
        of its `Masked` arrays marks; uncertainties and units are not used. `Ccd` records carry names, masks and more;
        plain arrays are named 1, 2, 3 ...
    settings : Settings or mapping of their names to values, optional
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    exposure : str or int, optional
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
        When an array is not a 2-D image of real numbers, two CCDs have one name, there is none, or an argument is of
        a wrong kind.
    SettingsError, DeviceError
        When the settings or the device cannot be used.

    Examples
    --------
    >>> import numpy as np, gpuanom
    >>> sky = np.random.default_rng(1).normal(1000.0, 30.0, (512, 512))
    >>> measured = gpuanom.measure([sky])
    >>> measured.ccds[0].status, round(measured.ccds[0].sigma)
    ('ok', 30)
    """
    chosen = arguments.settings(settings)
    name = arguments.text("exposure", exposure)
    backend = select(device)
    about = Exposure(
        exposure=name,
        camera=arguments.text("camera", camera),
        band=arguments.text("band", band),
        date_obs="",
        exptime=float("nan"),
        files=(),
        masks=(),
        fingerprint="",
        rule="",
    )
    return Measurement(about, measure_ccds(name, as_ccds(ccds), chosen, backend), chosen.fingerprint())


def rank(
    measurements: Iterable[Measurement],
    settings: Settings | Mapping[str, Any] | None = None,
    reference: References | str | Path | None = None,
    device: str | int = "auto",
) -> Tables:
    """Score and rank measured exposures against each other, or against a saved reference.

    Parameters
    ----------
    measurements : iterable of Measurement
        With distinct ids within a camera.
    settings : Settings or mapping of their names to values, optional
        Those they were measured with.
    reference : References, str or Path, optional
        Saved references, or their file.
    device : str or int, optional

    Returns
    -------
    Tables
        Of exposures and of CCDs, most anomalous exposures first.

    Raises
    ------
    InputError
        When two measurements have one camera and id, were made with other settings, or are none.
    ReferenceFileError
        When the reference was made with other settings.
    SettingsError, DeviceError
        When the settings or the device cannot be used.
    """
    chosen, references, backend = arguments.settings(settings), given_references(reference), select(device)
    if references is not None:
        references.require(chosen.measurement(), "reference")
    if isinstance(measurements, Measurement):
        raise InputError("measurements are compared with each other: rank([one, another, ...])")
    if not arguments.is_several(measurements):
        raise InputError(f"measurements is {arguments.shown(measurements)} but must be a list of gpuanom.Measurement")
    seen: set[tuple[str, str]] = set()
    with Store(None, chosen) as store:
        for measurement in measurements:
            if not isinstance(measurement, Measurement):
                raise InputError(
                    f"measurements holds {arguments.shown(measurement)}, which gpuanom.measure did not make"
                )
            key = (measurement.exposure.camera, measurement.exposure.exposure)
            if key in seen:
                raise InputError(f"two measurements are of exposure '{key[1]}' (give each its own `exposure`)")
            if measurement.settings != chosen.fingerprint():
                raise InputError(f"exposure {key[1]} was measured with other settings than these (give rank the same)")
            seen.add(key)
            store.add(measurement)
        return tables.build(store, chosen, backend, references)
