"""The CCDs of an exposure by name and header, from which `gpuanom.fits.ccds.axes.Mosaic` chooses the common axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.names import measured_ccd
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.first_headers import read_headers
from gpuanom.records import Exposure


def first_ccds(exposure: Exposure, rule: CameraRule, labels: Sequence[str]) -> Iterator[tuple[str, Cards]]:
    """Yield the name and header of the first CCD of each of an exposure's files, without keeping files open."""
    for path, label in zip(exposure.files, labels, strict=True):
        try:
            primary, extension = read_headers(path)
        except InputError:
            continue  # the error is reported when the CCDs of the file are listed
        cards = Cards(extension, primary)
        name = measured_ccd(rule, primary if extension is None else extension, cards, int(extension is not None))
        if name:
            yield f"{label}-{name}" if label else name, cards
