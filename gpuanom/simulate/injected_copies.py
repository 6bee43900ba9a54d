"""Copies of FITS files with an anomaly in their pixels: what `gpuanom inject` writes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gpuanom.errors import InputError, OutputError
from gpuanom.files import FITS, make_folder, whole_file
from gpuanom.fits.ccds.names import measured_ccd_name
from gpuanom.fits.ccds.sections import parse_section
from gpuanom.fits.discover import rule_of
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.packed import HEAD, packing
from gpuanom.records import Exposure
from gpuanom.settings import Settings
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.folder import INJECTED, TRUTH
from gpuanom.simulate.injection import inject
from gpuanom.simulate.injectors import shows
from gpuanom.simulate.night import CCD_GAP, Row
from gpuanom.simulate.placing import choose_ccds, for_exposure, key


@dataclass(frozen=True)
class PlannedCopy:
    """An exposure, the anomaly that its copy gets, and the places of its CCDs, by file and number of the HDU."""

    exposure: Exposure
    anomaly: Anomaly
    places: dict[tuple[Path, int], CcdPlace]


def plan_copy(exposure: Exposure, wanted: Anomaly, seed: int, settings: Settings) -> PlannedCopy:
    """Choose which CCDs of an exposure get an anomaly, its direction and its position.

    Parameters
    ----------
    exposure : Exposure
    wanted : Anomaly
        As `gpuanom.simulate.parse` gives it.
    seed : int
        Seed of the random choices.
    settings : Settings
        With the camera rules that say which HDUs are CCDs.

    Raises
    ------
    InputError, SettingsError
        When a file cannot be read or holds no CCD, or the anomaly lies outside every CCD.
    """
    places = _places(exposure, settings)
    anomaly = choose_ccds(for_exposure(wanted, exposure.exposure, seed), list(places.values()))
    return PlannedCopy(exposure, anomaly, places)


def described(anomaly: Anomaly) -> str:
    """Return an anomaly in words, such as ``stripes of 0.3 along 20 deg``."""
    along = "" if math.isnan(anomaly.direction) else f" along {anomaly.direction:.0f} deg"
    return f"{anomaly.name} of {anomaly.amplitude:g}{along}"


def make_new_folder(files: list[Path], output: Path) -> None:
    """Make the folder of the copies; nothing in it is overwritten, and no two files become one.

    Parameters
    ----------
    files : list of Path
        The files that are to be copied.
    output : Path

    Raises
    ------
    OutputError
        When two files have one name, or the folder holds a file of such a name.
    """
    names = [path.name for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OutputError(f"{output / twice[0]}: two of the images have this name (inject them into two folders)")
    make_folder(output)
    for name in (*names, TRUTH):
        if (output / name).exists():
            raise OutputError(f"{output / name}: exists already (give a new folder)")


def known_before(exposure: Exposure) -> list[Row]:
    """Return what a truth table beside the images of an exposure says is in them already."""
    rows: list[Row] = []
    for folder in sorted({path.parent for path in exposure.files}):
        try:
            table = Table.read(folder / TRUTH, format="ascii.ecsv")
            for row in table[table["exposure"] == exposure.exposure]:
                if row["class"] == "none":
                    continue
                amplitude, direction, size = (float(row[name]) for name in ("amplitude", "direction", "size"))
                before = Anomaly(str(row["kind"]), str(row["class"]), amplitude, direction, size)
                known = str(row["ccds"]).split() if "ccds" in table.colnames else ["unknown"]
                rows.append((exposure.exposure, exposure.band, before, known))
        except Exception:  # no table there, or one of another kind: it says nothing about these images
            continue
    return rows


def write_copy(planned: PlannedCopy, output: Path, settings: Settings, fwhm: float, seed: int) -> list[str]:
    """Write the files of an exposure with the anomaly in their CCDs, and copy its masks.

    Parameters
    ----------
    planned : PlannedCopy
    output : Path
        The folder of the copies.
    settings : Settings
    fwhm : float
        FWHM of the stars, in pixels.
    seed : int
        Seed of the noise that replaces what a convolution takes away.

    Returns
    -------
    list of str
        The names of the CCDs that were changed.

    Raises
    ------
    InputError
        When pixels cannot be read, or the anomaly changes none of them; the exposure is not in the folder then.
    """
    exposure, anomaly, places = planned.exposure, planned.anomaly, planned.places
    shown: list[str] = []
    written: list[Path] = []
    try:
        for path in exposure.files:
            # Opened twice: every CCD is read, so that a damaged one is said, but an image that was read from the file
            # to be written would be compressed anew, which changes the pixels of one compressed with loss.
            with ignore_astropy_warnings(), _opened(path) as hdus, _opened(path) as read:
                for number, name, hdu in _ccds(hdus, exposure, settings):
                    place = places[path, number]
                    pixels = _pixels(read[number], path, number)
                    if not shows(anomaly, place):
                        continue
                    rng = np.random.default_rng(key(exposure.exposure, seed, place.number))
                    after = _changed(pixels, anomaly, place, fwhm, rng)
                    if not np.array_equal(pixels, after, equal_nan=after.dtype.kind == "f"):
                        hdu.data = after
                        shown.append(name)
                        _forget_sums(hdu)
                hdus[0].header["HISTORY"] = f"{INJECTED} {described(anomaly)}"
                _forget_sums(hdus[0])
                with whole_file(output / path.name, same=FITS) as partial:
                    _write(hdus, partial, path.suffix.lower())
                written.append(output / path.name)
        if not shown:
            reason = f"{described(anomaly)} is too faint to change a pixel"
            raise InputError(reason, file=exposure.files[0], remedy="give a greater strength")
    except BaseException:
        for path in written:  # made here a moment ago
            path.unlink(missing_ok=True)
        raise
    for mask in exposure.masks:
        if mask is not None:
            try:
                shutil.copyfile(mask, output / mask.name)
            except OSError as error:
                raise OutputError(f"{mask}: cannot be copied: {error.strerror or error}") from None
    return shown


def _pixels(hdu: Any, path: Path, number: int) -> Any:
    try:
        return hdu.data
    except Exception as error:  # astropy raises many kinds on damaged data
        reason = f"its pixels cannot be read: {' '.join(str(error).split())[:120]}"
        raise InputError(reason, file=path, hdu=number) from None


def _forget_sums(hdu: Any) -> None:
    """Remove the checksums of what an HDU held before."""
    for name in ("CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"):
        hdu.header.remove(name, ignore_missing=True)


_PACKERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda raw: gzip.GzipFile("", "wb", mtime=0, fileobj=raw),
    ".bz2": lambda raw: bz2.BZ2File(raw, "wb"),
    ".xz": lambda raw: lzma.LZMAFile(raw, "wb"),  # noqa: SIM115 (whoever calls it closes it)
}


def _write(hdus: Any, path: Path, suffix: str) -> None:
    """Write a FITS file, packed as the end of its final name says; a packed file holds no date."""
    if suffix not in _PACKERS:
        hdus.writeto(path, overwrite=True)
        return
    with path.open("wb") as raw, _PACKERS[suffix](raw) as file:
        hdus.writeto(file)


def _opened(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            is_xz = packing(file.read(HEAD)) == "xz"  # which astropy 7.0 does not unpack
        return fits.open(io.BytesIO(lzma.decompress(path.read_bytes())) if is_xz else path)
    except Exception as error:  # astropy raises many kinds on files that are no FITS
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:120]}", file=path) from None


def _changed(data: Any, anomaly: Anomaly, place: CcdPlace, fwhm: float, rng: np.random.Generator) -> Any:
    """The pixels with the anomaly, of their own type."""
    kind = data.dtype
    pixels = inject(data.astype(np.float64), anomaly, place, fwhm=fwhm, rng=rng)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(kind.newbyteorder("="))


def _ccds(hdus: Any, exposure: Exposure, settings: Settings) -> Iterator[tuple[int, str, Any]]:
    """The CCDs among a file's HDUs, with the HDUs' numbers and the CCDs' names."""
    rule = rule_of(exposure, settings)
    for number, hdu in enumerate(hdus):
        if not hdu.is_image or len(hdu.shape) != 2 or min(hdu.shape) < settings.stamp_size:
            continue  # nothing that is scored
        if name := measured_ccd_name(rule, hdu.header, Cards(hdu.header, hdus[0].header), number):
            yield number, name, hdu


