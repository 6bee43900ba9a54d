"""Writing of a simulated night: multi-extension FITS files and the table of what is wrong in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gpuanom.errors import OutputError, SettingsError
from gpuanom.simulate.conditions import Conditions, plan_night
from gpuanom.simulate.sky import SATURATION, draw_ccd, galsim_module

INSTRUMENT = "GPUANOM-SIM"
TRUTH = "truth.ecsv"

PIXEL_SCALE = 0.2  # arcsec a pixel
CCD_GAP = 40  # pixels between neighbouring CCDs
EXPTIME = 60.0  # s
FIRST_START = datetime(2026, 1, 1, 2, 0, 0)
CADENCE = timedelta(seconds=90)


def simulate_night(
    output: Path,
    *,
    exposures: int = 16,
    ccds: int = 4,
    shape: tuple[int, int] = (512, 512),
    bands: Sequence[str] = ("g", "r"),
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Write a night of multi-extension FITS exposures, three of them anomalous, and their truth table.

    One exposure of each of the first two bands (two of the only band) is elongated along one axis, and another one has
    stripes in its background; a night of fewer than four exposures has fewer anomalies.

    Parameters
    ----------
    output : Path
        Folder to write into; made when it is missing. Files of an earlier night are replaced.
    exposures : int, optional
        How many; their bands alternate.
    ccds : int, optional
        CCDs of each exposure, on a square grid.
    shape : tuple of 2 ints, optional
        Rows and columns of a CCD.
    bands : sequence of str, optional
        Names of the bands.
    seed : int, optional
        Equal arguments give equal bytes.
    progress : callable, optional
        Called with (exposures written, exposures) after each exposure.

    Returns
    -------
    Table
        A row an exposure: exposure, band, kind, class, amplitude, direction (see `gpuanom.simulate.Anomaly`); also in
        ``truth.ecsv``.

    Raises
    ------
    GpuanomError
        When GalSim is not installed.
    SettingsError
        When an argument is impossible.
    OutputError
        When the folder holds other files or cannot be written.
    """
    galsim_module()
    _check(exposures, ccds, shape, bands, seed)
    output = Path(output)
    night = plan_night(exposures, bands, seed)
    files = [output / f"sim_{conditions.number:06d}.fits" for conditions in night]
    _claim(output, {*(file.name for file in files), TRUTH})
    for done, (file, conditions) in enumerate(zip(files, night, strict=True), start=1):
        _write(file, _hdus(conditions, ccds, shape, seed).writeto)
        if progress is not None:
            progress(done, exposures)
    truth = _truth(night)
    _write(output / TRUTH, truth.write, format="ascii.ecsv")
    return truth


def _hdus(conditions: Conditions, ccds: int, shape: tuple[int, int], seed: int) -> fits.HDUList:
    ny, nx = shape
    columns = math.ceil(math.sqrt(ccds))
    rows = math.ceil(ccds / columns)
    width, height = columns * (nx + CCD_GAP) - CCD_GAP, rows * (ny + CCD_GAP) - CCD_GAP
    start = FIRST_START + (conditions.number - 1) * CADENCE
    primary = fits.PrimaryHDU()
    primary.header.extend(
        [
            ("INSTRUME", INSTRUMENT, "simulated"),
            ("EXPNUM", conditions.number, "exposure number"),
            ("FILTER", conditions.band, "band"),
            ("DATE-OBS", start.isoformat(), "start of the exposure, UTC"),
            ("EXPTIME", EXPTIME, "[s] exposure time"),
            ("OBSTYPE", "object", "an exposure of the sky"),
        ]
    )
    hdus = [primary]
    for c in range(ccds):
        corner = ((c % columns) * (nx + CCD_GAP) - width / 2, (c // columns) * (ny + CCD_GAP) - height / 2)
        rng = np.random.default_rng([seed, conditions.number, c + 1])
        image = draw_ccd(conditions, shape, corner, max(width, height) / 2, rng)
        hdu = fits.ImageHDU(image.astype(np.uint16), name=f"CCD{c + 1}")
        hdu.header.extend(
            [
                ("BUNIT", "electron", "unit of the pixels"),
                ("SATURATE", SATURATION, "[electron] saturation level"),
                *_wcs(conditions.pointing, corner),
            ]
        )
        hdus.append(hdu)
    return fits.HDUList(hdus)


def _wcs(pointing: tuple[float, float], corner: tuple[float, float]) -> list[tuple[str, Any]]:
    """A TAN projection about the pointing: north up, east left."""
    scale = PIXEL_SCALE / 3600
    return [
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CRVAL1", pointing[0]),
        ("CRVAL2", pointing[1]),
        ("CRPIX1", 1 - corner[0]),
        ("CRPIX2", 1 - corner[1]),
        ("CD1_1", -scale),
        ("CD1_2", 0.0),
        ("CD2_1", 0.0),
        ("CD2_2", scale),
    ]


def _truth(night: Sequence[Conditions]) -> Table:
    truth = Table(
        {
            "exposure": [str(c.number) for c in night],
            "band": [c.band for c in night],
            "kind": [c.anomaly.kind for c in night],
            "class": [c.anomaly.name for c in night],
            "amplitude": [c.anomaly.amplitude for c in night],
            "direction": [c.anomaly.direction for c in night],
        }
    )
    truth["direction"].unit = "deg"
    truth["kind"].description = "score that should see the anomaly"
    truth["class"].description = "the anomaly"
    truth["amplitude"].description = "elongation: shear added to the PSF; stripes: half of peak to peak over sky noise"
    truth["direction"].description = "long axis, or axis along which the stripes run, from +x toward +y"
    return truth


def _check(exposures: int, ccds: int, shape: tuple[int, int], bands: Sequence[str], seed: int) -> None:
    """Refuse impossible arguments by name."""
    for name, value, low, high in (
        ("exposures", exposures, 1, 999_999),
        ("ccds", ccds, 1, 1000),
        ("shape[0]", shape[0], 64, 16_384),
        ("shape[1]", shape[1], 64, 16_384),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not low <= value <= high:
            raise SettingsError(f"'{name}' is {value} but must be a whole number from {low} to {high}")
    if isinstance(bands, str) or not bands or len(set(bands)) < len(bands) or not all(b.isascii() and b for b in bands):
        raise SettingsError(f"'bands' is {bands!r} but must be a list of different names")


def _claim(output: Path, ours: set[str]) -> None:
    """Make the folder, or see that it holds only our own names; a night without its truth table is unfinished."""
    ours = ours | {_partial(output / name).name for name in ours}
    try:
        output.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in output.iterdir() if entry.name not in ours)
        if not others:
            (output / TRUTH).unlink(missing_ok=True)
    except OSError as error:
        raise _refused(output, error) from None
    if others:
        raise OutputError(f"{output}: holds other files ({others[0]}); give a new folder")


def _write(path: Path, write: Callable[..., object], **options: Any) -> None:
    """Write under another name and rename, so that no half file ever has the name."""
    partial = _partial(path)
    try:
        write(partial, overwrite=True, **options)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _refused(path, error) from None


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")
