"""Whether a CCD was given twice: under another file's name, or packed in another way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from gpuanom.errors import InputError
from gpuanom.fits.ccds import detector_cards
from gpuanom.fits.headers import Cards, card
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.pixels import numbers

# What packing, unpacking and copying a file change in its headers.
_BOOKKEEPING_WORDS = (
    "SIMPLE XTENSION BITPIX BSCALE BZERO BLANK EXTEND PCOUNT GCOUNT CHECKSUM DATASUM DATE EXTNAME EXTVER FILENAME "
    "COMMENT HISTORY INHERIT LONGSTRN FZALGOR FZTILE FZQVALUE FZQMETHD FZDTHRSD TFIELDS"
)
_BOOKKEEPING = frozenset(_BOOKKEEPING_WORDS.split())


class Copies:
    """The CCDs of an exposure seen so far, by what their headers say and, where that agrees, by their pixels."""

    def __init__(self) -> None:
        self._seen: dict[Any, list[tuple[Path, int, bytes | None]]] = {}

    def holds(self, file: File, item: Hdu) -> bool:
        """Return whether a CCD of the same header cards and the same pixels was seen before; remember this one."""
        held = self._seen.setdefault(_cards(item), [])
        seen = [entry for entry in held if entry[0] != file.path]  # HDUs of one file are never copies of each other
        for at, (path, number, digest) in enumerate(seen):
            if digest is None:
                seen[at] = path, number, _digest_of(path, number)
                held[held.index((path, number, digest))] = seen[at]
        own = _digest(file, item) if seen else None
        if own is not None and any(own == digest for _, _, digest in seen):
            return True
        held.append((file.path, item.number, own))
        return False


def _cards(item: Hdu) -> tuple[tuple[str, str], ...]:
    keywords = {keyword for keyword in item.header if keyword and keyword not in _BOOKKEEPING}
    own = tuple((keyword, repr(card(item.header, keyword))) for keyword in sorted(keywords))
    own += (("EXTNAME", str(Cards(item.header).get("EXTNAME"))),)
    return own + tuple(detector_cards(item.cards).items())  # the primary header may say which CCD the file holds


def _digest_of(path: Path, number: int) -> bytes | None:
    try:
        file = File(path)
        found = [item for item in file.hdus() if not isinstance(item, InputError) and item.number == number]
        return _digest(file, found[0]) if found else None
    except InputError:
        return None


def _digest(file: File, item: Hdu) -> bytes | None:
    """A hash of a CCD's pixels; None where they cannot be read, which is said when the CCD is measured."""
    try:
        values = numbers(file, item)
    except InputError:
        return None
    text = f"{values.shape} ".encode() + values.astype("<f8").tobytes()
    return hashlib.blake2b(text, digest_size=16).digest()
