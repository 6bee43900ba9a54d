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

from gpuanom.backends.protocol import Backend
from gpuanom.cameras.focalplane import places
from gpuanom.files import make_folder, write_text
from gpuanom.records import Exposure, FloatImage
from gpuanom.review.mosaic import Mosaic, level, mosaic
from gpuanom.review.quicklook import Look, binning_for, look, whisker_cells
from gpuanom.settings import Settings

VERSION = 3
"""Of the pictures: kept ones of another version are made again."""

LARGEST = 760
"""Longest side of a focal plane's picture, pixels."""

N_STAMPS = 8
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
        remedy = "--no-cache keeps no pictures"
        make_folder(path.parent, remedy=remedy)
        write_text(path, json.dumps(asdict(made)), remedy=remedy)
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
    missing: list[str] = []
    binning = binning_for(exposure, ccds, settings)
    each = max(2, math.ceil(N_STAMPS / max(len(ccds), 1)))
    for seen in look(exposure, settings, backend, binning=binning, stamps=each, threads=threads):
        if not isinstance(seen, Look) or seen.image is None or seen.sources is None:
            missing.append(getattr(seen, "reason", "nothing to see"))
            continue
        images.append((seen.name, seen.image))
        stamps += zip(seen.sources.stamp_snr.tolist(), seen.sources.stamps, strict=True)
        stamps = sorted(stamps, key=lambda pair: -pair[0])[:N_STAMPS]
        upside_down = where[seen.name].upside_down if seen.name in where else False
        cells.append((seen.name, whisker_cells(seen, upside_down)))
    images, levelled = level(images)
    plane = mosaic(exposure.camera, images, ccds)
    strip, snr = _strip(stamps), [float(f"{value:.3g}") for value, _ in stamps]
    strip_bytes = _encoded(strip, [80, 60, 40], most_bytes // 3) if stamps else b""
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