def _places(exposure: Exposure, settings: Settings) -> dict[tuple[Path, int], CcdPlace]:
    """Where the CCDs of an exposure lie: as DETSEC says if all have it, else on a square grid."""
    shapes: dict[tuple[Path, int], tuple[int, int]] = {}
    sections: list[tuple[float, float]] = []
    for path in exposure.files:
        with ignore_astropy_warnings(), _opened(path) as hdus:
            for number, _, hdu in _ccds(hdus, exposure, settings):
                shapes[path, number] = (int(hdu.shape[0]), int(hdu.shape[1]))
                try:
                    section = parse_section(Cards(hdu.header).get("DETSEC"))
                    sections.append((float(section.x0), float(section.y0)))
                except InputError:
                    pass
    if not shapes:
        raise InputError("no CCD of a size that is scored", file=exposure.files[0])
    if len(sections) != len(shapes):
        columns = math.ceil(math.sqrt(len(shapes)))
        height, width = (max(shape[i] for shape in shapes.values()) + CCD_GAP for i in (0, 1))
        sections = [((i % columns) * width, (i // columns) * height) for i in range(len(shapes))]
    ends = [(x + shape[1], y + shape[0]) for (x, y), shape in zip(sections, shapes.values(), strict=True)]
    low = [min(corner[i] for corner in sections) for i in (0, 1)]
    high = [max(end[i] for end in ends) for i in (0, 1)]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    extent = max(b - a for a, b in zip(low, high, strict=True)) / 2
    return {
        key: CcdPlace(shape, (x - middle[0], y - middle[1]), extent, i, len(shapes))
        for i, ((key, shape), (x, y)) in enumerate(zip(shapes.items(), sections, strict=True))
    }
