"""Small nights on disk for the tests, made quickly and without GalSim: a few stars on a flat noisy sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from tests import sky

SHAPE = (160, 192)


def image(seed, *, shape=SHAPE, degrees=None, n_stars=6):
    """A CCD of random stars; `degrees` elongates all stars along one axis."""
    ratio = 0.8 if degrees is None else 0.4
    return sky.make(
        *shape, sky.stars(n_stars, seed=seed, degrees=degrees, ratio=ratio, margin=32), noise=8.0, seed=seed
    )


def hdus(number, *, ccds=2, band="r", camera="TESTCAM", degrees=None, **cards):
    """An exposure as a list of HDUs."""
    primary = fits.PrimaryHDU()
    about = {"INSTRUME": camera, "EXPNUM": number, "FILTER": band, "DATE-OBS": "2026-01-02T03:04:05", "EXPTIME": 30.0}
    for name, value in {**about, "OBSTYPE": "object", **cards}.items():
        primary.header[name] = value
    planes = [
        fits.ImageHDU(np.array(image(100 * number + i, degrees=degrees)), name=f"CCD{i}") for i in range(1, ccds + 1)
    ]
    for plane in planes:
        plane.header["SATURATE"] = 60000.0
    return fits.HDUList([primary, *planes])


def write(folder: Path, number, name=None, **options) -> Path:
    """Write one exposure and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"exposure_{number:03d}.fits")
    hdus(number, **options).writeto(path)
    return path


def night(folder: Path, *, exposures=5, bands=("r",), odd=None, **options) -> list[Path]:
    """A night of exposures, numbered from 1; the stars of number `odd` are elongated."""
    return [
        write(folder, i, band=bands[i % len(bands)], degrees=30.0 if i == odd else None, **options)
        for i in range(1, exposures + 1)
    ]


def tables(folder: Path) -> dict[str, bytes]:
    """The bytes of the tables of a scored night."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".sqlite"}
