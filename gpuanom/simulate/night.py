"""Write a simulated night: multi-extension FITS files, and the table of their anomalies."""

from __future__ import annotations

import logging
import math
import multiprocessing
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gpuanom.errors import SettingsError
from gpuanom.files import FITS, whole_file
from gpuanom.simulate.conditions import Anomaly, CcdPlace, Conditions
from gpuanom.simulate.detector import SATURATION
from gpuanom.simulate.folder import INSTRUMENT, REQUEST, TRUTH, Request, begin, claim
from gpuanom.simulate.injectors import INJECTORS, complete, shows
from gpuanom.simulate.placing import choose_ccds
from gpuanom.simulate.plan import plan_night
from gpuanom.simulate.sky import Drawn, draw, without_anomaly
from gpuanom.simulate.stamps import galsim_module
from gpuanom.simulate.syntax import parse
from gpuanom.version import __version__

HEADERS = ("plain", "decam")

PIXEL_SCALE = 0.2  # arcsec a pixel
CCD_GAP = 40  # pixels between neighbouring CCDs
EXPTIME = 60.0  # s
FIRST_START = datetime(2026, 1, 1, 2, 0, 0)
CADENCE = timedelta(seconds=90)
NUMBERS = 1000
"""From one night to the next the number of the first exposure grows by this."""
MOST_A_NIGHT = timedelta(days=1) // CADENCE
"""A night of more exposures would run on into the next night of the same camera."""

Row = tuple[str, str, Anomaly, Sequence[str]]
"""Id, band, anomaly and the CCDs that show it, of an exposure."""

_BAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,31}")
"""What a band may be called: names of files hold it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Form:
    """How the exposures of a night are written."""

    ccds: int
    shape: tuple[int, int]
    seed: int
    headers: str
    compress: bool
    night: int = 1

    def start(self, conditions: Conditions) -> datetime:
        """When an exposure began."""
        place = conditions.number - 1 - (self.night - 1) * NUMBERS
        return FIRST_START + timedelta(days=self.night - 1) + place * CADENCE

    def names(self, conditions: Conditions) -> tuple[str, ...]:
        """Names of an exposure's files: the image, and the mask of DECam-like ones."""
        if self.headers == "plain":
            return (f"sim_{conditions.number:06d}.fits{'.fz' if self.compress else ''}",)
        when = f"{self.start(conditions):%y%m%d_%H%M%S}"
        suffix = ".fits.fz" if self.compress else ".fits"
        return tuple(f"c4d_{when}_{plane}_{conditions.band}_v1{suffix}" for plane in ("ooi", "ood"))

    def ccd(self, number: int) -> str:
        """The name of a CCD, by its number from 0."""
        return f"{'NS'[number % 2]}{number // 2 + 1}" if self.headers == "decam" else f"CCD{number + 1}"

    def places(self) -> list[CcdPlace]:
        """Where the CCDs lie: on a square grid."""
        ny, nx = self.shape
        columns = math.ceil(math.sqrt(self.ccds))
        rows = math.ceil(self.ccds / columns)
        width, height = columns * (nx + CCD_GAP) - CCD_GAP, rows * (ny + CCD_GAP) - CCD_GAP
        corners = [
            ((c % columns) * (nx + CCD_GAP) - width / 2, (c // columns) * (ny + CCD_GAP) - height / 2)
            for c in range(self.ccds)
        ]
        return [CcdPlace((ny, nx), corner, max(width, height) / 2, c, self.ccds) for c, corner in enumerate(corners)]


def simulate_night(
    output: Path,
    *,
    exposures: int = 48,
    ccds: int = 4,
    shape: tuple[int, int] = (512, 512),
    bands: Sequence[str] = ("r",),
    seed: int = 1,
    night: int = 1,
    anomalies: Sequence[str] | None = None,
    headers: str = "plain",
    compress: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Write a night of multi-extension FITS exposures, some of them anomalous, and their truth table.

    By default the sources of one exposure are elongated along one axis, those of another one (of the second band, if
    there are several) are out of focus, and a third one has stripes in its background; a night of fewer than four
    exposures has fewer anomalies.

    Parameters
    ----------
    output : Path
        Folder to write into; made when it is missing. If the folder holds a night of the same arguments already, a
        finished night is kept and an interrupted one is continued. Any other night is refused without `overwrite`.
    exposures : int, optional
        Number of exposures, one every 90 s; their bands alternate. With more than 960 the night lasts several days.
    ccds : int, optional
        CCDs of each exposure, on a square grid.
    shape : tuple of 2 ints, optional
        Rows and columns of a CCD.
    bands : sequence of str, optional
        Names of the bands.
    seed : int, optional
        Equal arguments give equal bytes, whatever `processes`.
    night : int, optional
        Which night of the same camera it is: each begins a day after the one before it, under other conditions, and its
        exposures, at most 960, are numbered from 1000 more.
    anomalies : sequence of str, optional
        Anomalies in the form of `gpuanom.simulate.SYNTAX`, each for one exposure unless it has a count; ``all`` stands
        for one of each class at its usual strength (``all%25x2``: on 25% of the CCDs, two exposures of each class).
    headers : str, optional
        ``plain``, or ``decam``: names and headers like those of the DECam Community Pipeline, with masks.
    compress : bool, optional
        Whether files are compressed without loss (RICE), as ``.fits.fz``.
    processes : int, optional
        Processes that draw at the same time.
    overwrite : bool, optional
        Whether a night that is in the folder already is replaced. Files of other kinds are never removed: a folder
        that holds any is refused.
    progress : callable, optional
        Called with (exposures written, exposures) after each exposure.

    Returns
    -------
    Table
        A row an exposure: exposure, band, kind, class, amplitude, direction, size (see `gpuanom.simulate.Anomaly`),
        and ccds, the names of the CCDs whose pixels differ from those of the same night without the anomaly; also in
        ``truth.ecsv``. An exposure whose anomaly is too faint to change a pixel is listed as normal, with a warning
        in the log.

    Raises
    ------
    GpuanomError
        When GalSim is not installed.
    SettingsError
        When an argument is impossible.
    OutputError
        When the folder holds another night or other files, or cannot be written.
    """
    galsim_module()
    _check(exposures, ccds, shape, bands, seed, night, headers)
    output = Path(output)
    form = _Form(ccds, (shape[0], shape[1]), seed, headers, compress, night)
    places = form.places()
    wanted = None if anomalies is None else _wanted(anomalies)
    planned = [
        replace(conditions, anomaly=choose_ccds(conditions.anomaly, places))
        for conditions in plan_night(exposures, bands, seed, wanted, night=night, first=(night - 1) * NUMBERS + 1)
    ]
    request: Request = {
        "exposures": int(exposures),
        "ccds": int(ccds),
        "shape": [int(n) for n in shape],
        "bands": [str(band) for band in bands],
        "seed": int(seed),
        "anomalies": "default" if anomalies is None else " ".join(anomalies) or "none",
        "headers": headers,
        "compress": bool(compress),
        # Nights that were drawn before there was a choice say nothing of it.
        **({"night": int(night)} if night != 1 else {}),
        "gpuanom": __version__,
    }
    names = [name for conditions in planned for name in form.names(conditions)]
    truth = claim(output, names, request, overwrite=overwrite)
    if truth is not None:
        return truth
    begin(output, request)
    rows: list[Row] = []
    for conditions, shown in zip(
        planned, _each(partial(_write_exposure, output, form), planned, processes), strict=True
    ):
        number, anomaly = str(conditions.number), conditions.anomaly
        if anomaly.name != "none" and not shown:
            _log.warning(
                "exposure %s: %s of %g is too faint to change a pixel; the exposure is listed as normal",
                number,
                anomaly.name,
                anomaly.amplitude,
            )
        rows.append((number, conditions.band, anomaly if shown else Anomaly(), shown))
        if progress is not None:
            progress(len(rows), exposures)
    truth = truth_table(rows)
    truth.meta[REQUEST] = request
    with whole_file(output / TRUTH) as path:
        truth.write(path, format="ascii.ecsv", overwrite=True)
    return truth


Work = Callable[[Conditions], list[str]]


def _each(work: Work, night: Sequence[Conditions], processes: int) -> Iterable[list[str]]:
    """Do the work for each exposure, in this process or in several others."""
    if processes == 1:
        return map(work, night)
    return _in_processes(work, night, processes)


def _in_processes(work: Work, night: Sequence[Conditions], processes: int) -> Iterable[list[str]]:
    # Spawned, because a forked process would have the locks of threads that were not copied with them.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(work, night)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _wanted(anomalies: Sequence[str]) -> list[Anomaly]:
    if isinstance(anomalies, str):
        raise SettingsError(f"'anomalies' is {anomalies!r} but must be a list of texts")
    words = []
    for text in anomalies:
        every = re.fullmatch(r"all((?:%|x\d).*)?", text.strip())
        words += [f"{name}{every[1] or ''}" for name in INJECTORS] if every else [text]
    return [anomaly for word in words for anomaly in parse(word)]


def _write_exposure(output: Path, form: _Form, conditions: Conditions) -> list[str]:
    """Draw and write one exposure; random numbers follow from the seed and the numbers of exposure and CCD alone.

    Returns the names of the CCDs whose pixels the anomaly changed. A normal exposure that an interrupted run has
    written already is kept: every file is whole, and would get the same bytes.
    """
    names = form.names(conditions)
    if conditions.anomaly.name == "none" and all((output / name).exists() for name in names):
        return []
    planes = [fits.HDUList([_primary(conditions, form, mask=bool(i))]) for i in range(len(names))]
    changed = []
    for c, place in enumerate(form.places()):
        image, codes = _read_out(conditions, place, form)
        # A CCD is listed only if the anomaly changed it: the same CCD is drawn without the anomaly, too.
        if conditions.anomaly.name != "none" and shows(conditions.anomaly, place):
            normal, _ = _read_out(without_anomaly(conditions), place, form)
            if not np.array_equal(image, normal):
                changed.append(form.ccd(c))
        for plane, pixels in zip(planes, (image.astype(np.uint16), codes), strict=False):
            plane.append(_hdu(pixels, c, conditions, place.corner, form))
    for name, plane in zip(names, planes, strict=True):
        with whole_file(output / name, same=FITS) as path:
            plane.writeto(path, overwrite=True)
    return changed


def _read_out(conditions: Conditions, place: CcdPlace, form: _Form) -> Drawn:
    rng = np.random.default_rng([form.seed, conditions.number, place.number + 1])
    # Exposures count from 1: the number 0 belongs to the properties that a CCD has in all exposures.
    ccd_rng = np.random.default_rng([form.seed, 0, place.number + 1])
    return draw(conditions, place, rng, ccd_rng)


def _primary(conditions: Conditions, form: _Form, *, mask: bool) -> fits.PrimaryHDU:
    primary = fits.PrimaryHDU()
    decam = form.headers == "decam"
    primary.header.extend(
        [
            ("INSTRUME", "DECam" if decam else INSTRUMENT, "simulated"),
            ("EXPNUM", conditions.number, "exposure number"),
            ("FILTER", f"{conditions.band} DECam simulated" if decam else conditions.band, "band"),
            ("DATE-OBS", form.start(conditions).isoformat(), "start of the exposure, UTC"),
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
    make = partial(fits.CompImageHDU, compression_type="RICE_1") if form.compress else fits.ImageHDU
    hdu = make(pixels, name=form.ccd(c))
    hdu.header.extend(
        [
            ("CCDNUM", c + 1, "number of the CCD"),
            ("BUNIT", "electron", "unit of the pixels"),
            ("SATURATE", SATURATION, "[electron] saturation level"),
            *_wcs(conditions.pointing, corner),
        ]
    )
    return hdu


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


def truth_table(rows: Sequence[Row]) -> Table:
    """The truth table: a row for each anomaly, and a row for each normal exposure."""
    anomalies = [a if a.name == "none" else complete(a) for _, _, a, _ in rows]
    truth = Table(
        {
            "exposure": np.array([name for name, _, _, _ in rows], dtype=np.str_),
            "band": np.array([band for _, band, _, _ in rows], dtype=np.str_),
            "kind": np.array([a.kind for a in anomalies], dtype=np.str_),
            "class": np.array([a.name for a in anomalies], dtype=np.str_),
            "amplitude": np.array([a.amplitude for a in anomalies], dtype=np.float64),
            "direction": np.array([a.direction for a in anomalies], dtype=np.float64),
            "size": np.array([a.size for a in anomalies], dtype=np.float64),
            "ccds": np.array([" ".join(shown) or "none" for _, _, _, shown in rows], dtype=np.str_),
        }
    )
    truth["direction"].unit = "deg"
    truth["size"].unit = "pixel"
    truth["kind"].description = "score that should see the anomaly"
    truth["class"].description = "the anomaly"
    truth["amplitude"].description = "its strength; `gpuanom inject --list` names the unit of each class"
    truth["direction"].description = "along which it runs, from +x toward +y"
    truth["size"].description = "period or radius, where its class has one"
    truth["ccds"].description = "the CCDs whose pixels the anomaly changed"
    return truth


def _check(
    exposures: int, ccds: int, shape: tuple[int, int], bands: Sequence[str], seed: int, night: int, headers: str
) -> None:
    """Refuse impossible arguments by name."""
    if not isinstance(shape, Sequence | np.ndarray) or isinstance(shape, str) or len(shape) != 2:
        raise SettingsError(f"'shape' is {shape!r} but must be rows and columns, such as (512, 512)")
    for name, value, low, high in (
        ("exposures", exposures, 1, 999_999),
        ("ccds", ccds, 1, 1000),
        ("shape[0]", shape[0], 64, 16_384),
        ("shape[1]", shape[1], 64, 16_384),
        ("seed", seed, 0, 2**63 - 1),
        ("night", night, 1, 900),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise SettingsError(f"'{name}' is {value!r} but must be a whole number from {low} to {high}")
    if night > 1 and exposures > MOST_A_NIGHT:
        raise SettingsError(f"'exposures' is {exposures} but must be at most {MOST_A_NIGHT} where 'night' is given")
    if not isinstance(headers, str) or headers not in HEADERS:
        raise SettingsError(f"'headers' is {headers!r} but must be one of {', '.join(HEADERS)}")
    several = not isinstance(bands, str) and isinstance(bands, Iterable)
    names = list(bands) if several else []
    fine = all(isinstance(name, str) and _BAND.fullmatch(name) for name in names)
    if not names or not fine or len(set(names)) < len(names):
        raise SettingsError(
            f"'bands' is {bands!r} but must be a list of different names of letters, digits, '-', '_' and '+', "
            "such as ['g', 'r']"
        )
