"""The pictures of an exposure for the report: its focal plane, its brightest sources, its whisker map.

Made from the files one exposure at a time, and kept in the night's folder: a report that was interrupted goes on
where it stopped, and one of a night whose files have moved since still has its pictures.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.backend import Backend
from gpuanom.errors import OutputError
from gpuanom.fits import open_ccds
from gpuanom.focalplane import Place, places
from gpuanom.looking import BINNING, Look, look
from gpuanom.mosaic import Mosaic, mosaic
from gpuanom.records import Exposure, FloatImage, Turn
from gpuanom.settings import Settings

VERSION = 2
"""Of the pictures: kept ones of another version are made again."""

LARGEST = 760
"""Longest side of a focal plane's picture, pixels."""

LEAST = 360
"""A focal plane whose binned picture is smaller than this is binned less."""

N_STAMPS = 8
CELL = 1024
"""Side of a cell of the whisker map, pixels of the CCD."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """What is shown of an exposure; pictures are data URLs, empty where there is none.

    Attributes
    ----------
    mosaic : str
        The focal plane, smoothed and binned, zscale.
    size : tuple of 2 ints
        Width and height of the mosaic before it was made smaller; what `boxes` and `whiskers` are in.
    boxes : dict of str to list of int
        x, y, width, height of each CCD, origin at the lower left.
    stamps : str
        The brightest sources side by side.
    stamp_snr : list of float
        Their central values over the noise.
    whiskers : list of list of float
        x, y, angle in degrees, alignment and number of sources of each cell: isophotal orientations.
    missing : list of str
        Why CCDs are not in the picture.
    levelled : bool
        Whether each CCD is shown less its median.
    """

    mosaic: str
    size: tuple[int, int]
    boxes: dict[str, list[int]]
    stamps: str
    stamp_snr: list[float]
    whiskers: list[list[float]]
    missing: list[str]
    levelled: bool

    @property
    def complete(self) -> bool:
        """Whether it need not be tried again."""
        return bool(self.mosaic) and not self.missing


def pictures(
    exposure: Exposure,
    ccds: Sequence[str],
    settings: Settings,
    backend: Backend,
    *,
    most_bytes: int,
    threads: int = 1,
    cache: Path | None = None,
) -> Pictures:
    """The pictures of an exposure, kept ones if there are.

    Parameters
    ----------
    exposure : Exposure
    ccds : sequence of str
        Names of its CCDs in the table's order.
    settings : Settings
        Those that it was measured with.
    backend : Backend
        The CPU's.
    most_bytes : int
        How large all its pictures may be.
    threads : int, optional
    cache : Path, optional
        Folder to keep pictures in.

    Raises
    ------
    OutputError
        When a picture cannot be kept.
    """
    path = None if cache is None else cache / f"{_digest(exposure, settings, most_bytes)}.json"
    if path is not None and (kept := _kept(path)) is not None:
        return kept
    made = _made(exposure, ccds, settings, backend, most_bytes, threads)
    if path is not None and made.complete:
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(asdict(made)))
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror} (--no-cache keeps no pictures)") from None
    return made


def _digest(exposure: Exposure, settings: Settings, most_bytes: int) -> str:
    about = [VERSION, exposure.camera, exposure.exposure, exposure.fingerprint, settings.fingerprint(), most_bytes]
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=12).hexdigest()


def _kept(path: Path) -> Pictures | None:
    """Pictures that were kept; None where there are none, or they are damaged."""
    try:
        values = json.loads(path.read_text())
        return Pictures(**{**values, "size": (int(values["size"][0]), int(values["size"][1]))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _made(
    exposure: Exposure, ccds: Sequence[str], settings: Settings, backend: Backend, most_bytes: int, threads: int
) -> Pictures:
    where = places(exposure.camera, ccds)
    images: list[tuple[str, FloatImage]] = []
    stamps: list[tuple[float, FloatImage]] = []
    cells: list[tuple[str, list[list[float]]]] = []
    levels: list[tuple[float, float]] = []
    missing: list[str] = []
    binning = _binning(exposure, settings, where)
    for seen in look(exposure, settings, backend, binning=binning, stamps=2, threads=threads):
        if not isinstance(seen, Look) or seen.image is None or seen.sources is None:
            missing.append(getattr(seen, "reason", "nothing to see"))
            continue
        images.append((seen.name, seen.image))
        levels.append(_level(seen.image))
        stamps += zip(seen.sources.stamp_snr.tolist(), seen.sources.stamps, strict=True)
        stamps = sorted(stamps, key=lambda pair: -pair[0])[:N_STAMPS]
        upside_down = where[seen.name].upside_down if seen.name in where else False
        cells.append((seen.name, _cells(seen, upside_down)))
    levelled = _differ(levels)
    if levelled:
        images = [(name, image - np.float32(level)) for (name, image), (level, _) in zip(images, levels, strict=True)]
    plane = mosaic(exposure.camera, images, ccds)
    strip, snr = _strip(stamps), [float(f"{value:.3g}") for value, _ in stamps]
    strip_bytes = _encoded(strip, [80, 60], 10**9) if stamps else b""
    picture = _encoded(_grey(plane), [82, 70, 55, 40, 25], most_bytes - len(strip_bytes)) if images else b""
    return Pictures(
        mosaic=_data_url(picture),
        size=(plane.image.shape[1], plane.image.shape[0]),
        boxes={name: list(box) for name, box in plane.boxes.items()},
        stamps=_data_url(strip_bytes),
        stamp_snr=snr,
        whiskers=[whisker for name, its in cells for whisker in _whiskers(plane.boxes[name], its)],
        missing=list(dict.fromkeys(missing))[:5],
        levelled=levelled,
    )


def _level(image: FloatImage) -> tuple[float, float]:
    """The median of a quick look and how far its pixels are from it: the 5th and the 95th of a hundred."""
    known = image[np.isfinite(image)]
    if not known.size:
        return 0.0, 0.0
    low, middle, high = np.percentile(known, (5.0, 50.0, 95.0))
    return float(middle), float(high - low)


def _differ(levels: Sequence[tuple[float, float]]) -> bool:
    """Whether CCDs differ in their levels by more than what is to be seen in them, as those of raw images do."""
    if len(levels) < 2:
        return False
    middle, spread = np.array(levels).T
    low, high = np.percentile(middle, (10.0, 90.0))
    return bool(high - low > 3.0 * np.median(spread))


def _binning(exposure: Exposure, settings: Settings, where: dict[str, Place]) -> int:
    """16, the paper's quick look, or less for a focal plane that would be a few pixels."""
    shape = next((item.shape for item in open_ccds(exposure, settings) if hasattr(item, "shape")), (1, 1))
    across = max((place.x + 1 for place in where.values()), default=1) * shape[1]
    up = max((place.y + 1 for place in where.values()), default=1) * shape[0]
    largest = max(across, up) / LEAST
    return int(np.clip(2 ** math.floor(math.log2(max(largest, 1.0))), 1, BINNING))


