"""What is wrong with the end of a FITS file: it is cut off, or something else follows its last HDU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuanom.errors import InputError
from gpuanom.fits.headers.scanned import ScannedHeader
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening.first_headers import BLOCK, whole_blocks

if TYPE_CHECKING:
    from gpuanom.fits.opening.file import File

_CHUNK = 2**18


def wrong_ending(file: File, count: int, end: int | None) -> InputError | None:
    """Return what is wrong with the end of a file; None where nothing is cut off or damaged.

    Parameters
    ----------
    file : File
    count : int
        Number of HDUs.
    end : int or None
        The byte behind the data of the last HDU; None for a file without HDUs.
    """
    if end is None:
        return None
    if end > file.size:
        return file.corrupt("cut off; what follows is lost", count - 1)
    end = whole_blocks(end)
    if end > file.size:
        return file.corrupt("cut off in the padding behind its last HDU; what follows is lost", count)
    view = file.bytes
    for at in range(end, file.size, _CHUNK):
        try:
            file.prefault(at, at + _CHUNK)
        except InputError as error:
            return error
        rest = view[at : at + _CHUNK]
        if rest.startswith(b"XTENSION"):
            return file.corrupt("its header is cut off or makes no sense; what follows is lost", count)
        if rest.strip(b"\0 "):
            return file.corrupt("what follows its last HDU is no FITS", count)
    if file.size % BLOCK:
        return file.corrupt(f"its size is no multiple of {BLOCK} bytes; what follows is lost", count)
    return None


def too_few_extensions(file: File, count: int, primary: ScannedHeader | None) -> InputError | None:
    """Return an error where a file has fewer extensions than the primary header's NEXTEND says.

    A file with one extension is taken as complete: a CCD that was copied out of a file keeps its
    NEXTEND.

    Parameters
    ----------
    file : File
    count : int
        Number of HDUs.
    primary : ScannedHeader or None
    """
    promised = None if primary is None else card(primary, "NEXTEND")
    if type(promised) is not int or count - 1 >= promised or count == 2:
        return None
    return file.corrupt(f"cut off: it has {count - 1} extensions, its NEXTEND says {promised}", count)
