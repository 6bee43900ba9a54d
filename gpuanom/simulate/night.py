"""Writing of a simulated night: multi-extension FITS files and the table of what is wrong in them."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gpuanom.errors import OutputError, SettingsError
from gpuanom.simulate.conditions import Anomaly, Conditions, Place
from gpuanom.simulate.detector import SATURATION
from gpuanom.simulate.injectors import INJECTORS, complete, parse
from gpuanom.simulate.plan import plan_night
from gpuanom.simulate.sky import draw
from gpuanom.simulate.stamps import galsim_module

INSTRUMENT = "GPUANOM-SIM"
TRUTH = "truth.ecsv"
HEADERS = ("plain", "decam")

PIXEL_SCALE = 0.2  # arcsec a pixel
CCD_GAP = 40  # pixels between neighbouring CCDs
EXPTIME = 60.0  # s
FIRST_START = datetime(2026, 1, 1, 2, 0, 0)
CADENCE = timedelta(seconds=90)


@dataclass(frozen=True)
class _Form:
    """How the exposures of a night are written."""

    ccds: int
    shape: tuple[int, int]
    seed: int
    headers: str
    compress: bool

    def names(self, conditions: Conditions) -> tuple[str, ...]:
        """Names of an exposure's files: the image, and the mask of DECam-like ones."""
        if self.headers == "plain":
            return (f"sim_{conditions.number:06d}.fits{'.fz' if self.compress else ''}",)
        when = f"{_start(conditions):%y%m%d_%H%M%S}"
        suffix = ".fits.fz" if self.compress else ".fits"
        return tuple(f"c4d_{when}_{plane}_{conditions.band}_v1{suffix}" for plane in ("ooi", "ood"))


