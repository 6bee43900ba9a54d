"""Reading FITS files: `discover` finds exposures, `open_ccds` lists their CCDs, `read_ccds` reads all of them."""

from __future__ import annotations

from gpuanom.fits.decode import decode_raw, decode_rice
from gpuanom.fits.discover import Discovery, FileFailure, KnownFiles, Skipped, discover
from gpuanom.fits.reader import load_together, open_ccds, read_ccds

__all__ = [
    "Discovery",
    "FileFailure",
    "KnownFiles",
    "Skipped",
    "decode_raw",
    "decode_rice",
    "discover",
    "load_together",
    "open_ccds",
    "read_ccds",
]
