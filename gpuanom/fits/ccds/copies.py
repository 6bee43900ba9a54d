"""Whether a CCD was given twice: in a copy of the file under another name, or packed in another way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from gpuanom.errors import InputError
from gpuanom.fits.ccds.names import detector_cards
from gpuanom.fits.ccds.pixels import numbers
from gpuanom.fits.headers.hdus import Hdu
from gpuanom.fits.headers.values import Cards, card
from gpuanom.fits.opening.file import File

# Cards that change when a file is packed, unpacked or copied.
_BOOKKEEPING_WORDS = (
    "SIMPLE XTENSION BITPIX BSCALE BZERO BLANK EXTEND PCOUNT GCOUNT CHECKSUM DATASUM DATE EXTNAME EXTVER FILENAME "
    "COMMENT HISTORY INHERIT LONGSTRN FZALGOR FZTILE FZQVALUE FZQMETHD FZDTHRSD TFIELDS"
)
_BOOKKEEPING = frozenset(_BOOKKEEPING_WORDS.split())


class Copies:
    """The CCDs of an exposure seen so far, compared by their headers and, where these agree, by their pixels."""

    def __init__(self) -> None:
        self._seen: dict[Any, list[tuple[Path, int, bytes | None]]] = {}

    def holds(self, file: File, item: Hdu) -> bool:
        """Return whether a CCD with the same header cards and pixels was seen before, and remember this CCD.

        Parameters
        ----------
        file : File
            The file of the CCD.
        item : Hdu
            The HDU of the CCD.
        """
        known = self._seen.setdefault(_cards(item), [])
        in_other_files = [entry for entry in known if entry[0] != file.path]  # HDUs of one file are never copies
        for at, (path, number, digest) in enumerate(in_other_files):
            if digest is None:
                in_other_files[at] = path, number, _digest_of(path, number)
                known[known.index((path, number, digest))] = in_other_files[at]
        pixels = _digest(file, item) if in_other_files else None
        if pixels is not None and any(pixels == digest for _, _, digest in in_other_files):
            return True
        known.append((file.path, item.number, pixels))
        return False


def _cards(item: Hdu) -> tuple[tuple[str, str], ...]:
    keywords = {keyword for keyword in item.header if keyword and keyword not in _BOOKKEEPING}
    cards = tuple((keyword, repr(card(item.header, keyword))) for keyword in sorted(keywords))
    cards += (("EXTNAME", str(Cards(item.header).get("EXTNAME"))),)
    return cards + tuple(detector_cards(item.cards).items())  # the primary header may say which CCD the file holds


def _digest_of(path: Path, number: int) -> bytes | None:
    try:
        file = File(path)
        found = [item for item in file.hdus() if not isinstance(item, InputError) and item.number == number]
        return _digest(file, found[0]) if found else None
    except InputError:
        return None


def _digest(file: File, item: Hdu) -> bytes | None:
    """Return a hash of a CCD's pixels; None where they cannot be read, which is reported when the CCD is measured."""
    try:
        values = numbers(file, item)
    except InputError:
        return None
    text = f"{values.shape} ".encode() + values.astype("<f8").tobytes()
    return hashlib.blake2b(text, digest_size=16).digest()
