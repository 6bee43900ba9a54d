"""Reading FITS files: `discover` finds exposures, `open_ccds` lists their CCDs, `read_ccds` reads all of them.

Begin with `discover.py` and `reader.py`. The folders hold what they call: `headers`, `decoding`, `opening`, `ccds` and
`exposures`, in the order in which they import each other (docs/architecture.md).
"""

from __future__ import annotations

from gpuanom.fits.decoding.encoded_images import decode_raw, decode_rice
from gpuanom.fits.discover import Discovery, discover
from gpuanom.fits.exposures.each_file import FileFailure, KnownFiles, Skipped
from gpuanom.fits.reader import CcdsOnDisk, open_ccds, read_ccds

__all__ = [
    "CcdsOnDisk",
    "Discovery",
    "FileFailure",
    "KnownFiles",
    "Skipped",
    "decode_raw",
    "decode_rice",
    "discover",
    "open_ccds",
    "read_ccds",
]
