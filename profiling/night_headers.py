"""The headers of the nights that `bench_feed.py` measures: what of them differs between CCDs and exposures.

What follows from a header is remembered for headers in which the same cards have the same text
(gpuanom/fits/headers/kept_answers.py), so that headers which are the same in each exposure cost less than those of
a real night:

- ``wcs``: as those of many surveys, of a camera that no rule describes. Each CCD has a WCS of its own, and the
  pointing, the matrix, the gain, the saturation level and the times are others in each exposure.
- ``decam``: as the DECam Community Pipeline writes them, with as many cards, and masks in files of their own.
- ``same``: the same in each exposure but for the exposure's number, and without a WCS: the night of the figures of
  the log (profiling/log/feeding-a-gpu.md) that name no headers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

HEADERS = ("wcs", "decam", "same")
Cards = list[tuple[str, Any]]

_ON_A_SIDE = 8
"""CCDs in a row of the focal plane."""
_PIXELS = 2100.0, 4200.0
"""Columns and rows from a CCD to the next."""
_SCALE = 0.27 / 3600
"""Degrees a pixel."""


def name(headers: str, number: int, *, mask: bool = False) -> str:
    """Return the name of an exposure's file, or of the file of its masks."""
    if headers != "decam":
        return f"exposure-{number}.fits.fz"
    start = _start(number)
    return f"c4d_{start:%y%m%d_%H%M%S}_{'ood' if mask else 'ooi'}_r_v1.fits.fz"


def ccd(headers: str, number: int) -> str:
    """Return the name of a CCD, from its number that counts from 0."""
    return f"{'NS'[number % 2]}{number // 2 + 1}" if headers == "decam" else f"N{number + 1:02d}"


def primary(headers: str, number: int, *, mask: bool) -> Cards:
    """Return the cards of an exposure's primary header."""
    if headers == "same":
        return [("INSTRUME", "BENCH"), ("EXPNUM", number + 1), ("FILTER", "r"), ("OBSTYPE", "object")]
    start, decam = _start(number), headers == "decam"
    cards: Cards = [
        ("INSTRUME", "DECam" if decam else "BENCH"),
        ("EXPNUM", number + 1),
        ("FILTER", "r DECam SDSS c0002 6415.0 1480.0" if decam else "r"),
        ("OBSTYPE", "object"),
        ("DATE-OBS", start.isoformat(timespec="microseconds")),
        ("MJD-OBS", (start - datetime(1858, 11, 17)) / timedelta(days=1)),
        ("EXPTIME", 90.0 + number % 7),
        ("AIRMASS", round(1.1 + 0.01 * number, 3)),
    ]
    if decam:
        cards += [
            ("BAND", "r"),
            ("PROCTYPE", "InstCal"),
            ("PRODTYPE", "dqmask" if mask else "image"),
            ("PLVER", "V5.5"),
            ("OBSID", f"ct4m{start:%Y%m%dt%H%M%S}"),
            ("TELRA", f"10:{number % 60:02d}:28.889"),
            ("TELDEC", f"-13:{number % 60:02d}:23.800"),
            *((key, round(10 + 0.1 * i + 0.01 * number, 3)) for i, key in enumerate(_WEATHER)),
        ]
    return cards