def simulate_night(
    output: Path,
    *,
    exposures: int = 16,
    ccds: int = 4,
    shape: tuple[int, int] = (512, 512),
    bands: Sequence[str] = ("g", "r"),
    seed: int = 1,
    anomalies: Sequence[str] | None = None,
    headers: str = "plain",
    compress: bool = False,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Write a night of multi-extension FITS exposures, some of them anomalous, and their truth table.

    By default one exposure of each of the first two bands (two of the only band) is elongated along one axis, and
    another one has stripes in its background; a night of fewer than four exposures has fewer anomalies.

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
        Equal arguments give equal bytes, whatever `processes`.
    anomalies : sequence of str, optional
        What is wrong, each for an exposure of its own unless it says for how many: `gpuanom.simulate.SYNTAX`;
        ``all`` stands for one of each class at its usual strength.
    headers : str, optional
        ``plain``, or ``decam``: named and described as the DECam Community Pipeline's, with masks beside the images.
    compress : bool, optional
        RICE-compressed, without loss, as ``.fits.fz``.
    processes : int, optional
        How many draw at the same time.
    progress : callable, optional
        Called with (exposures written, exposures) after each exposure.

    Returns
    -------
    Table
        A row an exposure: exposure, band, kind, class, amplitude, direction, size (see `gpuanom.simulate.Anomaly`);
        also in ``truth.ecsv``.

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
    _check(exposures, ccds, shape, bands, seed, headers)
    output = Path(output)
    night = plan_night(exposures, bands, seed, None if anomalies is None else _wanted(anomalies))
    form = _Form(ccds, (shape[0], shape[1]), seed, headers, compress)
    _claim(output, {*(name for conditions in night for name in form.names(conditions)), TRUTH})
    for done, _ in enumerate(_each(partial(_write_exposure, output, form), night, processes), start=1):
        if progress is not None:
            progress(done, exposures)
    truth = truth_table([(str(c.number), c.band, c.anomaly) for c in night])
    write_whole(output / TRUTH, truth.write, format="ascii.ecsv")
    return truth


def _each(work: Callable[[Conditions], None], night: Sequence[Conditions], processes: int) -> Iterable[None]:
    """Do the work for each exposure, here or in processes of their own."""
    if processes == 1:
        return map(work, night)
    return _in_processes(work, night, processes)


def _in_processes(work: Callable[[Conditions], None], night: Sequence[Conditions], processes: int) -> Iterable[None]:
    # Spawned: a fork would copy the locks of threads that it does not have.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(work, night)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _wanted(anomalies: Sequence[str]) -> list[Anomaly]:
    if isinstance(anomalies, str):
        raise SettingsError(f"'anomalies' is {anomalies!r} but must be a list of texts")
    names = [name for text in anomalies for name in (INJECTORS if text == "all" else [text])]
    return [anomaly for name in names for anomaly in parse(name)]


def _write_exposure(output: Path, form: _Form, conditions: Conditions) -> None:
    """Draw and write one exposure; what is random follows from the seed and the numbers of exposure and CCD alone."""
    ny, nx = form.shape
    columns = math.ceil(math.sqrt(form.ccds))
    rows = math.ceil(form.ccds / columns)
    width, height = columns * (nx + CCD_GAP) - CCD_GAP, rows * (ny + CCD_GAP) - CCD_GAP
    names = form.names(conditions)
    planes = [fits.HDUList([_primary(conditions, form, mask=bool(i))]) for i in range(len(names))]
    for c in range(form.ccds):
        corner = ((c % columns) * (nx + CCD_GAP) - width / 2, (c // columns) * (ny + CCD_GAP) - height / 2)
        place = Place((ny, nx), corner, max(width, height) / 2, c, form.ccds)
        rng = np.random.default_rng([form.seed, conditions.number, c + 1])
        # Exposures count from 1: 0 is what all of them share.
        own = np.random.default_rng([form.seed, 0, c + 1])
        image, codes = draw(conditions, place, rng, own)
        for plane, pixels in zip(planes, (image.astype(np.uint16), codes), strict=False):
            plane.append(_hdu(pixels, c, conditions, corner, form))
    for name, plane in zip(names, planes, strict=True):
        write_whole(output / name, plane.writeto)


def _primary(conditions: Conditions, form: _Form, *, mask: bool) -> fits.PrimaryHDU:
    primary = fits.PrimaryHDU()
    decam = form.headers == "decam"
    primary.header.extend(
        [
            ("INSTRUME", "DECam" if decam else INSTRUMENT, "simulated"),
            ("EXPNUM", conditions.number, "exposure number"),
            ("FILTER", f"{conditions.band} DECam simulated" if decam else conditions.band, "band"),
            ("DATE-OBS", _start(conditions).isoformat(), "start of the exposure, UTC"),
            ("EXPTIME", EXPTIME, "[s] exposure time"),
            ("OBSTYPE", "object", "an exposure of the sky"),
        ]
    )
    if decam:
        primary.header.extend(
            [
                ("BAND", conditions.band, "band"),
                ("PROCTYPE", "InstCal", "as an instrumentally calibrated image"),
                ("PRODTYPE", "dqmask" if mask else "image", "what the file holds"),
                ("PLVER", "V5.5", "pipeline whose mask codes these are"),
                ("SIMULATD", True, "no photon of this was ever seen"),
            ]
        )
    return primary


def _hdu(pixels: Any, c: int, conditions: Conditions, corner: tuple[float, float], form: _Form) -> Any:
    name = f"CCD{c + 1}"
    if form.headers == "decam":
        name = f"{'NS'[c % 2]}{c // 2 + 1}"
    make = partial(fits.CompImageHDU, compression_type="RICE_1") if form.compress else fits.ImageHDU
    hdu = make(pixels, name=name)
    hdu.header.extend(
        [
            ("CCDNUM", c + 1, "number of the CCD"),
            ("BUNIT", "electron", "unit of the pixels"),
            ("SATURATE", SATURATION, "[electron] saturation level"),
            *_wcs(conditions.pointing, corner),
        ]
    )
    return hdu


def _start(conditions: Conditions) -> datetime:
    return FIRST_START + (conditions.number - 1) * CADENCE


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


def truth_table(exposures: Sequence[tuple[str, str, Anomaly]]) -> Table:
    """What is wrong with each exposure, from ids, bands and anomalies."""
    anomalies = [a if a.name == "none" else complete(a) for _, _, a in exposures]
    truth = Table(
        {
            "exposure": np.array([name for name, _, _ in exposures], dtype=np.str_),
            "band": np.array([band for _, band, _ in exposures], dtype=np.str_),
            "kind": np.array([a.kind for a in anomalies], dtype=np.str_),
            "class": np.array([a.name for a in anomalies], dtype=np.str_),
            "amplitude": np.array([a.amplitude for a in anomalies], dtype=np.float64),
            "direction": np.array([a.direction for a in anomalies], dtype=np.float64),
            "size": np.array([a.size for a in anomalies], dtype=np.float64),
        }
    )
    truth["direction"].unit = "deg"
    truth["size"].unit = "pixel"
    truth["kind"].description = "score that should see the anomaly"
    truth["class"].description = "the anomaly"
    truth["amplitude"].description = "its strength; `gpuanom inject --list` names the unit of each class"
    truth["direction"].description = "along which it runs, from +x toward +y"
    truth["size"].description = "period or radius, where its class has one"
    return truth


def _check(exposures: int, ccds: int, shape: tuple[int, int], bands: Sequence[str], seed: int, headers: str) -> None:
    """Refuse impossible arguments by name."""
    if not isinstance(shape, Sequence | np.ndarray) or isinstance(shape, str) or len(shape) != 2:
        raise SettingsError(f"'shape' is {shape!r} but must be rows and columns, such as (512, 512)")
    for name, value, low, high in (
        ("exposures", exposures, 1, 999_999),
        ("ccds", ccds, 1, 1000),
        ("shape[0]", shape[0], 64, 16_384),
        ("shape[1]", shape[1], 64, 16_384),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise SettingsError(f"'{name}' is {value!r} but must be a whole number from {low} to {high}")
    if not isinstance(headers, str) or headers not in HEADERS:
        raise SettingsError(f"'headers' is {headers!r} but must be one of {', '.join(HEADERS)}")
    several = not isinstance(bands, str) and isinstance(bands, Iterable)
    names = list(bands) if several else []
    if (
        not names
        or not all(isinstance(name, str) and name.isascii() and name for name in names)
        or len(set(names)) < len(names)
    ):
        raise SettingsError(f"'bands' is {bands!r} but must be a list of different names, such as ['g', 'r']")


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


def write_whole(path: Path, write: Callable[..., object], **options: Any) -> None:
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
