"""The pictures of an exposure for the report: its focal plane, its brightest sources, its whisker map.

They are made from the files, one exposure at a time, and kept in the night's folder: a report that was interrupted goes
on where it stopped, and a night whose files have been moved still has its pictures.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom import installing
from gpuanom.backends.protocol import Backend
from gpuanom.cameras.focalplane import places
from gpuanom.errors import GpuanomError
from gpuanom.files import make_folder, write_text
from gpuanom.fits.ccds.sections import trimmed_blocks
from gpuanom.records import CcdFailure, Exposure, FloatImage
from gpuanom.review.mosaic import Mosaic, level, mosaic
from gpuanom.review.quicklook import Look, binning_for, look
from gpuanom.review.star_cells import StarCells, scatter, star_cells
from gpuanom.settings import Settings

VERSION = 6
"""Version of the pictures: kept pictures of another version are made again."""

LARGEST = 760
"""Longest side of a focal plane's picture, pixels."""

N_STAMPS = 8
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """The pictures of an exposure as data URLs, empty where there is none, and what is drawn on them.

    Attributes
    ----------
    mosaic : str
        The focal plane, smoothed and binned, zscale.
    size : tuple of 2 ints
        Width and height of the mosaic before it was made smaller, in pixels; `boxes` refers to it.
    boxes : dict of str to list of int
        x, y, width, height of each CCD, origin at the lower left.
    stamps : str
        The brightest sources side by side.
    stamp_snr : list of float
        Central values of these sources, divided by the noise.
    stars : dict of str to list
        Of each CCD with enough stars: columns and rows of cells, then lists with a value for each cell, row by row
        from the lower left: FWHM in pixels, e1, e2 and number of stars. None in cells with too few stars.
    star_scatter : float or None
        Standard deviation of a component of one star's ellipticity: over sqrt(n) the error of a cell.
    missing : list of str
        Why CCDs are missing in the mosaic.
    levelled : bool
        Whether the median of each CCD was subtracted.
    frames : dict of str to list of int
        Rows and columns of each CCD in pixels, how the CCD is turned in the focal plane (`Turn`), and 1 where it is
        shown upside down.
    origins : dict of str to list of int
        Index of each CCD's file among the files of the exposure, number of the HDU, index of its layout in `layouts`.
    layouts : list of lists
        Where the parts of a CCD's image lie in the image of its HDU: for each part x and y in the CCD, width and
        height, x and y in the HDU, all from 0. An empty list: the CCD is the whole image of the HDU.
    trails : dict of str to list of float
        Of each CCD that a trail crosses: the trail's angle in degrees in the CCD's own axes, and its distance from the
        CCD's centre in pixels, positive along that angle + 90 degrees.
    """

    mosaic: str
    size: tuple[int, int]
    boxes: dict[str, list[int]]
    stamps: str
    stamp_snr: list[float]
    stars: dict[str, list[Any]]
    star_scatter: float | None
    missing: list[str]
    levelled: bool
    frames: dict[str, list[int]] = field(default_factory=dict)
    origins: dict[str, list[int]] = field(default_factory=dict)
    layouts: list[list[list[int]]] = field(default_factory=list)
    trails: dict[str, list[float]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no CCD is missing, so that the pictures need not be made again."""
        return bool(self.mosaic) and not self.missing


def require_pillow() -> None:
    """Check that pictures can be made.

    Raises
    ------
    GpuanomError
        When Pillow is not installed, or cannot be loaded; the message says what helps.
    """
    if lacking := installing.lacks("PIL.Image", "Pillow", installing.install("report")):
        raise GpuanomError(f"pictures need {lacking}")


def pictures(
    exposure: Exposure,
    ccds: Sequence[str],
    settings: Settings,
    backend: Backend,
    *,
    most_bytes: int,
    trails: Collection[str] = (),
    threads: int = 1,
    cache: Path | None = None,
    usual: Sequence[str] = (),
) -> Pictures:
    """Make the pictures of an exposure, or read those that are kept.

    Parameters
    ----------
    exposure : Exposure
    ccds : sequence of str
        Names of the CCDs in the order of the table.
    settings : Settings
        The settings that the exposure was measured with.
    backend : Backend
        The CPU's.
    most_bytes : int
        Most bytes of all pictures together.
    trails : collection of str, optional
        Names of the CCDs that a satellite's trail crosses, as its measurement found.
    threads : int, optional
        Number of CCDs that are read at a time.
    cache : Path, optional
        Folder to keep pictures in; by default none are kept.
    usual : sequence of str, optional
        The CCDs that exposures of the camera usually have (`gpuanom.review.mosaic.usual_names`).

    Returns
    -------
    Pictures

    Raises
    ------
    OutputError
        When a picture cannot be kept.
    """
    lacking = sorted(set(usual) - set(ccds))
    path = None if cache is None else cache / f"{_digest(exposure, settings, most_bytes, trails, lacking)}.json"
    if path is not None and (kept := _kept(path)) is not None:
        return kept
    seen = _SeenCcds(exposure, ccds)
    binning = binning_for(exposure, ccds, settings)
    stamps_per_ccd = max(2, math.ceil(N_STAMPS / max(len(ccds), 1)))
    for one in look(
        exposure, settings, backend, binning=binning, stamps=stamps_per_ccd, stars=True, trails=trails, threads=threads
    ):
        seen.add(one)
    images, levelled = level(seen.images)
    plane = mosaic(exposure.camera, images, ccds, usual)
    stamps = encoded_picture(_strip(seen.stamps), [80, 60, 40], most_bytes // 3) if seen.stamps else b""
    picture = encoded_picture(_grey(plane), [82, 70, 55, 40, 25], most_bytes - len(stamps)) if images else b""
    cells = seen.star_cells
    found = Pictures(
        mosaic=data_url(picture),
        size=(plane.image.shape[1], plane.image.shape[0]),
        boxes={name: list(box) for name, box in plane.boxes.items()},
        stamps=data_url(stamps),
        stamp_snr=[float(f"{value:.3g}") for value, _ in seen.stamps],
        stars={name: _cell_values(of_ccd) for name, of_ccd in cells.items() if np.isfinite(of_ccd.e1).any()},
        star_scatter=_rounded(scatter(list(cells.values())), 5),
        missing=list(dict.fromkeys(seen.missing))[:5],
        levelled=levelled,
        frames=seen.frames,
        origins=seen.origins,
        layouts=seen.layouts,
        trails=seen.trails,
    )
    if path is not None and found.complete:
        remedy = "--no-cache keeps no pictures"
        make_folder(path.parent, remedy=remedy)
        write_text(path, json.dumps(asdict(found)), remedy=remedy)
    return found


def _digest(
    exposure: Exposure, settings: Settings, most_bytes: int, trails: Collection[str], lacking: Sequence[str]
) -> str:
    values: list[Any] = [VERSION, exposure.camera, exposure.exposure, exposure.fingerprint, settings.fingerprint()]
    values += [most_bytes, sorted(trails), *lacking]
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=12).hexdigest()


def _kept(path: Path) -> Pictures | None:
    """Pictures that were kept; None where there are none, or they are damaged."""
    try:
        values = json.loads(path.read_text())
        return Pictures(**{**values, "size": (int(values["size"][0]), int(values["size"][1]))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


class _SeenCcds:
    """What the quick looks at an exposure's CCDs have shown so far; see `Pictures` for `frames` to `trails`."""

    def __init__(self, exposure: Exposure, ccds: Sequence[str]) -> None:
        self._file_numbers = {file: i for i, file in enumerate(exposure.files)}
        self._places = places(exposure.camera, ccds)
        self.images: list[tuple[str, FloatImage]] = []
        self.stamps: list[tuple[float, FloatImage]] = []
        """The exposure's brightest sources, each with its central value divided by the noise."""
        self.star_cells: dict[str, StarCells] = {}
        self.missing: list[str] = []
        self.frames: dict[str, list[int]] = {}
        self.origins: dict[str, list[int]] = {}
        self.layouts: list[list[list[int]]] = []
        self.trails: dict[str, list[float]] = {}

    def add(self, seen: Look | CcdFailure) -> None:
        if not isinstance(seen, Look) or seen.image is None:
            self.missing.append(getattr(seen, "reason", "nothing to see"))
            return
        self.images.append((seen.name, seen.image))
        upside_down = self._places[seen.name].upside_down if seen.name in self._places else False
        self.frames[seen.name] = [*seen.shape, int(seen.ccd.turn), int(upside_down)]
        self._add_origin(seen)
        if seen.trail is not None:
            self.trails[seen.name] = [round(math.degrees(seen.trail[0]), 2), round(seen.trail[1], 1)]
        self.stamps += zip(seen.sources.stamp_snr.tolist(), seen.sources.stamps, strict=True)
        self.stamps = sorted(self.stamps, key=lambda pair: -pair[0])[:N_STAMPS]
        if seen.stars is not None:
            self.star_cells[seen.name] = star_cells(seen.stars, seen.ccd.turn, upside_down)

    def _add_origin(self, seen: Look) -> None:
        """Note where a CCD lies in its file; CCDs whose parts lie alike share one layout."""
        if seen.origin is None or seen.file not in self._file_numbers:
            return
        layout = []
        if seen.origin.shape != seen.origin.full:
            blocks = trimmed_blocks(seen.origin.full, seen.origin.sections)
            layout = [[x, y, s.x1 - s.x0, s.y1 - s.y0, s.x0, s.y0] for x, y, s in blocks]
        if layout not in self.layouts:
            self.layouts.append(layout)
        self.origins[seen.name] = [self._file_numbers[seen.file], seen.origin.hdu, self.layouts.index(layout)]


def _cell_values(found: StarCells) -> list[Any]:
    """The values of a CCD's cells, rounded to keep the page small: 0.001 of ellipticity cannot be seen."""
    lists = [
        [_rounded(v, digits) for v in values] for values, digits in ((found.fwhm, 2), (found.e1, 4), (found.e2, 4))
    ]
    return [found.columns, found.rows, *lists, found.n.tolist()]


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _grey(plane: Mosaic) -> Bytes:
    """A mosaic as grey levels, top row first; missing pixels are dark."""
    low, high = plane.limits
    with np.errstate(invalid="ignore"):
        levels = np.clip((plane.image - low) / (high - low), 0.0, 1.0) * 255.0
    return np.where(np.isfinite(plane.image), levels, 24.0).astype(np.uint8)[::-1]


def _strip(stamps: Sequence[tuple[float, FloatImage]]) -> Bytes:
    """Stamps side by side, dark on light, stretched so that faint wings show."""
    if not stamps:
        return np.zeros((1, 1), dtype=np.uint8)
    size = stamps[0][1].shape[0]
    strip = np.full((size, len(stamps) * (size + 2) - 2), 255, dtype=np.uint8)
    for i, (_, stamp) in enumerate(stamps):
        level = np.arcsinh(np.clip(stamp, -0.05, 1.0) * 20.0)
        low, high = math.asinh(-1.0), math.asinh(20.0)
        strip[:, i * (size + 2) : i * (size + 2) + size] = (255 * (high - level) / (high - low)).astype(np.uint8)[::-1]
    return strip


def encoded_picture(levels: Bytes, qualities: Sequence[int], most_bytes: int) -> bytes:
    """A picture as a file in memory, in the best quality that fits, or else in a smaller size."""
    from PIL import Image, features

    form: dict[str, Any] = {"format": "WEBP", "method": 4} if features.check("webp") else {"format": "JPEG"}
    image = Image.fromarray(np.ascontiguousarray(levels))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    while True:
        for quality in qualities:
            file = io.BytesIO()
            image.save(file, quality=quality, **form)
            if file.tell() <= most_bytes:
                return file.getvalue()
        if max(image.size) < 64:
            return file.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)), Image.Resampling.BOX)


def data_url(data: bytes) -> str:
    """Return a picture in memory as a data URL; empty without a picture."""
    if not data:
        return ""
    kind = "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