def of_ccd(headers: str, number: int, i: int) -> Cards:
    """Return the cards of a CCD's header beside those of the table, by the numbers of exposure and CCD from 0."""
    if headers == "same":
        return []
    gain = 3.6 + 0.01 * i + 1e-5 * number
    saturate = 42423.5001001058 + 100 * i + number
    if headers == "wcs":
        return [("GAIN", gain), ("SATURATE", saturate), *_wcs(number, i, "TAN"), *_times(number)]
    column, row = 1 + 2048 * (i % _ON_A_SIDE), 1 + 4096 * (i // _ON_A_SIDE)
    return [
        ("INHERIT", True),
        ("WCSAXES", 2),
        ("DETSEC", f"[{column}:{column + 2047},{row}:{row + 4095}]"),
        ("DETECTOR", f"S3-{i:02d}_123195-15-3"),
        ("CCDNUM", i + 1),
        ("DETPOS", ccd(headers, i)),
        *(("GAINA", gain), ("RDNOISEA", 6.1), ("SATURATA", saturate)),
        *(("GAINB", gain + 0.05), ("RDNOISEB", 5.9), ("SATURATB", saturate + 3000)),
        ("FPA", "DECAM_BKP3"),
        *((f"SLOT{n:02d}", f"CCD12 {n} 4.080000") for n in range(6)),
        *((f"PV{axis}_{n}", 1e-3 * n + 1e-6 * i + 1e-9 * number) for axis in (1, 2) for n in range(11)),
        *(("LTM1_1", 1.0), ("LTM2_2", 1.0), ("LTV1", -1.0), ("LTV2", -1.0)),
        *_wcs(number, i, "TPV"),
        *((key, f"Mon Apr 15 {number % 24:02d}:{i:02d}:12 2026") for key in _STEPS_OF_THE_PIPELINE),
        *((key, f"TOO26A_20260101-{key}_{i + 1:02d}.fits") for key in ("BIASFIL", "BPMFIL", "FLATFIL", "STARFIL")),
        ("NSATPIX", 2000 + number),
        *(("FLATMEDA", gain), ("FLATMEDB", gain + 0.05), ("SATURATE", saturate)),
        *(("NBLEED", 4801), ("FWHM", 6.3 + 0.001 * number), ("ELLIPTIC", 0.1431857), ("AVSKY", 711.8 + number)),
        *(("AVSIG", 14.43527), ("WCSDIM", 2), ("WAT0_001", "system=image")),
    ]


_STEPS_OF_THE_PIPELINE = (
    *("DESDCXTK", "DESOSCN", "DESBIAS", "DESLINC", "DESBPM", "DESSAT", "DESGAINC", "DESFLAT", "DESSTAR", "DESBLEED"),
    *("STARMASK", "DESCRMSK"),
)
_WEATHER = (
    *("HA-DEG", "ZD", "AZ", "DOMEAZ", "ZPDELRA", "ZPDELDEC", "WINDSPD", "WINDDIR", "HUMIDITY", "PRESSURE", "DIMM2SEE"),
    *("OUTTEMP", "GSKYVAR", "GSKYHOT", "MSURTEMP", "MAIRTEMP", "UPTRTEMP", "PMOSTEMP", "UTN-TEMP", "UTS-TEMP"),
)


def _start(number: int) -> datetime:
    return datetime(2026, 1, 1, 2) + timedelta(seconds=120.382875 * number)


def _times(number: int) -> Cards:
    """Times and exposure time, which many pipelines repeat in the header of each CCD."""
    return [(key, value) for key, value in primary("wcs", number, mask=False) if key in ("DATE-OBS", "EXPTIME")]


def _wcs(number: int, i: int, projection: str) -> Iterator[tuple[str, Any]]:
    """A WCS about the exposure's pointing, of a matrix that is a little different in each exposure and CCD."""
    angle = 1e-3 * math.sin(1.0 + number) + 1e-4 * math.sin(2.0 + i)
    scale = _SCALE * (1 + 1e-5 * math.cos(3.0 + number + i))
    yield from ((f"CTYPE{axis}", f"{kind}{projection}") for axis, kind in ((1, "RA---"), (2, "DEC--")))
    yield from (("CUNIT1", "deg"), ("CUNIT2", "deg"))
    yield from (("CRVAL1", 150.1163 + 0.0123 * number), ("CRVAL2", -2.2058 + 0.00711 * number))
    yield ("CRPIX1", round((_ON_A_SIDE / 2 - i % _ON_A_SIDE) * _PIXELS[0] + 0.1 * number, 3))
    yield ("CRPIX2", round((_ON_A_SIDE / 2 - i // _ON_A_SIDE) * _PIXELS[1] + 0.1 * number, 3))
    yield from (("CD1_1", scale * math.sin(angle)), ("CD1_2", scale * math.cos(angle)))
    yield from (("CD2_1", -scale * math.cos(angle)), ("CD2_2", scale * math.sin(angle)))
