"""The simulated nights of docs/what-the-picture-means.md: normal exposures, and one for each cause of a verdict.

The conditions of an exposure follow from its number, as those of `gpuanom simulate` do. What `gpuanom simulate` has no
class for is put in by other conditions (`Example.conditions`) or by a change of the pixels (`Example.change`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

import gpuanom
from gpuanom.nights.merge import make_references
from gpuanom.simulate import Anomaly, CcdPlace, Conditions, choose_ccds, parse
from gpuanom.simulate.detector import SATURATION
from gpuanom.simulate.placing import for_exposure
from gpuanom.simulate.plan import draw_conditions
from gpuanom.simulate.sky import draw

SEED = 5
SIDE, GAP = 512, 40
NORMAL = 40
"""Normal exposures: the reference of all others. Their numbers begin with 1."""

_WIDTH = 2 * SIDE + GAP
PLACES = [
    CcdPlace(
        (SIDE, SIDE), (-_WIDTH / 2 + (c % 2) * (SIDE + GAP), -_WIDTH / 2 + (c // 2) * (SIDE + GAP)), _WIDTH / 2, c, 4
    )
    for c in range(4)
]
"""Four CCDs, two by two."""

Change = Callable[[list[np.ndarray], np.random.Generator], None]


@dataclass(frozen=True)
class Example:
    """What is wrong with one exposure.

    Attributes
    ----------
    number : int
        Number of the exposure; what is drawn follows from it.
    cause : str
        The cause that the verdict is to name, without numbers.
    put_in : str
        What was put into the exposure, in words.
    anomaly : str
        Words of `gpuanom simulate`; empty for none.
    conditions : dict
        Conditions that differ from those drawn.
    change : callable
        Changes the images of the CCDs, float64 electrons.
    show : tuple of str
        The parts of the page in the picture: see `cause_page.PARTS`.
    """

    number: int
    cause: str
    put_in: str
    anomaly: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    show: tuple[str, ...] = ("plane",)


def conditions_of(number: int) -> Conditions:
    """The conditions of a normal exposure."""
    return draw_conditions(number, "r", Anomaly(), np.random.default_rng([SEED, number]))


def write_exposure(folder: Path, number: int, example: Example | None = None) -> Path:
    """Draw an exposure and write it as one file of four CCDs."""
    conditions = conditions_of(number)
    if example is not None:
        conditions = replace(conditions, **example.conditions)
        if example.anomaly:
            (anomaly,) = parse(example.anomaly)
            conditions = replace(conditions, anomaly=choose_ccds(for_exposure(anomaly, str(number), SEED), PLACES))
    images = []
    for c, place in enumerate(PLACES):
        # The number 0 belongs to what a CCD has in all exposures.
        drawn = draw(
            conditions, place, np.random.default_rng([SEED, number, c + 1]), np.random.default_rng([SEED, 0, c + 1])
        )
        images.append(drawn.image.astype(np.float64))
    if example is not None and example.change is not None:
        example.change(images, np.random.default_rng([SEED, number, 99]))
    primary = fits.PrimaryHDU()
    start = datetime(2026, 1, 1, 2) + number * timedelta(seconds=90)
    primary.header.update(INSTRUME="GPUANOM-SIM", EXPNUM=number, FILTER="r", EXPTIME=60.0, OBSTYPE="object")
    primary.header["DATE-OBS"] = start.isoformat()
    hdus = [primary]
    for c, image in enumerate(images):
        hdu = fits.ImageHDU(np.clip(np.round(image), 0, SATURATION).astype(np.uint16), name=f"CCD{c + 1}")
        hdu.header.update(CCDNUM=c + 1, BUNIT="electron", SATURATE=SATURATION)
        hdus.append(hdu)
    path = folder / f"exposure_{number:04d}.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def scored(folder: Path, examples: Iterable[Example]) -> Path:
    """Score the normal exposures as the reference, and then all exposures against the reference; return the night."""
    normal, odd = folder / "normal", folder / "odd"
    for path in (normal, odd):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(1, NORMAL + 1):
        if not (normal / f"exposure_{number:04d}.fits").exists():
            write_exposure(normal, number)
    for example in examples:
        write_exposure(odd, example.number, example)
    kept, output = folder / "scored-normal", folder / "scored"
    shutil.rmtree(output, ignore_errors=True)
    gpuanom.score(normal, kept, device="cpu", threads=1)
    gpuanom.score([normal, odd], output, device="cpu", threads=1, reference=make_references([kept], keep_all=True))
    return output