def _cells(seen: Look, upside_down: bool) -> list[list[float]]:
    """The whiskers of a CCD: u, v in 0 ... 1 of its picture, angle, alignment, number of sources of each cell."""
    found = seen.sources
    if found is None or seen.image is None:
        return []
    theta = np.radians(found.isophote_angle)
    u, v = found.x.astype(np.float64), found.y.astype(np.float64)
    ny, nx = seen.shape
    u, v = (u + 0.5) / nx, (v + 0.5) / ny
    if seen.ccd.turn & Turn.MIRRORED:
        theta, v = -theta, 1.0 - v
    if seen.ccd.turn & Turn.QUARTER:
        theta, u, v, ny, nx = theta + np.pi / 2, 1.0 - v, u, nx, ny
    if upside_down:
        u, v = 1.0 - u, 1.0 - v
    columns, rows = max(1, round(nx / CELL)), max(1, round(ny / CELL))
    if columns * rows == 1:
        columns = rows = 2
    known = np.isfinite(theta)
    while columns * rows > 1 and np.count_nonzero(known) < 5 * columns * rows:
        columns, rows = max(1, columns // 2), max(1, rows // 2)  # too few sources for so many cells
    cell = (v[known] * rows).astype(np.int64).clip(0, rows - 1) * columns
    cell += (u[known] * columns).astype(np.int64).clip(0, columns - 1)
    n = np.bincount(cell, minlength=rows * columns)
    cosine = np.bincount(cell, np.cos(2 * theta[known]), minlength=rows * columns)
    sine = np.bincount(cell, np.sin(2 * theta[known]), minlength=rows * columns)
    whiskers = []
    for i in np.flatnonzero(n >= 3):
        angle = math.degrees(0.5 * math.atan2(sine[i], cosine[i]))
        place = [(i % columns + 0.5) / columns, (i // columns + 0.5) / rows]
        whiskers.append([*place, angle, math.hypot(sine[i], cosine[i]) / n[i], float(n[i])])
    return whiskers


def _whiskers(box: tuple[int, int, int, int], cells: list[list[float]]) -> list[list[float]]:
    """Whiskers of a CCD in the mosaic's pixels, short enough to be many."""
    x, y, width, height = box
    return [
        [round(x + u * width), round(y + v * height), round(angle), round(alignment, 2), int(n)]
        for u, v, angle, alignment, n in cells
    ]


def _grey(plane: Mosaic) -> Bytes:
    """A mosaic as grey levels, top row first; what is not there is dark."""
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


def _encoded(levels: Bytes, qualities: Sequence[int], most_bytes: int) -> bytes:
    """A picture as a file in memory: as good as fits, then smaller."""
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


def _data_url(data: bytes) -> str:
    if not data:
        return ""
    kind = "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
