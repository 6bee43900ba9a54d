"""The Python API for arrays: measure CCDs in memory, rank measurements, and list the sources of a CCD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from astropy.table import Table

from gpuanom import arguments
from gpuanom.backends.choice import select
from gpuanom.errors import InputError
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.measuring.exposure_record import exposure_record
from gpuanom.measuring.images import as_ccd, as_ccds
from gpuanom.measuring.source_list import SourceList
from gpuanom.records import Exposure, ExposureKey, Measurement
from gpuanom.scoring.histograms.given_references import given_references
from gpuanom.scoring.histograms.reference import References
from gpuanom.settings import Settings
from gpuanom.store.store import Store
from gpuanom.tables import build as tables
from gpuanom.tables import source_table
from gpuanom.tables.build import Tables


def measure(
    ccds: Iterable[Any] | Mapping[str, Any],
    settings: Settings | Mapping[str, Any] | None = None,
    device: str | int = "auto",
    *,
    exposure: str | int = "exposure",
    camera: str = "",
    band: str = "",
    date_obs: Any = None,
    exptime: Any = None,
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
        By default ``Settings()``, the profile ``standard``; `Settings.from_profile` gives those of the paper.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    exposure : str or int, optional
        Id of the exposure: with the CCDs' names and the seed it decides the random points.
    camera, band : str, optional
        The dataset that the exposure is to be compared with.
    date_obs : str, astropy.time.Time or datetime, optional
        Start of the exposure, for the tables' column ``date_obs``: a text is ISO 8601 and kept as it is, a time is
        written in UTC.
    exptime : float, astropy.units.Quantity or timedelta, optional
        Exposure time, in seconds where it has no unit, for the tables' column ``exptime``.

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
        date_obs=arguments.start("date_obs", date_obs),
        exptime=arguments.seconds("exptime", exptime),
        files=(),
        masks=(),
        fingerprint="",
        rule="",
    )
    return exposure_record(about, measure_ccds(name, as_ccds(ccds), chosen, backend), chosen)


def sources(
    ccd: Any,
    settings: Settings | Mapping[str, Any] | None = None,
    device: str | int = "auto",
    *,
    exposure: str | int = "exposure",
    name: str | int = "1",
) -> Table:
    """Find the sources of one CCD and list them with their orientations and isophotes.

    These are the sources behind the scores (METHOD.md 2, 3 and 3b): `measure` and `score` count the same ones for an
    exposure and a CCD of these names.

    Parameters
    ----------
    ccd : array_like, (ny, nx), or Ccd
        Any image that `measure` takes, with or without a mask.
    settings : Settings or mapping of their names to values, optional
        By default ``Settings()``, the profile ``standard``; `Settings.from_profile` gives those of the paper.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    exposure : str or int, optional
        Id of the exposure: with the CCD's name and the seed it decides the random points behind background and noise.
    name : str or int, optional
        Name of the CCD, where `ccd` is not a `Ccd` with a name of its own.

    Returns
    -------
    astropy.table.Table
        One row a source, in the order of ``y`` and then ``x``, with these columns:

        - ``x``, ``y``: central pixel, counted from 0, so that the source lies at ``image[y, x]``; FITS, and programs
          such as DS9, count from 1;
        - ``value``: the central pixel above the fitted background, in the image's unit; ``snr``: the same divided by
          the noise sigma;
        - ``n_above``: usable pixels of the stamp above the setting ``above_threshold``;
        - ``orientation``, ``isophote_orientation``: degrees in (-90, 90] from the CCD's +x axis toward its +y axis
          (eqs. 4 and 5), of the stamp's moments and of the isophotal ones, masked where a source has no long axis or
          too small an isophote; a `Turn` of the CCD is not applied;
        - ``n_isophote``: connected pixels inside the isophote.

        Numbers are rounded to seven significant digits, as in the other tables. ``meta`` holds ``status``, ``reason``,
        ``sky`` (the background at the CCD's centre) and ``sigma``, both in the image's unit, and ``exposure``,
        ``ccd``, ``settings`` and the version. Of a CCD that cannot be measured the table is empty, ``status`` says why
        in one word as in the tables of a night, ``reason`` in one line, and ``sky`` and ``sigma`` are NaN.

    Raises
    ------
    InputError
        When the array is not a 2-D image of real numbers, or an argument is of a wrong kind.
    SettingsError, DeviceError
        When the settings or the device cannot be used.

    Examples
    --------
    >>> import numpy as np, gpuanom
    >>> y, x = np.mgrid[:256, :256]
    >>> star = 3000 * np.exp(-((x - 100) ** 2 / 18 + (y - 80) ** 2 / 8))
    >>> noise = np.random.default_rng(1).normal(1000.0, 10.0, (256, 256))
    >>> found = gpuanom.sources(noise + star, {"threshold": 30.0}, "cpu")
    >>> found["x", "y"].as_array().tolist(), round(float(found["isophote_orientation"][0]))
    ([(100, 80)], 0)
    """
    chosen, backend = arguments.settings(settings), select(device)
    listed, exposure_id = SourceList(), arguments.text("exposure", exposure)
    record = as_ccd(ccd, arguments.text("name", name))
    (measured,) = measure_ccds(exposure_id, [record], chosen, backend, stamp_use=listed)
    return source_table.of_ccd(exposure_id, measured, listed, chosen)


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
        Saved references, or their file; ``"flat"`` compares each exposure with flat histograms.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.

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
    seen: set[ExposureKey] = set()
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
