"""The sources of a night's anomalies as DS9 regions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.errors import printable
from gpuanom.files import make_folder, write_text
from gpuanom.records import ExposureKey
from gpuanom.review.export import Chosen
from gpuanom.review.opened import ScoredNight
from gpuanom.review.quicklook import Look, look
from gpuanom.tables.dataset_columns import position_angles
from gpuanom.version import __version__


def regions(
    night: ScoredNight, chosen: Chosen, folder: Path, backend: Backend, kind: str = "isophote"
) -> Iterator[tuple[ExposureKey, int, list[str]]]:
    """Write the sources of the chosen exposures as DS9 regions, a file EXPOSURE_CCD.reg for each CCD.

    The pixels are read again from the files, one CCD at a time. Of an exposure of which single CCDs are bad, the
    sources of these CCDs are written.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `gpuanom.review.export.choose`.
    folder : Path
        The folder of the files; it is made when it is missing.
    backend : Backend
    kind : str, optional
        The orientations to show: source or isophote.

    Yields
    ------
    tuple of ExposureKey, int, list of str
        The exposure, the number of its sources, and why CCDs are missing.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    for key in chosen:
        if key not in night.found:
            yield key, 0, ["it could not be measured"]
            continue
        n, missing = 0, []
        of_ccds = [r.ccds for r in chosen[key] if r.ccds is not None]
        only = set[str]().union(*of_ccds) if of_ccds and len(of_ccds) == len(chosen[key]) else None
        for seen in look(night.found[key], night.settings, backend, binning=0):
            if only is not None and seen.name not in only:
                continue
            if not isinstance(seen, Look):
                missing.append(seen.reason)
                continue
            lines = list(_region_lines(key[1], seen, kind))
            n += len(lines) - _HEAD
            make_folder(folder)
            write_text(folder / f"{_safe(key[1])}_{_safe(seen.name)}.reg", "\n".join(lines) + "\n")
        yield key, n, missing


_HEAD = 4
"""Number of lines of a region file before the first region."""


def _region_lines(exposure: str, seen: Look, kind: str) -> Iterator[str]:
    yield "# Region file format: DS9 version 4.1"
    name = printable(f"exposure {exposure}, CCD {seen.name}")
    yield f"# gpuanom {__version__}, {name}: {kind} orientations; pa: east of north"
    yield "# pixels of the image without overscan"
    yield "image"
    found = seen.sources
    angles = found.source_angle if kind == "source" else found.isophote_angle
    axes = np.full(4, np.nan) if seen.ccd.sky_axes is None else np.array(seen.ccd.sky_axes, dtype=np.float64)
    on_sky = position_angles(angles, axes[None])
    for y, x, angle, pa, e in zip(found.y, found.x, angles, on_sky, found.ellipticity, strict=True):
        if np.isnan(angle):
            yield f"circle({x + 1},{y + 1},6) # color=yellow"
            continue
        minor = 10.0 * np.sqrt((1.0 - e) / (1.0 + e)) if np.isfinite(e) else 5.0
        tag = "" if np.isnan(pa) else f" tag={{pa={pa:.1f}}}"
        yield f"ellipse({x + 1},{y + 1},10,{max(minor, 1.0):.1f},{angle:.1f}) # color=cyan{tag}"


def _safe(name: str) -> str:
    """The name with every character replaced that a file name may not hold on some system."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) or "_"
